"""An asyncio event loop on virtual time: nothing waits, the clock jumps to the next timer.

Built on `asyncio.BaseEventLoop`, so that tasks, futures, timeouts and TLS are CPython's own. One step of the loop,
`_run_once`, is ours, with a heap of plain tuples: a fake selector below CPython's own step works as well, but compares
timers in Python and asks about files that do not exist, which was a fifth of a run. The private parts of asyncio that this
needs (`_run_once`, `_ready`, `_stopping`, `_write_to_self`, `_timer_handle_cancelled`, and of a handle `_run`,
`_cancelled`, `_scheduled`) are pinned by `tests/simulated/test_loop.py`.
"""

import asyncio
import heapq
import itertools
import logging
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


_CANCELLED_KEPT_MAX: Final = 10_000
"""Cancelled timers that may lie in the heap until their time; above it they are cleared when they are half of it."""


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set, yet somebody waits. The message names the tasks."""


class _Happening:
    """What takes the place of a timer that nobody cancels: half the work, and half the work of a simulation are datagrams."""

    __slots__ = ("arguments", "callback", "loop")

    _cancelled = False
    _scheduled = False

    def __init__(self, loop: "VirtualLoop", callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.loop = loop
        self.callback = callback
        self.arguments = arguments

    def cancelled(self) -> bool:
        return False

    def _run(self) -> None:
        try:
            self.callback(*self.arguments)
        except Exception as error:  # noqa: BLE001 - as asyncio treats a callback's
            self.loop.call_exception_handler({"message": f"Exception in {self.callback}", "exception": error})


class VirtualLoop(base_events.BaseEventLoop):
    """Time starts at 0.0 and moves only when nothing is left to do at the present moment."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle | _Happening]] = []
        """When, and in which order of setting: equal times never depend on anything else."""
        self._ties = itertools.count()
        self._cancelled_timers = 0
        self._ready: deque[asyncio.Handle | _Happening]
        self._stopping: bool
        self.complaints: list[str] = []
        """What would otherwise only have been logged: exceptions nobody retrieved, callbacks that failed."""
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._now_s

    # --- one step ---

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined]
        heapq.heappush(self._timers, (when, next(self._ties), timer))
        return timer

    def happen_later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> None:
        """`call_later` for what is never cancelled and needs no context."""
        heapq.heappush(self._timers, (self._now_s + delay_s, next(self._ties), _Happening(self, callback, arguments)))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle._scheduled:  # type: ignore[attr-defined]
            self._cancelled_timers += 1

    def _run_once(self) -> None:
        """All that is ready now; when nothing is, time jumps to the next timer."""
        ready = self._ready
        if not ready and not self._stopping:
            self._jump()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _jump(self) -> None:
        """To the next timer, and make all that are due then ready. Those that were cancelled are no reason to jump."""
        timers = self._timers
        if self._cancelled_timers > max(_CANCELLED_KEPT_MAX, len(timers) // 2):
            timers = self._timers = [entry for entry in timers if not entry[2].cancelled()]
            heapq.heapify(timers)
            self._cancelled_timers = 0
        while timers and (timers[0][0] <= self._now_s or not self._ready):
            when_s, _, timer = heapq.heappop(timers)
            if timer._scheduled:  # type: ignore[union-attr]
                timer._scheduled = False  # type: ignore[union-attr]
            if timer._cancelled:
                self._cancelled_timers -= 1
                continue
            self._now_s = max(self._now_s, when_s)
            self._ready.append(timer)
        if not self._ready:
            raise Deadlock(f"nothing is ready and no timer is set; waiting: {self.waiting_tasks()}")

    def waiting_tasks(self) -> str:
        names = sorted(task.get_name() for task in asyncio.all_tasks(self) if not task.done())
        return ", ".join(names) or "nobody"

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        """Inline, as a step of its own: threads would make every run another one."""
        future: asyncio.Future[T] = self.create_future()

        def step() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to the one who waits
                future.set_exception(error)

        self.call_soon(step)
        return future

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run to the end, then see that nothing is left. Complaints are kept in `complaints`."""
        asyncio.set_event_loop(self)
        try:
            return self.run_until_complete(main)
        finally:
            self._cancel_leftovers()
            asyncio.set_event_loop(None)
            self.close()

    def _cancel_leftovers(self) -> None:
        leftover = [task for task in asyncio.all_tasks(self) if not task.done()]
        if leftover:
            self.complaints.append(f"left running: {', '.join(sorted(task.get_name() for task in leftover))}")
            for task in leftover:
                task.cancel()
            self.run_until_complete(asyncio.gather(*leftover, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.complaints.append(f"{context.get('message')}: {error!r}" if error else str(context.get("message")))
        log.error("%s", context.get("message"), exc_info=error)

    def _write_to_self(self) -> None:
        """Wakes a selector that waits; ours never does."""
