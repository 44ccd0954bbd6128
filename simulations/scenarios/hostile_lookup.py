"""hostile-lookup: a fifth of all nodes work together and lie."""

import asyncio

from ..hostile import Conspiracy
from ..measuring import find_carefully, lookups_right, measure_lookups, promise
from ..world import World

NAME = "hostile-lookup"
QUESTION = "How often do lookups still find the right honest node when a fifth of all nodes name only each other?"
NODES = 600
HOSTILE = 0.20
PROMISED = 0.99
LOOKUPS = 200


async def play(world: World, nodes: int) -> None:
    """Bare DHT nodes. `success` counts honest nodes as right; how many of these ids liars outbid is a figure."""
    await look_among_liars(world, nodes, HOSTILE, PROMISED)


async def look_among_liars(world: World, nodes: int, share: float, promised: float) -> None:
    """They have been there from the beginning, as many of each ten nodes as of all."""
    await world.start_bootstrap()
    conspiracy = Conspiracy(world)
    for number in range(nodes):
        if int((number + 1) * share) > len(conspiracy.members):
            await conspiracy.add(1)
        else:
            await world.start_bare_node(f"node-{number:05}")
    await asyncio.sleep(60.0)
    liars = {contact.node_id for contact in conspiracy.members}
    found = await measure_lookups(world, LOOKUPS, ignoring=liars, find=find_carefully)
    promise(world, "right_share", lookups_right(world), promised)
    world.recorder.figures |= {
        "found_of_true_nearest": found,
        "doubted": sum(node.statistics["lookup-doubtful"] for node in world.nodes.values()),
        "hostile_nodes": len(liars),
        "questions_to_liars": conspiracy.questions,
    }
