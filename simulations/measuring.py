"""What scenarios measure with: lookups from random nodes, and waiting until all that is owed has been shown."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from heapq import nsmallest

from dhtchat.dht.node import DhtNode, Found
from dhtchat.ids import distance

from .checkers import measure_delivery
from .recorder import Sample
from .stage import Asker, Stage


async def find_plainly(asker: Asker, target: bytes) -> Found:
    return await asker.find_nearest(target)


async def find_carefully(asker: Asker, target: bytes) -> Found:
    """By disjoint paths. Of nodes of this process only."""
    assert isinstance(asker, DhtNode)
    return await asker.find_nearest(target, careful=True)


async def measure_lookups(
    world: Stage,
    count: int,
    *,
    ignoring: Collection[bytes] = frozenset(),
    find: Callable[[Asker, bytes], Awaitable[Found]] = find_plainly,
) -> float:
    """So many lookups of random ids, each from a random node, one after the other. Returns which share of our own nodes
    among the true k nearest they found.

    Right is who finds the nearest of our own nodes; what the nodes in `ignoring` say of themselves does not count.
    """
    wanted = present = 0
    for _ in range(count):
        nodes = world.askers()
        asker = world.rng.choice(nodes)
        target = world.rng.randbytes(20)
        others = [node.node_id for node in nodes if node is not asker]
        started_s = world.loop.time()
        found = await find(asker, target)
        nearest = min(others, key=lambda node_id: distance(node_id, target))
        honest = [contact.node_id for contact in found.nearest if contact.node_id not in ignoring]
        success = bool(honest) and honest[0] == nearest
        world.recorder.lookups.append(
            Sample(world.loop.time() - started_s, found.hops, found.asked, success, started_s)
        )
        truth = nsmallest(world.parameters.k, [*others, *ignoring], key=lambda node_id: distance(node_id, target))
        right = set(truth) - set(ignoring)
        wanted += len(right)
        present += len(right.intersection(honest))
    return present / max(1, wanted)


def promise(world: Stage, what: str, share: float, least: float) -> None:
    """A figure that must not be smaller than so."""
    world.recorder.figures[what] = share
    if share < least:
        world.recorder.violations.append(f"promised: {what} is {share:.4f}, not {least}")


def lookups_right(world: Stage) -> float:
    """The share of those measured."""
    samples = world.recorder.lookups
    return sum(sample.success for sample in samples) / max(1, len(samples))


async def settle(world: Stage, *, within_s: float = 120.0) -> None:
    """Let time pass until everything owed has been shown, at most so long; then a little more for what comes too much."""

    def complete() -> bool:
        return measure_delivery(world).lost == 0

    await world.until(complete, within_s=within_s, step_s=5.0)
    await asyncio.sleep(5.0)
