"""What the tests of the DHT share: records that cost nothing, networks on loopback, and networks in virtual time."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from dhtchat.crypto.datagram import NodeKey, Sealer, kind_of
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht import wire
from dhtchat.dht.contact import Contact, contact_at, pack_endpoint
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import NoBootstrapAnswered
from dhtchat.ids import KEY_BYTES, Endpoint, NodeAddress, RoomId, node_id_of
from dhtchat.limits import BOOT_ID_BYTES, DATAGRAM_ID_BYTES, PRESENCE_TTL_S, TOKEN_BYTES
from dhtchat.parameters import SIM, NetworkParameters
from dhtchat.records.account import Account, create_account
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.membership import Membership
from dhtchat.records.presence import Address, Presence
from dhtchat.records.room import RoomGenesis, create_room
from dhtchat.runtime import RealClock, RealNetwork, Runtime

T = TypeVar("T")
PASSWORD = "a password"
JOIN_ATTEMPTS = 3
LOOPBACK = Endpoint("127.0.0.1", 0)
SMALL = NetworkParameters(
    name="test", kdf_memory_kib=8, kdf_passes=1, kdf_lanes=1, proof_of_work_bits=0, room_proof_of_work_bits=0, k=4
)
"""A network in which four nodes hold what is durable."""


class FixedClock:
    """Stands still until told otherwise."""

    def __init__(self, wall_s: float = 1_750_000_000.0) -> None:
        self.wall_s = wall_s
        self.monotonic_s = 0.0

    def monotonic(self) -> float:
        return self.monotonic_s

    def wall(self) -> float:
        return self.wall_s

    def advance(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds


# --- records ----------------------------------------------------------------------------------------------------------


def key_of(seed: int) -> SigningKey:
    return SigningKey.generate(random.Random(seed))


def node_key_of(seed: int, parameters: NetworkParameters = SIM) -> NodeKey:
    return NodeKey.generate(random.Random(seed), parameters.id_puzzle_bits)


def account(name: str, seed: int, parameters: NetworkParameters = SIM) -> Signed[Account]:
    """Another seed makes a rival claim."""
    record, _ = create_account(name, PASSWORD, parameters=parameters, source=random.Random(seed), now_s=0)
    return record


def room(name: str, seed: int, parameters: NetworkParameters = SIM) -> Signed[RoomGenesis]:
    """The cheapest durable record there is."""
    return create_room(name, key_of(seed), parameters=parameters, source=random.Random(seed), now_s=0)


def presence(
    owner: SigningKey,
    sequence: int,
    issued_at_s: float,
    *,
    device: int = 1,
    gone: bool = False,
    ttl_s: int = PRESENCE_TTL_S,
    parameters: NetworkParameters = SIM,
) -> Signed[Presence]:
    body = Presence(
        "alice",
        device.to_bytes(32, "big"),
        [Address("127.0.0.1", 1)],
        "",
        0,
        sequence,
        int(issued_at_s),
        ttl_s,
        gone,
    )
    return sign_body(body, owner, parameters.network_id)


def membership(
    owner: SigningKey, of_room: RoomId, sequence: int, issued_at_s: float, *, parameters: NetworkParameters = SIM
) -> Signed[Membership]:
    body = Membership(of_room, "alice", owner.public, sequence, int(issued_at_s), PRESENCE_TTL_S, False)
    return sign_body(body, owner, parameters.network_id)


# --- networks on loopback ---------------------------------------------------------------------------------------------


def real_runtime_from(seed: int) -> Runtime:
    """The machine's clock and sockets, and a random source that repeats."""
    return Runtime(RealClock(), random.Random(seed), RealNetwork())


