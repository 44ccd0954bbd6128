"""Datagrams in and out: kademlia's protocol class over rpcudp, made safe against what strangers send.

What this file guards:
- Whatever the bytes, no exception leaves `datagram_received`: what is malformed, unknown, a replay or from the wrong
  address is dropped and counted. Nothing is looked up by a name from the network.
- Whoever speaks has proved its key by the seal (`crypto/datagram.py`). An answer counts only for an open request, only from
  the key and the address asked, and only in the form that request expects.
- Only an answer brings a contact into the table, or back, or, when its old address is silent, to a new one; a request
  merely makes us ping who sent it, within bounds.
- Who has not shown that it receives what is sent to its address is sent at most three times what it sent, and can store
  nothing: a token in an answer, brought back in the next request, shows it (BEP 5).
- Nothing is sent but by `_send`.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from kademlia.node import Node
from kademlia.protocol import KademliaProtocol
from rpcudp.protocol import RPCProtocol

from dhtchat.crypto.datagram import NodeKey, Opened, Sealer, kind_of, sender_of
from dhtchat.dht import wire
from dhtchat.dht.alarms import Alarms
from dhtchat.dht.budgets import Budget, NetworkBudgets
from dhtchat.dht.contact import (
    Contact,
    contact_at,
    is_callable,
    pack_contact,
    pack_endpoint,
    plain_endpoint,
    unpack_endpoint,
)
from dhtchat.dht.diversity import Network, network_of
from dhtchat.dht.routing import ContactTable, Silence
from dhtchat.dht.storage import HeldEntry, Kept, Standing
from dhtchat.errors import MalformedMessage, NetworkTrouble, ProofRefused
from dhtchat.ids import Endpoint, NodeId, RecordKey, node_id_of, puzzle_bits
from dhtchat.limits import (
    ADMISSIONS_BURST,
    ADMISSIONS_OPEN_MAX,
    ADMISSIONS_PER_S,
    AGREEMENTS_MAX,
    AMPLIFICATION_MAX,
    BOOT_ID_BYTES,
    DATAGRAM_ID_BYTES,
    FIND_REPLY_CONTACTS_MAX,
    GIST_BYTES,
    LIST_PAGES_MAX,
    LOOKUP_SLOW_MIN_S,
    NETWORK_REQUESTS_BURST,
    NETWORK_REQUESTS_PER_S,
    NETWORK_TAG_BYTES,
    PADDED_QUESTION_BYTES,
    PAGE_BYTES_MAX,
    PING_BYTES,
    REQUESTS_OPEN_MAX,
    REQUESTS_SERVED_MAX,
    ROUND_TRIP_DEVIATION_GAIN,
    ROUND_TRIP_GAIN,
    RPC_TIMEOUT_MIN_S,
    RPC_TIMEOUT_ROUND_TRIPS,
    RPC_TIMEOUT_S,
    RPC_TRIES,
    SEALED_HEADER_BYTES,
    SET_ENTRIES_MAX,
    SET_PAGES_MAX,
    SLOW_DEVIATIONS,
    STRANGERS_BURST,
    STRANGERS_PER_S,
    TOKEN_BYTES,
    TOKEN_LIFE_S,
    UDP_PAYLOAD_BYTES_MAX,
)
from dhtchat.parameters import NetworkParameters
from dhtchat.records.kinds import DurableRecord
from dhtchat.runtime import Runtime

log = logging.getLogger(__name__)

_BEHIND_BELOW = b"\0"
"""The cursor behind a first page on which there was room for nothing but the leaves below."""
_NO_GIST = bytes(GIST_BYTES)
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


class ClaimsFound(NamedTuple):
    """What one replica holds of a name: `held` None while its vote is not fixed. `closer`: whom it knows near the key, when
    it holds nothing."""

    held: list[bytes] | None
    closer: Sequence[Contact] = ()


class EntriesFound(NamedTuple):
    """The same of a set, or of a node of a tree: whether that has split, and the leaves it names below. `following`: behind
    which entry there is more, of which, with these, `gist` is the gist as the replica says."""

    held: list[wire.Entry]
    closer: Sequence[Contact] = ()
    split: bool = False
    below: tuple[str, ...] = ()
    following: bytes = b""
    gist: bytes = b""


class LocalReplica(Protocol):
    """What this node holds, for requests to be answered from."""

    def claims(self, key: RecordKey) -> list[DurableRecord] | None:
        """None while the vote is not fixed."""

    def entries(self, key: RecordKey, kind: str, after: bytes) -> Iterable[HeldEntry]:
        """Those behind `after`, by entry id."""

    def index(self, key: RecordKey, after: bytes) -> Iterable[tuple[bytes, int]]:
        """Id and sequence number of all of a set behind an entry id."""

    def below(self, key: RecordKey) -> tuple[str, ...] | None:
        """Leaves below a node of a tree that has split; None when it has not, or is none."""

    def offer(
        self,
        key: RecordKey,
        raw: bytes,
        remaining_s: float | None,
        *,
        depth: int = 0,
        lives: int = 0,
        giver: bytes | None = None,
        network: Network | None = None,
    ) -> "Kept | asyncio.Future[Kept] | None":
        """At once, after an adoption, or None when too many wait already. `giver`: who asks, by its node key; `network`:
        from where, if that is limited."""

    def touch(self, key: RecordKey, entry_id: bytes, gist: bytes, giver: bytes) -> tuple[Kept, Standing]:
        """Keep an entry alive that `giver` has stored."""

    def standing(self, key: RecordKey, raw: bytes) -> Standing:
        """How a record that was just offered stands in its tree."""


class _Heard(NamedTuple):
    """An answer and who gave it."""

    key: bytes
    answer: wire.Answer


class Asked(NamedTuple):
    """A request that waits for its answer. `unproved_bytes`: how long it was, when its token did not show that the asker
    receives what is sent to that address."""

    message_id: bytes
    asker: bytes
    sender: Endpoint
    addr: SocketAddress
    unproved_bytes: int | None


class _Tokens:
    """Gives out and checks tokens: each is good for one key at one address, for a while. Time is an argument."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._slot = 0
        self._made: dict[tuple[bytes, Endpoint], bytes] = {}
        """Of this slot."""

    def make(self, key: bytes, endpoint: Endpoint, now_s: float) -> bytes:
        slot = int(now_s // TOKEN_LIFE_S)
        if slot != self._slot or len(self._made) >= AGREEMENTS_MAX:
            self._slot, self._made = slot, {}
        made = self._made.get((key, endpoint))
        if made is None:
            made = self._made[key, endpoint] = self._of(key, endpoint, slot)
        return made

    def holds(self, token: bytes, key: bytes, endpoint: Endpoint, now_s: float) -> bool:
        if token == wire.NO_TOKEN:
            return False
        return hmac.compare_digest(token, self.make(key, endpoint, now_s)) or hmac.compare_digest(
            token, self._of(key, endpoint, int(now_s // TOKEN_LIFE_S) - 1)
        )

    def _of(self, key: bytes, endpoint: Endpoint, slot: int) -> bytes:
        about = b"%d %d " % (slot, endpoint.port) + endpoint.host.encode() + key
        return hashlib.blake2s(about, key=self._secret, digest_size=TOKEN_BYTES).digest()


class _OpenRequest:
    """Waits for its answer from one key (None: any) at one address; None: given up."""

    __slots__ = ("answer", "endpoint", "expects", "foreign", "key", "send", "waits_s")

    def __init__(
        self,
        endpoint: Endpoint,
        key: bytes | None,
        expects: type[wire.Answer],
        send: Callable[[], None],
        waits_s: list[float],
        answer: "asyncio.Future[_Heard | None]",
    ) -> None:
        self.endpoint = endpoint
        self.key = key
        self.expects = expects
        self.foreign = False
        """Who is there said that it belongs to another network."""
        self.answer = answer
        self.send = send
        self.waits_s = waits_s
        """How long each try that is left waits, the next one last."""

    def is_over(self) -> bool:
        return self.answer.done()

    def give_up(self) -> None:
        if not self.answer.done():
            self.answer.set_result(None)


class DhtProtocol(KademliaProtocol):
    """Both sides of every question nodes ask each other: `call_*` asks, `rpc_*` answers.

    The owner sets `replica` and the two hooks before the socket opens. A `client` asks only: it says so, nobody puts it into
    a table, and it answers nothing.
    """

    def __init__(
        self,
        source_node: Node,
        storage: object,
        ksize: int,
        *,
        runtime: Runtime,
        parameters: NetworkParameters,
        node_key: NodeKey,
        client: bool,
        statistics: Counter[str],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        super().__init__(source_node, storage, ksize)
        self.own_id = NodeId(source_node.id)
        self.ksize = ksize
        self.router = ContactTable(self.own_id, ksize, runtime.clock, limited=parameters.networks_limited)
        self.replica: LocalReplica | None = None
        self.on_entered: Callable[[Contact], None] = lambda contact: None
        self.on_left: Callable[[Contact], None] = lambda contact: None
        self.statistics = statistics
        self.heard_at_s = float("-inf")
        self.round_trip_s: float | None = None
        """Smoothed, over all contacts."""
        self._deviation_s = 0.0
        """How far a round trip is from that, smoothed."""
        self.silence = Silence()
        self._runtime = runtime
        self._parameters = parameters
        self._bits = parameters.id_puzzle_bits
        self._own_key = node_key.public
        boot_id = runtime.random.randbytes(BOOT_ID_BYTES)
        self._sealer = Sealer(node_key, boot_id, parameters.network_id)
        self._tokens = _Tokens(runtime.random.randbytes(32))
        self._tokens_had: OrderedDict[tuple[bytes, Endpoint], bytes] = OrderedDict()
        """Given to us, by whom and from where."""
        self._strangers = Budget(STRANGERS_BURST, STRANGERS_PER_S)
        self._greeters = Budget(STRANGERS_BURST, STRANGERS_PER_S)
        """Of its own, so that strangers who ask do not keep us from hearing the first answer we wait for."""
        self.client = client
        self._leaving = False
        self._spawn = spawn
        self._tag = parameters.network_id[:NETWORK_TAG_BYTES]
        self._open: dict[bytes, _OpenRequest] = {}
        self._alarms: Alarms[_OpenRequest] | None = None
        self._greeted: Counter[Endpoint] = Counter()
        """Addresses with an open hello, and how many: from there an answer may come under a key we do not know."""
        self._serving: dict[tuple[bytes, bytes], None] = {}
        """Stores that wait for a vote: the asker's key and the id of the request."""
        self._admitting: set[Endpoint] = set()
        self._admissions = Budget(ADMISSIONS_BURST, ADMISSIONS_PER_S)
        self._askers = NetworkBudgets(NETWORK_REQUESTS_BURST, NETWORK_REQUESTS_PER_S)
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
        if self._alarms is not None:
            self._alarms.close()

    def error_received(self, error: OSError) -> None:
        """An ICMP message, or the kernel refused a destination: the request's time-out says the rest."""
        self.statistics["socket-error"] += 1

    def datagram_received(self, data: bytes, addr: SocketAddress) -> None:
        self.statistics["datagrams-in"] += 1
        sender = plain_endpoint(str(addr[0]), int(addr[1]))
        try:
            self._receive(data, sender, addr)
        except MalformedMessage:
            self.statistics["malformed"] += 1

    def _receive(self, data: bytes, sender: Endpoint, addr: SocketAddress) -> None:
        """Raises `MalformedMessage`."""
        if len(data) > UDP_PAYLOAD_BYTES_MAX:
            raise MalformedMessage(f"a datagram of {len(data)} bytes")
        match kind_of(data):
            case wire.Kind.ANSWER:
                self._hear(data, sender)
            case wire.Kind.REQUEST | wire.Kind.CLIENT_REQUEST | wire.Kind.HELLO if self.client or self._leaving:
                self.statistics["asked-a-client"] += 1
            case wire.Kind.REQUEST | wire.Kind.CLIENT_REQUEST as kind:
                self._be_asked(data, sender, addr, asker_is_client=kind == wire.Kind.CLIENT_REQUEST)
            case wire.Kind.HELLO:
                self._greet(wire.decode_hello(data), sender, addr)
            case wire.Kind.FOREIGN:
                self._hear_foreign(wire.decode_foreign(data), sender)
            case _:
                raise MalformedMessage(f"a datagram of unknown kind {data[0]}")

    def _hear(self, data: bytes, sender: Endpoint) -> None:
        """An answer. One from an unknown key is worth the work of opening it only where a hello of ours is open."""
        if not self._sealer.knows(sender_of(data)):
            if sender not in self._greeted:
                self.statistics["answer-unknown"] += 1
                return
            if not self._greeters.take(self._runtime.clock.monotonic()):
                self.statistics["strangers-refused"] += 1
                return
        opened = self._unseal(data)
        if opened is None:
            return
        frame = wire.decode_answer(opened.plaintext, self._expected)
        if frame.message is None:
            self.statistics["answer-unknown"] += 1
            return
        assert isinstance(frame.message, wire.Answer)
        request = self._open[frame.message_id]
        if request.endpoint != sender or request.key not in (None, opened.sender):
            self.statistics["answer-wrong-source"] += 1
        elif request.answer.done():
            self.statistics["answer-repeated"] += 1
        else:
            self.heard_at_s = self._runtime.clock.monotonic()
            self._keep_token(opened.sender, sender, frame.token)
            request.answer.set_result(_Heard(opened.sender, frame.message))

    def _hear_foreign(self, message_id: bytes, sender: Endpoint) -> None:
        request = self._open.get(message_id)
        if request is not None and request.key is None and request.endpoint == sender:
            request.foreign = True
            request.give_up()

    def _be_asked(self, data: bytes, sender: Endpoint, addr: SocketAddress, *, asker_is_client: bool) -> None:
        asker = sender_of(data)
        if not self._sealer.knows(asker) and not self._strangers.take(self._runtime.clock.monotonic()):
            self.statistics["strangers-refused"] += 1
            return
        opened = self._unseal(data)
        if opened is None:
            return
        frame = wire.decode_request(opened.plaintext)
        assert isinstance(frame.message, wire.Request)
        if isinstance(frame.message, wire.Leaving):
            self._on_leaving(contact_at(asker, sender))
            return
        proved = self._tokens.holds(frame.token, asker, sender, self._runtime.clock.monotonic())
        asked = Asked(frame.message_id, asker, sender, addr, None if proved else len(data))
        # Only who has shown its address is charged: a forged sender must not use up what somebody else may ask.
        if proved and not self._askers.take(network_of(sender, self.router.limited), self._runtime.clock.monotonic()):
            self.statistics["network-over-budget"] += 1
            self._send_answer(asked, wire.Refused(wire.Refusal.BUSY))
            return
        said_bytes = self._serve(asked, frame.message)
        if not asker_is_client:
            spare_bytes = None if proved else AMPLIFICATION_MAX * len(data) - said_bytes
            self._notice(contact_at(asker, sender), spare_bytes)

    def _unseal(self, data: bytes) -> Opened | None:
        """What is in it; None for one that has come before, which is counted. Raises `MalformedMessage`."""
        opened = self._sealer.open(data)
        self.statistics["replayed"] += opened is None
        return opened

    def _expected(self, message_id: bytes) -> type[wire.Answer] | None:
        request = self._open.get(message_id)
        return request.expects if request else None

    def _keep_token(self, key: bytes, endpoint: Endpoint, token: bytes) -> None:
        self._tokens_had[key, endpoint] = token
        self._tokens_had.move_to_end((key, endpoint))
        if len(self._tokens_had) > AGREEMENTS_MAX:
            self._tokens_had.popitem(last=False)

    def _send_request(self, message_id: bytes, request: wire.Request, contact: Contact) -> None:
        """Sealed anew each time. A question without a token is padded, so that any answer may come."""
        token = self._tokens_had.get((contact.key, contact.endpoint), wire.NO_TOKEN)
        padded = token == wire.NO_TOKEN and isinstance(request, wire.FindNode | wire.FindClaims | wire.FindEntries)
        bytes_min = PADDED_QUESTION_BYTES - SEALED_HEADER_BYTES if padded else 0
        plaintext = wire.encode(message_id, token, request, bytes_min=bytes_min)
        kind = wire.Kind.CLIENT_REQUEST if self.client else wire.Kind.REQUEST
        self._send(self._sealer.seal(contact.key, kind, plaintext), self._address_of(contact.endpoint))

    def _send_answer(self, asked: Asked, answer: wire.Answer) -> int:
        """Returns the length of the datagram."""
        token = self._tokens.make(asked.asker, asked.sender, self._runtime.clock.monotonic())
        plaintext = wire.encode(asked.message_id, token, answer)
        if asked.unproved_bytes is not None:
            allowed = AMPLIFICATION_MAX * asked.unproved_bytes
            if len(plaintext) + SEALED_HEADER_BYTES > allowed:
                self.statistics["unproved"] += 1
                plaintext = wire.encode(asked.message_id, token, wire.Refused(wire.Refusal.UNPROVED))
        datagram = self._sealer.reply(asked.asker, wire.Kind.ANSWER, plaintext)
        self._send(datagram, asked.addr)
        return len(datagram)

    def _send(self, datagram: bytes, addr: SocketAddress) -> None:
        """The only place from which anything is sent."""
        if self.transport is None or self.transport.is_closing():
            return
        assert len(datagram) <= UDP_PAYLOAD_BYTES_MAX, f"{len(datagram)} bytes"
        self.statistics["datagrams-out"] += 1
        self.transport.sendto(datagram, addr)

    def _address_of(self, endpoint: Endpoint) -> SocketAddress:
        """As our socket wants it: one bound to `::` reaches IPv4 only in the mapped form."""
        if self._ipv6_socket and ":" not in endpoint.host:
            return f"::ffff:{endpoint.host}", endpoint.port
        return tuple(endpoint)

    # --- asking -------------------------------------------------------------------------------------------------------

    async def ask(
        self, contact: Contact, request: wire.Request, expects: type[wire.Answer], *, tries: int = RPC_TRIES
    ) -> wire.Answer:
        """Send a request, again with the same id while nothing comes, and return the answer: what it `expects`, or
        `Nodes` instead where `wire` allows that. Asks once more when all that lacked was a token.

        Raises `Unanswered` or `Declined`.
        """
        for _ in range(2):
            heard = await self._wait(
                contact.endpoint,
                contact.key,
                expects,
                lambda message_id: self._send_request(message_id, request, contact),
                tries,
            )
            if not isinstance(heard.answer, wire.Refused):
                return heard.answer
            if heard.answer.reason is not wire.Refusal.UNPROVED:
                break
        raise Declined(f"{contact.endpoint} is too busy")

    async def _wait(
        self,
        endpoint: Endpoint,
        key: bytes | None,
        expects: type[wire.Answer],
        send: Callable[[bytes], None],
        tries: int,
    ) -> _Heard:
        """Until an answer comes to what `send`, given an id, sends. Raises `Unanswered`, `OtherNetwork` or `Declined`."""
        if len(self._open) >= REQUESTS_OPEN_MAX:
            self.statistics["requests-full"] += 1
            raise Declined("too many requests of ours are open")
        if self.transport is None or self.transport.is_closing():
            raise Declined("this node has no socket")
        message_id = self._runtime.random.randbytes(DATAGRAM_ID_BYTES)
        loop = asyncio.get_running_loop()
        if self._alarms is None:
            self._alarms = Alarms(loop, self._try, _OpenRequest.is_over)
        waits_s = self._timeouts_s(tries)[::-1]
        opened = _OpenRequest(endpoint, key, expects, lambda: send(message_id), waits_s, loop.create_future())
        self._open[message_id] = opened
        asked_at_s = self._runtime.clock.monotonic()
        try:
            self._try(opened)
            heard = await opened.answer
        except MalformedMessage as error:  # hearsay may name a key that nobody can have
            raise Unanswered(f"nothing can be sealed for {endpoint}") from error
        finally:
            opened.answer.cancel()
            del self._open[message_id]
            if not self._open and self._alarms is not None:
                self._alarms.close()  # who has nothing to wait for sleeps
        if opened.foreign:
            raise OtherNetwork(f"{endpoint} is a node of another network")
        if heard is None:
            self.statistics["unanswered"] += 1
            raise Unanswered(f"{endpoint} does not answer")
        took_s = self._runtime.clock.monotonic() - asked_at_s
        # After a second try it is too long rather than too short: an answer to the first would count from there. That is
        # the safe side, where Karn's rule would measure nothing and keep on asking twice.
        self._measure(min(took_s, RPC_TIMEOUT_S))
        return heard

    def _try(self, opened: _OpenRequest) -> None:
        """Send it, again whenever one of its waits has passed without an answer."""
        if opened.waits_s:
            assert self._alarms is not None
            self._alarms.set(opened, opened.waits_s.pop())
            opened.send()
        else:
            opened.give_up()

    def _timeouts_s(self, tries: int) -> list[float]:
        """How long each try waits: from what answers take here, doubled with each try."""
        measured_s = self.round_trip_s if self.round_trip_s is not None else RPC_TIMEOUT_S
        first_s = min(RPC_TIMEOUT_S, max(RPC_TIMEOUT_MIN_S, RPC_TIMEOUT_ROUND_TRIPS * measured_s))
        return [min(RPC_TIMEOUT_S, first_s * 2**number) for number in range(tries)]

    def _measure(self, took_s: float) -> None:
        before_s = took_s if self.round_trip_s is None else self.round_trip_s
        self._deviation_s += ROUND_TRIP_DEVIATION_GAIN * (abs(took_s - before_s) - self._deviation_s)
        self.round_trip_s = before_s + ROUND_TRIP_GAIN * (took_s - before_s)

    def slow_after_s(self) -> float:
        """After this long an answer takes longer than about 95 of 100 do."""
        measured_s = self.round_trip_s if self.round_trip_s is not None else RPC_TIMEOUT_S
        return min(RPC_TIMEOUT_S, max(LOOKUP_SLOW_MIN_S, measured_s + SLOW_DEVIATIONS * self._deviation_s))

    def patience_s(self) -> float:
        """From being slow until an answer to the second try would be slow as well."""
        return self._timeouts_s(1)[0]

    async def _call(self, contact: Contact, request: wire.Request, expects: type[A], *, tries: int | None = None) -> A:
        """`ask` a contact for one kind of answer, and keep the table right."""
        answer = await self._question(contact, request, expects, tries=tries)
        assert isinstance(answer, expects)
        return answer

    async def _question(
        self,
        contact: Contact,
        request: wire.Request,
        expects: type[A],
        *,
        tries: int | None = None,
        casual: bool = False,
    ) -> A | wire.Nodes:
        """The same where `Nodes` may come instead. `casual`: a single lost datagram is not held against it."""
        try:
            answer = await self.ask(contact, request, expects, tries=tries or self.silence.tries(contact))
        except NetworkTrouble as trouble:
            if not casual and not isinstance(trouble, Declined):
                self._miss(contact)
            raise
        self._meet(contact)
        assert isinstance(answer, expects | wire.Nodes)
        return answer

    async def call_ping(self, contact: Contact, *, tries: int | None = None) -> None:
        """Raises `NetworkTrouble` when it is not there."""
        await self._call(contact, wire.Ping(), wire.Pong, tries=tries)

    async def call_find_node(self, contact: Contact, target: bytes) -> list[Contact]:
        """The contacts it knows nearest to `target`."""
        answer = await self._call(contact, wire.FindNode(target), wire.Nodes)
        return answer.contacts(self._bits)

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
        request = wire.Store(key, raw, remaining_ms, depth, lives)
        answer = await self._call(contact, request, wire.Stored, tries=tries)
        return Kept(answer.verdict, answer.reason, answer.sequence), Standing(answer.split, answer.edge)

    async def call_touch(self, contact: Contact, key: RecordKey, entry_id: bytes, gist: bytes) -> tuple[Kept, Standing]:
        """Whether it has kept an entry alive that we stored there."""
        answer = await self._call(contact, wire.Touch(key, entry_id, gist), wire.Stored)
        return Kept(answer.verdict, answer.reason, answer.sequence), Standing(answer.split, answer.edge)

    async def call_find_claims(self, contact: Contact, key: RecordKey, *, quick: bool = False) -> ClaimsFound:
        """The claims it holds, in its order. `quick`: one try, and no blame."""
        tries = 1 if quick else None
        held: list[bytes] = []
        while True:
            request = wire.FindClaims(key, len(held))
            answer = await self._question(contact, request, wire.Claims, tries=tries, casual=quick)
            if isinstance(answer, wire.Nodes):
                return ClaimsFound(held, answer.contacts(self._bits))
            if answer.pending:
                return ClaimsFound(None)
            held += answer.records
            if not answer.records or len(held) >= answer.total:
                return ClaimsFound(held)

    async def call_find_entries(
        self, contact: Contact, key: RecordKey, kind: str, *, after: bytes = b"", quick: bool = False
    ) -> EntriesFound:
        """One page of the entries it holds, behind the one named `after`. `quick`: one try, and no blame."""
        request = wire.FindEntries(key, kind, after)
        answer = await self._question(contact, request, wire.Entries, tries=1 if quick else None, casual=quick)
        if isinstance(answer, wire.Nodes):
            return EntriesFound([], () if after else answer.contacts(self._bits))
        following = answer.following if answer.following > after else b""  # else it would lead us in circles
        return EntriesFound(answer.entries, (), answer.split, answer.below, following, answer.gist)

    async def call_find_other_entries(
        self, contact: Contact, key: RecordKey, kind: str, first: EntriesFound, *, pages: int = SET_PAGES_MAX
    ) -> list[wire.Entry]:
        """All it holds, given its first page: page by page, as many as an honest replica can have."""
        held, after = list(first.held), first.following
        for _ in range(pages - 1):
            if not after or len(held) >= SET_ENTRIES_MAX:
                break
            page = await self.call_find_entries(contact, key, kind, after=after)
            held += page.held
            after = page.following
        return held[:SET_ENTRIES_MAX]

    async def call_list_entries(self, contact: Contact, key: RecordKey) -> dict[bytes, int]:
        """The ids of all entries it holds of a set, with their sequence numbers; as many as an honest replica can have."""
        held: dict[bytes, int] = {}
        after = b""
        for _ in range(LIST_PAGES_MAX):
            answer = await self._call(contact, wire.ListEntries(key, after), wire.Listed)
            held |= {listed.entry: listed.sequence for listed in answer.entries}
            if answer.following <= after or len(held) >= SET_ENTRIES_MAX:
                break
            after = answer.following
        return held

    async def call_entry(self, contact: Contact, key: RecordKey, kind: str, entry_id: bytes) -> bytes | None:
        """One entry of a set, unverified; None when it has not got it."""
        before = max(0, int.from_bytes(entry_id, "big") - 1).to_bytes(len(entry_id), "big")
        answer = await self._question(contact, wire.FindEntries(key, kind, before), wire.Entries)
        entries = answer.entries if isinstance(answer, wire.Entries) else []
        return entries[0].record if entries else None

    async def call_hello(
        self, endpoint: Endpoint, *, pinned: bytes | None = None, tries: int = RPC_TRIES
    ) -> HelloAnswer:
        """Have whoever is at an address prove its node key. Raises `NetworkTrouble` when it is silent or of another
        network, `ProofRefused` when the proof does not hold or the key is not the one pinned."""
        address = self._address_of(endpoint)

        def send(message_id: bytes) -> None:
            self._send(wire.encode_hello(wire.Hello(self._own_key, self._tag, message_id)), address)

        self._greeted[endpoint] += 1
        try:
            heard = await self._wait(endpoint, None, wire.Greeting, send, tries)
        finally:
            self._greeted[endpoint] -= 1
            if not self._greeted[endpoint]:
                del self._greeted[endpoint]
        if isinstance(heard.answer, wire.Refused):
            raise Declined(f"{endpoint} is too busy")
        assert isinstance(heard.answer, wire.Greeting)
        if puzzle_bits(heard.key) < self._bits:
            raise ProofRefused(f"the key of {endpoint} does not solve this network's puzzle")
        if pinned is not None and heard.key != pinned:
            raise ProofRefused(f"{endpoint} has another node key than the one it was named with")
        self._meet(contact_at(heard.key, endpoint))
        return HelloAnswer(node_id_of(heard.key), heard.key, unpack_endpoint(heard.answer.observed))

    # --- answering ----------------------------------------------------------------------------------------------------

    def _greet(self, hello: wire.Hello, sender: Endpoint, addr: SocketAddress) -> None:
        if hello.network != self._tag:
            self.statistics["request-other-network"] += 1
            self._send(wire.encode_foreign(hello.message_id), addr)
            return
        if not self._sealer.knows(hello.key) and not self._strangers.take(self._runtime.clock.monotonic()):
            self.statistics["strangers-refused"] += 1
            return
        self.statistics["request-Hello"] += 1
        try:
            observed = pack_endpoint(sender)
        except ValueError:  # a link-local address with its zone
            self.statistics["asker-without-address"] += 1
            return
        self._send_answer(Asked(hello.message_id, hello.key, sender, addr, None), wire.Greeting(observed))

    def _serve(self, asked: Asked, request: wire.Request) -> int:
        """All answers are at hand but one: a store may have to wait until this node has cast its vote. Returns how many
        bytes were sent."""
        self.statistics[f"request-{type(request).__name__}"] += 1
        answer: wire.Answer | None
        match request:
            case wire.Ping():
                answer = self.rpc_ping()
            case wire.FindNode(target=target):
                answer = self.rpc_find_node(target, asked)
            case wire.FindClaims(key=key, start=start):
                answer = self.rpc_find_claims(RecordKey(key), start) or self.rpc_find_node(key, asked)
            case wire.FindEntries(key=key, kind=kind, after=after):
                answer = self.rpc_find_entries(RecordKey(key), kind, after) or self.rpc_find_node(key, asked)
            case wire.Store():
                answer = self.rpc_store(request, asked)
            case wire.Touch():
                answer = self.rpc_touch(request, asked)
            case wire.ListEntries(key=key, after=after):
                answer = self.rpc_list_entries(RecordKey(key), after)
            case _:
                raise AssertionError(f"nobody answers {type(request).__name__}")
        return 0 if answer is None else self._send_answer(asked, answer)

    def rpc_ping(self) -> wire.Answer:
        return wire.Pong()

    def rpc_find_node(self, target: bytes, asked: Asked) -> wire.Answer:
        near = self.router.nearest(target, self.ksize, exclude=node_id_of(asked.asker))
        of_ipv6 = ":" in asked.sender.host
        usable = [c for c in near if (":" in c.endpoint.host) == of_ipv6 and "%" not in c.endpoint.host]
        return wire.Nodes([pack_contact(contact) for contact in usable[:FIND_REPLY_CONTACTS_MAX]])

    def rpc_find_claims(self, key: RecordKey, start: int) -> wire.Answer | None:
        """None when there is nothing."""
        assert self.replica is not None
        held = self.replica.claims(key)
        if held is None:
            return wire.Claims(True, 0, [])
        if not held and not start:
            return None
        page: list[bytes] = []
        room = PAGE_BYTES_MAX
        for record in held[start:]:
            room -= wire.encoded_size(record.raw)
            if room < 0:
                break
            page.append(record.raw)
        return wire.Claims(False, len(held), page)

    def rpc_find_entries(self, key: RecordKey, kind: str, after: bytes) -> wire.Answer | None:
        """None when there is nothing, from the beginning on, and the node has not split."""
        assert self.replica is not None
        page: list[wire.Entry] = []
        below = self.replica.below(key)
        split, named = below is not None, () if below is None or after else below
        room = (
            PAGE_BYTES_MAX - (wire.encoded_size(named) if named else 0) - (0 if after else wire.encoded_size(_NO_GIST))
        )
        last = b""
        held = self.replica.entries(key, kind, after)
        for entry in held:
            packed = wire.Entry(entry.record.raw, int(entry.remaining_s * wire.MS_PER_S))
            room -= wire.encoded_size(packed)
            if room < 0:
                gist = (
                    b"" if after else wire.gist_of(each.record.digest for each in self.replica.entries(key, kind, b""))
                )
                return wire.Entries(page, last or _BEHIND_BELOW, split, named, gist)
            page.append(packed)
            last = entry.record.body.entry_id(entry.record.key)
        return wire.Entries(page, b"", split, named) if page or after or split else None

    def rpc_list_entries(self, key: RecordKey, after: bytes) -> wire.Answer:
        assert self.replica is not None
        page: list[wire.ListedEntry] = []
        room = PAGE_BYTES_MAX
        for entry_id, sequence in self.replica.index(key, after):
            entry = wire.ListedEntry(entry_id, sequence)
            room -= wire.encoded_size(entry)
            if room < 0:
                return wire.Listed(page, page[-1].entry)
            page.append(entry)
        return wire.Listed(page, b"")

    def rpc_store(self, request: wire.Store, asked: Asked) -> wire.Answer | None:
        """The answer; None when it comes later, or when this is a repetition of a request that is being served."""
        assert self.replica is not None
        if asked.unproved_bytes is not None:
            return wire.Refused(wire.Refusal.UNPROVED)
        serving = asked.asker, asked.message_id
        if serving in self._serving:
            self.statistics["request-repeated"] += 1
            return None
        remaining_s = None if request.remaining_ms is None else request.remaining_ms / wire.MS_PER_S
        kept = None
        if len(self._serving) < REQUESTS_SERVED_MAX:
            kept = self.replica.offer(
                RecordKey(request.key),
                request.record,
                remaining_s,
                depth=request.depth,
                lives=request.lives,
                giver=asked.asker,
                network=network_of(asked.sender, self.router.limited),
            )
        if kept is None:
            self.statistics["busy"] += 1
            return wire.Refused(wire.Refusal.BUSY)
        if isinstance(kept, Kept):
            return wire.Stored(*kept, *self.replica.standing(RecordKey(request.key), request.record))
        self._serving[serving] = None
        kept.add_done_callback(lambda done: self._answer_store(asked, done))
        return None

    def rpc_touch(self, request: wire.Touch, asked: Asked) -> wire.Answer:
        assert self.replica is not None
        if asked.unproved_bytes is not None:
            return wire.Refused(wire.Refusal.UNPROVED)
        kept, standing = self.replica.touch(RecordKey(request.key), request.entry, request.gist, asked.asker)
        return wire.Stored(*kept, *standing)

    def _answer_store(self, asked: Asked, done: "asyncio.Future[Kept]") -> None:
        self._serving.pop((asked.asker, asked.message_id), None)
        if not done.cancelled():
            self._send_answer(asked, wire.Stored(*done.result()))

    # --- whom we know -------------------------------------------------------------------------------------------------

    def sift(self, named: list[Contact]) -> tuple[list[Contact], list[Contact]]:
        """Whom a lookup should ask of those it has heard of, and whom not."""
        return self.silence.sift(named, self._runtime.clock.monotonic())

    def _notice(self, asker: Contact, spare_bytes: int | None) -> None:
        """A request: who is not in the table may enter, but only after it has answered us from its address. `spare_bytes`:
        what may still be sent there, None when it has shown a token."""
        if asker.node_id == self.own_id:
            return
        if self.router.find(asker.node_id) == asker:
            if spare_bytes is None:
                self.router.heard(asker)
            return
        if asker.endpoint in self._admitting or not is_callable(asker.endpoint) or not self.router.has_use_for(asker):
            return
        if puzzle_bits(asker.key) < self._bits:
            self.statistics["puzzle-unsolved"] += 1
            return
        tries = self.silence.tries(asker)
        if spare_bytes is not None:
            tries = min(tries, spare_bytes // PING_BYTES)
        if tries > 0 and self._admissions.take(self._runtime.clock.monotonic()):
            self._admit(asker, tries=tries)
        else:
            self.statistics["admission-postponed"] += 1

    def _admit(self, contact: Contact, *, tries: int | None = None) -> None:
        """Ask it in the background."""
        if contact.endpoint in self._admitting or len(self._admitting) >= ADMISSIONS_OPEN_MAX:
            self.statistics["admission-postponed"] += 1
            return
        self._admitting.add(contact.endpoint)
        self._spawn(self._admit_now(contact, tries))

    async def _admit_now(self, contact: Contact, tries: int | None) -> None:
        try:
            await self.call_ping(contact, tries=tries)
        except NetworkTrouble:
            self.statistics["admission-failed"] += 1
        finally:
            self._admitting.discard(contact.endpoint)

    def _meet(self, contact: Contact) -> None:
        """It has just answered, under its key and from its address."""
        self.silence.answered(contact)
        if contact.node_id == self.own_id:
            return
        known = self.router.find(contact.node_id)
        if known == contact:
            self.router.heard(contact)
            return
        if known is not None:
            self._follow(known, contact)
            return
        for tenant in self.router.tenants(contact.endpoint):
            self._leave(tenant)
        if self.router.enter(contact):
            self.on_entered(contact)
        elif self.router.has_use_for(contact):
            # A full bucket keeps those who live (the paper's §2.2); one who is dead makes way, see `_miss`.
            self._admit(self.router.eldest_beside(contact))

    def _follow(self, known: Contact, moved: Contact) -> None:
        """It answered from another address than the one we know. Nobody else has its key, but somebody in between can hand
        datagrams on, both ways: so the old address stays for as long as it answers."""
        if known.endpoint in self._admitting or len(self._admitting) >= ADMISSIONS_OPEN_MAX:
            self.statistics["admission-postponed"] += 1
            return
        self._admitting.add(known.endpoint)
        self._spawn(self._follow_now(known, moved))

    async def _follow_now(self, known: Contact, moved: Contact) -> None:
        try:
            await self.call_ping(known)
        except Declined:
            self.statistics["admission-failed"] += 1
        except NetworkTrouble:
            self._meet(moved)
        finally:
            self._admitting.discard(known.endpoint)

    def say_goodbye(self) -> None:
        """Answer nobody from now on and tell the contacts, so that their lookups need not find out by waiting."""
        self._leaving = True
        if self.client:
            return
        message_id = self._runtime.random.randbytes(DATAGRAM_ID_BYTES)
        for contact in self.router.contacts():
            self._send_request(message_id, wire.Leaving(), contact)

    def _on_leaving(self, contact: Contact) -> None:
        """It may be an old datagram that somebody kept: one ping, and who answers it stays."""
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
