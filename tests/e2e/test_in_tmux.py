"""Two people at full screens in tmux, which draws them itself and holds back what may become an Alt key.

Issue 7, "What it must show", 1.
"""

import asyncio
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.world import LOCALLY, World, password_of

pytestmark = [pytest.mark.process, pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")]


class Tmux:
    """A server of its own, with a window for each person."""

    def __init__(self, folder: Path) -> None:
        self._command = ["tmux", "-S", str(folder / "s"), "-f", os.devnull]
        self._environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "TMUX")
        }

    async def run(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        said, _ = await process.communicate()
        return said.decode()

    async def open(self, name: str, *command: str) -> None:
        await self.run("new-session", "-d", "-s", name, "-x", "100", "-y", "24", f"exec {shlex.join(command)}")

    async def type(self, name: str, text: str, *keys: str) -> None:
        """Letter by letter, then the keys of these names."""
        await self.run("send-keys", "-t", name, "-l", text)
        if keys:
            await self.run("send-keys", "-t", name, *keys)

    async def shows(self, name: str, text: str, timeout_s: float = 60.0) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while text not in await self.run("capture-pane", "-p", "-t", name):  # noqa: ASYNC110 - a screen has no event
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{name} does not see {text!r}:\n" + await self.run("capture-pane", "-p", "-t", name))

    async def kill(self, name: str) -> None:
        os.kill(int(await self.run("display-message", "-p", "-t", name, "#{pane_pid}")), signal.SIGKILL)
        async with asyncio.timeout(30.0):
            while f"{name}:" in await self.run("list-sessions"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@pytest.fixture
async def tmux() -> AsyncIterator[Tmux]:
    with tempfile.TemporaryDirectory(prefix="tmux-") as folder:  # the path of a socket has to be short
        server = Tmux(Path(folder))
        yield server
        await server.run("kill-server")


async def test_two_people_in_tmux(world: World, tmux: Tmux) -> None:
    await world.open_door()

    async def join(name: str, *options: str) -> None:
        network = ["--network", str(world.folder / "network.toml"), "--data-dir", str(world.folder / name)]
        join = [sys.executable, "-m", "dhtchat", "join", name, *LOCALLY, *world.bootstrap, *network]
        await tmux.open(name, *join, "--room", "#lobby", *options)

    async def sign_up(name: str) -> None:
        await join(name, "--register")
        for question in ("New password: ", "The same again: "):
            await tmux.shows(name, question.rstrip())
            await tmux.type(name, password_of(name), "Enter")
        await tmux.shows(name, "you joined #lobby")

    await sign_up("alice")
    await sign_up("bob")
    await tmux.shows("alice", "● bob")
    await tmux.type("alice", "hello from alice", "Enter")
    await tmux.shows("bob", "alice hello from alice")
    await tmux.type("bob", "/msg alice between us", "Enter")
    await tmux.shows("alice", "Alt+A: bob (1)")
    await tmux.type("alice", "", "M-a")
    await tmux.shows("alice", "bob between us")
    await tmux.type("alice", "", "M-1")
    await tmux.shows("alice", "online as alice")
    await tmux.type("alice", "", "M-3")
    await tmux.shows("alice", "bob between us")

    await tmux.kill("bob")
    await tmux.type("alice", "for later", "Enter")
    await tmux.shows("alice", "for later …")
    await join("bob")
    await tmux.shows("bob", "Password of bob:")
    await tmux.type("bob", password_of("bob"), "Enter")
    await tmux.shows("bob", "Alt+A: alice (1)")
    await tmux.type("bob", "", "M-a")
    await tmux.shows("bob", "alice for later")
    await tmux.shows("alice", "for later ✓✓")
