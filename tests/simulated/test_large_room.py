"""A room of more than eight, of real peers: a handful of links each, every line at everybody, and talk goes on when half are gone."""

import asyncio

from dhtchat.limits import GUEST_NEIGHBOURS, KEEPALIVE_TIMEOUT_S, OWN_NEIGHBOURS, PRESENCE_TTL_S
from simulations.checkers import measure_delivery
from simulations.measuring import settle
from simulations.runner import judge
from simulations.scenarios.talk import chatter, fill_rooms
from simulations.world import World

MEMBERS = 24
COPIES_MAX = 1.3
"""On average, the first survey included. Each to all would be 1, and each passing on what is new to eight neighbours 7."""


def test_everything_arrives_over_few_links_and_when_half_are_killed_in_mid_talk(seed: int) -> None:
    world = World(seed)

    async def play() -> None:
        await world.start_bootstrap()
        people = await world.start_people(MEMBERS, spread_s=5.0)
        rooms = await fill_rooms(world, people, size=MEMBERS)
        await asyncio.sleep(15.0)
        await chatter(world, rooms, for_s=30.0, every_s=1.0)
        await settle(world)
        for person in people:
            assert OWN_NEIGHBOURS <= person.node.inspection.sizes().neighbours <= OWN_NEIGHBOURS + 1 + GUEST_NEIGHBOURS
        judged = judge(world, world.findings())
        assert judged.violations == []
        assert judged.delivery.lost == judged.delivery.duplicates == 0
        assert judged.copies / judged.delivery.delivered < COPIES_MAX

        async def kill() -> None:
            for person in people[::2]:
                await asyncio.sleep(0.2)
                await person.crash()

        world.spawn(kill(), "kill")
        await chatter(world, rooms, for_s=15.0, every_s=0.5)
        await asyncio.sleep(KEEPALIVE_TIMEOUT_S)
        await settle(world)
        assert judge(world, world.findings()).violations == []
        assert measure_delivery(world).lost == 0

    world.run(play())


def test_a_room_grows_beyond_eight_and_shrinks_again_while_people_talk(seed: int) -> None:
    """Nobody knows at the same moment as the others how many there are."""
    world = World(seed)

    async def play() -> None:
        await world.start_bootstrap()
        people = await world.start_people(12, spread_s=5.0)
        for person in people[:7]:
            await person.join("#lobby")
        assert all(not person.node.inspection.sizes().neighbours for person in people)
        talk = world.spawn(chatter(world, {"#lobby": people[:7]}, for_s=60.0, every_s=0.5), "talk")
        for person in people[7:]:
            await asyncio.sleep(3.0)
            await person.join("#lobby")
        await asyncio.sleep(15.0)
        assert all(person.node.inspection.sizes().neighbours >= OWN_NEIGHBOURS for person in people)
        for person in people[6:]:
            await asyncio.sleep(1.0)
            await person.leave()
        await talk
        await settle(world)
        assert judge(world, world.findings()).violations == []
        assert measure_delivery(world).lost == 0
        # A membership of somebody who left may outlive them at a replica, for its ttl at most.
        assert await world.until(
            lambda: all(not person.node.inspection.sizes().neighbours for person in people[:6]),
            within_s=2 * PRESENCE_TTL_S,
        )

    world.run(play())
