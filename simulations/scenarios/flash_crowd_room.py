"""flash-crowd-room: one room, and everybody wants in."""

import asyncio

from ..measuring import settle
from ..stage import Stage
from .talk import chatter

NAME = "flash-crowd-room"
QUESTION = "How long until a crowd that enters one room within ten seconds is in, linked and has the history?"
NODES = 30
ROOM = "#stadium"
WITHIN_S = 10.0


async def play(world: Stage, nodes: int) -> None:
    await world.start_bootstrap()
    people = await world.start_people(nodes, spread_s=max(5.0, nodes / 20))
    host, *crowd = people
    await host.join(ROOM)
    for number in range(20):
        await host.say(ROOM, f"welcome {number}", (person.name for person in people))
    started_s = world.loop.time()

    async def enter(delay_s: float, number: int) -> None:
        await asyncio.sleep(delay_s)
        await crowd[number].join(ROOM)

    async with asyncio.TaskGroup() as group:
        for number in range(len(crowd)):
            group.create_task(enter(WITHIN_S * number / max(1, len(crowd)), number))
    await world.until(lambda: all(len(person.lines(ROOM)) >= 20 for person in crowd), within_s=120.0)
    world.recorder.figures["all_have_history_after_s"] = world.loop.time() - started_s
    await chatter(world, {ROOM: people}, for_s=20.0, every_s=1.0)
    await settle(world)
