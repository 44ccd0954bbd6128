"""The section "Line mode" of the contract."""

import asyncio
import os
import sys
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import IO

import pytest

from dhtchat.cli.peer_process import die_with_parent
from dhtchat.limits import SAY_BURST, TEXT_CHARACTERS_MAX
from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.e2e.world import (
    LOCALLY,
    World,
    assert_each_once,
    enter_room,
    hears,
    leaves,
    password_of,
    sees_members,
    texts,
    wait_for_line,
)

pytestmark = pytest.mark.process


async def test_what_was_said_is_flushed_before_leaving(world: World) -> None:
    """ "End of input leaves as `/quit` does: what was said is flushed first." """
    await world.open_door()
    alice, bob, carol = await world.join_all("alice", "bob", "carol")
    await enter_room("#lobby", alice, bob, carol)
    last_words = [f"line {number}" for number in range(30)]
    for line in last_words:
        alice.say(line)
    alice.end_input()
    assert await alice.exit_code() == 0
    assert alice.events[-1] == {"event": "bye"}
    await hears(carol, last_words, room="#lobby")
    assert texts(carol, sender="alice") == texts(bob, sender="alice") == last_words

    bob.say("/msg carol one more thing")
    await leaves(bob)
    await hears(carol, ["one more thing"], kind="direct", sender="bob")


async def test_a_whole_chat_from_a_pipe(world: World) -> None:
    """ "End of input leaves as `/quit` does: what was said is flushed first": all of the input is there from the start,
    as in `dhtchat join alice --plain < file`."""
    await world.open_door()
    bob = await world.join("bob", "--room", "#lobby")
    lines = [f"line {number}" for number in range(30)]
    script = "\n".join([password_of("alice"), "/join #lobby", *lines, "/msg bob and a secret"])
    ended = await world.run("join", "alice", "--register", "--plain", *LOCALLY, *world.bootstrap, password=script)
    assert ended.code == 0, ended
    await hears(bob, [*lines, "and a secret"])
    assert texts(bob, room="#lobby") == lines


async def test_lines_are_paced_and_never_dropped(world: World) -> None:
    """ "Lines may be typed as fast as one likes: they are paced, never dropped." """
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    await enter_room("#lobby", alice, bob)
    lines = [f"line {number}" for number in range(SAY_BURST + 50)]
    for line in lines:
        alice.say(line)
    await hears(bob, lines[:SAY_BURST], timeout_s=4.0)
    assert len(texts(bob)) < len(lines)
    await hears(bob, lines)
    assert texts(bob) == lines
    assert_each_once(alice, lines)


async def test_slashes(world: World) -> None:
    """ "A line that starts with `/` is a command, `//` escapes a slash, anything else is said to the current target.
    Joining a room or opening a query makes it the current target; of several `--room` the last wins." And "`bad-command`
    in line mode: those do not end the program"."""
    await world.open_door()
    bob = await world.join("bob", "--room", "#one", "--room", "#two")
    alice = await world.join("alice", "--room", "#one", "--room", "#two")
    await sees_members(alice, "#two", ["alice", "bob"])

    async def refused(line: str, code: str) -> None:
        error = await alice.ask(line, "error")
        assert error["code"] == code, error
        assert error["message"]
        assert error["hint"]

    await refused("/nonsense", "bad-command")
    await refused("/ join #lobby", "bad-command")
    await refused("/join", "bad-command")
    await refused("/msg bob", "bad-command")
    await refused("/history ten", "bad-command")
    await refused("/quit now", "bad-command")
    await refused("x" * (TEXT_CHARACTERS_MAX + 1), "too-long")
    await refused("/msg bob " + "x" * (TEXT_CHARACTERS_MAX + 1), "too-long")
    await refused("/topic " + "x" * 201, "too-long")
    await refused("/join #l*bby", "bad-name")
    await refused("/part #nowhere", "no-such-room")
    await refused("/switch #nowhere", "no-such-room")
    await refused("/msg nobody hello", "no-such-user")
    await refused("/query alice", "no-such-user")
    await refused("/whois nobody", "no-such-user")

    alice.say("//etc/hosts is a file")
    alice.say("/msg bob //etc is a folder")
    alice.say("")
    alice.say("   ")
    alice.say("  two spaces first, /slash later  ")
    alice.say("/me waves")
    alice.say("x" * TEXT_CHARACTERS_MAX)
    alice.say("/switch #one")
    alice.say("in the first room")
    alice.say("/query bob")
    alice.say("just you")
    alice.say("/switch #two")
    alice.say("back again")
    in_two = [
        "/etc/hosts is a file",
        "  two spaces first, /slash later  ",
        "waves",
        "x" * TEXT_CHARACTERS_MAX,
        "back again",
    ]
    await hears(bob, in_two, room="#two")
    await hears(bob, ["in the first room"], room="#one")
    await hears(bob, ["//etc is a folder", "just you"], kind="direct")
    assert texts(bob, room="#two") == in_two
    assert [message["action"] for message in bob.messages(text="waves")] == [True]
    assert_each_once(bob, [*in_two, "in the first room", "//etc is a folder", "just you"])
    assert alice.errors[0::2] == [line for line in alice.errors if line.startswith("error: ")]


