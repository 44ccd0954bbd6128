"""From statements to what a screen shows of them: one `message` event for each, cleaned."""

import re
from typing import Any

from dhtchat.chat.events import MessageArrived
from dhtchat.chat.markup import clean
from dhtchat.chat.noticing import Level, is_worth_a_notice
from dhtchat.ids import PeerId, fingerprint
from dhtchat.records.message import Delete, Edit, React, Say, Statement
from dhtchat.timestamps import rfc3339


def shown_name(name: str, peer: PeerId, *, verified: bool) -> str:
    """With the fingerprint when the name alone would not be right."""
    return name if verified else f"{name}#{fingerprint(peer)}"


def message_event(
    statement: Statement,
    *,
    talk: str,
    me: PeerId,
    my_name: str,
    delayed: bool,
    verified: bool,
    level: Level = Level.USUAL,
    quiet: bool = False,
    text: str | None = None,
    answers_me: bool = False,
    **more: Any,
) -> MessageArrived | None:
    """The event for a line of talk or what was done to one; None for statements that are neither (a topic).

    `talk`: the room, or the other person. `text`: of a line that was edited, the one that holds. `answers_me`: it is a
    reply to a line of mine. `level`: what of the talk makes itself heard. `quiet`: nothing does. `more`: further fields.
    """
    content, author = statement.body.content, statement.author
    own = author.peer == me
    fields: dict[str, Any] = {}
    match content:
        case Say(action=action, reply_to=reply_to):
            fields |= {"action": action, "edited": text is not None and text != content.text}
            text = content.text if text is None else text
            if reply_to:
                fields["reply_to"] = reply_to.hex()
        case Edit():
            text = content.text
            fields |= {"edits": content.target.hex(), "edited": True}
        case Delete():
            text = ""
            fields["deletes"] = content.places[0].id.hex()
        case React():
            text = content.emoji
            fields |= {"reacts_to": content.target.hex(), "removed": not content.on}
        case _:
            return None
    text = clean(text) if text else ""
    room = None if statement.body.direct else talk
    named = bool(room) and isinstance(content, Say | Edit) and names(text, my_name)
    mentioned = not own and (named or answers_me)
    return MessageArrived(
        id=statement.id.hex(),
        kind="room" if room else "direct",
        room=room,
        sender=my_name if own else shown_name(author.name, author.peer, verified=verified),
        recipient=(talk if own else my_name) if room is None else None,
        text=text,
        sent_at=rfc3339(statement.body.sent_at_ms),
        delayed=delayed,
        own=own,
        mentioned=mentioned,
        muted=level is Level.NONE,
        notify=isinstance(content, Say)
        and not own
        and is_worth_a_notice(level, direct=room is None, mentioned=mentioned, is_late=delayed, quiet=quiet),
        verified=verified,
        **fields,
        **more,
    )


def names(text: str, name: str) -> bool:
    """Whether a name stands in a text as a word of its own: `ann` is not meant by `planning`."""
    return bool(name) and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text.lower()) is not None
