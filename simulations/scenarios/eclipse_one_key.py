"""eclipse-one-key: forty Sybils with ids ground near one name try to hide its owner."""

import asyncio

from dhtchat.crypto.identity import SigningKey
from dhtchat.ids import PeerId
from dhtchat.limits import PRESENCE_TTL_S
from dhtchat.records.account import account_key, create_account
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.presence import Address, Presence, presence_key

from ..hostile import Conspiracy
from ..measuring import promise
from ..world import EPOCH_S, World

NAME = "eclipse-one-key"
QUESTION = "How often is an account, and who is online, still read when 40 Sybils on 3 networks sit around each key?"
NODES = 600
SYBILS = 40
NETWORKS = 3
VICTIM = "victim"
READERS = 100
PROMISED = 0.95
SETTLE_S = 120.0


async def play(world: World, nodes: int) -> None:
    """Bare DHT nodes and one account, registered before the attack begins, which the Sybils claim for a thief; then a
    presence record, published when Sybils of its own are there already."""
    await world.start_bootstrap()
    for number in range(nodes):
        await world.start_bare_node(f"node-{number:05}")
    outcome = await world.register_only(VICTIM, "registrant")
    if outcome != "registered":
        world.recorder.violations.append(f"set-up: the victim could not register: {outcome}")
    key, owner = account_key(VICTIM), SigningKey.generate(world.rng)
    place = presence_key(PeerId(owner.public))
    honest = {record.digest for node in world.askers() for record in node.storage.claims(key)}
    thief, _ = create_account(VICTIM, "not yours", parameters=world.parameters, source=world.rng, now_s=int(EPOCH_S))
    around_account, around_presence = Conspiracy(world, target=key), Conspiracy(world, target=place)
    around_account.thefts[key] = [thief.raw]
    for conspiracy in (around_account, around_presence):
        await conspiracy.add(SYBILS, networks=NETWORKS)
    await asyncio.sleep(SETTLE_S)
    presence = _presence(owner, world)
    await world.rng.choice(world.askers()).put(presence)
    readers = world.rng.sample(world.askers(), min(READERS, nodes))
    found = fooled = seen = 0
    for reader in readers:
        entries = (await reader.read_set(place, Presence)).entries
        seen += presence.digest in {entry.digest for entry in entries}
    for reader in readers:
        who = (await reader.read_claims(key)).owner
        found += who is not None and who.digest in honest
        fooled += who is not None and who.digest not in honest
    promise(world, "found_share", found / len(readers), PROMISED)
    promise(world, "presence_found_share", seen / len(readers), PROMISED)
    nearest = (await world.rng.choice(world.askers()).find_nearest(key)).nearest
    world.recorder.figures |= {
        "readers": len(readers),
        "fooled": fooled,
        "sybils_among_nearest": len(set(nearest).intersection(around_account.members)),
        "questions_to_sybils": around_account.questions + around_presence.questions,
    }


def _presence(owner: SigningKey, world: World) -> Signed[Presence]:
    now_s = int(EPOCH_S + world.loop.time())
    body = Presence(VICTIM, bytes(32), [Address("127.0.0.1", 1)], "", 0, 1, now_s, PRESENCE_TTL_S, False)
    return sign_body(body, owner, world.parameters.network_id)
