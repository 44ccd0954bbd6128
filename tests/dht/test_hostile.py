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
from dhtchat.dht.contact import contact_at
from dhtchat.dht.node import DhtNode
from dhtchat.dht.protocol import Asked
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import Endpoint
from dhtchat.limits import ADMISSIONS_OPEN_MAX, NETWORK_TAG_BYTES, REQUESTS_SERVED_MAX, UDP_PAYLOAD_BYTES_MAX
from dhtchat.parameters import SIM
from dhtchat.records.account import account_key
from dhtchat.records.presence import Presence
from dhtchat.records.room import room_key
from tests.dht.support import (
    Peer,
    account,
    deliver,
    key_of,
    node_key_of,
    presence,
    room,
    running_node,
    start_nodes,
    storage_of,
    until,
    with_kind,
    with_sender,
)
from tests.dht.test_wire import mutate

TAG = SIM.network_id[:NETWORK_TAG_BYTES]
LOBBY = room_key("#lobby")


def some_request(source: random.Random) -> wire.Request:
    """As it should be."""
    key = source.choice([LOBBY, source.randbytes(20)])
    record = source.choice([room("#lobby", source.randrange(5)).raw, source.randbytes(300), b"\x94"])
    return source.choice(
        [
            wire.Ping(),
            wire.FindNode(key),
            wire.FindClaims(key, source.randrange(4)),
            wire.FindEntries(key, "presence", source.randbytes(8)),
            wire.Store(key, record, source.choice([None, 5_000])),
            wire.Touch(key, source.randbytes(8), source.randbytes(16)),
            wire.ListEntries(key, source.randbytes(8)),
            wire.Leaving(),
        ]
    )


class Enemy:
    """Makes datagrams for one node: random, forged, altered, replayed, and well sealed with anything in them. Its keys take
    turns, so that no more than `keys` agreements are made in its name."""

    def __init__(self, node: DhtNode, source: random.Random, *, keys: int) -> None:
        self.node = node
        self.source = source
        self.peers = [Peer(10_000 + number) for number in range(keys)]
        self.address = Endpoint("127.0.0.1", 1)
        self.before: list[bytes] = []

    def datagram(self) -> bytes:
        source, peer = self.source, self.source.choice(self.peers)
        match source.randrange(9):
            case 0:
                return source.randbytes(source.randrange(UDP_PAYLOAD_BYTES_MAX + 200))
            case 1:
                return bytes([0x10 | source.randrange(16)]) + source.randbytes(source.randrange(300))
            case 2:
                return mutate(peer.request(self.node, some_request(source)), source)
            case 3:
                return with_sender(peer.request(self.node, some_request(source)), source.choice(self.peers).key.public)
            case 4:
                return with_kind(peer.request(self.node, some_request(source)), source.randrange(16))
            case 5 if self.before:
                return source.choice(self.before)
            case 6:
                rubbish = mutate(wire.encode(source.randbytes(8), bytes(8), some_request(source)), source)
                return peer.sealer.seal(self.node.node_key, source.randrange(16), rubbish)
            case 7:
                hello = wire.Hello(peer.key.public, source.choice([TAG, b"none"]), source.randbytes(8))
                return source.choice([wire.encode_hello(hello), wire.encode_foreign(hello.message_id)])
            case _:
                good = peer.request(self.node, some_request(source), token=self.token_of(peer))
                self.before = [*self.before[-99:], good]
                return good

    def token_of(self, peer: Peer) -> bytes:
        """One that holds, or none: whoever receives at its address has one."""
        now_s = self.node._runtime.clock.monotonic()
        held = self.node._protocol._tokens.make(peer.key.public, self.address, now_s)
        return self.source.choice([held, wire.NO_TOKEN])


async def _is_unharmed(count: int, seed: int) -> None:
    """`count` datagrams to a live node, from an address where nobody answers."""
    source = random.Random(seed)
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        node, protocol = nodes[0], nodes[0]._protocol
        await nodes[1].put(room("#lobby", 1))
        tasks = len(asyncio.all_tasks())
        enemy = Enemy(node, source, keys=300)
        mute = await stack.enter_async_context(Peer())
        mute.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
        enemy.address = mute.endpoint
        for number in range(count):
            deliver(node, enemy.datagram(), mute.endpoint)
            if number % 20 == 0:
                await asyncio.sleep(0)
                assert len(asyncio.all_tasks()) < tasks + 2 * ADMISSIONS_OPEN_MAX + 2 * REQUESTS_SERVED_MAX
        assert node.statistics["malformed"] > count // 4
        assert node.statistics["replayed"] > count // 50
        assert node.statistics["request-Store"] > count // 100
        assert {contact.node_id for contact in node.contacts()} == {other.node_id for other in nodes[1:]}
        assert len(storage_of(node)) <= 4, "the four rival claims for one room that were among them"
        sealer = protocol._sealer
        assert len(sealer._partners) + len(sealer._visitors) <= len(enemy.peers) + 10
        assert len(protocol._tokens_had) <= len(nodes)
        assert (await nodes[2].read_claims(LOBBY)).owner == room("#lobby", 1)
        await until(lambda: len(asyncio.all_tasks()) <= tasks, "tasks are left")
        await until(
            lambda: not (protocol._open or protocol._admitting or protocol._serving), "requests of ours are left"
        )


