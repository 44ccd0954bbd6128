"""Running a command's coroutine: on uvloop when it is there, and ended in good order by the signals people send."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from typing import Any

from dhtchat.cli.errors import INTERRUPTED

_SIGNALS = {name: getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}


def run_until_done(body: Coroutine[Any, Any, int]) -> int:
    """Run to the end and return the exit code. A signal cancels `body`, which cleans up; then the code is 130.

    A body that catches the cancellation, whose argument is the signal's name, and returns decides the code itself. A
    second signal ends the process at once: whoever sends it does not want to wait for the cleaning up.
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
    ending = False

    def end(name: str) -> None:
        nonlocal ending
        if ending:
            os._exit(INTERRUPTED)
        ending = True
        task.cancel(name)

    for name, number in _SIGNALS.items():
        if name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
            continue  # started with nohup
        with contextlib.suppress(NotImplementedError, ValueError):  # Windows, or not the main thread
            loop.add_signal_handler(number, end, name)
    try:
        return await task
    except asyncio.CancelledError:
        return INTERRUPTED
