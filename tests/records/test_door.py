"""That a room is closed is believed when it is proved, from the genesis on, and not otherwise."""

import pytest

from dhtchat.crypto.identity import SigningKey
from dhtchat.errors import BadSignature, MalformedRecord
from dhtchat.records.door import proved_rulings
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.room import RoomGenesis, room_id_of
from dhtchat.records.ruling import Act, Grant, Removal, Ruling, Said, SetDoor
from tests.records import samples
from tests.records.samples import ALICE, BOB, NETWORK, NOW_S

CAROL = SigningKey(b"c" * 32)
GENESIS: Signed[RoomGenesis] = sign_body(samples.genesis(), ALICE, NETWORK)
CLOSED = SetDoor(True)


def _ruled(key: SigningKey, act: Act) -> bytes:
    return sign_body(Ruling(room_id_of(GENESIS), "somebody", [], NOW_S, act), key, NETWORK).raw


@pytest.mark.parametrize(
    "proof",
    [
        [_ruled(ALICE, CLOSED)],
        [_ruled(ALICE, Grant(BOB.public, "bob", "op")), _ruled(BOB, CLOSED)],
        [_ruled(ALICE, Grant(BOB.public, "bob", "owner")), _ruled(BOB, CLOSED)],
        [
            _ruled(ALICE, Grant(BOB.public, "bob", "owner")),
            _ruled(BOB, Grant(CAROL.public, "carol", "op")),
            _ruled(CAROL, CLOSED),
        ],
    ],
    ids=["owner", "moderator", "new owner", "moderator of a new owner"],
)
def test_who_had_the_right_to_it_closes_a_door(proof: list[bytes]) -> None:
    assert [ruling.raw for ruling in proved_rulings(proof, GENESIS, NETWORK)] == proof


@pytest.mark.parametrize(
    "proof",
    [
        [_ruled(BOB, CLOSED)],
        [_ruled(BOB, Grant(BOB.public, "bob", "op")), _ruled(BOB, CLOSED)],
        [
            _ruled(ALICE, Grant(BOB.public, "bob", "op")),
            _ruled(BOB, Grant(CAROL.public, "c-r", "op")),
            _ruled(CAROL, CLOSED),
        ],
        [_ruled(ALICE, Grant(BOB.public, "bob", "invite")), _ruled(BOB, CLOSED)],
        [_ruled(ALICE, Removal(BOB.public, "bob", "kick")), _ruled(ALICE, CLOSED)],
        [_ruled(ALICE, SetDoor(False))],
        [_ruled(ALICE, SetDoor(True, [Said(b"d" * 8, 1)]))],
        [samples.signed(samples.ruling(CLOSED)).raw],
    ],
    ids=[
        "a stranger",
        "a moderator by themselves",
        "a moderator by a moderator",
        "a guest",
        "beside the point",
        "opened",
        "not the short form",
        "another room",
    ],
)
def test_whoever_had_not_does_not(proof: list[bytes]) -> None:
    with pytest.raises(MalformedRecord):
        proved_rulings(proof, GENESIS, NETWORK)


def test_a_forged_one_proves_nothing() -> None:
    forged = bytearray(_ruled(ALICE, CLOSED))
    forged[-40] ^= 1
    with pytest.raises((BadSignature, MalformedRecord)):
        proved_rulings([bytes(forged)], GENESIS, NETWORK)
