"""A room with an owner, moderators, speakers and listeners, over real links."""

import asyncio
from pathlib import Path

from dhtchat.chat.events import (
    ErrorShown,
    HandMoved,
    Hands,
    Kicked,
    MessageArrived,
    ModeChanged,
    Notice,
    Parted,
    RoleChanged,
    TopicChanged,
)
from dhtchat.peer.messages import Rulings
from dhtchat.records.ruling import Removal, Ruling
from tests.app.town import Person, Town, until, until_async
from tests.app.villain import villain_in

ROOM = "#stage"


async def _roles(person: Person) -> dict[str, str]:
    return {name: member.role for name, member in (await person.members(ROOM)).items()}


async def test_the_floor_is_asked_for_given_and_taken(tmp_path: Path, seed: int) -> None:
    """Issue 6, "Stage": owner, moderators, speakers, listeners; hands raised, listed, answered; everybody sees the same."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, *people)
        await alice.say("/op bob")
        for person in people:
            await person.expect(RoleChanged, room=ROOM, user="bob", by="alice", role="moderator")
        await bob.say("/mode +m")
        for person in people:
            await person.expect(ModeChanged, room=ROOM, by="bob", mode="+m")
        assert await _roles(carol) == {"alice": "owner", "bob": "moderator", "carol": "listener"}
        refused = await carol.ask("may I?", ErrorShown)
        assert refused.code == "not-allowed"
        assert "/hand" in refused.hint
        await carol.say("/hand")
        for person in people:
            await person.expect(HandMoved, room=ROOM, user="carol", by="carol", up=True)
        assert (await alice.ask("/hands", Hands)).hands == ["carol"]
        assert (await bob.members(ROOM))["carol"].hand
        await bob.say("/voice carol")
        for person in people:
            await person.expect(RoleChanged, user="carol", by="bob", role="speaker")
        assert (await alice.ask("/hands", Hands, hands=[])).open
        await carol.say("thank you")
        await carol.expect_delivered("thank you", to=2)
        await bob.expect(MessageArrived, text="thank you")
        await alice.say("/devoice carol")
        await carol.expect(RoleChanged, user="carol", by="alice", role="listener")
        assert (await carol.ask("one more thing", ErrorShown)).code == "not-allowed"
        assert (await carol.ask("/voice carol", ErrorShown)).code == "not-allowed"
        assert (await carol.ask("/topic mine", ErrorShown)).code == "not-allowed"
        assert (await bob.ask("/op carol", ErrorShown)).code == "not-allowed"
        await bob.say("/topic what we talk about")
        await carol.expect(TopicChanged, by="bob", topic="what we talk about")
        await bob.say("/mode -m")
        await carol.expect(ModeChanged, mode="-m")
        assert (await _roles(bob))["carol"] == "listener", "taken by name: not given back by the mode"

        async def listed() -> bool:
            return (await carol.rooms())[ROOM].topic == "what we talk about"

        await until_async(listed, "the topic is not listed")


async def test_a_closed_queue_takes_no_hands(tmp_path: Path, seed: int) -> None:
    """Issue 6: "a moderator can close the queue"."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        await alice.say("/mode +m")
        await bob.expect(ModeChanged, mode="+m")
        await bob.say("/hand")
        await alice.expect(HandMoved, user="bob", up=True)
        await alice.say("/hands close")
        await bob.expect(Hands, open=False, by="alice", hands=[])
        assert (await alice.ask("/hands", Hands, by=None)).hands == [], "closing the queue empties it"
        assert (await bob.ask("/hand", ErrorShown)).code == "not-allowed"
        await alice.say("/hands open")
        await bob.expect(Hands, open=True, by="alice")
        mark = alice.mark()
        await bob.say("/hand")
        await alice.expect(HandMoved, after=mark, user="bob", up=True)
        await bob.say("/hand")
        await alice.expect(HandMoved, after=mark, user="bob", up=False)


