"""What nodes say to each other, and the one place where it becomes bytes and back. Nothing here sends or seals.

A message is an array that starts with its name, in msgpack. Around it stand an id that ties the answer to its request, a
token that shows who receives what is sent to an address, and padding. Records travel as the signed bytes they are:
whoever handles them verifies. An answer is decoded as what its open request expects, so that a stranger cannot choose the
type. Two datagrams are not sealed, because keys are not known yet: a hello, and the answer that this is another network.
"""

import hashlib
from collections.abc import Callable, Iterable
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from dhtchat.crypto.datagram import VERSION
from dhtchat.dht.contact import PACKED_CONTACT_LENGTHS, Contact, callable_contact, unpack_endpoint
from dhtchat.errors import MalformedMessage
from dhtchat.ids import KEY_BYTES
from dhtchat.limits import (
    BELOW_MAX,
    CLAIMS_PER_NAME_MAX,
    DATAGRAM_ID_BYTES,
    ENTRY_ID_BYTES_MAX,
    FIND_REPLY_CONTACTS_MAX,
    GIST_BYTES,
    HELLO_BYTES,
    NETWORK_TAG_BYTES,
    NODE_ID_BYTES,
    PAGE_BYTES_MAX,
    RECORD_BYTES_MAX,
    SOFT_TTL_S_MAX,
    TOKEN_BYTES,
    TREE_DEPTH_MAX,
)
from dhtchat.records.acceptance import Reason, Verdict

_LENGTH_BYTES: Final = 2
_HEAD_BYTES: Final = DATAGRAM_ID_BYTES + TOKEN_BYTES + _LENGTH_BYTES
MS_PER_S: Final = 1_000
NO_TOKEN: Final = bytes(TOKEN_BYTES)


class Kind(IntEnum):
    """What a datagram is, told by its first byte."""

    REQUEST = 0
    ANSWER = 1
    CLIENT_REQUEST = 2
    """From a node that is not to be put into tables."""
    HELLO = 3
    """Not sealed: who are you, and where do you see me? Answered by a sealed `Greeting`."""
    FOREIGN = 4
    """Not sealed: the answer to a hello of another network."""


Target = Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
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
    """Who asks is known by its seal."""


class Ping(Request, frozen=True, tag="ping"):
    """Are you there? Answered by `Pong`."""


class FindNode(Request, frozen=True, tag="find_node"):
    """Whom do you know near `target`? Answered by `Nodes`."""

    target: Target


class FindClaims(Request, frozen=True, tag="find_claims"):
    """Which claims do you hold for this name, from the `start`-th on? Answered by `Claims`, or by `Nodes` near `key` when
    there are none (FIND_VALUE of the paper's §2.3)."""

    key: Target
    start: Annotated[int, Meta(ge=0, lt=CLAIMS_PER_NAME_MAX)]


class FindEntries(Request, frozen=True, tag="find_entries"):
    """Which entries of this set do you hold behind the one named `after`? Answered by `Entries`, or by `Nodes` near `key`
    when there are none, `after` is empty and it is no node of a tree that has split."""

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


class Touch(Request, frozen=True, tag="touch"):
    """Keep the entry that I gave you alive, as if I had stored it anew: the one with this id in this set, in the version
    with this `gist_of` its digest. Answered by `Stored`."""

    key: Target
    entry: EntryCursor
    gist: Annotated[bytes, Meta(min_length=GIST_BYTES, max_length=GIST_BYTES)]


class ListEntries(Request, frozen=True, tag="list_entries"):
    """Which entries of this set are there behind the one named `after`, of whatever kind? Answered by `Listed`."""

    key: Target
    after: EntryCursor


class Leaving(Request, frozen=True, tag="leaving"):
    """I shall not answer from now on. Not answered; who gets it asks once whether it is true."""


# --- answers ----------------------------------------------------------------------------------------------------------


class Answer(_Message, frozen=True):
    """Who answers is known by its seal."""


