"""The five minutes of docs/tutorial.md, typed and looked at as they stand there, in two terminals."""

import contextlib
import os
import re
import shlex
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from dhtchat.app.settings import BOOTSTRAP_VARIABLE
from tests.docs.on_this_machine import PORT_VARIABLE
from tests.docs.pages import read
from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.e2e.seen import Seen

pytestmark = [pytest.mark.process, pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")]

PAGE: Final = read("docs/tutorial.md")
PASSWORD: Final = "quiet-otter-fixes-lamps"
USUAL_PORT: Final = "8468"
_BLOCK: Final = re.compile(r"^<!-- tutorial: (\w+) -->\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_QUESTION: Final = re.compile(
    r"(?P<prompt>1 or 2 \(.*?\): |[\w ]+ \(Enter alone for [#\w]+\): |(?:User name|New password|The same again|Password of \w+): )"
    r"(?P<typed>.+)"
)
"""A line of a dialogue: what is asked, and what is typed behind it."""


class Screen:
    """One of the two terminals, with one command after the other."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._stack = contextlib.AsyncExitStack()
        self._asked: dict[str, int] = {}

    async def start(self, command: str) -> None:
        if hasattr(self, "terminal"):
            assert await self.terminal.exit_code(timeout_s=30.0) == 0, self.terminal.shown
        self.terminal = PseudoTerminal(
            *shlex.split(command)[1:], module="tests.docs.on_this_machine", environment=self._environment, columns=100
        )
        await self._stack.enter_async_context(self.terminal)
        self._seen = Seen(self.terminal)
        self._asked.clear()

    async def close(self) -> None:
        await self._stack.aclose()

    async def answer(self, prompt: str, typed: str) -> None:
        self._asked[prompt] = self._asked.get(prompt, 0) + 1
        await self.terminal.shows_times(prompt, self._asked[prompt])
        if typed == "(hidden)":
            await self.terminal.echo_is(False)
        self.terminal.type({"(hidden)": PASSWORD, "(Enter)": ""}.get(typed, typed) + "\n")

    async def play(self, line: str) -> None:
        """A command, something to type in the chat, an answer, or something that is seen."""
        if line.startswith("$ "):
            await self.start(line[2:])
        elif line.startswith("> "):
            self.terminal.type(line[2:] + "\r")
        elif match := _QUESTION.fullmatch(line):
            await self.answer(match["prompt"], match["typed"])
        else:
            await self._seen.shows(line.strip(), timeout_s=60.0)


@pytest.fixture
def port() -> str:
    """One for UDP that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        free = str(probe.getsockname()[1])
    return free


@pytest.fixture
async def screens(tmp_path: Path, port: str) -> AsyncIterator[dict[str, Screen]]:
    """Two terminals of one person's machine: they share the data folder."""
    environment = {"XDG_DATA_HOME": str(tmp_path), BOOTSTRAP_VARIABLE: "", PORT_VARIABLE: port}
    both = {name: Screen(environment) for name in ("first", "second")}
    try:
        yield both
    finally:
        for screen in both.values():
            await screen.close()
        for file in tmp_path.rglob("control.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.mark.timeout(300)
async def test_the_tutorial_is_what_happens(screens: dict[str, Screen], port: str) -> None:
    assert PASSWORD in PAGE
    blocks = _BLOCK.findall(PAGE)
    assert len(blocks) == PAGE.count("<!-- tutorial:") > 5
    for name, text in blocks:
        for line in text.splitlines():
            await screens[name].play(line.replace(USUAL_PORT, port))
    for screen in screens.values():
        assert await screen.terminal.exit_code(timeout_s=30.0) == 0
        assert "Traceback" not in screen.terminal.shown
