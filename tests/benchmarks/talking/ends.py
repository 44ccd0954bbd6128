"""What is asked of every system: say a line, and know that the other side has it. One file beside this one for each.

Two ends, each in a process of its own. The near one says and measures; the far one is started by it, says in one line of
JSON where it is, answers "cpu" with the seconds of processor it has used, and ends with its standard input.
"""

import asyncio
import json
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

DISK_FIRST_LINES = 400
"""Said before the clock starts where lines are kept: until the write-ahead log of SQLite has been through its first
checkpoint. Before, each commit makes the file longer, which costs a flush of the file system's own journal."""
TEXT_BYTES = 200
"""Each line: what people type, and then some."""
START_BOUND_S = 90.0
"""Until a far end has said where it is, and until both ends know each other."""


class NotInstalled(Exception):
    """The system is not here; str() says how to get it."""


class Talk(ABC):
    """The near end. Lines go by number, so that an answer finds its line."""

    slower = 1
    """How many times fewer lines it is asked for: a system that takes a tenth of a second each would take all day."""
    first_lines = 20
    """Said before the clock starts: caches, pools, addresses."""
    may_idle = True
    """Whether an end that nobody talks to can be compared: it keeps its place in a network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Empty, and on the same disk for everybody."""
        self.far: FarEnd

    @abstractmethod
    async def start(self) -> None:
        """Both ends are up and know each other."""

    @abstractmethod
    async def say(self, number: int) -> bool:
        """Say a line and return once the other side has acknowledged it."""

    async def stop(self) -> None:  # noqa: B027 - most have nothing that outlives this process
        """End what else was started."""


def text_of(number: int) -> str:
    """Line `number`; it begins with that."""
    return f"{number:08d} ".ljust(TEXT_BYTES, "x")


def number_of(text: str) -> int:
    return int(text[:8])


class FarEnd:
    """A far end as the near one sees it. Ends with this process at the latest: its standard input does."""

    def __init__(self, process: asyncio.subprocess.Process, hello: dict[str, Any]) -> None:
        self._process = process
        self.hello = hello

    @classmethod
    async def start(cls, system: str, **told: str) -> "FarEnd":
        """`told`: what it must know. Raises `NotInstalled` when it does not come up."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.benchmarks.talking", system, "--far", json.dumps(told)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(START_BOUND_S):
            line = await process.stdout.readline()
        if not line:
            raise NotInstalled(f"the far end of {system} did not come up, see above")
        return cls(process, json.loads(line))

    async def cpu_s(self) -> float:
        """Processor time of that process, all threads."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"cpu\n")
        return float(await self._process.stdout.readline())

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def be_far(hello: dict[str, Any]) -> None:
    """In a far end that is up: say where it is, and answer until the near end is gone."""
    print(json.dumps(hello), flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(time.process_time(), flush=True)
