"""What a modified client says or rules without the right to it is shown to nobody: issue 6, must show 4."""

from pathlib import Path

import pytest

from dhtchat.chat.events import (
    HandMoved,
    Invited,
    Joined,
    Kicked,
    MessageArrived,
    ModeChanged,
    RoleChanged,
    TopicChanged,
)
from dhtchat.ids import MessageId, RoomId
from dhtchat.peer.messages import Announce, DeviceCounter, Have, Lines, Rulings, Tell
from dhtchat.records.kinds import open_record
from dhtchat.records.membership import Membership, membership_key
from dhtchat.records.message import Hand, SetTopic, open_statement
from dhtchat.records.ruling import Act, Grant, Removal, RuleTopic, Ruling, SetDoor, SetHands, SetMode, peek_ruling_id
from tests.app.town import Person, Town, until
from tests.app.villain import NETWORK, Villain, villain_in

ROOM = "#stage"


def _heads(person: Person) -> list[bytes]:
    return person.room(ROOM).graph.heads


async def _attempts(villain: Villain, room: RoomId, *heads: list[bytes]) -> list[str]:
    """Say something with each choice of heads to everybody: fresh, and as a page of a history."""
    texts = []
    for number, named in enumerate(heads):
        for how in ("told", "paged"):
            text = f"{how} with heads {number}"
            texts.append(text)
            line = villain.statement(text, room=room, heads=named)
            for person in villain.town.people:
                if how == "told":
                    await villain.tell(person, line)
                else:
                    await villain.say_to(person, Lines(room, [line.raw], [], [], False))
    return texts


async def _shown_to_nobody(villain: Villain, texts: list[str]) -> None:
    """Nor to a newcomer, who hears of all of it from the others."""
    people = list(villain.town.people)
    for person in people:
        await villain.fence(person)
    await people[0].say("fence")
    for person in people:
        await person.expect(MessageArrived, text="fence", room=ROOM)
    late = await villain.town.newcomer("late")
    await late.say(f"/join {ROOM}")
    await late.expect(MessageArrived, text="fence", room=ROOM, delayed=True)
    for person in (*people, late):
        assert not set(texts) & set(person.texts(ROOM)), person.name
        assert not set(texts) & {line.text for line in await person.history(ROOM)}, person.name


@pytest.mark.parametrize("command", ["/kick mallory", "/ban mallory", "/devoice mallory"])
async def test_who_was_silenced_is_heard_with_no_heads(tmp_path: Path, seed: int, command: str) -> None:
    """Old heads, new ones and none: what they had said before stays, for a newcomer too."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/op bob")
        await bob.expect(RoleChanged, user="bob", role="moderator")
        old = _heads(alice)
        before = mallory.statement("well behaved", room=room, heads=old)
        for person in (alice, bob):
            await mallory.tell(person, before)
            await person.expect(MessageArrived, text="well behaved", sender="mallory")
        await bob.say(command)
        await until(lambda: _heads(alice) == _heads(bob) != old, "alice does not hear what bob ruled")
        for person in (alice, bob):  # back in, as far as they can
            await mallory.say_to(person, Announce([mallory.membership(room).raw]))
        texts = await _attempts(mallory, room, old, _heads(alice), [], [b"?" * 16])
        await _shown_to_nobody(mallory, texts)
        for person in town.people:
            assert "well behaved" in {line.text for line in await person.history(ROOM)}, person.name


async def test_a_listener_is_heard_with_no_heads(tmp_path: Path, seed: int) -> None:
    """In a moderated room: nor do they set a topic, and a raised hand is all that is heard of them."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/op bob")
        await bob.expect(RoleChanged, user="bob", role="moderator")
        old = _heads(alice)
        await bob.say("/mode +m")
        await alice.expect(ModeChanged, mode="+m")
        texts = await _attempts(mallory, room, old, _heads(alice), [])
        for named in (old, _heads(alice), []):
            topic = mallory.statement(SetTopic("mine"), room=room, heads=named)
            for person in (alice, bob):
                await mallory.tell(person, topic)
        hand = mallory.statement(Hand(True), room=room, heads=_heads(alice))
        for person in (alice, bob):
            await mallory.tell(person, hand)
            await until(lambda person=person: mallory.peer in person.room(ROOM).hands(), "the hand is not seen")
        await _shown_to_nobody(mallory, texts)
        for person in town.people:
            assert not person.seen(TopicChanged, topic="mine")


