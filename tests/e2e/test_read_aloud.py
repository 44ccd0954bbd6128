"""What a screen reader gets: lines from top to bottom, and not one byte that moves the cursor or draws over something."""

import re

import pytest

from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.e2e.test_questions import answer, assistant, make_account
from tests.e2e.world import LOCALLY, World, password_of

pytestmark = pytest.mark.process


def assert_only_lines(shown: str) -> None:
    """Text and ends of lines: the terminal itself makes `\\r\\n` of each end. Nothing is said twice by drawing it twice."""
    odd = re.findall(r"[^\x20-\x7e\xa0-\U0010ffff\r\n]", shown)
    assert odd == [], shown
    assert re.findall(r"\r(?!\n)", shown) == [], shown


async def test_the_assistant_and_the_talk_behind_it(world: World) -> None:
    await world.open_door()
    bob = await world.join("bob", "--room", "#garden")
    async with assistant(world, "alice", *world.bootstrap) as alice:
        await make_account(alice, "alice")
        await answer(alice, "(Enter alone for #garden): ", "")
        await alice.shows("-- you talk to #garden now")
        for line in (
            "hello **alice** :wave: 🌈",
            "/msg alice only for you",
            "/react -1 👍",
            "/me waves",
            "two\tcolumns",
        ):
            bob.say(line)
        await alice.shows("two columns")
        for typed, seen in (
            ("/users", "2 users:"),
            ("/names", "has 2 members:"),
            ("/bogus", "See /help for all commands."),
        ):
            alice.type(typed + "\n")
            await alice.shows(seen)
        alice.type("/quit\n")
        assert await alice.exit_code(timeout_s=30.0) == 0
        assert_only_lines(alice.shown)
        assert re.search(r"\n\d\d:\d\d #garden <bob> hello \*\*alice\*\*", alice.shown), (
            "who speaks stands before what is said"
        )


async def test_line_mode_on_a_terminal_that_could_do_more(world: World) -> None:
    """ "without an alternate screen, cursor movement or spinner": `--plain` on a capable terminal, without its colours."""
    await world.open_door()
    arguments = ("join", "alice", "--register", "--plain", *LOCALLY, *world.bootstrap, "--network", world.network)
    async with PseudoTerminal(*arguments, data_dir=world.folder / "alice", environment={"NO_COLOR": "1"}) as alice:
        await answer(alice, "New password: ", password_of("alice"))
        await answer(alice, "The same again: ", password_of("alice"))
        await alice.shows("-- online as alice")
        alice.type("/join #garden\n")
        await alice.shows("-- you talk to #garden now")
        alice.type("https://example.org/ and `code`\n")
        await alice.shows("<You> https://example.org/")
        alice.type("/quit\n")
        assert await alice.exit_code(timeout_s=30.0) == 0
        assert_only_lines(alice.shown)


async def test_help_has_no_frames(world: World) -> None:
    async with PseudoTerminal("join", "--help") as help_page:
        assert await help_page.exit_code() == 0
        assert_only_lines(help_page.shown)
        assert not re.search(r"[\u2500-\u257f]", help_page.shown)
