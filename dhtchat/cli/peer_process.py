"""A dhtchat process driven from outside through line mode with `--json`, as any script could do it.

The demo uses it, and so do the tests that need real processes.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

EventFields = dict[str, Any]
_STREAM_LIMIT_BYTES = 4 * 1024 * 1024
"""A `history` event is one line and can be long."""


class StepFailed(Exception):
    """What was waited for did not come. The message says what, from whom, and what came instead."""


class PeerProcess:
    """One process and everything it has said. Kill or close it; leaving the block does."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.events: list[EventFields] = []
        self.errors: list[str] = []
        self._process = process
        self._news = asyncio.Condition()
        self._readers = [asyncio.create_task(self._read_events()), asyncio.create_task(self._read_errors())]

    @classmethod
    async def start(
        cls, name: str, arguments: list[str], *, data_dir: Path, password: str | None = None, cwd: Path | None = None
    ) -> Self:
        """Start `dhtchat ARGUMENTS --json --data-dir DATA_DIR`; a password goes to the first line of its input."""
        command = [sys.executable, "-m", "dhtchat", *arguments, "--json", "--data-dir", str(data_dir)]
        if password is not None:
            command.append("--password-stdin")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_STREAM_LIMIT_BYTES,
            cwd=cwd,
        )
        peer = cls(name, process)
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

    def say(self, line: str) -> None:
        """Type a line. What a process that has ended would have read is dropped."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(line.encode() + b"\n")

    def end_input(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def wait_for(
        self, what: str, matches: Callable[[EventFields], bool], *, timeout_s: float = 20.0, after: int = 0
    ) -> EventFields:
        """The first event from number `after` on that matches. Raises `StepFailed` when it does not come in time."""

        def found() -> EventFields | None:
            return next((event for event in self.events[after:] if matches(event)), None)

        try:
            async with asyncio.timeout(timeout_s), self._news:
                while (event := found()) is None:
                    if not self.running and self._readers[0].done():
                        raise StepFailed(f"{self.name} ended while waiting for {what}; {self._recently()}")
                    await self._news.wait()
                return event
        except TimeoutError:
            raise StepFailed(f"{self.name}: {what} did not come within {timeout_s:g} s; {self._recently()}") from None

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

    async def kill(self) -> None:
        """SIGKILL: no goodbye, no flush. Returns when it is gone."""
        if self.running:
            self._process.kill()
        await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self.end_input()

    def _recently(self) -> str:
        said = ", ".join(json.dumps(event) for event in self.events[-5:]) or "nothing"
        errors = " | ".join(self.errors[-6:])
        return f"last it said: {said}" + (f"; on standard error: {errors}" if errors else "")

    async def _read_events(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.errors.append(line.decode("utf-8", "replace").rstrip())
