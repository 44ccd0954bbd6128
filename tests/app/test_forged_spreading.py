"""What a modified member pushes in a large room is shown to nobody unless its author may speak there, and is not passed on."""

from pathlib import Path

import pytest

from dhtchat import limits
from dhtchat.app import large_rooms
from dhtchat.chat.events import MessageArrived
from dhtchat.limits import NEIGHBOUR_WASTE_BURST
from dhtchat.peer.messages import Announced, Branch, Neighbour, Pushed, Wanted
from tests.app.town import Town, until
from tests.app.villain import villain_in

ROOM = "#lobby"


@pytest.fixture(autouse=True)
def _small_rooms_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that three are enough."""
    assert limits.ROOM_MESH_MAX > 2
    monkeypatch.setattr(large_rooms, "ROOM_MESH_MAX", 2)
    monkeypatch.setattr(large_rooms, "ROOM_MESH_AGAIN", 0)


async def test_what_a_neighbour_pushes_is_judged_like_anything_else(tmp_path: Path, seed: int) -> None:
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory, villain_in(town, "eve") as eve:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await mallory.say_to(alice, Neighbour(room, "please"))
        await until(lambda: Neighbour(room, "yes") in mallory.heard_of(Neighbour), "alice takes her as a neighbour")
        await until(lambda: alice.node.inspection.sizes().neighbours == 2, "bob is one, too")
        said = mallory.statement("one of mine", room=room)
        await mallory.say_to(alice, Pushed(said.raw, None))
        for person in (alice, bob):
            await person.expect(MessageArrived, text="one of mine", sender="mallory")
        outsider = eve.statement("let me in", room=room)
        forged = mallory.statement("not quite", room=room).raw
        elsewhere = mallory.statement("wrong room", room=bytes(32))
        await mallory.say_to(
            alice,
            Pushed(outsider.raw, 0),
            Pushed(forged[:-1] + bytes([forged[-1] ^ 1]), None),
            Pushed(elsewhere.raw, None),
            Announced(room, [bytes(16)]),
            Wanted(room, [bytes(16), said.digest[:16]]),
            Branch(room, True),
            Branch(bytes(32), True),
        )
        await mallory.fence(alice)
        await alice.say("talk goes on")
        await bob.expect(MessageArrived, text="talk goes on")
        for person in (alice, bob):
            assert not {"let me in", "not quite", "wrong room"} & set(person.texts())
        assert Pushed(said.raw, None) in mallory.heard_of(Pushed), "what she wanted and is here she gets"
        assert Neighbour(bytes(32), "no") in mallory.heard_of(Neighbour), "of a room that alice is not in"

        await alice.say("/ban mallory")
        await until(lambda: Neighbour(room, "no") in mallory.heard_of(Neighbour), "she is a neighbour still")
        assert alice.node.inspection.sizes().neighbours == 1
        mallory.heard.clear()
        await mallory.say_to(alice, Neighbour(room, "urgent"))
        await until(lambda: mallory.heard_of(Neighbour), "nobody answers")
        await alice.say("among us")
        await bob.expect(MessageArrived, text="among us")
        await mallory.fence(alice)
        assert set(mallory.heard_of(Neighbour)) == {Neighbour(room, "no")}
        assert not mallory.heard_of(Pushed)
        assert not mallory.heard_of(Announced)


async def test_in_a_room_that_closes_all_are_linked_again(tmp_path: Path, seed: int) -> None:
    """No replica may know who is in it, so there is nobody to choose neighbours from."""
    async with Town(tmp_path, seed) as town:
        people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, *people)
        await until(
            lambda: all(each.node.inspection.sizes().neighbours == 2 for each in people), "they are no neighbours"
        )
        await people[0].say("/mode +i")
        await until(lambda: not any(each.node.inspection.sizes().neighbours for each in people), "they still are")
        for author in people:
            await author.say(f"among us, {author.name}")
            for reader in people:
                await reader.expect(MessageArrived, text=f"among us, {author.name}", sender=author.name)


async def test_a_neighbour_who_wastes_too_much_is_one_no_longer(tmp_path: Path, seed: int) -> None:
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await mallory.say_to(alice, Neighbour(room, "please"))
        await until(lambda: Neighbour(room, "yes") in mallory.heard_of(Neighbour), "alice takes her as a neighbour")
        said = mallory.statement("again and again", room=room)
        await mallory.say_to(alice, *[Pushed(said.raw, None)] * (NEIGHBOUR_WASTE_BURST + 50))
        await until(lambda: Neighbour(room, "no") in mallory.heard_of(Neighbour), "she has wasted too much")
        await alice.say("without her")
        await bob.expect(MessageArrived, text="without her")
