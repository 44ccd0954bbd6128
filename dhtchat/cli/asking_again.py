"""A question while a peer is already at work: asked in a thread, given up with the task that waits for the answer.

`getpass` in a thread cannot be interrupted, and until it has ended nothing typed is shown. So the thread is one that may be
left behind, and the terminal is put right from outside.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator


async def ask_meanwhile(ask: Callable[[], str]) -> str:
    """What `ask` returns, or raises. Cancelled, it leaves the terminal as it found it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def settle(typed: str | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(typed or "")

    def run() -> None:
        typed, error = None, None
        try:
            typed = ask()
        except BaseException as raised:  # noqa: BLE001 - it is raised where the answer is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants an answer any more
            loop.call_soon_threadsafe(settle, typed, error)

    with terminal_kept():
        # A daemon: waiting for an answer that never comes must not keep the program from ending.
        threading.Thread(target=run, name="question", daemon=True).start()
        return await answer


@contextlib.contextmanager
def terminal_kept() -> Iterator[None]:
    """Afterwards the terminal shows what is typed, if it did before. Where there is none, nothing happens."""
    try:
        import termios
    except ImportError:  # Windows, where `getpass` changes nothing that outlives it
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            terminal = stack.enter_context(open("/dev/tty", "rb", buffering=0))  # the one that `getpass` asks
        except OSError:
            yield
            return
        before = termios.tcgetattr(terminal)
        try:
            yield
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