async def _heard_of_room(villain: Villain, room: RoomId, since: int) -> list[object]:
    """All that was said to it of a room after that many messages; of rulings those only that it did not have."""
    found: list[object] = []
    for _, message in villain.heard[since:]:
        match message:
            case Tell(statement=raw) if villain_reads(raw) == room:
                found.append(message)
            case Have(conversation=conversation) | Lines(conversation=conversation) if conversation == room:
                found.append(message)
            case Rulings(room=about) if about == room:
                found.append(message)
            case Announce(records=records):
                opened = [open_record(raw, NETWORK) for raw in records]
                found += [
                    record for record in opened if isinstance(record.body, Membership) and record.body.room == room
                ]
    return found


def villain_reads(raw: bytes) -> bytes:
    return open_statement(raw, NETWORK).conversation


async def test_an_outsider_is_heard_and_told_nothing(tmp_path: Path, seed: int) -> None:
    """Issue 6, must show 4, `+i`: whatever it says of being in, with old heads, new ones and none, as talk, as a page of history,
    as a topic, a hand or a ruling: nobody shows it, nobody gives it anything, and it is in no list."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/op bob")
        await bob.expect(RoleChanged, user="bob", role="moderator")
        old = _heads(alice)
        before = mallory.statement("well behaved", room=room, heads=old)
        for person in (alice, bob):
            await mallory.tell(person, before)
            await person.expect(MessageArrived, text="well behaved", sender="mallory")
            await mallory.say_to(person, Announce([mallory.membership(room, gone=True).raw]))
            await until(lambda person=person: not person.room(ROOM).is_member(mallory.peer), "she has not left")
        await alice.say("/mode +i")
        await bob.expect(ModeChanged, mode="+i")
        for person in (alice, bob):
            await mallory.fence(person)
        since = len(mallory.heard)
        await mallory.store_everywhere(mallory.membership(room), membership_key(room))
        for person in (alice, bob):
            await mallory.say_to(person, Announce([mallory.membership(room).raw]))
        texts = await _attempts(mallory, room, old, _heads(alice), [], [b"?" * 16])
        for act in (Grant(mallory.peer, "mallory", "invite"), SetDoor(False), SetDoor(True), RuleTopic("mine")):
            for heads in (old, _heads(alice), []):
                forged = mallory.sign(Ruling(room, "mallory", heads, 0, act))
                for person in (alice, bob):
                    await mallory.say_to(person, Rulings(room, [forged.digest[:16]], [forged.raw], True))
        for content in (SetTopic("mine"), Hand(True)):
            for heads in (old, _heads(alice), []):
                for person in (alice, bob):
                    await mallory.tell(person, mallory.statement(content, room=room, heads=heads))
        for person in (alice, bob):
            await mallory.say_to(person, Have(room, [], True), Rulings(room, [], [], True))
            await mallory.fence(person)
        await alice.say("between us")
        await bob.expect(MessageArrived, text="between us")
        for person in (alice, bob):
            await mallory.fence(person)
            assert set(await person.members(ROOM)) == {"alice", "bob"}
            assert not person.seen(TopicChanged, topic="mine")
            assert not person.seen(HandMoved)
            assert mallory.peer not in person.room(ROOM).present(), "outsiders could fill the roster"
        assert await _heard_of_room(mallory, room, since) == []
        late = await town.newcomer("late")
        await alice.say("/invite late")
        await late.expect(Invited, room=ROOM, by="alice")
        await late.say(f"/join {ROOM}")
        await late.expect(MessageArrived, text="between us", delayed=True)
        for person in town.people:
            lines = {line.text for line in await person.history(ROOM)}
            assert lines == {"well behaved", "between us"}, person.name
            assert not set(texts) & set(person.texts()), person.name


async def test_who_was_thrown_out_of_a_closed_room_is_told_nothing_more(tmp_path: Path, seed: int) -> None:
    """Issue 6, must show 4: nothing of what is said afterwards, nor who comes in; what it says is shown to nobody."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/mode +i")
        await bob.expect(ModeChanged, mode="+i")
        for person in (alice, bob):
            inside = mallory.statement("hello", room=room, heads=_heads(alice))
            await mallory.tell(person, inside)
            await person.expect(MessageArrived, text="hello", sender="mallory")
            # What it says it has is asked for, as long as it is in.
            await mallory.say_to(person, Have(room, [DeviceCounter(mallory.device.public, 99)], False))
        before = _heads(alice)
        await alice.say("/kick mallory")
        await bob.expect(Kicked, user="mallory")
        for person in (alice, bob):
            await mallory.fence(person)
        since = len(mallory.heard)
        late = await town.newcomer("late")
        await alice.say("/invite late")
        await late.say(f"/join {ROOM}")
        await late.expect(Joined, room=ROOM, user="late")
        for person in (alice, bob):
            await mallory.say_to(person, Announce([mallory.membership(room).raw]))
            await mallory.say_to(person, Have(room, [], True), Rulings(room, [], [], True))
        texts = await _attempts(mallory, room, before, _heads(alice), [])
        await alice.say("she does not hear this")
        for person in town.people:
            await person.expect(MessageArrived, text="she does not hear this")
            await mallory.fence(person)
        kick = alice.room(ROOM).graph.leading_to(alice.room(ROOM).graph.now.people[mallory.peer].kicked, [])
        for message in await _heard_of_room(mallory, room, since):
            assert isinstance(message, Rulings), message
            assert message.heads == []
            assert {peek_ruling_id(raw) for raw in message.rulings} <= {ruling.id for ruling in kick}
        for person in town.people:
            assert not set(texts) & {line.text for line in await person.history(ROOM)}, person.name
            assert not set(texts) & set(person.texts()), person.name


