"""Many deadlines by one timer of the loop. Nearly all questions are answered in time: a timer for each, set and cancelled,
costs more than to ask."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Alarms(Generic[T]):
    """`ring` is called with each thing at its time, unless `is_over` says by then that it is settled."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ring: Callable[[T], None], is_over: Callable[[T], bool]
    ) -> None:
        self._loop = loop
        self._ring = ring
        self._is_over = is_over
        self._heap: list[tuple[float, int, T]] = []
        self._ties = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, thing: T, delay_s: float) -> None:
        at_s = self._loop.time() + delay_s
        heapq.heappush(self._heap, (at_s, next(self._ties), thing))
        if self._timer is None or at_s < self._timer.when():
            self._arm()

    def close(self) -> None:
        """Nothing that was set rings any more."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        """For the earliest that is not settled."""
        if self._timer is not None:
            self._timer.cancel()
        heap = self._heap
        while heap and self._is_over(heap[0][2]):
            heapq.heappop(heap)
        self._timer = self._loop.call_at(heap[0][0], self._wake) if heap else None

    def _wake(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        due: list[T] = []
        while self._heap and self._heap[0][0] <= now_s:
            due.append(heapq.heappop(self._heap)[2])
        if not due and self._heap:  # a real loop wakes a little before the time
            due.append(heapq.heappop(self._heap)[2])
        for thing in due:
            if not self._is_over(thing):
                self._ring(thing)
        self._arm()
