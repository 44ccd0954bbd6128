"""durable-data: do records outlive everybody who held them, and what does it cost a node to see to that?"""

import asyncio
import math

from dhtchat.crypto.identity import SigningKey
from dhtchat.records.envelope import Signed
from dhtchat.records.room import RoomGenesis, create_room, room_key

from ..measuring import promise
from ..world import EPOCH_S, World

NAME = "durable-data"
QUESTION = (
    "Is a record lost in four hours of ten-minute sessions (median) that all end with a crash, and what is the traffic?"
)
NODES = 500
RECORDS_PER_NODE = 2
MEDIAN_SESSION_S = 600.0
DURATION_S = 4 * 3600.0
SETTLE_S = 30.0
PUTS_AT_ONCE = 8
BYTES_PER_S_MAX = 900.0
"""Per node, sent: Bamboo's under such churn (Rhea et al., "Handling Churn in a DHT", USENIX 2004, §5)."""


async def play(world: World, nodes: int) -> None:
    """Bare DHT nodes with their store in memory: who crashes takes all it held along, and another comes in its place."""
    await world.start_bootstrap()
    names = [f"node-{number:05}" for number in range(nodes - 1)]
    for name in names:
        await world.start_bare_node(name)
    await asyncio.sleep(SETTLE_S)
    records = [_room(number, world) for number in range(RECORDS_PER_NODE * nodes)]
    room = asyncio.Semaphore(PUTS_AT_ONCE)

    async def put(record: Signed[RoomGenesis]) -> None:
        async with room:
            report = await world.rng.choice(world.askers()).put(record)
            if not report.stored:
                world.recorder.violations.append(f"set-up: {record.body.name} could not be stored")

    await asyncio.gather(*(put(record) for record in records))
    sent_before = sum(world.fabric.bytes_by_host.values())
    lives = [world.spawn(_live_and_die(world, name), f"churn-{name}") for name in names]
    await asyncio.sleep(DURATION_S)
    for life in lives:
        life.cancel()
    await asyncio.wait(lives)
    sent = sum(world.fabric.bytes_by_host.values()) - sent_before
    await asyncio.sleep(SETTLE_S)
    found = 0
    for record in records:
        owner = (await world.rng.choice(world.askers()).read_claims(room_key(record.body.name))).owner
        found += owner is not None and owner.digest == record.digest
    holders = [
        sum(bool(node.storage.claims(room_key(record.body.name))) for node in world.askers()) for record in records
    ]
    bytes_per_s = sent / DURATION_S / nodes
    world.recorder.figures |= {
        "records": len(records),
        "holders_least": min(holders),
        "bytes_per_s_per_node": bytes_per_s,
    }
    promise(world, "kept_share", found / len(records), 1.0)
    if bytes_per_s > BYTES_PER_S_MAX:
        world.recorder.violations.append(f"promised: {bytes_per_s:.0f} bytes/s a node, not {BYTES_PER_S_MAX:.0f}")


async def _live_and_die(world: World, name: str) -> None:
    """Until cancelled: one node after the other in the same place."""
    generation = 0
    while True:
        await asyncio.sleep(world.rng.expovariate(math.log(2) / MEDIAN_SESSION_S))
        figures = world.recorder.figures
        figures["sessions_ended"] = figures.get("sessions_ended", 0) + 1
        # Not to be cancelled in the middle.
        await asyncio.shield(world.kill_bare_node(name))
        generation += 1
        name = f"{name.split('.')[0]}.{generation}"
        await asyncio.shield(world.start_bare_node(name))


def _room(number: int, world: World) -> Signed[RoomGenesis]:
    owner = SigningKey.generate(world.rng)
    return create_room(
        f"#room{number:05}", owner, parameters=world.parameters, source=world.rng, now_s=EPOCH_S + world.loop.time()
    )
