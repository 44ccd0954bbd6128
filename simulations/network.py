"""A network in memory: hosts with addresses, datagrams and TCP streams between them, and rules that disturb both.

Every choice is drawn from one seeded source, every datagram and stream segment goes into the trace by time, addresses and
size, never by content (sealed and TLS bytes differ from run to run, their sizes do not). A rule is asked about each
packet; loss on a stream is a retransmission delay, not a hole.
"""

import asyncio
import hashlib
import random
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from dhtchat.crypto.certificates import ALPN, ServerContext
from dhtchat.ids import Endpoint
from dhtchat.peer.link import TLS_VERSION

from .loop import VirtualLoop

MTU_PAYLOAD_BYTES = 1_472
"""Larger datagrams are lost: 1500 (Ethernet) - 20 (IPv4) - 8 (UDP), as on a path that drops fragments."""
RETRANSMIT_FIRST_S = 0.2
RETRANSMIT_MAX_S = 8.0
"""RFC 6298 with Linux's lower bound: a lost or blocked segment is sent again after 0.2 s, 0.4 s ..., 8 s."""
GIVE_UP_S = 60.0
"""A segment that nobody acknowledged for this long resets its stream. Real systems take minutes; ours notice earlier."""
CONNECT_TIMEOUT_S = 20.0
STREAM_WINDOW_BYTES = 256 * 1024
"""Bytes on their way or unread before the writer is told to pause."""


class Verdict(NamedTuple):
    """What the rules do to one packet."""

    lost: bool = False
    extra_delay_s: float = 0.0
    copies: int = 1


UNDISTURBED: Final = Verdict()
_LINE: Final = struct.Struct(">dI")
"""Time and size of a line of the trace."""


class Rule(Protocol):
    """A disturbance. Asked for every packet while it is in force."""

    def judge(self, source: str, target: str, rng: random.Random) -> Verdict: ...


class Latency(NamedTuple):
    """One-way delay: uniform between two bounds, per packet."""

    low_s: float = 0.005
    high_s: float = 0.025

    def draw(self, rng: random.Random) -> float:
        return self.low_s + (self.high_s - self.low_s) * rng.random()


