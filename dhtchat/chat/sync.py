"""Who lacks what: two members compare vectors (device -> contiguous counter) and send what is missing. No I/O.

Pages are in causal order (depth, id) across all devices, so a page followed by the next never names a parent that is still
to come. docs/protocol.md, "Comparing histories".
"""

import heapq
import itertools
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from dhtchat.ids import DeviceId
from dhtchat.limits import (
    SYNC_DEVICES_MAX,
    SYNC_PAGE_BYTES_MAX,
    SYNC_PAGE_STATEMENTS_MAX,
    SYNC_SOURCES_MAX,
    SYNC_TURN_S,
)


class Range(NamedTuple):
    """Statements of `device` with `after` < counter <= `upto`."""

    device: DeviceId
    after: int
    upto: int


class Plan(NamedTuple):
    """What to send, and where the history begins of those devices of which somebody has nothing and gets only the end."""

    ranges: tuple[Range, ...]
    floors: dict[DeviceId, int]
    earlier: Range | None = None
    """What lies before the floor of somebody whom a third person gave less than we give newcomers, or lied to about where
    history begins. Sent from its end, when nothing else is, so that each page moves the floor."""


class Row(Protocol):
    """A stored statement, as far as paging needs it."""

    @property
    def id(self) -> bytes: ...
    @property
    def counter(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def raw(self) -> bytes: ...


R = TypeVar("R", bound=Row)


def cut_vector(vector: Mapping[DeviceId, int], start: bytes) -> dict[DeviceId, int]:
    """What one comparison names: all of it, or as many as fit from `start` on around the circle of ids.

    With another random start each time every device gets its turn, however many there are (anybody can make thousands).
    """
    ordered = sorted(vector.items())
    if len(ordered) < SYNC_DEVICES_MAX:
        return dict(ordered)
    at = bisect_left(ordered, start, key=lambda item: item[0])
    return dict(itertools.islice(itertools.chain(ordered[at:], ordered[:at]), SYNC_DEVICES_MAX))


def _covered(theirs: Mapping[DeviceId, int]) -> Callable[[DeviceId], bool]:
    """About which devices a vector made by `cut_vector` says something; those not named are missing there."""
    if len(theirs) < SYNC_DEVICES_MAX:
        return lambda device: True
    first, *_, last = theirs
    if first <= last:
        return lambda device: first <= device <= last
    return lambda device: device >= first or device <= last


def plan(
    theirs: Mapping[DeviceId, int],
    mine: Mapping[DeviceId, int],
    newcomer_floors: Mapping[bytes, int] | None,
    their_floors: Mapping[DeviceId, int] | None = None,
) -> Plan:
    """What `theirs`, in the order in which it was said, lacks of `mine`. `their_floors`: where it does not begin at 1.

    `newcomer_floors`: per device the first counter for those who have nothing of it; a device that is not named there has
    said nothing recent, and nothing of it is sent nor said. None: everything is sent (private talk).
    """
    ranges: list[Range] = []
    floors: dict[DeviceId, int] = {}
    covered = _covered(theirs)
    for device, upto in sorted(mine.items()):
        if not covered(device):
            continue
        after = theirs.get(device, 0)
        if not after and newcomer_floors is not None:
            after = newcomer_floors.get(device, upto + 1) - 1
            if 0 < after < upto:
                floors[device] = after + 1
        if after < upto:
            ranges.append(Range(device, after, upto))
    earlier = None if ranges else _earlier(their_floors or {}, mine, newcomer_floors or {})
    return Plan(tuple(ranges), floors, earlier)


def _earlier(
    their_floors: Mapping[DeviceId, int], mine: Mapping[DeviceId, int], newcomer_floors: Mapping[bytes, int]
) -> Range | None:
    for device, theirs in sorted(their_floors.items()):
        first = newcomer_floors.get(device, theirs)
        if first < theirs <= mine.get(device, 0):
            return Range(device, first - 1, theirs - 1)
    return None


S = TypeVar("S", bound=Hashable)


class CatchUp(Generic[S]):
    """Whom to ask for the next page of one conversation, of several members (`S`, links) who have what is missing here.

    One page is asked for at a time, from one after the other: pages are in causal order, so two at once would be mostly the
    same, and nobody has to carry it all. Who does not send one within SYNC_TURN_S loses the turn.
    """

    def __init__(self) -> None:
        self._ahead: dict[S, dict[DeviceId, int]] = {}
        """Where somebody has more than we had when we heard of it; in the order in which they are asked."""
        self._asked: tuple[S, float] | None = None

    def heard(self, source: S, theirs: Mapping[DeviceId, int], mine: Mapping[DeviceId, int]) -> None:
        """What somebody says they have."""
        ahead = {device: upto for device, upto in theirs.items() if upto > mine.get(device, 0)}
        if ahead:
            if source not in self._ahead and len(self._ahead) >= SYNC_SOURCES_MAX:
                return
            self._ahead[source] = ahead
        else:
            self.drop(source)

    def missing(self, source: S, mine: Mapping[DeviceId, int]) -> int:
        """How many statements that member has said to have that are not here."""
        return sum(max(0, upto - mine.get(device, 0)) for device, upto in self._ahead.get(source, {}).items())

    def ask(self, source: S, now_s: float) -> bool:
        """Whether a page may be asked for there; then it counts as asked."""
        if self._asked is not None and self._asked[0] != source and now_s - self._asked[1] < SYNC_TURN_S:
            return False
        self._asked = (source, now_s)
        return True

    def on_page(self, source: S, *, news: bool) -> None:
        """A page came, with something new in it or not."""
        if not news:
            self.drop(source)
        elif self._asked is not None and self._asked[0] == source:
            self._asked = None

    def drop(self, source: S) -> None:
        """It has nothing for us, or is gone."""
        self._ahead.pop(source, None)
        if self._asked is not None and self._asked[0] == source:
            self._asked = None

    def next_source(self, mine: Mapping[DeviceId, int]) -> S | None:
        """Whose turn it is: of those who have something that is not here, who was not asked for longest."""
        if self._asked is not None:
            return None
        for source in list(self._ahead):
            ahead = self._ahead.pop(source)
            if any(upto > mine.get(device, 0) for device, upto in ahead.items()):
                self._ahead[source] = ahead  # behind all others now
                return source
        return None


def cut_page(chains: Iterable[Iterable[R]]) -> tuple[list[R], bool]:
    """Merge chains, each by increasing depth, into one page; the bool says whether anything was left over."""
    return _fill(heapq.merge(*chains, key=lambda row: (row.depth, row.id)))


def cut_end(chain: Sequence[R], upto: int) -> tuple[list[R], bool]:
    """The end of one chain, without a gap before `upto`, as much as fits; the same way."""
    rows = (row for row, counter in zip(reversed(chain), itertools.count(upto, -1)) if row.counter == counter)
    page, more = _fill(rows)
    return page[::-1], more


def _fill(rows: Iterator[R]) -> tuple[list[R], bool]:
    page: list[R] = []
    page_bytes = 0
    for row in rows:
        page_bytes += len(row.raw)
        if page and (page_bytes > SYNC_PAGE_BYTES_MAX or len(page) == SYNC_PAGE_STATEMENTS_MAX):
            return page, True
        page.append(row)
    return page, False
