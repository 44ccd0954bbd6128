"""One room as a member sees it: who is in it and as what, what it is called, what its topic is. No I/O, no clock."""

import functools
from collections.abc import Container, Iterable
from typing import NamedTuple

from dhtchat.chat.entries import DeviceEntries
from dhtchat.chat.room_graph import NOBODY, Right, RoomGraph
from dhtchat.ids import DeviceId, MessageId, PeerDevice, PeerId, RoomId, labelled_hash
from dhtchat.limits import CLOCK_SKEW_S, HANDS_MAX, LISTERS_PER_ROOM, MEMBERS_MAX
from dhtchat.records.envelope import Signed
from dhtchat.records.membership import Membership
from dhtchat.records.message import Content, Edit, Hand, React, Say, SetTopic, Statement
from dhtchat.records.room import RoomGenesis, room_id_of
from dhtchat.records.ruling import RulingId


class MemberChange(NamedTuple):
    """A person came into the room with a first device, or left with the last."""

    peer: PeerId
    name: str
    joined: bool


class _Hand(NamedTuple):
    """The last that somebody said about their hand."""

    order: tuple[int, MessageId]
    up: bool
    heads: tuple[bytes, ...]
    name: str


class Room:
    """State of a room that this device is in. Whom it does not let in is not in it, whatever their records say."""

    def __init__(self, genesis: Signed[RoomGenesis]) -> None:
        self.genesis = genesis
        self.id: RoomId = room_id_of(genesis)
        self.name = genesis.body.name
        self.graph = RoomGraph(PeerId(genesis.key))
        self.door: RulingId | None = None
        """What closed it, as the DHT says. Until that is here we do not know what was ruled, and whom we may tell anything."""
        self.mates: frozenset[PeerId] = frozenset()
        """Who can tell us until then."""
        self.said_topic = ""
        """By a message, of which none counts once there are rulings."""
        self._said_topic_by: str | None = None
        self._hands: dict[PeerId, _Hand] = {}
        self._topic_order: tuple[int, bytes] = (0, b"")
        self._members: DeviceEntries[Membership] = DeviceEntries()

    def learn_member(self, record: Signed[Membership], *, life_s: float, now_s: float) -> list[MemberChange]:
        """A membership record of this room, verified, from a neighbour or a replica."""
        before = self._members.people()
        self._members.learn(_who(record), record.body, life_s=life_s, now_s=now_s)
        return self._changes(before)

    def reconcile(
        self,
        listed: Iterable[tuple[Signed[Membership], float]],
        linked: Container[PeerDevice],
        now_s: float,
    ) -> list[MemberChange]:
        """A complete reading of the replicas: (record, life in seconds) each. Devices with a link stay in any case."""
        before = self._members.people()
        found = set()
        for record, life_s in listed:
            found.add(_who(record))
            self._members.learn(_who(record), record.body, life_s=life_s, now_s=now_s)
        self._members.reconcile(found, linked, now_s)
        self._members.expire(now_s)
        return self._changes(before)

    def _changes(self, before: dict[PeerId, str]) -> list[MemberChange]:
        after = self._members.people()
        left = [MemberChange(peer, name, joined=False) for peer, name in before.items() if peer not in after]
        came = [MemberChange(peer, name, joined=True) for peer, name in after.items() if peer not in before]
        return sorted(left + came, key=lambda change: (change.joined, change.name))

    @property
    def owner(self) -> PeerId:
        return self.graph.now.owner

    @property
    def is_arriving(self) -> bool:
        """Whether it is closed and we have not heard yet by what."""
        return self.door is not None and self.door not in self.graph

    @property
    def is_closed(self) -> bool:
        """Whether only those may know who is in it whom it lets in."""
        return self.graph.now.closed or self.is_arriving

    def lets_in(self, peer: PeerId) -> bool:
        """Whether somebody may hear anything of it, and be heard."""
        return peer in self.mates if self.is_arriving else self.graph.now.lets_in(peer)

    def insiders(self) -> list[PeerId]:
        """Who may be in it, while it is closed; sorted."""
        return sorted(self.mates if self.is_arriving else self.graph.now.insiders())

    def people(self) -> dict[PeerId, str]:
        return {peer: name for peer, name in self._members.people().items() if self.lets_in(peer)}

    def devices(self) -> set[PeerDevice]:
        return {entry.who for entry in self._members if self.lets_in(entry.who.peer)}

    def present(self) -> list[PeerId]:
        """Everybody whose membership we know, let in or not."""
        return list(self._members.people())

    def expel(self, peer: PeerId, now_s: float) -> None:
        """Somebody was thrown out: what they said of being here until now does not count any more."""
        for entry in [entry for entry in self._members if entry.who.peer == peer]:
            self._members.bury(entry.who, entry.body.sequence, until_s=now_s + entry.body.ttl_s + CLOCK_SKEW_S)

    @property
    def version(self) -> int:
        """Grows whenever a member's device comes or goes."""
        return self._members.version

    def is_member(self, peer: PeerId) -> bool:
        return self.lets_in(peer) and any(entry.who.peer == peer for entry in self._members)

    def rulers(self) -> list[PeerId]:
        """Those who are here and can rule."""
        return [peer for peer in self.people() if self.graph.now.rank(peer) != NOBODY]

    @property
    def topic(self) -> str:
        if not len(self.graph):
            return self.said_topic
        return self.graph.now.topic or ""

    @property
    def topic_by(self) -> str | None:
        if not len(self.graph):
            return self._said_topic_by
        ruling = self.graph.ruling(self.graph.now.topic_by)
        return None if ruling is None else ruling.body.by

    def take_hand(self, statement: Statement, depth: int) -> bool:
        """Somebody raised or lowered a hand, and it counts; whether anything changed. The causally latest holds."""
        content, peer, order = statement.body.content, statement.author.peer, (depth, statement.id)
        known = self._hands.get(peer)
        if not isinstance(content, Hand) or (known is not None and order <= known.order):
            return False
        before = peer in self.hands()
        self._hands[peer] = _Hand(order, content.up, tuple(statement.body.heads), statement.author.name)
        if len(self._hands) > HANDS_MAX:
            oldest = min(self._hands, key=lambda each: (self._hands[each].up, self._hands[each].order))
            del self._hands[oldest]
        return (peer in self.hands()) is not before

    def hands(self) -> dict[PeerId, str]:
        """Who asks for the floor and under which name, who asked first first; without those who have got it since."""
        graph, now = self.graph, self.graph.now
        up = [
            (hand.order, peer, hand.name)
            for peer, hand in self._hands.items()
            if hand.up
            and not now.may(peer, Right.SPEAK)
            and now.lets_in(peer)
            and not graph.closed_since(hand.heads)
            and not graph.has_floor_since(peer, hand.heads)
        ]
        return {peer: name for _, peer, name in sorted(up)}

    def take_topic(self, statement: Statement, depth: int) -> bool:
        """A topic statement that was shown; whether it is now the room's: the causally latest, ties by id."""
        if not isinstance(statement.body.content, SetTopic) or (depth, statement.id) <= self._topic_order:
            return False
        self._topic_order = (depth, statement.id)
        self.said_topic, self._said_topic_by = statement.body.content.text, statement.author.name
        return True

    def lists(self, who: PeerDevice) -> bool:
        """Whether this device is one of the few members who keep the room's directory entry fresh."""
        devices = {*self.devices(), who}
        return who in sorted(devices, key=lambda d: _turn(self.id, d))[:LISTERS_PER_ROOM]


def right_of(content: Content) -> Right:
    """What somebody needs to say that in a room."""
    match content:
        case Say() | Edit() | React():
            return Right.SPEAK
        case SetTopic():
            return Right.SET_TOPIC
        case Hand(up=True):
            return Right.RAISE_HAND
    return Right.TAKE_PART


@functools.lru_cache(maxsize=MEMBERS_MAX)
def _turn(room: RoomId, device: PeerDevice) -> bytes:
    """Where a device stands in the order of those who list a room. Asked every second."""
    return labelled_hash("lister", room, *device)


def _who(record: Signed[Membership]) -> PeerDevice:
    return PeerDevice(PeerId(record.key), DeviceId(record.body.device))
