"""Bytes from strangers: nothing crashes, nothing grows, nothing is believed."""

import asyncio
import logging
import os
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import product

import msgspec
import pytest
from kademlia.network import Server
from kademlia.utils import digest

from dhtchat.crypto.datagram import NodeKey, Opened, Sealer
from dhtchat.dht import protocol as protocol_module
from dhtchat.dht import wire
from dhtchat.dht.contact import contact_at
from dhtchat.dht.node import DhtNode
from dhtchat.dht.protocol import Asked, _Tokens
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import Endpoint, PeerId
from dhtchat.limits import (
    ADMISSIONS_BURST,
    ADMISSIONS_OPEN_MAX,
    AGREEMENTS_MAX,
    BOOT_ID_BYTES,
    DATAGRAM_ID_BYTES,
    PADDED_QUESTION_BYTES,
    RPC_TIMEOUT_S,
    RPC_TRIES,
    SEALED_HEADER_BYTES,
    TOKEN_LIFE_S,
    UDP_PAYLOAD_BYTES_MAX,
)
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.account import account_key
from dhtchat.records.presence import Presence, presence_key
from dhtchat.records.room import room_key
from tests.dht.support import Peer, account, key_of, presence, room, running_node, start_nodes, storage_of, until
from tests.dht.test_wire import mutate

LOBBY = room_key("#lobby")


def some_request(source: random.Random) -> wire.Request:
    """A request as it should be."""
    key = source.randbytes(20)
    record = source.choice([room("#lobby", source.randrange(5)).raw, source.randbytes(300), b"\x94"])
    return source.choice(
        [
            wire.Ping(),
            wire.Leaving(),
            wire.FindNode(key),
            wire.FindClaims(source.choice([key, LOBBY]), source.randrange(4)),
            wire.FindEntries(key, "presence", source.randbytes(8)),
            wire.Store(source.choice([key, LOBBY]), record, source.choice([None, 5_000])),
        ]
    )


