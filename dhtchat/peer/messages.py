"""Everything one peer says to another over a link: one struct per row of the table in docs/protocol.md.

`decode` is the only way in. Statements and records travel as the signed bytes they are; whoever handles them verifies.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dhtchat.crypto.identity import SIGNATURE_BYTES
from dhtchat.errors import MalformedMessage
from dhtchat.limits import (
    ANNOUNCED_IDS_MAX,
    FRAME_BYTES_MAX,
    NONCE_BYTES,
    RECORD_BYTES_MAX,
    RULINGS_PAGE_MAX,
    SURVEY_HOPS_MAX,
    SYNC_DEVICES_MAX,
    SYNC_PAGE_ABSENT_MAX,
    SYNC_PAGE_FLOORS_MAX,
    SYNC_PAGE_STATEMENTS_MAX,
)
from dhtchat.records.device import CERTIFICATE_BYTES_MAX
from dhtchat.records.envelope import Key
from dhtchat.records.message import MESSAGE_BYTES_MAX, Id
from dhtchat.records.ruling import Heads

Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
Signature = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
Certificate = Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)]
RecordBytes = Annotated[bytes, Meta(max_length=RECORD_BYTES_MAX)]
StatementBytes = Annotated[bytes, Meta(max_length=MESSAGE_BYTES_MAX)]
Counter = Annotated[int, Meta(ge=0, le=2**62)]


class PeerMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Anything one peer says to another."""


# --- the handshake, in this order -------------------------------------------------------------------------------------


class Hello(PeerMessage, frozen=True, tag="hello"):
    """Client to server, first."""

    version: Annotated[int, Meta(ge=1, le=255)]
    network_id: Annotated[bytes, Meta(min_length=32, max_length=32)]
    nonce: Nonce


class ServerProof(PeerMessage, frozen=True, tag="server-proof"):
    """The device certificate names the identity and the device key; the signature is the device's."""

    certificate: Certificate
    nonce: Nonce
    signature: Signature


class ClientProof(PeerMessage, frozen=True, tag="client-proof"):
    certificate: Certificate
    signature: Signature


class Welcome(PeerMessage, frozen=True, tag="welcome"):
    """Server to client: both are proved; from here on anything below may be said."""


# --- upkeep -----------------------------------------------------------------------------------------------------------


class Ping(PeerMessage, frozen=True, tag="ping"):
    token: Annotated[int, Meta(ge=0, lt=2**32)]


class Pong(PeerMessage, frozen=True, tag="pong"):
    token: Annotated[int, Meta(ge=0, lt=2**32)]


class Bye(PeerMessage, frozen=True, tag="bye"):
    """The link ends on purpose, or is refused. `reason` is one word: `leaving`, `duplicate`, `full`."""

    reason: Annotated[str, Meta(pattern=r"^[a-z-]{1,16}\Z")]


# --- talk -------------------------------------------------------------------------------------------------------------


class Tell(PeerMessage, frozen=True, tag="tell"):
    """A new statement, fresh from its author."""

    statement: StatementBytes


class Pushed(PeerMessage, frozen=True, tag="pushed"):
    """A statement of a large room, on its way from neighbour to neighbour. `survey`: its way becomes the tree, and it has been over
    so many links."""

    statement: StatementBytes
    survey: Annotated[int, Meta(ge=0, le=SURVEY_HOPS_MAX)] | None


class Neighbour(PeerMessage, frozen=True, tag="neighbour"):
    """Be my neighbour in this room (`please`; `urgent`: I have none), and the answer. `no` also ends it."""

    room: Key
    word: Literal["please", "urgent", "yes", "no"]


class Announced(PeerMessage, frozen=True, tag="announced"):
    """The sender has these messages of a large room."""

    room: Key
    ids: Annotated[list[Id], Meta(min_length=1, max_length=ANNOUNCED_IDS_MAX)]


class Wanted(PeerMessage, frozen=True, tag="wanted"):
    """The sender has heard of these, and did not get them."""

    room: Key
    ids: Annotated[list[Id], Meta(min_length=1, max_length=ANNOUNCED_IDS_MAX)]


class Branch(PeerMessage, frozen=True, tag="branch"):
    """Whether the link is to be part of the room's tree: push what comes (graft), or only announce it (prune)."""

    room: Key
    grafted: bool


class Committed(PeerMessage, frozen=True, tag="committed"):
    """The statements with these ids are on the sender's disk."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=1_024)]


class DeviceCounter(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All statements of `device` in the conversation from `floor` up to and including `counter`."""

    device: Key
    counter: Counter
    floor: Counter = 1


class Have(PeerMessage, frozen=True, tag="have"):
    """What the sender has of a conversation, without gaps. Devices not named: nothing.

    `answer`: the other side is asked to say its own `Have` in turn. `lines`: and to send what lacks here.
    """

    conversation: Key
    devices: Annotated[list[DeviceCounter], Meta(max_length=SYNC_DEVICES_MAX)]
    answer: bool
    lines: bool = True


class Lines(PeerMessage, frozen=True, tag="lines"):
    """What the other side lacks, in causal order, one page. `floors`: what is older than these (in `counter`) will not come
    from here, nor will `absent`, parents that statements of this page name.

    `more`: another page follows when this one is answered with a `Have`.
    """

    conversation: Key
    statements: Annotated[list[StatementBytes], Meta(max_length=SYNC_PAGE_STATEMENTS_MAX)]
    floors: Annotated[list[DeviceCounter], Meta(max_length=SYNC_PAGE_FLOORS_MAX)]
    absent: Annotated[list[Id], Meta(max_length=SYNC_PAGE_ABSENT_MAX)]
    more: bool


class Announce(PeerMessage, frozen=True, tag="announce"):
    """Signed soft records (presence, membership) told at once to neighbours, who need not wait for the DHT."""

    records: Annotated[list[RecordBytes], Meta(min_length=1, max_length=32)]


class Rulings(PeerMessage, frozen=True, tag="rulings"):
    """What was ruled about a room. `heads`: the newest that the sender has; `rulings`: some that the other side may lack.

    `answer`: the other side is asked to send what the sender lacks.
    """

    room: Key
    heads: Heads
    rulings: Annotated[list[RecordBytes], Meta(max_length=RULINGS_PAGE_MAX)]
    answer: bool


AnyMessage = (
    Hello
    | ServerProof
    | ClientProof
    | Welcome
    | Ping
    | Pong
    | Bye
    | Tell
    | Pushed
    | Neighbour
    | Announced
    | Wanted
    | Branch
    | Committed
    | Have
    | Lines
    | Announce
    | Rulings
)
Handshake = Hello | ServerProof | ClientProof | Welcome

_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)
_encoder = msgspec.msgpack.Encoder()


def encode(message: PeerMessage) -> bytes:
    """The bytes of one frame, without its length. A message too long for a frame is a bug of ours: `ValueError`."""
    encoded = _encoder.encode(message)
    if len(encoded) > FRAME_BYTES_MAX:
        raise ValueError(f"a {type(message).__name__} of {len(encoded)} bytes does not fit a frame")
    return encoded


def decode(frame: bytes) -> AnyMessage:
    """The only way in. Raises `MalformedMessage` and nothing else, whatever the bytes."""
    try:
        return _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The text may quote the sender's bytes, and it is shown: nothing but printable ASCII of it.
        raise MalformedMessage(f"unreadable {len(frame)}-byte message: {str(error)!a}") from error
