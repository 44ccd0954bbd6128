"""One TLS connection to one device, from the accepted or dialled stream to its end.

`session.py` decides; here are the bytes, the queues and the timers. The stream is taken plain and upgraded by us, because
a listening socket with TLS of its own hides connections that never finish the handshake (facts.md).

Both directions are bounded. Outgoing: `send` waits while too much is queued, and a link on which that lasts is dropped.
Incoming: reading stops while the handler is behind, and the stream itself makes the other side wait.

How a link ends: `close` sends what is queued and a Bye, then keeps listening until the other side, having read all that,
hangs up, or for goodbye_timeout_s: closing the socket at once would let the kernel throw away what they have not read
yet. `abort` ends it on the spot.
"""

import asyncio
import asyncio.sslproto
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from dhtchat.crypto.certificates import ALPN, TlsIdentity
from dhtchat.errors import LinkLost, ProofRefused, RemoteMisbehaved
from dhtchat.ids import Endpoint
from dhtchat.limits import FRAME_BYTES_MAX, TLS_RECORD_BYTES
from dhtchat.peer.framing import FrameCutter
from dhtchat.peer.link_limits import LinkLimits
from dhtchat.peer.messages import Announce, PeerMessage
from dhtchat.peer.session import (
    Answered,
    ClientSession,
    Heard,
    Left,
    Opened,
    Proved,
    Reply,
    ServerSession,
    State,
)
from dhtchat.records.device import Author
from dhtchat.runtime import Runtime

_log = logging.getLogger(__name__)

# asyncio allocates this much per connection end and never uses most of it: with its own 256 KiB a link costs 288 KiB, with
# one TLS record 45 (facts.md). There is no argument for it; without the attribute (another Python, uvloop) nothing is lost.
if hasattr(asyncio.sslproto.SSLProtocol, "max_size"):
    asyncio.sslproto.SSLProtocol.max_size = TLS_RECORD_BYTES

TLS_VERSION: Final = "TLSv1.3"
_WRITE_HIGH_WATER_BYTES: Final = 1
"""High water of the TLS layer: told to wait as soon as it cannot pass everything on to the socket, so that the queue
here, which has a bound, is the only one that grows. (0 would make asyncio pause and resume on every write.)"""


