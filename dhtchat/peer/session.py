"""The identity proof and the keep-alive of one link. No I/O; the time and the nonce are arguments.

The proof (design.md, "Links between peers") runs inside TLS 1.3 before anything else is said:

    C -> S  hello         version, network_id, nonce_c
    S -> C  server-proof  certificate, nonce_s, sig_device("dhtchat/link-server/v1\\0" || network_id || T)
    C -> S  client-proof  certificate, sig_device("dhtchat/link-client/v1\\0" || network_id || T || server device key)
    S -> C  welcome

T = SHA-256(DER of the server's TLS certificate || every frame before the one that carries the signature), each frame
exactly as it crossed the channel, its length included. The label and network_id in front of T are what
`SigningKey.sign(purpose, network_id, body)` puts there; design.md leaves network_id out of the picture because every
signature of ours has it. A proof frame names identity and device key by carrying the device certificate.

What each part is for: T has the TLS certificate, so whoever sits in the middle, with another one, can pass nothing on;
T has the other side's nonce, so an old proof does not fit; the two labels keep a proof from being sent back; the
server's device key keeps a proof made for one peer from being forwarded to another. The client judges the server before
it says who it is.

| state           | what comes               | what follows                                   | next            |
|-----------------|--------------------------|------------------------------------------------|-----------------|
| client                                                                                                        |
| fresh           | `start()`                | hello                                          | awaiting server |
| awaiting server | server-proof that holds  | `Proved`: we know who they are, not they us     | server proved   |
| server proved   | `prove()`                | client-proof                                   | proof sent      |
| proof sent      | welcome                  | `Opened`, and a ping to say so                 | open            |
| server                                                                                                        |
| awaiting hello  | hello                    | `Reply`: server-proof                          | awaiting client |
| awaiting client | client-proof that holds  | `Proved`                                       | client proved   |
| client proved   | `welcome()`              | welcome                                        | welcomed        |
| welcomed        | anything open allows     | as open                                        | open            |
| both                                                                                                          |
| open            | ping                     | `Reply`: pong                                  | open            |
| open            | pong to a ping of ours   | `Answered`                                     | open            |
| open            | talk                     | `Heard`                                        | open            |
| open, welcomed  | `leave()`                | bye                                            | leaving         |
| leaving         | as open                  | as open, but pings stay without answer         | leaving         |
| any but over    | bye                      | `Left`                                         | over            |
| any other       | `leave()`                | bye                                            | over            |
| any             | anything else            | `MalformedMessage` or `ProofRefused`           | over            |

Nothing counts as sent before `welcome`: until then the client does not know that it was believed. Nor does the server say
anything between its welcome and the client's first word: the client may have another link with us by then, on which it
goes on, and would leave this one with what is on its way to it.
"""

import enum
import hashlib
from typing import Final, NamedTuple

from dhtchat.crypto.identity import SigningKey, verify
from dhtchat.errors import BadSignature, MalformedMessage, MalformedRecord, ProofRefused, RemoteMisbehaved
from dhtchat.ids import DeviceId, PeerId
from dhtchat.limits import KEEPALIVE_TICKS, LINK_VERSION
from dhtchat.peer.framing import frame
from dhtchat.peer.link_limits import DEFAULT_LIMITS, LinkLimits
from dhtchat.peer.messages import (
    Bye,
    ClientProof,
    Hello,
    PeerMessage,
    Ping,
    Pong,
    ServerProof,
    Welcome,
    decode,
    encode,
)
from dhtchat.records.device import Author, open_certificate

SERVER_PURPOSE: Final = "link-server"
CLIENT_PURPOSE: Final = "link-client"
_HANDSHAKE_KINDS: Final = (Hello, ServerProof, ClientProof, Welcome)
_SESSION_KINDS: Final = (*_HANDSHAKE_KINDS, Ping, Pong, Bye)
"""What the session says by itself; everything else is talk."""
TOKEN_MODULUS: Final = 2**32
"""Ping tokens count up and start again: a link that lives that long pings once in seven seconds."""


