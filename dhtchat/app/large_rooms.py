"""Rooms of more than ROOM_MESH_MAX members: puts the machines of `chat/spreading.py` on links.

What is said in such a room goes to neighbours along a tree; what that misses comes with a comparison of histories, as everywhere.
While we have too few neighbours, because the room has just grown or we have just come, it goes to every member who has a link
with us as well.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple

from dhtchat.app.alarm import Alarm
from dhtchat.app.core import Core
from dhtchat.app.rooms import JoinedRoom, Rooms
from dhtchat.chat.broadcast import Announced, Graft, Prune, Push, Sent, Wanted
from dhtchat.chat.spreading import Spreading
from dhtchat.chat.views import Spoken
from dhtchat.ids import MessageId, PeerDevice, RoomId
from dhtchat.limits import OWN_NEIGHBOURS, PUSHED_KEPT_BYTES_MAX, PUSHED_KEPT_MAX, ROOM_MESH_AGAIN, ROOM_MESH_MAX
from dhtchat.peer import messages as wire
from dhtchat.peer.link import Link
from dhtchat.peer.pool import LinkPool
from dhtchat.records.message import Statement

Out = Iterable[Spoken[PeerDevice] | Sent[PeerDevice]]


class _Recent:
    """The last messages that went through here, for those who ask for one."""

    def __init__(self) -> None:
        self._raw: dict[bytes, bytes] = {}
        self._bytes = 0

    def add(self, statement: Statement) -> None:
        for place in statement.takes_back:
            self._drop(place.id)
        if statement.id not in self._raw:
            self._raw[statement.id] = statement.raw
            self._bytes += len(statement.raw)
        while len(self._raw) > PUSHED_KEPT_MAX or self._bytes > PUSHED_KEPT_BYTES_MAX:
            self._drop(next(iter(self._raw)))

    def get(self, message: bytes) -> bytes | None:
        return self._raw.get(message)

    def _drop(self, message: bytes) -> None:
        self._bytes -= len(self._raw.pop(message, b""))


class _LargeRoom(NamedTuple):
    spreading: Spreading[PeerDevice]
    recent: _Recent


class LargeRooms:
    """The large ones among our rooms. No task of its own but `run`."""

    def __init__(self, core: Core, rooms: Rooms, pool: LinkPool, *, on_wanted: Callable[[], None]) -> None:
        """`on_wanted`: told when there is somebody new to have a link with."""
        self._core = core
        self._rooms = rooms
        self._pool = pool
        self._on_wanted = on_wanted
        self._large: dict[RoomId, _LargeRoom] = {}
        self._alarm = Alarm(core.runtime.clock)

    async def run(self) -> None:
        """Until cancelled: what is due in each of them."""
        while True:
            for room_id, large in list(self._large.items()):
                if self._core.now_s() >= large.spreading.next_s():
                    self._perform(room_id, large, large.spreading.tick(self._core.now_s()))
            await self._alarm.sleep(min((large.spreading.next_s() for large in self._large.values()), default=inf))

    # --- which rooms, and with whom ---

    def is_large(self, room_id: bytes) -> bool:
        return room_id in self._large

    def neighbours(self, room_id: bytes) -> list[PeerDevice]:
        """Ours in a large room; nobody in a small one."""
        large = self._large.get(RoomId(room_id))
        return large.spreading.views.neighbours if large is not None else []

    @property
    def most_neighbours(self) -> int:
        """In one room."""
        return max((len(large.spreading.views) for large in self._large.values()), default=0)

    def wanted_devices(self) -> set[PeerDevice]:
        """With whom to have a link for the sake of our rooms: in small ones everybody, in large ones neighbours."""
        wanted: set[PeerDevice] = set()
        for joined in self._rooms.joined():
            large = self._large.get(joined.room.id)
            wanted |= joined.room.devices() if large is None else set(large.spreading.views.wanted)
        return wanted

    def look_again(self) -> None:
        """Members have come or gone, or a room was entered or left."""
        joined = {each.room.id: each for each in self._rooms.joined()}
        for room_id in [room_id for room_id in self._large if room_id not in joined]:
            self._end(room_id)
        for room_id, each in joined.items():
            others = self._others(each)
            size = self._size(each)
            if room_id not in self._large and size > ROOM_MESH_MAX:
                self._begin(each)
            elif room_id in self._large and size <= ROOM_MESH_AGAIN:
                self._end(room_id)
            if (large := self._large.get(room_id)) is not None:
                self._perform(room_id, large, large.spreading.on_roster(others, self._core.now_s()))
                for who in large.spreading.views.wanted:
                    if not self._may_be_neighbour(each, who):
                        self._perform(room_id, large, large.spreading.drop(who, self._core.now_s()))

    def _size(self, joined: JoinedRoom) -> int:
        """How many members there are, as far as it matters: in a closed room, which no replica knows of, all are linked."""
        if joined.room.is_closed:
            return 0
        return max(len(self._others(joined)) + 1, self._rooms.estimate(joined.room.id))

    def _others(self, joined: JoinedRoom) -> list[PeerDevice]:
        return sorted(joined.room.devices() - {self._core.me.who})

    def _may_be_neighbour(self, joined: JoinedRoom, who: PeerDevice) -> bool:
        """Of a room that is read whole we know all members, of others at least who was thrown out."""
        room, me = joined.room, self._core.me.peer
        sampled = self._rooms.estimate(room.id) > 0
        return not room.graph.now.is_banned(who.peer) and (sampled or who.peer == me or room.is_member(who.peer))

    def _begin(self, joined: JoinedRoom) -> _LargeRoom:
        spreading: Spreading[PeerDevice] = Spreading(
            lambda message: joined.talk.timeline.holds(MessageId(message)), self._core.runtime.random
        )
        large = self._large[joined.room.id] = _LargeRoom(spreading, _Recent())
        return large

    def _end(self, room_id: RoomId) -> None:
        large = self._large.pop(room_id)
        for who in large.spreading.views.wanted:
            self._send(who, wire.Neighbour(room_id, "no"))
        self._on_wanted()

    # --- links ---

    def link_up(self, link: Link) -> None:
        for room_id, large in self._large.items():
            self._perform(room_id, large, large.spreading.on_link_up(link.author.who))

    def link_down(self, link: Link) -> None:
        for room_id, large in self._large.items():
            sent = large.spreading.on_link_down(link.author.who, self._core.now_s())
            self._perform(room_id, large, sent)

    # --- what others say; that they may, is for the caller to check ---

    def on_neighbour(self, joined: JoinedRoom, who: PeerDevice, message: wire.Neighbour) -> None:
        large = self._large.get(joined.room.id)
        if large is None:
            if message.word not in ("please", "urgent"):
                return
            if self._size(joined) <= ROOM_MESH_AGAIN:
                self._send(who, wire.Neighbour(joined.room.id, "no"))
                return
            large = self._begin(joined)  # others know of more members than we do
            self._perform(joined.room.id, large, large.spreading.on_roster(self._others(joined), self._core.now_s()))
        self._perform(joined.room.id, large, large.spreading.on_word(who, message.word, self._core.now_s()))

    def on_frame(self, room_id: bytes, who: PeerDevice, frame: Announced | Wanted | Graft | Prune) -> None:
        large = self._large.get(RoomId(room_id))
        if large is None:
            self._send(who, wire.Neighbour(room_id, "no"))
        else:
            self._perform(RoomId(room_id), large, large.spreading.on_frame(who, frame, self._core.now_s()))

    # --- messages ---

    def may_spread(self, room_id: bytes, author: bytes) -> bool:
        """Whether one more new message of that author is taken from a neighbour now."""
        large = self._large.get(RoomId(room_id))
        return large is None or large.spreading.may_spread(author, self._core.now_s())

    def say(self, room_id: bytes, statement: Statement) -> list[PeerDevice]:
        """One of our own, on its way to neighbours; to whom it went."""
        large = self._large[RoomId(room_id)]
        large.recent.add(statement)
        sent = large.spreading.say(statement.id, self._core.now_s())
        self._perform(RoomId(room_id), large, sent)
        return [each.to for each in sent if isinstance(each, Sent)]

    def has_few_neighbours(self, room_id: bytes) -> bool:
        """Fewer than we choose ourselves."""
        return len(self._large[RoomId(room_id)].spreading.views) < OWN_NEIGHBOURS

    def on_new(self, room_id: bytes, statement: Statement, source: PeerDevice | None, survey: int | None) -> None:
        """It is verified and taken. `source`: who pushed it, None when it came in another way."""
        large = self._large.get(RoomId(room_id))
        if large is not None:
            large.recent.add(statement)
            sent = large.spreading.on_new(statement.id, source, self._core.now_s(), survey=survey)
            self._perform(RoomId(room_id), large, sent)

    def on_known(self, room_id: bytes, message: bytes, source: PeerDevice, survey: int | None) -> None:
        large = self._large.get(RoomId(room_id))
        if large is not None:
            sent = large.spreading.on_known(message, source, self._core.now_s(), survey=survey)
            self._perform(RoomId(room_id), large, sent)

    def on_useless(self, source: PeerDevice, room_id: bytes | None = None) -> None:
        """Somebody pushed what cannot be verified (then it is of no room), or is of nobody who may speak."""
        for each, large in list(self._large.items()):
            if room_id in (None, each) and source in large.spreading.views:
                self._perform(each, large, large.spreading.on_useless(source, self._core.now_s()))

    # --- doing it ---

    def _perform(self, room_id: RoomId, large: _LargeRoom, sent: Out) -> None:
        """What finds no link or a full queue is lost; what this costs is made good by ticks and comparisons."""
        for each in sent:
            match each:
                case Spoken(to, word):
                    if not self._send(to, wire.Neighbour(room_id, word)):
                        self._on_wanted()
                case Sent(to, Push(message, survey)):
                    raw = large.recent.get(message)
                    if raw is not None:
                        self._send(to, wire.Pushed(raw, survey))
                case Sent(to, Announced(ids)):
                    self._send(to, wire.Announced(room_id, list(ids)))
                case Sent(to, Wanted(ids)):
                    self._send(to, wire.Wanted(room_id, list(ids)))
                case Sent(to, Graft() | Prune() as frame):
                    self._send(to, wire.Branch(room_id, isinstance(frame, Graft)))
        self._alarm.by(large.spreading.next_s())

    def _send(self, who: PeerDevice, message: wire.PeerMessage) -> bool:
        link = self._pool.get(who.device)
        return link is not None and link.author.who == who and link.send_soon(message)
