"""Rooms into which only those come who are invited, over real links."""

import asyncio
from pathlib import Path

from dhtchat.chat.events import ErrorShown, Invited, Joined, Kicked, MessageArrived, ModeChanged, Notice, Parted
from dhtchat.chat.intents import SayTo
from dhtchat.records.door import ClosedDoor, door_key
from dhtchat.records.membership import members_of
from tests.app.town import Person, Town, until, until_async

ROOM = "#parlour"


async def _closed(town: Town, *people: Person) -> None:
    """They are in it, and the first, whose it is, closes it."""
    await town.gather_in(ROOM, *people)
    await people[0].say("/mode +i")
    for person in people:
        await person.expect(ModeChanged, room=ROOM, by=people[0].name, mode="+i")


async def _is_hidden(town: Town, person: Person) -> bool:
    """Whether the DHT names nobody in it, and says that it is closed."""
    room = person.room(ROOM)
    members = await person.node._dht.trees.sample(members_of(room.id), 20)
    doors = await person.node._dht.read_set(door_key(room.id), ClosedDoor)
    return not members.entries and bool([each for each in doors.entries if not each.body.gone])


async def test_who_is_in_stays_in_and_who_is_invited_comes_in(tmp_path: Path, seed: int) -> None:
    """design.md, "Invite-only": nothing of it is in the directory or names its members; outsiders are told so in two lines, and
    come in by invitation. The invitation holds over a restart of everybody."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = await town.newcomers("alice", "bob", "carol")
        await _closed(town, alice, bob)
        await until_async(lambda: _is_hidden(town, alice), "the DHT still says who is in it")
        assert ROOM not in await carol.rooms()
        assert (await bob.rooms())[ROOM].mode == "+i"
        await alice.say("between us")
        await bob.expect(MessageArrived, text="between us")

        knocking = asyncio.create_task(carol.say(f"/join {ROOM}"))
        await until(lambda: carol.node._rooms.by_name(ROOM), "carol does not knock")
        await carol.node.perform(SayTo("is anybody there?", ROOM))
        assert "yet" in (await carol.expect(ErrorShown)).message
        mark = carol.mark()
        await knocking
        refused = await carol.expect(ErrorShown, after=mark)
        assert refused.code == "not-allowed"
        assert "invited" in refused.message
        assert "alice" in refused.hint
        assert carol.node._rooms.by_name(ROOM) is None
        assert not carol.seen(Joined, user="carol")
        assert (await bob.ask("/invite carol", ErrorShown)).code == "not-allowed"

        await alice.say("/invite carol")
        for person in (alice, bob, carol):
            await person.expect(Invited, room=ROOM, user="carol", by="alice")
        assert len(alice.seen(Invited)) == 1
        await carol.say(f"/join {ROOM}")
        await carol.expect(Joined, room=ROOM, user="carol")
        await carol.expect(ModeChanged, room=ROOM, by=None, mode="+i")
        await carol.expect(MessageArrived, text="between us", delayed=True)
        await until(lambda: set(carol.room(ROOM).people()) >= {alice.identity, bob.identity}, "carol sees not all")
        await carol.say("thank you")
        await carol.expect_delivered("thank you", to=2)
        assert set(await bob.members(ROOM)) == {"alice", "bob", "carol"}

        for person in (alice, bob, carol):
            await person.leave()
        for person in (carol, bob):
            await person.come_online()
            await person.say(f"/join {ROOM}")
        await until(lambda: bob.room(ROOM).is_member(carol.identity), "bob does not see carol")
        await bob.say("without her")
        await carol.expect(MessageArrived, text="without her")


async def test_who_is_thrown_out_reads_nothing_more(tmp_path: Path, seed: int) -> None:
    """Issue 6, must show 4. Kicked is out until invited anew; who was away when it happened is told on coming back."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await _closed(town, *people)
        await alice.say("/kick carol enough")
        for person in people:
            await person.expect(Kicked, room=ROOM, user="carol", by="alice")
        await carol.expect(Parted, room=ROOM, user="carol")
        await alice.say("she does not read this")
        await alice.expect_delivered("she does not read this", to=1)
        assert (await carol.ask(f"/join {ROOM}", ErrorShown)).code == "not-allowed"
        assert set(await bob.members(ROOM)) == {"alice", "bob"}

        await bob.leave()
        await alice.say("/kick bob")
        await alice.expect(Kicked, user="bob")
        await bob.come_online()
        mark = bob.mark()
        await bob.say(f"/join {ROOM}")
        await until(lambda: bob.node._rooms.by_name(ROOM) is None, "bob believes that he is in")
        assert "she does not read this" not in carol.texts()
        await alice.say("nor does he this")
        await alice.say("/invite bob")
        await bob.expect(Invited, after=mark, user="bob")
        mark = bob.mark()
        await bob.say(f"/join {ROOM}")
        await bob.expect(MessageArrived, after=mark, text="nor does he this", delayed=True)
        assert not carol.texts("#parlour", after=0)


async def test_a_room_is_opened_again(tmp_path: Path, seed: int) -> None:
    """Then it is listed, anybody comes in, and reads what a newcomer reads anywhere."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = await town.newcomers("alice", "bob", "carol")
        await _closed(town, alice, bob)
        await until_async(lambda: _is_hidden(town, alice), "the DHT still says who is in it")
        await alice.say("/mode -i")
        await bob.expect(ModeChanged, by="alice", mode="-i")

        async def listed() -> bool:
            found = (await carol.rooms()).get(ROOM)
            return found is not None and found.members == 2 and found.mode == ""

        await until_async(listed, "it is not listed")
        await carol.say(f"/join {ROOM}")
        await carol.expect(Joined, room=ROOM, user="carol")
        await carol.say("good to be here")
        await carol.expect_delivered("good to be here", to=2)


async def test_who_is_in_unheard_when_the_door_closes_is_out(tmp_path: Path, seed: int) -> None:
    """Who closes it lets in whom they see. Whoever else is there is told, and out."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, *people)
        await carol.say("I was here")
        await carol.expect_delivered("I was here", to=2)
        for entry in [entry for entry in alice.room(ROOM)._members if entry.who.peer == carol.identity]:
            alice.room(ROOM)._members._remove(entry.who)
        await alice.say("/mode +i")
        await carol.expect(Notice, message=f"only those may be in {ROOM} now who are invited, and you are not")
        await carol.expect(Parted, room=ROOM, user="carol")
        await bob.expect(ModeChanged, mode="+i")
        assert [line.text for line in await bob.history(ROOM)] == ["I was here"]
