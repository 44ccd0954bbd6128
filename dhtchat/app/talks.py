"""The conversations of this device: each a `Timeline` and its `Operations` in memory, and its rows on disk."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dhtchat.app.core import Core
from dhtchat.chat.noticing import Level
from dhtchat.chat.operations import Operations
from dhtchat.chat.sync import CatchUp, Plan, Range, cut_end, cut_page, plan
from dhtchat.chat.timeline import Timeline
from dhtchat.errors import RemoteMisbehaved
from dhtchat.history.store import (
    GONE,
    LOST,
    StoredConversation,
    StoredPlace,
    StoredStatement,
    keep_conversation,
    keep_floor,
    lose_statement,
)
from dhtchat.ids import DeviceId, MessageId, PeerId
from dhtchat.limits import (
    HISTORY_NEWCOMER_AGE_S,
    HISTORY_NEWCOMER_MESSAGES,
    SYNC_PAGE_ABSENT_MAX,
    SYNC_PAGE_FLOORS_MAX,
)
from dhtchat.peer.link import Link
from dhtchat.records.message import Statement, direct_conversation, open_statement, peek_message, peek_parents

log = logging.getLogger(__name__)


class Talk:
    """A room's or two people's talk. `name`: the room's with its `#`, or the other person's."""

    def __init__(self, row: StoredConversation) -> None:
        self.id = row.id
        self.direct = row.direct
        self.name = row.name
        self.peer = PeerId(row.peer)
        self.level = Level(row.level) if row.level in list(map(int, Level)) else Level.USUAL  # of a later version
        self.timeline = Timeline(row.id)
        self.operations = Operations()
        self.catch_up: CatchUp[Link] = CatchUp()
        self.passed = 0
        """Lines of the past that were put into the history without being shown, and nobody told of yet."""

    @property
    def muted(self) -> bool:
        return self.level is Level.NONE

    @property
    def row(self) -> StoredConversation:
        return StoredConversation(self.id, self.direct, self.name, self.peer, self.level)


class Page(NamedTuple):
    """What somebody lacks, ready for the wire."""

    statements: list[bytes]
    floors: dict[DeviceId, int]
    absent: list[bytes]
    more: bool


class _Loaded(NamedTuple):
    floors: dict[bytes, int]
    told: dict[bytes, int]
    places: list[StoredPlace]
    recent: list[StoredStatement]
    held: list[StoredStatement]
    operations: list[StoredStatement]


class Talks:
    """All of them, by id. Private talks are loaded at start, rooms when joined."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._talks: dict[bytes, Talk] = {}
        self._stored: dict[bytes, StoredConversation] = {}

    def get(self, conversation: bytes) -> Talk | None:
        return self._talks.get(conversation)

    def __iter__(self) -> Iterator[Talk]:
        return iter(list(self._talks.values()))

    async def load(self) -> None:
        rows = await self._core.journal.read(self._core.store.conversations)
        self._stored = {row.id: row for row in rows}
        for row in rows:
            if row.direct:
                await self._open(row)

    async def open_room(self, room: bytes, name: str) -> Talk:
        return await self._open(self._stored.get(room, StoredConversation(room, False, name, b"", Level.USUAL)))

    async def open_direct(self, peer: PeerId, name: str) -> Talk:
        conversation = direct_conversation(self._core.me.peer, peer)
        return await self._open(
            self._stored.get(conversation, StoredConversation(conversation, True, name, peer, Level.USUAL))
        )

    def close(self, conversation: bytes) -> None:
        self._talks.pop(conversation, None)

    def set_level(self, talk: Talk, level: Level) -> None:
        talk.level = level
        self._stored[talk.id] = talk.row
        self._core.journal.write(keep_conversation(talk.row))

    async def _open(self, row: StoredConversation) -> Talk:
        if row.id in self._talks:
            return self._talks[row.id]
        talk = Talk(row)
        await self._load_timeline(talk)
        if row.id in self._talks:  # somebody else was quicker while we read
            return self._talks[row.id]
        if row.id not in self._stored:
            self._stored[row.id] = row
            self._core.journal.write(keep_conversation(row))
        self._talks[row.id] = talk
        return talk

    async def _load_timeline(self, talk: Talk) -> None:
        store, timeline = self._core.store, talk.timeline

        def read() -> _Loaded:
            return _Loaded(
                floors=store.floors(talk.id),
                told=store.told_floors(talk.id),
                places=store.places(talk.id),
                recent=store.last_statements(talk.id, RECENT_FOR_HEADS),
                held=store.unshown(talk.id),
                operations=store.operations(talk.id),
            )

        loaded = await self._core.journal.read(read)
        for device, floor in loaded.floors.items():
            timeline.restore_chain(DeviceId(device), floor, loaded.told[device])
        for place in loaded.places:
            device, statement_id = DeviceId(place.device), MessageId(place.id)
            timeline.restore_place(
                device, place.counter, statement_id, place.depth, shown=place.shown, is_read=place.kind == "read"
            )
            if place.kind == LOST:
                timeline.lose(device, place.counter)
            elif place.kind in ("say", GONE) and place.shown and not place.hidden:
                talk.operations.restore_line(statement_id, PeerId(place.author))
        for row in loaded.operations:
            try:  # checked when it came; a damaged signature is found when it is sent on
                content = peek_message(row.raw).content
            except RemoteMisbehaved:
                self._lose(talk, row)
            else:
                talk.operations.take(MessageId(row.id), PeerId(row.author), content)
        for row in loaded.recent:
            if statement := self._opened(talk, row):
                timeline.restore_recent(statement)
        for row in loaded.held:
            if statement := self._opened(talk, row):
                timeline.restore_held(statement, self._core.now_s())

    def _opened(self, talk: Talk, row: StoredStatement) -> Statement | None:
        """What a row holds. The bytes on a disk can rot: then it is noted as lost, and others are asked for it again."""
        with contextlib.suppress(RemoteMisbehaved):
            statement = open_statement(row.raw, self._core.parameters.network_id)
            if statement.id == row.id:
                return statement
        self._lose(talk, row)
        return None

    def _lose(self, talk: Talk, row: StoredStatement) -> None:
        log.warning("a line in the history is damaged; it is asked for again")
        self._core.journal.write(lose_statement(row.id))
        talk.timeline.lose(DeviceId(row.device), row.counter)

    # --- comparing histories ---

    def opened_lines(self, talk: Talk, rows: list[StoredStatement]) -> list[tuple[StoredStatement, Statement]]:
        """Those of the rows that are not damaged."""
        return [(row, statement) for row in rows if (statement := self._opened(talk, row))]

    async def page_for(
        self, talk: Talk, theirs: Mapping[DeviceId, int], their_floors: Mapping[DeviceId, int]
    ) -> Page | None:
        """The next page of what somebody with this vector lacks; None when nothing."""
        store = self._core.store
        newcomer: Mapping[bytes, int] | None = None
        if not talk.direct and (their_floors or any(device not in theirs for device in talk.timeline.vector())):
            since_ms = self._core.wall_ms() - HISTORY_NEWCOMER_AGE_S * 1000
            known_ms = await self._core.journal.read(store.received_ms, talk.id, theirs)
            newcomer = await self._core.journal.read(
                store.newcomer_floors, talk.id, HISTORY_NEWCOMER_MESSAGES, since_ms, known_ms
            )
        todo = plan(theirs, talk.timeline.vector(), newcomer, their_floors)
        if not todo.ranges and todo.earlier is None:
            return None
        awaited = talk.timeline.awaited()
        await self._core.journal.flush()  # or a page had a line without the parent that came in a moment ago
        if todo.ranges:
            chains = await self._core.journal.read(self._read_chains, talk, todo.ranges)
            rows, more = cut_page(chains)
            more = more or any(len(chain) == CHAIN_ROWS_MAX for chain in chains)
            return self._page(todo, await self._whole(talk, rows), awaited, more=more)
        assert todo.earlier is not None
        chains = await self._core.journal.read(self._read_chains, talk, (todo.earlier,))
        rows, more = cut_end(chains[0], todo.earlier.upto)
        rows = await self._whole(talk, rows)
        return Page([row.raw for row in rows], {}, self._absent_parents(rows, awaited), more) if rows else None

    def _read_chains(self, talk: Talk, ranges: tuple[Range, ...]) -> list[list[StoredStatement]]:
        return [self._core.store.chain_after(talk.id, r.device, r.after, r.upto, CHAIN_ROWS_MAX) for r in ranges]

    async def _whole(self, talk: Talk, rows: list[StoredStatement]) -> list[StoredStatement]:
        """Those of a page that are as they were signed: one damaged line would cost us the link."""
        whole = await self._core.journal.read(self._are_whole, rows)
        for row in rows:
            if row.id not in whole and row.kind != GONE:
                self._lose(talk, row)
        return [row for row in rows if row.id in whole]

    def _are_whole(self, rows: list[StoredStatement]) -> set[bytes]:
        """Off the loop: checking a page takes long enough for others to notice."""
        whole = set()
        for row in rows:
            with contextlib.suppress(RemoteMisbehaved):
                statement = open_statement(row.raw, self._core.parameters.network_id)
                if statement.takes_back if row.kind == GONE else statement.id == row.id:
                    whole.add(row.id)
        return whole

    def _page(self, todo: Plan, rows: list[StoredStatement], awaited: frozenset[MessageId], *, more: bool) -> Page:
        # A floor is believed only beside the statement that stands on it: where a newcomer begins, and behind a gap that we
        # cannot fill. Those for which there is no room come again with the next comparison.
        after = {r.device: r.after for r in todo.ranges}
        floors: dict[DeviceId, int] = {}
        for row in rows:
            device = DeviceId(row.device)
            begins = row.counter == todo.floors.get(device) or row.counter > after[device] + 1
            if begins and len(floors) < SYNC_PAGE_FLOORS_MAX:
                floors[device] = row.counter
            after[device] = row.counter
        return Page([row.raw for row in rows], floors, self._absent_parents(rows, awaited), more)

    def _absent_parents(self, rows: list[StoredStatement], awaited: frozenset[MessageId]) -> list[bytes]:
        """Parents named in the page that the other side has, or will not get from here: pages are in causal order, so what
        is still to come is in this one, or is something that we wait for ourselves. But for what a deletion names that stands
        in the place of what it deletes."""
        named = {parent for row in rows if row.kind != GONE for parent in peek_parents(row.raw)}
        return sorted(named - {row.id for row in rows} - awaited)[:SYNC_PAGE_ABSENT_MAX]

    def keep_floor(self, talk: Talk, device: DeviceId) -> None:
        floor, told = talk.timeline.floor_of(device), talk.timeline.told_floor_of(device)
        self._core.journal.write(keep_floor(talk.id, device, floor, told))


RECENT_FOR_HEADS = 64
"""Newest statements read back at start to find the heads: a head is almost always among the last few."""
CHAIN_ROWS_MAX = 1_000
"""Rows of one device read for one page."""
