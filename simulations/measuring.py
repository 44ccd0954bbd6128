"""What scenarios measure with: lookups from random nodes, and waiting until all that is owed has been shown."""

import asyncio
from collections.abc import Container

from dhtchat.ids import distance

from .checkers import measure_delivery
from .recorder import Sample
from .stage import Stage


async def measure_lookups(world: Stage, count: int, *, ignoring: Container[bytes] = frozenset()) -> None:
    """So many lookups of random ids, each from a random node, one after the other.

    Right is who finds the nearest of our own nodes; what the nodes in `ignoring` say of themselves does not count.
    """
    for _ in range(count):
        nodes = world.askers()
        asker = world.rng.choice(nodes)
        target = world.rng.randbytes(20)
        others = [node.node_id for node in nodes if node is not asker]
        started_s = world.loop.time()
        found = await asker.find_nearest(target)
        nearest = min(others, key=lambda node_id: distance(node_id, target))
        honest = [contact.node_id for contact in found.nearest if contact.node_id not in ignoring]
        success = bool(honest) and honest[0] == nearest
        world.recorder.lookups.append(
            Sample(world.loop.time() - started_s, found.hops, found.asked, success, started_s)
        )


async def settle(world: Stage, *, within_s: float = 120.0) -> None:
    """Let time pass until everything owed has been shown, at most so long; then a little more for what comes too much."""

    def complete() -> bool:
        return measure_delivery(world).lost == 0

    await world.until(complete, within_s=within_s, step_s=5.0)
    await asyncio.sleep(5.0)
