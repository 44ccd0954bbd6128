"""Two people at full screens of their own, on real terminals, as `pyte` would draw them."""

import pytest

from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.e2e.seen import Seen
from tests.e2e.world import LOCALLY, World, password_of

pytestmark = pytest.mark.process

HOSTILE = [
    "\x1b]52;c;aGFja2Vk\x07clip",
    "\x1b[2Jwipe",
    "\x9b2Jc1wipe",
    "\x1b]0;owned\x07title",
    "\x1b[31mred",
    "\x1bPq#0dcs",
    "\x1b]8;;http://evil.example",
    "[bold red]markup[/] [@click=app.quit]click[/]",
    "\u202eesrever",
    "half\x1b",
    "[2Jother half",
]
"""7-bit and C1 forms, unterminated ones, one that is split over two lines, and markup of our own library."""


def person(world: World, name: str, *options: str) -> PseudoTerminal:
    return PseudoTerminal(
        "join",
        name,
        *LOCALLY,
        *world.bootstrap,
        "--network",
        str(world.folder / "network.toml"),
        "--room",
        "#lobby",
        *options,
        data_dir=world.folder / name,
        columns=100,
    )


async def log_in(terminal: PseudoTerminal, name: str) -> Seen:
    await terminal.shows(f"Password of {name}: ")
    terminal.type(password_of(name) + "\n")
    seen = Seen(terminal)
    await seen.shows("#lobby")
    await seen.shows("online")
    return seen


async def sign_up(terminal: PseudoTerminal, name: str) -> Seen:
    """Whoever comes for the first time: `join --register`."""
    for question in ("New password: ", "The same again: "):
        await terminal.shows(question)
        terminal.type(password_of(name) + "\n")
    seen = Seen(terminal)
    await seen.shows("online")
    await seen.shows("#lobby")
    return seen


async def test_two_people_from_their_first_start_to_a_kill_and_back(world: World) -> None:
    """Issue 7, "What it must show", 1: register, join, talk, private talk, kill and reconnect, all of it at full screens."""
    await world.open_door()
    async with person(world, "alice", "--register") as alice:
        alice_sees = await sign_up(alice, "alice")
        async with person(world, "bob", "--register") as bob:
            bob_sees = await sign_up(bob, "bob")
            await alice_sees.shows("bob joined #lobby")
            await alice_sees.shows("● bob")
            async with person(world, "bob") as elsewhere:  # another face of the same peer
                await Seen(elsewhere).shows("bob · online")
            alice.type("hello from alice\r")
            await bob_sees.shows("alice hello from alice")
            bob.type("and from bob\r")
            await alice_sees.shows("bob and from bob")
            await bob_sees.shows("and from bob ✓")
            bob.type("/msg alice between us\r")
            await alice_sees.shows("Alt+A: bob (1)")
            assert "(1)" in alice_sees.title
            alice.type("\x1ba")
            await alice_sees.shows("bob between us")
            alice.type("\x1b2typed at once\r")
            await bob_sees.shows("alice typed at once")
            bob.kill()
        alice.type("/msg bob while you were gone\r")
        alice.type("said to all\r")
        await alice_sees.shows("said to all …")
        async with person(world, "bob") as bob:
            bob_sees = await log_in(bob, "bob")
            await bob_sees.shows("said to all")
            await bob_sees.shows("Alt+A: alice (1)")
            bob.type("\x1ba")
            await bob_sees.shows("alice while you were gone")
            await bob_sees.shows("between us")
            bob.type("here I am again\r")
            await alice_sees.shows("Alt+A: bob (1)")
            alice.type("\x1b3")
            await alice_sees.shows("bob here I am again")
            await alice_sees.shows("while you were gone ✓✓", timeout_s=60)
            bob.type("/quit\r")
            assert await bob.exit_code(timeout_s=30.0) == 0
        alice.type("\x11")
        assert await alice.exit_code(timeout_s=30.0) == 0
        assert "\x1b[?1049l" in alice.shown, "the terminal is given back"


async def test_nothing_a_stranger_says_reaches_the_terminal_as_a_command(world: World) -> None:
    await world.open_door()
    assert (await world.run("register", "alice", *world.bootstrap, password=password_of("alice"))).code == 0
    async with person(world, "alice") as alice:
        alice_sees = await log_in(alice, "alice")
        mallory = await world.join("mallory", "--room", "#lobby")
        await alice_sees.shows("mallory joined #lobby")
        for text in HOSTILE:
            mallory.say(text)
        mallory.say("the end")
        await alice_sees.shows("mallory the end")
        rows = alice_sees.rows
        for shown in ("clip", "[2Jwipe", "c1wipe", "[31mred", "[bold red]markup[/]", "esrever", "[2Jother half"):
            assert any(shown in row for row in rows), f"{shown!r} is not in\n" + "\n".join(rows)
        assert "\x1b]52" not in alice.shown
        assert "\x9b" not in alice.shown
        assert "\u202e" not in alice.shown
        assert alice_sees.title != "owned"
