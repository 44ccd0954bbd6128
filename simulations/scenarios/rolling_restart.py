"""rolling-restart: everybody restarts, one after the other, as for an update."""

import asyncio

from ..measuring import measure_lookups, settle
from ..stage import Stage
from .talk import chatter, fill_rooms

NAME = "rolling-restart"
QUESTION = "Does talk go on, and is nothing lost, while every node restarts once?"
NODES = 40
PAUSE_S = 3.0


async def play(world: Stage, nodes: int) -> None:
    await world.start_bootstrap()
    people = await world.start_people(nodes, spread_s=max(5.0, nodes / 20))
    rooms = await fill_rooms(world, people)

    async def restart_all() -> None:
        for person in people:
            await person.leave()
            await asyncio.sleep(1.0)
            await person.restart()
            await asyncio.sleep(PAUSE_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(restart_all())
        group.create_task(chatter(world, rooms, for_s=nodes * (PAUSE_S + 2.0), every_s=5.0))
    await settle(world, within_s=180.0)
    await measure_lookups(world, 50)
