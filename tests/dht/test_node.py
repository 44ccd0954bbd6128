"""A node among others: joining, proving who it is, and carrying on when others do not."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from dhtchat.crypto.datagram import Sealer
from dhtchat.dht import wire
from dhtchat.dht.contact import contact_at, pack_contact, pack_endpoint
from dhtchat.dht.node import DhtNode, Found, OtherNetwork
from dhtchat.errors import AddressInUse, MalformedMessage, NetworkTrouble, NoBootstrapAnswered, ProofRefused
from dhtchat.ids import Endpoint, NodeAddress, puzzle_bits
from dhtchat.limits import BOOT_ID_BYTES, NETWORK_TAG_BYTES, RPC_TIMEOUT_S, RPC_TRIES
from dhtchat.parameters import SIM
from dhtchat.records.room import room_key
from dhtchat.runtime import Runtime
from tests.dht.support import (
    SMALL,
    Peer,
    VirtualNetwork,
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
    with_boot,
    with_kind,
    with_sender,
)

TAG = SIM.network_id[:NETWORK_TAG_BYTES]
SMALL_ORDER_KEYS = [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]
"""Points of small order: whatever one multiplies them with, nothing comes out (RFC 7748 §6.1)."""
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


async def test_a_hello_counts_only_from_who_has_the_key_that_it_names() -> None:
    """Answers to a hello that another key sealed, or that were sealed for another, open for nobody."""
    async with running_node(1) as asker, Peer(2) as liar, Peer(3) as other:
        seen: list[bytes] = []
        liar.datagram_received = lambda data, addr: seen.append(data)  # type: ignore[method-assign]
        call = asyncio.ensure_future(asker.hello(liar.endpoint))
        await until(lambda: seen, "nothing was asked")
        hello = wire.decode_hello(seen[0])
        assert hello[:2] == (asker.node_key, TAG)
        greeting = wire.Greeting(pack_endpoint(asker.address))
        sealed = liar.sealed(hello.key, hello.message_id, greeting)
        bad = [
            with_sender(sealed, other.key.public),
            with_boot(sealed, b"\xff" * BOOT_ID_BYTES),
            with_kind(sealed, wire.Kind.REQUEST),
            liar.sealed(other.key.public, hello.message_id, greeting),
            liar.sealed(hello.key, bytes(8), greeting),
        ]
        for datagram in bad:
            liar.send(asker.address, datagram)
        other.send(asker.address, other.sealed(hello.key, hello.message_id, greeting))
        await until(lambda: asker.statistics["datagrams-in"] == len(bad) + 1, "datagrams got lost")
        assert not call.done()
        liar.send(asker.address, sealed)
        assert (await call).node_key == liar.key.public


async def test_a_key_that_solves_no_puzzle_is_not_greeted_back() -> None:
    """On a network with a puzzle, who has not paid is nobody: neither at an address that a user named nor elsewhere."""
    hard = msgspec.structs.replace(SMALL, id_puzzle_bits=4)
    lazy = next(seed for seed in range(50) if puzzle_bits(node_key_of(seed).public) < 4)
    async with running_node(1, parameters=hard) as node, Peer(lazy, parameters=SMALL_AND_LAZY) as peer:
        peer.sealer = Sealer(peer.key, bytes(BOOT_ID_BYTES), hard.network_id)
        with pytest.raises(ProofRefused, match="puzzle"):
            await node.hello(peer.endpoint)
        peer.ask(node, wire.Ping())
        await until(lambda: node.statistics["puzzle-unsolved"], "the request got lost")
        assert peer.answers or await until(lambda: peer.answers, "it is answered all the same") is None
        async with Peer(99, parameters=hard) as accomplice:
            accomplice.answer = _answering_with_nodes([pack_contact(peer.contact)])
            accomplice.ask(node, wire.Ping())
            await until(node.contacts, "the accomplice is not known")
            await node._server.crawl(peer.node_id, hard.k)
            assert wire.FindNode in accomplice.asked
        assert peer.asked == []
        assert peer.node_id not in {contact.node_id for contact in node.contacts()}


SMALL_AND_LAZY = msgspec.structs.replace(SMALL, id_puzzle_bits=0)


async def test_a_node_that_comes_back_on_another_port_replaces_its_old_address() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        async with running_node(77, nodes[:1]) as before:
            old = before.address
            await until(lambda: all(_address_at(node, before) == old for node in nodes), "not known")
        after = await stack.enter_async_context(running_node(77, nodes[:1]))
        assert after.address != old
        await until(lambda: all(_address_at(node, after) == after.address for node in nodes), "the old one stays")
        assert sum(node.statistics["request-Hello"] for node in nodes[1:]) == 0


def _address_at(node: DhtNode, other: DhtNode) -> Endpoint | None:
    return next((c.endpoint for c in node.contacts() if c.node_id == other.node_id), None)


def test_who_hands_datagrams_on_does_not_take_the_place_of_a_node_that_lives() -> None:
    """A relay cannot read or forge anything, but whoever it moved to its own address would be in its hands: an accomplice
    names the victim's key at the relay's address, and the relay is asked there and has the victim answer."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack, AsyncExitStack() as mortal:
            node = await stack.enter_async_context(running_node(1, runtime=runtime))
            victim = await mortal.enter_async_context(running_node(2, [node], runtime=runtime))
            await until(lambda: _address_at(node, victim) == victim.address, "the victim is not known")
            network = runtime.network
            assert isinstance(network, VirtualNetwork)
            relay = await Relay(node.address, victim.address).open_in(network)
            moved = contact_at(victim.node_key, relay.endpoint)
            for _ in range(3):
                await node._protocol.call_ping(moved)
                await asyncio.sleep(10.0)
                assert _address_at(node, victim) == victim.address
            await mortal.aclose()
            relay.behind = (await Peer(key=node_key_of(2)).open_in(network)).endpoint
            await node._protocol.call_ping(moved)
            await until(lambda: _address_at(node, victim) == relay.endpoint, "a dead address stays", within_s=60)

    run_virtually(scene, seed=1)


