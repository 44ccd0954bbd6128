"""healthy-lookup: nobody lies, nothing gets lost: are the nearest really the nearest, and what does it cost?"""

import asyncio

from ..measuring import lookups_right, measure_lookups, promise
from ..world import World

NAME = "healthy-lookup"
QUESTION = (
    "How many of the true 20 nearest nodes does a lookup find when nothing is wrong, and with how many datagrams?"
)
NODES = 500
PROMISED = 0.999
LOOKUPS = 200


async def play(world: World, nodes: int) -> None:
    """Bare DHT nodes: nobody talks."""
    await world.start_bootstrap()
    for number in range(nodes - 1):
        await world.start_bare_node(f"node-{number:05}")
    await asyncio.sleep(30.0)
    found = await measure_lookups(world, LOOKUPS)
    promise(world, "found_of_true_nearest", found, PROMISED)
    promise(world, "right_share", lookups_right(world), PROMISED)