class Pong(Answer, frozen=True, tag="pong"):
    pass


class Greeting(Answer, frozen=True, tag="greeting"):
    """To a hello. `observed`: the asker's address as seen here, packed."""

    observed: bytes

    def __post_init__(self) -> None:
        _checked(unpack_endpoint, self.observed)


class Nodes(Answer, frozen=True, tag="nodes"):
    """The nearest contacts the answerer knows, nearest first, of the asker's address family."""

    nodes: Annotated[list[bytes], Meta(max_length=FIND_REPLY_CONTACTS_MAX)]

    def __post_init__(self) -> None:
        if not PACKED_CONTACT_LENGTHS.issuperset(map(len, self.nodes)):
            raise ValueError("something that is no contact")

    def contacts(self, bits: int) -> list[Contact]:
        """Those that a node can be behind, with keys that solve the puzzle of so many bits."""
        return [contact for packed in self.nodes if (contact := callable_contact(packed, bits)) is not None]


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
    the last of each child. `gist`, on the first of several pages: `gist_of` all of them, so that a reader need not fetch
    from every replica what they all have.
    """

    entries: Annotated[list[Entry], Meta(max_length=PAGE_BYTES_MAX)]
    following: EntryCursor
    split: bool = False
    below: Annotated[tuple[Prefix, ...], Meta(max_length=BELOW_MAX)] = ()
    gist: Annotated[bytes, Meta(max_length=GIST_BYTES)] = b""


class ListedEntry(_Message, frozen=True):
    """An entry of a set by its id, and the sequence number of the version that is held."""

    entry: EntryCursor
    sequence: Annotated[int, Meta(ge=0, le=2**62)]


class Listed(Answer, frozen=True, tag="listed"):
    """One page. `following`: where the next one starts; empty at the end."""

    entries: Annotated[list[ListedEntry], Meta(max_length=PAGE_BYTES_MAX)]
    following: EntryCursor


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
    BUSY = "busy"
    UNPROVED = "unproved"
    """Ask again with the token that comes with this: nothing has shown yet that the asker is where it seems to be."""


class Refused(Answer, frozen=True, tag="refused"):
    """Instead of any other answer."""

    reason: Refusal


Message = Request | Answer
A = TypeVar("A", bound=Answer)

ANSWER_TO: Final[dict[type[Request], type[Answer]]] = {
    Ping: Pong,
    FindNode: Nodes,
    FindClaims: Claims,
    FindEntries: Entries,
    Store: Stored,
    Touch: Stored,
    ListEntries: Listed,
}


def _checked(reader: Callable[[bytes], object], field: bytes) -> None:
    """Inside a struct msgspec turns only `ValueError` and `TypeError` into its own."""
    try:
        reader(field)
    except MalformedMessage as error:
        raise ValueError(str(error)) from error


# --- bytes ------------------------------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """What a seal was around. `token`: in a request the one that its receiver gave out before, in an answer one for the
    next request. `message` is None for an answer that nobody waits for: it is not even looked at."""

    message_id: bytes
    token: bytes
    message: Message | None


_request_decoder: Final = msgspec.msgpack.Decoder(
    Ping | FindNode | FindClaims | FindEntries | Store | Touch | ListEntries | Leaving
)
_answers: Final[tuple[type[Answer], ...]] = (*dict.fromkeys(ANSWER_TO.values()), Greeting)
_answer_decoders: Final[dict[type[Answer], msgspec.msgpack.Decoder[Any]]] = {
    answer: msgspec.msgpack.Decoder(answer | Nodes | Refused if answer in (Claims, Entries) else answer | Refused)
    for answer in _answers
}
_encoder: Final = msgspec.msgpack.Encoder()


def encode(message_id: bytes, token: bytes, message: Message, *, bytes_min: int = 0) -> bytes:
    """What is to be sealed, padded to `bytes_min`: id 8, token 8, length 2, message, zeros."""
    payload = _encoder.encode(message)
    whole = message_id + token + len(payload).to_bytes(_LENGTH_BYTES, "big") + payload
    return whole if len(whole) >= bytes_min else whole.ljust(bytes_min, b"\0")


def decode_request(plaintext: bytes) -> Frame:
    """Raises `MalformedMessage` and nothing else, whatever the bytes."""
    message_id, token, payload = _cut(plaintext)
    return Frame(message_id, token, _read(_request_decoder, payload))


def decode_answer(plaintext: bytes, expected: Callable[[bytes], type[Answer] | None]) -> Frame:
    """The same. `expected`: what the open request of a given id is answered by, or None when there is none."""
    message_id, token, payload = _cut(plaintext)
    answer = expected(message_id)
    return Frame(message_id, token, None if answer is None else _read(_answer_decoders[answer], payload))


def _cut(plaintext: bytes) -> tuple[bytes, bytes, bytes]:
    payload_bytes = int.from_bytes(plaintext[_HEAD_BYTES - _LENGTH_BYTES : _HEAD_BYTES], "big")
    if len(plaintext) < _HEAD_BYTES + payload_bytes:
        raise MalformedMessage(f"{len(plaintext)} bytes where a message should be")
    message_id, token = plaintext[:DATAGRAM_ID_BYTES], plaintext[DATAGRAM_ID_BYTES : DATAGRAM_ID_BYTES + TOKEN_BYTES]
    return message_id, token, plaintext[_HEAD_BYTES : _HEAD_BYTES + payload_bytes]


def _read(decoder: msgspec.msgpack.Decoder[Message], payload: bytes) -> Message:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The last two are real: bad UTF-8 and deep nesting do not arrive as MsgspecError.
        raise MalformedMessage(f"unreadable {len(payload)}-byte message: {error}") from error


def gist_of(digests: Iterable[bytes]) -> bytes:
    """Of the records of a set, whatever their order: 16 bytes that no other set has."""
    return hashlib.sha256(b"".join(sorted(digests))).digest()[:GIST_BYTES]


def encoded_size(part: object) -> int:
    """Bytes that something takes within a message: pages are filled by this."""
    return len(_encoder.encode(part))


# --- before keys are known --------------------------------------------------------------------------------------------


class Hello(NamedTuple):
    """`key`: the asker's, for the answer to be sealed to. `network`: head of its network id."""

    key: bytes
    network: bytes
    message_id: bytes