class Relay(asyncio.DatagramProtocol):
    """Hands on what one says to the other, from its own address."""

    def __init__(self, before: Endpoint, behind: Endpoint) -> None:
        self.before = before
        self.behind = behind

    async def open_in(self, network: VirtualNetwork) -> "Relay":
        self.transport, self.endpoint = await network.open_datagrams(lambda: self, Endpoint("127.0.0.1", 0))
        return self

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, self.behind if tuple(addr) == tuple(self.before) else self.before)


async def test_who_claims_the_key_of_another_does_not_take_its_place() -> None:
    async with AsyncExitStack() as stack:
        node, victim = await start_nodes(stack, 2)
        impostor = await stack.enter_async_context(Peer())
        impostor.send(node.address, with_sender(impostor.request(node, wire.Ping()), victim.node_key))
        await until(lambda: node.statistics["malformed"] == 1, "was not refused")
        assert impostor.datagrams == []
        assert _address_at(node, victim) == victim.address


async def test_who_is_named_under_the_key_of_another_cannot_even_read_what_is_asked() -> None:
    """An accomplice names the victim's key at the impostor's address, and the impostor would answer there."""
    async with AsyncExitStack() as stack:
        node, victim = await start_nodes(stack, 2)
        impostor, accomplice = [await stack.enter_async_context(Peer(seed)) for seed in (700, 701)]
        asked: list[bytes] = []

        def pretend(data: bytes, addr: tuple[str, int]) -> None:
            asked.append(data)
            with pytest.raises(MalformedMessage):
                impostor.sealer.open(data)
            answer = impostor.sealed(node.node_key, bytes(8), wire.Pong())
            impostor.send(node.address, with_sender(answer, victim.node_key))

        impostor.datagram_received = pretend  # type: ignore[method-assign]
        accomplice.answer = _answering_with_nodes([pack_contact(contact_at(victim.node_key, impostor.endpoint))])
        accomplice.ask(node, wire.Ping())
        await until(lambda: len(node.contacts()) == 2, "the accomplice is not known")
        await node._server.crawl(victim.node_id, SIM.k)
        assert asked
        assert _address_at(node, victim) == victim.address


def _answering_with_nodes(named: list[bytes]) -> Callable[[wire.Request, Endpoint], wire.Answer | None]:
    """To a lookup this list, to a ping a pong."""

    def answer(request: wire.Request, asker: Endpoint) -> wire.Answer | None:
        return wire.Nodes(named) if isinstance(request, wire.FindNode) else wire.Pong()

    return answer


