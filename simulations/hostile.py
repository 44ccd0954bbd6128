"""Hostile DHT nodes: they answer every question, and lie.

Each is the node that people run (`DhtNode`) with a key of its own, so that it joins, is taken into tables and speaks the wire
format as everybody does; only what it answers is made up (`LyingProtocol`). They work together: a `Conspiracy` knows all its
members, and they agree on whom to name, whom to deny and which thief to vote for.
"""

import asyncio
import contextlib
import random
from collections.abc import Container
from heapq import nsmallest

from dhtchat.app.node import ChatNode
from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht import wire
from dhtchat.dht.contact import Contact, contact_at, pack_contact
from dhtchat.dht.node import DhtNode
from dhtchat.dht.protocol import Asked, DhtProtocol
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import KEY_BYTES, Endpoint, RecordKey, distance, node_id_of
from dhtchat.limits import CLAIMS_PER_NAME_MAX, FIND_REPLY_CONTACTS_MAX, NODE_ID_BYTES
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Have, Lines, PeerMessage, Tell
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.message import Message, Say, open_statement, sign_statement

from .world import DHT_PORT, Host, Person, World

GROUND_KEYS_TRIED = 1_024
"""Key pairs a Sybil makes to come near its target, and keeps the best of: about 10 matching bits, where the nearest honest
node of 600 has 9. With an id puzzle of 8 bits (`main`) that is 2^18 keys each, some 10 s of one core."""
PHANTOM_BITS = 10
PHANTOMS_NAMED = 10
PHANTOM_LISTS = 8
"""Made-up contacts in an answer, how many bits of the target their ids match, and how many different lists of them there
are for each target: ground on the way, 8 * 10 * 2^10 hashes. (The puzzle of `main` makes that 256 times as many.)"""


class Conspiracy:
    """Hostile nodes that know each other. `target`: the key they try to hide, or None to spread over all ids."""

    def __init__(self, world: World, target: bytes | None = None) -> None:
        self._world = world
        self._target = target
        self.members: list[Contact] = []
        self.questions = 0
        """Answered with a lie."""
        self.thefts: dict[bytes, list[bytes]] = {}
        """By key, the records they vote for in the place of the true ones."""
        self._processes: list[asyncio.Task[None]] = []
        self._phantoms: dict[tuple[bytes, int], list[bytes]] = {}

    async def add(self, count: int, *, networks: int = 0) -> None:
        """One after the other. `networks`: they share so many /24s, as the hosts that one attacker rents do; 0 gives each a
        network of its own."""
        firsts: list[Host] = []
        for number in range(count):
            name = f"hostile-{len(self.members)}"
            beside = firsts[number % networks] if networks and len(firsts) == networks else None
            host = self._world.new_host(name, beside=beside)
            firsts += [] if beside else [host]
            key = self._grind(random.Random(f"{self._world.seed}/{name}"))
            ready: asyncio.Future[Contact] = self._world.loop.create_future()
            self._processes.append(self._world.spawn(self._live(host, key, ready), name))
            self.members.append(await ready)
        await asyncio.sleep(1.0)

    def silence(self) -> None:
        """All of them are gone."""
        for process in self._processes:
            process.cancel()

    async def _live(self, host: Host, key: NodeKey, ready: "asyncio.Future[Contact]") -> None:
        runtime, parameters = host.boot(), self._world.parameters
        storage = RecordStorage(path=None, parameters=parameters, clock=runtime.clock)
        try:
            async with LyingNode(runtime=runtime, parameters=parameters, node_key=key, storage=storage) as node:
                node.join(self, len(self.members))
                await node.listen(Endpoint(host.address, DHT_PORT))
                with contextlib.suppress(NetworkTrouble):
                    await node.bootstrap(self._world.bootstrap_addresses)
                ready.set_result(contact_at(node.node_key, node.address))
                await asyncio.Event().wait()
        finally:
            storage.close()

    def _grind(self, source: random.Random) -> NodeKey:
        """A key of which the node id is near the target, as near as GROUND_KEYS_TRIED tries bring it."""
        if self._target is None:
            return NodeKey.generate(source)
        target = self._target
        keys = (NodeKey.generate(source) for _ in range(GROUND_KEYS_TRIED))
        return min(keys, key=lambda key: distance(node_id_of(key.public), target))

    def named(self, target: bytes, liar: int) -> list[bytes]:
        """Whom a liar names: every other one only conspirators, the rest half of them and before those phantoms."""
        self.questions += 1
        near = nsmallest(FIND_REPLY_CONTACTS_MAX, self.members, key=lambda contact: distance(contact.node_id, target))
        members = [pack_contact(contact) for contact in near]
        if liar % 2:
            return members
        return (self._phantoms_near(target, liar % PHANTOM_LISTS) + members)[:FIND_REPLY_CONTACTS_MAX]

    def _phantoms_near(self, target: bytes, number: int) -> list[bytes]:
        """Contacts that nobody is behind: half of them at addresses where nothing is, to eat time-outs, the others at those
        of honest nodes, which are somebody else."""
        if (target, number) not in self._phantoms:
            source = random.Random(f"{self._world.seed}/{target.hex()}/{number}")
            honest = self._world.addresses()
            self._phantoms[target, number] = [
                pack_contact(
                    contact_at(
                        self._phantom_key(target, source),
                        Endpoint(f"254.{source.randrange(256)}.{source.randrange(256)}.1", DHT_PORT)
                        if each % 2
                        else Endpoint(source.choice(honest), DHT_PORT),
                    )
                )
                for each in range(PHANTOMS_NAMED)
            ]
        return self._phantoms[target, number]

    def _phantom_key(self, target: bytes, source: random.Random) -> bytes:
        """A key that nobody owns: any 32 bytes are one."""
        while True:
            key = source.randbytes(KEY_BYTES)
            if distance(node_id_of(key), target) >> _PHANTOM_ID_BITS == 0:
                return key


