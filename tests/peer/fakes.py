"""People, a handler that notes everything, and ways to misuse a connection."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.crypto.identity import SigningKey
from dhtchat.ids import DeviceId, Endpoint, PeerId
from dhtchat.limits import NONCE_BYTES
from dhtchat.parameters import SIM
from dhtchat.peer.framing import FrameCutter, frame
from dhtchat.peer.link_limits import LinkLimits
from dhtchat.peer.messages import Committed, PeerMessage, Ping, Pong, Tell, Welcome, decode, encode
from dhtchat.peer.pool import Link, LinkPool
from dhtchat.peer.session import ClientSession, ServerSession
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import sign_body
from dhtchat.runtime import Network, RealClock, RealNetwork, Runtime

LOOPBACK = Endpoint("127.0.0.1", 0)
PATIENCE_S = 40.0
"""How long a test waits for what should happen at once: only a failure, or a very busy machine, takes any of it."""
QUICK = LinkLimits(backoff_first_s=0.02, backoff_max_s=0.1, goodbye_timeout_s=1.0)
"""The real limits but for waits that a test would otherwise sit through."""


class Person:
    """An identity with one device of it, and whatever proves them."""

    def __init__(self, name: str, source: random.Random, *, identity: SigningKey | None = None) -> None:
        self.name = name
        self.identity = identity or SigningKey.generate(source)
        self.key = SigningKey.generate(source)
        self.certificate = certify(self.identity, self.key.public, name)

    @property
    def peer(self) -> PeerId:
        return PeerId(self.identity.public)

    @property
    def device(self) -> DeviceId:
        return DeviceId(self.key.public)

    def client(self, nonce: bytes, **more: Any) -> ClientSession:
        arguments: dict[str, Any] = {
            "network_id": SIM.network_id,
            "key": self.key,
            "certificate": self.certificate,
            "nonce": nonce,
        }
        return ClientSession(**(arguments | more))

    def server(self, nonce: bytes, tls_certificate: bytes, **more: Any) -> ServerSession:
        arguments: dict[str, Any] = {
            "network_id": SIM.network_id,
            "key": self.key,
            "certificate": self.certificate,
            "nonce": nonce,
            "tls_certificate": tls_certificate,
        }
        return ServerSession(**(arguments | more))


def certify(identity: SigningKey, device: bytes, name: str, network_id: bytes = SIM.network_id) -> bytes:
    return sign_body(DeviceCertificate(name, device, 0), identity, network_id).raw


def unframe(wire: bytes) -> bytes:
    """The one message in these bytes."""
    [message] = FrameCutter().feed(wire)
    return message


class Notebook:
    """A `LinkHandler` that writes everything down and checks what the pool promises of the order."""

    def __init__(self) -> None:
        self.heard: list[tuple[Link, PeerMessage]] = []
        self.ups: list[Link] = []
        self.downs: list[tuple[Link, str]] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        """Cleared: a handler that does not come back."""
        self.on_up: Callable[[Link], Coroutine[Any, Any, None]] | None = None
        self.on_received: Callable[[Link, PeerMessage], Coroutine[Any, Any, None]] | None = None

    async def link_up(self, link: Link) -> None:
        assert link not in self.ups
        up = [other for other in self.ups if other not in [down for down, _ in self.downs]]
        assert link.author.device not in [other.author.device for other in up], "two links of one pair"
        self.ups.append(link)
        if self.on_up is not None:
            await self.on_up(link)

    async def link_down(self, link: Link, reason: str) -> None:
        assert link in self.ups
        assert link not in [down for down, _ in self.downs]
        assert not link.alive
        self.downs.append((link, reason))

    async def received(self, link: Link, message: PeerMessage) -> None:
        assert link in self.ups
        assert link not in [down for down, _ in self.downs]
        await self.may_read.wait()
        self.heard.append((link, message))
        if self.on_received is not None:
            await self.on_received(link, message)

    def texts(self) -> list[bytes]:
        """What `tell` messages said, of all links."""
        return [message.statement for _, message in self.heard if isinstance(message, Tell)]

    def reasons(self) -> list[str]:
        return [reason for _, reason in self.downs]


def tell(text: str) -> Tell:
    return Tell(text.encode())


def committed(count: int) -> Committed:
    """A message of about 18 bytes an id."""
    return Committed([bytes(16)] * count)


class Party:
    """A person with a running pool."""

    def __init__(
        self,
        person: Person,
        source: random.Random,
        *,
        limits: LinkLimits = QUICK,
        network: Network | None = None,
        tls: TlsIdentity | None = None,
        **changed: Any,
    ) -> None:
        self.person = person
        self.notes = Notebook()
        self.pool = LinkPool(
            runtime=Runtime(RealClock(), source, network or RealNetwork()),
            parameters=SIM,
            device=person.key,
            certificate=person.certificate,
            tls=tls or TlsIdentity(source),
            handler=self.notes,
            limits=replace(limits, **changed),
        )
        self.address = LOOPBACK

    async def __aenter__(self) -> Self:
        await self.pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.pool.__aexit__(kind, error, traceback)

    async def listen(self, local: Endpoint = LOOPBACK) -> Self:
        self.address = await self.pool.listen(local)
        return self

    def want(self, other: "Party", *addresses: Endpoint) -> None:
        self.pool.want(other.person.device, other.person.peer, addresses or [other.address])

    def link(self, other: "Party") -> Link | None:
        return self.pool.get(other.person.device)

    async def linked(self, other: "Party", within_s: float = PATIENCE_S) -> Link:
        await until(lambda: self.link(other) is not None, within_s)
        link = self.link(other)
        assert link is not None
        return link


class Rude:
    """A peer made by hand: it can say anything, in any order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._cutter = FrameCutter()
        self._messages: list[bytes] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(
        cls, to: Endpoint, context: ssl.SSLContext | None, *, host: str = LOOPBACK.host
    ) -> AsyncGenerator["Rude", None]:
        reader, writer = await asyncio.open_connection(*to, ssl=context, local_addr=(host, 0))
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def message(self) -> bytes:
        """The next message they send."""
        while not self._messages:
            data = await asyncio.wait_for(self.reader.read(65_536), PATIENCE_S)
            assert data, "they hung up"
            self._messages += self._cutter.feed(data)
        return self._messages.pop(0)

    async def is_hung_up_on(self, within_s: float = PATIENCE_S) -> None:
        """Wait until they end the connection, and fail when they do not."""
        deadline = asyncio.get_running_loop().time() + within_s
        with contextlib.suppress(OSError):
            async with asyncio.timeout(within_s):
                while await self.reader.read(65_536):
                    pass
        assert asyncio.get_running_loop().time() < deadline, "they did not hang up"

    async def prove(self, person: Person, **changed: Any) -> None:
        """The client's part of the handshake, up to and without the welcome."""
        channel: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        certificate = channel.getpeercert(binary_form=True)
        assert certificate is not None
        session = person.client(bytes(NONCE_BYTES), **changed)
        self.write(session.start(certificate))
        session.receive(await self.message(), 0.0)
        self.write(session.prove())

    async def link(self, person: Person) -> None:
        """The client's part of the handshake, all of it."""
        await self.prove(person)
        assert decode(await self.message()) == Welcome()
        self.write(frame(encode(Ping(1))))
        assert decode(await self.message()) == Pong(1)


async def until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait for a condition, and fail when it does not come true in time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.002)


@dataclass
class Pipe:
    """A TCP relay that can go silent: connections stay open and nothing passes, not even their end."""

    target: Endpoint
    address: Endpoint = LOOPBACK
    silent: bool = False

    async def __aenter__(self) -> Self:
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._server = await asyncio.start_server(self._on_client, *LOOPBACK)
        self.address = Endpoint(*self._server.sockets[0].getsockname()[:2])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await self._tasks.__aexit__(None, None, None)

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        there_reader, there_writer = await asyncio.open_connection(*self.target)
        self._writers.append(there_writer)
        self._tasks.create_task(self._copy(reader, there_writer))
        self._tasks.create_task(self._copy(there_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
            if not self.silent:
                writer.close()
