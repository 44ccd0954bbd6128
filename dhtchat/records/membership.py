"""Who is in a room. Soft; one entry per device of a member, under the room's id."""

import functools
from typing import Annotated, ClassVar

from msgspec import Meta

from dhtchat.ids import RecordKey, RoomId, is_folded_name, labelled_hash
from dhtchat.limits import NAME_CHARACTERS_MAX, NODE_ID_BYTES, PLACES_CACHED
from dhtchat.records.envelope import Body, Key, Sequence, UnixSeconds
from dhtchat.records.soft import TtlSeconds


class Membership(Body, frozen=True):
    """Signed by the identity key."""

    KIND: ClassVar[str] = "membership"

    room: Key
    name: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    device: Key
    sequence: Sequence
    issued_at_s: UnixSeconds
    ttl_s: TtlSeconds
    gone: bool

    def __post_init__(self) -> None:
        if not is_folded_name(self.name):
            raise ValueError(f"{self.name!a} is no user name")

    def place(self, key: bytes) -> RecordKey:
        return membership_key(RoomId(self.room))

    def entry_id(self, key: bytes) -> bytes:
        return key + self.device


@functools.lru_cache(maxsize=PLACES_CACHED)
def membership_key(room: RoomId) -> RecordKey:
    """Where the members of a room are listed."""
    return RecordKey(labelled_hash("key", b"membership", room)[:NODE_ID_BYTES])
