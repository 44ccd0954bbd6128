"""registration-race: many want the same name at the same moment."""

import asyncio
from collections import Counter

from dhtchat.ids import PeerId
from dhtchat.records.account import account_key

from ..measuring import measure_lookups
from ..world import World

NAME = "registration-race"
QUESTION = "Does exactly one of all who register a name at the same time get it, and does everybody agree who?"
NODES = 100
REPLICAS = 30
LOSS = 0.10
WANTED = "wanted"


async def play(world: World, nodes: int) -> None:
    """`nodes` registrants in a network of REPLICAS nodes, 10 % of all packets lost."""
    await world.start_bootstrap()
    for number in range(REPLICAS):
        await world.start_bare_node(f"replica-{number:03}")
    with world.faults.loss(LOSS):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(world.register_only(WANTED, f"registrant-{number:04}")) for number in range(nodes)
            ]
        outcomes = Counter(task.result() for task in tasks)
        await asyncio.sleep(60.0)
        await agree(world, WANTED)
    world.recorder.figures |= {f"outcome_{code}": count for code, count in sorted(outcomes.items())}
    if outcomes["registered"] > 1:
        world.recorder.violations.append(f"one-owner-per-name: {outcomes['registered']} registrants were told they won")
    await measure_lookups(world, 20)


async def agree(world: World, name: str) -> PeerId | None:
    """Who owns a name, asked from every node: it must be one and the same."""
    owners: Counter[bytes] = Counter()
    for node in world.askers():
        reading = await node.read_claims(account_key(name))
        if reading.owner is not None:
            owners[reading.owner.key] += 1
    if len(owners) > 1:
        world.recorder.violations.append(f"one-owner-per-name: readers see {len(owners)} owners of {name}")
    return PeerId(next(iter(owners))) if owners else None
