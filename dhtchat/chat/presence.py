"""Who is online, from three sources: the directory, what neighbours announce, and links that are up or broke. No I/O.

A person is online while one of their devices has a link to us, or is listed and not suspected. A device is suspected when
its link broke and did not come back within LINK_GRACE_S; a record it signed since clears it.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dhtchat.chat.entries import DeviceEntries, Entry
from dhtchat.ids import DeviceId, PeerDevice, PeerId
from dhtchat.limits import CLOCK_SKEW_S, LINK_GRACE_S, PRESENCE_TTL_S
from dhtchat.records.envelope import Signed
from dhtchat.records.listing import UserListing
from dhtchat.records.presence import Presence

_SUSPECTED_TTLS = 2
"""For one ttl after a crash the replicas still hand out the last record, and what we read then lives for another."""


class PresenceChange(NamedTuple):
    peer: PeerId
    name: str
    online: bool
    away: str | None = None


class _Broken(NamedTuple):
    """When a link broke, by the clock that never jumps and by the one that records carry."""

    at_s: float
    wall_s: float


class Attendance:
    """Everybody we know of who is online."""

    def __init__(self) -> None:
        self._listed: DeviceEntries[UserListing] = DeviceEntries()
        self._present: DeviceEntries[Presence] = DeviceEntries()
        self._linked: dict[PeerDevice, str] = {}
        """The name each linked device proved."""
        self._broken: dict[PeerDevice, _Broken] = {}
        self._shown: dict[PeerId, str] = {}
        self._shown_away: dict[PeerId, str] = {}
        self.due_s = float("inf")
        """Before then nothing changes by itself: when to call `tick` at the latest."""

    def listed(self, records: Iterable[tuple[Signed[UserListing], float]], now_s: float) -> list[PresenceChange]:
        """A complete reading of the directory, (record, life in seconds) each."""
        found = set()
        for record, life_s in records:
            found.add(_who(record))
            self._listed.learn(_who(record), record.body, life_s=life_s, now_s=now_s)
        # Nothing in here was heard anywhere else, so what the directory no longer lists has left.
        self._listed.reconcile(found, self._linked, now_s, grace_s=0.0)
        # A presence record is read rarely and outlives a goodbye that we were not told: who is online is in the directory.
        self._present.reconcile(found, self._linked, now_s)
        return self._look(now_s)

    def announced(self, record: Signed[Presence], *, life_s: float, now_s: float) -> list[PresenceChange]:
        """A presence record, from its owner or a replica."""
        who = _who(record)
        self._present.learn(who, record.body, life_s=life_s, now_s=now_s)
        if record.body.gone:
            self._broken.pop(who, None)
            # Who says goodbye to us has not necessarily reached the directory yet.
            self._listed.bury(who, record.body.sequence, until_s=now_s + record.body.ttl_s + CLOCK_SKEW_S)
        return self._look(now_s)

    def link_up(self, who: PeerDevice, name: str, now_s: float) -> list[PresenceChange]:
        self._linked[who] = name
        self._broken.pop(who, None)
        return self._look(now_s)

    def link_down(self, who: PeerDevice, now_s: float, wall_s: float, *, on_purpose: bool) -> list[PresenceChange]:
        """`on_purpose`: the other side closed it and may well be online."""
        if self._linked.pop(who, None) and not on_purpose:
            self._broken[who] = _Broken(now_s, wall_s)
        return self._look(now_s)

    def tick(self, now_s: float) -> list[PresenceChange]:
        """What changed by now: records die and grace ends without any event."""
        return self._look(now_s) if now_s >= self.due_s else []

    def _look(self, now_s: float) -> list[PresenceChange]:
        self._listed.expire(now_s)
        self._present.expire(now_s)
        known = {entry.who for entry in self._known()} if self._broken else set()
        self._broken = {
            who: broken
            for who, broken in self._broken.items()
            if who in known or now_s < broken.at_s + _SUSPECTED_TTLS * PRESENCE_TTL_S
        }
        online = self.online(now_s)
        away = self._away()
        left = [PresenceChange(peer, name, online=False) for peer, name in self._shown.items() if peer not in online]
        came = [
            PresenceChange(peer, name, online=True, away=away.get(peer))
            for peer, name in online.items()
            if peer not in self._shown
        ]
        turned = [
            PresenceChange(peer, name, online=True, away=away.get(peer))
            for peer, name in online.items()
            if peer in self._shown and away.get(peer) != self._shown_away.get(peer)
        ]
        self._shown, self._shown_away = online, away
        self.due_s = min(self._turns(now_s), default=float("inf"))
        return left + came + turned

    def _turns(self, now_s: float) -> Iterator[float]:
        """When something changes by itself."""
        for entry in self._known():
            yield entry.expires_s
            broken = self._broken.get(entry.who)
            if broken is not None:
                for turn_s in (broken.at_s + LINK_GRACE_S, broken.at_s + _SUSPECTED_TTLS * entry.body.ttl_s):
                    if turn_s > now_s:
                        yield turn_s
        for broken in self._broken.values():
            forgotten_s = broken.at_s + _SUSPECTED_TTLS * PRESENCE_TTL_S
            if forgotten_s > now_s:  # later those who are still listed keep it
                yield forgotten_s

    def _away(self) -> dict[PeerId, str]:
        """What people left on leaving the keyboard; "" for those whose words are not known."""
        found = {entry.who.peer: "" for entry in self._listed if entry.body.away}
        return found | {entry.who.peer: entry.body.away for entry in self._present if entry.body.away}

    def online(self, now_s: float) -> dict[PeerId, str]:
        """Person -> name."""
        found = {entry.who.peer: entry.body.name for entry in self._known() if not self._suspected(entry, now_s)}
        return found | {who.peer: name for who, name in self._linked.items()}

    def away_of(self, peer: PeerId) -> str | None:
        """What somebody left on leaving the keyboard: None when there, "" when they said no more than that."""
        return self._away().get(peer)

    def since_of(self, peer: PeerId) -> int | None:
        """When somebody came online (Unix seconds), as far as their presence record was read."""
        return min((entry.body.since_s for entry in self._present if entry.who.peer == peer), default=None)

    def _known(self) -> Iterator[Entry[UserListing] | Entry[Presence]]:
        yield from self._listed
        yield from self._present

    def _suspected(self, entry: Entry[UserListing] | Entry[Presence], now_s: float) -> bool:
        """Whether a record may be what a crashed device left behind."""
        broken = self._broken.get(entry.who)
        if broken is None or entry.body.issued_at_s > broken.wall_s:
            return False
        return broken.at_s + LINK_GRACE_S <= now_s < broken.at_s + _SUSPECTED_TTLS * entry.body.ttl_s


def _who(record: Signed[UserListing] | Signed[Presence]) -> PeerDevice:
    return PeerDevice(PeerId(record.key), DeviceId(record.body.device))
