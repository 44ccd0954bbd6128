"""Who lacks what: two members compare vectors (device -> contiguous counter) and send what is missing. No I/O.

Pages are in causal order (depth, id) across all devices, so a page followed by the next never names a parent that is still
to come. docs/protocol.md, "Comparing histories".
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar

from dhtchat.ids import DeviceId
from dhtchat.limits import SYNC_PAGE_BYTES_MAX, SYNC_PAGE_STATEMENTS_MAX


class Range(NamedTuple):
    """Statements of `device` with `after` < counter <= `upto`."""

    device: DeviceId
    after: int
    upto: int


class Plan(NamedTuple):
    """What to send, and where the history begins of those devices of which somebody has nothing and gets only the end."""

    ranges: tuple[Range, ...]
    floors: dict[DeviceId, int]


class Row(Protocol):
    """A stored statement, as far as paging needs it."""

    @property
    def id(self) -> bytes: ...
    @property
    def depth(self) -> int: ...
    @property
    def raw(self) -> bytes: ...


R = TypeVar("R", bound=Row)


def plan(
    theirs: Mapping[DeviceId, int], mine: Mapping[DeviceId, int], newcomer_floors: Mapping[bytes, int] | None
) -> Plan:
    """What `theirs` lacks of `mine`.

    `newcomer_floors`: per device the first counter for those who have nothing of it; a device that is not named there has
    said nothing recent, and nothing of it is sent nor said. None: everything is sent (private talk).
    """
    ranges: list[Range] = []
    floors: dict[DeviceId, int] = {}
    for device, upto in sorted(mine.items()):
        after = theirs.get(device, 0)
        if not after and newcomer_floors is not None:
            after = newcomer_floors.get(device, upto + 1) - 1
            if 0 < after < upto:
                floors[device] = after + 1
        if after < upto:
            ranges.append(Range(device, after, upto))
    return Plan(tuple(ranges), floors)


def cut_page(chains: Iterable[Iterable[R]]) -> tuple[list[R], bool]:
    """Merge chains, each by increasing depth, into one page; the bool says whether anything was left over."""
    rows: Iterator[R] = heapq.merge(*chains, key=lambda row: (row.depth, row.id))
    page: list[R] = []
    page_bytes = 0
    for row in rows:
        page_bytes += len(row.raw)
        if page and (page_bytes > SYNC_PAGE_BYTES_MAX or len(page) == SYNC_PAGE_STATEMENTS_MAX):
            return page, True
        page.append(row)
    return page, False
