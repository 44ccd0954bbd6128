"""Bytes from strangers: nothing crashes, nothing grows, nothing is believed."""

import asyncio
import logging
import os
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec
import pytest
from kademlia.network import Server
from kademlia.utils import digest

from dhtchat.dht import protocol as protocol_module
from dhtchat.dht import wire
from dhtchat.dht.node import Contact
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import Endpoint, NodeId
from dhtchat.limits import (
    ADMISSIONS_BURST,
    ADMISSIONS_OPEN_MAX,
    DATAGRAM_ID_BYTES,
    NETWORK_TAG_BYTES,
    NONCE_BYTES,
    RPC_TIMEOUT_S,
    RPC_TRIES,
    UDP_PAYLOAD_BYTES_MAX,
)
from dhtchat.parameters import SIM
from dhtchat.records.account import account_key
from dhtchat.records.presence import Presence
from dhtchat.records.room import room_key
from tests.dht.support import Peer, account, key_of, presence, room, running_node, start_nodes, storage_of, until
from tests.dht.test_wire import mutate

TAG = SIM.network_id[:NETWORK_TAG_BYTES]
LOBBY = room_key("#lobby")


def some_request(source: random.Random) -> bytes:
    """A request as it should be, from an id that changes each time."""
    sender, key = source.randbytes(20), source.randbytes(20)
    record = source.choice([room("#lobby", source.randrange(5)).raw, source.randbytes(300), b"\x94"])
    request = source.choice(
        [
            wire.Ping(TAG, sender),
            wire.Hello(TAG, sender, source.randbytes(NONCE_BYTES)),
            wire.FindNode(TAG, sender, key),
            wire.FindClaims(TAG, sender, source.choice([key, LOBBY]), source.randrange(4)),
            wire.FindEntries(TAG, sender, key, "presence", source.randbytes(8)),
            wire.Store(TAG, sender, source.choice([key, LOBBY]), record, source.choice([None, 5_000])),
        ]
    )
    return wire.encode(source.randbytes(DATAGRAM_ID_BYTES), request)


def some_datagram(source: random.Random) -> bytes:
    match source.randrange(4):
        case 0:
            return source.randbytes(source.randrange(UDP_PAYLOAD_BYTES_MAX + 200))
        case 1:
            return bytes([source.randrange(3)]) + source.randbytes(20) + source.randbytes(source.randrange(200))
        case 2:
            return mutate(some_request(source), source)
        case _:
            return some_request(source)


