"""The conversations of this device: each a `Timeline` in memory and its rows on disk."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dhtchat.app.core import Core
from dhtchat.chat.sync import Plan, Range, cut_end, cut_page, plan
from dhtchat.chat.timeline import Timeline
from dhtchat.history.store import StoredConversation, StoredPlace, StoredStatement, keep_conversation, keep_floor
from dhtchat.ids import DeviceId, MessageId, PeerId
from dhtchat.limits import (
    HISTORY_NEWCOMER_AGE_S,
    HISTORY_NEWCOMER_MESSAGES,
    SYNC_PAGE_ABSENT_MAX,
    SYNC_PAGE_FLOORS_MAX,
)
from dhtchat.records.message import Statement, direct_conversation, open_statement, peek_parents


class Talk:
    """A room's or two people's talk. `name`: the room's with its `#`, or the other person's."""

    def __init__(self, row: StoredConversation) -> None:
        self.id = row.id
        self.direct = row.direct
        self.name = row.name
        self.peer = PeerId(row.peer)
        self.muted = row.muted
        self.timeline = Timeline(row.id)

    @property
    def row(self) -> StoredConversation:
        return StoredConversation(self.id, self.direct, self.name, self.peer, self.muted)


class Page(NamedTuple):
    """What somebody lacks, ready for the wire."""

    statements: list[bytes]
    floors: dict[DeviceId, int]
    absent: list[bytes]
    more: bool


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
        return await self._open(self._stored.get(room, StoredConversation(room, False, name, b"", False)))

    async def open_direct(self, peer: PeerId, name: str) -> Talk:
        conversation = direct_conversation(self._core.me.peer, peer)
        return await self._open(
            self._stored.get(conversation, StoredConversation(conversation, True, name, peer, False))
        )

    def close(self, conversation: bytes) -> None:
        self._talks.pop(conversation, None)

    def set_muted(self, talk: Talk, muted: bool) -> None:
        talk.muted = muted
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
        store, network_id, timeline = self._core.store, self._core.parameters.network_id, talk.timeline

        def read() -> tuple[dict[bytes, int], list[StoredPlace], list[Statement], list[Statement]]:
            recent = store.last_statements(talk.id, RECENT_FOR_HEADS)
            held = store.unshown(talk.id)
            return (
                store.floors(talk.id),
                store.places(talk.id),
                [open_statement(row.raw, network_id) for row in recent],
                [open_statement(row.raw, network_id) for row in held],
            )

        floors, places, recent, held = await self._core.journal.read(read)
        for device, floor in floors.items():
            timeline.restore_chain(DeviceId(device), floor)
        for place in places:
            timeline.restore_place(
                DeviceId(place.device), place.counter, MessageId(place.id), place.depth, shown=place.shown
            )
        for statement in recent:
            timeline.restore_recent(statement)
        for statement in held:
            timeline.restore_held(statement, self._core.now_s())

    # --- comparing histories ---

    async def page_for(
        self, talk: Talk, theirs: Mapping[DeviceId, int], their_floors: Mapping[DeviceId, int]
    ) -> Page | None:
        """The next page of what somebody with this vector lacks; None when nothing."""
        store = self._core.store
        newcomer: Mapping[bytes, int] | None = None
        if not talk.direct and (their_floors or any(device not in theirs for device in talk.timeline.vector())):
            since_ms = self._core.wall_ms() - HISTORY_NEWCOMER_AGE_S * 1000
            newcomer = await self._core.journal.read(
                store.newcomer_floors, talk.id, HISTORY_NEWCOMER_MESSAGES, since_ms
            )
        todo = plan(theirs, talk.timeline.vector(), newcomer, their_floors)
        if not todo.ranges and todo.earlier is None:
            return None
        awaited = talk.timeline.awaited()
        await self._core.journal.flush()  # or a page had a line without the parent that came in a moment ago
        if todo.earlier is None:
            return await self._core.journal.read(self._read_page, talk, todo, awaited)
        return await self._core.journal.read(self._read_earlier, talk, todo.earlier, awaited)

    def _read_earlier(self, talk: Talk, earlier: Range, awaited: frozenset[MessageId]) -> Page | None:
        chain = self._core.store.chain_after(talk.id, earlier.device, earlier.after, earlier.upto, CHAIN_ROWS_MAX)
        rows, more = cut_end(chain, earlier.upto)
        return Page([row.raw for row in rows], {}, self._absent_parents(rows, awaited), more) if rows else None

    def _read_page(self, talk: Talk, todo: Plan, awaited: frozenset[MessageId]) -> Page:
        chains = [self._core.store.chain_after(talk.id, r.device, r.after, r.upto, CHAIN_ROWS_MAX) for r in todo.ranges]
        rows, more = cut_page(chains)
        more = more or any(len(chain) == CHAIN_ROWS_MAX for chain in chains)
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
        is still to come is in this one, or is something that we wait for ourselves."""
        named = {parent for row in rows for parent in peek_parents(row.raw)}
        return sorted(named - {row.id for row in rows} - awaited)[:SYNC_PAGE_ABSENT_MAX]

    def keep_floor(self, talk: Talk, device: DeviceId) -> None:
        self._core.journal.write(keep_floor(talk.id, device, talk.timeline.floor_of(device)))


RECENT_FOR_HEADS = 64
"""Newest statements read back at start to find the heads: a head is almost always among the last few."""
CHAIN_ROWS_MAX = 1_000
"""Rows of one device read for one page."""
