"""That a room is closed: what an outsider finds of it in the DHT. Soft; one entry per member who keeps it fresh.

It proves itself: rulings from the room's beginning on to the one that closed the door. Whoever keeps it fresh signs with a key
made for nothing else, so that it names nobody but those who ruled.
"""

import functools
from typing import Annotated, ClassVar

from msgspec import Meta

from dhtchat.errors import MalformedRecord
from dhtchat.ids import PeerId, RecordKey, labelled_hash
from dhtchat.limits import DOOR_PROOF_BYTES_MAX, DOOR_RULINGS_MAX, NODE_ID_BYTES, PLACES_CACHED
from dhtchat.records.envelope import Body, Key, Sequence, Signed, UnixSeconds
from dhtchat.records.room import RoomGenesis, room_id_of
from dhtchat.records.ruling import Grant, OpenRuling, SetDoor, open_ruling
from dhtchat.records.soft import TtlSeconds


class ClosedDoor(Body, frozen=True):
    """Signed by anybody."""

    KIND: ClassVar[str] = "door"

    room: Key
    proof: Annotated[
        list[Annotated[bytes, Meta(max_length=DOOR_PROOF_BYTES_MAX)]],
        Meta(min_length=1, max_length=DOOR_RULINGS_MAX),
    ]
    sequence: Sequence
    issued_at_s: UnixSeconds
    ttl_s: TtlSeconds
    gone: bool

    def __post_init__(self) -> None:
        if not fits_a_door(self.proof):
            raise ValueError("the proof is too long")

    @property
    def name(self) -> str:
        return ""  # it names nobody

    def place(self, key: bytes) -> RecordKey:
        return door_key(self.room)

    def entry_id(self, key: bytes) -> bytes:
        return key


def fits_a_door(proof: list[bytes]) -> bool:
    return len(proof) <= DOOR_RULINGS_MAX and sum(map(len, proof)) <= DOOR_PROOF_BYTES_MAX


@functools.lru_cache(maxsize=PLACES_CACHED)
def door_key(room: bytes) -> RecordKey:
    """Where it says that a room is closed."""
    return RecordKey(labelled_hash("key", b"door", room)[:NODE_ID_BYTES])


def proved_rulings(proof: list[bytes], genesis: Signed[RoomGenesis], network_id: bytes) -> list[OpenRuling]:
    """The rulings of a proof, the one that closed the door last. Raises `MalformedRecord` or `BadSignature`.

    It proves that the door was closed once by somebody who had the right to; not that nobody has opened it since.
    """
    room, owners, moderators = room_id_of(genesis), {PeerId(genesis.key)}, set[PeerId]()
    opened = [open_ruling(raw, room, network_id) for raw in proof]
    for ruling in opened[:-1]:
        match ruling.body.act:
            case Grant(person=person, given="op") if ruling.issuer in owners:
                moderators.add(PeerId(person))
            case Grant(person=person, given="owner") if ruling.issuer in owners:
                owners.add(PeerId(person))
            case _:
                raise MalformedRecord("a ruling that proves nothing")
    last = opened[-1]
    if last.body.act != SetDoor(True) or last.issuer not in owners | moderators:
        raise MalformedRecord("nothing that closes a door")
    return opened
