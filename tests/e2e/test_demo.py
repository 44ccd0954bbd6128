"""`dhtchat demo`, as somebody sees it who has just cloned the project."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from dhtchat.cli.peer_process import die_with_parent
from tests.e2e.proc import ONLY_LINUX, processes_that_mention

pytestmark = pytest.mark.process

NICE_ENDING = "nothing is left running"


async def test_the_demo_plays_to_its_end_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """ "ends by itself within 60 s, leaves no process or file behind; exit 0 only if each step was checked" """
    code, shown = await _demo(tmp_path, timeout_s=60.0)
    assert code == 0, shown
    assert NICE_ENDING in shown
    assert "FAILED" not in shown
    assert list(tmp_path.iterdir()) == []
    assert processes_that_mention(str(tmp_path)) == []


@ONLY_LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_an_interrupted_demo_leaves_nothing_behind_either(tmp_path: Path, number: signal.Signals) -> None:
    """ "leaves no process or file behind": Ctrl-C in the middle. After SIGKILL nobody can tidy up, but its processes go."""
    process = await _start(tmp_path)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30.0):
            while b"process" not in (await process.stdout.readline()):  # the bootstrap node is there
                pass
            assert processes_that_mention(str(tmp_path)) != []
            process.send_signal(number)
            assert await process.wait() == (-signal.SIGKILL if number is signal.SIGKILL else 130)
            while processes_that_mention(str(tmp_path)):  # noqa: ASYNC110 - the kernel tells nobody but init
                await asyncio.sleep(0.01)
    finally:
        await _end(process)
    if number is not signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


async def _demo(folder: Path, *, timeout_s: float) -> tuple[int, str]:
    process = await _start(folder)
    try:
        async with asyncio.timeout(timeout_s):
            shown, _ = await process.communicate()
    finally:
        await _end(process)
    assert process.returncode is not None
    return process.returncode, shown.decode()


async def _start(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dhtchat", "demo"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(folder)},
        preexec_fn=die_with_parent,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()  # on Linux its processes die with it
    await process.communicate()