def encode_hello(hello: Hello) -> bytes:
    """A whole datagram: version and kind 1, key 32, network 4, id 8, zeros up to HELLO_BYTES."""
    return (bytes((VERSION | Kind.HELLO,)) + b"".join(hello)).ljust(HELLO_BYTES, b"\0")


def decode_hello(datagram: bytes) -> Hello:
    """Raises `MalformedMessage`. A shorter one could be used to make us send more than was sent to us."""
    if len(datagram) != HELLO_BYTES or datagram[0] != VERSION | Kind.HELLO:
        raise MalformedMessage(f"{len(datagram)} bytes that are no hello")
    network_at, id_at = 1 + KEY_BYTES, 1 + KEY_BYTES + NETWORK_TAG_BYTES
    return Hello(datagram[1:network_at], datagram[network_at:id_at], datagram[id_at : id_at + DATAGRAM_ID_BYTES])


def encode_foreign(message_id: bytes) -> bytes:
    """A whole datagram: version and kind 1, id 8."""
    return bytes((VERSION | Kind.FOREIGN,)) + message_id


def decode_foreign(datagram: bytes) -> bytes:
    """The id of the hello that it answers. Raises `MalformedMessage`."""
    if len(datagram) != 1 + DATAGRAM_ID_BYTES or datagram[0] != VERSION | Kind.FOREIGN:
        raise MalformedMessage(f"{len(datagram)} bytes that answer no hello")
    return datagram[1:]
