"""What strangers can make a node do: send little to an address that may be forged, store nothing, work within a budget."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht import protocol as protocol_module
from dhtchat.dht import wire
from dhtchat.dht.contact import contact_at
from dhtchat.dht.node import DhtNode
from dhtchat.errors import MalformedMessage
from dhtchat.ids import Endpoint
from dhtchat.limits import (
    AMPLIFICATION_MAX,
    NETWORK_TAG_BYTES,
    PADDED_QUESTION_BYTES,
    RPC_TIMEOUT_S,
    RPC_TRIES,
    SEALED_HEADER_BYTES,
    TOKEN_LIFE_S,
)
from dhtchat.parameters import SIM
from dhtchat.records.presence import presence_key
from dhtchat.records.room import room_key
from dhtchat.runtime import Runtime
from tests.dht.support import (
    Peer,
    VirtualNetwork,
    deliver,
    key_of,
    node_key_of,
    presence,
    room,
    run_virtually,
    running_node,
    start_nodes,
    storage_of,
    until,
)

TAG = SIM.network_id[:NETWORK_TAG_BYTES]
LOBBY, CROWD = room_key("#lobby"), presence_key(key_of(1).public)
STORE = wire.Store(LOBBY, room("#lobby", 1).raw, None)
EVERY_REQUEST: list[wire.Request] = [
    wire.Ping(),
    wire.FindNode(bytes(20)),
    wire.FindClaims(LOBBY, 0),
    wire.FindClaims(bytes(20), 0),
    wire.FindEntries(CROWD, "presence", b""),
    wire.FindEntries(bytes(20), "presence", b""),
    STORE,
    wire.Store(LOBBY, b"x", None),
    wire.Leaving(),
]
Question = Callable[[Peer, DhtNode], bytes]


def asking(request: wire.Request, bytes_min: int = 0) -> Question:
    """`bytes_min`: of the datagram."""
    least = max(0, bytes_min - SEALED_HEADER_BYTES)
    return lambda peer, node: peer.request(node, request, bytes_min=least)


def greeting(network: bytes) -> Question:
    return lambda peer, node: wire.encode_hello(wire.Hello(peer.key.public, network, b"the id.."))


QUESTIONS: dict[str, Question] = {
    **{f"short-{number}": asking(request) for number, request in enumerate(EVERY_REQUEST)},
    **{f"padded-{number}": asking(request, PADDED_QUESTION_BYTES) for number, request in enumerate(EVERY_REQUEST)},
    **{f"between-{length}": asking(wire.FindNode(bytes(20)), length) for length in range(130, 411, 40)},
    "hello": greeting(TAG),
    "hello-of-another-network": greeting(b"none"),
}


def _fill(node: DhtNode) -> None:
    """With all that makes long answers."""
    storage, now_s = storage_of(node), node._runtime.clock.wall()
    storage.offer_claim(LOBBY, room("#lobby", 7))
    for device in range(8):
        storage.offer_entry(CROWD, presence(key_of(1), 1, now_s, device=device))
    for number in range(30):
        known = contact_at(node_key_of(number + 100).public, Endpoint(f"240.0.{number}.1", 1))
        node._protocol.router.enter(known)


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_an_address_that_has_shown_no_token_gets_three_times_its_bytes(question: Question) -> None:
    """Every datagram that leaves the node for an address, whatever for, against every datagram that came from there: asked
    once, and asked twenty times more. (Who answers a ping of ours has shown that it is there.)"""

    async def scene(runtime: Runtime) -> None:
        network = runtime.network
        assert isinstance(network, VirtualNetwork)
        async with running_node(1, runtime=runtime) as node:
            _fill(node)
            peer = await Peer(keeps_tokens=False).open_in(network)
            peer.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
            sent: Counter[Endpoint] = Counter()

            def weigh(data: bytes, source: Endpoint, destination: Endpoint) -> bool:
                sent[destination] += len(data)
                return destination not in (node.address, peer.endpoint)

            network.drop = weigh
            for times in (1, 20):
                for _ in range(times):
                    peer.send(node.address, question(peer, node))
                await asyncio.sleep(30.0)
                came, went = sent[node.address], sent[peer.endpoint]
                assert 0 <= went <= AMPLIFICATION_MAX * came, f"{went} bytes for {came}"
            assert node.statistics["malformed"] == 0
            assert node.statistics["datagrams-in"] >= 21

    run_virtually(scene, seed=1)


async def test_a_short_question_is_told_to_come_back_with_a_token() -> None:
    async with running_node(1) as node, Peer() as peer:
        _fill(node)
        peer.client = True
        for answer in (wire.Refused, wire.Nodes):
            peer.ask(node, wire.FindNode(bytes(20)))
            await until(lambda answer=answer: [type(said) for said in peer.answers[-1:]] == [answer], f"no {answer}")
        assert peer.answers[0] == wire.Refused(wire.Refusal.UNPROVED)


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_without_a_token_nothing_is_stored() -> None:
    async with running_node(1) as node, Peer(keeps_tokens=False) as peer:
        for number in range(3):
            peer.ask(node, STORE)
            await until(lambda number=number: len(peer.answers) == number + 1, "no answer")
        assert set(peer.answers) == {wire.Refused(wire.Refusal.UNPROVED)}
        assert len(storage_of(node)) == 0


async def test_an_honest_asker_without_a_token_needs_one_more_round_trip() -> None:
    async with running_node(1) as node, running_node(2, client=True) as asker:
        replica = contact_at(node.node_key, node.address)
        kept = [await asker._protocol.call_store(replica, LOBBY, room("#lobby", n).raw) for n in (1, 2)]
        assert [str(each.verdict) for each in kept] == ["new", "new"]
        assert node.statistics["request-Store"] == 2 + 1


def test_a_token_is_good_for_one_key_at_one_address_for_a_while() -> None:
    async def scene(runtime: Runtime) -> None:
        network = runtime.network
        assert isinstance(network, VirtualNetwork)
        async with running_node(1, runtime=runtime) as node:
            mine, other = [await Peer(seed).open_in(network) for seed in (801, 802)]
            mine.client = other.client = True
            mine.ask(node, wire.Ping())
            await until(lambda: mine.tokens, "no token")
            token = mine.tokens[node.node_key]

            async def stores(peer: Peer, seems_from: Endpoint, with_token: bytes = token) -> bool:
                answers = len(peer.answers)
                deliver(node, peer.request(node, STORE, token=with_token), seems_from)
                if seems_from == peer.endpoint:
                    await until(lambda: len(peer.answers) > answers, "no answer")
                return bool(_held(node))

            for peer, seems_from, with_token in (
                (other, other.endpoint, token),
                (other, mine.endpoint, token),
                (mine, other.endpoint, token),
                (mine, Endpoint(mine.endpoint.host, mine.endpoint.port + 7), token),
                (mine, mine.endpoint, bytes(8)),
                (mine, mine.endpoint, token[:-1] + bytes([token[-1] ^ 1])),
            ):
                assert not await stores(peer, seems_from, with_token)
            await asyncio.sleep(2 * TOKEN_LIFE_S)
            assert not await stores(mine, mine.endpoint)
            fresh = mine.tokens[node.node_key]
            assert fresh != token
            await asyncio.sleep(TOKEN_LIFE_S)
            assert await stores(mine, mine.endpoint, fresh)

    run_virtually(scene, seed=1)


def _held(node: DhtNode) -> int:
    return len(storage_of(node))


async def test_a_token_of_another_node_does_not_hold() -> None:
    async with running_node(1) as node, running_node(2) as second, Peer() as peer:
        peer.ask(second, wire.Ping())
        await until(lambda: peer.tokens, "no token")
        peer.ask(node, STORE, token=peer.tokens[second.node_key])
        await until(lambda: node.statistics["request-Store"], "the request got lost")
        assert _held(node) == 0


# --- made-up nodes ----------------------------------------------------------------------------------------------------


async def test_two_thousand_made_up_keys_at_one_address_leave_a_table_as_it_was() -> None:
    async with AsyncExitStack() as stack:
        node, *others = await start_nodes(stack, 5)
        mute = await stack.enter_async_context(Peer())
        mute.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
        before = set(node.contacts())
        for number in range(2_000):
            peer = Peer(key=NodeKey.generate(random.Random(number)))
            deliver(node, peer.request(node, wire.FindNode(bytes(20))), mute.endpoint)
            if number % 50 == 0:
                await asyncio.sleep(0)
        assert node.statistics["request-FindNode"] > 900, "the budget for strangers was used up"
        await until(lambda: not node._protocol._admitting, "pings are open")
        assert set(node.contacts()) == before
        assert len(others) == len(before)


async def test_many_keys_that_all_answer_at_one_address_are_one_contact() -> None:
    """The last that answered: an address has one tenant."""
    async with AsyncExitStack() as stack:
        node, *others = await start_nodes(stack, 5)
        front = await stack.enter_async_context(Peer())
        crowd = [Peer(seed) for seed in range(2_000, 2_200)]
        answered: Counter[int] = Counter()

        def answer_as_any(data: bytes, addr: tuple[str, int]) -> None:
            for number, peer in enumerate(crowd):
                try:
                    opened = peer.sealer.open(data)
                except MalformedMessage:
                    continue
                if opened is not None and opened.kind != wire.Kind.ANSWER:
                    answered[number] += 1
                    message_id = wire.decode_request(opened.plaintext).message_id
                    front.send(node.address, peer.sealed(node.node_key, message_id, wire.Pong()))

        front.datagram_received = answer_as_any  # type: ignore[method-assign]
        for peer in crowd:
            front.send(node.address, peer.request(node, wire.Ping()))
            await asyncio.sleep(0.002)
        await until(lambda: not node._protocol._admitting, "pings are open")
        assert len(answered) > 10, "hardly any was asked"
        honest = {other.node_id for other in others}
        assert honest <= {contact.node_id for contact in node.contacts()}
        assert len(node.contacts()) == len(honest) + 1


async def test_a_flood_of_names_does_not_make_us_ping_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests from ever other keys and addresses: answered, but what we send on our own account stays within the budget."""
    monkeypatch.setattr(protocol_module, "ADMISSIONS_BURST", 5)
    monkeypatch.setattr(protocol_module, "ADMISSIONS_PER_S", 0.001)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        peers = [await stack.enter_async_context(Peer(seed)) for seed in range(2_000, 2_020)]
        for peer in peers:
            peer.answer = lambda request, asker: None
            peer.ask(node, wire.Ping())
        await until(lambda: all(peer.answers for peer in peers), "not everybody was answered")
        await until(lambda: not node._protocol._admitting, "pings are open", within_s=5 * RPC_TIMEOUT_S * RPC_TRIES)
        assert sum(bool(peer.asked) for peer in peers) == 5


