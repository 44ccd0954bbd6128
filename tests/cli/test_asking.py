"""What makes commands to a running peer start fast, checked without a clock."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process
HEAVY = ("asyncio", "ssl", "cryptography", "argon2", "kademlia", "msgspec", "zxcvbn", "dhtchat.app.node")


def test_asking_loads_nothing_heavy() -> None:
    """The cause of "a command to the running peer at most 1.3 times a bare Typer program"."""
    program = f"import sys, dhtchat.cli.asking; print([name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "[]\n"


def test_drawing_an_answer_loads_no_network_and_no_cryptography() -> None:
    program = (
        "import sys, dhtchat.cli.asking as asking\n"
        "printer = asking.Printer(json=False, user='alice'); printer.prepare(); printer.show(b'{\"event\": \"bye\"}\\n')\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "-- bye\n['msgspec']\n"


def test_help_loads_nothing_that_draws() -> None:
    """The cause of "`dhtchat --help` is no slower than a bare Typer program's": that spends half of its time on importing Rich."""
    heavy = (*HEAVY, "rich")
    program = (
        "import sys; from dhtchat.cli.main import run; run(['--help'])\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines()[0] == "Usage: dhtchat [OPTIONS] COMMAND [ARGS]..."
    assert ran.stdout.splitlines()[-1] == "[]"
