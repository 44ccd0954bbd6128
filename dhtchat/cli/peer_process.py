"""A dhtchat process driven from outside through line mode, as any script could do it.

The demo uses it, and so do the tests that need real processes. Nothing here waits for luck: whoever waits says for what
and how long, and `StepFailed` says what came instead.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

EventFields = dict[str, Any]
_STREAM_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""A `history` event is one line and can be long."""
_LAST_WORDS_TIMEOUT_S: Final = 5.0
"""What a killed process wrote before is still in the pipes."""
_PR_SET_PDEATHSIG: Final = 1
"""From linux/prctl.h."""


class StepFailed(Exception):
    """What was waited for did not come. The message says what, from whom, and what came instead."""


class PeerProcess:
    """One process and everything it has said. Kill or close it; leaving the block does."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, *, json: bool) -> None:
        self.name = name
        self.lines: list[str] = []
        """Standard output as it came."""
        self.events: list[EventFields] = []
        """The same, read as JSON."""
        self.errors: list[str] = []
        """Standard error."""
        self._json = json
        self._process = process
        self._ended = False
        self._news = asyncio.Condition()
        self._readers = [asyncio.create_task(self._follow()), asyncio.create_task(self._read_errors())]

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: list[str],
        *,
        data_dir: Path,
        password: str | None = None,
        json: bool = True,
        module: str = "dhtchat",
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Self:
        """Start `dhtchat ARGUMENTS --json --data-dir DATA_DIR`; a password goes to the first line of its input.

        `environment` is added to ours. On Linux the process dies with us, however we end.
        """
        command = [sys.executable, "-m", module, *arguments, "--data-dir", str(data_dir)]
        if json:
            command.append("--json")
        if password is not None:
            command.append("--password-stdin")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_STREAM_LIMIT_BYTES,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            preexec_fn=die_with_parent,
        )
        peer = cls(name, process, json=json)
        if password is not None:
            peer.say(password)
        return peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    # --- what we do to it ---

    def say(self, line: str) -> None:
        """Type a line. What a process that has ended would have read is dropped."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(line.encode() + b"\n")

    def end_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def send_signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL: no goodbye, no flush. Returns when it is gone and all it wrote has been read."""
        if self.running:
            self._process.kill()
        await self._process.wait()
        await asyncio.wait(self._readers, timeout=_LAST_WORDS_TIMEOUT_S)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self.end_input()

    # --- what we wait for ---

    async def wait_until(self, what: str, is_so: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
        """Until something holds, asked whenever it has said something. Raises `StepFailed` when that is not in time."""
        try:
            async with asyncio.timeout(timeout_s), self._news:
                while not is_so():
                    if self._ended:
                        raise StepFailed(f"{self.name} ended while waiting for {what}; {self._recently()}")
                    await self._news.wait()
        except TimeoutError:
            raise StepFailed(f"{self.name}: {what} did not come within {timeout_s:g} s; {self._recently()}") from None

    async def wait_for(
        self, what: str, matches: Callable[[EventFields], bool], *, timeout_s: float = 20.0, after: int = 0
    ) -> EventFields:
        """The first event from number `after` on that matches. Raises `StepFailed` when it does not come in time."""
        looked_at = after

        def found() -> bool:
            nonlocal looked_at
            while looked_at < len(self.events) and not matches(self.events[looked_at]):
                looked_at += 1
            return looked_at < len(self.events)

        await self.wait_until(what, found, timeout_s=timeout_s)
        return self.events[looked_at]

    async def wait_for_event(
        self, name: str, /, *, timeout_s: float = 20.0, after: int = 0, **fields: Any
    ) -> EventFields:
        """The first event of a kind with these fields."""
        wanted = {"event": name, **fields}
        what = " ".join(f"{key}={value}" for key, value in wanted.items())
        return await self.wait_for(
            what,
            lambda event: all(event.get(key) == value for key, value in wanted.items()),
            timeout_s=timeout_s,
            after=after,
        )

    async def ask(self, line: str, answer: str, *, timeout_s: float = 20.0) -> EventFields:
        """Type a command and wait for the event that answers it."""
        after = len(self.events)
        self.say(line)
        return await self.wait_for_event(answer, timeout_s=timeout_s, after=after)

    def messages(self, **fields: Any) -> list[EventFields]:
        """The `message` events so far with these fields."""
        return [
            event
            for event in self.events
            if event["event"] == "message" and all(event.get(key) == value for key, value in fields.items())
        ]

    async def exit_code(self, *, timeout_s: float = 20.0) -> int:
        """Wait for the end of the process."""
        try:
            async with asyncio.timeout(timeout_s):
                code = await self._process.wait()
                await asyncio.gather(*self._readers)
        except TimeoutError:
            raise StepFailed(f"{self.name} did not end within {timeout_s:g} s; {self._recently()}") from None
        return code

    # --- inside ---

    def _recently(self) -> str:
        said = ", ".join(self.lines[-5:]) or "nothing"
        errors = " | ".join(self.errors[-6:])
        return f"last it said: {said}" + (f"; on standard error: {errors}" if errors else "")

    async def _follow(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                async with self._news:
                    self._take(line.decode("utf-8", "replace").removesuffix("\n"))
                    self._news.notify_all()
            await self._process.wait()
        finally:
            self._ended = True
            async with self._news:
                self._news.notify_all()

    def _take(self, line: str) -> None:
        self.lines.append(line)
        if self._json:
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.errors.append(f"this is not JSON: {line!r}")

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.errors.append(line.decode("utf-8", "replace").rstrip())


def _prepare_death_with_parent() -> Callable[[], None] | None:
    """What a new process runs first, so that the kernel kills it when we end; None where no kernel does."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec as little as possible may happen
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


die_with_parent: Final = _prepare_death_with_parent()
