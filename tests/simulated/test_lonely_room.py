"""No second room of one name: who reaches nobody cannot know whether it exists."""

import pytest

from dhtchat.chat.events import ErrorShown, Joined
from dhtchat.chat.intents import JoinRoom
from simulations.faults import Isolation
from simulations.world import World

ROOM = "#lobby"


@pytest.mark.parametrize("seed", [1, 2])
def test_who_reaches_nobody_makes_no_room(seed: int) -> None:
    """Cut off, entering a room is refused with advice; with the network back it is everybody's one room."""
    world = World(seed)

    async def play() -> None:
        await world.start_bootstrap()
        alice, bob = await world.start_people(2, spread_s=2.0)
        with world.faults.rule(Isolation([bob.host.address])):
            await alice.join(ROOM)
            await bob.until(lambda: bob.node is not None and not bob.node.inspection.dht.contacts(), within_s=300.0)
            await bob.crash()
            await bob.start()
            await bob.perform(JoinRoom(ROOM))
            assert any(isinstance(seen.event, ErrorShown) for seen in bob.seen)
            assert not any(isinstance(seen.event, Joined) for seen in bob.seen)
        await world.until(lambda: bool(bob.node and bob.node.inspection.dht.contacts()), within_s=120.0)
        await bob.join(ROOM)
        assert alice.node is not None
        assert bob.node is not None
        assert alice.node.inspection.room_conversations() == bob.node.inspection.room_conversations()

    world.run(play())
    assert world.loop.complaints == []
