"""Forged talk over links changes nothing that anyone reads, and crashes nobody.

Issue 2, "What it must show", 4, for a modified peer with its own valid key; design.md, promises 1 (nothing is shown as
somebody else's, *delivered* means on a recipient's disk) and 4 (nobody's bytes crash a peer or fill its memory).
"""

import asyncio
import os
from pathlib import Path

from dhtchat.chat.events import Joined, MessageArrived, PresenceChanged, StatusChanged, TopicChanged, Warned
from dhtchat.chat.intents import SayTo
from dhtchat.ids import Endpoint, PeerId, fingerprint
from dhtchat.limits import DEVICES_PER_OWNER_MAX
from dhtchat.peer.messages import Announce, Committed, DeviceCounter, Have, Lines, Tell
from dhtchat.records.message import SetTopic, direct_conversation
from tests.app.town import Person, Town, until
from tests.app.villain import villain_in

ROOM = "#lobby"


def raw_of(person: Person, conversation: bytes, text: str) -> bytes:
    """The signed bytes of a line that `person` has, as anybody who got it has them."""
    line = person.seen(MessageArrived, text=text)[0]
    rows = person.node._core.store.last_statements(conversation, 1000)
    [raw] = [row.raw for row in rows if row.id.hex() == line.id]
    return raw


async def talk_goes_on(alice: Person, bob: Person, text: str) -> None:
    for author, reader in ((alice, bob), (bob, alice)):
        await author.say(f"/msg {reader.name} {text}, in private")
        await author.say(f"/switch {ROOM}")
        await author.say(f"{text}, in the room")
        await reader.expect(MessageArrived, text=f"{text}, in the room", sender=author.name, verified=True)
        await reader.expect(MessageArrived, text=f"{text}, in private", sender=author.name, verified=True)


