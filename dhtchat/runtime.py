"""Time, chance and the network, passed in everywhere. Nothing else may read a clock, draw a number or open a socket.

The real ones stand here; the simulator supplies others. `asyncio` itself (tasks, `sleep`, `timeout`) is used directly:
it runs on whatever loop is running, the simulator's virtual-time loop included.
"""

import asyncio
import os
import random
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from dhtchat.ids import Endpoint

T = TypeVar("T")
_ALL_INTERFACES = "::"


class Clock(Protocol):
    """Two clocks: one that never jumps, for waiting, and one that people set, for showing and for lifetimes."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""

    def wall(self) -> float:
        """Unix time in seconds."""


class Network(Protocol):
    """The smallest port to the outside: datagrams, listening for streams, connecting a stream."""

    async def open_datagrams(
        self, factory: Callable[[], asyncio.DatagramProtocol], local: Endpoint
    ) -> tuple[asyncio.DatagramTransport, Endpoint]:
        """Bind and return the transport and where it is bound. Raises `OSError`."""

    async def listen(self, factory: Callable[[], asyncio.Protocol], local: Endpoint) -> tuple[asyncio.Server, Endpoint]:
        """Accept plain TCP streams, one protocol each, from now on. Raises `OSError`."""

    async def connect(self, factory: Callable[[], asyncio.Protocol], remote: Endpoint) -> asyncio.Transport:
        """Connect a plain TCP stream. Raises `OSError`."""

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        timeout_s: float,
    ) -> asyncio.Transport:
        """Upgrade a stream to TLS, after which `protocol` receives what is inside. Raises `OSError`, TLS ones too."""

    async def resolve(self, host: str, port: int) -> list[Endpoint]:
        """Numeric addresses of a host a user typed. Raises `OSError`."""


class RealClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class RealNetwork:
    """The machine's sockets, through the running asyncio loop."""

    async def open_datagrams(
        self, factory: Callable[[], asyncio.DatagramProtocol], local: Endpoint
    ) -> tuple[asyncio.DatagramTransport, Endpoint]:
        loop = asyncio.get_running_loop()
        if local.host == _ALL_INTERFACES:
            transport, _ = await loop.create_datagram_endpoint(factory, sock=_for_both(local, socket.SOCK_DGRAM))
        else:
            transport, _ = await loop.create_datagram_endpoint(factory, local_addr=(local.host, local.port))
        return transport, Endpoint(*transport.get_extra_info("sockname")[:2])

    async def listen(self, factory: Callable[[], asyncio.Protocol], local: Endpoint) -> tuple[asyncio.Server, Endpoint]:
        loop = asyncio.get_running_loop()
        if local.host == _ALL_INTERFACES:
            server = await loop.create_server(factory, sock=_for_both(local, socket.SOCK_STREAM))
        else:
            server = await loop.create_server(factory, local.host, local.port)
        return server, Endpoint(*server.sockets[0].getsockname()[:2])

    async def connect(self, factory: Callable[[], asyncio.Protocol], remote: Endpoint) -> asyncio.Transport:
        transport, _ = await asyncio.get_running_loop().create_connection(factory, remote.host, remote.port)
        return transport

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        timeout_s: float,
    ) -> asyncio.Transport:
        upgraded = await asyncio.get_running_loop().start_tls(
            transport,
            protocol,
            context,
            server_side=server_side,
            ssl_handshake_timeout=timeout_s,
            ssl_shutdown_timeout=1.0,
        )
        if upgraded is None:
            raise ConnectionResetError("the stream closed during the TLS handshake")
        return upgraded

    async def resolve(self, host: str, port: int) -> list[Endpoint]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # an empty or overlong label, which the name's encoding refuses
            raise socket.gaierror(socket.EAI_NONAME, f"{host!a} is no host name") from error
        return list(dict.fromkeys(Endpoint(str(entry[4][0]), port) for entry in found))


def _for_both(local: Endpoint, kind: socket.SocketKind) -> socket.socket:
    """A socket bound to `::` that serves IPv6 and IPv4, which appears there as `::ffff:192.0.2.7` (RFC 4291 §2.5.5.2).
    Left alone, asyncio makes streams IPv6 only, and some systems do so with datagrams. Raises `OSError`."""
    bound = socket.socket(socket.AF_INET6, kind)
    try:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM and os.name == "posix":  # as asyncio does: a restart need not wait for TIME_WAIT
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((local.host, local.port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


class Runtime:
    """What a node needs of the world around it. One per node; never global.

    `random` decides everything that is not a secret *and* draws the secrets: the real one is the operating system's
    generator, the simulator's a seeded one.
    """

    def __init__(self, clock: Clock, random_source: random.Random, network: Network, *, inline: bool = False) -> None:
        self.clock = clock
        self.random = random_source
        self.network = network
        self._inline = inline

    async def run_blocking(self, function: Callable[..., T], *arguments: Any, quick: bool = False) -> T:
        """Run something slow or waiting for the disk off the loop; inline where threads would break repeatability, and what is
        over sooner (`quick`) than a thread would take to get its turn."""
        if self._inline or quick:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)

    def jitter(self, interval_s: float, *, share: float = 0.25) -> float:
        """`interval_s` give or take `share` of it, so that nodes do not march in step."""
        return interval_s * self.random.uniform(1 - share, 1 + share)


def real_runtime() -> Runtime:
    """The machine this program runs on."""
    return Runtime(RealClock(), random.SystemRandom(), RealNetwork())
