"""bootstrap-gone: the door disappears for good."""

import asyncio

from ..measuring import measure_lookups, settle
from ..stage import Stage
from .talk import chatter, fill_rooms

NAME = "bootstrap-gone"
QUESTION = "Does talk go on without the bootstrap node, and do people who crash find their way back?"
NODES = 40


async def play(world: Stage, nodes: int) -> None:
    await world.start_bootstrap()
    people = await world.start_people(nodes, spread_s=max(5.0, nodes / 20))
    rooms = await fill_rooms(world, people)
    await chatter(world, rooms, for_s=10.0, every_s=5.0)
    await world.kill_bare_node("bootstrap-0")
    await chatter(world, rooms, for_s=30.0, every_s=5.0)
    victims = people[:: max(1, nodes // 8)]
    for person in victims:
        await person.crash()
    await chatter(world, rooms, for_s=30.0, every_s=5.0)
    async with asyncio.TaskGroup() as group:
        for person in victims:
            group.create_task(person.restart())
    back = sum(person.online for person in victims)
    world.recorder.figures["came_back_share"] = back / len(victims)
    await settle(world, within_s=180.0)
    await measure_lookups(world, 50)
