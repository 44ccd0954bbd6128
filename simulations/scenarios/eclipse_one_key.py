"""eclipse-one-key: forty Sybils with ids ground near one name try to hide its owner."""

import asyncio

from dhtchat.records.account import account_key

from ..hostile import Conspiracy
from ..world import World

NAME = "eclipse-one-key"
QUESTION = "How often is an account still found when 40 Sybils on 3 hosts sit around its key and deny it?"
NODES = 60
SYBILS = 40
HOSTS = 3
VICTIM = "victim"


async def play(world: World, nodes: int) -> None:
    """Bare DHT nodes and one account, registered before the attack begins."""
    await world.start_bootstrap()
    for number in range(nodes):
        await world.start_bare_node(f"node-{number:05}")
    outcome = await world.register_only(VICTIM, "registrant")
    if outcome != "registered":
        world.recorder.violations.append(f"set-up: the victim could not register: {outcome}")
    conspiracy = Conspiracy(world, target=account_key(VICTIM))
    await conspiracy.add(SYBILS, networks=HOSTS)
    await asyncio.sleep(120.0)
    readers = [node for node in world.askers() if not node.storage.claims(account_key(VICTIM))]
    found = forged = 0
    for reader in readers:
        reading = await reader.read_claims(account_key(VICTIM))
        found += reading.owner is not None
        forged += reading.owner is not None and reading.owner.body.name != VICTIM
    world.recorder.figures |= {
        "readers": len(readers),
        "found_share": found / max(1, len(readers)),
        "questions_to_sybils": conspiracy.questions,
    }
    if forged:
        world.recorder.violations.append(f"nothing-forged: {forged} readers were given another account")