@pytest.mark.parametrize("seed", range(2))
async def test_ten_thousand_bad_datagrams_do_no_harm(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: no traceback, no growth, and the node serves others as before. A real socket and a live node."""
    source = random.Random(seed)
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        node = nodes[0]
        await nodes[1].put(room("#lobby", 1))
        tasks = len(asyncio.all_tasks())
        stranger = await stack.enter_async_context(Peer())
        stranger.answer = lambda request, asker: None
        for number in range(10_000):
            stranger.send(node.address, some_datagram(source))
            if number % 20 == 0:
                for _ in range(30):  # the loop reads one a time, and the socket's buffer is small
                    await asyncio.sleep(0)
                assert len(asyncio.all_tasks()) < tasks + 4 * ADMISSIONS_OPEN_MAX + 50
        await until(lambda: node.statistics["datagrams-in"] > 8_000, "most were lost on the way")
        assert node.statistics["malformed"] > 4_000
        assert node.statistics["request-Store"] > 200
        assert stranger.asked.count(wire.Ping) <= (ADMISSIONS_BURST + 100) * RPC_TRIES
        assert {contact.node_id for contact in node.contacts()} == {other.node_id for other in nodes[1:]}
        assert len(storage_of(node)) <= 4, "the four rival claims for one room that were among them"
        assert (await nodes[2].read_claims(LOBBY)).owner == room("#lobby", 1)
        await until(lambda: len(asyncio.all_tasks()) <= tasks, "tasks are left")
        await until(lambda: not (node._protocol._open or node._protocol._admitting), "requests of ours are left")
    assert failures == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_answers_from_elsewhere_or_in_another_form_do_not_count() -> None:
    """Who sees a message id still cannot answer for whom was asked; and an answer of the wrong kind is no answer."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        asked, elsewhere = [await stack.enter_async_context(Peer(bytes([n]) * 20)) for n in (1, 2)]
        seen: list[bytes] = []
        asked.answer = lambda request, asker: None
        asked.datagram_received = lambda data, addr: seen.append(data)  # type: ignore[method-assign]
        call = asyncio.ensure_future(node._protocol.call_ping(Contact(NodeId(asked.sender), asked.endpoint)))
        await until(lambda: seen, "nothing was asked")
        message_id = seen[0][1 : 1 + DATAGRAM_ID_BYTES]
        good = wire.encode(message_id, wire.Pong(asked.sender))
        elsewhere.send(node.address, good)
        asked.send(node.address, wire.encode(message_id, wire.Nodes(asked.sender, [])))
        asked.send(node.address, wire.encode(bytes(DATAGRAM_ID_BYTES), wire.Pong(asked.sender)))
        await until(lambda: node.statistics["datagrams-in"] >= 3, "datagrams got lost")
        assert not call.done()
        assert node.statistics["answer-wrong-source"] == 1
        assert node.statistics["malformed"] == 1
        assert node.statistics["answer-unknown"] == 1
        asked.send(node.address, good)
        await call
        asked.send(node.address, good)
        await until(lambda: node.statistics["answer-unknown"] == 2, "a second answer was not dropped")
        assert len(set(seen)) == 1, "tries are the same datagram"


async def test_peers_that_answer_nonsense_are_silent_to_us() -> None:
    nonsense: list[object] = [7, {"x": 1}, ["nodes", bytes(20), [[7]]]]  # more of it in test_wire.py
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 2)
        mad = [await stack.enter_async_context(Peer(bytes([number]) * 20)) for number in range(len(nonsense))]
        for peer in mad:
            peer.send(nodes[0].address, peer.request(wire.Ping))
        await until(lambda: len(nodes[0].contacts()) == 1 + len(mad), "the peers are not known")
        for peer, answer in zip(mad, nonsense, strict=True):
            peer.datagram_received = _always(peer, answer)  # type: ignore[method-assign]
        record = account("alice", 1)
        put = await nodes[0].put(record)
        assert (put.stored, put.asked) == (2, 2 + len(mad))
        assert (await nodes[0].read_claims(account_key("alice"))).owner == record
        assert [contact.node_id for contact in nodes[0].contacts()] == [nodes[1].node_id]


def _always(peer: Peer, answer: object) -> Callable[[bytes, tuple[str, int]], None]:
    def reply(data: bytes, addr: tuple[str, int]) -> None:
        peer.transport.sendto(b"\x01" + data[1 : 1 + DATAGRAM_ID_BYTES] + msgspec.msgpack.encode(answer), addr)

    return reply


@pytest.mark.parametrize("pages_expected, in_circles", [(range(20, 25), False), (range(2, 3), True)])
async def test_a_replica_that_serves_garbage_endlessly_is_left_in_the_end(
    pages_expected: range, in_circles: bool
) -> None:
    """Records that are none, pages that never end or lead back: dropped, counted, bounded. An honest replica has at most
    SET_ENTRIES_MAX entries, here in pages of a hundred."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        liar = await stack.enter_async_context(Peer())
        pages = 0

        def answer(request: wire.Request, asker: Endpoint) -> wire.Answer | None:
            nonlocal pages
            match request:
                case wire.Ping():
                    return wire.Pong(liar.sender)
                case wire.FindNode():
                    return wire.Nodes(liar.sender, [])
                case wire.FindClaims():
                    return wire.Claims(liar.sender, False, 4, [b"garbage", room("#other", 1).raw])
                case wire.FindEntries():
                    pages += 1
                    entries = [wire.Entry(bytes([n]), 1_000) for n in range(100)]
                    return wire.Entries(liar.sender, entries, b"same" if in_circles else pages.to_bytes(8, "big"))
                case _:
                    return None

        liar.answer = answer
        liar.send(node.address, liar.request(wire.Ping))
        await until(node.contacts, "the peer is not known")
        reading = await node.read_claims(LOBBY)
        assert reading.records == ()
        assert node.statistics["record-dropped-MalformedRecord"] == 2
        assert node.statistics["record-dropped-wrong-place"] == 2
        assert (await node.read_set(LOBBY, Presence)).entries == ()
        assert pages in pages_expected


async def test_a_flood_of_names_does_not_make_us_ping_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests with forged ids: answered, but what we send on our own account stays within the budget."""
    monkeypatch.setattr(protocol_module, "ADMISSIONS_BURST", 5)
    monkeypatch.setattr(protocol_module, "ADMISSIONS_PER_S", 0.001)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        peers = [await stack.enter_async_context(Peer(bytes([n]) * 20)) for n in range(1, 20)]
        for peer in peers:
            peer.answer = lambda request, asker: None
            peer.send(node.address, peer.request(wire.Ping))
        await until(lambda: node.statistics["request-Ping"] == len(peers), "requests got lost")
        await until(lambda: all(peer.answers for peer in peers), "not everybody was answered")
        await asyncio.sleep(2 * RPC_TIMEOUT_S)
        assert sum(bool(peer.asked) for peer in peers) == 5


