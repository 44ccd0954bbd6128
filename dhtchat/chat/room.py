"""One room as a member sees it: who is in it, what it is called, what its topic is. No I/O, no clock."""

import functools
from collections.abc import Container, Iterable
from typing import NamedTuple

from dhtchat.chat.entries import DeviceEntries
from dhtchat.ids import DeviceId, PeerDevice, PeerId, RoomId, labelled_hash
from dhtchat.limits import LISTERS_PER_ROOM, MEMBERS_MAX
from dhtchat.records.envelope import Signed
from dhtchat.records.membership import Membership
from dhtchat.records.message import SetTopic, Statement
from dhtchat.records.room import RoomGenesis, room_id_of


class MemberChange(NamedTuple):
    """A person came into the room with a first device, or left with the last."""

    peer: PeerId
    name: str
    joined: bool


class Room:
    """State of a room that this device is in."""

    def __init__(self, genesis: Signed[RoomGenesis]) -> None:
        self.genesis = genesis
        self.id: RoomId = room_id_of(genesis)
        self.name = genesis.body.name
        self.owner = PeerId(genesis.key)
        self.topic = ""
        self.topic_by: str | None = None
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

    def people(self) -> dict[PeerId, str]:
        return self._members.people()

    def devices(self) -> set[PeerDevice]:
        return {entry.who for entry in self._members}

    @property
    def version(self) -> int:
        """Grows whenever a member's device comes or goes."""
        return self._members.version

    def is_member(self, peer: PeerId) -> bool:
        return any(entry.who.peer == peer for entry in self._members)

    def take_topic(self, statement: Statement, depth: int) -> bool:
        """A topic statement that was shown; whether it is now the room's: the causally latest, ties by id."""
        if not isinstance(statement.body.content, SetTopic) or (depth, statement.id) <= self._topic_order:
            return False
        self._topic_order = (depth, statement.id)
        self.topic, self.topic_by = statement.body.content.text, statement.author.name
        return True

    def lists(self, who: PeerDevice) -> bool:
        """Whether this device is one of the few members who keep the room's directory entry fresh."""
        devices = {*self.devices(), who}
        return who in sorted(devices, key=lambda d: _turn(self.id, d))[:LISTERS_PER_ROOM]


@functools.lru_cache(maxsize=MEMBERS_MAX)
def _turn(room: RoomId, device: PeerDevice) -> bytes:
    """Where a device stands in the order of those who list a room. Asked every second."""
    return labelled_hash("lister", room, *device)


def _who(record: Signed[Membership]) -> PeerDevice:
    return PeerDevice(PeerId(record.key), DeviceId(record.body.device))