async def test_a_forged_ruling_changes_nothing(tmp_path: Path, seed: int) -> None:
    """A speaker makes themselves moderator and owner, bans the owner, and passes it on: nobody keeps any of it."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/op bob")
        await bob.expect(RoleChanged, user="bob", role="moderator")
        heads = _heads(alice)
        acts: list[Act] = [
            Grant(mallory.peer, "mallory", "op"),
            Grant(mallory.peer, "mallory", "owner"),
            Removal(alice.identity, "alice", "ban"),
            SetMode(True),
            RuleTopic("mine"),
            SetHands(False),
        ]
        for named in (heads, []):
            made = [mallory.sign(Ruling(room, "mallory", named, 0, act)) for act in acts]
            made += [mallory.sign(Ruling(room, "alice", named, 0, act)) for act in acts]  # a name is only a name
            for person in (alice, bob):
                await mallory.attack(person, Rulings(room, heads, [each.raw for each in made], True))
        for person in (alice, bob):
            assert _heads(person) == heads
            assert len(person.room(ROOM).graph) == 1
            assert not person.seen(Kicked)
            assert (await person.members(ROOM))["mallory"].role == "speaker"
        other = mallory.sign(Ruling(RoomId(b"o" * 32), "mallory", [], 0, acts[0]))
        for raw in (b"x", other.raw, made[0].raw[:-1] + b"?"):
            link = await mallory.say_to(alice, Rulings(room, [], [raw], True))
            await until(lambda link=link: not link.alive, "whoever sends rubbish keeps the link")


async def test_a_moderator_who_was_removed_rules_nothing_more(tmp_path: Path, seed: int) -> None:
    """Naming heads from before that: kept by nobody, or without effect."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/op mallory")
        await bob.expect(RoleChanged, user="mallory", role="moderator")
        old = _heads(bob)
        await alice.say("/deop mallory")
        await bob.expect(RoleChanged, user="mallory", by="alice", role="speaker")
        for act in (Removal(bob.identity, "bob", "ban"), SetMode(True), Removal(alice.identity, "alice", "kick")):
            for named in (old, _heads(bob)):
                ruling = mallory.sign(Ruling(room, "mallory", named, 0, act))
                for person in (alice, bob):
                    await mallory.attack(person, Rulings(room, [], [ruling.raw], False))
        for person in (alice, bob):
            now = person.room(ROOM).graph.now
            assert (now.moderated, now.is_banned(bob.identity), now.owner) == (False, False, alice.identity)
            assert not person.seen(Kicked)
            assert not person.seen(ModeChanged)