async def test_who_is_kicked_is_out_and_who_is_banned_stays_out(tmp_path: Path, seed: int) -> None:
    """Kicked: out at once, back to listen, the floor by /voice. Banned: nothing, until /unban."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, *people)
        await carol.say("hello")
        await carol.expect_delivered("hello", to=2)
        await alice.say("/kick carol too loud")
        for person in people:
            await person.expect(Kicked, room=ROOM, user="carol", by="alice", reason="too loud", banned=False)
        await carol.expect(Parted, room=ROOM, user="carol")
        assert set(await _roles(bob)) == {"alice", "bob"}
        await alice.say("we are two")
        await alice.expect_delivered("we are two", to=1)
        mark = carol.mark()
        await carol.say(f"/join {ROOM}")
        await carol.expect(RoleChanged, after=mark, user="carol", by=None, role="listener")
        await carol.expect(MessageArrived, text="we are two", delayed=True)
        assert (await carol.ask("sorry", ErrorShown)).code == "not-allowed"
        await until(lambda: alice.room(ROOM).is_member(carol.identity), "alice does not see carol back")
        await alice.say("/voice carol")
        await carol.expect(RoleChanged, after=mark, user="carol", by="alice", role="speaker")
        await carol.say("sorry")
        await bob.expect(MessageArrived, text="sorry")

        await alice.say("/ban carol")
        await carol.expect(Kicked, after=mark, user="carol", by="alice", banned=True)
        await carol.expect(Parted, after=mark, user="carol")
        await bob.expect(Kicked, user="carol", banned=True)
        mark = carol.mark()
        await carol.say(f"/join {ROOM}")
        refused = await carol.expect(ErrorShown, after=mark)
        assert (refused.code, "banned" in refused.message) == ("not-allowed", True)
        assert carol.node._rooms.by_name(ROOM) is None
        assert set(await _roles(bob)) == {"alice", "bob"}
        await bob.say("she does not hear this")
        await bob.expect_delivered("she does not hear this", to=1)
        await alice.say("/unban carol")
        await bob.expect(RoleChanged, user="carol", by="alice", banned=False)
        mark = carol.mark()
        await carol.say(f"/join {ROOM}")
        await carol.expect(MessageArrived, after=mark, text="she does not hear this")
        await carol.say("here again")
        await bob.expect(MessageArrived, text="here again")


async def test_newcomers_and_those_who_come_back_know_the_roles(tmp_path: Path, seed: int) -> None:
    """From the disk of who restarts, from the others for who is new; what a kicked one had said before stays."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, *people)
        await carol.say("before")
        await carol.expect_delivered("before", to=2)
        await alice.say_all(["/op bob", "/mode +m", "/kick carol"])
        await bob.expect(Kicked, user="carol")
        await alice.leave()
        dave = await town.newcomer("dave")
        await dave.say(f"/join {ROOM}")
        await dave.expect(ModeChanged, room=ROOM, by=None, mode="+m")
        await dave.expect(RoleChanged, user="dave", by=None, role="listener")
        await dave.expect(MessageArrived, text="before", delayed=True)
        assert (await _roles(dave))["bob"] == "moderator"
        await bob.leave()
        mark = bob.mark()
        await bob.come_online()
        await bob.say(f"/join {ROOM}")
        await bob.expect(RoleChanged, after=mark, user="bob", by=None, role="moderator")
        await until(lambda: bob.room(ROOM).is_member(dave.identity), "bob does not see dave")
        await bob.say("/voice dave")
        await dave.expect(RoleChanged, user="dave", by="bob", role="speaker")


