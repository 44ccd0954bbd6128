"""Who is in a room. Soft; one entry per device of a member, in a tree of the room's own by the member's key (`tree.py`)."""

from typing import Annotated, ClassVar

from msgspec import Meta

from dhtchat.ids import RecordKey, RoomId, is_folded_name
from dhtchat.limits import NAME_CHARACTERS_MAX
from dhtchat.records.envelope import Body, Key, Sequence, UnixSeconds
from dhtchat.records.soft import TtlSeconds
from dhtchat.records.tree import Tree, item_by_owner


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

    def tree(self) -> Tree:
        return members_of(RoomId(self.room))

    def item(self, key: bytes) -> str:
        return item_by_owner(key, self.device)

    def place(self, key: bytes, depth: int = 0) -> RecordKey:
        return self.tree().key(self.item(key)[:depth])

    def entry_id(self, key: bytes) -> bytes:
        return key + self.device


def members_of(room: RoomId) -> Tree:
    """Where the members of a room are listed."""
    return Tree(Membership.KIND, (b"membership", room))


def membership_key(room: RoomId) -> RecordKey:
    """The root of that."""
    return members_of(room).key()
