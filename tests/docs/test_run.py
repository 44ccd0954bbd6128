"""What the documents tell people to type works: the talk of the README, the script of the user guide."""

import asyncio
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dhtchat.cli.peer_process import PeerProcess
from tests.docs.pages import marked, read

pytestmark = pytest.mark.process

README = read("README.md")
GUIDE = read("docs/user-guide.md")
PASSWORD = "quiet-otter-fixes-lamps"
LOCALLY = ["--host", "127.0.0.1", "--network", "sim"]
_TOLD = re.compile(r"192\.0\.2\.10:8468")
"""The address that the documents use (RFC 5737): here it is a free port of this machine."""


@pytest.fixture
async def processes() -> AsyncIterator[AsyncExitStack]:
    """What is put on it is killed in the end."""
    async with AsyncExitStack() as stack:
        yield stack


async def _start(
    processes: AsyncExitStack, name: str, arguments: list[str], folder: Path, *, password: str | None = None
) -> PeerProcess:
    process = await PeerProcess.start(name, [*arguments, *LOCALLY], data_dir=folder / name, password=password)
    return await processes.enter_async_context(process)


async def _open_door(processes: AsyncExitStack, folder: Path) -> str:
    """Its address."""
    door = await _start(processes, "door", ["bootstrap", "--port", "0"], folder)
    return str((await door.wait_for_event("ready"))["address"])


async def test_the_talk_of_the_readme(processes: AsyncExitStack, tmp_path: Path) -> None:
    """Its commands as they stand, but for the address; then both type what is to be typed."""
    lines = marked(README, "run")["talk"].splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("dhtchat ")]
    assert commands[0] == ["bootstrap"]
    address = await _open_door(processes, tmp_path)
    people = []
    for arguments in commands[1:]:
        told = [_TOLD.sub(address, argument) for argument in arguments]
        people.append(await _start(processes, arguments[1], told, tmp_path, password=PASSWORD))
    alice, bob = people
    for person in people:
        await person.wait_for_event("ready")

    join_line, private_line = [line for line in lines if line.startswith("/")]
    room = join_line.split()[1]
    for person in people:
        person.say(join_line)
        await person.wait_for_event("joined", room=room, user=person.name)
    await alice.wait_for_event("joined", room=room, user="bob")
    alice.say("is this the garden?")
    await bob.wait_for_event("message", room=room, sender="alice", text="is this the garden?")
    alice.say(private_line)
    text = private_line.split(maxsplit=2)[2]
    await bob.wait_for_event("message", kind="direct", sender="alice", text=text)
    for person in people:
        person.say("/quit")
        assert await person.exit_code() == 0


async def test_the_script_of_the_user_guide(processes: AsyncExitStack, tmp_path: Path) -> None:
    """The bot welcomes who comes into its room."""
    address = await _open_door(processes, tmp_path)
    script = tmp_path / "greeter.py"
    script.write_text(marked(GUIDE, "run")["greeter.py"], encoding="utf-8")
    password = tmp_path / "greeter.password"
    password.write_text(f"{PASSWORD}\n", encoding="utf-8")
    password.chmod(0o600)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    bot = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), "--register", "--bootstrap", address, *LOCALLY),
        *("--data-dir", str(tmp_path / "greeter")),
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        start_new_session=True,
    )
    try:
        arguments = ["join", "alice", "--register", "--bootstrap", address]
        alice = await _start(processes, "alice", arguments, tmp_path, password=PASSWORD)
        await alice.wait_for_event("ready")
        await _until_listed(alice, "#lobby")
        alice.say("/join #lobby")
        await alice.wait_for_event("message", room="#lobby", sender="greeter", text="Welcome, alice!")
    finally:
        os.killpg(bot.pid, signal.SIGKILL)  # the script, and the chat that it has started: a group of their own
        await bot.wait()


async def test_the_echo_bot_of_the_user_guide(processes: AsyncExitStack, tmp_path: Path) -> None:
    """It attaches to the peer that was online last, and says what it hears."""
    address = await _open_door(processes, tmp_path)
    arguments = ["join", "alice", "--register", "--bootstrap", address]
    alice = await _start(processes, "alice", arguments, tmp_path, password=PASSWORD)
    await alice.wait_for_event("ready")
    script = tmp_path / "echo.py"
    program = marked(GUIDE, "run")["echo.py"]
    assert "connect()" in program
    assert len([line for line in program.splitlines() if line]) == 10, "issue 7: an echo bot of ten lines"
    script.write_text(
        program.replace("connect()", f"connect(data_dir={str(tmp_path / 'alice')!r}, network='sim')"), encoding="utf-8"
    )
    bot = await asyncio.create_subprocess_exec(sys.executable, str(script))
    try:
        arguments = ["join", "bob", "--register", "--bootstrap", address]
        bob = await _start(processes, "bob", arguments, tmp_path, password=PASSWORD)
        await bob.wait_for_event("ready")
        await alice.wait_for_event("joined", room="#lobby", user="alice")
        bob.say("/join #lobby")
        await bob.wait_for_event("joined", room="#lobby", user="bob")
        await alice.wait_for_event("joined", room="#lobby", user="bob")
        bob.say("is there an echo?")
        await bob.wait_for_event("message", room="#lobby", sender="alice", text="is there an echo?")
    finally:
        bot.kill()
        await bot.wait()


async def _until_listed(peer: PeerProcess, room: str) -> None:
    """Ask until somebody is in the room."""
    for _ in range(100):
        if room in [entry["name"] for entry in (await peer.ask("/rooms", "rooms"))["rooms"]]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"nobody entered {room}")
