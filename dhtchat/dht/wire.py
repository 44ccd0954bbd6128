"""What nodes say to each other, and the one place where it becomes bytes and back. Nothing here sends.

The frame is rpcudp's: a type byte (0 request, 1 answer), a 20-byte id that ties the answer to its request, then msgpack.
A payload is an array that starts with the name of the message. Records travel as the signed bytes they are: whoever
handles them verifies. An answer is decoded as what its open request expects, so that a stranger cannot choose the type.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from dhtchat.crypto.identity import SIGNATURE_BYTES
from dhtchat.dht.contact import PACKED_CONTACT_LENGTHS, Contact, callable_contact, unpack_endpoint
from dhtchat.errors import MalformedMessage
from dhtchat.ids import KEY_BYTES
from dhtchat.limits import (
    BELOW_MAX,
    CLAIMS_PER_NAME_MAX,
    DATAGRAM_ID_BYTES,
    ENTRY_ID_BYTES_MAX,
    FIND_REPLY_CONTACTS_MAX,
    NETWORK_TAG_BYTES,
    NODE_ID_BYTES,
    NONCE_BYTES,
    PAGE_BYTES_MAX,
    RECORD_BYTES_MAX,
    SOFT_TTL_S_MAX,
    TREE_DEPTH_MAX,
    UDP_PAYLOAD_BYTES_MAX,
)
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.envelope import Key

_REQUEST: Final = b"\x00"
_ANSWER: Final = b"\x01"
_HEAD_BYTES: Final = len(_REQUEST) + DATAGRAM_ID_BYTES
MS_PER_S: Final = 1_000

NetworkTag = Annotated[bytes, Meta(min_length=NETWORK_TAG_BYTES, max_length=NETWORK_TAG_BYTES)]
SenderId = Annotated[bytes, Meta(max_length=NODE_ID_BYTES)]
"""A node's id; empty for a client, which asks but is never put into a table."""
Target = Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
Signature = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
RecordBytes = Annotated[bytes, Meta(min_length=1, max_length=RECORD_BYTES_MAX)]
EntryCursor = Annotated[bytes, Meta(max_length=ENTRY_ID_BYTES_MAX)]
KindName = Annotated[str, Meta(max_length=16)]
RemainingMs = Annotated[int, Meta(ge=0, le=SOFT_TTL_S_MAX * MS_PER_S)]
"""Milliseconds, not a float: no NaN and no infinity can come in, and it is half as long."""

Depth = Annotated[int, Meta(ge=0, le=TREE_DEPTH_MAX)]
Prefix = Annotated[str, Meta(max_length=TREE_DEPTH_MAX, pattern=r"^[0-9a-f]*\Z")]


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What both have in common: the shape."""


# --- requests ---------------------------------------------------------------------------------------------------------


class Request(_Message, frozen=True):
    """`network`: head of the asker's network id. `sender`: who asks, see `SenderId`."""

    network: NetworkTag
    sender: SenderId

    def __post_init__(self) -> None:
        _check_sender(self.sender)


class Ping(Request, frozen=True, tag="ping"):
    """Are you there? Answered by `Pong`."""


class Hello(Request, frozen=True, tag="hello"):
    """Who are you, and where do you see me? Answered by `Proof`."""

    nonce: Nonce


class FindNode(Request, frozen=True, tag="find_node"):
    """Whom do you know near `target`? Answered by `Nodes`."""

    target: Target


class FindClaims(Request, frozen=True, tag="find_claims"):
    """Which claims do you hold for this name, from the `start`-th on? Answered by `Claims`."""

    key: Target
    start: Annotated[int, Meta(ge=0, lt=CLAIMS_PER_NAME_MAX)]


class FindEntries(Request, frozen=True, tag="find_entries"):
    """Which entries of this set do you hold behind the one named `after`? Answered by `Entries`."""

    key: Target
    kind: KindName
    after: EntryCursor


class Store(Request, frozen=True, tag="store"):
    """Keep this. `remaining_ms`: what is left of a soft record's life when it is handed on. Answered by `Stored`.

    `depth`: how far below the root of a tree `key` lies. `lives`: how far below it the record itself lives; it is more
    when the record is to be a spokesman (docs/protocol.md, "Trees of sets").
    """

    key: Target
    record: RecordBytes
    remaining_ms: RemainingMs | None
    depth: Depth = 0
    lives: Depth = 0


class Leaving(Request, frozen=True, tag="leaving"):
    """I shall not answer from now on. Not answered; who gets it asks once whether it is true."""


# --- answers ----------------------------------------------------------------------------------------------------------


class Answer(_Message, frozen=True):
    """`sender`: the id of who answers; never empty, because clients are not asked."""

    sender: Target


class Pong(Answer, frozen=True, tag="pong"):
    pass


class Proof(Answer, frozen=True, tag="proof"):
    """`signature`: by `node_key`, as "node-hello", over the nonce and `observed`, the asker's address as seen here."""

    node_key: Key
    network_id: Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
    observed: bytes
    signature: Signature

    def __post_init__(self) -> None:
        _checked(unpack_endpoint, self.observed)