async def test_talk_goes_on_when_nobody_is_left_to_rule(tmp_path: Path, seed: int) -> None:
    """Must show 5 in small: what nobody can do any more is said clearly; a handover before that works."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol, dave = people = await town.newcomers("alice", "bob", "carol", "dave")
        await town.gather_in(ROOM, *people)
        await alice.say("/handover bob")
        for person in people:
            await person.expect(RoleChanged, user="bob", by="alice", role="owner")
            await person.expect(RoleChanged, user="alice", by="alice", role="moderator")
        await bob.say_all(["/mode +m", "/voice carol"])
        await carol.expect(RoleChanged, user="carol", role="speaker")
        await alice.leave()
        await bob.leave()
        for person in (carol, dave):
            notice = await person.expect(Notice, message=lambda text: "nobody is in #stage any more" in text)
            assert "bob" in notice.message
            assert "alice" in notice.message
        await carol.say("we go on")
        await carol.expect_delivered("we go on", to=1)
        await dave.expect(MessageArrived, text="we go on")
        refused = await dave.ask("so do I", ErrorShown)
        assert (refused.code, "none of them is here" in refused.hint) == ("not-allowed", True)
        refused = await carol.ask("/voice dave", ErrorShown)
        assert (refused.code, "none of them is here" in refused.hint) == ("not-allowed", True)


async def test_a_topic_of_before_stays_when_the_first_ruling_is_made(tmp_path: Path, seed: int) -> None:
    """Anybody sets the topic of a room without rulings; then moderators do, and what it was stays for newcomers."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        await bob.say("/topic gardens")
        await alice.expect(TopicChanged, topic="gardens", by="bob")
        await alice.say("/op bob")
        await bob.expect(RoleChanged, user="bob", role="moderator")
        carol = await town.newcomer("carol")
        await carol.say(f"/join {ROOM}")
        await carol.expect(TopicChanged, topic="gardens")
        assert len(bob.seen(TopicChanged)) == 1, "it is the same topic"
        await asyncio.gather(alice.say("/topic roses"), bob.say("/topic lilies"))
        await until(
            lambda: len({person.room(ROOM).topic for person in (alice, bob, carol)}) == 1, "they see different topics"
        )


async def test_lines_hide_and_come_out_as_rulings_become_known(tmp_path: Path, seed: int) -> None:
    """A line that was on its way when its author was thrown out leaves the history of those who had shown it; when the kick turns
    out not to count, it is back, and shown to those who had never seen it. A restart changes nothing of that."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/op mallory")
        await bob.expect(RoleChanged, user="mallory", role="moderator")
        carol = await town.newcomer("carol")
        await town.gather_in(ROOM, alice, bob, carol)
        heads = carol.room(ROOM).graph.heads
        await carol.say("in between")
        await carol.expect_delivered("in between", to=2)
        kick = mallory.sign(Ruling(room, "mallory", heads, 0, Removal(carol.identity, "carol", "kick")))
        for person in (alice, bob):  # a kick that says of none of carol's lines that it still counts
            await mallory.say_to(person, Rulings(room, [kick.digest[:16]], [kick.raw], False))
            await person.expect(Kicked, user="carol")
            await until_async(lambda person=person: _is_without(person, "in between"), "it is still in the history")
        await carol.expect(Parted, room=ROOM, user="carol")
        await bob.leave()
        await bob.come_online()
        await bob.say(f"/join {ROOM}")
        assert await _is_without(bob, "in between")
        dave = await town.newcomer("dave")
        await dave.say(f"/join {ROOM}")
        await until(lambda: len(dave.room(ROOM).graph) == 2, "dave does not hear what was ruled")
        assert "in between" not in dave.texts(ROOM)
        deop = Ruling(room, "alice", heads, 0, Removal(mallory.peer, "mallory", "deop"))
        raw = alice.node._core.sign_own(deop).raw  # of alice's other device, say, which had not heard of the kick
        await mallory.say_to(alice, Rulings(room, [], [raw], False))
        for person in (alice, bob, dave):
            await until_async(
                lambda person=person: _is_with(person, "in between"), f"{person.name} does not have it back"
            )
        await dave.expect(MessageArrived, text="in between", sender="carol", delayed=True)
        assert bob.texts(ROOM).count("in between") == 1


async def _is_with(person: Person, text: str) -> bool:
    return text in {line.text for line in await person.history(ROOM)}


async def _is_without(person: Person, text: str) -> bool:
    return not await _is_with(person, text)
