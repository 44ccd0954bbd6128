"""What was said arrives: at newcomers, at people who were offline, across restarts, and when a disk is full for a while.

design.md, promise 1: a message shown as delivered was committed to disk by a recipient; nothing acknowledged is lost or
shown twice.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from dhtchat.chat.events import ErrorShown, MessageArrived, StatusChanged
from dhtchat.chat.pacing import Pacer
from dhtchat.history.store import Write
from dhtchat.limits import HISTORY_NEWCOMER_MESSAGES
from tests.app.town import Person, Town, until

ROOM = "#lobby"


def unhurried(person: Person) -> None:
    """Let a test say hundreds of lines without the pace that people are held to."""
    person.node._pacer = Pacer(10_000, 10_000.0)


async def test_a_newcomer_gets_the_last_lines_of_a_room_and_then_every_one(tmp_path: Path, seed: int) -> None:
    """Of a longer history the last 500 lines, marked as delayed, in the order in which each author said them; from two
    members, and no line twice. What is said from then on comes as it is said."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        for person in (alice, bob):
            unhurried(person)
        older, newer = 40, HISTORY_NEWCOMER_MESSAGES // 2
        for number in range(older + newer):
            await alice.say(f"alice {number}")
            await bob.say(f"bob {number}")
        last = older + newer - 1
        await alice.expect(MessageArrived, text=f"bob {last}")
        await bob.expect(MessageArrived, text=f"alice {last}")
        ordered = [line.text for line in await alice.history(ROOM, 5_000)]
        assert len(ordered) == 2 * (older + newer)
        assert [line.text for line in await bob.history(ROOM, 5_000)] == ordered

        dave = await town.newcomer("dave")
        await dave.say(f"/join {ROOM}")
        await until(
            lambda: len(dave.texts()) >= HISTORY_NEWCOMER_MESSAGES, lambda: f"dave has {len(dave.texts())} lines"
        )
        await town.gather_in(ROOM, alice, bob, dave)
        for person in (alice, bob, dave):
            await person.say(f"now {person.name}")
            await person.expect_delivered(f"now {person.name}", to=2)
        before, now = dave.seen(MessageArrived, delayed=True), dave.seen(MessageArrived, delayed=False)
        assert [line.text for line in now] == [f"now {name}" for name in ("alice", "bob", "dave")]
        for author in ("alice", "bob"):  # what two say at the same time has no order
            given = [text for text in ordered[-HISTORY_NEWCOMER_MESSAGES:] if text.startswith(author)]
            assert [line.text for line in before if line.sender == author] == given


async def test_a_private_line_waits_for_somebody_who_has_never_been_met(tmp_path: Path, seed: int) -> None:
    """Said to somebody offline it is `queued` and never `sent`, survives a restart of its author, and is delivered, as delayed, once both
    are there. Neither a restart of the author nor of the reader brings it again."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await bob.leave()
        await alice.say("/msg bob are you there?")
        await alice.say("/msg bob never mind")
        lines = [await alice.expect(MessageArrived, text=text) for text in ("are you there?", "never mind")]
        for line in lines:
            await alice.expect(StatusChanged, id=line.id, state="queued")
        await alice.crash()
        await alice.come_online()
        assert {state for line in lines for state in alice.states(line)} <= {"queued", "stored"}

        await bob.come_online()
        await bob.expect_texts(["are you there?", "never mind"], "alice")
        assert all(line.sender == "alice" and line.delayed for line in bob.seen(MessageArrived))
        for text in ("are you there?", "never mind"):
            await alice.expect_delivered(text)
        for person in (alice, bob, alice):
            await person.crash()
            await person.come_online()
        await alice.say("/msg bob the last one")
        await alice.expect_delivered("the last one")
        assert bob.texts("alice") == ["are you there?", "never mind", "the last one"]
        assert [line.text for line in await alice.history("bob")] == bob.texts("alice")
        assert [line.text for line in await bob.history("alice")] == bob.texts("alice")


async def test_history_and_receipts_survive_restarts(tmp_path: Path, seed: int) -> None:
    """After crashes of both, `/history` is what it was, in order; nothing is shown again, nothing delivered is followed
    again, and the chains go on where they were."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        for number in range(10):
            for author, reader in ((alice, bob), (bob, alice)):
                await author.say(f"/switch {ROOM}")
                await author.say(f"{author.name} {number}")
                await author.say(f"/msg {reader.name} {author.name} {number} in private")
                await author.expect_delivered(f"{author.name} {number}", to=1)
                await author.expect_delivered(f"{author.name} {number} in private")
        before = {person: [await person.history(ROOM), await person.history(_other(person))] for person in (alice, bob)}
        for restart in range(2):
            marks = {person: person.mark() for person in (alice, bob)}
            for person in (alice, bob):
                await person.crash()
                await person.come_online()
                assert not person.node._exchange.outbox.lacking()
                await person.say(f"/join {ROOM}")
            for person in (alice, bob):
                assert [await person.history(ROOM), await person.history(_other(person))] == before[person]
            await town.gather_in(ROOM, alice, bob)
            await alice.say(f"after restart {restart}")
            await alice.expect_delivered(f"after restart {restart}", to=1)
            for person in (alice, bob):
                assert person.texts(after=marks[person]) == [f"after restart {restart}"]
                before[person][0] = await person.history(ROOM)
        for person in (alice, bob):
            assert not any(talk.timeline.forks_seen for talk in person.node._talks)


