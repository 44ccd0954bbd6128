"""What becomes of output that nobody can take."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
FULL = Path("/dev/full")
"""A device that has no room, see full(4)."""


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
