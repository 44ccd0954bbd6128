"""Many rooms at once, and one room for all who make it at the same moment."""

import asyncio
from pathlib import Path

from dhtchat.chat.events import ErrorShown, Joined, MessageArrived, Parted, TopicChanged
from tests.app.town import Town, until, until_async


async def test_five_people_who_make_a_room_at_the_same_moment_are_in_one(tmp_path: Path, seed: int) -> None:
    """design.md: `/join` creates what is free; a racer that loses joins the winner. All see all, and hear all."""
    async with Town(tmp_path, seed) as town:
        people = await town.newcomers("alice", "bob", "carol", "dave", "erin")
        await asyncio.gather(*(person.say("/join #new") for person in people))
        joined = [person.node._rooms.by_name("#new") for person in people]
        assert len({each.room.id for each in joined if each is not None}) == 1
        assert None not in joined
        names = sorted(person.name for person in people)
        for person in people:

            async def sees_all(person=person) -> bool:
                return sorted(await person.members("#new")) == names

            await until_async(sees_all, f"{person.name} does not see all five")
            owners = [name for name, member in (await person.members("#new")).items() if member.role == "owner"]
            assert len(owners) == 1
        await town.gather_in("#new", *people)
        for person in people:
            await person.say(f"here is {person.name}")
        for person in people:
            await person.expect_delivered(f"here is {person.name}", to=4)
        for person in people:
            assert sorted(person.texts("#new")) == sorted(f"here is {name}" for name in names)
            assert not person.seen(ErrorShown)


async def test_thirty_rooms_at_once(tmp_path: Path, seed: int) -> None:
    """Two people are in thirty rooms, with one link between them; each line is heard in its room and in no other, the
    directory has all of them with their topics, and those that are left are left."""
    rooms = [f"#room-{number:02}" for number in range(30)]
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = await town.newcomers("alice", "bob", "carol")
        for room in rooms:
            await alice.say(f"/join {room} all about {room}")
        await asyncio.gather(*(bob.say(f"/join {room}") for room in rooms))
        assert len(alice.node._rooms.joined()) == len(bob.node._rooms.joined()) == 30
        await town.gather_in(rooms[-1], alice, bob)
        for person, other in ((alice, bob), (bob, alice)):
            await until(
                lambda person=person, other=other: all(
                    joined.room.is_member(other.identity) for joined in person.node._rooms.joined()
                ),
                f"{person.name} does not see {other.name} in all rooms",
            )
            assert len(person.node._pool.links()) == 1
        for person in (alice, bob):
            for room in rooms:
                await person.say(f"/switch {room}")
                await person.say(f"{person.name} in {room}")
        for person in (alice, bob):
            for room in rooms:
                await person.expect_delivered(f"{person.name} in {room}", to=1)
        for person in (alice, bob):
            for room in rooms:
                assert sorted(person.texts(room)) == [f"alice in {room}", f"bob in {room}"]
                assert person.room(room).topic == f"all about {room}"

        async def all_listed() -> bool:
            listed = await carol.rooms()
            return {name: (room.topic, room.members) for name, room in listed.items()} == {
                room: (f"all about {room}", 2) for room in rooms
            }

        await until_async(all_listed, "the directory does not have all rooms")
        for room in rooms[:10]:
            await alice.say(f"/part {room}")
        for room in rooms[:10]:
            await bob.expect(Parted, room=room, user="alice")
        assert len(alice.node._rooms.joined()) == 20
        await bob.say(f"/switch {rooms[0]}")
        await bob.say("to nobody")
        await bob.expect(MessageArrived, text="to nobody", own=True)
        await bob.say(f"/switch {rooms[29]}")
        await bob.say("to alice")
        await bob.expect_delivered("to alice", to=1)
        assert "to nobody" not in alice.texts()


async def test_a_room_outlives_everybody_who_was_in_it(tmp_path: Path, seed: int) -> None:
    """A room survives everyone's restart: the first who comes back is in the same room with its history and topic, and
    hands it to the next."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in("#lobby", alice, bob)
        await alice.say("/topic for ever")
        await bob.expect(TopicChanged, topic="for ever")
        await bob.say("remember this")
        await bob.expect_delivered("remember this", to=1)
        room = alice.room("#lobby").id
        await alice.leave()
        await bob.leave()
        mark = bob.mark()
        await bob.come_online()
        await bob.say("/join #lobby")
        assert bob.room("#lobby").id == room
        await bob.expect(TopicChanged, after=mark, topic="for ever", by=None)
        assert [line.text for line in await bob.history("#lobby")] == ["remember this"]
        carol = await town.newcomer("carol")
        await carol.say("/join #lobby")
        await carol.expect(Joined, user="carol")
        await carol.expect(MessageArrived, text="remember this", sender="bob", delayed=True)
        await carol.expect(TopicChanged, topic="for ever", by="alice")
        assert carol.room("#lobby").id == room