class State(enum.Enum):
    """Where a session stands; the value is how an error text names it."""

    FRESH = "before the start"
    AWAITING_SERVER = "before the server's proof"
    SERVER_PROVED = "before our own proof"
    PROOF_SENT = "before the welcome"
    AWAITING_HELLO = "before the hello"
    AWAITING_CLIENT = "before the client's proof"
    CLIENT_PROVED = "before the client is let in"
    WELCOMED = "before the client's first word"
    OPEN = "on an open link"
    LEAVING = "after our goodbye"
    OVER = "after the end"


class Reply(NamedTuple):
    """Put these bytes on the wire now."""

    wire: bytes


class Proved(NamedTuple):
    """The other side is who it says."""

    author: Author


class Opened(NamedTuple):
    """The server let us in. If we stay, these bytes tell it."""

    wire: bytes


class Answered(NamedTuple):
    """The ping with this token came back."""

    token: int


class Left(NamedTuple):
    """The other side said goodbye."""

    reason: str


class Heard(NamedTuple):
    """Talk, for whoever is above."""

    message: PeerMessage


Outcome = Reply | Proved | Opened | Answered | Left | Heard | None


class KeepAlive:
    """When to ping and when silence means the end. A ping goes out when nothing was heard for a while.

    Pings are counted from 1; a token on the wire is the count modulo 2^32.
    """

    __slots__ = ("_answered", "_dead_at", "_interval_s", "_phase_s", "_ping_at", "_tick_s", "_timeout_s", "asked")

    def __init__(self, limits: LinkLimits, now: float, *, patience: int = 1, phase: float = 0.0) -> None:
        """`patience`: for how many intervals it leaves asking to the other side. `phase`, from 0 to 1: where between two whole
        ticks those of this device are."""
        self._interval_s = patience * limits.keepalive_interval_s
        self._tick_s = limits.keepalive_interval_s / KEEPALIVE_TICKS
        self._phase_s = phase * self._tick_s
        self._timeout_s = limits.keepalive_timeout_s
        self.asked = 0
        self._answered = 0
        self._ping_at = self._dead_at = now
        self.heard(now)

    @property
    def due_at(self) -> float:
        """When to look again, by the clock of `now`."""
        return min(self._ping_at, self._dead_at)

    def heard(self, now: float) -> None:
        """Any byte arrived."""
        self._ping_at = self._tick_near(now + self._interval_s)
        self._dead_at = now + self._timeout_s

    def _tick_near(self, at: float) -> float:
        return self._phase_s + round((at - self._phase_s) / self._tick_s) * self._tick_s

    def excuse(self, now: float) -> None:
        """We were not listening, so their silence means nothing. Our pings go on: they must not think us dead."""
        self._dead_at = now + self._timeout_s

    def is_dead(self, now: float) -> bool:
        return now >= self._dead_at

    def ping_due(self, now: float) -> bool:
        return now >= self._ping_at

    def ping(self, now: float) -> Ping:
        self._ping_at = self._tick_near(now + self._interval_s)
        self.asked += 1
        return Ping(self.asked % TOKEN_MODULUS)

    def answered(self, pong: Pong) -> int:
        """Which of our pings that answers. They may skip some and go back to none; a pong unasked for breaks the rules."""
        ahead = (pong.token - self._answered) % TOKEN_MODULUS
        if not 1 <= ahead <= self.asked - self._answered:
            raise MalformedMessage("a pong to no ping of ours")
        self._answered += ahead
        return self._answered