def some_datagram(source: random.Random, stranger: Peer, node: DhtNode) -> bytes:
    """Noise, something altered on its way, something well sealed that is nonsense, and requests as they should be."""
    match source.randrange(6):
        case 0:
            return source.randbytes(source.randrange(UDP_PAYLOAD_BYTES_MAX + 200))
        case 1:
            return bytes([0x10 + source.randrange(6)]) + source.randbytes(source.randrange(200))
        case 2:
            return mutate(stranger.sealed(node, some_request(source)), source)
        case 3:
            plaintext = wire.encode(source.randbytes(8), wire.NO_TOKEN, some_request(source))
            kind = source.choice([*wire.Kind])
            return stranger._sealer.seal(node.node_key, kind, mutate(plaintext, source))
        case 4:
            return wire.encode_hello(wire.Hello(source.randbytes(32), SIM.network_id[:4], source.randbytes(8)))
        case _:
            return stranger.sealed(node, some_request(source))


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
        stranger.ask(node, wire.Ping())  # and get a token, so that some of what follows is stored
        stranger.deaf_to_strangers = True
        for number in range(10_000):
            stranger.send(node.address, some_datagram(source, stranger, node))
            if number % 20 == 0:
                for _ in range(30):  # the loop reads one a time, and the socket's buffer is small
                    await asyncio.sleep(0)
                assert len(asyncio.all_tasks()) < tasks + 4 * ADMISSIONS_OPEN_MAX + 50
        await until(lambda: node.statistics["datagrams-in"] > 8_000, "most were lost on the way")
        assert node.statistics["malformed"] > 3_000
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
    """Who knows a message id still cannot answer for whom was asked; and an answer of the wrong kind is no answer."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        asked, other = [await stack.enter_async_context(Peer(seed)) for seed in (71, 72)]
        for peer in (asked, other):  # known keys: what follows is not dropped for being a stranger's
            peer.ask(node, wire.Ping())
        await until(lambda: len(node.contacts()) == 2, "the peers are not known")
        seen: list[bytes] = []
        asked.answer = lambda request, asker: None
        note = asked._sealer.open

        def noting(data: bytes) -> Opened | None:
            opened = note(data)
            assert opened is not None
            seen.append(wire.decode_request(opened.plaintext).message_id)
            return opened

        asked._sealer.open = noting  # type: ignore[method-assign]
        call = asyncio.ensure_future(node._protocol.call_ping(asked.contact))
        await until(lambda: seen, "nothing was asked")
        before = node.statistics

        def reply(peer: Peer, answer: wire.Answer, message_id: bytes = seen[0]) -> None:
            plaintext = wire.encode(message_id, wire.NO_TOKEN, answer)
            peer.say(node.node_key, wire.Kind.ANSWER, plaintext, node.address)

        reply(other, wire.Pong())  # another key at another address
        plaintext = wire.encode(seen[0], wire.NO_TOKEN, wire.Pong())
        other.send(node.address, asked._sealer.seal(node.node_key, wire.Kind.ANSWER, plaintext))  # the key, elsewhere
        reply(asked, wire.Nodes([]))
        reply(asked, wire.Pong(), bytes(DATAGRAM_ID_BYTES))
        stranger = await stack.enter_async_context(Peer(73))
        reply(stranger, wire.Pong())  # a key never heard of: not even opened
        await until(lambda: (node.statistics - before)["datagrams-in"] >= 5, "datagrams got lost")
        assert not call.done()
        news = node.statistics - before
        assert news["answer-wrong-source"] == 2
        assert news["malformed"] == 1
        assert news["answer-unknown"] == 2
        assert not node._protocol._sealer.knows(stranger.key.public)
        reply(asked, wire.Pong())
        await call
        reply(asked, wire.Pong())
        await until(lambda: (node.statistics - before)["answer-unknown"] == 3, "a second answer was not dropped")
        assert len(set(seen)) == 1, "tries are the same question"


async def test_peers_that_answer_nonsense_are_silent_to_us() -> None:
    nonsense: list[object] = [7, {"x": 1}, ["nodes", [[7]]]]  # more of it in test_wire.py
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 2)
        mad = [await stack.enter_async_context(Peer(80 + number)) for number in range(len(nonsense))]
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
    payload = msgspec.msgpack.encode(answer)

    def reply(data: bytes, addr: tuple[str, int]) -> None:
        opened = peer._sealer.open(data)
        if opened is not None and opened.kind == wire.Kind.REQUEST:
            message_id = opened.plaintext[:DATAGRAM_ID_BYTES]
            plaintext = message_id + wire.NO_TOKEN + len(payload).to_bytes(2, "big") + payload
            peer.say(opened.sender, wire.Kind.ANSWER, plaintext, addr)

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


async def test_a_flood_of_names_does_not_make_us_ping_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests with forged ids: answered, but what we send on our own account stays within the budget."""
    monkeypatch.setattr(protocol_module, "ADMISSIONS_BURST", 5)
    monkeypatch.setattr(protocol_module, "ADMISSIONS_PER_S", 0.001)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        peers = [await stack.enter_async_context(Peer(n)) for n in range(101, 120)]
        for peer in peers:
            peer.answer = lambda request, asker: None
            peer.ask(node, wire.Ping())
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
        mute.answer = lambda request, asker: wire.Pong() if isinstance(request, wire.Ping) else None
        mute.ask(node, wire.Ping())
        await until(lambda: node.contacts() and mute.answers, "the peer is not known")
        mute.answers.clear()
        store = wire.Store(LOBBY, room("#lobby", 1).raw, None)
        for _ in range(3):
            mute.ask(node, store, message_id=bytes(DATAGRAM_ID_BYTES))
        await until(lambda: mute.answers, "no answer")
        assert node.statistics["request-repeated"] == 2
        assert len(mute.answers) == 1


# --- addresses that prove nothing -------------------------------------------------------------------------------------


async def test_who_has_shown_no_token_is_sent_three_times_its_bytes_at_most() -> None:
    """Anybody can write somebody else's address on a datagram. Every question, short and long, to a node that has much to
    tell; what we ask in return, to see who is there, is allowed beside it."""
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 12)
        node = nodes[0]
        for number in range(3):
            await node.put(room("#lobby", number))
        now_s = node._runtime.clock.wall()
        for device in range(8):
            await node.put(presence(key_of(1), 1, now_s, device=device))
        questions = [
            wire.Ping(),
            wire.Leaving(),
            wire.FindNode(bytes(20)),
            wire.FindClaims(LOBBY, 0),
            wire.FindEntries(presence_key(PeerId(key_of(1).public)), "presence", b""),
            wire.Store(LOBBY, room("#lobby", 1).raw, None),
        ]
        sent: dict[Peer, tuple[wire.Request, int]] = {}
        for number, (question, bytes_min) in enumerate(product(questions, (0, 200, PADDED_QUESTION_BYTES))):
            stranger = await stack.enter_async_context(Peer(300 + number))
            stranger.answer = lambda request, asker: None
            sent[stranger] = question, stranger.ask(node, question, bytes_min=max(0, bytes_min - SEALED_HEADER_BYTES))
        asking = [peer for peer, (question, _) in sent.items() if not isinstance(question, wire.Leaving)]
        await until(lambda: all(stranger.answers for stranger in asking), "no answer")
        await until(lambda: not node._protocol._admitting, "somebody is still asked")
        for stranger, (question, length) in sent.items():
            assert stranger.bytes_in - PADDED_QUESTION_BYTES * len(stranger.asked) <= 3 * length, question
            if length >= PADDED_QUESTION_BYTES and not isinstance(question, wire.Store | wire.Leaving):
                assert wire.Refused(wire.Refusal.UNPROVED) not in stranger.answers, "it was padded for this"


