"""What was said, and what was done to what was said: signed by the device it was typed on, naming what its author had seen.

Each (device, conversation) pair has a chain: `counter` from 1, `previous` the id of the message before. `parents` are
the heads of the conversation as the author saw it. Times are shown, never used to order.
"""

from typing import Annotated, ClassVar, Final, NamedTuple

import msgspec
from msgspec import Meta

from dhtchat.crypto.identity import SigningKey
from dhtchat.errors import MalformedRecord
from dhtchat.ids import (
    MESSAGE_ID_BYTES,
    DeviceId,
    MessageId,
    PeerId,
    is_folded_name,
    is_folded_room,
    labelled_hash,
)
from dhtchat.limits import (
    DELETED_PLACES_MAX,
    EMOJI_BYTES_MAX,
    EMOJI_CHARACTERS_MAX,
    MATES_MAX,
    NAME_CHARACTERS_MAX,
    PARENTS_MAX,
    READ_IDS_MAX,
    REVISIONS_MAX,
    ROOM_NAME_CHARACTERS_MAX,
    TEXT_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from dhtchat.records.device import CERTIFICATE_BYTES_MAX, Author, open_certificate
from dhtchat.records.envelope import Body, Key, Signed, decode_body, open_signed, peek_digest, peek_envelope, sign_body
from dhtchat.records.ruling import Heads, check_heads

MESSAGE_BYTES_MAX: Final = TEXT_BYTES_MAX + CERTIFICATE_BYTES_MAX + 522
"""The longest text, the certificate, and 522 bytes of an edit's target, parents, heads, other fields and envelope; pinned by
tests/records/test_sizes.py."""

Id = Annotated[bytes, Meta(min_length=MESSAGE_ID_BYTES, max_length=MESSAGE_ID_BYTES)]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
Counter = Annotated[int, Meta(ge=1, le=2**62)]
PassesOver = Annotated[int, Meta(ge=0, le=2**62)]
Revision = Annotated[int, Meta(ge=1, le=REVISIONS_MAX)]
"""Of edits, and of reactions: one more than the highest that its author had seen. The highest counts, ties by id."""


class Say(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="say"):
    """A line of talk. `action` is `/me`; `reply_to` the line it answers, or empty."""

    text: Text
    action: bool = False
    reply_to: Annotated[bytes, Meta(max_length=MESSAGE_ID_BYTES)] = b""

    def __post_init__(self) -> None:
        _check_text(self.text)
        if len(self.reply_to) not in (0, MESSAGE_ID_BYTES):
            raise ValueError("a reply names the id of a line")


class Edit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="edit"):
    """Another text for a line of the same person."""

    target: Id
    revision: Revision
    text: Text

    def __post_init__(self) -> None:
        _check_text(self.text)


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a statement stands: its counter in the chain of a device of the same person, named by its certificate; empty
    for the device that signs. `passes_over`: as it said itself, because what comes after it still has to wait as it would."""

    id: Id
    counter: Counter
    certificate: Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)] = b""
    passes_over: PassesOver = 0

    def __post_init__(self) -> None:
        _check_passes_over(self.passes_over, self.counter)


class Delete(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="delete"):
    """Takes back a line, the first place, and its edits. Who has this needs them no more: it fills their places."""

    places: Annotated[list[Place], Meta(min_length=1, max_length=DELETED_PLACES_MAX)]


class React(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="react"):
    """A person's reaction to a line, or with `on` false that it is taken back."""

    target: Id
    revision: Revision
    emoji: Annotated[str, Meta(min_length=1, max_length=EMOJI_CHARACTERS_MAX)]
    on: bool = True

    def __post_init__(self) -> None:
        if len(self.emoji.encode()) > EMOJI_BYTES_MAX:
            raise ValueError("the reaction is too long")


class Read(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="read"):
    """Lines of others that the person has had before their eyes."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=READ_IDS_MAX)]


class SetTopic(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="topic"):
    """A room's topic; the causally latest holds."""

    text: Annotated[str, Meta(max_length=TOPIC_CHARACTERS_MAX)]

    def __post_init__(self) -> None:
        if len(self.text.encode()) > TOPIC_BYTES_MAX:
            raise ValueError("the topic is too long")


class Hand(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="hand"):
    """A listener asks for the floor, or with `up` false no longer does. The causally latest of a person holds."""

    up: bool


class Invite(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="invite"):
    """In private: asks the recipient into a room, `room` with its `#`. No right: who may enter is for the room. `mates`: members
    who can let them in where the DHT names none."""

    room: Annotated[str, Meta(max_length=1 + ROOM_NAME_CHARACTERS_MAX)]
    mates: Annotated[list[Key], Meta(max_length=MATES_MAX)] = []

    def __post_init__(self) -> None:
        if not is_folded_room(self.room):
            raise ValueError(f"{self.room!a} is no room name")


Content = Say | SetTopic | Edit | Delete | React | Read | Hand | Invite


def _check_text(text: str) -> None:
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise ValueError("the text is too long")


def _check_passes_over(passes_over: int, counter: int) -> None:
    if passes_over >= counter:
        raise ValueError("a message passes over what is before it in its chain")


