"""Whoever closes the window leaves: a peer must not outlive its terminal, unless it was started to."""

import pytest

from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.e2e.test_questions import answer
from tests.e2e.world import LOCALLY, World, password_of, sees_members

pytestmark = pytest.mark.process


@pytest.mark.parametrize("options", [[], ["--plain"]], ids=["full screen", "line mode"])
async def test_a_chat_ends_with_its_terminal_and_says_goodbye(world: World, options: list[str]) -> None:
    await world.open_door()
    bob = await world.join("bob", "--room", "#garden")
    arguments = ("join", "alice", "--register", "--room", "#garden", *options, *LOCALLY, *world.bootstrap)
    async with PseudoTerminal(*arguments, "--network", world.network, data_dir=world.folder / "alice") as alice:
        await answer(alice, "New password: ", password_of("alice"))
        await answer(alice, "The same again: ", password_of("alice"))
        await sees_members(bob, "#garden", ["alice", "bob"])
        alice.hang_up()
        await bob.wait_for_event("parted", room="#garden", user="alice")
        await alice.exit_code(timeout_s=30.0)
