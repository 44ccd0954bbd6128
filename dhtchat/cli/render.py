"""Events as lines of plain text that a screen reader can follow.

What a line starts with tells what it is, and nobody else's text ever starts one: talk starts with its time, our own
words with `--`, a warning with `!!`, an error with `error:`; further lines of a message stand behind a bar. Every text
is cleaned again here, whoever says it is clean already. Escape sequences come from `terminal.py` alone.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from dhtchat.chat.events import (
    Bye,
    Disconnected,
    ErrorShown,
    Event,
    Found,
    HandMoved,
    Hands,
    Help,
    History,
    Invited,
    Joined,
    Kicked,
    LinesRead,
    MessageArrived,
    ModeChanged,
    Names,
    Notice,
    Parted,
    PasswordChanged,
    PeerStatus,
    PresenceChanged,
    Ready,
    Reconnected,
    Registered,
    RoleChanged,
    Rooms,
    StatusChanged,
    TargetChanged,
    TopicChanged,
    Users,
    Warned,
    WhoIsAnswer,
    to_dict,
)
from dhtchat.chat.markup import UNPRINTABLE, Span, beginning, clean, parse
from dhtchat.cli.terminal import BOLD, CODE, DIM, ERROR, ITALIC, REVERSE, STRIKE, UNDERLINE, WARNING, Terminal

YOU: Final = "You"
"""Names are lower case: nobody can be called that."""
_CONTINUATION: Final = "      | "
"""As wide as a time and a space, then a bar: said by a screen reader, which passes over blanks."""
_ROW: Final = "   "
_MESSAGE_ID_CHARACTERS: Final = 8
"""Enough of an id to tell messages apart by eye."""
_QUOTE_CHARACTERS: Final = 30
"""How much of a line is repeated to say which one is meant."""
_REMEMBERED_MAX: Final = 1_000
"""Lines on the screen that can be referred to by their text."""
_STATES: Final = {
    "queued": "waits to be sent",
    "sent": "was sent",
    "stored": "is stored until somebody fetches it",
    "delivered": "was delivered",
    "read": "was read",
    "failed": "could not be delivered",
}
_VIA: Final = {
    "bootstrap": "through a bootstrap node",
    "remembered": "through peers remembered from last time",
    "local": "through a node on this machine",
    "lan": "through a node announced in the local network",
    "alone": "nobody else has been found yet",
}


ROLES: Final = {"owner": "the owner", "moderator": "a moderator", "speaker": "a speaker", "listener": "a listener"}


MODES: Final = {
    "+m": "only those who have the floor speak",
    "-m": "everybody speaks",
    "+i": "only those enter who are invited",
    "-i": "everybody may enter",
}


class Renderer:
    """Makes the lines for one reader, who is `user`, on one terminal."""

    def __init__(self, terminal: Terminal, user: str | None = None) -> None:
        self._terminal = terminal
        self._user = user
        self._quotes: dict[str, str] = {}
        """Of the last lines, how they begin."""

    def render(self, event: Event) -> str:
        """One or several lines, without the last newline."""
        match event:
            case MessageArrived():
                return self._message(event, dated=event.delayed)
            case History():
                return self._history(event)
            case Found():
                return self._found(event)
            case LinesRead():
                return self._system(
                    f"{_count(len(event.ids), 'line')} of {_line(event.target)} read on another device of yours"
                )
            case StatusChanged():
                return self._status(event)
            case Joined():
                return self._system(f"{self._person(event.user)} joined {_line(event.room)}")
            case Parted():
                return self._system(f"{self._person(event.user)} left {_line(event.room)}")
            case PresenceChanged():
                be = "are" if event.user == self._user else "is"
                return self._system(f"{self._person(event.user)} {be} {_line(_presence(event.online, event.away))}")
            case TopicChanged():
                return self._topic(event)
            case RoleChanged():
                return self._role(event)
            case Invited():
                return self._invited(event)
            case Kicked():
                return self._kicked(event)
            case ModeChanged():
                return self._mode(event)
            case HandMoved():
                verb = "raised a hand" if event.up else "lowered the hand"
                return self._system(f"{self._person(event.user)} {verb} in {_line(event.room)}")
            case Hands():
                return self._hands(event)
            case TargetChanged():
                return self._system(
                    f"you talk to {_line(event.target)} now" if event.target else "you talk to nobody now"
                )
            case Users():
                return self._users(event)
            case Rooms():
                return self._rooms(event)
            case Names():
                return self._names(event)
            case WhoIsAnswer():
                return self._whois(event)
            case PeerStatus():
                return self._peer_status(event)
            case Ready():
                return self._ready(event)
            case Registered():
                return self._below(f"registered {event.user}, fingerprint {event.fingerprint}")
            case PasswordChanged():
                return self._below(f"changed the password of {event.user}, fingerprint {event.fingerprint}")
            case Help():
                return self._table("commands:", event.commands)
            case Notice():
                return self._below(event.message)
            case Disconnected():
                return self._styled(f"-- disconnected: {_line(event.reason)}", WARNING)
            case Reconnected():
                return self._system(f"connected again after {event.after_s:.0f} s")
            case Warned():
                return self._warning(event)
            case ErrorShown():
                return "\n".join(
                    (f"{self._styled('error:', BOLD, ERROR)} {_line(event.message)}", f"{_ROW}{_line(event.hint)}")
                )
            case Bye():
                return self._system("bye")
        return self._unknown(event)

    # --- talk ---------------------------------------------------------------------------------------------------------

    def _message(self, event: MessageArrived, *, dated: bool, with_id: bool = False) -> str:
        if event.deletes:
            return self._deleted(event, event.deletes)
        if event.reacts_to:
            return self._reacted(event, event.reacts_to)
        about = ""
        if event.edits:
            about = f"(changed: {self._quote(event.edits)}) "
        elif event.reply_to:
            about = f"(to: {self._quote(event.reply_to)}) "
        self._remember(event.edits or event.id, event.text)
        first, *more = self._text(event.text)
        start = f"{self._styled(_time(event.sent_at, dated=dated), DIM)} "
        if with_id:
            start += f"{self._styled(f'[{_line(event.id[:_MESSAGE_ID_CHARACTERS])}]', DIM)} "
        start += f"{self._speaker(event)} {self._styled(about, DIM) if about else ''}"
        marks = "".join(f" [{mark}]" for mark in _marks(event, with_id=with_id))
        lines = [start + first, *(_CONTINUATION + line for line in more)]
        lines[-1] += self._styled(marks, DIM) if marks else ""
        return "\n".join(lines)

    def _deleted(self, event: MessageArrived, line: str) -> str:
        """Without its words, which nobody is to see any more."""
        self._quotes.pop(line, None)
        what = f"message {_line(line[:_MESSAGE_ID_CHARACTERS])}"
        return self._system(f"{self._person(event.sender)} deleted {what}{self._where(event)}")

    def _reacted(self, event: MessageArrived, line: str) -> str:
        what = f"took back {_line(event.text)} from" if event.removed else f"reacted {_line(event.text)} to"
        return self._system(f"{self._person(event.sender)} {what} {self._quote(line)}{self._where(event)}")

    def _where(self, event: MessageArrived) -> str:
        return f" in {_line(event.room)}" if event.room else ""

    def _remember(self, line: str, text: str) -> None:
        self._quotes.pop(line, None)
        self._quotes[line] = beginning(text, _QUOTE_CHARACTERS)
        if len(self._quotes) > _REMEMBERED_MAX:
            del self._quotes[next(iter(self._quotes))]

    def _quote(self, line: str) -> str:
        """Which line is meant: how it begins, or its id when it is not on this screen."""
        return self._quotes.get(line) or f"message {_line(line[:_MESSAGE_ID_CHARACTERS])}"

    def _speaker(self, event: MessageArrived) -> str:
        """`#lobby <alice>`, `alice -> you:`, or either with a star for what somebody does."""
        name = YOU if event.own else _line(event.sender)
        loud = (REVERSE,) if event.mentioned and not event.own and not event.muted else ()
        sender = self._styled(name, BOLD if event.own else self._terminal.colour_of(name), *loud)
        if event.kind == "room":
            room = _line(event.room or "#")
            return f"{room} * {sender}" if event.action else f"{room} <{sender}>"
        recipient = self._person(event.recipient or "") if event.own else "you"
        return f"{sender} {self._styled('->', BOLD)} {recipient}:{' *' if event.action else ''}"

    def _text(self, text: str) -> list[str]:
        """The lines of a message: with its markup drawn, or as typed where there are no colours to draw it with."""
        cleaned = clean(text).rstrip("\n") or UNPRINTABLE
        if not self._terminal.colours:
            return cleaned.split("\n")
        lines = [""]
        for span in parse(cleaned):
            first, *more = [self._span(span, piece) for piece in span.text.split("\n")]
            lines[-1] += first
            lines += more
        return lines

    def _span(self, span: Span, piece: str) -> str:
        """A piece of a span that lies on one line: styles never reach into the next."""
        styled = self._styled(
            piece,
            BOLD if span.bold else "",
            ITALIC if span.italic else "",
            STRIKE if span.strike else "",
            CODE if span.code else "",
            DIM if span.quote else "",
            UNDERLINE if span.link else "",
        )
        return self._terminal.linked(styled, span.link) if span.link else styled

    def _history(self, event: History) -> str:
        target = _line(event.target)
        if not event.messages:
            return self._system(f"{target}: nothing has been said yet")
        return "\n".join(
            [
                self._system(f"history of {target}:"),
                *(self._message(message, dated=True, with_id=True) for message in event.messages),
                self._system(f"end of the history of {target}"),
            ]
        )

    def _found(self, event: Found) -> str:
        target = _line(event.target)
        return "\n".join(
            [
                self._system(f"found in {target}: {_count(len(event.messages), 'line')}"),
                *(self._message(message, dated=True, with_id=True) for message in event.messages),
            ]
        )

    def _status(self, event: StatusChanged) -> str:
        share = (
            ""
            if event.delivered_to is None or event.members is None
            else f" to {event.delivered_to} of {event.members}"
        )
        line = f"-- message {_line(event.id[:_MESSAGE_ID_CHARACTERS])} {_STATES[event.state]}{share}"
        if event.reason:
            line += f": {_line(event.reason)}"
        return self._styled(line, ERROR if event.state == "failed" else DIM)

    def _topic(self, event: TopicChanged) -> str:
        room, topic = _line(event.room), _line(event.topic) if event.topic else ""
        if event.by is None:
            return self._system(f"topic of {room}: {topic}" if topic else f"{room} has no topic")
        who = self._person(event.by)
        return self._system(
            f"{who} set the topic of {room}: {topic}" if topic else f"{who} removed the topic of {room}"
        )

    def _role(self, event: RoleChanged) -> str:
        room = _line(event.room)
        if event.by is None:
            be = "are" if event.user == self._user else "is"
            return self._system(f"{self._person(event.user)} {be} {ROLES[event.role]} of {room}")
        return self._system(f"{self._person(event.by)} made {self._person(event.user)} {ROLES[event.role]} of {room}")

    def _invited(self, event: Invited) -> str:
        room = _line(event.room)
        if event.user != self._user:
            return self._system(f"{self._person(event.by)} invited {self._person(event.user)} to {room}")
        return self._system(f"{self._person(event.by)} invites you to {room}: enter it with /join {room}")

    def _kicked(self, event: Kicked) -> str:
        who, by = self._person(event.user), self._person(event.by) if event.by else "somebody"
        what = f"banned {who} from" if event.banned else f"threw {who} out of"
        why = f": {_line(event.reason)}" if event.reason else ""
        return self._system(f"{by} {what} {_line(event.room)}{why}")

    def _mode(self, event: ModeChanged) -> str:
        what = MODES[event.mode]
        who = f"{self._person(event.by)} set " if event.by else ""
        return self._system(f"{who}{_line(event.room)} {event.mode}: {what}")

    def _hands(self, event: Hands) -> str:
        room = _line(event.room)
        if event.by is not None:
            verb = "opened" if event.open else "closed"
            return self._system(f"{self._person(event.by)} {verb} the queue of raised hands in {room}")
        closed = "" if event.open else "; the queue is closed"
        if not event.hands:
            return self._system(f"nobody raises a hand in {room}{closed}")
        return self._table(
            f"{_count(len(event.hands), 'hand')} up in {room}{closed}:", [(self._listed(name),) for name in event.hands]
        )

    # --- lists --------------------------------------------------------------------------------------------------------

    def _users(self, event: Users) -> str:
        return self._table(
            f"{_count(len(event.users), 'user')}:" if event.users else "no users found",
            [(self._listed(user.name), _presence(user.online, user.away), user.fingerprint) for user in event.users],
        )

    def _rooms(self, event: Rooms) -> str:
        return self._table(
            f"{_count(len(event.rooms), 'room')}:" if event.rooms else "no rooms found; /join #name creates one",
            [
                (
                    room.name,
                    _count(room.members, "member") + (", joined" if room.joined else ""),
                    " ".join(text for text in (room.mode, room.topic) if text),
                )
                for room in event.rooms
            ],
        )

    def _names(self, event: Names) -> str:
        return self._table(
            f"{event.room} has {_count(len(event.members), 'member')}:",
            [
                (
                    self._listed(member.name),
                    member.role,
                    _presence(member.online) + (", hand up" if member.hand else ""),
                )
                for member in event.members
            ],
        )

    def _whois(self, event: WhoIsAnswer) -> str:
        return self._facts(
            event.name,
            {
                "fingerprint": event.fingerprint,
                "key": "HAS CHANGED since you first met" if event.key_changed else "",
                "state": _presence(event.online, event.away),
                "rooms": ", ".join(event.rooms),
                "since": _time(event.since, dated=True) if event.since else "",
            },
        )

    def _peer_status(self, event: PeerStatus) -> str:
        return self._facts(
            "this peer",
            {
                "user": event.user or "",
                "address": event.address,
                "peers": str(event.peers),
                "links": str(event.links),
                "rooms": ", ".join(event.rooms),
                "since": _time(event.since, dated=True),
            },
        )

    def _ready(self, event: Ready) -> str:
        if event.user is None:
            address = f"{event.address}/{event.node_key}" if event.node_key else event.address
            return self._below(f"bootstrap node ready, dhtchat {event.version}: {address}")
        return self._facts(
            f"online as {event.user}, dhtchat {event.version}",
            {
                "fingerprint": event.fingerprint or "",
                "address": event.address,
                "peers": str(event.peers),
                "network": _VIA.get(event.via or "", ""),
            },
        )

    def _warning(self, event: Warned) -> str:
        mark = self._styled(f"!! WARNING ({_line(event.code)}):", BOLD, WARNING)
        return f"{mark} {_line(event.message)}\n{self._styled('!!', BOLD, WARNING)} {_line(event.hint)}"

    def _unknown(self, event: Event) -> str:
        """An event younger than this file: its fields, so that nothing is lost."""
        fields = {key: str(value) for key, value in to_dict(event).items() if value not in (None, "")}
        kind = fields.pop("event", "event")
        return self._facts(kind, fields)

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _person(self, name: str) -> str:
        if name == self._user and name:
            return self._styled(YOU, BOLD)
        shown = _line(name)
        return self._styled(shown, self._terminal.colour_of(shown))

    def _listed(self, name: str) -> str:
        return f"{name} (you)" if name == self._user else name

    def _system(self, text: str) -> str:
        return f"{self._styled('--', DIM)} {text}"

    def _table(self, title: str, rows: Sequence[Sequence[str]]) -> str:
        """Columns as wide as their widest cell; the last one is free."""
        cells = [[_line(cell) if cell else "" for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)][:-1]
        lines = ("  ".join(map(str.ljust, row, [*widths, 0])) for row in cells)
        return self._below(title, *lines)

    def _facts(self, title: str, facts: dict[str, str]) -> str:
        """Those of the facts that are known."""
        return self._below(title, *(f"{name}: {value}" for name, value in facts.items() if value))

    def _below(self, title: str, *lines: str) -> str:
        """A title in our own words, and lines below it; all of it without looks, so all of it is cleaned here."""
        return "\n".join([self._system(_line(title)), *(_ROW + _line(line).rstrip() for line in lines)])

    def _styled(self, text: str, *styles: str) -> str:
        return self._terminal.styled(text, *styles)


def _marks(event: MessageArrived, *, with_id: bool) -> list[str]:
    """What a line out of the history says beside its text."""
    marks = []
    if event.edited and with_id:
        marks.append("edited")
    if event.reactions:
        for reaction in event.reactions:
            marks.append(f"{_line(reaction.emoji)} {', '.join(map(_line, reaction.users))}")
    return marks


def _line(text: str) -> str:
    return clean(text, single_line=True)


def _time(sent_at: str, *, dated: bool) -> str:
    """The reader's own time: `12:03`, or `2026-05-01 12:03` for what may be from another day."""
    try:
        local = datetime.fromisoformat(sent_at).astimezone()
    except (ValueError, OverflowError, OSError):  # no time, or one that no calendar here reaches
        return "--:--"
    today = local.date() == datetime.now().astimezone().date()
    return f"{local:%Y-%m-%d %H:%M}" if dated and not today else f"{local:%H:%M}"


def _presence(online: bool, away: str | None = None) -> str:
    if not online:
        return "offline"
    if away is None:
        return "online"
    return f"away: {away}" if away else "away"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
