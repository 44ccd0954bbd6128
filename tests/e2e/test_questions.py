"""Commands that ask somebody at a terminal: who mistypes is asked again, Ctrl-C ends it, and the terminal is left as it was."""

import contextlib

import pytest

from dhtchat.app.settings import BOOTSTRAP_VARIABLE
from dhtchat.limits import PASSWORD_TRIES
from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.e2e.world import LOCALLY, World, address_of, password_of, silent_udp_socket

pytestmark = pytest.mark.process


def at_terminal(world: World, command: str, *options: str) -> PseudoTerminal:
    """`dhtchat join alice` and the like, typed at a terminal."""
    arguments = (command, "alice", *LOCALLY, *world.bootstrap, "--network", world.network, *options)
    return PseudoTerminal(*arguments, data_dir=world.folder / "alice", environment={"NO_COLOR": "1"})


async def press_until_it_ends(terminal: PseudoTerminal, key: str) -> None:
    """A signal that comes between the prompt and the reading behind it is heard at the next key only: Python reads so. A
    person presses again."""
    for _ in range(10):
        terminal.type(key)
        with contextlib.suppress(TimeoutError):
            await terminal.exit_code(timeout_s=2.0)
            return
    raise AssertionError(f"does not end, but shows {terminal.shown!r}")


CTRL_C, CTRL_D = "\x03", "\x04"


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
        await press_until_it_ends(terminal, CTRL_C)
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
        await press_until_it_ends(terminal, CTRL_C)
        assert await terminal.exit_code() == 130
        assert terminal.echoes


# --- the assistant ----------------------------------------------------------------------------------------------------


def assistant(world: World, folder: str, *options: str) -> PseudoTerminal:
    """A first run; with `--port 0` and the like behind it."""
    arguments = ("start", *LOCALLY, "--network", world.network, *options)
    return PseudoTerminal(
        *arguments, data_dir=world.folder / folder, environment={"TERM": "dumb", BOOTSTRAP_VARIABLE: ""}
    )


HIDDEN = ("Password of alice: ", "New password: ", "The same again: ")
"""What is typed ahead of these is thrown away: they must have come first."""


async def answer(terminal: PseudoTerminal, question: str, typed: str, *, times: int = 1) -> None:
    await terminal.shows_times(question, times)
    if question in HIDDEN:
        await terminal.echo_is(False)
    terminal.type(typed + "\n")


async def make_account(terminal: PseudoTerminal, name: str, *, asked_before: int = 0) -> None:
    """From the question whether one is new. `asked_before`: how often one had to choose until then."""
    await answer(terminal, "1 or 2 (Enter alone for 1): ", "1", times=asked_before + 1)
    await answer(terminal, "User name: ", name)
    await answer(terminal, "New password: ", password_of(name))
    await terminal.shows("very good")
    await answer(terminal, "The same again: ", password_of(name))
    await terminal.shows(f"Done: the name {name} is yours")


async def test_two_first_runs_end_in_one_talk(world: World) -> None:
    """Nothing but what is asked is answered; on a dumb terminal the chat is line mode."""
    await world.open_door()
    async with assistant(world, "alice", *world.bootstrap) as alice, assistant(world, "bob", *world.bootstrap) as bob:
        for terminal, name in ((alice, "alice"), (bob, "bob")):
            await make_account(terminal, name)
            await answer(terminal, "(Enter alone for #lobby): ", "")
            await terminal.shows("you talk to #lobby now")
        assert "Rooms with people in them: #lobby." in bob.shown
        await alice.shows("bob joined #lobby")
        bob.type("good morning\n")
        await alice.shows("<bob> good morning")
        for terminal in (alice, bob):
            terminal.type("/quit\n")
            assert await terminal.exit_code(timeout_s=30.0) == 0
            assert terminal.echoes
            assert "Traceback" not in terminal.shown
            assert password_of("bob") not in terminal.shown
            assert "unprintable" not in terminal.shown


async def test_an_address_is_asked_for_and_the_next_run_needs_none(world: World) -> None:
    """Nobody answers at first; what is then named is remembered, and so is who was here."""
    await world.open_door()
    with contextlib.closing(silent_udp_socket()) as silent:
        async with assistant(world, "alice", "--bootstrap", address_of(silent)) as alice:
            await alice.shows("No node answered")
            await answer(alice, "1 or 2 (Enter alone for 1): ", "1")
            await answer(alice, "Address (Enter alone to look again): ", "not an address")
            await answer(alice, "Address (Enter alone to look again): ", world.address, times=2)
            await make_account(alice, "alice", asked_before=1)
            await answer(alice, "(Enter alone for #lobby): ", "")
            await alice.shows("you talk to #lobby now")
            alice.type("/quit\n")
            assert await alice.exit_code(timeout_s=30.0) == 0
    async with assistant(world, "alice") as alice:
        await alice.shows("1  alice, as last time")
        await answer(alice, "1 or 2 (Enter alone for 1): ", "")
        await answer(alice, "(Enter alone for none): ", "garden")
        await answer(alice, "Password of alice: ", password_of("alice"))
        await alice.shows("through peers remembered from last time")
        await alice.shows("you talk to #garden now")


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("1 or 2", CTRL_C),
        ("User name: ", CTRL_C),
        ("User name: ", CTRL_D),
        ("New password: ", CTRL_C),
        ("The same again: ", CTRL_C),
        ("(Enter alone for #lobby): ", CTRL_C),
    ],
)
async def test_whoever_leaves_at_a_question_is_told_what_is_so(world: World, question: str, key: str) -> None:
    """ "130 | | interrupted", nothing lost, and the terminal shows again what is typed."""
    await world.open_door()
    typed = {"1 or 2": "1", "User name: ": "alice", "New password: ": password_of("alice")}
    typed["The same again: "] = password_of("alice")
    async with assistant(world, "alice", *world.bootstrap) as alice:
        for asked, told in typed.items():
            if asked == question:
                break
            await answer(alice, asked, told)
        await alice.shows(question)
        if question in HIDDEN:
            await alice.echo_is(False)
        await press_until_it_ends(alice, key)
        assert alice.echoes
        made = question == "(Enter alone for #lobby): "
        await alice.shows("The account alice is yours" if made else "No account was made")
        assert await alice.exit_code() == 130
    if made:
        async with assistant(world, "alice", *world.bootstrap) as alice:
            await alice.shows("1  alice, as last time")


async def test_the_assistant_asks_nobody_where_nobody_is(world: World) -> None:
    """Without a terminal no command at all is help and exit code 2, and the assistant says what to do instead."""
    ended = await world.run("start", json=False)
    assert ended.code == 2
    assert ended.errors[0] == "error: the assistant needs a terminal to ask its questions"
    assert len(ended.errors) == 2


async def test_no_command_at_a_terminal_is_the_assistant(world: World) -> None:
    environment = {"XDG_DATA_HOME": str(world.folder), BOOTSTRAP_VARIABLE: "127.0.0.1:9"}
    async with PseudoTerminal(environment=environment) as bare:
        await bare.shows("Looking for the network at 127.0.0.1:9 ...")
        bare.type("\x03")
        assert await bare.exit_code() == 130
        assert "Traceback" not in bare.shown
