"""join-storm: everybody comes at once."""

import asyncio

from ..measuring import measure_lookups, settle
from ..stage import Stage

NAME = "join-storm"
QUESTION = "How long until everybody is in and can be found, when all register and join within a second?"
NODES = 100


async def play(world: Stage, nodes: int) -> None:
    await world.start_bootstrap()
    started_s = world.loop.time()
    people = await world.start_people(nodes, spread_s=1.0)
    world.recorder.figures["all_in_after_s"] = world.loop.time() - started_s
    failed = [person.name for person in people if person.errors]
    world.recorder.figures["failed"] = len(failed)
    world.recorder.violations += [f"all-in: {name} could not join: {world.people[name].errors[-1]}" for name in failed]
    await asyncio.sleep(10.0)
    await measure_lookups(world, 100)
    await settle(world)
