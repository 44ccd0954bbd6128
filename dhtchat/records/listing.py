"""Directory entries: who is online, and which rooms there are. Soft; in trees by name (`tree.py`).

A listing is a hint: whoever shows it checks the name against the account or the genesis first.
"""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from dhtchat.ids import RecordKey, is_folded_name, is_folded_room
from dhtchat.limits import (
    NAME_CHARACTERS_MAX,
    ROOM_NAME_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from dhtchat.records.envelope import Body, Key, Sequence, UnixSeconds
from dhtchat.records.soft import TtlSeconds
from dhtchat.records.tree import Tree, item_by_name


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

    def tree(self) -> Tree:
        return USERS

    def item(self, key: bytes) -> str:
        return item_by_name(self.name, key, self.device)

    def place(self, key: bytes, depth: int = 0) -> RecordKey:
        return USERS.key(self.item(key)[:depth])

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
    mode: Literal["", "m"] = ""
    """`m`: only those speak who were given the floor."""

    def __post_init__(self) -> None:
        if not is_folded_room(self.name):
            raise ValueError(f"{self.name!a} is no room name")
        if len(self.topic.encode()) > TOPIC_BYTES_MAX:
            raise ValueError("the topic is too long")

    def tree(self) -> Tree:
        return ROOMS

    def item(self, key: bytes) -> str:
        return item_by_name(self.name, key, self.room)

    def place(self, key: bytes, depth: int = 0) -> RecordKey:
        return ROOMS.key(self.item(key)[:depth])

    def entry_id(self, key: bytes) -> bytes:
        return key + self.room


USERS: Final = Tree(UserListing.KIND, (b"directory", b"users"))
"""Where everybody who is online is listed."""
ROOMS: Final = Tree(RoomListing.KIND, (b"directory", b"rooms"))
"""Where the public rooms are listed."""


def user_directory_key() -> RecordKey:
    """The root of the directory of those who are online."""
    return USERS.key()


def room_directory_key() -> RecordKey:
    """The root of the directory of public rooms."""
    return ROOMS.key()
