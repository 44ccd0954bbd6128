"""Soft entries as a reader remembers them: one per person and device, with a life, and tombstones for those gone. No I/O.

A device alone would not do: anybody can sign a record that names somebody else's device. And anybody can sign as many as
they like, so people, devices of one person and tombstones are bounded here.

Fed from two sides: what neighbours announce at once, and what the DHT's replicas list now and then. Times are monotonic
seconds given by the caller.
"""

from collections.abc import Container, Iterator
from typing import Generic, NamedTuple, TypeVar

from dhtchat.ids import DeviceId, PeerDevice, PeerId
from dhtchat.limits import CLOCK_SKEW_S, DEVICES_PER_OWNER_MAX, MEMBERS_MAX, RECONCILE_GRACE_S
from dhtchat.records.soft import SoftBody

B = TypeVar("B", bound=SoftBody)


class Entry(NamedTuple, Generic[B]):
    who: PeerDevice
    body: B
    expires_s: float
    learnt_s: float


class DeviceEntries(Generic[B]):
    """The live entries of one set."""

    def __init__(self) -> None:
        self._people: dict[PeerId, dict[DeviceId, Entry[B]]] = {}
        self._gone: dict[PeerDevice, tuple[int, float]] = {}
        """The tombstone's sequence and when it may be forgotten, the oldest first."""
        self.version = 0
        """Grows whenever a device comes or goes."""

    def __iter__(self) -> Iterator[Entry[B]]:
        return (entry for devices in self._people.values() for entry in devices.values())

    def __len__(self) -> int:
        return sum(map(len, self._people.values()))

    def learn(self, who: PeerDevice, body: B, *, life_s: float, now_s: float) -> bool:
        """Take one record in; whether it was news. Older ones than what is known, tombstones included, are not."""
        known = self._people.get(who.peer, {}).get(who.device)
        newest = max(known.body.sequence if known else 0, self._gone.get(who, (0, 0.0))[0])
        if body.sequence <= newest:
            if known and body.sequence == known.body.sequence and not body.gone:
                # The same version again: the replicas know better how long it lives.
                known = known._replace(expires_s=max(known.expires_s, now_s + life_s), learnt_s=now_s)
                self._people[who.peer][who.device] = known
            return False
        if body.gone:
            # As long as an older version could live that was left behind somewhere: its ttl and the skew of clocks.
            self.bury(who, body.sequence, until_s=now_s + body.ttl_s + CLOCK_SKEW_S)
            return True
        return life_s > 0 and self._add(Entry(who, body, now_s + life_s, now_s))

    def _add(self, entry: Entry[B]) -> bool:
        if entry.who.peer not in self._people and len(self._people) >= MEMBERS_MAX:
            return False
        devices = self._people.setdefault(entry.who.peer, {})
        self.version += entry.who.device not in devices
        devices[entry.who.device] = entry
        if len(devices) > DEVICES_PER_OWNER_MAX:
            oldest = min(devices.values(), key=lambda each: (each.body.sequence, each.who.device))
            del devices[oldest.who.device]
            return oldest is not entry
        return True

    def bury(self, who: PeerDevice, sequence: int, *, until_s: float) -> None:
        """It said goodbye, in this set or in another: nothing older than that counts any more."""
        known = self._people.get(who.peer, {}).get(who.device)
        if known is not None:
            if known.body.sequence > sequence:
                return
            self._remove(who)
        buried, forgotten_s = self._gone.pop(who, (0, 0.0))
        self._gone[who] = (max(buried, sequence), max(forgotten_s, until_s))
        if len(self._gone) > MEMBERS_MAX:
            del self._gone[next(iter(self._gone))]

    def reconcile(
        self,
        listed: Container[PeerDevice],
        keep: Container[PeerDevice],
        now_s: float,
        *,
        grace_s: float = RECONCILE_GRACE_S,
    ) -> None:
        """After a complete reading: what replicas no longer list is gone, unless just learnt or in `keep` (linked)."""
        for entry in list(self):
            if entry.who not in listed and entry.who not in keep and entry.learnt_s < now_s - grace_s:
                self._remove(entry.who)

    def expire(self, now_s: float) -> None:
        for entry in [entry for entry in self if entry.expires_s <= now_s]:
            self._remove(entry.who)
        self._gone = {who: gone for who, gone in self._gone.items() if gone[1] > now_s}

    def _remove(self, who: PeerDevice) -> None:
        devices = self._people[who.peer]
        del devices[who.device]
        self.version += 1
        if not devices:
            del self._people[who.peer]

    def people(self) -> dict[PeerId, str]:
        """Who is behind the devices, and under which name (the newest entry's)."""
        newest = {peer: max(devices.values(), key=lambda e: e.body.sequence) for peer, devices in self._people.items()}
        return {peer: entry.body.name for peer, entry in newest.items()}
