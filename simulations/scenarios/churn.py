"""churn: people come and go all the time, most of them without a goodbye."""

import asyncio
import math
from collections.abc import Sequence

from ..measuring import measure_lookups, settle
from ..stage import Player, Stage
from .talk import chatter, fill_rooms

NAME = "churn"
QUESTION = "Is anything lost when sessions last ten minutes (median) and half of them end with a crash?"
NODES = 100
MEDIAN_SESSION_S = 600.0
AWAY_S = 60.0
TALK_S = 300.0


async def play(world: Stage, nodes: int) -> None:
    await world.start_bootstrap()
    people = await world.start_people(nodes, spread_s=max(5.0, nodes / 20))
    rooms = await fill_rooms(world, people)
    comings_and_goings = [world.spawn(come_and_go(world, person), f"churn-{person.name}") for person in people]
    await chatter(world, rooms, for_s=TALK_S, every_s=10.0)
    await measure_lookups(world, 50)
    for task in comings_and_goings:
        task.cancel()
    await asyncio.wait(comings_and_goings)
    await bring_everybody_back(people)
    await settle(world, within_s=180.0)


async def come_and_go(world: Stage, person: Player) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(world.rng.expovariate(math.log(2) / MEDIAN_SESSION_S))
        world.recorder.figures["sessions_ended"] = world.recorder.figures.get("sessions_ended", 0) + 1
        # Not to be cancelled in the middle of an end.
        await asyncio.shield(person.crash() if world.rng.random() < 0.5 else person.leave())
        await asyncio.sleep(world.rng.expovariate(1 / AWAY_S))
        await asyncio.shield(person.restart())


async def bring_everybody_back(people: Sequence[Player]) -> None:
    """Who is away starts again."""
    async with asyncio.TaskGroup() as group:
        for person in people:
            if not person.running:
                group.create_task(person.restart())