async def test_there_is_nobody_to_talk_to_at_first(world: World) -> None:
    """ "anything else is said to the current target": and without one that is an error which ends nothing."""
    await world.open_door()
    alice = await world.join("alice")
    assert (await alice.ask("hello?", "error"))["code"] == "bad-command"
    helped = await alice.ask("/help", "help")
    assert {"/join #room [topic]", "/msg NAME text", "/quit"} <= {usage for usage, _ in helped["commands"]}
    assert len((await alice.ask("/help join", "help"))["commands"]) == 1
    await leaves(alice)


async def test_text_for_people_and_screen_readers(world: World) -> None:
    """ "`--plain` reads lines from standard input and writes lines to standard output, without an alternate screen, cursor
    movement or spinner ... With `--json` every output line is one JSON object; without, the same facts as text." """
    await world.open_door()
    alice = await world.join("alice", json=False, FORCE_COLOR="1", TERM="xterm-256color")
    bob = await world.join("bob")
    alice.say("/join #lobby where **we** meet")
    await wait_for_line(alice, "-- You joined #lobby")
    bob.say("/join #lobby")
    await wait_for_line(alice, "-- bob joined #lobby")
    alice.say("hello **bob**")
    bob.say("/msg alice psst")
    bob.say("/me waves")
    await wait_for_line(alice, " #lobby <You> hello **bob**")
    await wait_for_line(alice, " bob -> you: psst")
    await wait_for_line(alice, " #lobby * bob waves")
    alice.say("/msg bob yes?")
    await wait_for_line(alice, " You -> bob: yes?")
    for command, answer in (
        ("/users", "-- 2 users:"),
        ("/rooms", "-- 1 room:"),
        ("/names", "-- #lobby has 2 members:"),
        ("/whois bob", "-- bob"),
        ("/topic", "-- topic of #lobby: where **we** meet"),
        ("/history 1", "-- history of #lobby:"),
        ("/help", "-- commands:"),
        ("/away tea", "-- you are away: tea"),
    ):
        after = len(alice.lines)
        alice.say(command)
        await wait_for_line(alice, answer, after=after)
    alice.say("/nonsense")
    await leaves(alice)
    assert alice.lines[-1] == "-- bye"
    assert [line[: len("error:")] for line in alice.errors] == ["error:", "   See"]
    assert not [line for line in (*alice.lines, *alice.errors) for character in line if _is_control(character)]


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co")


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
async def test_on_a_terminal(world: World) -> None:
    """ "Passwords are asked for without echo", and "`NO_COLOR`, a pipe and a dumb terminal switch colours off." """
    await world.open_door()
    ended = await world.run("register", "alice", *world.bootstrap, password=password_of("alice"))
    assert ended.code == 0
    arguments = (
        "join",
        "alice",
        "--plain",
        *LOCALLY,
        *world.bootstrap,
        "--network",
        str(world.folder / "network.toml"),
    )

    async def session(folder: str, **environment: str) -> str:
        async with PseudoTerminal(*arguments, data_dir=world.folder / folder, environment=environment) as terminal:
            await terminal.shows("Password of alice: ")
            terminal.type(password_of("alice") + "\n")
            await terminal.shows("online as alice")
            terminal.type("/join #lobby\n")
            await terminal.shows("joined #lobby")
            terminal.type("**loud** words\n")
            await terminal.shows("words")
            terminal.type("\x03")  # Ctrl-C
            assert await terminal.exit_code() == 130
            await terminal.shows("bye")
        assert password_of("alice") not in terminal.shown
        assert "Traceback" not in terminal.shown
        return terminal.shown

    colourful, plain, dumb = await asyncio.gather(session("a"), session("b", NO_COLOR="1"), session("c", TERM="dumb"))
    assert "\x1b[" in colourful
    for escape in ("\x1b[?", "\x1b[2J", "\x1b[H", "\r\x1b"):
        assert escape not in colourful
    assert "\x1b" not in plain + dumb


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that can be closed on one side")
@pytest.mark.parametrize("json", [True, False])
async def test_nobody_reads_any_more(world: World, json: bool) -> None:
    """Like `dhtchat join alice --plain | head`: the program ends with its reader, in good order and quietly."""
    await world.open_door()
    bob = await world.join("bob", "--room", "#lobby")
    arguments = ["join", "alice", "--register", "--plain", "--room", "#lobby", *LOCALLY, *world.bootstrap]
    arguments += ["--network", str(world.folder / "network.toml"), "--data-dir", str(world.folder / "alice")]
    async with started_into_pipe(*arguments, *(["--json"] if json else [])) as (alice, pipe):
        assert alice.stdin is not None
        assert alice.stderr is not None
        alice.stdin.write(password_of("alice").encode() + b"\n")
        await asyncio.to_thread(next, (line for line in pipe if b"#lobby" in line))
        await bob.wait_for_event("joined", user="alice", room="#lobby")
        pipe.close()
        bob.say("is anybody listening?")
        async with asyncio.timeout(10.0):
            await alice.wait()
            assert await alice.stderr.read() == b""
        await bob.wait_for_event("presence", user="alice", online=False, timeout_s=2.0)


@asynccontextmanager
async def started_into_pipe(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, IO[bytes]]]:
    """A process, and the end of its standard output that can be closed."""
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dhtchat", *arguments, "--password-stdin"),
                stdin=asyncio.subprocess.PIPE,
                stdout=writer,
                stderr=asyncio.subprocess.PIPE,
                preexec_fn=die_with_parent,
            )
        finally:
            os.close(writer)
        try:
            yield process, pipe
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