async def test_a_forged_name_is_shown_with_its_fingerprint(tmp_path: Path, seed: int) -> None:
    """Mallory's device certificate says `alice`. In the room and in private, what she says is shown as
    `alice#fingerprint` and not `verified`; who knows alice is warned that a key has changed, once. Alice's own lines,
    presence and name stay hers, and an answer to `alice` goes to her alone."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory", poses_as="alice") as mallory:
        alice, bob, dave = await town.newcomers("alice", "bob", "dave")
        impostor = f"alice#{fingerprint(mallory.peer)}"
        await town.gather_in(ROOM, alice, bob)
        await alice.say("it is me")
        await bob.expect(MessageArrived, text="it is me", sender="alice", verified=True)
        await mallory.enter(ROOM, alice, bob, name="alice")
        in_room = mallory.statement("in the room", room=alice.room(ROOM).id, name="alice")
        for person in (alice, bob):
            await mallory.tell(person, in_room)
            line = await person.expect(MessageArrived, text="in the room")
            assert (line.sender, line.verified, line.own) == (impostor, False, False)
            await person.expect(Joined, user=impostor, room=ROOM)
        for person in (alice, bob, dave):
            private = mallory.statement("in private", to=PeerId(person.identity), recipient=person.name, name="alice")
            await mallory.tell(person, private)
            line = await person.expect(MessageArrived, text="in private")
            assert (line.sender, line.verified, line.own) == (impostor, False, False)
        assert [warning.code for warning in bob.seen(Warned)] == ["key-changed"]
        assert fingerprint(mallory.peer) in bob.seen(Warned)[0].hint
        assert not dave.seen(Warned), "dave has never met alice"

        assert impostor in await bob.members(ROOM)
        assert {line.sender for line in await bob.history(ROOM)} == {"alice", impostor}
        for person in (bob, dave):
            assert person.seen(PresenceChanged, user="alice") == []
            assert await person.online() == ["alice", "bob", "dave"]
            whois = await person.whois("alice")
            assert (whois.fingerprint, whois.key_changed) == (fingerprint(alice.identity), False)
            await person.say(f"/msg alice to the real one, from {person.name}")
            await alice.expect(MessageArrived, text=f"to the real one, from {person.name}", sender=person.name)
        assert not any("real one" in str(message) for message in mallory.heard)
        await talk_goes_on(alice, bob, "after the impostor")


async def test_nobody_is_shown_a_line_that_is_not_theirs_to_see_or_not_its_authors(tmp_path: Path, seed: int) -> None:
    """Statements with somebody else's certificate, for a room the author is not in, of private talks between others, in a
    page of another conversation, or twice under one counter: none of it is shown to anybody, and talk goes on."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory, villain_in(town, "eve") as eve:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, alice, bob)
        await alice.say("/msg carol a secret")
        await carol.expect(MessageArrived, text="a secret")
        await alice.say("/msg bob hello")
        await bob.expect(MessageArrived, text="hello")
        room, bob_id = alice.room(ROOM).id, PeerId(bob.identity)
        secret_talk = direct_conversation(PeerId(alice.identity), PeerId(carol.identity))
        secret = raw_of(carol, secret_talk, "a secret")
        alices_certificate = alice.node._core.me.certificate
        private = direct_conversation(PeerId(alice.identity), bob_id)
        marks = {person: person.mark() for person in people}

        never_right = [
            mallory.statement("forged: by alice", room=room, certificate=alices_certificate),
            mallory.statement("forged: by alice", to=bob_id, certificate=alices_certificate),
            eve.statement("forged: by somebody who is in no room", room=room),
        ]
        not_her_place = [
            mallory.statement("forged: not a member", room=room),
            mallory.statement(SetTopic("forged"), room=room),
            mallory.statement("forged: in the talk with alice", room=private),
            mallory.statement("forged: for carol only", to=PeerId(carol.identity), recipient="carol"),
        ]
        for statement in never_right + not_her_place:
            conversations = (statement.body.target, room, private)
            pages = (Lines(conversation, [statement.raw], [], [], more=False) for conversation in conversations)
            await mallory.attack(bob, Tell(statement.raw), *pages)
        for conversation in (secret_talk, room, private, direct_conversation(mallory.peer, bob_id)):
            await mallory.attack(bob, Tell(secret), Lines(conversation, [secret], [], [], more=False))

        # Now as a member, which she may become, and with eve's lines, who is none.
        await mallory.enter(ROOM, alice, bob)
        await mallory.attack(bob, *(Tell(statement.raw) for statement in never_right))
        first = mallory.statement("the first under this number", room=room, counter=1)
        await mallory.tell(bob, first)
        await bob.expect(MessageArrived, text="the first under this number", sender="mallory")
        fork = mallory.statement("forged: the second under this number", room=room, counter=1)
        await mallory.attack(bob, Tell(fork.raw), Lines(room, [fork.raw], [], [], more=False))
        for _ in range(20):
            await mallory.say_to(bob, Tell(first.raw))
        await mallory.fence(bob)
        await talk_goes_on(alice, bob, "after the forgeries")
        for person in people:
            shown = person.seen(MessageArrived, after=marks[person])
            assert not [line for line in shown if "forged" in line.text or "secret" in line.text]
            assert len([line for line in shown if line.text == "the first under this number"]) <= 1
            assert not person.seen(TopicChanged, after=marks[person])
        # Nobody acknowledged what they did not take.
        acknowledged = {i for message in mallory.heard_of(Committed) for i in message.ids}
        assert mallory.opened(first).id in acknowledged
        assert mallory.opened(fork).id not in acknowledged
        assert not acknowledged & {mallory.opened(statement).id for statement in not_her_place}


