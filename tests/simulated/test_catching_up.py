"""Somebody comes back after a long time: paged, from several members, and without a flood on the screen."""

import pytest

from dhtchat.chat import intents
from dhtchat.chat.events import History, Notice
from dhtchat.limits import CATCH_UP_SHOWN
from simulations.world import Person, World

ROOM = "#lobby"
LINES = 900


@pytest.mark.parametrize("seed", [1, 2])
def test_a_month_away_is_caught_up_without_a_flood(seed: int) -> None:
    """contract.md: "At start only lines that this device has not shown before come as `message`; the rest is in `/history`".
    Of 900 missed lines the last ones are shown, each once and in order; all are in the history; two members sent them."""
    world = World(seed)
    found: dict[str, object] = {}

    async def play() -> None:
        await world.start_bootstrap()
        alice, bob, carol = (world.add_person(name) for name in ("alice", "bob", "carol"))
        for person in (alice, bob, carol):
            person.rooms = [ROOM]
            await person.start()
        await alice.say(ROOM, "first", ["bob", "carol"])
        assert await world.until(lambda: all("first" in p.lines(ROOM) for p in (bob, carol)), within_s=60.0)
        await bob.leave()
        for number in range(LINES):
            author = (alice, carol)[number % 2]
            await author.say(ROOM, f"line {number}", [])
        assert await world.until(lambda: len(carol.lines(ROOM)) == LINES + 1, within_s=120.0)
        sent_before = {p.name: pages_of(p) for p in (alice, carol)}
        await bob.start()
        last = f"line {LINES - 1}"
        assert await bob.until(lambda: last in bob.lines(ROOM), within_s=60.0)
        await bob.perform(intents.ShowHistory(10_000, ROOM))
        assert await bob.until(lambda: any(isinstance(s.event, History) for s in bob.seen), within_s=10.0)
        found["history"] = next(s.event for s in bob.seen if isinstance(s.event, History))
        found["shown"] = bob.lines(ROOM)
        found["notices"] = [s.event.message for s in bob.seen if isinstance(s.event, Notice)]
        found["pages"] = {p.name: pages_of(p) - sent_before[p.name] for p in (alice, carol)}

    world.run(play())
    history, shown, notices, pages = found["history"], found["shown"], found["notices"], found["pages"]
    assert isinstance(history, History)
    assert isinstance(shown, list)
    assert isinstance(notices, list)
    assert isinstance(pages, dict)
    said = ["first", *(f"line {number}" for number in range(LINES))]
    assert sorted(line.text for line in history.messages) == sorted(said)
    kept = [line.text for line in history.messages]
    assert shown[1:] == kept[-(len(shown) - 1) :], "not the last ones, out of order, or twice"
    assert CATCH_UP_SHOWN <= len(shown) - 1 < CATCH_UP_SHOWN + 200
    passed = LINES + 1 - len(shown)
    assert notices == [f"{passed} older lines of {ROOM} are in /history"]
    assert all(pages.values()), f"one member sent everything: {pages}"


def pages_of(person: Person) -> int:
    assert person.node is not None
    return person.node._exchange.statistics["pages-sent"]
