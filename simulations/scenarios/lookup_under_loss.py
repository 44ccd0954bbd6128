"""lookup-under-loss: lookups on a bad network with many dead nodes in the tables."""

import asyncio

from ..measuring import measure_lookups
from ..world import World

NAME = "lookup-under-loss"
QUESTION = "How often and how quickly do lookups succeed with 5 % loss and a quarter of the nodes crashed?"
NODES = 200
LOSS = 0.05
CRASHED = 0.25


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
        await measure_lookups(world, 200)
