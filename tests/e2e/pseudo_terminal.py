"""A chat on a terminal of its own, as a person has it: what is typed is echoed, Ctrl-C is a signal, colours are possible."""

import asyncio
import codecs
import contextlib
import os
import signal
import sys
import termios
from pathlib import Path
from typing import Self


class PseudoTerminal:
    """Runs `dhtchat ARGUMENTS` there, or another module. `shown`: everything that reached the screen. POSIX only."""

    def __init__(
        self,
        *arguments: str,
        data_dir: Path | None = None,
        module: str = "dhtchat",
        environment: dict[str, str] | None = None,
        rows: int = 24,
        columns: int = 80,
    ) -> None:
        self.size = rows, columns
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        folder = ["--data-dir", str(data_dir)] if data_dir else []
        self._command = [sys.executable, "-m", module, *arguments, *folder]
        # COLUMNS and LINES, which pytest's workers have, would be believed instead of the size of this terminal.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._environment = {**inherited, "TERM": "xterm-256color", **(environment or {})}
        self.shown = ""
        self.news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        termios.tcsetwinsize(self._master, self.size)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=self._environment,
                preexec_fn=lambda: os.login_tty(slave),  # its own session with this as its terminal
            )
        finally:
            os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    def hang_up(self) -> None:
        """Close the window: what runs in it gets SIGHUP, and can write nowhere any more."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        self._master = -1

    async def __aexit__(self, *_: object) -> None:
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        if self._master >= 0:
            os.close(self._master)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown, as it is at a shell's prompt."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def resize(self, rows: int, columns: int) -> None:
        """As a window does whose edge is pulled; the process hears of it by a signal."""
        self.size = rows, columns
        termios.tcsetwinsize(self._master, self.size)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    async def shows(self, text: str, *, timeout_s: float = 30.0) -> None:
        """Until `text` has been on the screen."""
        await self.shows_times(text, 1, timeout_s=timeout_s)

    async def shows_times(self, text: str, count: int, *, timeout_s: float = 30.0) -> None:
        """Until `text` has been on the screen that often."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.shown.count(text) < count:
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(
                f"{text!r} was not shown {count} times within {timeout_s:g} s, but {self.shown!r}"
            ) from None

    async def echo_is(self, wanted: bool, *, timeout_s: float = 10.0) -> None:
        """Until what is typed is shown, or is not: nothing but looking tells of that."""
        async with asyncio.timeout(timeout_s):
            while self.echoes is not wanted:  # noqa: ASYNC110 - a terminal's settings cannot be waited for
                await asyncio.sleep(0.01)

    async def exit_code(self, *, timeout_s: float = 10.0) -> int:
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except BlockingIOError:
            return
        except OSError:  # Linux says EIO once nobody has the other side open any more
            asyncio.get_running_loop().remove_reader(self._master)
            return
        self.shown += self._decoder.decode(data)
        self.news.set()