async def test_nothing_is_stored_for_who_has_shown_no_token() -> None:
    async with running_node(1) as node, Peer() as stranger:
        store = wire.Store(LOBBY, room("#lobby", 1).raw, None)
        stranger.ask(node, store, bytes_min=600)
        await until(lambda: stranger.answers, "no answer")
        assert stranger.answers == [wire.Refused(wire.Refusal.UNPROVED)]
        assert len(storage_of(node)) == 0
        stranger.ask(node, store)  # with the token that came
        await until(lambda: len(stranger.answers) == 2, "no answer")
        assert stranger.answers[1] == wire.Stored(Verdict.NEW, Reason.NONE, 1)
        async with Peer(9) as thief:
            thief.tokens[node.address] = stranger.tokens[node.address]
            thief.ask(node, store, bytes_min=600)
            await until(lambda: thief.answers, "no answer")
            assert thief.answers == [wire.Refused(wire.Refusal.UNPROVED)], "a token is for one key at one address"


def test_tokens_are_for_one_key_at_one_address_and_not_for_ever() -> None:
    tokens, other = _Tokens(b"secret"), _Tokens(b"another")
    here, there = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.1", 2)
    token = tokens.make(b"k" * 32, here, 1_000.0)
    assert tokens.holds(token, b"k" * 32, here, 1_000.0 + TOKEN_LIFE_S)
    assert not tokens.holds(token, b"k" * 32, here, 1_000.0 + 2 * TOKEN_LIFE_S)
    assert not tokens.holds(token, b"l" * 32, here, 1_000.0)
    assert not tokens.holds(token, b"k" * 32, there, 1_000.0)
    assert not other.holds(token, b"k" * 32, here, 1_000.0)
    assert not tokens.holds(wire.NO_TOKEN, b"k" * 32, here, 1_000.0)


async def test_an_honest_asker_gets_its_token_on_the_way() -> None:
    """A store to somebody never asked before costs one more question, no more; after a restart of the other side too."""
    async with running_node(1) as node, running_node(2, client=True) as asker:
        contact = contact_at(node.node_key, node.address)
        key, raw = LOBBY, room("#lobby", 1).raw
        assert (await asker._protocol.call_store(contact, key, raw)).verdict is Verdict.NEW
        assert node.statistics["request-Store"] == 2
        node._protocol._tokens = _Tokens(b"after a restart")
        assert (await asker._protocol.call_store(contact, key, raw)).verdict is Verdict.SAME
        assert node.statistics["request-Store"] == 4
        assert (await asker._protocol.call_store(contact, key, raw)).verdict is Verdict.SAME
        assert node.statistics["request-Store"] == 5


async def test_two_thousand_made_up_ids_from_one_address_leave_the_table_as_it_was() -> None:
    """Each under a key of its own, as many as one likes to make: whoever cannot answer for each of them gains nothing."""
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 5)
        node = nodes[0]
        before = {contact.node_id for contact in node.contacts()}
        source = random.Random(1)
        flood = await stack.enter_async_context(Peer())
        flood.answer = lambda request, asker: None
        flood.deaf_to_strangers = True
        for number in range(2_000):
            boot = source.randbytes(BOOT_ID_BYTES)
            made_up = Sealer(NodeKey.generate(source), boot, SIM.network_id)
            plaintext = wire.encode(source.randbytes(DATAGRAM_ID_BYTES), wire.NO_TOKEN, wire.Ping())
            flood.send(node.address, made_up.seal(node.node_key, wire.Kind.REQUEST, plaintext))
            if number % 20 == 0:
                for _ in range(30):
                    await asyncio.sleep(0)
        await until(lambda: node.statistics["request-Ping"] > 500, "most were lost on the way")
        await until(lambda: not node._protocol._admitting, "somebody is still asked")
        assert {contact.node_id for contact in node.contacts()} == before
        news = node.statistics
        assert news["request-Ping"] + news["strangers-refused"] > 1_800
        assert len(node._protocol._sealer._visitors) <= AGREEMENTS_MAX


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
                node._protocol.router.enter(contact_at(bytes([number + 1]) * 32, Endpoint(host, 1)))
            asker = Endpoint("198.51.100.1", 5)
            return node._protocol.rpc_find_node(bytes(20), Asked(b"", b"", asker, tuple(asker), None))

    answer = asyncio.run(scene())
    assert isinstance(answer, wire.Nodes)
    assert [contact.endpoint for contact in answer.contacts(0)] == [Endpoint("192.0.2.7", 1)]
