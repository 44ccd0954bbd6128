"""Real sockets whose cable can be pulled: `CuttableNetwork` is `runtime.Network` with a pair of scissors.

While it is cut, datagrams are swallowed both ways, streams stall without RST or FIN, and connects hang in both directions,
as with a pulled cable. What was written meanwhile lies in the kernel's buffer, so to say: it arrives after `mend`, also on a
stream that was closed; one that was aborted is reset then.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from dhtchat.ids import Endpoint
from dhtchat.runtime import RealNetwork


class Exchange:
    """Which cables lead where, so that a connect to somebody whose cable is cut hangs too."""

    def __init__(self) -> None:
        self.listening: dict[Endpoint, CuttableNetwork] = {}


class CuttableNetwork(RealNetwork):
    """One machine's network. All of one test share an `Exchange`."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self._exchange = exchange or Exchange()
        self._whole = asyncio.Event()
        self._whole.set()
        self._streams: set[_Stream] = set()

    @property
    def is_cut(self) -> bool:
        return not self._whole.is_set()

    def cut(self) -> None:
        self._whole.clear()
        for stream in list(self._streams):
            stream.stall()

    def mend(self) -> None:
        self._whole.set()
        for stream in list(self._streams):
            stream.go_on()

    # --- runtime.Network ----------------------------------------------------------------------------------------------

    async def open_datagrams(
        self, factory: Callable[[], asyncio.DatagramProtocol], local: Endpoint
    ) -> tuple[asyncio.DatagramTransport, Endpoint]:
        socket = _DatagramSocket(self, factory())
        _, bound = await super().open_datagrams(lambda: socket, local)
        return socket, bound

    async def listen(self, factory: Callable[[], asyncio.Protocol], local: Endpoint) -> tuple[asyncio.Server, Endpoint]:
        server, bound = await super().listen(lambda: _Stream(self, factory()).below, local)
        self._exchange.listening[bound] = self
        return server, bound

    async def connect(self, factory: Callable[[], asyncio.Protocol], remote: Endpoint) -> asyncio.Transport:
        await self._whole.wait()
        there = self._exchange.listening.get(remote)
        if there is not None:
            await there._whole.wait()
        stream = _Stream(self, factory())
        await super().connect(lambda: stream.below, remote)
        return stream

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        timeout_s: float,
    ) -> asyncio.Transport:
        # The stream is a transport of ours: TLS writes to it and is fed by it, so that it stalls below TLS.
        return await super().start_tls(transport, protocol, context, server_side=server_side, timeout_s=timeout_s)


class _DatagramSocket(asyncio.DatagramTransport, asyncio.DatagramProtocol):
    """Between the real socket and whoever uses it: a transport to one side, a protocol to the other."""

    def __init__(self, network: CuttableNetwork, above: asyncio.DatagramProtocol) -> None:
        super().__init__()
        self._network = network
        self._above = above
        self._socket: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self._socket = transport
        self._above.connection_made(self)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self._network.is_cut:
            self._above.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        if not self._network.is_cut:
            self._above.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._above.connection_lost(exc)

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._network.is_cut:
            self._socket.sendto(data, addr)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def close(self) -> None:
        self._socket.close()

    def abort(self) -> None:
        self._socket.abort()


class _Below(asyncio.Protocol):
    """What the real socket talks to."""

    def __init__(self, stream: "_Stream") -> None:
        self._stream = stream

    def connection_made(self, transport: Any) -> None:
        self._stream.on_made(transport)

    def data_received(self, data: bytes) -> None:
        self._stream.on_data(data)

    def eof_received(self) -> bool | None:
        return self._stream.above.eof_received()

    def pause_writing(self) -> None:
        self._stream.above.pause_writing()

    def resume_writing(self) -> None:
        self._stream.above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.on_lost(exc)


class _Stream(asyncio.Transport):
    """A TCP stream that can stall."""

    _start_tls_compatible = True

    def __init__(self, network: CuttableNetwork, above: asyncio.Protocol) -> None:
        super().__init__()
        self.below = _Below(self)
        self.above: Any = above
        """A Protocol, or once TLS has begun a BufferedProtocol."""
        self._network = network
        self._socket: asyncio.Transport
        self._stalled = False
        self._reading = True
        self._unsent: list[bytes] = []
        self._ended: str | None = None
        """While stalled: `close` or `abort`, of which the other side learns later."""
        self._lost = False

    # --- the scissors ---

    def stall(self) -> None:
        if not self._stalled and not self._socket.is_closing():
            self._stalled = True
            self._socket.pause_reading()

    def go_on(self) -> None:
        if not self._stalled:
            return
        self._stalled = False
        if self._ended == "abort":
            self._socket.abort()
            return
        for piece in self._unsent:
            self._socket.write(piece)
        self._unsent.clear()
        if self._ended == "close":
            self._socket.close()
        elif self._reading:
            self._socket.resume_reading()

    # --- the real socket's side ---

    def on_made(self, transport: asyncio.Transport) -> None:
        self._socket = transport
        self._network._streams.add(self)
        if self._network.is_cut:
            self.stall()
        self.above.connection_made(self)

    def on_data(self, data: bytes) -> None:
        if not isinstance(self.above, asyncio.BufferedProtocol):
            self.above.data_received(data)
            return
        while data:
            buffer = self.above.get_buffer(len(data))
            taken = min(len(buffer), len(data))
            buffer[:taken] = data[:taken]
            self.above.buffer_updated(taken)
            data = data[taken:]

    def on_lost(self, error: Exception | None) -> None:
        self._network._streams.discard(self)
        self._lose(error)

    def _lose(self, error: Exception | None = None) -> None:
        if not self._lost:
            self._lost = True
            self.above.connection_lost(error)

    # --- asyncio.Transport ---

    def write(self, data: Any) -> None:
        if self._stalled:
            self._unsent.append(bytes(data))
        else:
            self._socket.write(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort")

    def _force_close(self, error: Exception | None) -> None:
        """What asyncio's TLS calls when its stream cannot go on."""
        self.abort()

    def _end(self, how: str) -> None:
        if not self._stalled:
            getattr(self._socket, how)()
        elif self._ended != "abort":
            if self._ended is None:
                asyncio.get_running_loop().call_soon(self._lose)
            self._ended = how

    def is_closing(self) -> bool:
        return self._ended is not None or self._socket.is_closing()

    def pause_reading(self) -> None:
        self._reading = False
        if not self._stalled:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._reading = True
        if not self._stalled:
            self._socket.resume_reading()

    def is_reading(self) -> bool:
        return self._reading

    def set_protocol(self, protocol: Any) -> None:
        self.above = protocol

    def get_protocol(self) -> Any:
        return self.above

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._socket.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._socket.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        return False