class Fabric:
    """What lies between the hosts."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, latency: Latency) -> None:
        self.loop = loop
        self.rng = rng
        self.latency = latency
        self.rules: list[Rule] = []
        self.counts: Counter[str] = Counter()
        self.bytes_by_host: Counter[str] = Counter()
        self.taps: list[Callable[[Endpoint, Endpoint, bytes], None]] = []
        """Told of every datagram on its way: for hostile hosts that record and replay."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._labels: dict[Endpoint, bytes] = {}
        self._sockets: dict[Endpoint, DatagramSocket] = {}
        self._listeners: dict[Endpoint, Listener] = {}
        self._streams: dict[str, set[Stream]] = {}

    # --- the trace ---

    def note(self, kind: bytes, source: Endpoint, target: Endpoint, size: int) -> None:
        """One line of the trace."""
        self._hash.update(kind + _LINE.pack(self.loop.time(), size) + self._label(source) + self._label(target))

    def _label(self, endpoint: Endpoint) -> bytes:
        label = self._labels.get(endpoint)
        if label is None:
            label = self._labels[endpoint] = f"{endpoint};".encode()
        return label

    def note_event(self, text: str) -> None:
        """Something the nodes did, as it belongs into the trace."""
        self._hash.update(f"{self.loop.time():.9f} {text};".encode())

    def trace(self) -> str:
        """The hash so far."""
        return self._hash.copy().hexdigest()

    # --- fate ---

    def judge(self, source: str, target: str) -> Verdict:
        if not self.rules:
            return UNDISTURBED
        lost, delay_s, copies = False, 0.0, 1
        for rule in self.rules:
            verdict = rule.judge(source, target, self.rng)
            if verdict is UNDISTURBED:
                continue
            lost = lost or verdict.lost
            delay_s += verdict.extra_delay_s
            copies = max(copies, verdict.copies)
        return Verdict(lost, delay_s, copies)

    # --- datagrams ---

    def bind(self, endpoint: Endpoint, protocol: asyncio.DatagramProtocol) -> "DatagramSocket":
        if endpoint in self._sockets:
            raise OSError(98, "address in use")
        socket = self._sockets[endpoint] = DatagramSocket(self, endpoint, protocol)
        return socket

    def unbind(self, endpoint: Endpoint) -> None:
        self._sockets.pop(endpoint, None)

    def send_datagram(self, source: Endpoint, target: Endpoint, data: bytes) -> None:
        self.counts["datagrams"] += 1
        self.bytes_by_host[source.host] += len(data) + 28
        self.note(b"d", source, target, len(data))
        for tap in self.taps:
            tap(source, target, data)
        verdict = self.judge(source.host, target.host)
        if verdict.lost or len(data) > MTU_PAYLOAD_BYTES:
            self.counts["datagrams-lost"] += 1
            return
        for _ in range(verdict.copies):
            delay_s = self.latency.draw(self.rng) + verdict.extra_delay_s
            self.loop.happen_later(delay_s, self._deliver, source, target, data)

    def _deliver(self, source: Endpoint, target: Endpoint, data: bytes) -> None:
        socket = self._sockets.get(target)
        if socket is not None:
            socket.protocol.datagram_received(data, (source.host, source.port))

    # --- streams ---

    def listen(self, endpoint: Endpoint, factory: Callable[[], asyncio.Protocol]) -> "Listener":
        if endpoint in self._listeners:
            raise OSError(98, "address in use")
        listener = self._listeners[endpoint] = Listener(self, endpoint, factory)
        return listener

    def unlisten(self, endpoint: Endpoint) -> None:
        self._listeners.pop(endpoint, None)

    async def connect(self, source: Endpoint, target: Endpoint, factory: Callable[[], asyncio.Protocol]) -> "Stream":
        """A three-way handshake's time, or `OSError`."""
        self.counts["connects"] += 1
        self.note(b"c", source, target, 0)
        deadline_s = self.loop.time() + CONNECT_TIMEOUT_S
        wait_s = RETRANSMIT_FIRST_S
        while (verdict := self.judge(source.host, target.host)).lost or self.judge(target.host, source.host).lost:
            if self.loop.time() + wait_s > deadline_s:
                raise TimeoutError(110, "connect timed out")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRANSMIT_MAX_S)
        await asyncio.sleep(self.latency.draw(self.rng) + self.latency.draw(self.rng) + verdict.extra_delay_s)
        listener = self._listeners.get(target)
        if listener is None:
            raise ConnectionRefusedError(111, "connection refused")
        near, far = Stream(self, source, target), Stream(self, target, source)
        near.other, far.other = far, near
        for stream in (near, far):
            self._streams.setdefault(stream.local.host, set()).add(stream)
        protocol = factory()
        near.set_protocol(protocol)
        far.set_protocol(listener.factory())
        self.loop.call_soon(far.begin)
        near.begin()
        return near

    def forget(self, stream: "Stream") -> None:
        self._streams.get(stream.local.host, set()).discard(stream)

    def reset_streams(self, host: str) -> None:
        """The host's operating system is gone or its process was killed: the other ends hear of it if they can."""
        for stream in sorted(self._streams.pop(host, set()), key=lambda s: (s.local, s.remote)):
            stream.vanish()

    def close_sockets(self, host: str) -> None:
        for endpoint in [e for e in self._sockets if e.host == host]:
            self._sockets[endpoint].close()
        for endpoint in [e for e in self._listeners if e.host == host]:
            self._listeners[endpoint].close()