async def test_a_replica_too_busy_says_so_and_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "REQUESTS_SERVED_MAX", 0)
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 2)
        client = await stack.enter_async_context(running_node(99, nodes, client=True))
        report = await client.put(room("#lobby", 1))
        assert (report.stored, report.asked) == (0, 2)
        assert len(client.contacts()) == 2


async def test_a_repeated_store_is_served_once() -> None:
    """Its sender tries again while the replica still asks around; the second try finds the first in the works."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        mute = await stack.enter_async_context(Peer())
        mute.answer = lambda request, asker: wire.Pong(mute.sender) if isinstance(request, wire.Ping) else None
        mute.send(node.address, mute.request(wire.Ping))
        await until(node.contacts, "the peer is not known")
        mute.answers.clear()
        store = mute.request(wire.Store, LOBBY, room("#lobby", 1).raw, None)
        for _ in range(3):
            mute.send(node.address, store)
        await until(lambda: mute.answers, "no answer")
        assert node.statistics["request-repeated"] == 2
        assert len(mute.answers) == 1


# --- the stock library ------------------------------------------------------------------------------------------------


async def test_a_stock_kademlia_node_changes_nothing_and_crashes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Goal: whoever comes with `kademlia` itself gets no answer, no place in a table and no value stored."""
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        record, now_s = room("#lobby", 1), nodes[0]._runtime.clock.wall()
        await nodes[0].put(record)
        stock = Server(ksize=20, alpha=3)
        await stock.listen(0, interface="127.0.0.1")
        stack.callback(stock.stop)
        stock.protocol._wait_timeout = 0.3
        assert await stock.bootstrap([tuple(node.address) for node in nodes]) == []
        assert await stock.set("#lobby", "mine") is False
        calls = []
        for node in nodes:
            address = tuple(node.address)
            for key in (LOBBY, digest("#lobby")):
                for value in ("mine", b"garbage", record.raw, room("#lobby", 2).raw, presence(key_of(1), 1, now_s).raw):
                    calls.append(stock.protocol.store(address, stock.node.id, key, value))
                calls.append(stock.protocol.find_value(address, stock.node.id, key))
                calls.append(stock.protocol.find_node(address, stock.node.id, key))
            calls += [stock.protocol.stun(address), stock.protocol.ping(address, stock.node.id)]
        assert set(await asyncio.gather(*calls)) == {(False, None)}
        for node in nodes:
            assert node.statistics["malformed"] >= len(calls) / len(nodes)
            assert len(storage_of(node)) == 1
            assert len(node.contacts()) == 2
            assert (await node.read_claims(LOBBY)).records == (record,)
        # And the other way round: our node asks a stock one.
        with pytest.raises(NetworkTrouble):
            await nodes[0].hello(Endpoint(*stock.transport.get_extra_info("sockname")[:2]))
    await asyncio.sleep(0)
    # The stock node's own tasks fail, and nobody retrieves why. Not just "dhtchat": a checkout may lie in a folder of that name.
    ours = [context for context in failures if os.path.join("dhtchat", "dht") in repr(context)]
    assert ours == []
    assert [record for record in caplog.records if record.name.startswith("dhtchat")] == []


async def test_an_unknown_name_is_no_remote_call() -> None:
    """The library's protocol turns every method that it lacks into one: a typing error would go out as a request."""
    async with running_node(1) as node:
        with pytest.raises(AttributeError):
            node._protocol.no_such_method()


def test_contacts_of_the_other_address_family_are_not_told() -> None:
    """Who asks over IPv4 cannot call what is only reached over IPv6."""

    async def scene() -> wire.Answer:
        async with running_node(1) as node:
            for number, host in enumerate(("192.0.2.7", "2001:db8::7", "fe80::1%2")):
                node._protocol.router.enter(Contact(NodeId(bytes([number + 1]) * 20), Endpoint(host, 1)))
            return node._protocol.rpc_find_node(b"", bytes(20), Endpoint("198.51.100.1", 5))

    answer = asyncio.run(scene())
    assert isinstance(answer, wire.Nodes)
    assert [contact.endpoint for contact in answer.contacts()] == [Endpoint("192.0.2.7", 1)]
