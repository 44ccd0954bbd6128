"""Soft entries as a reader remembers them: one per person and device, with a life, and tombstones that hide older versions. No I/O.

A device alone would not do: anybody can sign a record that names somebody else's device.

Fed from two sides: what neighbours announce at once, and what the DHT's replicas list now and then. Times are monotonic
seconds given by the caller.
"""

from collections.abc import Container, Iterator
from typing import Generic, NamedTuple, TypeVar

from dhtchat.ids import PeerDevice, PeerId
from dhtchat.limits import RECONCILE_GRACE_S
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
        self._entries: dict[PeerDevice, Entry[B]] = {}
        self._gone: dict[PeerDevice, tuple[int, float]] = {}
        """The tombstone's sequence and when it may be forgotten."""

    def __iter__(self) -> Iterator[Entry[B]]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def learn(self, who: PeerDevice, body: B, *, life_s: float, now_s: float) -> bool:
        """Take one record in; whether it was news. Older ones than what is known, tombstones included, are not."""
        known = self._entries.get(who)
        newest = max(known.body.sequence if known else 0, self._gone.get(who, (0, 0.0))[0])
        if body.sequence <= newest:
            if known and body.sequence == known.body.sequence and not body.gone:
                # The same version again: the replicas know better how long it lives.
                self._entries[who] = known._replace(expires_s=max(known.expires_s, now_s + life_s), learnt_s=now_s)
            return False
        if body.gone:
            self._entries.pop(who, None)
            self._gone[who] = (body.sequence, now_s + life_s)
        elif life_s > 0:
            self._entries[who] = Entry(who, body, now_s + life_s, now_s)
        return True

    def bury(self, who: PeerDevice, sequence: int, *, until_s: float) -> None:
        """Another record of the same device said goodbye: nothing older than that counts any more."""
        known = self._entries.get(who)
        if known is None or known.body.sequence <= sequence:
            self._entries.pop(who, None)
            self._gone[who] = (sequence, until_s)

    def reconcile(self, listed: Container[PeerDevice], keep: Container[PeerDevice], now_s: float) -> None:
        """After a complete reading: what replicas no longer list is gone, unless just learnt or in `keep` (linked)."""
        for who, entry in list(self._entries.items()):
            if who not in listed and who not in keep and entry.learnt_s < now_s - RECONCILE_GRACE_S:
                del self._entries[who]

    def expire(self, now_s: float) -> None:
        self._entries = {d: e for d, e in self._entries.items() if e.expires_s > now_s}
        self._gone = {d: g for d, g in self._gone.items() if g[1] > now_s}

    def people(self) -> dict[PeerId, str]:
        """Who is behind the devices, and under which name (the newest entry's)."""
        newest = sorted(self._entries.values(), key=lambda entry: entry.body.sequence)
        return {entry.who.peer: entry.body.name for entry in newest}
