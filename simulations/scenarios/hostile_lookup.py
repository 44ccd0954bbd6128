"""hostile-lookup: a fifth of all nodes work together and lie."""

import asyncio

from ..hostile import Conspiracy
from ..measuring import measure_lookups
from ..world import World

NAME = "hostile-lookup"
QUESTION = "How often do lookups still find the right honest node when a fifth of all nodes name only each other?"
NODES = 100
HOSTILE = 0.20


async def play(world: World, nodes: int) -> None:
    """Bare DHT nodes. `success` counts honest nodes as right; how many of these ids liars outbid is a figure."""
    await world.start_bootstrap()
    honest = int(nodes * (1 - HOSTILE))
    for number in range(honest):
        await world.start_bare_node(f"node-{number:05}")
    conspiracy = Conspiracy(world)
    await conspiracy.add(nodes - honest)
    await asyncio.sleep(60.0)
    await measure_lookups(world, 100, ignoring={contact.node_id for contact in conspiracy.members})
    world.recorder.figures["hostile_nodes"] = len(conspiracy.members)
    world.recorder.figures["questions_to_liars"] = conspiracy.questions
