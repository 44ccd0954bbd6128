"""Hostile DHT nodes: they answer every question, and lie.

They speak the wire format correctly (`dhtchat/dht/wire.py`), own real node keys, and work together: each names only its
own kind, claims to have stored what it drops, and has never heard of anything.
"""

import asyncio
import random
from collections.abc import Container
from typing import Any

from dhtchat.app.node import ChatNode
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht import wire
from dhtchat.dht.contact import Contact, pack_contact, pack_endpoint
from dhtchat.errors import MalformedMessage
from dhtchat.ids import Endpoint, NodeId, distance, node_id_of
from dhtchat.limits import DATAGRAM_ID_BYTES
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Have, Lines, PeerMessage, Tell
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.message import Message, Say, open_statement, sign_statement

from .world import DHT_PORT, Person, World

GROUND_KEYS_TRIED = 4_096
"""Key pairs a Sybil tries to come near its target: 2^12 gives about 12 matching bits."""


class Conspiracy:
    """Hostile nodes that know each other. `target`: whom they try to hide, or None to spread over all ids."""

    def __init__(self, world: World, target: bytes | None = None) -> None:
        self._world = world
        self._target = target
        self.members: list[Contact] = []
        self.questions = 0
        self._liars: list[Liar] = []

    async def add(self, count: int, *, networks: int = 0) -> None:
        """`networks`: share this many hosts between them, as a Sybil attack does; 0 gives each a host of its own."""
        hosts = [self._world.new_host(f"hostile-{len(self.members)}-{number}") for number in range(networks or count)]
        for number in range(count):
            host = hosts[number % len(hosts)]
            key = self._grind(random.Random(f"{self._world.seed}/hostile/{len(self.members)}"))
            endpoint = Endpoint(host.address, DHT_PORT + number // len(hosts))
            liar = Liar(self, key, self._world)
            liar.connection_made(self._world.fabric.bind(endpoint, liar))
            self.members.append(Contact(liar.node_id, endpoint))
            self._liars.append(liar)
            for address in self._world.bootstrap_addresses:
                liar.knock(address.endpoint)
        await asyncio.sleep(1.0)

    def silence(self) -> None:
        """All of them are gone."""
        for liar in self._liars:
            liar.close()

    def _grind(self, source: random.Random) -> SigningKey:
        """A key of which the node id is near the target, as near as GROUND_KEYS_TRIED tries bring it.

        The ids are ground over public keys that nobody owns, which is cheaper and, since ids are not proved on entering a
        table yet, works as well.
        """
        if self._target is None:
            return SigningKey.generate(source)
        target = self._target
        candidates = (source.randbytes(32) for _ in range(GROUND_KEYS_TRIED))
        best = min(candidates, key=lambda public: distance(node_id_of(public), target))
        key = SigningKey.generate(source)
        key.public = best
        return key

    def nearest(self, target: bytes, count: int) -> list[bytes]:
        near = sorted(self.members, key=lambda contact: distance(contact.node_id, target))
        return [pack_contact(contact) for contact in near[:count]]


class Liar(asyncio.DatagramProtocol):
    """One hostile node."""

    def __init__(self, conspiracy: Conspiracy, key: SigningKey, world: World) -> None:
        self.node_id: NodeId = node_id_of(key.public)
        self._conspiracy = conspiracy
        self._key = key
        self._network_id = world.parameters.network_id
        self._rng = world.rng
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def knock(self, at: Endpoint) -> None:
        """Make ourselves known: whoever is asked pings back and takes us into its table."""
        request = wire.FindNode(self._network_id[:4], self.node_id, self.node_id)
        self._send(wire.encode(self._rng.randbytes(20), request), at)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        sender = Endpoint(str(addr[0]), int(addr[1]))
        try:
            frame = wire.decode(data, lambda message_id: None)
        except MalformedMessage:
            return
        answer = self._answer(frame.message, sender)
        if answer is not None:
            self._conspiracy.questions += 1
            self._send(wire.encode(frame.message_id, answer), sender)

    def _answer(self, question: wire.Message | None, sender: Endpoint) -> wire.Answer | None:
        match question:
            case wire.Ping():
                return wire.Pong(self.node_id)
            case wire.FindNode(target=target):
                return wire.Nodes(self.node_id, self._conspiracy.nearest(target, 20))
            case wire.FindClaims():
                return wire.Claims(self.node_id, False, 0, [])
            case wire.FindEntries():
                return wire.Entries(self.node_id, [], b"")
            case wire.Store():
                return wire.Stored(self.node_id, Verdict.NEW, Reason.NONE, 1)
            case wire.Hello(nonce=nonce):
                observed = pack_endpoint(sender)
                signature = self._key.sign("node-hello", self._network_id, nonce + observed)
                return wire.Proof(self.node_id, self._key.public, self._network_id, observed, signature)
        return None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _send(self, datagram: bytes, to: Endpoint) -> None:
        if self._transport is not None:
            self._transport.sendto(datagram, to)


class Replayer(asyncio.DatagramProtocol):
    """Keeps every store request that passes by and sends old ones again, under new message ids, to whom they went."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._address = world.new_host("replayer").address
        self._kept: list[tuple[Endpoint, wire.Store]] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def run(self, *, every_s: float) -> None:
        """Until cancelled."""
        fabric = self._world.fabric
        self.connection_made(fabric.bind(Endpoint(self._address, DHT_PORT), self))
        fabric.taps.append(self._overhear)
        try:
            while True:
                await asyncio.sleep(every_s)
                if self._kept:
                    target, request = self._world.rng.choice(self._kept)
                    assert self._transport is not None
                    self._transport.sendto(wire.encode(self._world.rng.randbytes(DATAGRAM_ID_BYTES), request), target)
        finally:
            fabric.taps.remove(self._overhear)
            if self._transport is not None:
                self._transport.close()

    def _overhear(self, source: Endpoint, target: Endpoint, data: bytes) -> None:
        if source.host == self._address:
            return
        try:
            message = wire.decode(data, lambda message_id: None).message
        except MalformedMessage:
            return
        if isinstance(message, wire.Store):
            self._kept.append((target, message))


class Intruder:
    """A person whose program has been changed: it talks into a room that they never entered, and asks for its lines.

    What it says must be shown to nobody (the checkers know that nobody typed it), and it must be told nothing.
    """

    def __init__(self, world: World, person: Person, room: str, *, others: Container[str] = ()) -> None:
        """`others`: the names of more of the kind, who may say what they like to each other."""
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
                    if member.node is not None and member is not self._person:
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
