"""What becomes of output that nobody can take."""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dhtchat.cli.output import Output

FULL = Path("/dev/full")
"""A device that has no room, see full(4)."""


@pytest.mark.process
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_the_end_of_output_and_no_bug() -> None:
    """As with a reader that has gone: said once to the program, and quiet after that, at the end of Python, too."""
    program = (
        "from dhtchat.chat.events import Bye\n"
        "from dhtchat.cli.output import Output\n"
        "output = Output(json=True)\n"
        "output.on_closed = lambda: closed.append(1)\n"
        "closed = []\n"
        "output.show(Bye())\n"
        "output.show(Bye())\n"
        "raise SystemExit(10 + len(closed))\n"
    )
    with FULL.open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (ended.returncode, ended.stderr) == (11, "")


async def test_a_reader_that_has_stopped_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal held with Ctrl-S, a pipe nobody reads: the peer goes on, and its words wait. A reader that reads, and a
    file, keep nobody waiting."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb", buffering=0) as reader, open(writing, "w", encoding="utf-8") as writer:
        monkeypatch.setattr(sys, "stdout", writer)
        output = Output(json=True)
        await asyncio.wait_for(output.ready(), 5.0)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(4_096))
        waiting = asyncio.create_task(output.ready())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        reader.read(64 * 1024)
        await asyncio.wait_for(waiting, 5.0)


async def test_a_file_behind_standard_output_is_always_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "output").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        await asyncio.wait_for(Output(json=False).ready(), 5.0)
