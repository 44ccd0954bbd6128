"""Directory entries: who is online, and which rooms there are. Soft; plain sets for now.

A listing is a hint: whoever shows it checks the name against the account or the genesis first.
"""

import functools
from typing import Annotated, ClassVar

from msgspec import Meta

from dhtchat.ids import RecordKey, is_folded_name, is_folded_room, labelled_hash
from dhtchat.limits import (
    NAME_CHARACTERS_MAX,
    NODE_ID_BYTES,
    ROOM_NAME_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from dhtchat.records.envelope import Body, Key, Sequence, UnixSeconds
from dhtchat.records.soft import TtlSeconds


class UserListing(Body, frozen=True):
    """Signed by the identity of the user who is listed; one entry per device."""

    KIND: ClassVar[str] = "user-listing"

    name: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    device: Key
    away: bool
    sequence: Sequence
    issued_at_s: UnixSeconds
    ttl_s: TtlSeconds
    gone: bool

    def __post_init__(self) -> None:
        if not is_folded_name(self.name):
            raise ValueError(f"{self.name!a} is no user name")

    def place(self, key: bytes) -> RecordKey:
        return user_directory_key()

    def entry_id(self, key: bytes) -> bytes:
        return key + self.device


class RoomListing(Body, frozen=True):
    """Signed by a member who keeps the listing fresh; one entry per member and room."""

    KIND: ClassVar[str] = "room-listing"

    name: Annotated[str, Meta(max_length=1 + ROOM_NAME_CHARACTERS_MAX)]
    room: Key
    topic: Annotated[str, Meta(max_length=TOPIC_CHARACTERS_MAX)]
    members: Annotated[int, Meta(ge=0, le=2**31)]
    sequence: Sequence
    issued_at_s: UnixSeconds
    ttl_s: TtlSeconds
    gone: bool

    def __post_init__(self) -> None:
        if not is_folded_room(self.name):
            raise ValueError(f"{self.name!a} is no room name")
        if len(self.topic.encode()) > TOPIC_BYTES_MAX:
            raise ValueError("the topic is too long")

    def place(self, key: bytes) -> RecordKey:
        return room_directory_key()

    def entry_id(self, key: bytes) -> bytes:
        return key + self.room


@functools.cache
def user_directory_key() -> RecordKey:
    """Where everybody who is online is listed."""
    return RecordKey(labelled_hash("key", b"directory", b"users")[:NODE_ID_BYTES])


@functools.cache
def room_directory_key() -> RecordKey:
    """Where the public rooms are listed."""
    return RecordKey(labelled_hash("key", b"directory", b"rooms")[:NODE_ID_BYTES])