@asynccontextmanager
async def running_node(
    seed: int,
    via: Sequence[DhtNode] = (),
    *,
    runtime: Runtime | None = None,
    parameters: NetworkParameters = SIM,
    storage: RecordStorage | None = None,
    client: bool = False,
    local: Endpoint = LOOPBACK,
) -> AsyncIterator[DhtNode]:
    """A node that listens and has joined through `via`. The same seed has the same key and so the same id."""
    runtime = runtime or real_runtime_from(seed)
    shelf = storage or RecordStorage(None, parameters=parameters, clock=runtime.clock)
    try:
        async with DhtNode(
            runtime=runtime, parameters=parameters, node_key=node_key_of(seed, parameters), storage=shelf, client=client
        ) as node:
            await node.listen(local)
            if via:
                await _join(node, via)
            yield node
    finally:
        if storage is None:
            shelf.close()


async def _join(node: DhtNode, via: Sequence[DhtNode]) -> None:
    """On a bad network not always at the first attempt, as a user would."""
    for attempts_left in reversed(range(JOIN_ATTEMPTS)):
        try:
            await node.bootstrap([NodeAddress(other.address, None) for other in via])
            return
        except NoBootstrapAnswered:
            if not attempts_left:
                raise


async def start_nodes(
    stack: AsyncExitStack,
    count: int,
    *,
    seed: int = 0,
    parameters: NetworkParameters = SIM,
    runtime: Runtime | None = None,
    within_s: float = 40.0,
) -> list[DhtNode]:
    """`count` nodes that have all joined through the first, and of whom each knows all the others (up to k)."""
    nodes: list[DhtNode] = []
    for number in range(count):
        via = nodes[:1]
        node = running_node(1_000 * seed + number, via, parameters=parameters, runtime=runtime)
        nodes.append(await stack.enter_async_context(node))
    at_least = min(count - 1, parameters.k)
    await until(
        lambda: all(len(node.contacts()) >= at_least for node in nodes),
        "nodes do not find each other",
        within_s=within_s,
    )
    return nodes


async def until(condition: Callable[[], object], why: str, *, within_s: float = 40.0) -> None:
    """Poll until it holds, for no longer than `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"after {within_s} s: {why}") from None


async def until_async(condition: Callable[[], Awaitable[object]], why: str, *, within_s: float = 40.0) -> None:
    """The same for a condition that must be asked for."""
    try:
        async with asyncio.timeout(within_s):
            while not await condition():  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"after {within_s} s: {why}") from None


def storage_of(node: DhtNode) -> RecordStorage:
    return node._storage


# --- networks in virtual time -----------------------------------------------------------------------------------------


class _Jump:
    """In place of a selector: nobody waits, time jumps to the next timer."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> tuple[()]:
        if timeout_s is None:
            raise RuntimeError("nothing is ready and no timer is set: this would wait for ever")
        if timeout_s > 0:
            self._loop.now_s = max(self._loop.now_s + timeout_s, self._loop._scheduled[0]._when)
        return ()


class VirtualLoop(asyncio.BaseEventLoop):
    """Asyncio's own loop with four private hooks replaced (facts.md, "Simulation")."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._selector = _Jump(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.now_s

    def _process_events(self, events: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class VirtualClock:
    """The loop's time; the wall clock of 2025."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return 1_750_000_000.0 + self._loop.time()


