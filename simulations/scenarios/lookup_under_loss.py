"""lookup-under-loss: lookups on a bad network with many dead nodes in the tables."""

import asyncio

from ..measuring import lookups_right, measure_lookups, promise
from ..world import World

NAME = "lookup-under-loss"
QUESTION = "How often and how quickly do lookups succeed with 5 % loss and a quarter of the nodes crashed?"
NODES = 600
LOSS = 0.05
CRASHED = 0.25
PROMISED = 0.999
LOOKUPS = 1_000


async def play(world: World, nodes: int) -> None:
    """Bare DHT nodes: nobody talks."""
    await world.start_bootstrap()
    for number in range(nodes):
        await world.start_bare_node(f"node-{number:05}")
    await asyncio.sleep(30.0)
    names = sorted(world.nodes)
    for name in world.rng.sample(names, int(CRASHED * len(names))):
        await world.kill_bare_node(name)
    with world.faults.loss(LOSS):
        found = await measure_lookups(world, LOOKUPS)
    world.recorder.figures["found_of_true_nearest"] = found
    promise(world, "right_share", lookups_right(world), PROMISED)
