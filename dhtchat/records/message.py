"""What was said: a message is signed by the device it was typed on and names what its author had seen.

Each (device, conversation) pair has a chain: `counter` from 1, `previous` the id of the message before. `parents` are
the heads of the conversation as the author saw it. Times are shown, never used to order.
"""

from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from dhtchat.crypto.identity import SigningKey
from dhtchat.errors import MalformedRecord
from dhtchat.ids import MESSAGE_ID_BYTES, MessageId, PeerId, is_folded_name, labelled_hash
from dhtchat.limits import (
    NAME_CHARACTERS_MAX,
    PARENTS_MAX,
    TEXT_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from dhtchat.records.device import CERTIFICATE_BYTES_MAX, Author, open_certificate
from dhtchat.records.envelope import Body, Key, Signed, decode_body, open_signed, peek_digest, peek_envelope, sign_body

MESSAGE_BYTES_MAX: Final = TEXT_BYTES_MAX + CERTIFICATE_BYTES_MAX + 365
"""The longest text, the certificate, and 365 bytes of parents, other fields and envelope; pinned by
tests/records/test_sizes.py."""

Id = Annotated[bytes, Meta(min_length=MESSAGE_ID_BYTES, max_length=MESSAGE_ID_BYTES)]


class Say(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="say"):
    """A line of talk. `action` is `/me`."""

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
    action: bool = False

    def __post_init__(self) -> None:
        if len(self.text.encode()) > TEXT_BYTES_MAX:
            raise ValueError("the text is too long")


class SetTopic(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="topic"):
    """A room's topic; the causally latest holds."""

    text: Annotated[str, Meta(max_length=TOPIC_CHARACTERS_MAX)]

    def __post_init__(self) -> None:
        if len(self.text.encode()) > TOPIC_BYTES_MAX:
            raise ValueError("the topic is too long")


Content = Say | SetTopic


class Message(Body, frozen=True):
    """Signed by the device key. `target`: the room's id, or for a private message the recipient's identity."""

    KIND: ClassVar[str] = "message"

    certificate: Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)]
    direct: bool
    target: Key
    recipient: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    """The recipient's name as the author knows it, so that the author's other devices can show it; empty in a room."""
    counter: Annotated[int, Meta(ge=1, le=2**62)]
    previous: Annotated[bytes, Meta(max_length=MESSAGE_ID_BYTES)]
    parents: Annotated[list[Id], Meta(max_length=PARENTS_MAX)]
    sent_at_ms: Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
    """The author's clock, Unix milliseconds, up to the end of year 9999: the last that RFC 3339 can show."""
    content: Content

    def __post_init__(self) -> None:
        if len(self.previous) != (0 if self.counter == 1 else MESSAGE_ID_BYTES):
            raise ValueError("a message names the one before it, and the first names none")
        if is_folded_name(self.recipient) is not self.direct:
            raise ValueError("a private message names its recipient, and only a private one")


class Statement:
    """A verified message with its author: what the rest of the program works on."""

    __slots__ = ("author", "body", "conversation", "id", "raw")

    def __init__(self, signed: Signed[Message], author: Author) -> None:
        self.raw = signed.raw
        self.body = signed.body
        self.author = author
        self.id = message_id_of(signed)
        self.conversation = (
            direct_conversation(author.peer, PeerId(signed.body.target)) if signed.body.direct else signed.body.target
        )

    def __repr__(self) -> str:
        return f"Statement({self.id.hex()[:8]}…, {self.author.name} #{self.body.counter})"


def peek_message_id(raw: bytes) -> MessageId:
    """The id of unverified bytes, to spare a known message its check. Raises `MalformedRecord`."""
    return MessageId(peek_digest(raw)[:MESSAGE_ID_BYTES])


def peek_parents(raw: bytes) -> list[bytes]:
    """What a message names, without checking it again: for those we have checked and kept. Raises `MalformedRecord`."""
    body: Message = decode_body(peek_envelope(raw).body, Message)
    return list(body.parents)


def peek_sent_at_s(raw: bytes) -> float:
    """When its author says it was said, Unix seconds; of those we have checked and kept. Raises `MalformedRecord`."""
    body: Message = decode_body(peek_envelope(raw).body, Message)
    return body.sent_at_ms / 1000


def message_id_of(signed: Signed[Message]) -> MessageId:
    return MessageId(signed.digest[:MESSAGE_ID_BYTES])


def direct_conversation(a: PeerId, b: PeerId) -> bytes:
    """32 bytes: the conversation of two people, the same from either side."""
    return labelled_hash("direct", *sorted((a, b)))


def sign_statement(message: Message, device: SigningKey, author: Author, network_id: bytes) -> Statement:
    """`message.certificate` must be `author`'s for `device`."""
    return Statement(sign_body(message, device, network_id), author)


def open_statement(raw: bytes, network_id: bytes) -> Statement:
    """Verify a message and the certificate of its device. Raises `MalformedRecord` or `BadSignature`."""
    signed: Signed[Message] = open_signed(raw, Message, network_id, bytes_max=MESSAGE_BYTES_MAX)
    author = open_certificate(signed.body.certificate, network_id)
    if author.device != signed.key:
        raise MalformedRecord("a message carries the certificate of another device")
    if signed.body.direct and isinstance(signed.body.content, SetTopic):
        raise MalformedRecord("a private talk has no topic")
    return Statement(signed, author)