async def test_who_is_banned_is_told_nothing(tmp_path: Path, seed: int) -> None:
    """A modified client that stays: no line reaches it, new or old, however it asks; what was ruled it may know."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/ban mallory")
        await bob.expect(Kicked, user="mallory", banned=True)
        for person in (alice, bob):
            await mallory.say_to(person, Announce([mallory.membership(room).raw]))
            assert set(await person.members(ROOM)) == {"alice", "bob"}
        mallory.heard.clear()
        await alice.say("among us")
        await bob.expect(MessageArrived, text="among us")
        for person in (alice, bob):
            await mallory.attack(person, Have(room, [], True), Rulings(room, [], [], True))
        await until(lambda: any(each.rulings for each in mallory.heard_of(Rulings)), "nobody says what was ruled")
        devices: list[DeviceCounter] = []
        await mallory.attack(bob, Have(room, devices, False))
        for page in mallory.heard_of(Lines):
            assert page.conversation != room
        assert not [have for have in mallory.heard_of(Have) if have.conversation == room]


async def test_a_line_that_names_what_nobody_knows_waits_and_costs_no_more_than_its_place(
    tmp_path: Path, seed: int
) -> None:
    """A bound on what waits, and the honest line that waits for a ruling on its way is shown when that comes."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, alice, bob)
        await alice.say("/op mallory")
        await bob.expect(RoleChanged, user="mallory", role="moderator")
        ruling = mallory.sign(Ruling(room, "mallory", _heads(bob), 0, SetMode(True)))
        line = mallory.statement("ordered", room=room, heads=[ruling.digest[:16]])
        await mallory.tell(bob, line)
        await mallory.fence(bob)
        assert "ordered" not in bob.texts(ROOM)
        assert MessageId(line.digest[:16]) in bob.node._moderation._parked[room]
        await mallory.say_to(bob, Rulings(room, [ruling.digest[:16]], [ruling.raw], False))
        await bob.expect(MessageArrived, text="ordered", sender="mallory")
        await alice.expect(ModeChanged, mode="+m")  # bob passed it on
        assert not bob.node._moderation._parked.get(room)


async def test_a_topic_whispered_to_one_is_not_made_the_room_s(tmp_path: Path, seed: int) -> None:
    """Said to bob alone before the first ruling: whoever heard that one first drops it, so bob does, and carries nothing on."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = await mallory.enter(ROOM, bob)
        bob.room(ROOM).take_topic(mallory.opened(mallory.statement(SetTopic("mine"), room=room)), 1)
        assert bob.room(ROOM).topic == "mine"
        await alice.say("/op bob")
        await bob.expect(RoleChanged, user="bob", role="moderator")
        await bob.expect(TopicChanged, topic="", by=None)
        await bob.say("/mode +m")
        await alice.expect(ModeChanged, mode="+m")
        for person in (alice, bob):
            assert person.room(ROOM).topic == "", person.name
        assert not alice.seen(TopicChanged)