async def test_one_may_lie_about_what_one_has_but_not_about_what_others_have(tmp_path: Path, seed: int) -> None:
    """Promise 1: a message shown as delivered was committed by a recipient. Mallory says `Committed` and `Have` for lines
    that she never got: in the room that counts for herself alone, and for a private line between others not at all."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob, carol = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, alice, bob)
        await mallory.enter(ROOM, alice, bob)
        await alice.say("/msg carol before")
        await alice.expect_delivered("before")
        await carol.crash()
        await bob.crash()
        await alice.say("for bob and mallory")
        await alice.say("for bob and mallory, too")
        await alice.say("/msg carol for carol alone")
        lines = [await alice.expect(MessageArrived, text=text) for text in ("for bob and mallory", "for carol alone")]
        # What lies before the beginning that a comparison names is not there.
        counter = alice.node._talks.get(alice.room(ROOM).id).timeline.vector()[alice.device]
        await mallory.attack(alice, Have(alice.room(ROOM).id, [DeviceCounter(alice.device, counter, counter)], False))
        earlier, later = (alice.seen(MessageArrived, text=f"for bob and mallory{more}")[0] for more in ("", ", too"))
        await alice.expect(StatusChanged, id=later.id, delivered_to=1)
        assert "delivered" not in alice.states(earlier)

        everything = [DeviceCounter(alice.device, 2**62)]
        talks = [alice.room(ROOM).id, direct_conversation(PeerId(alice.identity), PeerId(carol.identity))]
        await mallory.say_to(
            alice,
            Committed([bytes.fromhex(line.id) for line in lines]),
            *(Have(talk, everything, answer=False) for talk in talks),
        )
        await mallory.fence(alice)
        in_room, private = (alice.seen(StatusChanged, id=line.id) for line in lines)
        assert {(status.state, status.delivered_to) for status in in_room} <= {
            ("queued", 0),
            ("sent", 0),
            ("delivered", 1),
        }
        assert in_room[-1].members == 2
        assert {status.state for status in private} <= {"queued", "sent"}
        await carol.come_online()
        await bob.come_online()
        await bob.say(f"/join {ROOM}")
        await alice.expect_delivered("for carol alone")
        await alice.expect_delivered("for bob and mallory", to=2)
        await carol.expect(MessageArrived, text="for carol alone")
        await bob.expect(MessageArrived, text="for bob and mallory")


async def test_a_page_that_lies_about_where_history_begins_hides_nothing(tmp_path: Path, seed: int) -> None:
    """Mallory sends dave, who is new and knows nothing, pages that say that alice's, bob's and his own lines begin far
    ahead and that parents will never come; one of them stands on a real line of alice's. Dave still gets all that was
    and is said, exactly once, can speak himself, and nobody is told that he has what he has not."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        said = [f"line {number}" for number in range(6)]
        for text in said:
            await alice.say(text)
            await alice.expect_delivered(text, to=1)
        dave = await town.newcomer("dave")
        room = alice.room(ROOM).id
        await mallory.enter(ROOM, alice, bob)
        # Nobody but mallory reaches dave at first.
        alice.cable.cut()
        bob.cable.cut()
        await dave.say(f"/join {ROOM}")
        everybody = [person.device for person in (alice, bob, dave)]
        absent = [bytes.fromhex(line.id) for line in alice.seen(MessageArrived, own=True)]
        floors = [DeviceCounter(device, 2**61) for device in everybody]
        last = raw_of(alice, room, "line 5")
        await mallory.attack(
            dave,
            Lines(room, [], floors, absent, more=False),
            Lines(room, [last], floors, absent, more=False),
            Lines(room, [last], [DeviceCounter(alice.device, 6)], absent, more=False),
            Lines(room, [], [DeviceCounter(dave.device, 2)], [], more=True),
            Lines(room, [], floors, absent, more=True),
        )
        await dave.say("dave can speak")
        await dave.expect(MessageArrived, text="dave can speak", own=True)
        alice.cable.mend()
        bob.cable.mend()
        await dave.expect_delivered("dave can speak", to=2, within_s=30)
        for person in (alice, bob):
            await person.expect(MessageArrived, text="dave can speak", sender="dave")
        await alice.say(f"/switch {ROOM}")
        await alice.say("after the lies")
        await alice.expect_delivered("after the lies", to=2)
        await dave.expect(MessageArrived, text="after the lies")

        def from_alice() -> list[str]:
            return sorted(line.text for line in dave.seen(MessageArrived, room=ROOM, sender="alice"))

        await until(lambda: from_alice() == [*sorted([*said, "after the lies"])], lambda: f"dave has {from_alice()}")


