"""What somebody recorded is said again, byte for byte or sealed anew: nobody believes it."""

import asyncio
import random
from contextlib import AsyncExitStack

from dhtchat.dht.node import DhtNode
from dhtchat.ids import Endpoint, NodeAddress, PeerId
from dhtchat.limits import CLOCK_SKEW_S, PRESENCE_REFRESH_S, PRESENCE_TTL_S
from dhtchat.parameters import SIM
from dhtchat.records.account import Account, account_key, create_account, seal_account
from dhtchat.records.envelope import Signed
from dhtchat.records.presence import Presence, presence_key
from dhtchat.runtime import Runtime
from tests.dht.support import (
    VirtualNetwork,
    account,
    key_of,
    presence,
    run_virtually,
    running_node,
    start_nodes,
    storage_of,
    until,
)

ALICE = key_of(1)
HER_SET = presence_key(PeerId(ALICE.public))
HER_NAME = account_key("alice")
Overheard = list[tuple[bytes, Endpoint, Endpoint]]


async def _is_online(node: DhtNode) -> bool:
    """Anything of hers that is alive and no goodbye."""
    entries = (await node.read_set(HER_SET, Presence)).entries
    return any(not entry.body.gone for entry in entries)


async def _live_and_leave(nodes: list[DhtNode]) -> list[Signed[Presence]]:
    """A presence with a few refreshes and its goodbye, from the first node; returns all versions."""
    versions: list[Signed[Presence]] = []

    def make(sequence: int, issued_at_s: int, gone: bool) -> Signed[Presence]:
        versions.append(presence(ALICE, sequence, issued_at_s, gone=gone))
        return versions[-1]

    nodes[0].keep("presence", make, refresh_s=PRESENCE_REFRESH_S)
    await asyncio.sleep(2 * PRESENCE_REFRESH_S)
    assert await _is_online(nodes[1])
    await nodes[0].drop("presence")
    assert not await _is_online(nodes[1])
    return versions


def _recording(network: VirtualNetwork) -> Overheard:
    overheard: Overheard = []

    def keep(data: bytes, source: Endpoint, destination: Endpoint) -> bool:
        overheard.append((data, source, destination))
        return False

    network.drop = keep
    return overheard


async def _say_again(network: VirtualNetwork, overheard: Overheard) -> int:
    """All of it, in order, from and to where it went; whose socket is gone gets nothing. Returns how much arrived."""
    network.drop = lambda data, source, destination: False
    arrived = 0
    for data, source, destination in overheard:
        if destination in network.sockets:
            arrived += 1
            network.sockets[destination].protocol.datagram_received(data, tuple(source))
    await asyncio.sleep(10.0)
    return arrived


def test_every_datagram_of_a_life_said_again_changes_nothing() -> None:
    """Of a whole network: all that was heard until Alice was gone, sent again from the very addresses. No node does more than
    count it."""

    async def scene(runtime: Runtime) -> None:
        network = runtime.network
        assert isinstance(network, VirtualNetwork)
        async with AsyncExitStack() as stack:
            overheard = _recording(network)
            nodes = await start_nodes(stack, 5, runtime=runtime)
            await _live_and_leave(nodes)
            held = [[entry.record.raw for entry in storage_of(n).entries(HER_SET, "presence")] for n in nodes]
            before = [node.statistics.copy() for node in nodes]
            arrived = await _say_again(network, overheard)
            assert arrived > 200
            for node, counted in zip(nodes, before, strict=True):
                assert node.statistics["request-Store"] == counted["request-Store"]
                assert node.statistics["replayed"] > counted["replayed"]
            assert held == [[entry.record.raw for entry in storage_of(n).entries(HER_SET, "presence")] for n in nodes]
            assert not await _is_online(nodes[1])

    run_virtually(scene, seed=1)