def _other(person: Person) -> str:
    return "bob" if person.name == "alice" else "alice"


class FullDisk:
    """A history store whose disk refuses, as `sqlite3` says it, until there is room again."""

    def __init__(self, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        store = person.node._core.store
        self._commit = store.commit
        self.full = True
        self.refused = 0
        monkeypatch.setattr(store, "commit", self.commit)

    def commit(self, writes: Iterable[Write]) -> None:
        if self.full:
            self.refused += 1
            raise sqlite3.OperationalError("database or disk is full")
        self._commit(writes)


async def test_a_full_disk_delays_and_loses_nothing(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While alice's disk is full nothing of what she says leaves, nor is shown; while bob's is full he shows and
    acknowledges nothing. Each sees one `error`, and when there is room again all of it goes on, once."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, *people)
        disk = FullDisk(alice, monkeypatch)
        await alice.say("from a full disk")
        await alice.say("/msg bob from a full disk, in private")
        error = await alice.expect(ErrorShown, code="disk")
        assert error.hint
        await until(lambda: disk.refused >= 2, "it is not tried again")
        await bob.say("meanwhile")
        await carol.expect(MessageArrived, text="meanwhile")
        await bob.expect_delivered("meanwhile", to=1)
        assert "meanwhile" not in alice.texts()
        for person in people:
            assert not [text for text in person.texts() if "full disk" in text]
        assert not alice.seen(StatusChanged)
        disk.full = False
        for text in ("from a full disk", "from a full disk, in private"):
            await alice.expect_delivered(text)
        await bob.expect_delivered("meanwhile", to=2)
        assert len(alice.seen(ErrorShown)) == 1

        disk = FullDisk(bob, monkeypatch)
        await alice.say(f"/switch {ROOM}")
        await alice.say("to a full disk")
        await alice.say("/msg bob to a full disk, in private")
        await bob.expect(ErrorShown, code="disk")
        await until(lambda: disk.refused >= 2, "it is not tried again")
        await alice.expect_delivered("to a full disk", to=1)  # carol
        room_line = alice.seen(MessageArrived, text="to a full disk")[0]
        private = alice.seen(MessageArrived, text="to a full disk, in private")[0]
        assert not alice.seen(StatusChanged, id=room_line.id, delivered_to=2)
        assert "delivered" not in alice.states(private)
        assert not [text for text in bob.texts() if text.startswith("to a")]
        disk.full = False
        await alice.expect_delivered("to a full disk", to=2)
        await alice.expect_delivered("to a full disk, in private")
        for person in people:
            texts = [line.text for line in person.seen(MessageArrived, room=ROOM)]
            assert sorted(texts) == ["from a full disk", "meanwhile", "to a full disk"]
        assert sorted(line.text for line in bob.seen(MessageArrived, kind="direct")) == [
            "from a full disk, in private",
            "to a full disk, in private",
        ]