class DatagramSocket(asyncio.DatagramTransport):
    def __init__(self, fabric: Fabric, endpoint: Endpoint, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__()
        self._fabric = fabric
        self.endpoint = endpoint
        self.protocol = protocol
        self._closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return tuple(self.endpoint) if name == "sockname" else default

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._closed:
            self._fabric.send_datagram(self.endpoint, Endpoint(str(addr[0]), int(addr[1])), bytes(data))

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._fabric.unbind(self.endpoint)
            self._fabric.loop.call_soon(self.protocol.connection_lost, None)

    abort = close


class Listener:
    """Stands in for `asyncio.Server`."""

    def __init__(self, fabric: Fabric, endpoint: Endpoint, factory: Callable[[], asyncio.Protocol]) -> None:
        self._fabric = fabric
        self._endpoint = endpoint
        self.factory = factory

    def close(self) -> None:
        self._fabric.unlisten(self._endpoint)

    async def wait_closed(self) -> None:
        pass

    def is_serving(self) -> bool:
        return True


class Stream(asyncio.Transport):
    """One end of a TCP connection. Segments arrive in order, each after its delay, blocked ones are retransmitted."""

    _start_tls_compatible = True
    """What asyncio asks of a transport before it puts TLS on top of it."""

    def __init__(self, fabric: Fabric, local: Endpoint, remote: Endpoint) -> None:
        super().__init__()
        self._fabric = fabric
        self.local = local
        self.remote = remote
        self.other: Stream
        self.channel: PlainChannel | None = None
        self._protocol: asyncio.BaseProtocol
        self._closing = False
        self._ended = False
        self._paused = False
        self._eof_sent = False
        self._unread: list[tuple[str, bytes]] = []
        self._in_flight_bytes = 0
        self._arrives_s = 0.0
        self._blocked_since_s: float | None = None
        self._waiting: list[tuple[str, bytes]] = []
        """Segments behind one that is being retransmitted."""
        self._writer_paused = False
        self._high_bytes = STREAM_WINDOW_BYTES

    def begin(self) -> None:
        if not self._ended:
            self._protocol.connection_made(self)

    # --- asyncio.Transport ---

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {"sockname": tuple(self.local), "peername": tuple(self.remote), "ssl_object": self.channel}
        return known.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing or self._ended

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._fabric.loop.call_soon(self._read_on)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is not None:
            self._high_bytes = max(1, high)

    def get_write_buffer_size(self) -> int:
        return self._in_flight_bytes

    def write(self, data: Any) -> None:
        if self.is_closing() or not data:
            return
        self._fabric.counts["stream-bytes"] += len(data)
        self._fabric.bytes_by_host[self.local.host] += len(data) + 40
        self._in_flight_bytes += len(data)
        self._send("data", bytes(data))
        if self._in_flight_bytes > self._high_bytes and not self._writer_paused:
            self._writer_paused = True
            self._protocol.pause_writing()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._eof_sent:
            self._eof_sent = True
            self._send("eof", b"")

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self.write_eof()
        self._end(None)

    def abort(self) -> None:
        if not self._ended:
            self._closing = True
            self._waiting.clear()
            self._send("reset", b"")
            self._end(None)

    def _force_close(self, error: Exception | None) -> None:
        """What asyncio's TLS calls when its stream cannot go on."""
        self.abort()

    def vanish(self) -> None:
        """This end is gone without a word; the other end is told by whatever operating system is left."""
        if not self._ended:
            self._waiting.clear()
            self._blocked_since_s = None
            self._send("reset", b"")
            self._end(None)  # what is left of our own process in here must not wait for ever

    # --- segments ---

    def _send(self, kind: str, data: bytes) -> None:
        self._fabric.note(b"s", self.local, self.remote, len(data))
        if self._blocked_since_s is not None:
            self._waiting.append((kind, data))
            return
        self._transmit(kind, data, RETRANSMIT_FIRST_S)

    def _transmit(self, kind: str, data: bytes, retry_s: float) -> None:
        fabric, loop = self._fabric, self._fabric.loop
        verdict = fabric.judge(self.local.host, self.remote.host)
        if verdict.lost:
            if self._blocked_since_s is None:
                self._blocked_since_s = loop.time()
            elif loop.time() - self._blocked_since_s > GIVE_UP_S:
                self._blocked_since_s = None  # what comes for it from now on is answered with a reset
                self._waiting.clear()
                self._end(TimeoutError(110, "connection timed out"))
                return
            loop.call_later(retry_s, self._transmit, kind, data, min(2 * retry_s, RETRANSMIT_MAX_S))
            return
        self._blocked_since_s = None
        delay_s = fabric.latency.draw(fabric.rng) + verdict.extra_delay_s
        self._arrives_s = max(self._arrives_s, loop.time() + delay_s)
        loop.call_at(self._arrives_s, self.other.arrive, kind, data)
        waiting, self._waiting = self._waiting, []
        for later in waiting:
            self._send(*later)

    def arrive(self, kind: str, data: bytes) -> None:
        """A segment from the other end."""
        if self._ended:
            if kind == "data" and not self.other._ended:
                self._send("reset", b"")
            return
        if kind == "reset":
            self._unread.clear()
            self._end(ConnectionResetError(104, "connection reset"))
        else:
            self._unread.append((kind, data))
            self._read_on()

    def _read_on(self) -> None:
        while self._unread and not self._paused and not self._ended:
            kind, data = self._unread.pop(0)
            if kind == "data":
                self.other.drained(len(data))
                _hand(self._protocol, data)
            elif not self._protocol.eof_received():  # type: ignore[attr-defined]
                self.close()

    def drained(self, size: int) -> None:
        """The other end has read this much of what we wrote."""
        self._in_flight_bytes -= size
        if self._writer_paused and self._in_flight_bytes <= self._high_bytes // 2 and not self._ended:
            self._writer_paused = False
            self._protocol.resume_writing()

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = self._closing = True
            self._fabric.forget(self)
            self._fabric.loop.call_soon(self._protocol.connection_lost, error)


def _hand(protocol: Any, data: bytes) -> None:
    """To either kind of protocol: asyncio's TLS reads into buffers of its own."""
    if not isinstance(protocol, asyncio.BufferedProtocol):
        protocol.data_received(data)
        return
    view = memoryview(data)
    while view:
        buffer: Any = protocol.get_buffer(len(view))
        size = min(len(buffer), len(view))
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]