_PHANTOM_ID_BITS = 8 * NODE_ID_BYTES - PHANTOM_BITS


class LyingProtocol(DhtProtocol):
    """Names its own kind and phantoms, says "stored" and keeps nothing but the oldest version of a set's first entry, which
    it serves for ever; of a name it denies all knowledge, or votes for a thief."""

    conspiracy: Conspiracy
    number = 0

    def rpc_find_node(self, target: bytes, asked: Asked) -> wire.Answer:
        return wire.Nodes(self.conspiracy.named(target, self.number))

    def rpc_find_claims(self, key: RecordKey, start: int) -> wire.Answer:
        self.conspiracy.questions += 1
        stolen = self.conspiracy.thefts.get(key, [])[start:CLAIMS_PER_NAME_MAX]
        return wire.Claims(False, len(stolen), stolen[:1])

    def rpc_find_entries(self, key: RecordKey, kind: str, after: bytes) -> wire.Answer:
        """What it heard first, for ever: the oldest version there is."""
        self.conspiracy.questions += 1
        oldest = [wire.Entry(self._oldest[key], _LONG_MS)] if key in self._oldest else []
        return wire.Entries(oldest, b"")

    def rpc_store(self, request: wire.Store, asked: Asked) -> wire.Answer | None:
        self.conspiracy.questions += 1
        self._oldest.setdefault(request.key, request.record)
        return wire.Stored(Verdict.NEW, Reason.NONE, 1)

    _oldest: dict[bytes, bytes]


_LONG_MS = 1_000_000


class LyingNode(DhtNode):
    """One hostile node."""

    protocol_class = LyingProtocol

    def join(self, conspiracy: Conspiracy, number: int) -> None:
        """Before it listens."""
        assert isinstance(self._protocol, LyingProtocol)
        self._protocol.conspiracy = conspiracy
        self._protocol.number = number
        self._protocol._oldest = {}


class HoardingProtocol(DhtProtocol):
    """An honest replica that keeps every store request for ever."""

    kept: list[wire.Store]

    def rpc_store(self, request: wire.Store, asked: Asked) -> wire.Answer | None:
        self.kept.append(request)
        return super().rpc_store(request, asked)


class HoardingNode(DhtNode):
    protocol_class = HoardingProtocol


