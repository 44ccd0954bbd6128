"""A node among others: joining, proving who it is, and carrying on when others do not."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht import wire
from dhtchat.dht.contact import pack_endpoint
from dhtchat.dht.node import DhtNode, OtherNetwork
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import AddressInUse, NetworkTrouble, NoBootstrapAnswered, ProofRefused
from dhtchat.ids import Endpoint, NodeAddress, node_id_of, puzzle_bits
from dhtchat.limits import RPC_TIMEOUT_S, RPC_TRIES
from dhtchat.parameters import SIM
from dhtchat.records.room import room_key
from dhtchat.runtime import Runtime
from tests.dht.support import (
    LOOPBACK,
    SMALL,
    Peer,
    key_of,
    node_key_of,
    presence,
    real_runtime_from,
    room,
    run_virtually,
    running_node,
    start_nodes,
    storage_of,
    until,
)

SILENT = Endpoint("127.0.0.1", 9)
"""The discard port: nobody is there."""


def address_of(node: DhtNode, key: bytes | None = None) -> NodeAddress:
    return NodeAddress(node.address, key)


# --- joining ----------------------------------------------------------------------------------------------------------


async def test_nodes_find_each_other_through_one() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 12)
        ids = {node.node_id for node in nodes}
        for node in nodes:
            assert {contact.node_id for contact in node.contacts()} == ids - {node.node_id}


async def test_bootstrap_says_who_answered_who_did_not_and_how_we_are_seen() -> None:
    async with AsyncExitStack() as stack:
        (first,) = await start_nodes(stack, 1)
        node = await stack.enter_async_context(running_node(7))
        good, dead = address_of(first), NodeAddress(SILENT, None)
        named = NodeAddress(Endpoint("localhost", first.address.port), None)
        unknown = NodeAddress(Endpoint("no-such-host.invalid", 1), None)
        itself = address_of(node)
        report = await node.bootstrap([good, dead, named, unknown, itself])
        assert set(report.answered) == {good, named}
        assert report.observed == node.address
        why = dict(report.failed)
        assert "does not answer" in why[dead]
        assert "cannot be resolved" in why[unknown]
        assert "this node itself" in why[itself]


def test_when_nobody_answers_bootstrap_names_whom_it_tried() -> None:
    async def scene(runtime: Runtime) -> None:
        async with running_node(1, runtime=runtime) as node:
            with pytest.raises(NoBootstrapAnswered, match=r"127\.0\.0\.1:9"):
                await node.bootstrap([NodeAddress(SILENT, None)])
            with pytest.raises(NoBootstrapAnswered):
                await node.bootstrap([])
            with pytest.raises(NetworkTrouble, match="does not answer"):
                await node.hello(SILENT)

    run_virtually(scene, seed=1)


async def test_contacts_are_told_most_recently_heard_first_and_changes_are_reported() -> None:
    async with AsyncExitStack() as stack:
        first, second = await start_nodes(stack, 2)
        changes: list[int] = []
        first.on_contacts_changed = lambda: changes.append(len(first.contacts()))
        third = await stack.enter_async_context(running_node(7, [first]))
        await until(lambda: changes == [2], "no change was reported")
        assert first.contacts()[0].node_id == third.node_id
        assert first.contacts()[1].node_id == second.node_id


async def test_an_address_in_use_is_said() -> None:
    async with running_node(1) as node:
        with pytest.raises(AddressInUse, match=str(node.address.port)):
            async with running_node(2, local=node.address):
                pass


async def test_heard_at_is_when_somebody_last_answered() -> None:
    async with running_node(1) as first, running_node(2) as second:
        assert second.heard_at_s == float("-inf")
        await second.bootstrap([address_of(first)])
        heard_at_s = second.heard_at_s
        assert heard_at_s > 0
        assert await second.probe()
        assert second.heard_at_s > heard_at_s


# --- who is who -------------------------------------------------------------------------------------------------------


async def test_hello_proves_the_node_key() -> None:
    async with running_node(1) as node, running_node(2) as asker:
        answer = await asker.hello(node.address, pinned=node_key_of(1).public)
        assert answer == (node.node_id, node_key_of(1).public, asker.address)
        with pytest.raises(ProofRefused, match="another node key"):
            await asker.hello(node.address, pinned=node_key_of(3).public)


async def test_nodes_of_another_network_are_told_apart_and_counted() -> None:
    async with running_node(1, parameters=SMALL) as node, running_node(2) as asker:
        with pytest.raises(OtherNetwork, match="another network"):
            await asker.hello(node.address)
        with pytest.raises(NoBootstrapAnswered, match="another network"):
            await asker.bootstrap([address_of(node)])
        assert node.statistics["request-other-network"] == 2
        assert node.contacts() == asker.contacts() == []


async def test_a_key_that_solves_no_puzzle_is_refused() -> None:
    """Not at a hello, not as an asker, and not when somebody names it."""
    keys = (NodeKey.generate(random.Random(seed)) for seed in range(100))
    lazy = next(key for key in keys if puzzle_bits(key.public) < SMALL.id_puzzle_bits)
    runtime = real_runtime_from(5)
    async with AsyncExitStack() as stack:
        shelf = RecordStorage(None, parameters=SMALL, clock=runtime.clock)
        stack.callback(shelf.close)
        node = DhtNode(runtime=runtime, parameters=SMALL, node_key=lazy, storage=shelf)
        await stack.enter_async_context(node)
        await node.listen(LOOPBACK)
        honest = await stack.enter_async_context(running_node(1, parameters=SMALL))
        with pytest.raises(ProofRefused, match="puzzle"):
            await honest.hello(node.address)
        await node.bootstrap([address_of(honest)])
        await until(lambda: honest.statistics["puzzle-unsolved"], "its request got lost")
        assert honest.contacts() == []


async def test_a_node_that_comes_back_on_another_port_replaces_its_old_address() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        async with running_node(77, nodes[:1]) as before:
            old = before.address
            await until(lambda: all(_address_at(node, before) == old for node in nodes), "not known")
        after = await stack.enter_async_context(running_node(77, nodes[:1]))
        assert after.address != old
        await until(lambda: all(_address_at(node, after) == after.address for node in nodes), "the old one stays")


def _address_at(node: DhtNode, other: DhtNode) -> Endpoint | None:
    return next((c.endpoint for c in node.contacts() if c.node_id == other.node_id), None)


async def test_a_key_at_somebody_elses_address_gets_nowhere() -> None:
    """An accomplice names the victim's key at its own address, and a made-up key at the victim's: nobody can open what is
    sealed for another, so nobody answers, and the victim keeps its place."""
    async with AsyncExitStack() as stack:
        node, victim = await start_nodes(stack, 2)
        liar = await stack.enter_async_context(Peer())
        made_up = node_key_of(4_711).public
        named = [victim.node_key + pack_endpoint(liar.endpoint), made_up + pack_endpoint(victim.address)]
        liar.answer = _answering_with_nodes(named)
        liar.deaf_to_strangers = True
        liar.ask(node, wire.Ping())
        await until(lambda: len(node.contacts()) == 2, "the liar is not known")
        found = await node._server.crawl(node_id_of(made_up), SIM.k)
        assert wire.FindNode in liar.asked
        both = {victim.node_id, liar.contact.node_id}
        assert {contact.node_id for contact in found.nearest} == both
        assert {contact.node_id for contact in node.contacts()} == both
        assert _address_at(node, victim) == victim.address


def _answering_with_nodes(named: list[bytes]) -> Callable[[wire.Request, Endpoint], wire.Answer | None]:
    """To a lookup this list, to a ping a pong."""

    def answer(request: wire.Request, asker: Endpoint) -> wire.Answer | None:
        match request:
            case wire.FindNode():
                return wire.Nodes(named)
            case wire.Ping():
                return wire.Pong()
            case _:
                return None

    return answer


async def test_a_request_alone_brings_nobody_into_the_table() -> None:
    async with running_node(1) as node, Peer() as mute:
        mute.answer = lambda request, asker: None
        for _ in range(50):
            mute.ask(node, wire.Ping())
        await until(lambda: node.statistics["request-Ping"] == 50, "requests got lost")
        assert node.contacts() == []
        assert mute.asked.count(wire.Ping) <= RPC_TRIES, "pinged once, however often it asks"


async def test_never_its_own_id() -> None:
    async with running_node(1) as node, Peer(1) as mirror:
        mirror.ask(node, wire.Ping())
        await until(lambda: node.statistics["request-Ping"], "the request got lost")
        assert node.contacts() == []


async def test_a_client_is_in_no_table_and_holds_nothing() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        client = await stack.enter_async_context(running_node(99, nodes[:1], client=True))
        assert len(client.contacts()) == 3
        report = await client.put(room("#lobby", 1))
        assert (report.stored, report.asked) == (3, 3)
        await client.read_claims(room_key("#lobby"))
        assert len(storage_of(client)) == 0
        assert all(len(node.contacts()) == 2 for node in nodes)
        async with Peer() as stranger:
            for request in (wire.Ping(), wire.FindNode(bytes(20))):
                stranger.ask(client, request)
            await until(lambda: client.statistics["asked-a-client"] == 2, "requests got lost")
            assert stranger.answers == []


# --- putting ----------------------------------------------------------------------------------------------------------


async def test_a_lone_node_stores_with_itself() -> None:
    async with running_node(1) as node:
        record = room("#lobby", 1)
        assert await node.put(record) == (1, 1, Counter(), 1)
        assert (await node.read_claims(room_key("#lobby"))).owner == record


async def test_put_counts_silence_and_refusals_honestly() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        stale, newer = presence(key_of(1), 5, 1_000), presence(key_of(1), 5, real_runtime_from(0).clock.wall())
        report = await nodes[0].put(stale)
        assert (report.stored, report.asked, report.refused) == (0, 3, Counter({"expired": 3}))
        report = await nodes[0].put(newer)
        assert (report.stored, report.newest_sequence) == (3, 5)
        older = presence(key_of(1), 4, real_runtime_from(0).clock.wall())
        report = await nodes[0].put(older)
        assert (report.stored, report.refused, report.newest_sequence) == (0, Counter({"stale": 3}), 5)


def test_a_client_whose_peers_are_all_dead_stores_nothing() -> None:
    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack, AsyncExitStack() as doomed:
            nodes = await start_nodes(doomed, 2, runtime=runtime)
            client = await stack.enter_async_context(running_node(99, nodes, client=True, runtime=runtime))
            await doomed.aclose()
            report = await client.put(room("#lobby", 1))
            assert (report.stored, report.asked) == (0, 2)
            with pytest.raises(NoBootstrapAnswered):
                await client.put(room("#lobby", 1))

    run_virtually(scene, seed=1)


# --- the dead ---------------------------------------------------------------------------------------------------------


def test_two_killed_nodes_stall_nobody_and_leave_the_tables() -> None:
    """In virtual time. A silent peer costs its own slot, all its tries at once, and later lookups nothing."""

    async def scene(runtime: Runtime) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack, AsyncExitStack() as doomed:
            nodes = await start_nodes(stack, 8, runtime=runtime)
            for seed in (500, 501):
                await doomed.enter_async_context(running_node(seed, nodes[:1], runtime=runtime))
            await until(lambda: all(len(node.contacts()) == 9 for node in nodes), "not everybody is known")
            await doomed.aclose()
            took_s = []
            for _ in range(3):
                started_s = loop.time()
                report = await nodes[0].put(room("#lobby", 1))
                took_s.append(loop.time() - started_s)
                assert report.stored == 8
            assert took_s[0] < 2 * RPC_TIMEOUT_S * RPC_TRIES
            assert took_s[2] < RPC_TIMEOUT_S, "both are known to be dead by now"
            assert len(nodes[0].contacts()) == 7
            for node in nodes:
                for _ in range(5):
                    assert await node.probe()
                assert len(node.contacts()) == 7

    run_virtually(scene, seed=1)


def test_probe_finds_back_after_everybody_was_away() -> None:
    """The network is gone for a while; the contacts are lost, their addresses are not."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 4, runtime=runtime)
            away = nodes[3]
            network = runtime.network
            socket = network.sockets.pop(away.address)  # type: ignore[attr-defined]
            while away.contacts():
                assert not await away.probe()
            assert not await away.probe()
            network.sockets[away.address] = socket  # type: ignore[attr-defined]
            assert await away.probe()
            await until(lambda: len(away.contacts()) == 3, "did not find the others again")
            await until(lambda: all(len(node.contacts()) == 3 for node in nodes), "was not found again", within_s=60)

    run_virtually(scene, seed=1)


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_leaving_leaves_no_task_and_is_prompt() -> None:
    """In the middle of lookups, stores, adoptions, hand-offs and a publication."""
    before = asyncio.all_tasks()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 6)
        keeper = nodes[2]
        keeper.keep("presence", lambda n, at, gone: presence(key_of(1), n, at, gone=gone), refresh_s=0.05)
        calls: list[Awaitable[object]] = [node.put(room(f"#r{n}", n)) for n, node in enumerate(nodes)]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await asyncio.sleep(0.005)
        started_s = loop.time()
    assert loop.time() - started_s < RPC_TIMEOUT_S
    for task in tasks:
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 2 * RPC_TIMEOUT_S * RPC_TRIES)
    assert asyncio.all_tasks() == before


async def test_an_error_in_the_block_arrives_as_itself() -> None:
    with pytest.raises(KeyError):
        async with running_node(1):
            raise KeyError("ours")


async def test_a_cancelled_block_ends_as_cancelled() -> None:
    async def live() -> None:
        async with running_node(1):
            await asyncio.sleep(60)

    task = asyncio.ensure_future(live())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_the_end_calls_fail_and_start_nothing() -> None:
    async with running_node(1) as node, running_node(2, [node]) as other:
        pass
    other.keep("presence", lambda n, at, gone: presence(key_of(1), n, at, gone=gone), refresh_s=1)
    assert not await other.probe()
    assert (await other.put(room("#lobby", 1))).stored <= 1