class _Socket(asyncio.DatagramTransport):
    def __init__(self, network: "VirtualNetwork", local: Endpoint, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self._network = network
        self._local = local
        self._closed = False

    def sendto(self, data: Any, addr: Any = None) -> None:
        self._network.carry(bytes(data), self._local, Endpoint(*addr[:2]))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return tuple(self._local) if name == "sockname" else default

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._network.sockets.pop(self._local, None)
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class VirtualNetwork:
    """Datagrams that take a random time and get lost."""

    def __init__(self, source: random.Random, *, delay_s: tuple[float, float] = (0.01, 0.1), loss: float = 0.0) -> None:
        self.sockets: dict[Endpoint, _Socket] = {}
        self.drop: Callable[[bytes, Endpoint, Endpoint], bool] = lambda data, source, destination: False
        """Which datagrams never arrive, besides those that get lost by chance."""
        self._random = source
        self._delay_s = delay_s
        self._loss = loss
        self._ports = iter(range(10_000, 60_000))

    async def open_datagrams(
        self, factory: Callable[[], asyncio.DatagramProtocol], local: Endpoint
    ) -> tuple[asyncio.DatagramTransport, Endpoint]:
        bound = Endpoint("10.0.0.1", local.port or next(self._ports))
        protocol = factory()
        socket = self.sockets[bound] = _Socket(self, bound, protocol)
        protocol.connection_made(socket)
        return socket, bound

    def carry(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        if self._random.random() >= self._loss and not self.drop(data, source, destination):
            delay_s = self._random.uniform(*self._delay_s)
            asyncio.get_running_loop().call_later(delay_s, self._deliver, data, source, destination)

    def _deliver(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        if destination in self.sockets:
            self.sockets[destination].protocol.datagram_received(data, tuple(source))

    async def resolve(self, host: str, port: int) -> list[Endpoint]:
        return [Endpoint(host, port)]

    async def listen(self, *arguments: Any) -> Any:
        raise NotImplementedError

    async def connect(self, *arguments: Any) -> Any:
        raise NotImplementedError

    async def start_tls(self, *arguments: Any, **more: Any) -> Any:
        raise NotImplementedError


def run_virtually(
    scene: Callable[[Runtime], Coroutine[Any, Any, T]],
    *,
    seed: int,
    delay_s: tuple[float, float] = (0.01, 0.1),
    loss: float = 0.0,
) -> T:
    """Run it in virtual time; the same seed gives the same run."""
    source = random.Random(seed)
    loop = VirtualLoop()
    try:
        network = VirtualNetwork(source, delay_s=delay_s, loss=loss)
        return loop.run_until_complete(scene(Runtime(VirtualClock(loop), source, network, inline=True)))
    finally:
        loop.close()


# --- others on the network --------------------------------------------------------------------------------------------


class Peer(asyncio.DatagramProtocol):
    """Somebody with a node key who speaks the protocol as the test wants: `answer` decides what to say to a request.

    On loopback inside its block, or attached to a `VirtualNetwork` with `open_in`. Takes part (`client` False) and brings
    tokens back (`keeps_tokens`) unless told otherwise.
    """

    def __init__(
        self,
        seed: int = 700,
        *,
        parameters: NetworkParameters = SIM,
        key: NodeKey | None = None,
        boot: int = 0,
        keeps_tokens: bool = True,
    ) -> None:
        self.key = key or node_key_of(seed, parameters)
        self.node_id = node_id_of(self.key.public)
        self.parameters = parameters
        self.sealer = Sealer(self.key, boot.to_bytes(BOOT_ID_BYTES, "big"), parameters.network_id)
        self.answer: Callable[[wire.Request, Endpoint], wire.Answer | None] = lambda request, asker: wire.Pong()
        self.client = False
        self.keeps_tokens = keeps_tokens
        self.tokens: dict[bytes, bytes] = {}
        """The last one that each node gave us."""
        self.asked: list[type[wire.Request]] = []
        """What we were asked."""
        self.answers: list[wire.Answer] = []
        """What we were told in answer to our requests."""
        self.datagrams: list[bytes] = []
        """All that came."""
        self._expected: dict[bytes, type[wire.Answer]] = {}
        self._ids = random.Random(seed)

    async def __aenter__(self) -> "Peer":
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=tuple(LOOPBACK))
        self.endpoint = Endpoint(*self.transport.get_extra_info("sockname")[:2])
        return self

    async def open_in(self, network: "VirtualNetwork") -> "Peer":
        self.transport, self.endpoint = await network.open_datagrams(lambda: self, LOOPBACK)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.transport.close()
        await asyncio.sleep(0)

    @property
    def contact(self) -> Contact:
        return contact_at(self.key.public, self.endpoint)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.datagrams.append(data)
        kind = kind_of(data)
        if kind == wire.Kind.HELLO:
            hello = wire.decode_hello(data)
            greeting = wire.Greeting(pack_endpoint(Endpoint(*addr[:2])))
            self.transport.sendto(self.sealed(hello.key, hello.message_id, greeting), addr)
        elif kind != wire.Kind.FOREIGN:
            self._hear(data, addr)

    def _hear(self, data: bytes, addr: tuple[str, int]) -> None:
        opened = self.sealer.open(data)
        assert opened is not None
        if opened.kind == wire.Kind.ANSWER:
            frame = wire.decode_answer(opened.plaintext, self._expected.get)
            self.tokens[opened.sender] = frame.token
            if frame.message is not None:
                assert isinstance(frame.message, wire.Answer)
                self.answers.append(frame.message)
            return
        frame = wire.decode_request(opened.plaintext)
        assert isinstance(frame.message, wire.Request)
        self.asked.append(type(frame.message))
        said = self.answer(frame.message, Endpoint(*addr[:2]))
        if said is not None:
            self.transport.sendto(self.sealed(opened.sender, frame.message_id, said), addr)

    def request(
        self,
        node: DhtNode,
        request: wire.Request,
        *,
        message_id: bytes | None = None,
        token: bytes | None = None,
        bytes_min: int = 0,
    ) -> bytes:
        """The datagram of a request of ours, not padded; with the token we have, unless told which."""
        message_id = message_id or self._ids.randbytes(DATAGRAM_ID_BYTES)
        if type(request) in wire.ANSWER_TO:
            self._expected[message_id] = wire.ANSWER_TO[type(request)]
        if token is None:
            token = self.tokens.get(node.node_key, wire.NO_TOKEN) if self.keeps_tokens else wire.NO_TOKEN
        kind = wire.Kind.CLIENT_REQUEST if self.client else wire.Kind.REQUEST
        plaintext = wire.encode(message_id, token, request, bytes_min=bytes_min)
        return self.sealer.seal(node.node_key, kind, plaintext)

    def sealed(self, receiver: bytes, message_id: bytes, answer: wire.Answer | bytes) -> bytes:
        """The datagram of an answer of ours. `answer`: or bytes in its place."""
        plaintext = wire.encode(message_id, bytes(range(TOKEN_BYTES)), wire.Pong())
        if isinstance(answer, bytes):
            plaintext = plaintext[: DATAGRAM_ID_BYTES + TOKEN_BYTES] + len(answer).to_bytes(2, "big") + answer
        else:
            plaintext = wire.encode(message_id, bytes(range(TOKEN_BYTES)), answer)
        return self.sealer.seal(receiver, wire.Kind.ANSWER, plaintext)

    def opens(self, data: bytes) -> wire.Frame:
        """A request as it came."""
        opened = self.sealer.open(data)
        assert opened is not None
        return wire.decode_request(opened.plaintext)

    def ask(self, node: DhtNode, request: wire.Request, **more: Any) -> None:
        self.send(node.address, self.request(node, request, **more))

    def send(self, endpoint: Endpoint, datagram: bytes) -> None:
        self.transport.sendto(datagram, tuple(endpoint))


# --- forgeries --------------------------------------------------------------------------------------------------------


def with_sender(datagram: bytes, key: bytes) -> bytes:
    """Somebody else's key in the header."""
    return datagram[:1] + key + datagram[1 + KEY_BYTES :]


def with_boot(datagram: bytes, boot_id: bytes) -> bytes:
    at = 1 + KEY_BYTES
    return datagram[:at] + boot_id + datagram[at + BOOT_ID_BYTES :]


def with_kind(datagram: bytes, kind: int) -> bytes:
    return bytes((datagram[0] & 0xF0 | kind,)) + datagram[1:]


def with_bit_flipped(datagram: bytes, bit: int) -> bytes:
    flipped = bytearray(datagram)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def deliver(node: DhtNode, datagram: bytes, seems_from: Endpoint) -> None:
    """As it arrives when the address of its sender is forged: loopback lets nobody do that from outside."""
    node._protocol.datagram_received(datagram, tuple(seems_from))
