"""Pulled cables: somebody's network goes away and comes back, the bootstrap node goes for good, nobody is there at all.

Issue 2, "What it must show", 8: `disconnected` and `reconnected` are seen when a peer's network goes away for 30 s, and
talk goes on with nothing lost. Also design.md, promise 3: any node may die at any time, the bootstrap node included.
"""

import asyncio
import contextlib
from pathlib import Path

import pytest

from dhtchat.chat.events import (
    Disconnected,
    ErrorShown,
    MessageArrived,
    PresenceChanged,
    Ready,
    Reconnected,
    StatusChanged,
)
from dhtchat.errors import NoBootstrapAnswered
from dhtchat.ids import NodeAddress
from dhtchat.limits import KEEPALIVE_TIMEOUT_S, PROBE_INTERVAL_S, QUIET_LIMIT_S
from tests.app.town import Person, Town, until

OUTAGE_S = 30.0
NOTICED_S = QUIET_LIMIT_S + 2 * PROBE_INTERVAL_S
"""By then whoever is cut off knows."""


def from_author(person: Person, room: str, author: str) -> list[str]:
    """Lines of one author in a room, in the order in which `person` saw them."""
    lines = person.seen(MessageArrived, room=room)
    return [line.text for line in lines if ("alice" if line.own else line.sender) == author or line.sender == author]


async def say_in_both(person: Person, other: str, text: str) -> None:
    """To the room and in private."""
    await person.say(f"/switch #lobby")
    await person.say(f"{text} in the room")
    await person.say(f"/msg {other} {text} in private")


async def test_nothing_is_lost_while_a_network_is_away_for_half_a_minute(tmp_path: Path, seed: int) -> None:
    """Must show 8. Alice's cable is pulled for 30 s: she sees `disconnected` and `reconnected`, the others see her go and
    come back, and what both sides said meanwhile arrives exactly once, in each author's order, in the room and in
    private. What she says while she knows that she is cut off stays `queued` until then."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in("#lobby", *people)
        await say_in_both(alice, "bob", "before")
        await alice.expect_delivered("before in the room", to=2)
        await alice.expect_delivered("before in private")
        pulled_at_s = asyncio.get_running_loop().time()
        marks = {person: person.mark() for person in people}

        alice.cable.cut()
        await say_in_both(alice, "bob", "a1, not knowing")
        await say_in_both(bob, "alice", "b1, not knowing")
        await alice.expect(Disconnected, within_s=NOTICED_S)
        await until(lambda: not alice.node._pool.links(), "alice still believes in her links", within_s=NOTICED_S)
        await say_in_both(alice, "bob", "a2, cut off")
        await bob.expect(PresenceChanged, user="alice", online=False, within_s=OUTAGE_S)
        await carol.expect(PresenceChanged, user="alice", online=False)
        await say_in_both(bob, "alice", "b2, to somebody offline")
        await carol.say("c1, among those who are left")
        await bob.expect(MessageArrived, text="c1, among those who are left")
        await asyncio.sleep(pulled_at_s + OUTAGE_S - asyncio.get_running_loop().time())  # what the promise is about
        for line in alice.seen(MessageArrived, own=True, text=lambda text: text.startswith("a2")):
            assert alice.states(line) == ["queued"]
        assert not alice.seen(MessageArrived, own=False)
        alice.cable.mend()

        back = await alice.expect(Reconnected)
        assert OUTAGE_S - 2 < back.after_s < OUTAGE_S + NOTICED_S
        assert len(alice.seen(Disconnected)) == 1
        for person in (bob, carol):
            await person.expect(PresenceChanged, user="alice", online=True, after=marks[person])
            assert not person.seen(Disconnected)
        assert await bob.online() == ["alice", "bob", "carol"]
        for text in ("a1, not knowing", "a2, cut off"):
            await alice.expect_delivered(f"{text} in the room", to=2)
            await alice.expect_delivered(f"{text} in private")
        for text in ("b1, not knowing", "b2, to somebody offline"):
            await bob.expect_delivered(f"{text} in the room", to=2)
            await bob.expect_delivered(f"{text} in private")
        await carol.expect_delivered("c1, among those who are left", to=2)
        await say_in_both(alice, "bob", "after")
        await alice.expect_delivered("after in the room", to=2)
        await alice.expect_delivered("after in private")

        spoken = {
            "alice": ["before", "a1, not knowing", "a2, cut off", "after"],
            "bob": ["b1, not knowing", "b2, to somebody offline"],
        }
        for person in people:
            for author, texts in spoken.items():
                lines = [line.text for line in person.seen(MessageArrived, room="#lobby", sender=author)]
                assert lines == [f"{text} in the room" for text in texts]
            assert len(person.seen(MessageArrived, room="#lobby", sender="carol")) == 1
        for person in (alice, bob):
            for author, texts in spoken.items():
                lines = [line.text for line in person.seen(MessageArrived, kind="direct", sender=author)]
                assert lines == [f"{text} in private" for text in texts]
        assert not carol.seen(MessageArrived, kind="direct")