def test_who_comes_back_empty_takes_no_recorded_store() -> None:
    """A replica that restarts under its key remembers no counters, so what was sealed for it opens once more. But the tokens
    in it were given out by its last life."""

    async def scene(runtime: Runtime) -> None:
        network = runtime.network
        assert isinstance(network, VirtualNetwork)
        async with AsyncExitStack() as stack:
            overheard = _recording(network)
            nodes = await start_nodes(stack, 4, runtime=runtime)
            async with running_node(77, nodes[:1], runtime=runtime) as first_life:
                address = first_life.address
                await until(lambda: all(len(node.contacts()) == 4 for node in nodes), "not known")
                await _live_and_leave([*nodes, first_life])
                await nodes[2].put(account("alice", 1))
                assert first_life.statistics["request-Store"] > 2
            second_life = await stack.enter_async_context(running_node(77, runtime=runtime, local=address))
            assert second_life.address == address
            for_it = [said for said in overheard if said[2] == address]
            await _say_again(network, for_it)
            assert second_life.statistics["request-Store"] > 2, "nothing opened: this would show nothing"
            assert len(storage_of(second_life)) == 0
            assert not await _is_online(nodes[1])

    run_virtually(scene, seed=1)


def test_an_insider_who_kept_a_presence_cannot_bring_it_back_by_a_fresh_replica() -> None:
    """As long as the goodbye lives, everywhere; and for good once the bytes are too old for any clock. In between the fresh
    replica alone would show it: docs/threat-model.md, "The lying replica"."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 4, runtime=runtime)
            versions = await _live_and_leave(nodes)
            fresh = await stack.enter_async_context(running_node(77, nodes[:1], runtime=runtime))
            await until(lambda: all(len(node.contacts()) == 4 for node in nodes), "not known")
            insider = await stack.enter_async_context(running_node(99, nodes[:1], client=True, runtime=runtime))

            async def plant() -> None:
                for old in versions[:-1]:
                    for contact in insider.contacts():
                        await insider._replicas.store(contact, HER_SET, old.raw, float(PRESENCE_TTL_S))

            await plant()
            assert not await _is_online(nodes[1])
            await asyncio.sleep(PRESENCE_TTL_S + 10.0)
            await plant()
            for node in nodes:
                assert list(storage_of(node).entries(HER_SET, "presence")) == []
            await asyncio.sleep(CLOCK_SKEW_S)
            await plant()
            assert list(storage_of(fresh).entries(HER_SET, "presence")) == []
            for node in (*nodes, fresh):
                assert not await _is_online(node)

    run_virtually(scene, seed=1)


def test_an_old_account_is_not_believed_while_anybody_has_the_new_one() -> None:
    """The datagrams that carried it said again, stored again at every replica, and served by replicas that have just come
    and know nothing else."""

    async def scene(runtime: Runtime) -> None:
        network = runtime.network
        assert isinstance(network, VirtualNetwork)
        async with AsyncExitStack() as stack:
            overheard = _recording(network)
            nodes = await start_nodes(stack, 4, runtime=runtime)
            old, new = _two_versions()
            for record in (old, new):
                assert (await nodes[0].put(record)).stored == 4
            await _say_again(network, overheard)
            insider = await stack.enter_async_context(running_node(99, nodes[:1], client=True, runtime=runtime))
            for contact in insider.contacts():
                assert not (await insider._replicas.store(contact, HER_NAME, old.raw)).holds
            assert [storage_of(node).claims(HER_NAME) for node in nodes] == [[new]] * 4
            for seed in (77, 78):
                fresh = await stack.enter_async_context(running_node(seed, runtime=runtime))
                storage_of(fresh).offer_claim(HER_NAME, old)
                await fresh.bootstrap([NodeAddress(nodes[0].address, None)])
                assert (await fresh.read_claims(HER_NAME)).owner == new
            assert (await insider.read_claims(HER_NAME)).owner == new

    run_virtually(scene, seed=1)


def _two_versions() -> tuple[Signed[Account], Signed[Account]]:
    """Before and after a change of password."""
    old, identity = create_account("alice", "the old one", parameters=SIM, source=random.Random(1), now_s=0)
    new = seal_account(
        "alice",
        "the new one",
        identity,
        nonce=old.body.nonce,
        created_at_s=old.body.created_at_s,
        sequence=old.body.sequence + 1,
        parameters=SIM,
        source=random.Random(2),
    )
    return old, new
