"""Running a command's coroutine: on uvloop when it is there, and ended in good order by the signals people send."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any

from dhtchat.cli.errors import INTERRUPTED

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def run_until_done(body: Coroutine[Any, Any, int]) -> int:
    """Run to the end and return the exit code. A signal cancels `body`, which cleans up; then the code is 130.

    A body that catches the cancellation and returns decides the code itself.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_cancelled_by_signals(body))


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _cancelled_by_signals(body: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(body)
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        with contextlib.suppress(NotImplementedError, ValueError):  # Windows, or not the main thread
            loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return INTERRUPTED
