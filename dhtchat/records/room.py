"""What a room is: an immutable genesis record, claimed like a user name. Its hash is the room's id. Durable."""

import functools
import random
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from dhtchat.crypto.identity import SigningKey
from dhtchat.ids import RecordKey, RoomId, is_folded_room, labelled_hash
from dhtchat.limits import NODE_ID_BYTES, PLACES_CACHED, ROOM_NAME_CHARACTERS_MAX
from dhtchat.parameters import NetworkParameters
from dhtchat.records.claims import NONCE_MAX, claim_id_of, find_nonce
from dhtchat.records.envelope import Body, Signed, UnixSeconds, sign_body


class RoomGenesis(Body, frozen=True):
    """Signed by the identity of the first owner."""

    KIND: ClassVar[str] = "room"

    name: Annotated[str, Meta(max_length=1 + ROOM_NAME_CHARACTERS_MAX)]
    room_kind: Literal["public"]
    nonce: Annotated[int, Meta(ge=0, le=NONCE_MAX)]
    created_at_s: UnixSeconds

    sequence: ClassVar[int] = 1
    """Immutable: an honest owner signs one. A second under the same claim is judged as a reused sequence number."""

    def __post_init__(self) -> None:
        if not is_folded_room(self.name):
            raise ValueError(f"{self.name!a} is no room name")

    def place(self, key: bytes) -> RecordKey:
        return room_key(self.name)

    def claim_id(self, key: bytes) -> bytes:
        return claim_id_of(self.KIND, self.name, key, self.nonce)


@functools.lru_cache(maxsize=PLACES_CACHED)
def room_key(name: str) -> RecordKey:
    """Where the genesis of the room `name` (with its `#`) lies in the DHT."""
    return RecordKey(labelled_hash("key", b"room", name.encode())[:NODE_ID_BYTES])


def room_id_of(genesis: Signed[RoomGenesis]) -> RoomId:
    """A room's id: the hash of its genesis."""
    return RoomId(genesis.digest)


def create_room(
    name: str, owner: SigningKey, *, parameters: NetworkParameters, source: random.Random, now_s: float
) -> Signed[RoomGenesis]:
    """A new room's genesis. Some work on `main`: run it off the loop."""
    bits = parameters.room_proof_of_work_bits
    nonce = find_nonce(RoomGenesis.KIND, name, owner.public, parameters.network_id, bits, source.getrandbits(62))
    return sign_body(RoomGenesis(name, "public", nonce, int(now_s)), owner, parameters.network_id)
