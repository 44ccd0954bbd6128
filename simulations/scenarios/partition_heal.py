"""partition-heal: the network falls into two halves and comes together again."""

import asyncio

from ..measuring import measure_lookups, settle
from ..world import World
from .talk import chatter, fill_rooms

NAME = "partition-heal"
QUESTION = "Does talk on both sides of a split arrive everywhere, once and in order, after it heals?"
NODES = 40
SPLIT_S = 90.0


async def play(world: World, nodes: int) -> None:
    await world.start_bootstrap(2)
    people = await world.start_people(nodes, spread_s=max(5.0, nodes / 20))
    rooms = await fill_rooms(world, people)
    await chatter(world, rooms, for_s=20.0, every_s=5.0)
    hosts = [person.host.address for person in people]
    doors = [node.address.host for node in world.nodes.values()]
    with world.faults.partition([*hosts[::2], doors[0]], [*hosts[1::2], doors[1]]):
        await chatter(world, rooms, for_s=SPLIT_S, every_s=5.0)
    healed_s = world.loop.time()
    await asyncio.sleep(5.0)
    await settle(world, within_s=240.0)
    world.recorder.figures["converged_within_s"] = world.loop.time() - healed_s
    await measure_lookups(world, 50)
