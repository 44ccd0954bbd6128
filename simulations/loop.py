"""An asyncio event loop on virtual time: nothing waits, the clock jumps to the next timer.

Built on `asyncio.BaseEventLoop`, so that tasks, futures, timeouts and TLS are CPython's own. Four private hooks of it are
used (`_selector`, `_process_events`, `_write_to_self`, `_clock_resolution`); `tests/simulated/test_loop.py` fails if a
Python version changes them.
"""

import asyncio
import logging
import selectors
from asyncio import base_events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set, yet somebody waits. The message names the tasks."""


class _FakeSelector(selectors.BaseSelector):
    """Never waits for a file: tells the loop that the time it wanted to wait has passed."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock(f"nothing is ready and no timer is set; waiting: {self._loop.waiting_tasks()}")
        if timeout > 0:
            self._loop.jump()
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise RuntimeError("a simulated program has no files to wait for")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise RuntimeError("a simulated program has no files to wait for")

    def get_map(self) -> Any:
        return {}

    def close(self) -> None:
        pass


class VirtualLoop(base_events.BaseEventLoop):
    """Time starts at 0.0 and moves only when nothing is left to do at the present moment."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._selector = _FakeSelector(self)
        self._clock_resolution = 1e-9
        self.complaints: list[str] = []
        """What would otherwise only have been logged: exceptions nobody retrieved, callbacks that failed."""
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._now_s

    def jump(self) -> None:
        """To the next timer. Called by the selector when nothing is ready."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        self._now_s = max(self._now_s, scheduled[0].when())

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

    def _process_events(self, event_list: Any) -> None:
        """There are none: everything is a callback or a timer."""

    def _write_to_self(self) -> None:
        """Wakes a selector that waits; ours never does."""