class Nodes(Answer, frozen=True, tag="nodes"):
    """The nearest contacts the answerer knows, nearest first, of the asker's address family."""

    nodes: Annotated[list[bytes], Meta(max_length=FIND_REPLY_CONTACTS_MAX)]

    def __post_init__(self) -> None:
        if not PACKED_CONTACT_LENGTHS.issuperset(map(len, self.nodes)):
            raise ValueError("something that is no contact")

    def contacts(self) -> list[Contact]:
        """Those that a node can be behind."""
        return [contact for contact in map(callable_contact, self.nodes) if contact is not None]


class Claims(Answer, frozen=True, tag="claims"):
    """Claims in their order of arrival: the first of all is the vote. `pending`: still asking the others, ask later."""

    pending: bool
    total: Annotated[int, Meta(ge=0, le=CLAIMS_PER_NAME_MAX)]
    records: Annotated[list[RecordBytes], Meta(max_length=CLAIMS_PER_NAME_MAX)]


class Entry(_Message, frozen=True):
    """An entry of a set and what is left of its life."""

    record: RecordBytes
    remaining_ms: RemainingMs


class Entries(Answer, frozen=True, tag="entries"):
    """One page. `following`: where the next one starts (the `after` to ask with); empty at the end.

    `split`: this node of a tree has split. `below`, on the first page: leaves in which there is somebody, the first and
    the last of each child.
    """

    entries: Annotated[list[Entry], Meta(max_length=PAGE_BYTES_MAX)]
    following: EntryCursor
    split: bool = False
    below: Annotated[tuple[Prefix, ...], Meta(max_length=BELOW_MAX)] = ()


class Stored(Answer, frozen=True, tag="stored"):
    """What became of a record, and the sequence number of what is held now in its place.

    `split`: this node of a tree has split. `edge`: the record is among the first or the last here, and should be shown to
    the node above.
    """

    verdict: Verdict
    reason: Reason
    sequence: Annotated[int, Meta(ge=0, le=2**62)]
    split: bool = False
    edge: bool = False


class Refusal(StrEnum):
    OTHER_NETWORK = "other-network"
    BUSY = "busy"


class Refused(Answer, frozen=True, tag="refused"):
    """Instead of any other answer."""

    reason: Refusal


Message = Request | Answer
A = TypeVar("A", bound=Answer)

ANSWER_TO: Final[dict[type[Request], type[Answer]]] = {
    Ping: Pong,
    Hello: Proof,
    FindNode: Nodes,
    FindClaims: Claims,
    FindEntries: Entries,
    Store: Stored,
}


def _check_sender(sender: bytes) -> None:
    if len(sender) not in (0, NODE_ID_BYTES):
        raise ValueError(f"{len(sender)} bytes are no node id")


def _checked(reader: Callable[[bytes], object], field: bytes) -> None:
    """Inside a struct msgspec turns only `ValueError` and `TypeError` into its own."""
    try:
        reader(field)
    except MalformedMessage as error:
        raise ValueError(str(error)) from error


# --- bytes ------------------------------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """A datagram, read. `message` is None for an answer that nobody waits for: its payload is not even looked at."""

    message_id: bytes
    message: Message | None


_request_decoder: Final = msgspec.msgpack.Decoder(Ping | Hello | FindNode | FindClaims | FindEntries | Store | Leaving)
_answer_decoders: Final[dict[type[Answer], msgspec.msgpack.Decoder[Any]]] = {
    answer: msgspec.msgpack.Decoder(answer | Refused) for answer in ANSWER_TO.values()
}


def encode(message_id: bytes, message: Message) -> bytes:
    """One datagram. At most UDP_PAYLOAD_BYTES_MAX by the bounds of the fields (tests/dht/test_sizes.py)."""
    return (_REQUEST if isinstance(message, Request) else _ANSWER) + message_id + msgspec.msgpack.encode(message)


def decode(datagram: bytes, expected: Callable[[bytes], type[Answer] | None]) -> Frame:
    """The only way in. Raises `MalformedMessage` and nothing else, whatever the bytes.

    `expected`: what the open request of a given id is answered by, or None when there is no such request.
    """
    if not _HEAD_BYTES < len(datagram) <= UDP_PAYLOAD_BYTES_MAX:
        raise MalformedMessage(f"a datagram of {len(datagram)} bytes")
    message_id, payload = datagram[len(_REQUEST) : _HEAD_BYTES], datagram[_HEAD_BYTES:]
    if datagram.startswith(_REQUEST):
        return Frame(message_id, _read(_request_decoder, payload))
    if not datagram.startswith(_ANSWER):
        raise MalformedMessage(f"a datagram of unknown type {datagram[0]}")
    answer = expected(message_id)
    return Frame(message_id, None if answer is None else _read(_answer_decoders[answer], payload))


def _read(decoder: msgspec.msgpack.Decoder[Message], payload: bytes) -> Message:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The last two are real: bad UTF-8 and deep nesting do not arrive as MsgspecError.
        raise MalformedMessage(f"unreadable {len(payload)}-byte payload: {error}") from error


def encoded_size(part: object) -> int:
    """Bytes that something takes within a message: pages are filled by this."""
    return len(msgspec.msgpack.encode(part))