@pytest.mark.parametrize("count, seed", [(30_000, 1), pytest.param(1_000_000, 2, marks=pytest.mark.soak)])
async def test_bad_datagrams_do_no_harm(count: int, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: no traceback, no growth, and the node serves others as before. Random ones, forged, altered, replayed, and
    well sealed ones that are wrong."""
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    await _is_unharmed(count, seed)
    assert failures == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_answers_from_elsewhere_or_in_another_form_do_not_count() -> None:
    """Who sees a message id still cannot answer for whom was asked; and an answer of the wrong kind is no answer."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        asked, elsewhere = [await stack.enter_async_context(Peer(seed)) for seed in (1_001, 1_002)]
        seen: list[bytes] = []
        asked.datagram_received = lambda data, addr: seen.append(data)  # type: ignore[method-assign]
        elsewhere.ask(node, wire.Ping())  # so that its key is known
        await until(lambda: elsewhere.answers, "no answer")
        await until(lambda: len(node.contacts()) == 1, "it is not known")
        before = node.statistics.copy()
        call = asyncio.ensure_future(node._protocol.call_ping(asked.contact))
        await until(lambda: seen, "nothing was asked")
        message_id = asked.opens(seen[0]).message_id
        good = asked.sealed(node.node_key, message_id, wire.Pong())
        wrong = {
            "answer-wrong-source": [
                (elsewhere, elsewhere.sealed(node.node_key, message_id, wire.Pong())),
                (asked, elsewhere.sealed(node.node_key, message_id, wire.Pong())),
                (elsewhere, asked.sealed(node.node_key, message_id, wire.Pong())),
            ],
            "malformed": [
                (asked, asked.sealed(node.node_key, message_id, wire.Nodes([]))),
                (elsewhere, with_sender(elsewhere.sealed(node.node_key, message_id, wire.Pong()), asked.key.public)),
                (asked, with_kind(good, wire.Kind.REQUEST)),
            ],
            "answer-unknown": [
                (asked, asked.sealed(node.node_key, bytes(8), wire.Pong())),
                (asked, Peer(1_003).sealed(node.node_key, message_id, wire.Pong())),
            ],
        }
        for what, datagrams in wrong.items():
            for peer, datagram in datagrams:
                peer.send(node.address, datagram)
            for_all = before[what] + len(datagrams)
            await until(lambda what=what, for_all=for_all: node.statistics[what] == for_all, f"{what} is not counted")
        assert not call.done()
        asked.send(node.address, good)
        await call
        asked.send(node.address, good)
        await until(lambda: node.statistics["replayed"] == 1, "a second answer was not dropped")
        opened = [asked.opens(data).message_id for data in seen[1:]]
        assert set(opened) <= {message_id}, "tries are the same request"
        assert len(set(seen)) == len(seen), "and never the same datagram"


async def test_peers_that_answer_nonsense_are_silent_to_us() -> None:
    nonsense: list[object] = [7, {"x": 1}, ["nodes", [[7]]]]  # more of it in test_wire.py
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 2)
        mad = [await stack.enter_async_context(Peer(number)) for number in range(900, 900 + len(nonsense))]
        for peer in mad:
            peer.ask(nodes[0], wire.Ping())
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
        said = peer.sealed(data[1:33], peer.opens(data).message_id, msgspec.msgpack.encode(answer))
        peer.transport.sendto(said, addr)

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
                    return wire.Pong()
                case wire.FindNode():
                    return wire.Nodes([])
                case wire.FindClaims():
                    return wire.Claims(False, 4, [b"garbage", room("#other", 1).raw])
                case wire.FindEntries():
                    pages += 1
                    entries = [wire.Entry(bytes([n]), 1_000) for n in range(100)]
                    return wire.Entries(entries, b"same" if in_circles else pages.to_bytes(8, "big"))
                case _:
                    return None

        liar.answer = answer
        liar.ask(node, wire.Ping())
        await until(node.contacts, "the peer is not known")
        reading = await node.read_claims(LOBBY)
        assert reading.records == ()
        assert node.statistics["record-dropped-MalformedRecord"] == 2
        assert node.statistics["record-dropped-wrong-place"] == 2
        assert (await node.read_set(LOBBY, Presence)).entries == ()
        assert pages in pages_expected


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
        mute.answer = lambda request, asker: wire.Pong() if isinstance(request, wire.Ping) else None
        mute.ask(node, wire.Ping())
        await until(node.contacts, "the peer is not known")
        await until(lambda: mute.tokens, "no token")
        mute.answers.clear()
        store = wire.Store(LOBBY, room("#lobby", 1).raw, None)
        for _ in range(3):
            mute.ask(node, store, message_id=b"one try.")
        await until(lambda: mute.answers, "no answer")
        assert node.statistics["request-repeated"] == 2
        assert [type(answer) for answer in mute.answers] == [wire.Stored]


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
                node._protocol.router.enter(contact_at(node_key_of(number + 10).public, Endpoint(host, 1)))
            address = Endpoint("198.51.100.1", 5)
            asked = Asked(bytes(8), node_key_of(9).public, address, tuple(address), None)
            return node._protocol.rpc_find_node(bytes(20), asked)

    answer = asyncio.run(scene())
    assert isinstance(answer, wire.Nodes)
    assert [contact.endpoint for contact in answer.contacts(0)] == [Endpoint("192.0.2.7", 1)]