class _Session:
    """What both roles share: the transcript, and everything from `open` on."""

    _patience = 1
    """Who dialled asks whether the other is still there; were both to ask, it would be at the same moment."""

    def __init__(self, *, network_id: bytes, key: SigningKey, certificate: bytes, limits: LinkLimits) -> None:
        self._network_id = network_id
        self._key = key
        self._certificate = certificate
        self._limits = limits
        self._transcript = hashlib.sha256()
        self._keep_alive = KeepAlive(limits, 0.0)
        self.state = State.FRESH

    # --- the handshake ------------------------------------------------------------------------------------------------

    def receive(self, message_bytes: bytes, now: float) -> Outcome:
        """Judge one frame's content. Raises `MalformedMessage` or `ProofRefused` and nothing else, whatever the bytes;
        either ends the session."""
        try:
            if self.state is State.OVER:
                raise MalformedMessage(f"a message {self.state.value}")
            message = decode(message_bytes)
            if isinstance(message, Bye):
                self.state = State.OVER
                return Left(message.reason)
            if self.state in (State.WELCOMED, State.OPEN, State.LEAVING):
                return self._on_open(message)
            return self._on_handshake(message, frame(message_bytes), now)
        except RemoteMisbehaved:
            self.state = State.OVER
            raise

    def _on_handshake(self, message: PeerMessage, wire: bytes, now: float) -> Outcome:
        raise NotImplementedError

    def _say(self, message: PeerMessage) -> bytes:
        """A handshake frame of ours, as part of the transcript."""
        wire = frame(encode(message))
        self._transcript.update(wire)
        return wire

    def _digest(self) -> bytes:
        """T as it stands."""
        return self._transcript.copy().digest()

    def _open_certificate(self, raw: bytes) -> Author:
        try:
            author = open_certificate(raw, self._network_id)
        except (MalformedRecord, BadSignature) as error:
            raise ProofRefused(f"the other side's device certificate: {str(error)!a}") from error
        if author.device == self._key.public:
            raise ProofRefused("the other side has this very device's key: a link to oneself")
        return author

    def _misplaced(self, message: PeerMessage) -> MalformedMessage:
        return MalformedMessage(f"a {type(message).__name__} {self.state.value}")

    def _start_life(self, now: float) -> None:
        # Devices do not march in step, the links of one do.
        phase = self._key.public[0] / 256
        self._keep_alive = KeepAlive(self._limits, now, patience=self._patience, phase=phase)
        self._transcript = hashlib.sha256()  # nobody asks for it again

    # --- open ---------------------------------------------------------------------------------------------------------

    def _on_open(self, message: PeerMessage) -> Outcome:
        if isinstance(message, _HANDSHAKE_KINDS):
            raise self._misplaced(message)
        answered = self._keep_alive.answered(message) if isinstance(message, Pong) else 0
        if self.state is State.WELCOMED:
            self.state = State.OPEN
        match message:
            case Ping():
                return Reply(frame(encode(Pong(message.token)))) if self.state is State.OPEN else None
            case Pong():
                return Answered(answered)
            case _:
                return Heard(message)

    def say(self, message: PeerMessage) -> bytes:
        """Talk of ours, for the wire. Only on an open link, and never the session's own kinds."""
        if self.state is not State.OPEN:
            raise ValueError(f"nothing can be said {self.state.value}")
        if isinstance(message, _SESSION_KINDS):
            raise ValueError(f"a {type(message).__name__} is the session's to send")
        return frame(encode(message))

    def leave(self, reason: str) -> bytes:
        """Our goodbye, or our refusal to go on."""
        self.state = State.LEAVING if self.state in (State.WELCOMED, State.OPEN) else State.OVER
        return frame(encode(Bye(reason)))

    # --- keep-alive, on an open link ----------------------------------------------------------------------------------

    @property
    def due_at(self) -> float:
        """When to call `on_timer`."""
        return self._keep_alive.due_at

    def heard(self, now: float) -> None:
        """Any byte arrived, be it a part of a frame."""
        self._keep_alive.heard(now)

    def on_timer(self, now: float, *, listening: bool) -> bytes | None:
        """A ping if one is due. Raises `TimeoutError` when the silence was too long and we were `listening`."""
        if not listening:
            self._keep_alive.excuse(now)
        if self._keep_alive.is_dead(now):
            self.state = State.OVER
            raise TimeoutError(f"nothing heard for {self._limits.keepalive_timeout_s} s")
        return self.ping(now)[0] if self._keep_alive.ping_due(now) else None

    def ping(self, now: float) -> tuple[bytes, int]:
        """A ping for the wire, and the token that `Answered` will reach when it comes back."""
        ping = self._keep_alive.ping(now)
        return frame(encode(ping)), self._keep_alive.asked


