"""Rooms: a genesis is a claim like an account's, and its hash is the room."""

import random

import pytest

from dhtchat.parameters import SIM
from dhtchat.records.account import account_key
from dhtchat.records.kinds import open_record
from dhtchat.records.membership import membership_key
from dhtchat.records.room import create_room, room_id_of, room_key
from tests.records import samples
from tests.records.samples import NOW_S


def test_a_rooms_id_is_the_hash_of_its_genesis() -> None:
    """Two openings of one name are two rooms, even by the same owner: memberships of one say nothing about the other."""
    rooms = [
        create_room("#lobby", owner, parameters=SIM, source=random.Random(seed), now_s=NOW_S)
        for owner in (samples.ALICE, samples.BOB)
        for seed in (1, 2)
    ]
    ids = {room_id_of(room) for room in rooms}
    assert len(ids) == len(rooms)
    assert len({membership_key(room_id) for room_id in ids}) == len(rooms)
    assert {room.body.place(room.key) for room in rooms} == {room_key("#lobby")}
    assert all(open_record(room.raw, SIM.network_id) == room for room in rooms)


@pytest.mark.parametrize("name", ["lobby", "#", "#Lobby", "# lobby", "#" + "x" * 32, "#löbby", ""])
def test_a_genesis_has_a_folded_name(name: str) -> None:
    """Only the one form of a name can be claimed, so that no two claims look alike."""
    with pytest.raises(ValueError, match="room name"):
        samples.genesis(name=name)


def test_a_user_and_a_room_of_one_name_lie_apart() -> None:
    """The places of different things never meet, not even when their names do."""
    assert account_key("lobby") != room_key("lobby") != room_key("#lobby")