class Replayer:
    """Sends old things again: records, which it was given as a replica, to everybody it knows; and whole datagrams, which
    it overheard, to whom they went."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._host = world.new_host("replayer")
        self._overheard: list[tuple[Endpoint, bytes]] = []

    async def run(self, *, every_s: float) -> None:
        """Until cancelled."""
        fabric, rng = self._world.fabric, self._world.rng
        runtime, parameters = self._host.boot(), self._world.parameters
        storage = RecordStorage(path=None, parameters=parameters, clock=runtime.clock)
        key = NodeKey.generate(runtime.random, parameters.id_puzzle_bits)
        fabric.taps.append(self._overhear)
        try:
            async with HoardingNode(runtime=runtime, parameters=parameters, node_key=key, storage=storage) as node:
                protocol = node._protocol
                assert isinstance(protocol, HoardingProtocol)
                protocol.kept = []
                await node.listen(Endpoint(self._host.address, DHT_PORT))
                with contextlib.suppress(NetworkTrouble):
                    await node.bootstrap(self._world.bootstrap_addresses)
                while True:
                    await asyncio.sleep(every_s)
                    if self._overheard and protocol.transport is not None:
                        target, datagram = rng.choice(self._overheard)
                        protocol.transport.sendto(datagram, target)
                    if protocol.kept and node.contacts():
                        old = rng.choice(protocol.kept)
                        with contextlib.suppress(NetworkTrouble):
                            await protocol.call_store(
                                rng.choice(node.contacts()), RecordKey(old.key), old.record, tries=1
                            )
        finally:
            fabric.taps.remove(self._overhear)
            storage.close()

    def _overhear(self, source: Endpoint, target: Endpoint, data: bytes) -> None:
        if source.host != self._host.address and len(self._overheard) < _OVERHEARD_MAX:
            self._overheard.append((target, data))


_OVERHEARD_MAX = 10_000


class Intruder:
    """A person whose program has been changed: it talks into a room that they never entered, and asks for its lines.

    What it says must be shown to nobody (the checkers know that nobody typed it), and it must be told nothing.
    """

    def __init__(self, world: World, person: Person, room: str, *, others: Container[str] = ()) -> None:
        """`others`: the accounts of more of the kind, who may say what they like to each other."""
        self._world = world
        self._person = person
        self._room = room
        self._others = others
        self._counter = 0
        self._previous = b""

    async def run(self, *, every_s: float) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            members = [m for m in self._world.people.values() if m.node is not None and m.node.is_online]
            rooms = (m.node.inspection.room_conversations() for m in members if m.node is not None)
            conversation = next((found[self._room] for found in rooms if self._room in found), None)
            node = self._person.node
            if node is not None and node.is_online and conversation is not None:
                self._listen(node, conversation)
                for member in members:
                    if member.node is not None and member.account != self._person.account:
                        self._reach(node, member.node)
                self._intrude(node, conversation)

    def _reach(self, node: ChatNode, member: ChatNode) -> None:
        """Be linked to them, whether the program wants it or not."""
        who = member._core.me.who
        node._pool.want(who.device, who.peer, [member.address])

    def _intrude(self, node: ChatNode, conversation: bytes) -> None:
        me = node._core.me
        self._counter += 1
        message = Message(
            certificate=me.certificate,
            direct=False,
            target=conversation,
            recipient="",
            counter=self._counter,
            previous=self._previous,
            parents=[],
            sent_at_ms=node._core.wall_ms(),
            content=Say(f"line {self._counter} of an intruder", action=False),
        )
        statement = sign_statement(message, me.device_key, me.author, self._world.parameters.network_id)
        self._previous = statement.id
        for link in node._pool.links():
            link.send_soon(Tell(statement.raw))
            link.send_soon(Have(conversation, [], answer=True))

    def _listen(self, node: ChatNode, conversation: bytes) -> None:
        """See what comes in before the program, which would ignore it, does."""
        honest = type(node).received

        async def received(link: Link, message: PeerMessage) -> None:
            what = type(message).__name__
            if link.author.name in self._others:
                pass
            elif isinstance(message, Lines | Have) and message.conversation == conversation:
                self._leak(f"{link.author.name} sent {what} of it")
            elif isinstance(message, Tell):
                statement = open_statement(message.statement, self._world.parameters.network_id)
                if statement.conversation == conversation:
                    self._leak(f"{link.author.name} told a line of it")
            await honest(node, link, message)

        node.received = received  # type: ignore[method-assign]

    def _leak(self, what: str) -> None:
        self._world.recorder.violations.append(
            f"members-only: {self._person.name} was never in {self._room}, and {what}"
        )
