"""What is too old to be kept goes, stays away, and harms nobody."""

import pytest

from dhtchat.app.retention import DAY_MS
from dhtchat.chat import intents
from dhtchat.chat.events import History
from simulations.world import Person, World

ROOM = "#lobby"


@pytest.mark.parametrize("seed", [1, 2])
def test_old_talk_goes_and_does_not_come_back_from_others(seed: int) -> None:
    """`--keep-days`: bob keeps one day, alice everything. The next day's talk goes on as ever, over a restart of bob too."""
    world = World(seed)
    kept: dict[str, list[str]] = {}

    async def play() -> None:
        await world.start_bootstrap()
        alice, bob = world.add_person("alice"), world.add_person("bob")
        for person in (alice, bob):
            person.rooms = [ROOM]
            await person.start()
        both = (alice, bob)
        assert await world.until(
            lambda: all(p.node is not None and ROOM in p.node.inspection.room_conversations() for p in both),
            within_s=30.0,
        )
        for number in range(10):
            await alice.say(ROOM, f"old {number}", ["bob"])
        await bob.say(ROOM, "old, by bob", ["alice"])
        assert await world.until(
            lambda: "old, by bob" in alice.lines(ROOM) and "old 9" in bob.lines(ROOM), within_s=60.0
        )
        assert bob.node is not None
        bob.node._retention.days = 1
        assert await bob.node._retention.trim() == 0
        for person in (alice, bob):
            person.host.clock.skew_s += 2 * DAY_MS / 1_000
        assert await bob.node._retention.trim() >= 11
        for number in range(5):
            await alice.say(ROOM, f"new {number}", ["bob"])
            await bob.say(ROOM, f"new {number}, by bob", ["alice"])
        assert await bob.until(lambda: "new 4" in bob.lines(ROOM), within_s=60.0)
        await bob.leave()
        await alice.say(ROOM, "while bob was away", ["bob"])
        await bob.start()
        assert await bob.until(lambda: "while bob was away" in bob.lines(ROOM), within_s=60.0)
        await bob.say(ROOM, "last, by bob", ["alice"])
        assert await alice.until(lambda: "last, by bob" in alice.lines(ROOM), within_s=60.0)
        assert alice.node is not None
        pages = alice.node._exchange.statistics["pages-sent"]
        await world.until(lambda: False, within_s=60.0)
        assert alice.node._exchange.statistics["pages-sent"] == pages, "he asks again for what he dropped"
        for person in (alice, bob):
            kept[person.name] = await history(person)
            assert person.node is not None
            assert not any(talk.timeline.forks_seen or talk.timeline.waiting for talk in person.node._talks)

    world.run(play())
    assert world.loop.complaints == []
    assert [text for text in kept["alice"] if not text.startswith("old")] == kept["bob"]
    assert len(kept["alice"]) == len(kept["bob"]) + 11 == 23


async def history(person: Person) -> list[str]:
    before = len(person.seen)
    await person.perform(intents.ShowHistory(1_000, ROOM))
    assert await person.until(lambda: any(isinstance(s.event, History) for s in person.seen[before:]), within_s=10.0)
    event = next(s.event for s in person.seen[before:] if isinstance(s.event, History))
    return [line.text for line in event.messages]