class _Signal:
    """Wakes whoever waits now; they look again at what they wait for. An `asyncio.Event` is 700 bytes, and a link would
    have four."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            self._waiting.remove(future)

    def wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


class Link(asyncio.Protocol):
    """A connection that becomes a link when both sides have proved themselves.

    For those above the pool: `author`, `endpoint`, `dialled`, `alive`, `send`, `send_soon` and `check`. The rest is
    between the link, its pool and asyncio.
    """

    author: Author
    """Who is at the other end. Set when they have proved it."""

    def __init__(
        self,
        session: ClientSession | ServerSession,
        *,
        runtime: Runtime,
        limits: LinkLimits,
        endpoint: Endpoint,
        admit: Callable[["Link"], str | None],
        connected: Callable[["Link"], None],
        gone: Callable[["Link"], None],
    ) -> None:
        """`admit` is asked once both sides are proved, and answers None or why not. `connected` and `gone` frame the life
        of the stream itself."""
        self.endpoint = endpoint
        """The other end of the stream."""
        self.dialled = isinstance(session, ClientSession)
        self.made_at = 0.0
        """When it opened, by the monotonic clock."""
        self.heard_at = 0.0
        """When the last byte came."""
        self.talked_at = 0.0
        """When something was last said over it, either way; that somebody is still there does not count."""
        self.admitted = False
        """Whether the pool took it in: from then on it is the pool's, and not that of the task that made it."""
        self._confirmed = False
        self.ended: str | None = None
        """Why it ended or is about to. The first reason stays."""
        self.error: RemoteMisbehaved | None = None
        """What they did, if that was the reason."""

        self._session = session
        self._runtime = runtime
        self._limits = limits
        self._admit = admit
        self._connected = connected
        self._gone = gone

        self._transport: asyncio.Transport | None = None
        self._secured = False
        self._early = bytearray()
        self._cutter = FrameCutter()
        self._news = _Signal()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._flush_due = False
        self._writing_paused = False
        self._hanging_up = False
        self._room = _Signal()
        self._stall_timer: asyncio.TimerHandle | None = None

        self._inbox: deque[tuple[PeerMessage, int]] = deque()
        self._inbox_bytes = 0
        self._inbox_over = False
        self._arrived = _Signal()
        self._reading_paused = False
        self._checks: dict[int, asyncio.Future[bool]] = {}

    def __repr__(self) -> str:
        who = repr(self.author) if hasattr(self, "author") else "nobody proved"
        direction = "to" if self.dialled else "from"
        return f"<Link {direction} {self.endpoint}, {who}, {self.ended or self._session.state.value}>"

    # --- for those above ----------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether something can be said over it."""
        return self._session.state is State.OPEN and self.ended is None

    @property
    def queued_bytes(self) -> int:
        """What is waiting for the other side to read: here, and in the TLS layer."""
        return self._queue_bytes + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    async def send(self, message: PeerMessage) -> None:
        """Queue a message, waiting while too much is queued. Raises `LinkLost`. Not a promise that it arrives."""
        while self.alive and self._queue_bytes > self._limits.link_queue_bytes_max:
            await self._room.wait()
        if not self.alive:
            raise LinkLost(f"the link to {self.author.name} is down: {self.ended}")
        self._note_talk(message)
        self._put(self._session.say(message))

    def send_soon(self, message: PeerMessage) -> bool:
        """Queue a small message unless the link is down or too much is queued; says whether it did."""
        if not self.alive or self._queue_bytes > self._limits.link_queue_bytes_max:
            return False
        self._note_talk(message)
        self._put(self._session.say(message))
        return True

    def _note_talk(self, message: PeerMessage) -> None:
        if not isinstance(message, Announce):
            self.talked_at = self._runtime.clock.monotonic()

    async def check(self, timeout_s: float) -> bool:
        """Ping now. Without an answer in time the link is dropped. For those who have a reason to doubt it: the machine
        slept, the network changed, somebody else says the device is gone."""
        if not self.alive:
            return False
        wire, token = self._session.ping(self._runtime.clock.monotonic())
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._checks[token] = answer
        self._put(wire)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            if self._reading_paused:  # the answer may lie behind what our own handler has not read yet
                return self.alive
            self.abort(f"no answer to a check within {timeout_s} s")
            return False
        finally:
            self._checks.pop(token, None)

    # --- for the pool: coming up --------------------------------------------------------------------------------------

    async def secure(self, tls: TlsIdentity) -> None:
        """Upgrade to TLS and begin the proof. Raises `OSError` (`ssl.SSLError` is one) or `ProofRefused`."""
        plain = self._transport
        if plain is None or plain.is_closing():
            raise ConnectionResetError("the stream closed before TLS began")
        if self._early:
            early, self._early = self._early, bytearray()
            asyncio.get_running_loop().call_soon(_hand_over, plain, early)
        transport = await self._runtime.network.start_tls(
            plain,
            self,
            tls.client_context if self.dialled else tls.server_context,
            server_side=not self.dialled,
            timeout_s=self._limits.handshake_timeout_s,  # never reached: ours began earlier
        )
        self._transport = transport
        if self._inbox_over:
            raise ConnectionResetError("the stream closed as TLS began")
        channel: ssl.SSLObject = transport.get_extra_info("ssl_object")
        if channel.version() != TLS_VERSION or channel.selected_alpn_protocol() != ALPN:
            raise ProofRefused(f"the other side does not speak {ALPN} over {TLS_VERSION}")
        transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER_BYTES)
        if hasattr(transport, "set_read_buffer_limits"):  # asyncio's and uvloop's TLS have it, 256 KiB unless told
            transport.set_read_buffer_limits(high=TLS_RECORD_BYTES)
        self._secured = True
        if isinstance(self._session, ClientSession):
            certificate = channel.getpeercert(binary_form=True)
            if certificate is None:
                raise ProofRefused("the server showed no TLS certificate")
            self._put(self._session.start(certificate))
        early, self._early = self._early, bytearray()
        if early:
            self.data_received(bytes(early))

    async def server_proved(self) -> None:
        """Wait until the dialled side has proved itself. Raises `LinkLost` or what they did."""
        await self._until(lambda: self._session.state is State.SERVER_PROVED)

    async def admission(self) -> None:
        """Wait until both sides are proved and the pool has taken it in. Raises `LinkLost` or what they did."""
        await self._until(lambda: self.admitted)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while self.ended is None:
            if condition():
                return
            await self._news.wait()
        raise self.error or LinkLost(f"the link to {self.endpoint} did not come up: {self.ended}")

    def prove(self) -> None:
        """Say who we are to the server that has proved itself. Raises `LinkLost` if it is gone again."""
        assert isinstance(self._session, ClientSession)
        if self.ended is not None:
            raise LinkLost(f"the link to {self.endpoint} did not come up: {self.ended}")
        self._put(self._session.prove())

    # --- for the pool: life and end -----------------------------------------------------------------------------------

    @property
    def standing(self) -> bool:
        """Whether it is the link with that device: taken in and not on its way out."""
        return self.admitted and self.ended is None

    async def confirmed(self) -> bool:
        """Wait until the other side goes on with it too, or say that it never did."""
        while not self._confirmed and not self._inbox_over:
            await self._news.wait()
        return self._confirmed

    async def next_message(self) -> PeerMessage | None:
        """The next message in order, or None when the link is over and all that arrived was handed out."""
        while not self._inbox:
            if self._inbox_over:
                return None
            await self._arrived.wait()
        message, size = self._inbox.popleft()
        self._inbox_bytes -= size
        if self._reading_paused and not self._inbox_full(share=2):
            self._reading_paused = False
            self._session.heard(self._runtime.clock.monotonic())
            if self._transport is not None:
                self._transport.resume_reading()
        return message

    @property
    def on_its_own(self) -> bool:
        """Whether it goes on without the task that made it: open, about to be unless they refuse, or saying goodbye."""
        if self.ended is None:
            return self.admitted or self._session.state is State.PROOF_SENT
        return self._hanging_up or self._session.state is State.LEAVING

    async def over(self) -> None:
        """Wait until nothing more can be said."""
        while self.ended is None:
            await self._news.wait()

    async def closed(self) -> None:
        """Wait until the stream itself is gone."""
        while not self._closed:
            await self._news.wait()

    def close(self, reason: str) -> None:
        """Say goodbye after what is queued, and go on listening until they hang up."""
        if self.standing:
            self._part(reason)

    def _part(self, reason: str) -> None:
        self._put(self._session.leave(reason))
        self._note_end(reason)
        self._hang_up_within_limit()

    def abort(self, reason: str) -> None:
        """End it now. What is queued is lost."""
        self._finish(reason)
        if self._transport is not None:
            self._transport.abort()
        if not self._secured:
            # asyncio does not tell us of the end of a stream that was still shaking hands.
            asyncio.get_running_loop().call_soon(self._vanish)

    def fail(self, error: RemoteMisbehaved) -> None:
        """End it now because they broke the rules."""
        if self.ended is None:
            self.error = error
        # The text may quote their bytes, and goes on as the reason.
        self.abort("".join(c if c.isprintable() else "?" for c in str(error)))

    def _note_end(self, reason: str) -> None:
        """From here on nothing is sent; whoever waits learns it."""
        if self.ended is None:
            self.ended = reason
            _log.debug("%r ends", self)
        self._news.wake()
        self._room.wake()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        for answer in self._checks.values():
            if not answer.done():
                answer.set_result(False)

    def _finish(self, reason: str) -> None:
        """From here on nothing is read either."""
        self._note_end(reason)
        self._inbox_over = True
        self._arrived.wake()

    def _hang_up_within_limit(self) -> None:
        self._set_timer(self._limits.goodbye_timeout_s, lambda: self.abort("goodbye took too long"))

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        """One timer: the deadline of the handshake, then the keep-alive, then the deadline of the goodbye."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, action)

    def _vanish(self) -> None:
        """The stream is gone."""
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._queue.clear()
        self._closed = True
        self._news.wake()
        self._gone(self)

    # --- the session's side -------------------------------------------------------------------------------------------

    def _on_frame(self, message_bytes: bytes, now: float) -> None:
        outcome = self._session.receive(message_bytes, now)
        if not self._confirmed and self._session.state in (State.OPEN, State.LEAVING):
            self._confirmed = True  # a client by the welcome, a server by the first word, be it while we are parting
            self._news.wake()
        match outcome:
            case Heard(message):
                self._note_talk(message)
                self._inbox.append((message, len(message_bytes)))
                self._inbox_bytes += len(message_bytes)
            case Reply(wire):
                # A pong beyond the limit is dropped: who does not read the answers may not make us hoard them.
                if self._queue_bytes <= self._limits.link_queue_bytes_max:
                    self._put(wire)
            case Answered(token):
                for asked, answer in self._checks.items():
                    if asked <= token and not answer.done():
                        answer.set_result(True)
            case Proved(author):
                self.author = author
                if isinstance(self._session, ServerSession):
                    self._let_in(self._session, now)
                self._news.wake()
            case Opened(wire):
                self._open(wire, now)
            case Left(reason):
                self._finish(reason)
                self._hang_up()
            case None:
                pass

    def _let_in(self, session: ServerSession, now: float) -> None:
        self.made_at = self.talked_at = now
        refusal = self._admit(self)
        if refusal is None:
            self.admitted = True
            self._put(session.welcome(now))
            self._start_keep_alive(now)
        else:
            self._put(session.leave(refusal))
            self._finish(refusal)
            self._hang_up()

    def _open(self, wire: bytes, now: float) -> None:
        self.made_at = self.talked_at = now
        refusal = self._admit(self)
        if refusal is None:
            self.admitted = True
            self._put(wire)
            self._start_keep_alive(now)
        else:
            self._part(refusal)
        self._news.wake()

    def _start_keep_alive(self, now: float) -> None:
        self._set_timer(self._session.due_at - now, self._on_timer)

    def _on_timer(self) -> None:
        now = self._runtime.clock.monotonic()
        try:
            ping = self._session.on_timer(now, listening=not self._reading_paused)
        except TimeoutError as silence:
            self.abort(str(silence))
            return
        if ping is not None and self._queue_bytes <= self._limits.link_queue_bytes_max:
            self._put(ping)
        self._set_timer(self._session.due_at - now, self._on_timer)

    # --- bytes out ----------------------------------------------------------------------------------------------------

    def _put(self, wire: bytes) -> None:
        """Queue a frame. What one tick of the loop queues leaves in one write: 3 to 5 times the throughput (facts.md)."""
        self._queue.append(wire)
        self._queue_bytes += len(wire)
        if self._queue_bytes > self._limits.link_queue_bytes_max and self._stall_timer is None:
            self._stall_timer = asyncio.get_running_loop().call_later(self._limits.link_stall_timeout_s, self._on_stall)
        if not self._flush_due and not self._writing_paused:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _on_stall(self) -> None:
        self.abort(f"the other side has not read for {self._limits.link_stall_timeout_s} s")

    def _flush(self) -> None:
        self._flush_due = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        while self._queue and not self._writing_paused:
            piece = self._next_piece()
            self._queue_bytes -= len(piece)
            transport.write(piece)
        if self._queue_bytes <= self._limits.link_queue_bytes_max and self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
            self._room.wake()
        if self._hanging_up and not self._queue:
            transport.close()

    def _next_piece(self) -> bytes:
        """As many frames as fit a TLS record, or a part of one that is longer. Larger pieces would be no faster, and make
        the TLS layer keep as much memory for as long as the link lives."""
        frames = [self._queue.popleft()]
        size = len(frames[0])
        if size > TLS_RECORD_BYTES:
            self._queue.appendleft(frames[0][TLS_RECORD_BYTES:])
            return frames[0][:TLS_RECORD_BYTES]
        while self._queue and size + len(self._queue[0]) <= TLS_RECORD_BYTES:
            frames.append(self._queue.popleft())
            size += len(frames[-1])
        return b"".join(frames)

    def _hang_up(self) -> None:
        """Close the stream once the queue is empty. In a callback of its own: to close asyncio's TLS from inside
        `data_received` would make it read, and call us, once more."""
        self._hanging_up = True
        self._hang_up_within_limit()
        if not self._flush_due and not self._writing_paused:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _inbox_full(self, *, share: int = 1) -> bool:
        return (
            len(self._inbox) * share >= self._limits.inbox_frames_max
            or self._inbox_bytes * share >= self._limits.inbox_bytes_max
        )

    # --- asyncio's side -----------------------------------------------------------------------------------------------

    def connection_made(self, base_transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, base_transport)  # no isinstance(): uvloop's is one by its methods only
        if self.ended is not None:  # given up while it was connecting
            transport.abort()
            return
        self._transport = transport
        # Nothing may be read as plain text: the first bytes belong to TLS, which start_tls() puts in our place.
        transport.pause_reading()
        self._set_timer(self._limits.handshake_timeout_s, lambda: self.abort("the handshake took too long"))
        if not self.dialled:
            # None when they were gone again before we looked.
            self.endpoint = Endpoint(*(transport.get_extra_info("peername") or self.endpoint)[:2])
        self._connected(self)

    def data_received(self, data: bytes) -> None:
        if not self._secured:
            # Two cases. asyncio hands over what came along with the end of the TLS handshake before start_tls() returns.
            # And uvloop reads on after connection_made(), whatever was said there: then it is the beginning of TLS.
            self._early += data
            if len(self._early) > FRAME_BYTES_MAX:
                self.abort("too much said too early")
            return
        if self._inbox_over:
            return
        now = self._runtime.clock.monotonic()
        self.heard_at = now
        self._session.heard(now)
        had = len(self._inbox)
        try:
            for message_bytes in self._cutter.feed(data):
                self._on_frame(message_bytes, now)
                if self._inbox_over:
                    break
        except RemoteMisbehaved as error:
            self.fail(error)
        if len(self._inbox) > had:
            self._arrived.wake()
        if not self._reading_paused and self._inbox_full() and not self._inbox_over:
            self._reading_paused = True
            if self._transport is not None:
                self._transport.pause_reading()

    def eof_received(self) -> None:
        # Told at once, because asyncio takes up to its shutdown timeout until connection_lost().
        self._finish("the other side hung up")

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._queue or self._hanging_up:
            self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._finish(f"connection lost: {error}" if error else "the other side hung up")
        self._vanish()


def _hand_over(transport: asyncio.Transport, early: bytearray) -> None:
    """Give what was read too early to the TLS layer, as if it was read now. Called when start_tls() has put that in place
    and before it says anything itself."""
    if transport.is_closing():
        return
    tls = cast(asyncio.BufferedProtocol, transport.get_protocol())
    while early:
        buffer = memoryview(tls.get_buffer(len(early)))
        size = min(len(buffer), len(early))
        buffer[:size] = early[:size]
        del early[:size]
        tls.buffer_updated(size)
