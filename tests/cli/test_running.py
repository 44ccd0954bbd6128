"""How a command ends when it is told to."""

import signal
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]
STUBBORN = """
import asyncio
from dhtchat.cli.running import run_until_done

async def body():
    try:
        print("runs", flush=True)
        await asyncio.Event().wait()
    except asyncio.CancelledError as cancelled:
        print(*cancelled.args, flush=True)
        {then}
        return 0

raise SystemExit(run_until_done(body()))
"""


def started(then: str, *before: str) -> subprocess.Popen[str]:
    """A command that runs. `then`: what it does when it is cancelled."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", STUBBORN.format(then=then)],
        stdout=subprocess.PIPE,
        text=True,
        # Whoever runs the tests may be under nohup themselves.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "runs\n"
    return process


def test_the_first_signal_is_a_request_and_says_which_it_was() -> None:
    with started("await asyncio.sleep(0)") as process:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == ("SIGTERM\n", 0)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_at_once(second: signal.Signals) -> None:
    """Whatever the cleaning up waits for."""
    with started("await asyncio.Event().wait()") as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "SIGINT\n"
        process.send_signal(second)
        assert process.wait(timeout=20) == 130


def test_who_is_started_with_nohup_does_not_hear_of_the_terminal() -> None:
    """SIGHUP is ignored there before we start, and stays so; else it ends us as the others do."""
    with started("await asyncio.sleep(0)", "nohup") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert out == "SIGTERM\n"
    with started("await asyncio.sleep(0)") as process:
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(timeout=20)
    assert out == "SIGHUP\n"
