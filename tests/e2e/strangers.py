"""Rubbish on its way to a node's open ports: random, mutated from real messages, and real but at the wrong time."""

import asyncio
import contextlib
import random
import ssl
from typing import Self

from dhtchat.crypto.datagram import NodeKey, Sealer
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht import wire
from dhtchat.errors import MalformedMessage
from dhtchat.ids import KEY_BYTES, Endpoint
from dhtchat.limits import (
    BOOT_ID_BYTES,
    DATAGRAM_ID_BYTES,
    NETWORK_TAG_BYTES,
    NODE_ID_BYTES,
    SEALED_HEADER_BYTES,
    UDP_PAYLOAD_BYTES_MAX,
)
from dhtchat.parameters import NetworkParameters
from dhtchat.records.account import create_account
from dhtchat.records.envelope import sign_body
from dhtchat.records.presence import Address, Presence

_PONG_TIMEOUT_S = 0.5
_PONG_TRIES = 40
_BATCH = 50
"""Datagrams between two pings: the socket's buffer of the kernel must hold them."""


class DatagramFlood(asyncio.DatagramProtocol):
    """Sends rubbish to one node as fast as it is taken: in between it pings, and nothing is lost in a full buffer."""

    def __init__(self, target: Endpoint, parameters: NetworkParameters, source: random.Random) -> None:
        self._target = target
        self._source = source
        self._tag = parameters.network_id[:NETWORK_TAG_BYTES]
        self._key = NodeKey.generate(source)
        self._sealer = Sealer(self._key, source.randbytes(BOOT_ID_BYTES), parameters.network_id)
        self._receiver = b""
        """The target's key, once it has greeted us."""
        self._samples = self._messages(parameters)
        self._answered: set[bytes] = set()
        self._heard = asyncio.Event()
        self._transport: asyncio.DatagramTransport

    async def __aenter__(self) -> Self:
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, remote_addr=self._target
        )
        await self._is_answered()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    async def send(self, count: int) -> None:
        """Returns when the node has had all of them and still answers a ping."""
        for number in range(count):
            self._transport.sendto(self._rubbish())
            if number % _BATCH == _BATCH - 1:
                await self._is_answered()
        await self._is_answered()

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            opened = self._sealer.open(data)
        except MalformedMessage:
            return  # for a key that one of our hellos made up
        if opened is not None and opened.kind == wire.Kind.ANSWER:
            self._receiver = opened.sender
            self._answered.add(opened.plaintext[:DATAGRAM_ID_BYTES])
            self._heard.set()

    def error_received(self, exc: OSError) -> None:
        """A node that is gone shows by its silence."""

    async def _is_answered(self) -> None:
        message_id = self._source.randbytes(DATAGRAM_ID_BYTES)
        for _ in range(_PONG_TRIES):
            if self._receiver:
                self._transport.sendto(self._sealed(wire.Kind.CLIENT_REQUEST, message_id, wire.Ping()))
            else:
                self._transport.sendto(wire.encode_hello(wire.Hello(self._key.public, self._tag, message_id)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PONG_TIMEOUT_S):
                    while message_id not in self._answered:
                        self._heard.clear()
                        await self._heard.wait()
            if message_id in self._answered:
                self._answered.clear()
                return
        raise AssertionError(f"{self._target} no longer answers")

    def _sealed(self, kind: wire.Kind, message_id: bytes, message: wire.Message) -> bytes:
        return self._sealer.seal(self._receiver, kind, wire.encode(message_id, wire.NO_TOKEN, message))

    def _messages(self, parameters: NetworkParameters) -> list[wire.Message]:
        """One of each kind, well-formed and of this network."""
        source = self._source
        key = source.randbytes(NODE_ID_BYTES)
        account, identity = create_account("stranger", "a password", parameters=parameters, source=source, now_s=0)
        body = Presence("stranger", bytes(32), [Address("192.0.2.7", 9)], "", 0, 1, 0, parameters.presence_ttl_s, False)
        presence = sign_body(body, SigningKey.generate(source), parameters.network_id)
        return [
            wire.Ping(),
            wire.Leaving(),
            wire.FindNode(key),
            wire.FindClaims(key, 0),
            wire.FindEntries(key, "presence", b""),
            wire.Store(account.body.place(identity.public), account.raw, None),
            wire.Store(presence.body.place(presence.key), presence.raw, 1_000),
            wire.Pong(),
            wire.Nodes([source.randbytes(KEY_BYTES + 6) for _ in range(20)]),
            wire.Claims(False, 1, [account.raw]),
            wire.Entries([wire.Entry(presence.raw, 1_000)], b""),
        ]

    def _rubbish(self) -> bytes:
        source = self._source
        if source.random() < 0.3:
            return source.randbytes(source.randint(0, UDP_PAYLOAD_BYTES_MAX))
        message_id, message = source.randbytes(DATAGRAM_ID_BYTES), source.choice(self._samples)
        match source.randrange(4):
            case 0:  # altered on its way
                return mutated(self._sealed(source.choice([*wire.Kind]), message_id, message), source)
            case 1:  # well sealed, and nonsense
                plaintext = mutated(wire.encode(message_id, wire.NO_TOKEN, message), source)
                return self._sealer.seal(self._receiver, source.choice([*wire.Kind]), plaintext[:_PLAINTEXT_MAX])
            case 2:
                return wire.encode_hello(wire.Hello(source.randbytes(KEY_BYTES), self._tag, message_id))
            case _:
                return self._sealed(wire.Kind.CLIENT_REQUEST, message_id, message)


_PLAINTEXT_MAX = UDP_PAYLOAD_BYTES_MAX - SEALED_HEADER_BYTES


def mutated(data: bytes, source: random.Random) -> bytes:
    """Bytes changed, cut out, repeated or put in, in up to four places; now and then none."""
    changed = bytearray(data)
    for _ in range(source.randint(0, 4)):
        at = source.randrange(len(changed) or 1)
        length = source.randint(1, 8)
        match source.randrange(4):
            case 0:
                changed[at : at + 1] = source.randbytes(1)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case _:
                changed[at:at] = source.randbytes(length)
    return bytes(changed[:UDP_PAYLOAD_BYTES_MAX])


def _client_hello() -> bytes:
    """The first bytes of a real TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    channel = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="example.org")
    with contextlib.suppress(ssl.SSLWantReadError):
        channel.do_handshake()
    return outgoing.read()


_CLIENT_HELLO = _client_hello()


async def connect_with_garbage(target: Endpoint, source: random.Random) -> None:
    """One connection: it sends something, perhaps listens for a moment, and goes one way or another."""
    data = source.choice(
        [
            b"",
            b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
            _CLIENT_HELLO,
            _CLIENT_HELLO[: source.randrange(len(_CLIENT_HELLO))],
            mutated(_CLIENT_HELLO, source),
            source.randbytes(source.randint(1, 2_000)),
        ]
    )
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(*target)
        try:
            writer.write(data)
            match source.randrange(3):
                case 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(100), 0.02)
                case 1:
                    writer.write_eof()
                case _:
                    pass
        finally:
            writer.transport.abort()
            await writer.wait_closed()
