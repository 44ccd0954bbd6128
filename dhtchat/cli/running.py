"""Running a command's coroutine: on uvloop when it is there, and ended in good order by the signals people send."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from dhtchat.cli.errors import INTERRUPTED

_SIGNALS = {name: getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}


def run_until_done(body: Coroutine[Any, Any, int]) -> int:
    """Run to the end and return the exit code. A signal cancels `body`, which cleans up; then the code is 130.

    A body that catches the cancellation, whose argument is the signal's name, and returns decides the code itself. A
    second signal ends the process at once: whoever sends it does not want to wait for the cleaning up.
    """
    with interrupts_held() as release, asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_cancelled_by_signals(body, release))


@contextlib.contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """A Ctrl-C waits until what is yielded is called: one that came while a loop is being made would leave half a loop, and
    a traceback when that is thrown away. On Windows it does not wait."""
    if not hasattr(signal, "pthread_sigmask"):
        yield lambda: None
        return

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield release
    finally:
        release()


def loop_factory() -> Any:
    """Of uvloop where it is installed; None: of asyncio itself."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _cancelled_by_signals(body: Coroutine[Any, Any, int], release: Callable[[], None]) -> int:
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
    release()
    try:
        return await task
    except asyncio.CancelledError:
        return INTERRUPTED
