"""long-churn: two hours of coming and going, the network in two halves for a while in the middle."""

import asyncio
from collections.abc import Sequence

from ..measuring import measure_lookups, settle
from ..world import Person, World
from .churn import bring_everybody_back, come_and_go
from .talk import chatter, fill_rooms

NAME = "long-churn"
QUESTION = "After two hours of sessions of ten minutes and a split in the middle, does everybody hold the same history?"
NODES = 24
"""The promise is for 200, in 25 rooms of 8; that takes hours of a core."""
LASTS_S = 7_200.0
SPLIT_S = 900.0
"""Longer than most sessions: many come back during the split, to half of their room."""
EVERY_S = 30.0
"""Between two lines in a room, and between two private ones of anybody."""
SETTLE_S = 600.0


async def play(world: World, nodes: int) -> None:
    await world.start_bootstrap(2)
    people = await world.start_people(nodes, spread_s=max(5.0, nodes / 20))
    rooms = await fill_rooms(world, people)
    comings_and_goings = [world.spawn(come_and_go(world, person), f"churn-{person.name}") for person in people]
    whispering = world.spawn(whisper(world, people), "whispering")
    hosts = [person.host.address for person in people]
    doors = [node.address.host for node in world.nodes.values()]
    await chatter(world, rooms, for_s=(LASTS_S - SPLIT_S) / 2, every_s=EVERY_S)
    with world.faults.partition([*hosts[::2], doors[0]], [*hosts[1::2], doors[1]]):
        await chatter(world, rooms, for_s=SPLIT_S, every_s=EVERY_S)
    await chatter(world, rooms, for_s=(LASTS_S - SPLIT_S) / 2, every_s=EVERY_S)
    for task in (whispering, *comings_and_goings):
        task.cancel()
    await asyncio.wait([whispering, *comings_and_goings])
    ended_s = world.loop.time()
    await bring_everybody_back(people)
    await settle(world, within_s=SETTLE_S)
    world.recorder.figures["agreed_within_s"] = world.loop.time() - ended_s
    await measure_lookups(world, 50)


async def whisper(world: World, people: Sequence[Person]) -> None:
    """Private lines from whoever is there to anybody, there or not. Until cancelled."""
    number = 0
    while True:
        await asyncio.sleep(world.rng.expovariate(1 / EVERY_S))
        author, recipient = world.rng.sample(people, 2)
        if author.online:
            number += 1
            text = f"private {number} from {author.name} to {recipient.name}"
            await author.say(recipient.name, text, [recipient.name])
