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


async def test_two_people_talk_and_one_is_killed(world: World) -> None:
    await world.open_door()
    for name in ("alice", "bob"):
        assert (await world.run("register", name, *world.bootstrap, password=password_of(name))).code == 0
    async with person(world, "alice") as alice, person(world, "bob") as bob:
        alice_sees, bob_sees = await log_in(alice, "alice"), await log_in(bob, "bob")
        await alice_sees.shows("bob joined #lobby")
        alice.type("hello from alice\r")
        await bob_sees.shows("alice hello from alice")
        bob.type("and from bob\r")
        await alice_sees.shows("bob and from bob")
        await bob_sees.shows("and from bob ✓")
        bob.type("/msg alice between us\r")
        await alice_sees.shows("Alt+A: bob (1)")
        alice.type("\x1ba")
        await alice_sees.shows("bob between us")
        alice.type("\x1b1")
        await alice_sees.shows("online as alice")
        bob.kill()
        alice.type("/switch #lobby\r")
        await alice_sees.shows("○", timeout_s=150.0)
        alice.type("/quit\r")
        assert await alice.exit_code(timeout_s=30.0) == 0


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
