"""Lines by their ids: what a user does to them, finds again, and has read."""

import contextlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from dhtchat.app.core import Core
from dhtchat.app.exchange import Exchange, Turn
from dhtchat.app.people import People
from dhtchat.app.talks import Talk, Talks
from dhtchat.chat.events import LinesRead, MessageArrived, Reaction
from dhtchat.chat.lines import message_event
from dhtchat.chat.markup import clean
from dhtchat.chat.operations import View
from dhtchat.errors import BadCommand, MalformedRecord, NoSuchMessage, NotAllowed
from dhtchat.history.store import StoredStatement, keep_reader
from dhtchat.ids import MESSAGE_ID_BYTES, MessageId, PeerId
from dhtchat.limits import (
    EDITS_PER_LINE_MAX,
    EMOJI_BYTES_MAX,
    EMOJI_CHARACTERS_MAX,
    HISTORY_LINES_MAX,
    READ_IDS_MAX,
    READ_TOLD_PEOPLE_MAX,
    READ_WAITING_MAX,
)
from dhtchat.records.message import Delete, Edit, Place, React, Read, Say, Statement, peek_message


class Lines:
    """`tells_read`: whether others hear what was read here."""

    def __init__(
        self,
        core: Core,
        people: People,
        talks: Talks,
        exchange: Exchange,
        *,
        recipients: Callable[[Talk], Iterable[PeerId]],
        has_other_device: Callable[[], bool],
        tells_read: bool,
    ) -> None:
        self._core = core
        self._people = people
        self._talks = talks
        self._exchange = exchange
        self._recipients = recipients
        self._has_other_device = has_other_device
        self._tells_read = tells_read
        self._read: dict[MessageId, None] = {}
        """Shown to the person, and nobody told yet."""

    # --- one line -----------------------------------------------------------------------------------------------------

    async def find(self, text: str, current: Talk | None, *, own: bool = False) -> tuple[Talk, StoredStatement]:
        """The line that a user means: an id, an unambiguous start of one, or `-1` for the latest of the current talk (`own`:
        the latest of one's own). Raises `BadCommand` or `NoSuchMessage`."""
        await self._core.journal.flush()
        rows = await self._rows_meant(text, current, own=own)
        if not rows:
            raise NoSuchMessage(f"there is no line {clean(text, single_line=True)[:40]} here")
        here = [row for row in rows if current is not None and row.conversation == current.id] or rows
        if len(here) > 1:
            raise BadCommand(f"several lines begin with {text}", hint="Name more of the id; see /history.")
        talk = self._talks.get(here[0].conversation)
        if talk is None:
            raise NoSuchMessage("that line is in a room that you have left", hint="Enter it again with /join.")
        return talk, here[0]

    async def _rows_meant(self, text: str, current: Talk | None, *, own: bool) -> list[StoredStatement]:
        store, journal = self._core.store, self._core.journal
        if re.fullmatch(r"-[1-9][0-9]{0,4}", text):
            if current is None:
                raise BadCommand("there is no current talk", hint="Use /join #room, or /query NAME, or name the id.")
            count = int(text[1:])
            rows = await journal.read(lambda: store.last_lines(current.id, count, own=own))
            return rows[:1] if len(rows) == count else []
        digits = text.lower()
        if not re.fullmatch(rf"[0-9a-f]{{1,{2 * MESSAGE_ID_BYTES}}}", digits):
            raise BadCommand(
                f"{clean(text, single_line=True)[:40]!r} is no id of a line",
                hint="See /history; -1 is the latest line.",
            )
        first, last = (bytes.fromhex(digits.ljust(2 * MESSAGE_ID_BYTES, fill)) for fill in "0f")
        return await journal.read(store.lines_like, first, last, 2)

    def reply(self, row: StoredStatement, text: str) -> Say:
        return Say(text, reply_to=row.id)

    async def edit(self, talk: Talk, row: StoredStatement, text: str) -> Edit:
        """Raises `NotAllowed`."""
        self._check_own(row)
        if len(await self._core.journal.read(self._core.store.own_edits, row.id)) >= EDITS_PER_LINE_MAX:
            raise NotAllowed(
                f"a line can be changed {EDITS_PER_LINE_MAX} times", hint="Delete it with /delete, and say it anew."
            )
        line = MessageId(row.id)
        return Edit(line, talk.operations.next_revision(line, self._core.me.peer), text)

    async def delete(self, row: StoredStatement) -> Delete:
        """The line and all its edits. Raises `NotAllowed`."""
        self._check_own(row)
        edits = await self._core.journal.read(self._core.store.own_edits, row.id)
        return Delete([self._place(each) for each in (row, *edits[:EDITS_PER_LINE_MAX])])

    def _place(self, row: StoredStatement) -> Place:
        if row.device != self._core.me.device:
            message = peek_message(row.raw)
            return Place(row.id, row.counter, message.certificate, message.passes_over)
        with contextlib.suppress(MalformedRecord):  # one's own can be deleted even when the disk has spoiled it
            return Place(row.id, row.counter, b"", peek_message(row.raw).passes_over)
        return Place(row.id, row.counter)

    def react(self, talk: Talk, row: StoredStatement, emoji: str) -> React:
        """On, or off when it is on. Raises `BadCommand`."""
        emoji = emoji.strip()
        sizes = len(emoji) <= EMOJI_CHARACTERS_MAX and len(emoji.encode("utf-8", "replace")) <= EMOJI_BYTES_MAX
        if not emoji or not sizes or clean(emoji, single_line=True) != emoji:
            raise BadCommand("that is no reaction", hint="An emoji, or a short word.")
        line, me = MessageId(row.id), self._core.me.peer
        on = not talk.operations.has_reacted(line, me, emoji)
        return React(line, talk.operations.next_revision(line, me), emoji, on)

    def _check_own(self, row: StoredStatement) -> None:
        if row.author != self._core.me.peer:
            raise NotAllowed("that is somebody else's line", hint="Only who said it can change or delete it.")

    # --- what is shown ------------------------------------------------------------------------------------------------

    def event(self, talk: Talk, turn: Turn, *, quiet: bool) -> MessageArrived | None:
        """Of a statement whose turn has come, or None when there is nothing to show. `quiet`: nobody is to be called."""
        content = turn.item.statement.body.content
        return message_event(
            turn.item.statement,
            talk=talk.name,
            me=self._core.me.peer,
            my_name=self._core.me.name,
            delayed=turn.delayed,
            verified=turn.verified,
            level=talk.level,
            quiet=quiet,
            text=turn.text if isinstance(content, Say) else None,
            answers_me=self._answers_me(talk, turn.item.statement),
        )

    def _answers_me(self, talk: Talk, statement: Statement) -> bool:
        content = statement.body.content
        return isinstance(content, Say) and talk.operations.author_of(MessageId(content.reply_to)) == self._core.me.peer

    async def history(self, talk: Talk, count: int) -> list[MessageArrived]:
        """The last lines of a talk as they are now."""
        await self._core.journal.flush()
        store, count = self._core.store, min(count, HISTORY_LINES_MAX)
        return await self._events(talk, await self._core.journal.read(store.last_lines, talk.id, count))

    async def search(self, talk: Talk, text: str) -> list[MessageArrived]:
        """The last lines of a talk that have all these words."""
        await self._core.journal.flush()
        store = self._core.store
        rows = await self._core.journal.read(store.find_lines, talk.id, text, HISTORY_LINES_MAX)
        return await self._events(talk, rows)

    async def _events(self, talk: Talk, rows: list[StoredStatement]) -> list[MessageArrived]:
        store, views = self._core.store, {}
        for row in rows:
            view = talk.operations.view(MessageId(row.id))
            if view is not None and not view.deleted:
                views[row.id] = view
        ids = [view.edit for view in views.values() if view.edit]
        edits = await self._core.journal.read(store.by_id, ids)
        readers = await self._core.journal.read(store.readers, list(views))
        events = []
        for row, statement in self._talks.opened_lines(talk, [row for row in rows if row.id in views]):
            view, text = views[row.id], None
            edit = edits.get(view.edit) if view.edit else None
            if edit is not None and edit.raw:
                content = peek_message(edit.raw).content
                text = content.text if isinstance(content, Edit) else None
            more: dict[str, Any] = {"read": bool(readers[row.id] - {row.author})}
            if not row.own:
                more["read"] = self._core.me.peer in readers[row.id]
            if view.reactions:
                more["reactions"] = self._reactions(view)
            event = message_event(
                statement,
                talk=talk.name,
                me=self._core.me.peer,
                my_name=self._core.me.name,
                delayed=row.delayed,
                verified=row.verified,
                level=talk.level,
                quiet=True,
                text=text,
                answers_me=self._answers_me(talk, statement),
                **more,
            )
            if event is not None:
                events.append(event)
        return events

    def _reactions(self, view: View) -> list[Reaction]:
        return [
            Reaction(emoji=clean(emoji, single_line=True), users=sorted(self._people.name_of(peer) for peer in peers))
            for emoji, peers in view.reactions.items()
        ]

    # --- what was read ------------------------------------------------------------------------------------------------

    def mark_read(self, lines: Iterable[str]) -> None:
        """A face has shown these; they are told together, a moment later."""
        for line in lines:
            self._read[MessageId(bytes.fromhex(line))] = None
        while len(self._read) > READ_WAITING_MAX:
            del self._read[next(iter(self._read))]

    async def tell_read(self) -> None:
        """Say what was read since last time. A line counts once, on whichever device of ours it was."""
        if not self._read:
            return
        ids, self._read = list(self._read), {}
        await self._core.journal.flush()
        readers = await self._core.journal.read(self._core.store.readers, ids)
        me = self._core.me.peer
        by_talk: dict[bytes, list[bytes]] = {}
        for line in ids:
            for talk in self._talks:
                if me not in readers[line] and talk.operations.author_of(line) not in (None, me):
                    by_talk.setdefault(talk.id, []).append(line)
        for conversation, lines in by_talk.items():
            talk_read = self._talks.get(conversation)
            if talk_read is not None:
                for start in range(0, len(lines), READ_IDS_MAX):
                    await self._tell_read(talk_read, lines[start : start + READ_IDS_MAX])

    async def _tell_read(self, talk: Talk, lines: list[bytes]) -> None:
        me = self._core.me
        recipients = list(self._recipients(talk))
        if self._tells_read and len(recipients) <= READ_TOLD_PEOPLE_MAX:
            self._exchange.say(talk, Read(lines), recipients)
        elif self._has_other_device():  # to oneself, which is to one's other devices
            self._exchange.say(await self._talks.open_direct(me.peer, me.name), Read(lines), [])
        else:
            self._core.journal.write(*(keep_reader(line, me.peer) for line in lines))

    def on_read(self, talk: Talk, turn: Turn) -> LinesRead | None:
        """Somebody says what they have read: an event for what another device of ours has."""
        statement = turn.item.statement
        content = statement.body.content
        assert isinstance(content, Read)
        if statement.author.peer != self._core.me.peer:
            self._exchange.on_read(talk, statement.author, content)
            return None
        if statement.author.device == self._core.me.device:
            return None
        where = next((t for t in self._talks if t.operations.author_of(MessageId(content.ids[0])) is not None), None)
        return LinesRead(target=where.name, ids=[line.hex() for line in content.ids]) if where else None
