"""Datagrams in and out: kademlia's protocol class over rpcudp, made safe against what strangers send.

What this file guards:
- Whatever the bytes, no exception leaves `datagram_received`: what is malformed, unknown or from the wrong address is
  dropped and counted. Nothing is looked up by a name from the network.
- An answer counts only for an open request, only from the address asked, and only in the form that request expects.
- Only an answer brings a contact into the table, or back; a request merely makes us ping who sent it, within bounds.
- Nothing is sent but by `_send`. (A later version seals datagrams there, and opens them in `datagram_received`.)
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

from kademlia.node import Node
from kademlia.protocol import KademliaProtocol
from rpcudp.protocol import RPCProtocol

from dhtchat.crypto.identity import SigningKey, verify
from dhtchat.dht import wire
from dhtchat.dht.contact import (
    Contact,
    is_callable,
    pack_contact,
    pack_endpoint,
    plain_endpoint,
    same_family,
    unpack_endpoint,
)
from dhtchat.dht.routing import ContactTable, Silence
from dhtchat.dht.storage import HeldEntry, Kept, Standing
from dhtchat.errors import MalformedMessage, NetworkTrouble, ProofRefused
from dhtchat.ids import Endpoint, NodeId, RecordKey, node_id_of
from dhtchat.limits import (
    ADMISSIONS_BURST,
    ADMISSIONS_OPEN_MAX,
    ADMISSIONS_PER_S,
    DATAGRAM_ID_BYTES,
    FIND_REPLY_CONTACTS_MAX,
    NETWORK_TAG_BYTES,
    NONCE_BYTES,
    PAGE_BYTES_MAX,
    REQUESTS_OPEN_MAX,
    REQUESTS_SERVED_MAX,
    ROUND_TRIP_GAIN,
    RPC_TIMEOUT_MIN_S,
    RPC_TIMEOUT_ROUND_TRIPS,
    RPC_TIMEOUT_S,
    RPC_TRIES,
    SET_ENTRIES_MAX,
    SET_PAGES_MAX,
    UDP_PAYLOAD_BYTES_MAX,
)
from dhtchat.parameters import NetworkParameters
from dhtchat.records.kinds import DurableRecord
from dhtchat.runtime import Runtime

log = logging.getLogger(__name__)

_BEHIND_BELOW = b"\0"
"""The cursor behind a first page on which there was room for nothing but the leaves below."""
_HELLO_PURPOSE = "node-hello"
A = TypeVar("A", bound=wire.Answer)
SocketAddress = tuple[Any, ...]
"""As asyncio has it: (host, port) for IPv4, with flow and zone behind it for IPv6."""


class Unanswered(NetworkTrouble):
    """A contact did not answer, or not as itself."""


class Declined(NetworkTrouble):
    """No answer, and nobody to blame: the contact said that it is too busy, or we are and did not ask."""


class OtherNetwork(NetworkTrouble):
    """A node is there, but of another network."""

    hint = "Give both sides the same --network."


class HelloAnswer(NamedTuple):
    """Who proved to be at an address, and as whom it sees us."""

    node_id: NodeId
    node_key: bytes
    observed: Endpoint


class LocalReplica(Protocol):
    """What this node holds, for requests to be answered from."""

    def claims(self, key: RecordKey) -> list[DurableRecord] | None:
        """None while the vote is not fixed."""

    def entries(self, key: RecordKey, kind: str, after: bytes) -> Iterable[HeldEntry]:
        """Those behind `after`, by entry id."""

    def below(self, key: RecordKey) -> tuple[str, ...] | None:
        """Leaves below a node of a tree that has split; None when it has not, or is none."""

    def offer(
        self, key: RecordKey, raw: bytes, remaining_s: float | None, *, depth: int = 0, lives: int = 0
    ) -> "Kept | asyncio.Future[Kept] | None":
        """At once, after an adoption, or None when too many wait already."""

    def standing(self, key: RecordKey, raw: bytes) -> Standing:
        """How a record that was just offered stands in its tree."""


class _OpenRequest:
    """Waits for its answer from one address; None: given up. A timer of the loop sends it again, not a time-out around
    each try: to ask is most of what a node does."""

    __slots__ = ("_send", "_timer", "_waits_s", "answer", "endpoint", "expects")

    def __init__(
        self, endpoint: Endpoint, expects: type[wire.Answer], send: Callable[[], None], waits_s: Iterable[float]
    ) -> None:
        self.endpoint = endpoint
        self.expects = expects
        self.answer: asyncio.Future[wire.Answer | None] = asyncio.get_running_loop().create_future()
        self._send = send
        self._waits_s = iter(waits_s)
        self._timer: asyncio.TimerHandle | None = None

    def send(self) -> None:
        """Now, and again whenever one of the waits has passed without an answer."""
        wait_s = next(self._waits_s, None)
        if wait_s is None:
            self.give_up()
        else:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.send)
            self._send()

    def give_up(self) -> None:
        if not self.answer.done():
            self.answer.set_result(None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Budget:
    """A token bucket: `burst` at once, then `per_s` a second. Time is an argument."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._tokens = float(burst)
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class DhtProtocol(KademliaProtocol):
    """Both sides of every question nodes ask each other: `call_*` asks, `rpc_*` answers.

    The owner sets `replica` and the two hooks before the socket opens. A `client` asks only: it sends no id, nobody puts
    it into a table, and it answers nothing.
    """

    def __init__(
        self,
        source_node: Node,
        storage: object,
        ksize: int,
        *,
        runtime: Runtime,
        parameters: NetworkParameters,
        node_key: SigningKey,
        client: bool,
        statistics: Counter[str],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        super().__init__(source_node, storage, ksize)
        self.own_id = NodeId(source_node.id)
        self.ksize = ksize
        self.router = ContactTable(self.own_id, ksize, runtime.clock)
        self.replica: LocalReplica | None = None
        self.on_entered: Callable[[Contact], None] = lambda contact: None
        self.on_left: Callable[[Contact], None] = lambda contact: None
        self.statistics = statistics
        self.heard_at_s = float("-inf")
        self.round_trip_s: float | None = None
        """Smoothed, over all contacts."""
        self.silence = Silence()
        self._runtime = runtime
        self._parameters = parameters
        self._node_key = node_key
        self.client = client
        self._leaving = False
        self._spawn = spawn
        self._tag = parameters.network_id[:NETWORK_TAG_BYTES]
        self._open: dict[bytes, _OpenRequest] = {}
        self._serving: set[tuple[SocketAddress, bytes]] = set()
        self._admitting: set[Endpoint] = set()
        self._admissions = _Budget(ADMISSIONS_BURST, ADMISSIONS_PER_S)
        self._ipv6_socket = False

    def __getattr__(self, name: str) -> Any:
        """The library turns every unknown name into a remote call; here it is the mistake that it looks like."""
        raise AttributeError(f"{type(self).__name__} has no {name}")

    # --- the socket ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        RPCProtocol.connection_made(self, transport)
        self._ipv6_socket = ":" in str((transport.get_extra_info("sockname") or ("",))[0])

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody may wait for answers that cannot come any more."""
        for request in self._open.values():
            request.give_up()

    def error_received(self, error: OSError) -> None:
        """An ICMP message, or the kernel refused a destination: the request's time-out says the rest."""
        self.statistics["socket-error"] += 1

    def datagram_received(self, data: bytes, addr: SocketAddress) -> None:
        self.statistics["datagrams-in"] += 1
        sender = plain_endpoint(str(addr[0]), int(addr[1]))
        try:
            frame = wire.decode(data, self._expected)
        except MalformedMessage:
            self.statistics["malformed"] += 1
            return
        if frame.message is None:
            self.statistics["answer-unknown"] += 1
        elif isinstance(frame.message, wire.Answer):
            self._accept_answer(frame.message_id, frame.message, sender)
        elif self.client or self._leaving:
            self.statistics["asked-a-client"] += 1
        elif frame.message.network != self._tag:
            self.statistics["request-other-network"] += 1
            self._send(frame.message_id, wire.Refused(self.own_id, wire.Refusal.OTHER_NETWORK), addr)
        elif isinstance(frame.message, wire.Leaving):
            self._on_leaving(frame.message.sender, sender)
        else:
            self._notice(frame.message.sender, sender)
            self._serve(frame.message_id, frame.message, sender, addr)

    def _expected(self, message_id: bytes) -> type[wire.Answer] | None:
        request = self._open.get(message_id)
        return request.expects if request else None

    def _send(self, message_id: bytes, message: wire.Message, addr: SocketAddress) -> None:
        """The only place from which anything is sent."""
        if self.transport is None or self.transport.is_closing():
            return
        datagram = wire.encode(message_id, message)
        assert len(datagram) <= UDP_PAYLOAD_BYTES_MAX, f"{type(message).__name__} of {len(datagram)} bytes"
        self.statistics["datagrams-out"] += 1
        self.transport.sendto(datagram, addr)

    def _address_of(self, endpoint: Endpoint) -> SocketAddress:
        """As our socket wants it: one bound to `::` reaches IPv4 only in the mapped form."""
        if self._ipv6_socket and ":" not in endpoint.host:
            return f"::ffff:{endpoint.host}", endpoint.port
        return tuple(endpoint)

    # --- asking -------------------------------------------------------------------------------------------------------

    async def ask(self, endpoint: Endpoint, request: wire.Request, expects: type[A], *, tries: int = RPC_TRIES) -> A:
        """Send a request, again with the same id while nothing comes, and return the answer.

        Raises `Unanswered`, `OtherNetwork` or `Declined`.
        """
        if len(self._open) >= REQUESTS_OPEN_MAX:
            self.statistics["requests-full"] += 1
            raise Declined("too many requests of ours are open")
        if self.transport is None or self.transport.is_closing():
            raise Declined("this node has no socket")
        message_id = self._runtime.random.randbytes(DATAGRAM_ID_BYTES)
        address = self._address_of(endpoint)
        opened = _OpenRequest(
            endpoint, expects, lambda: self._send(message_id, request, address), self._timeouts_s(tries)
        )
        self._open[message_id] = opened
        asked_at_s = self._runtime.clock.monotonic()
        try:
            opened.send()
            reply = await opened.answer
        finally:
            opened.close()
            del self._open[message_id]
        if reply is None:
            self.statistics["unanswered"] += 1
            raise Unanswered(f"{endpoint} does not answer")
        took_s = self._runtime.clock.monotonic() - asked_at_s
        # After a second try it is too long rather than too short: an answer to the first would count from there. That is
        # the safe side, where Karn's rule would measure nothing and keep on asking twice.
        self._measure(min(took_s, RPC_TIMEOUT_S))
        if isinstance(reply, wire.Refused):
            if reply.reason is wire.Refusal.OTHER_NETWORK:
                raise OtherNetwork(f"{endpoint} is a node of another network")
            raise Declined(f"{endpoint} is too busy")
        assert isinstance(reply, expects)
        return reply

    def _timeouts_s(self, tries: int) -> list[float]:
        """How long each try waits: from what answers take here, doubled with each try."""
        measured_s = self.round_trip_s if self.round_trip_s is not None else RPC_TIMEOUT_S
        first_s = min(RPC_TIMEOUT_S, max(RPC_TIMEOUT_MIN_S, RPC_TIMEOUT_ROUND_TRIPS * measured_s))
        return [min(RPC_TIMEOUT_S, first_s * 2**number) for number in range(tries)]

    def _measure(self, took_s: float) -> None:
        before_s = took_s if self.round_trip_s is None else self.round_trip_s
        self.round_trip_s = before_s + ROUND_TRIP_GAIN * (took_s - before_s)

    def _accept_answer(self, message_id: bytes, answer: wire.Answer, sender: Endpoint) -> None:
        request = self._open[message_id]
        if request.endpoint != sender:
            self.statistics["answer-wrong-source"] += 1
        elif request.answer.done():
            self.statistics["answer-repeated"] += 1
        else:
            self.heard_at_s = self._runtime.clock.monotonic()
            request.answer.set_result(answer)

    async def _call(
        self,
        contact: Contact,
        request: wire.Request,
        expects: type[A],
        *,
        tries: int | None = None,
        casual: bool = False,
    ) -> A:
        """`ask` a contact, and keep the table right. `casual`: a single lost datagram is not held against it."""
        try:
            answer = await self.ask(contact.endpoint, request, expects, tries=tries or self.silence.tries(contact))
        except NetworkTrouble as trouble:
            if not casual and not isinstance(trouble, Declined):
                self._miss(contact)
            raise
        self._meet(Contact(NodeId(answer.sender), contact.endpoint))
        if answer.sender != contact.node_id:
            self._miss(contact)
            raise Unanswered(f"{contact.endpoint} is somebody else by now")
        return answer

    async def call_ping(self, contact: Contact, *, tries: int | None = None) -> None:
        """Raises `NetworkTrouble` when it is not there."""
        await self._call(contact, wire.Ping(self._tag, self._sender), wire.Pong, tries=tries)

    async def call_find_node(self, contact: Contact, target: bytes) -> list[Contact]:
        """The contacts it knows nearest to `target`."""
        answer = await self._call(contact, wire.FindNode(self._tag, self._sender, target), wire.Nodes)
        return answer.contacts()

    async def call_store(
        self,
        contact: Contact,
        key: RecordKey,
        raw: bytes,
        remaining_s: float | None = None,
        *,
        tries: int | None = None,
    ) -> Kept:
        """What it did with a record."""
        kept, _ = await self.call_store_in_tree(contact, key, raw, remaining_s, tries=tries)
        return kept

    async def call_store_in_tree(
        self,
        contact: Contact,
        key: RecordKey,
        raw: bytes,
        remaining_s: float | None = None,
        *,
        depth: int = 0,
        lives: int = 0,
        tries: int | None = None,
    ) -> tuple[Kept, Standing]:
        """What it did with a record, and how that stands in its tree."""
        remaining_ms = None if remaining_s is None else max(0, int(remaining_s * wire.MS_PER_S))
        request = wire.Store(self._tag, self._sender, key, raw, remaining_ms, depth, lives)
        answer = await self._call(contact, request, wire.Stored, tries=tries)
        return Kept(answer.verdict, answer.reason, answer.sequence), Standing(answer.split, answer.edge)

    async def call_find_claims(self, contact: Contact, key: RecordKey, *, quick: bool = False) -> list[bytes] | None:
        """The claims it holds, in its order; None while its vote is not fixed. `quick`: one try, and no blame."""
        tries = 1 if quick else None
        held: list[bytes] = []
        while True:
            request = wire.FindClaims(self._tag, self._sender, key, len(held))
            answer = await self._call(contact, request, wire.Claims, tries=tries, casual=quick)
            if answer.pending:
                return None
            held += answer.records
            if not answer.records or len(held) >= answer.total:
                return held

    async def call_find_entries(
        self, contact: Contact, key: RecordKey, kind: str, *, pages: int = SET_PAGES_MAX, quick: bool = False
    ) -> wire.Entries:
        """The entries it holds, page by page, as many as an honest replica can have, as one answer. `quick`: one try, and
        no blame."""
        held: list[wire.Entry] = []
        after = b""
        first: wire.Entries | None = None
        for _ in range(pages):
            request = wire.FindEntries(self._tag, self._sender, key, kind, after)
            answer = await self._call(contact, request, wire.Entries, tries=1 if quick else None, casual=quick)
            first = first or answer
            held += answer.entries
            if answer.following <= after or len(held) >= SET_ENTRIES_MAX:  # the end, or one that leads us in circles
                break
            after = answer.following
        assert first is not None
        return wire.Entries(first.sender, held[:SET_ENTRIES_MAX], b"", first.split, first.below)

    async def call_hello(
        self, endpoint: Endpoint, *, pinned: bytes | None = None, tries: int = RPC_TRIES
    ) -> HelloAnswer:
        """Have whoever is at an address prove its node key. Raises `NetworkTrouble` when it is silent or of another
        network, `ProofRefused` when the proof does not hold or the key is not the one pinned."""
        nonce = self._runtime.random.randbytes(NONCE_BYTES)
        proof = await self.ask(endpoint, wire.Hello(self._tag, self._sender, nonce), wire.Proof, tries=tries)
        if proof.network_id != self._parameters.network_id:
            raise OtherNetwork(f"{endpoint} is a node of another network")
        signed = nonce + proof.observed
        if proof.sender != node_id_of(proof.node_key) or not verify(
            proof.node_key, _HELLO_PURPOSE, proof.network_id, signed, proof.signature
        ):
            raise ProofRefused(f"{endpoint} could not prove which node it is")
        if pinned is not None and proof.node_key != pinned:
            raise ProofRefused(f"{endpoint} has another node key than the one it was named with")
        self._meet(Contact(NodeId(proof.sender), endpoint), proved=True)
        return HelloAnswer(NodeId(proof.sender), proof.node_key, unpack_endpoint(proof.observed))

    @property
    def _sender(self) -> bytes:
        return b"" if self.client else self.own_id

    # --- answering ----------------------------------------------------------------------------------------------------

    def _serve(self, message_id: bytes, request: wire.Request, sender: Endpoint, addr: SocketAddress) -> None:
        """All answers are at hand but one: a store may have to wait until this node has cast its vote."""
        self.statistics[f"request-{type(request).__name__}"] += 1
        answer: wire.Answer | None
        match request:
            case wire.Ping():
                answer = self.rpc_ping()
            case wire.Hello(nonce=nonce):
                answer = self.rpc_hello(nonce, sender)
            case wire.FindNode(sender=asker, target=target):
                answer = self.rpc_find_node(asker, target, sender)
            case wire.FindClaims(key=key, start=start):
                answer = self.rpc_find_claims(RecordKey(key), start)
            case wire.FindEntries(key=key, kind=kind, after=after):
                answer = self.rpc_find_entries(RecordKey(key), kind, after)
            case wire.Store():
                answer = self.rpc_store(request, message_id, addr)
            case _:
                raise AssertionError(f"nobody answers {type(request).__name__}")
        if answer is not None:
            self._send(message_id, answer, addr)

    def rpc_ping(self) -> wire.Answer:
        return wire.Pong(self.own_id)

    def rpc_hello(self, nonce: bytes, sender: Endpoint) -> wire.Answer | None:
        """The signature is what costs: about 50 us."""
        try:
            observed = pack_endpoint(sender)
        except ValueError:  # a link-local address with its zone
            self.statistics["asker-without-address"] += 1
            return None
        network_id = self._parameters.network_id
        signature = self._node_key.sign(_HELLO_PURPOSE, network_id, nonce + observed)
        return wire.Proof(self.own_id, self._node_key.public, network_id, observed, signature)

    def rpc_find_node(self, asker: bytes, target: bytes, sender: Endpoint) -> wire.Answer:
        near = self.router.nearest(target, self.ksize, exclude=asker)
        usable = [c for c in near if is_callable(c.endpoint) and same_family(c.endpoint, sender)]
        return wire.Nodes(self.own_id, [pack_contact(contact) for contact in usable[:FIND_REPLY_CONTACTS_MAX]])

    def rpc_find_claims(self, key: RecordKey, start: int) -> wire.Answer:
        assert self.replica is not None
        held = self.replica.claims(key)
        if held is None:
            return wire.Claims(self.own_id, True, 0, [])
        page: list[bytes] = []
        room = PAGE_BYTES_MAX
        for record in held[start:]:
            room -= wire.encoded_size(record.raw)
            if room < 0:
                break
            page.append(record.raw)
        return wire.Claims(self.own_id, False, len(held), page)

    def rpc_find_entries(self, key: RecordKey, kind: str, after: bytes) -> wire.Answer:
        assert self.replica is not None
        page: list[wire.Entry] = []
        below = self.replica.below(key)
        split, named = below is not None, () if below is None or after else below
        room = PAGE_BYTES_MAX - (wire.encoded_size(named) if named else 0)
        last = b""
        for held in self.replica.entries(key, kind, after):
            entry = wire.Entry(held.record.raw, int(held.remaining_s * wire.MS_PER_S))
            room -= wire.encoded_size(entry)
            if room < 0:
                return wire.Entries(self.own_id, page, last or _BEHIND_BELOW, split, named)
            page.append(entry)
            last = held.record.body.entry_id(held.record.key)
        return wire.Entries(self.own_id, page, b"", split, named)

    def rpc_store(self, request: wire.Store, message_id: bytes, addr: SocketAddress) -> wire.Answer | None:
        """The answer; None when it comes later, or when this is a repetition of a request that is being served."""
        assert self.replica is not None
        serving = (addr, message_id)
        if serving in self._serving:
            self.statistics["request-repeated"] += 1
            return None
        remaining_s = None if request.remaining_ms is None else request.remaining_ms / wire.MS_PER_S
        kept = None
        if len(self._serving) < REQUESTS_SERVED_MAX:
            kept = self.replica.offer(
                RecordKey(request.key), request.record, remaining_s, depth=request.depth, lives=request.lives
            )
        if kept is None:
            self.statistics["busy"] += 1
            return wire.Refused(self.own_id, wire.Refusal.BUSY)
        if isinstance(kept, Kept):
            return wire.Stored(self.own_id, *kept, *self.replica.standing(RecordKey(request.key), request.record))
        self._serving.add(serving)
        kept.add_done_callback(lambda done: self._answer_store(serving, done))
        return None

    def _answer_store(self, serving: tuple[SocketAddress, bytes], done: "asyncio.Future[Kept]") -> None:
        self._serving.discard(serving)
        if not done.cancelled():
            addr, message_id = serving
            self._send(message_id, wire.Stored(self.own_id, *done.result()), addr)

    # --- whom we know -------------------------------------------------------------------------------------------------

    def sift(self, named: list[Contact]) -> tuple[list[Contact], list[Contact]]:
        """Whom a lookup should ask of those it has heard of, and whom not."""
        return self.silence.sift(named, self._runtime.clock.monotonic())

    def _notice(self, asker: bytes, sender: Endpoint) -> None:
        """A request: who is not in the table may enter, but only after it has answered us from its address."""
        if not asker or asker == self.own_id:
            return
        contact = Contact(NodeId(asker), sender)
        known = self.router.find(asker)
        if known == contact or sender in self._admitting or not is_callable(sender):
            return
        if self._admissions.take(self._runtime.clock.monotonic()):
            self._admit(contact, prove=known is not None)
        else:
            self.statistics["admission-postponed"] += 1

    def _admit(self, contact: Contact, *, prove: bool) -> None:
        """Ask it in the background. `prove`: the id is known from another address; a ping shows that somebody is there,
        but that it is the same node, which has moved, only its signature does."""
        if contact.endpoint in self._admitting or len(self._admitting) >= ADMISSIONS_OPEN_MAX:
            self.statistics["admission-postponed"] += 1
            return
        self._admitting.add(contact.endpoint)
        self._spawn(self._admit_now(contact, prove=prove))

    async def _admit_now(self, contact: Contact, *, prove: bool) -> None:
        try:
            if prove:
                await self.call_hello(contact.endpoint)
            else:
                await self.call_ping(contact)
        except NetworkTrouble:
            self.statistics["admission-failed"] += 1
        except ProofRefused:
            self.statistics["proof-refused"] += 1
        finally:
            self._admitting.discard(contact.endpoint)

    def _meet(self, contact: Contact, *, proved: bool = False) -> None:
        """It has just answered from its address."""
        self.silence.answered(contact)
        if contact.node_id == self.own_id:
            return
        known = self.router.find(contact.node_id)
        if known == contact:
            self.router.heard(contact)
            return
        if known is not None and not proved:
            self._admit(contact, prove=True)
            return
        if known is not None:
            self._leave(known)
        for tenant in self.router.tenants(contact.endpoint):
            self._leave(tenant)
        if self.router.enter(contact):
            self.on_entered(contact)
        else:  # a full bucket keeps those who live (the paper's §2.2); one who is dead makes way, see `_miss`
            self._admit(self.router.eldest_beside(contact), prove=False)

    def say_goodbye(self) -> None:
        """Answer nobody from now on and tell the contacts, so that their lookups need not find out by waiting."""
        self._leaving = True
        if self.client:
            return
        message_id = self._runtime.random.randbytes(DATAGRAM_ID_BYTES)
        for contact in self.router.contacts():
            self._send(message_id, wire.Leaving(self._tag, self._sender), self._address_of(contact.endpoint))

    def _on_leaving(self, node_id: bytes, sender: Endpoint) -> None:
        """Anybody can write a sender's address on a datagram: one ping, and who answers it stays."""
        contact = Contact(NodeId(node_id), sender)
        if self.router.find(contact.node_id) == contact and self._admissions.take(self._runtime.clock.monotonic()):
            self._spawn(self._see_off(contact))

    async def _see_off(self, contact: Contact) -> None:
        with contextlib.suppress(NetworkTrouble):
            await self.call_ping(contact, tries=1)

    def _miss(self, contact: Contact) -> None:
        """It did not answer, in all the tries it had."""
        self.silence.failed(contact, self._runtime.clock.monotonic())
        self._leave(contact)

    def _leave(self, contact: Contact) -> None:
        if self.router.find(contact.node_id) != contact:
            return
        listed = self.router.lists(contact)
        promoted = self.router.leave(contact)
        if listed:
            self.on_left(contact)
        if promoted is not None:
            self.on_entered(promoted)