class PlainChannel(NamedTuple):
    """Stands in for an `ssl.SSLObject` where TLS is left out for scale: it carries the certificate that was shown.

    The identity proof inside runs as ever; only the encryption of the stream is not there.
    """

    certificate: bytes | None

    def version(self) -> str:
        return TLS_VERSION

    def selected_alpn_protocol(self) -> str:
        return ALPN

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        return self.certificate


class HostNetwork:
    """The `dhtchat` network port of one host. `real_tls`: whether streams are really encrypted."""

    def __init__(self, fabric: Fabric, host: str, *, real_tls: bool) -> None:
        self._fabric = fabric
        self.host = host
        self._real_tls = real_tls
        self._next_port = 20_000

    def _free(self, port: int) -> Endpoint:
        if not port:
            self._next_port += 1
            port = self._next_port
        return Endpoint(self.host, port)

    async def open_datagrams(
        self, factory: Callable[[], asyncio.DatagramProtocol], local: Endpoint
    ) -> tuple[asyncio.DatagramTransport, Endpoint]:
        endpoint = self._free(local.port)
        protocol = factory()
        socket = self._fabric.bind(endpoint, protocol)
        protocol.connection_made(socket)
        return socket, endpoint

    async def listen(self, factory: Callable[[], asyncio.Protocol], local: Endpoint) -> tuple[asyncio.Server, Endpoint]:
        endpoint = self._free(local.port)
        return self._fabric.listen(endpoint, factory), endpoint  # type: ignore[return-value]

    async def connect(self, factory: Callable[[], asyncio.Protocol], remote: Endpoint) -> asyncio.Transport:
        return await self._fabric.connect(self._free(0), remote, factory)

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        timeout_s: float,
    ) -> asyncio.Transport:
        assert isinstance(transport, Stream)
        if self._real_tls:
            upgraded = await self._fabric.loop.start_tls(
                transport, protocol, context, server_side=server_side, ssl_handshake_timeout=timeout_s
            )
            if upgraded is None:
                raise ConnectionResetError("the stream closed during the TLS handshake")
            return upgraded
        # Both ends say at once what they would have shown; the client learns it from the server's end.
        transport.channel = PlainChannel(None)
        if server_side:
            transport.other.channel = PlainChannel(context.certificate if isinstance(context, ServerContext) else None)
            transport.write(b"\x16")
            transport.resume_reading()
            return transport
        started: asyncio.Future[None] = self._fabric.loop.create_future()
        transport.set_protocol(_FirstByte(transport, protocol, started))
        transport.resume_reading()
        async with asyncio.timeout(timeout_s):
            await started
        return transport

    async def resolve(self, host: str, port: int) -> list[Endpoint]:
        return [Endpoint(host, port)]


class _FirstByte(asyncio.Protocol):
    """Waits for the one byte that stands for the server's part of the TLS handshake, then steps aside."""

    def __init__(self, transport: Stream, protocol: asyncio.Protocol, started: "asyncio.Future[None]") -> None:
        self._transport = transport
        self._protocol = protocol
        self._started = started

    def data_received(self, data: bytes) -> None:
        self._transport.set_protocol(self._protocol)
        if not self._started.done():
            self._started.set_result(None)
        if data[1:]:
            self._protocol.data_received(data[1:])

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if not self._started.done():
            self._started.set_exception(error or ConnectionResetError("closed during the handshake"))
        self._protocol.connection_lost(error)
