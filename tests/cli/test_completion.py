"""What a shell is offered: commands, and the options of the one that is being typed."""

import os
import subprocess
import sys

import pytest

from dhtchat.cli.main import COMMANDS, COMPLETION_VARIABLE

pytestmark = pytest.mark.process


def offered(words: str, position: int) -> list[str]:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(position), COMPLETION_VARIABLE: "complete_bash"}
    command = [sys.executable, "-m", "dhtchat"]
    ran = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout.split()


def test_commands_and_their_options_are_completed() -> None:
    assert offered("dhtchat s", 1) == [name for name in COMMANDS if name.startswith("s")]
    assert offered("dhtchat send --wa", 2) == ["--wait"]
    assert offered("dhtchat join --pl", 2) == ["--plain"]
