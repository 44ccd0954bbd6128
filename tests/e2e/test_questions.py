"""Commands that ask somebody at a terminal: who mistypes is asked again, Ctrl-C ends it, and the terminal is left as it was."""

import pytest

from dhtchat.limits import PASSWORD_TRIES
from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.e2e.world import LOCALLY, World, password_of

pytestmark = pytest.mark.process


def at_terminal(world: World, command: str, *options: str) -> PseudoTerminal:
    """`dhtchat join alice` and the like, typed at a terminal."""
    arguments = (command, "alice", *LOCALLY, *world.bootstrap, "--network", world.network, *options)
    return PseudoTerminal(*arguments, data_dir=world.folder / "alice", environment={"NO_COLOR": "1"})


async def with_alice(world: World) -> None:
    await world.open_door()
    assert (await world.run("register", "alice", *world.bootstrap, password=password_of("alice"))).code == 0


async def test_a_mistyped_password_is_asked_for_again(world: World) -> None:
    """By `join` and by `up`, as ssh does it."""
    await with_alice(world)
    for command, options in (("join", ["--plain"]), ("up", [])):
        async with at_terminal(world, command, *options) as terminal:
            await terminal.shows("Password of alice: ")
            terminal.type("alice hums 9 violet tubas\n")
            await terminal.shows("Wrong password, please try again.")
            await terminal.shows_times("Password of alice: ", 2)
            assert "error" not in terminal.shown
            terminal.type(password_of("alice") + "\n")
            await terminal.shows("online as alice")
            if command == "join":
                terminal.type("/quit\n")
            assert await terminal.exit_code() == 0
    assert (await world.run("down", folder="alice")).code == 0


@pytest.mark.parametrize(("command", "options"), [("join", ["--plain"]), ("up", [])])
async def test_who_never_types_the_right_one_is_told_so(world: World, command: str, options: list[str]) -> None:
    await with_alice(world)
    async with at_terminal(world, command, *options) as terminal:
        for tries in range(PASSWORD_TRIES):
            await terminal.shows_times("Password of alice: ", tries + 1)
            terminal.type("alice hums 9 violet tubas\n")
        await terminal.shows("error: wrong password")
        assert await terminal.exit_code() == 4


@pytest.mark.parametrize(
    ("command", "options"), [("join", []), ("join", ["--plain"]), ("up", []), ("join", ["--register"]), ("passwd", [])]
)
async def test_ctrl_c_at_the_first_question(world: World, command: str, options: list[str]) -> None:
    await with_alice(world)
    async with at_terminal(world, command, *options) as terminal:
        await terminal.shows("assword")
        await terminal.shows(": ")
        await terminal.echo_is(False)
        terminal.type("\x03")
        assert await terminal.exit_code() == 130
        assert terminal.echoes


@pytest.mark.parametrize(("command", "options"), [("join", []), ("join", ["--plain"]), ("up", [])])
async def test_ctrl_c_when_asked_again(world: World, command: str, options: list[str]) -> None:
    """`join` is online by then, and asks beside its peer."""
    await with_alice(world)
    async with at_terminal(world, command, *options) as terminal:
        await terminal.shows("Password of alice: ")
        terminal.type("alice hums 9 violet tubas\n")
        await terminal.shows("Wrong password, please try again.")
        await terminal.shows_times("Password of alice: ", 2)
        await terminal.echo_is(False)
        terminal.type("\x03")
        assert await terminal.exit_code() == 130
        assert terminal.echoes
