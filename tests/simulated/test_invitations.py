"""Invitations in a network of virtual time."""

import asyncio

from dhtchat.chat import intents
from dhtchat.chat.events import Invited
from simulations.world import Person, World

ROOM = "#garden"


def invitations(person: Person) -> list[tuple[str, str, str]]:
    events = [seen.event for seen in person.seen]
    return [(e.room, e.user, e.by) for e in events if isinstance(e, Invited)]


def test_an_invitation_reaches_who_is_there_and_waits_for_who_is_not(seed: int) -> None:
    """Bob is online and hears of it at once. Carol is not, and neither is Alice when Carol comes back: it waits in the mailbox.
    Each hears of it once."""
    world = World(seed)

    async def play() -> None:
        await world.start_bootstrap()
        for number in range(8):
            await world.start_bare_node(f"n{number}")
        alice, bob, carol = (world.add_person(name) for name in ("alice", "bob", "carol"))
        for person in (alice, bob, carol):
            await person.start()
        await carol.leave()
        await alice.join(ROOM)
        for name in ("bob", "carol"):
            await alice.perform(intents.Invite(name))
        assert await bob.until(lambda: invitations(bob) == [(ROOM, "bob", "alice")], within_s=10.0)
        assert [invited for _, invited, _ in invitations(alice)] == ["bob", "carol"]
        await asyncio.sleep(30.0)
        await alice.leave()
        await carol.start()
        assert await carol.until(lambda: invitations(carol) == [(ROOM, "carol", "alice")], within_s=60.0)
        await bob.leave()
        await bob.start()
        await asyncio.sleep(60.0)
        assert len(invitations(bob)) == len(invitations(carol)) == 1

    world.run(play())
