"""A ruling: what the owner or a moderator says about a room, signed, naming the rulings that they had seen.

Together they are a graph, from which everybody works out the same roles: chat/room_graph.py. Kept by the members of a room,
not by the DHT. Times and names are shown, never used to order or to judge.
"""

import itertools
from typing import Annotated, ClassVar, Final, Literal, NewType

import msgspec
from msgspec import Meta

from dhtchat.errors import MalformedRecord
from dhtchat.ids import MESSAGE_ID_BYTES, PeerId, is_folded_name
from dhtchat.limits import (
    NAME_CHARACTERS_MAX,
    REASON_BYTES_MAX,
    REASON_CHARACTERS_MAX,
    RECORD_BYTES_MAX,
    RULING_HEADS_MAX,
    SAID_PER_MODE_MAX,
    SAID_PER_REMOVAL_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from dhtchat.records.envelope import Body, Key, Signed, UnixSeconds, open_signed, peek_digest

RulingId = NewType("RulingId", bytes)
"""16 bytes: the head of the digest of the signed ruling."""
RULING_ID_BYTES: Final = MESSAGE_ID_BYTES
DEVICE_HEAD_BYTES: Final = 8
"""Of a device key, in `Said`: to make another key with the same costs 2^64 key pairs."""

Heads = Annotated[
    list[Annotated[bytes, Meta(min_length=RULING_ID_BYTES, max_length=RULING_ID_BYTES)]],
    Meta(max_length=RULING_HEADS_MAX),
]
Name = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
Given = Literal["op", "voice", "unban", "owner", "invite"]
Taken = Literal["deop", "devoice", "kick", "ban"]


class Said(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the device whose key begins with `device` said up to `counter` still counts."""

    device: Annotated[bytes, Meta(min_length=DEVICE_HEAD_BYTES, max_length=DEVICE_HEAD_BYTES)]
    counter: Annotated[int, Meta(ge=1, le=2**62)]


class Grant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="grant"):
    """Gives a person something: `op` makes them a moderator, `voice` a speaker, `unban` lets them in again, `owner` hands
    the room over to them, and `invite` lets them into a room that is closed."""

    person: Key
    name: Name
    given: Given

    def __post_init__(self) -> None:
        _check_name(self.name)


class Removal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="removal"):
    """Takes something from a person. `said`: what of their talk still counts; of devices not named nothing later does."""

    person: Key
    name: Name
    taken: Taken
    why: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)] = ""
    said: Annotated[list[Said], Meta(max_length=SAID_PER_REMOVAL_MAX)] = []

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.why.encode()) > REASON_BYTES_MAX:
            raise ValueError("the reason is too long")


class SetMode(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="mode"):
    """Whether only those speak who were given the floor (`+m`). `said`: as in `Removal`, of those who fall silent by it."""

    moderated: bool
    said: Annotated[list[Said], Meta(max_length=SAID_PER_MODE_MAX)] = []


class SetDoor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="door"):
    """Whether only those are let in who are invited (`+i`). `said`: as in `Removal`, of those who are outside by it."""

    closed: bool
    said: Annotated[list[Said], Meta(max_length=SAID_PER_MODE_MAX)] = []


class RuleTopic(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="topic"):
    """The topic of a room that has rulings; before the first one a message sets it (`records/message.py`)."""

    text: Annotated[str, Meta(max_length=TOPIC_CHARACTERS_MAX)]

    def __post_init__(self) -> None:
        if len(self.text.encode()) > TOPIC_BYTES_MAX:
            raise ValueError("the topic is too long")


class SetHands(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="hands"):
    """Whether listeners may raise a hand. Closing the queue empties it."""

    open: bool


Act = Grant | Removal | SetMode | RuleTopic | SetHands | SetDoor


def _check_name(name: str) -> None:
    if not is_folded_name(name):
        raise ValueError(f"{name!a} is no user name")


class Ruling(Body, frozen=True):
    """Signed by the identity of whoever rules, who goes by the name `by`."""

    KIND: ClassVar[str] = "ruling"

    room: Key
    by: Name
    parents: Heads
    """Sorted, each once; none: the author had seen no ruling."""
    issued_at_s: UnixSeconds
    act: Act

    def __post_init__(self) -> None:
        _check_name(self.by)
        check_heads(self.parents)


def check_heads(heads: list[bytes]) -> None:
    """Raises `ValueError` unless they stand in their one order."""
    if any(a >= b for a, b in itertools.pairwise(heads)):
        raise ValueError("the rulings named are sorted, each once")


class OpenRuling:
    """A verified ruling: what the rest of the program works on."""

    __slots__ = ("body", "id", "issuer", "raw")

    def __init__(self, signed: Signed[Ruling]) -> None:
        self.raw = signed.raw
        self.body = signed.body
        self.issuer = PeerId(signed.key)
        self.id = RulingId(signed.digest[:RULING_ID_BYTES])

    def __repr__(self) -> str:
        return f"OpenRuling({self.id.hex()[:8]}…, {self.body.by}: {self.body.act!r})"


def open_ruling(raw: bytes, room: bytes, network_id: bytes) -> OpenRuling:
    """Verify a ruling about `room`. Raises `MalformedRecord` or `BadSignature`."""
    signed: Signed[Ruling] = open_signed(raw, Ruling, network_id, bytes_max=RECORD_BYTES_MAX)
    if signed.body.room != room:
        raise MalformedRecord("a ruling about another room")
    return OpenRuling(signed)


def peek_ruling_id(raw: bytes) -> RulingId:
    """The id of unverified bytes, to spare a known ruling its check. Raises `MalformedRecord`."""
    return RulingId(peek_digest(raw)[:RULING_ID_BYTES])
