"""One person, several devices: everything reaches all of them, and a device that lost its memory is a new one."""

from pathlib import Path

import pytest

from dhtchat.chat.events import MessageArrived, PresenceChanged
from tests.app.town import Person, Town, until

ROOM = "#lobby"


async def test_two_devices_of_one_person_are_one_person(tmp_path: Path, seed: int) -> None:
    """Design: one person may be logged in on several at once, and everything reaches all of them: lines of others, one's
    own lines from the other device, and private talk that began before the second was there. Others see one person, who
    stays online when the first device leaves."""
    async with Town(tmp_path, seed) as town:
        desk, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, desk, bob)
        await desk.say("/msg bob before the laptop")
        await desk.expect_delivered("before the laptop")
        laptop = await town.resident("alice", machine="-laptop").come_online()
        assert laptop.identity == desk.identity
        assert laptop.device != desk.device
        await laptop.expect(MessageArrived, text="before the laptop", own=True, delayed=True, recipient="bob")
        await laptop.say(f"/join {ROOM}")
        await until(lambda: len(_devices_in_room(bob)) == 2, "bob does not see alice's second device in the room")
        await until(lambda: len(bob.node._pool.links_of(laptop.identity)) == 2, "bob is not linked to both devices")

        await bob.say("to both, in the room")
        await bob.say("/msg alice to both, in private")
        await desk.say(f"/switch {ROOM}")
        await desk.say("from the desk")
        await desk.say("/msg bob from the desk, in private")
        await laptop.say("from the laptop")
        await laptop.say("/msg carol from the laptop, in private")
        for device in (desk, laptop):
            for text in ("to both, in the room", "to both, in private"):
                await device.expect(MessageArrived, text=text, sender="bob", own=False)
            for text in ("from the desk", "from the laptop"):
                await device.expect(MessageArrived, text=text, sender="alice", own=True, room=ROOM)
            await device.expect(MessageArrived, text="from the desk, in private", own=True, recipient="bob")
            await device.expect(MessageArrived, text="from the laptop, in private", own=True, recipient="carol")
        await bob.expect_delivered("to both, in the room", to=1)
        for text in ("from the desk", "from the laptop", "from the desk, in private"):
            await bob.expect(MessageArrived, text=text, sender="alice")
        await carol.expect(MessageArrived, text="from the laptop, in private", sender="alice")
        assert await carol.online() == ["alice", "bob", "carol"]
        assert set(await bob.members(ROOM)) == {"alice", "bob"}

        await desk.leave()
        await until(lambda: len(_devices_in_room(bob)) == 1, "bob still sees the desk in the room")
        assert await carol.online() == ["alice", "bob", "carol"]
        assert set(await bob.members(ROOM)) == {"alice", "bob"}
        await bob.say("to the laptop alone")
        await laptop.expect(MessageArrived, text="to the laptop alone")
        for person in (bob, carol):
            assert not person.seen(PresenceChanged, user="alice", online=False)
        await desk.come_online()
        await desk.say(f"/join {ROOM}")
        await desk.expect(MessageArrived, text="to the laptop alone", delayed=True)
        await desk.leave()
        await laptop.leave()
        await bob.expect(PresenceChanged, user="alice", online=False)
        for person in (*people, laptop):
            texts = person.texts()
            assert len(texts) == len(set(texts)), "something was shown twice"


def _devices_in_room(person: Person) -> list[object]:
    """Of others."""
    return [who for who in person.room(ROOM).devices() if who.peer != person.identity]


@pytest.mark.parametrize("lost", ["deleted", "damaged"])
async def test_a_device_that_lost_its_history_is_a_new_one_and_gets_talk_back(
    tmp_path: Path, seed: int, lost: str
) -> None:
    """Counters would start again with the old key, and that would be a fork: so the device takes a new key. What it said
    and heard, in the room and in private, comes back from the others, and what it says from then on gets through."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        for number in range(5):
            for author, reader in ((alice, bob), (bob, alice)):
                await author.say(f"/switch {ROOM}")
                await author.say(f"{author.name} {number}")
                await author.say(f"/msg {reader.name} {author.name} {number} in private")
                await author.expect_delivered(f"{author.name} {number}", to=1)
                await author.expect_delivered(f"{author.name} {number} in private")
        said = sorted(bob.texts())
        device = bob.device
        await bob.crash()
        for path in bob.device_folder.glob("history.db*"):
            if lost == "deleted":
                path.unlink()
            else:
                path.write_bytes(b"\xa5" * path.stat().st_size)

        mark = bob.mark()
        await bob.come_online()
        assert bob.device != device
        await bob.say(f"/join {ROOM}")
        await until(
            lambda: sorted(bob.texts(after=mark)) == said,
            lambda: f"bob has {sorted(bob.texts(after=mark))}",
        )
        for line in bob.seen(MessageArrived, after=mark):
            assert line.own == (line.sender == "bob")
            assert line.delayed
        for number in range(5):
            await bob.say(f"/switch {ROOM}")
            await bob.say(f"new {number}")
            await bob.say(f"/msg alice new {number} in private")
            await bob.expect_delivered(f"new {number}", to=1)
            await bob.expect_delivered(f"new {number} in private")
        assert sorted(alice.texts()) == sorted(
            [*said, *(f"new {n}{where}" for n in range(5) for where in ("", " in private"))]
        )
        for person in (alice, bob):
            assert not any(talk.timeline.forks_seen for talk in person.node._talks)