class Message(Body, frozen=True):
    """Signed by the device key. `target`: the room's id, or for a private message the recipient's identity."""

    KIND: ClassVar[str] = "message"

    certificate: Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)]
    direct: bool
    target: Key
    recipient: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    """The recipient's name as the author knows it, so that the author's other devices can show it; empty in a room."""
    counter: Counter
    previous: Annotated[bytes, Meta(max_length=MESSAGE_ID_BYTES)]
    parents: Annotated[list[Id], Meta(max_length=PARENTS_MAX)]
    sent_at_ms: Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
    """The author's clock, Unix milliseconds, up to the end of year 9999: the last that RFC 3339 can show."""
    content: Content
    passes_over: PassesOver = 0
    """How many statements directly before it in its chain nobody need wait for: they are `read`, or taken back by it."""
    heads: Heads = msgspec.field(default_factory=list)
    """The newest rulings about the room that its author had seen, by which it is judged (`chat/room_graph.py`)."""

    def __post_init__(self) -> None:
        _check_passes_over(self.passes_over, self.counter)
        check_heads(self.heads)
        if self.direct and self.heads:
            raise ValueError("nobody rules over a private talk")
        if len(self.previous) != (0 if self.counter == 1 else MESSAGE_ID_BYTES):
            raise ValueError("a message names the one before it, and the first names none")
        if not is_folded_name(self.recipient) if self.direct else self.recipient:
            raise ValueError("a private message names its recipient, and only a private one")


class Taken(NamedTuple):
    """A place that a deletion takes back; that the device is its author's has been checked."""

    device: DeviceId
    counter: int
    id: MessageId
    passes_over: int = 0


class Statement:
    """A verified message with its author: what the rest of the program works on."""

    __slots__ = ("author", "body", "conversation", "id", "raw", "takes_back")

    def __init__(self, signed: Signed[Message], author: Author, takes_back: tuple[Taken, ...] = ()) -> None:
        self.raw = signed.raw
        self.body = signed.body
        self.author = author
        self.takes_back = takes_back
        self.id = message_id_of(signed)
        self.conversation = (
            direct_conversation(author.peer, PeerId(signed.body.target)) if signed.body.direct else signed.body.target
        )

    def __repr__(self) -> str:
        return f"Statement({self.id.hex()[:8]}…, {self.author.name} #{self.body.counter})"


def peek_message_id(raw: bytes) -> MessageId:
    """The id of unverified bytes, to spare a known message its check. Raises `MalformedRecord`."""
    return MessageId(peek_digest(raw)[:MESSAGE_ID_BYTES])


def peek_message(raw: bytes) -> Message:
    """What is in a message, without checking it again: for those we have checked and kept. Raises `MalformedRecord`."""
    return decode_body(peek_envelope(raw).body, Message)


def peek_parents(raw: bytes) -> list[bytes]:
    """What a message names, the same way."""
    return list(peek_message(raw).parents)


def peek_author(raw: bytes) -> PeerId:
    """Whose it is, the same way."""
    return PeerId(peek_envelope(peek_message(raw).certificate).key)


KINDS: Final[dict[type, str]] = {
    Say: "say",
    SetTopic: "topic",
    Edit: "edit",
    Delete: "delete",
    React: "react",
    Read: "read",
    Hand: "hand",
    Invite: "invite",
}


def kind_of(content: Content) -> str:
    """The tag that the content has on the wire."""
    return KINDS[type(content)]


def target_of(content: Content) -> bytes:
    """The line that an operation is about, empty for what is none."""
    match content:
        case Edit(target=target) | React(target=target):
            return target
        case Delete(places=places):
            return places[0].id
    return b""


def content_text(content: Content) -> str:
    """The text of a line, empty for what is none."""
    return content.text if isinstance(content, Say) else ""


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
    return Statement(sign_body(message, device, network_id), author, _taken_back(message, author, network_id))


def open_statement(raw: bytes, network_id: bytes) -> Statement:
    """Verify a message and the certificate of its device. Raises `MalformedRecord` or `BadSignature`."""
    signed: Signed[Message] = open_signed(raw, Message, network_id, bytes_max=MESSAGE_BYTES_MAX)
    author = open_certificate(signed.body.certificate, network_id)
    if author.device != signed.key:
        raise MalformedRecord("a message carries the certificate of another device")
    if signed.body.direct and isinstance(signed.body.content, SetTopic | Hand):
        raise MalformedRecord("a private talk has no topic and no hands")
    if not signed.body.direct and isinstance(signed.body.content, Invite):
        raise MalformedRecord("an invitation to a whole room")
    return Statement(signed, author, _taken_back(signed.body, author, network_id))


def _taken_back(message: Message, author: Author, network_id: bytes) -> tuple[Taken, ...]:
    """Only the author deletes: every place is in a chain of one of their devices."""
    if not isinstance(message.content, Delete):
        return ()
    taken = []
    for place in message.content.places:
        device = author.device
        if place.certificate:
            owner = open_certificate(place.certificate, network_id)
            if owner.peer != author.peer:
                raise MalformedRecord("somebody deletes what is not theirs")
            device = owner.device
        if device == author.device and place.counter >= message.counter:
            raise MalformedRecord("a deletion of what was not said before it")
        taken.append(Taken(device, place.counter, MessageId(place.id), place.passes_over))
    return tuple(taken)
