"""What must be published again, and when. Nothing here may read a clock, draw a number or talk to anybody.

`Schedule` says what is due; `Announcer` keeps it for the soft records that this node publishes for its user, with the
sequence numbers they need.
"""

import heapq
import itertools
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from dhtchat.dht.contact import Contact
from dhtchat.limits import ANNOUNCE_DIRECT_MAX, ANNOUNCE_RETRY_S, SEQUENCE_LEAD_S_MAX, SOFT_REPLICAS
from dhtchat.records.kinds import SoftRecord

MakeRecord = Callable[[int, int, bool], SoftRecord]
"""Sequence number, time of issue (Unix seconds) and whether it says goodbye: the record to publish."""
_MS_PER_S = 1_000

T = TypeVar("T", bound=Hashable)


class Schedule(Generic[T]):
    """Things, each with the one time at which it is due."""

    def __init__(self) -> None:
        self._due_s: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._ties = itertools.count()

    def __contains__(self, thing: T) -> bool:
        return thing in self._due_s

    def put(self, thing: T, due_s: float) -> None:
        """Replaces an earlier time of the same thing."""
        self._due_s[thing] = due_s
        heapq.heappush(self._heap, (due_s, next(self._ties), thing))
        if len(self._heap) > 2 * len(self._due_s) + 1:  # mostly times that were replaced
            self._heap = [(due, next(self._ties), kept) for kept, due in self._due_s.items()]
            heapq.heapify(self._heap)

    def hasten(self, thing: T, due_s: float) -> None:
        """`put`, unless it is due earlier anyway."""
        if due_s < self._due_s.get(thing, float("inf")):
            self.put(thing, due_s)

    def drop(self, thing: T) -> None:
        self._due_s.pop(thing, None)

    def pop_due(self, now_s: float) -> T | None:
        """Something that is due, taken out; None when nothing is."""
        while self._heap and self._heap[0][0] <= now_s:
            due_s, _, thing = heapq.heappop(self._heap)
            if self._due_s.get(thing) == due_s:
                del self._due_s[thing]
                return thing
        return None

    def next_s(self) -> float | None:
        """When the next thing is due."""
        while self._heap and self._due_s.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


class Announcement:
    """One soft record that is kept alive until dropped."""

    def __init__(self, slot: str, make: MakeRecord, refresh_s: float) -> None:
        self.slot = slot
        self.make = make
        self.refresh_s = refresh_s
        self.record: SoftRecord | None = None
        """As it was published last."""
        self.holders: tuple[Contact, ...] = ()
        """Who stored it last time: told first, and without a search, when it is gone."""
        self.direct_left = 0
        """Refreshes that may still go to the holders without a search for others who have come nearer since."""
        self.depth: int | None = None
        """How far below the root of its tree it lives, 0 in a plain set; None when that is not known."""
        self.copies: set[int] = set()
        """Depths at which copies may be that must hear when it is gone."""

    def take_over(self, other: "Announcement") -> None:
        """What is known of where an earlier one for the same slot lies."""
        self.holders, self.depth, self.copies = other.holders, other.depth, other.copies


class Announcer:
    """The announcements of this node. `jitter` spreads an interval, so that nodes do not march in step."""

    def __init__(self, jitter: Callable[[float], float]) -> None:
        self._jitter = jitter
        self._announcements: dict[str, Announcement] = {}
        self._schedule: Schedule[str] = Schedule()
        self._last_sequence = 0

    def keep(self, slot: str, make: MakeRecord, refresh_s: float, now_s: float) -> None:
        """Due at once. Replaces what the slot held; where that lies is remembered."""
        announcement = Announcement(slot, make, refresh_s)
        if slot in self._announcements:
            announcement.take_over(self._announcements[slot])
        self._announcements[slot] = announcement
        self._schedule.put(slot, now_s)

    def drop(self, slot: str) -> Announcement | None:
        """No longer kept; returned for its goodbye."""
        self._schedule.drop(slot)
        return self._announcements.pop(slot, None)

    def get(self, slot: str) -> Announcement | None:
        return self._announcements.get(slot)

    def slots(self) -> list[str]:
        return list(self._announcements)

    def is_current(self, announcement: Announcement) -> bool:
        """Whether nothing has replaced or dropped it."""
        return self._announcements.get(announcement.slot) is announcement

    def pop_due(self, now_s: float) -> Announcement | None:
        """One to publish now; its next refresh is set."""
        slot = self._schedule.pop_due(now_s)
        if slot is None:
            return None
        announcement = self._announcements[slot]
        self._schedule.put(slot, now_s + self._jitter(announcement.refresh_s))
        return announcement

    def published(
        self, announcement: Announcement, record: SoftRecord, holders: tuple[Contact, ...], now_s: float
    ) -> None:
        """Who holds it now, after a search. When that is nobody, soon again."""
        announcement.record, announcement.holders = record, holders
        announcement.direct_left = ANNOUNCE_DIRECT_MAX if len(holders) >= SOFT_REPLICAS - 1 else 0
        if not holders and self.is_current(announcement):
            self._schedule.hasten(announcement.slot, now_s + self._jitter(ANNOUNCE_RETRY_S))

    def hurry(self, now_s: float) -> None:
        """The network is there again: everything is due."""
        for slot, announcement in self._announcements.items():
            announcement.direct_left = 0
            self._schedule.put(slot, now_s)

    def next_s(self) -> float | None:
        return self._schedule.next_s()

    # --- sequence numbers ---------------------------------------------------------------------------------------------

    def next_sequence(self, wall_s: float) -> int:
        """Above all used so far, and above those of an earlier run by the clock: nothing is kept on disk for it."""
        self._last_sequence = max(self._last_sequence + 1, int(wall_s * _MS_PER_S))
        return self._last_sequence

    def learn_sequence(self, held: int, wall_s: float) -> bool:
        """A replica says it holds this one of ours. Whether that is news, and so reason to publish once more above it.

        Believed within bounds: a lie may not push us to the end of all numbers.
        """
        if not self._last_sequence < held <= int((wall_s + SEQUENCE_LEAD_S_MAX) * _MS_PER_S):
            return False
        self._last_sequence = held
        return True
