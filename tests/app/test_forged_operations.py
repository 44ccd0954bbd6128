"""A member with a program of their own tries to change, delete and speak for others; and to hide what they say."""

from pathlib import Path

from dhtchat.chat.events import MessageArrived, StatusChanged
from dhtchat.peer.messages import Tell
from dhtchat.records.message import Delete, Edit, Place, React, Read
from tests.app.test_lines import ROOM, history
from tests.app.town import Town
from tests.app.villain import villain_in


async def test_nobody_changes_or_deletes_what_others_said(tmp_path: Path, seed: int) -> None:
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        await alice.say("what alice said")
        line = await bob.expect(MessageArrived, text="what alice said")
        room, target = alice.room(ROOM).id, bytes.fromhex(line.id)
        await mallory.enter(ROOM, alice, bob)
        forged = [
            mallory.statement(Edit(target, 2**32, "forged"), room=room),
            mallory.statement(Delete([Place(target, 1)]), room=room),
            mallory.statement(React(target, 1, "\u2764"), room=room),
            mallory.statement(Read([b"?" * 16] * 64), room=room),
        ]
        # Alice's certificate is in each of her messages: it makes her device's chain nobody else's.
        stolen = mallory.statement(
            Delete(
                [
                    Place(target, 1, alice.node._core.me.certificate),
                    Place(b"n" * 16, 2, alice.node._core.me.certificate),
                ]
            ),
            room=room,
        )
        for person in (alice, bob):
            await mallory.tell(person, *forged)
            await person.expect(MessageArrived, reacts_to=line.id)
            await mallory.say_to(person, Tell(stolen.raw))
        await alice.say("what alice says next")
        await bob.expect(MessageArrived, text="what alice says next")
        for person in (alice, bob):
            assert [kept.text for kept in await history(person)] == ["what alice said", "what alice says next"]
            assert not person.seen(MessageArrived, edits=line.id)
            assert not person.seen(MessageArrived, deletes=line.id)
            readers = person.node._core.store.readers([b"?" * 16])
            assert readers == {b"?" * 16: set()}, "what is not here cannot have been read"
        assert not alice.seen(StatusChanged, state="read")