@pytest.mark.parametrize("key", SMALL_ORDER_KEYS)
async def test_a_key_that_nobody_can_have_is_somebody_who_does_not_answer(key: bytes) -> None:
    """Hearsay names what it likes: a search goes on without."""
    async with AsyncExitStack() as stack:
        node, honest = await start_nodes(stack, 2)
        liar = await stack.enter_async_context(Peer())
        nobody = contact_at(key, Endpoint("127.0.0.1", 9))
        liar.answer = _answering_with_nodes([pack_contact(nobody)])
        liar.ask(node, wire.Ping())
        await until(lambda: len(node.contacts()) == 2, "the liar is not known")
        found = await node._server.crawl(nobody.node_id, SIM.k)
        assert {contact.node_id for contact in found.nearest} == {honest.node_id, liar.node_id}
        assert not node._protocol._open


async def test_a_request_alone_brings_nobody_into_the_table() -> None:
    async with running_node(1) as node, Peer() as mute:
        mute.answer = lambda request, asker: None
        for _ in range(50):
            mute.ask(node, wire.Ping())
        await until(lambda: node.statistics["request-Ping"] == 50, "requests got lost")
        assert node.contacts() == []
        assert mute.asked.count(wire.Ping) <= RPC_TRIES, "pinged once, however often it asks"


async def test_who_answers_as_somebody_else_is_not_taken_for_whom_was_asked() -> None:
    """A made-up key at an honest node's address gets nowhere: what is sealed for it opens for nobody."""
    async with AsyncExitStack() as stack:
        node, honest = await start_nodes(stack, 2)
        made_up = contact_at(bytes(31) + b"\2", honest.address)
        liar = await stack.enter_async_context(Peer())
        liar.answer = _answering_with_nodes([pack_contact(made_up)])
        liar.ask(node, wire.Ping())
        await until(lambda: len(node.contacts()) == 2, "the liar is not known")
        found = await node._server.crawl(made_up.node_id, SIM.k)
        assert wire.FindNode in liar.asked
        assert {contact.node_id for contact in found.nearest} == {honest.node_id, liar.node_id}
        assert {contact.node_id for contact in node.contacts()} == {honest.node_id, liar.node_id}


async def test_never_its_own_id() -> None:
    """Not even somebody with a copy of its key."""
    async with running_node(1) as node, Peer(key=node_key_of(1)) as mirror:
        mirror.ask(node, wire.Ping())
        await until(lambda: node.statistics["request-Ping"], "the request got lost")
        assert node.contacts() == []
        assert mirror.asked == []


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
            stranger.send(client.address, wire.encode_hello(wire.Hello(stranger.key.public, TAG, bytes(8))))
            await until(lambda: client.statistics["asked-a-client"] == 3, "requests got lost")
            assert stranger.datagrams == []


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


def test_a_reader_whom_a_majority_satisfies_asks_few_more() -> None:
    """Of 20 replicas that agree, 11 decide. (Four paths with three questions each had all 20 asked.)"""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 24, runtime=runtime, within_s=60.0)
            claim = room("#lobby", 1)
            assert (await nodes[0].put(claim)).stored == SIM.k
            await asyncio.sleep(5.0)
            counted = "request-FindClaims"
            before = sum(node.statistics[counted] for node in nodes)
            reading = await nodes[-1].read_claims(room_key("#lobby"))
            asked = sum(node.statistics[counted] for node in nodes) - before
            assert reading.owner == claim
            assert reading.decision.certain
            assert SIM.k // 2 <= asked <= SIM.k // 2 + 5

    run_virtually(scene, seed=1)


def test_who_knows_all_neighbours_does_not_search_for_itself_again_and_again() -> None:
    """Later looks for our own neighbourhood ask NEIGHBOURS_ASKED; somebody who came unnoticed is found by the next one."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 24, runtime=runtime, within_s=60.0)
            await asyncio.sleep(30.0)
            searcher = nodes[5]
            crawled: list[bytes] = []
            crawl = searcher._server.crawl

            async def watched(target: bytes, count: int, **how: Any) -> Found:
                crawled.append(target)
                return await crawl(target, count, **how)

            searcher._server.crawl = watched  # type: ignore[method-assign]
            assert not await searcher._has_new_neighbours()
            lost = searcher.contacts()[-1]
            searcher._protocol.router.leave(lost)
            assert await searcher._has_new_neighbours(), "the others name somebody whom it does not know any more"
            await asyncio.sleep(300.0)
            assert lost.node_id in {contact.node_id for contact in searcher.contacts()}
            assert crawled.count(searcher.node_id) <= 2

    run_virtually(scene, seed=1)