# --- work for strangers -----------------------------------------------------------------------------------------------


@pytest.fixture
def agreements(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each node has worked one out, by its public key."""
    made: Counter[bytes] = Counter()
    agree = NodeKey.agree

    def counted(self: NodeKey, public: bytes) -> bytes:
        made[self.public] += 1
        return agree(self, public)

    monkeypatch.setattr(NodeKey, "agree", counted)
    return made


async def test_strangers_get_so_much_work_out_of_a_node_and_its_acquaintances_notice_nothing(
    monkeypatch: pytest.MonkeyPatch, agreements: Counter[bytes]
) -> None:
    """Requests and hellos under made-up keys, and real strangers among them. Who is known is served, and asks others."""
    monkeypatch.setattr(protocol_module, "STRANGERS_BURST", 50)
    monkeypatch.setattr(protocol_module, "STRANGERS_PER_S", 0.001)
    async with AsyncExitStack() as stack:
        node, friend = await start_nodes(stack, 2)
        before = agreements[node.node_key]
        stranger = await stack.enter_async_context(Peer())
        for number in range(500):
            forged = random.Random(number).randbytes(32)
            hello = wire.encode_hello(wire.Hello(forged[:-1] + b"\0", TAG, bytes(8)))
            deliver(node, hello if number % 2 else b"\x10" + forged + bytes(100), stranger.endpoint)
        stranger.ask(node, wire.Ping())
        await until(lambda: node.statistics["strangers-refused"] >= 451, "strangers are served without end")
        assert agreements[node.node_key] - before <= 50
        assert stranger.answers == []
        assert await friend.probe()
        await friend._protocol.call_ping(contact_at(node.node_key, node.address))
        late = await stack.enter_async_context(running_node(77))
        assert (await node.hello(late.address)).node_id == late.node_id, "and it can meet whom it wants to meet"


async def test_answers_under_unknown_keys_cost_nothing(agreements: Counter[bytes]) -> None:
    """Unless a hello is open to where they come from; and then no more than the budget allows."""
    async with running_node(1) as node, Peer() as peer:
        forged = [b"\x11" + random.Random(number).randbytes(31) + bytes(101) for number in range(2_000)]
        for datagram in forged[:500]:
            deliver(node, datagram, peer.endpoint)
        assert (agreements[node.node_key], node.statistics["answer-unknown"]) == (0, 500)
        node._protocol._greeters = protocol_module.Budget(50, 0.001)
        hello = asyncio.ensure_future(node.hello(peer.endpoint))
        await asyncio.sleep(0)
        for number, datagram in enumerate(forged):
            seems_from = peer.endpoint if number % 2 else Endpoint("127.0.0.1", 9)
            deliver(node, datagram, seems_from)
        assert 0 < agreements[node.node_key] <= 50
        hello.cancel()
        await asyncio.gather(hello, return_exceptions=True)
        assert node._protocol._greeted == {}