class ClientSession(_Session):
    """The side that dialled. `expected_*`: whom it wants; anybody else learns nothing but that somebody called."""

    def __init__(
        self,
        *,
        network_id: bytes,
        key: SigningKey,
        certificate: bytes,
        nonce: bytes,
        expected_device: DeviceId | None = None,
        expected_peer: PeerId | None = None,
        limits: LinkLimits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(network_id=network_id, key=key, certificate=certificate, limits=limits)
        self._nonce = nonce
        self._expected_device = expected_device
        self._expected_peer = expected_peer
        self._server_device = b""

    def start(self, server_tls_certificate: bytes) -> bytes:
        """The hello. `server_tls_certificate` is the DER that TLS showed us."""
        if self.state is not State.FRESH:
            raise ValueError("a session starts once")
        self._transcript.update(server_tls_certificate)
        self.state = State.AWAITING_SERVER
        return self._say(Hello(LINK_VERSION, self._network_id, self._nonce))

    def _on_handshake(self, message: PeerMessage, wire: bytes, now: float) -> Outcome:
        match self.state, message:
            case State.AWAITING_SERVER, ServerProof():
                author = self._judge(message)
                self._transcript.update(wire)
                self._server_device = author.device
                self.state = State.SERVER_PROVED
                return Proved(author)
            case State.PROOF_SENT, Welcome():
                self._start_life(now)
                self.state = State.OPEN
                return Opened(self.ping(now)[0])
            case _:
                raise self._misplaced(message)

    def _judge(self, proof: ServerProof) -> Author:
        author = self._open_certificate(proof.certificate)
        if self._expected_device is not None and author.device != self._expected_device:
            raise ProofRefused("another device answers at this address")
        if self._expected_peer is not None and author.peer != self._expected_peer:
            raise ProofRefused("the device at this address belongs to another identity")
        if not verify(author.device, SERVER_PURPOSE, self._network_id, self._digest(), proof.signature):
            raise ProofRefused("the server's proof does not hold on this channel")
        return author

    def prove(self) -> bytes:
        """Our own proof: from here on the server knows who called."""
        if self.state is not State.SERVER_PROVED:
            raise ValueError(f"no proof of ours {self.state.value}")
        signature = self._key.sign(CLIENT_PURPOSE, self._network_id, self._digest() + self._server_device)
        self.state = State.PROOF_SENT
        return self._say(ClientProof(self._certificate, signature))


class ServerSession(_Session):
    """The side that was dialled. It says who it is to whoever asks (threat-model.md), and judges the client after."""

    _patience = 2

    def __init__(
        self,
        *,
        network_id: bytes,
        key: SigningKey,
        certificate: bytes,
        nonce: bytes,
        tls_certificate: bytes,
        limits: LinkLimits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(network_id=network_id, key=key, certificate=certificate, limits=limits)
        self._nonce = nonce
        self._transcript.update(tls_certificate)
        self.state = State.AWAITING_HELLO

    def _on_handshake(self, message: PeerMessage, wire: bytes, now: float) -> Outcome:
        match self.state, message:
            case State.AWAITING_HELLO, Hello():
                if message.version != LINK_VERSION:
                    raise ProofRefused(f"the other side speaks version {message.version}, we speak {LINK_VERSION}")
                if message.network_id != self._network_id:
                    raise ProofRefused("the other side is on another network")
                self._transcript.update(wire)
                signature = self._key.sign(SERVER_PURPOSE, self._network_id, self._digest())
                self.state = State.AWAITING_CLIENT
                return Reply(self._say(ServerProof(self._certificate, self._nonce, signature)))
            case State.AWAITING_CLIENT, ClientProof():
                author = self._open_certificate(message.certificate)
                body = self._digest() + self._key.public
                if not verify(author.device, CLIENT_PURPOSE, self._network_id, body, message.signature):
                    raise ProofRefused("the client's proof does not hold on this channel")
                self.state = State.CLIENT_PROVED
                return Proved(author)
            case _:
                raise self._misplaced(message)

    def welcome(self, now: float) -> bytes:
        """Let the client in."""
        if self.state is not State.CLIENT_PROVED:
            raise ValueError(f"nobody to welcome {self.state.value}")
        self._start_life(now)
        self.state = State.WELCOMED
        return frame(encode(Welcome()))