async def test_a_neighbour_announces_nobody_but_itself_and_no_more_than_it_may(tmp_path: Path, seed: int) -> None:
    """Records of others, genuine or not, and garbage cost the link and change nothing. Of her own mallory announces
    hundreds of devices at hundreds of addresses, under alice's name and with alice's device among them: what peers keep
    of it, and dial, stays small, and alice stays where she is."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = alice.room(ROOM).id
        slots = ("presence", f"member:{ROOM}")
        genuine, gone = (
            [record.raw for slot in slots if (record := alice.node._dht.make(slot, gone=says)) is not None]
            for says in (False, True)
        )
        assert len(genuine) == len(gone) == len(slots)
        as_alice = mallory.presence(name="alice", device=alice.device)
        tampered = bytes(as_alice.raw).replace(mallory.identity.public, alice.identity)
        for lie in (genuine, gone, [tampered], [b"garbage"], [os.urandom(500)], [genuine[0], as_alice.raw]):
            link = await mallory.link_to(bob)
            await link.send(Announce(lie))
            await until(lambda link=link: not link.alive, "bob puts up with it")
        assert bob.node._pool.statistics["misbehaved"] >= 6

        own = [as_alice, mallory.presence(name="alice", device=alice.device, gone=True)]
        own += [mallory.membership(room, name="alice", device=alice.device, gone=gone) for gone in (False, True)]
        await mallory.attack(bob, *(Announce([record.raw]) for record in own))
        await mallory.enter(ROOM, alice, bob)
        for number in range(40):
            addresses = [Endpoint("127.0.0.1", 1024 + 32 * number + port) for port in range(32)]
            crowd = [mallory.presence(device=os.urandom(32), address=address).raw for address in addresses]
            leaving = [mallory.membership(room, device=os.urandom(32), gone=True).raw for _ in range(16)]
            staying = [mallory.membership(room, device=os.urandom(32)).raw for _ in range(16)]
            await mallory.say_to(bob, Announce(crowd), Announce(leaving + staying))
        await mallory.fence(bob)
        assert len(bob.node._attendance._present) <= 2 + DEVICES_PER_OWNER_MAX
        assert len(bob.room(ROOM).devices()) <= 2 + DEVICES_PER_OWNER_MAX
        assert len(bob.node._keeper._found) <= 2 + DEVICES_PER_OWNER_MAX
        assert len(bob.node._pool._wanted) <= 2 + DEVICES_PER_OWNER_MAX
        assert {user.name for user in await bob.users()} == {"alice", "bob", "mallory"}
        await talk_goes_on(alice, bob, "after the crowd")


async def test_talk_goes_on_through_a_flood(tmp_path: Path, seed: int) -> None:
    """A member says thousands of things that are all allowed: comparisons that ask for everything, the same lines again,
    receipts for made-up ids, pages without anything in them. Others go on talking, and are heard within moments."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        room = alice.room(ROOM).id
        await mallory.enter(ROOM, alice, bob)
        for number in range(90):
            await alice.node.perform(SayTo(f"{number} " + "x" * 500, ROOM))
        await bob.expect(MessageArrived, text=lambda text: text.startswith("89 "), within_s=30)
        line = mallory.statement("once", room=room)
        stop = asyncio.Event()

        async def flood() -> None:
            links = [await mallory.link_to(person) for person in (alice, bob)]
            while not stop.is_set():
                for link in links:
                    await link.send(Have(room, [], answer=True))
                    await link.send(Have(os.urandom(32), [DeviceCounter(os.urandom(32), 5)] * 1_000, answer=True))
                    await link.send(Tell(line.raw))
                    await link.send(Committed([os.urandom(16) for _ in range(1_000)]))
                    await link.send(Lines(room, [line.raw] * 10, [], [os.urandom(16) for _ in range(256)], more=True))

        flooding = asyncio.create_task(flood())
        try:
            for number in range(5):
                await talk_goes_on(alice, bob, f"through the flood, {number}")
        finally:
            stop.set()
            await flooding
        assert bob.texts(ROOM).count("once") == alice.texts(ROOM).count("once") == 1
        assert bob.node._core.store is not None
