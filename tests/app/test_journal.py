"""Disk before words: nothing that depends on a write leaves before the disk has it, and commits are shared."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from dhtchat.app import journal as journal_module
from dhtchat.app.journal import Journal
from dhtchat.errors import DamagedFile
from dhtchat.history.store import HistoryStore, Write, keep_fact
from dhtchat.limits import COMMIT_QUICK_S, COMMITS_QUICK
from dhtchat.runtime import RealClock, RealNetwork, Runtime


class Disk(HistoryStore):
    """A history in memory that notes its commits, and refuses as long as it is told to."""

    def __init__(self) -> None:
        super().__init__(None)
        self.commits: list[list[str]] = []
        self.refusals = 0
        self.tries = 0
        self.busy = False

    def commit(self, writes: Iterable[Write]) -> None:
        assert not self.busy, "two at the same time"
        self.busy = True
        try:
            self.tries += 1
            if self.refusals:
                self.refusals -= 1
                raise sqlite3.OperationalError("database or disk is full")
            writes = list(writes)
            super().commit(writes)
            self.commits.append([write.values[0] for write in writes])
        finally:
            self.busy = False

    def has(self, name: str) -> bool:
        return self.fact(name) is not None


def fact(name: str) -> Write:
    return keep_fact(name, b"kept")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture(params=[True, False], ids=["inline", "threads"])
async def journal(request: pytest.FixtureRequest, disk: Disk, rng: Random) -> AsyncIterator[Journal]:
    """A running journal, as in the simulator and as in life."""
    runtime = Runtime(RealClock(), rng, RealNetwork(), inline=request.param)
    journal = Journal(disk, runtime)
    task = asyncio.create_task(journal.run())
    yield journal
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    disk.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "COMMIT_RETRY_S", 0.0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (on threads and on what has no event of its own)
            await asyncio.sleep(0)


async def test_an_action_runs_after_the_commit_of_what_was_written_before(journal: Journal, disk: Disk) -> None:
    """Promise 1: acknowledgements and lines leave only once they are on disk."""
    seen: list[tuple[bool, bool]] = []
    journal.write(fact("one"))
    journal.after(lambda: seen.append((disk.has("one"), disk.has("two"))))
    journal.write(fact("two"))
    journal.after(lambda: seen.append((disk.has("one"), disk.has("two"))))
    assert seen == []
    await journal.flush()
    assert [one for one, _ in seen] == [True, True]
    assert seen[1] == (True, True)


async def test_actions_run_in_the_order_they_were_given(journal: Journal) -> None:
    """Whatever is written in between, and during a commit."""
    order: list[int] = []
    for number in range(200):
        if number % 3 == 0:
            journal.write(fact(str(number)))
        journal.after(lambda number=number: order.append(number))  # type: ignore[misc]
        if number % 7 == 0:
            await asyncio.sleep(0)
    await journal.flush()
    assert order == list(range(200))


async def test_writes_of_one_moment_share_a_commit(journal: Journal, disk: Disk) -> None:
    """A disk flush costs the same for one row and for a hundred."""
    for number in range(100):
        journal.write(fact(str(number)), fact(f"{number}b"))
        journal.after(lambda: None)
    await journal.flush()
    assert len(disk.commits) == 1
    assert disk.commits[0] == [f"{number}{letter}" for number in range(100) for letter in ("", "b")]


async def test_what_may_wait_joins_the_next_commit(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt costs no flush of its own, because the next line would have to wait for it."""
    monkeypatch.setattr(journal_module, "RECEIPT_WAIT_S", 3600.0)
    journal.write_along(fact("receipt"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert disk.tries == 0
    journal.write(fact("line"))
    await journal.flush()
    assert disk.commits == [["receipt", "line"]]


async def test_what_may_wait_does_not_wait_for_ever(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without another write it gets a commit of its own; a flush does not leave it behind either."""
    monkeypatch.setattr(journal_module, "RECEIPT_WAIT_S", 0.0)
    journal.write_along(fact("one"))
    await until(lambda: disk.commits)
    monkeypatch.setattr(journal_module, "RECEIPT_WAIT_S", 3600.0)
    journal.write_along(fact("two"))
    await journal.flush()
    assert disk.commits == [["one"], ["two"]]


async def test_without_writes_nothing_is_committed(journal: Journal, disk: Disk) -> None:
    """An action that depends on nothing new costs no disk flush."""
    ran: list[int] = []
    journal.after(lambda: ran.append(1))
    await journal.flush()
    assert (ran, disk.tries) == ([1], 0)


async def test_an_action_may_write_and_ask_for_more(journal: Journal, disk: Disk) -> None:
    """What it writes is committed in turn, and what it says comes after that."""
    done: list[bool] = []

    def first() -> None:
        journal.write(fact("second"))
        journal.after(lambda: done.append(disk.has("second")))

    journal.write(fact("first"))
    journal.after(first)
    await until(lambda: done)
    assert done == [True]
    assert disk.commits == [["first"], ["second"]]


async def test_a_disk_that_refuses_is_tried_again_and_reported_once(
    journal: Journal, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """Disk full: nothing is lost, nothing that depends on it leaves meanwhile, and there is one complaint per trouble."""
    troubles: list[sqlite3.Error] = []
    journal.on_trouble = troubles.append
    for trouble in (1, 2):
        left: list[int] = []
        disk.refusals, tries = 5, disk.tries
        journal.write(fact(f"before {trouble}"))
        journal.after(lambda left=left: left.append(1))  # type: ignore[misc]
        await until(lambda tries=tries: disk.tries >= tries + 3)  # type: ignore[misc]
        if disk.refusals:
            assert left == []
        journal.write(fact(f"meanwhile {trouble}"))
        journal.after(lambda left=left: left.append(2))  # type: ignore[misc]
        await journal.flush()
        assert left == [1, 2]
        assert len(troubles) == trouble
    assert [name for commit in disk.commits for name in commit] == [
        "before 1",
        "meanwhile 1",
        "before 2",
        "meanwhile 2",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


async def test_flush_waits_for_actions_too_and_for_nothing_later(journal: Journal, disk: Disk) -> None:
    """Everything written so far is on disk and said; several may wait."""
    said: list[int] = []
    journal.write(fact("one"))
    journal.after(lambda: said.append(1))
    await asyncio.gather(journal.flush(), journal.flush())
    assert said == [1]
    assert disk.has("one")


async def test_who_gives_up_waiting_for_a_flush_disturbs_nobody(journal: Journal, disk: Disk) -> None:
    """Leaving waits only so long."""
    disk.refusals = 3
    journal.write(fact("one"))
    waiting = asyncio.create_task(journal.flush())
    await asyncio.sleep(0)
    waiting.cancel()
    await journal.flush()
    assert disk.has("one")


async def test_an_action_that_raises_does_not_stop_the_others(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug keeps its traceback; what others wait for still happens."""
    said: list[int] = []

    def bug() -> None:
        raise RuntimeError("a bug")

    journal.write(fact("one"))
    journal.after(lambda: said.append(1))
    journal.after(bug)
    journal.after(lambda: said.append(2))
    await journal.flush()
    assert said == [1, 2]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.records[0].exc_info is not None


async def test_a_reading_never_runs_beside_a_commit(journal: Journal, disk: Disk) -> None:
    """One connection: `Disk.commit` fails when two meet, and what was read is from before or after it."""

    def count() -> int:
        assert not disk.busy
        disk.busy = True
        try:
            return int(disk._db.execute("SELECT count(*) FROM facts").fetchone()[0])
        finally:
            disk.busy = False

    counts = []
    for number in range(50):
        journal.write(fact(f"a{number}"), fact(f"b{number}"))
        counts.append(await journal.read(count))
    assert all(count % 2 == 0 for count in counts)
    assert counts == sorted(counts)
    await journal.flush()
    assert await journal.read(count) == 100


async def test_a_reading_gets_its_arguments_and_its_errors(journal: Journal) -> None:
    """As if called directly."""

    def divide(a: int, b: int) -> float:
        return a / b

    assert await journal.read(divide, 3, 2) == 1.5
    with pytest.raises(ZeroDivisionError):
        await journal.read(divide, 3, 0)
    assert await journal.read(divide, 4, 2) == 2.0


async def test_what_was_flushed_is_in_the_file(tmp_path: Path, rng: Random) -> None:
    """With a real file and threads: a reader of the file sees what `flush` returned for."""
    with HistoryStore(tmp_path / "history.db") as store:
        journal = Journal(store, Runtime(RealClock(), rng, RealNetwork()))
        task = asyncio.create_task(journal.run())
        for number in range(20):
            journal.write(fact(str(number)))
            await journal.flush()
            other: Any = sqlite3.connect(tmp_path / "history.db")
            assert other.execute("SELECT count(*) FROM facts").fetchone() == (number + 1,)
            other.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_quick_disk_is_written_on_the_loop_and_a_slow_one_in_a_thread(rng: Random) -> None:
    """The way to a thread and back takes longer than a commit that flushes nothing; one that waits may hold up nobody."""

    class Clocked(HistoryStore):
        takes_s = 0.0
        threads: ClassVar[list[int]] = []

        def commit(self, writes: Iterable[Write]) -> None:
            super().commit(writes)
            self.threads.append(threading.get_ident())
            clock.now_s += self.takes_s

    class Clock(RealClock):
        now_s = 0.0

        def monotonic(self) -> float:
            return self.now_s

    clock = Clock()
    with Clocked(None) as store:
        journal = Journal(store, Runtime(clock, rng, RealNetwork()))
        task = asyncio.create_task(journal.run())

        async def commits(count: int, *, takes_s: float) -> list[bool]:
            """Of each whether the loop did it itself."""
            store.takes_s = takes_s
            store.threads.clear()
            for number in range(count):
                journal.write(fact(str(number)))
                await journal.flush()
            return [thread == threading.get_ident() for thread in store.threads]

        quick_s, slow_s = COMMIT_QUICK_S / 2, COMMIT_QUICK_S * 2
        assert await commits(COMMITS_QUICK + 3, takes_s=quick_s) == [False] * COMMITS_QUICK + [True] * 3
        assert await commits(3, takes_s=slow_s) == [True, False, False]
        assert await commits(COMMITS_QUICK + 1, takes_s=quick_s) == [False] * COMMITS_QUICK + [True]
        with store.lock:  # somebody reads in a thread whose reader has gone
            journal.write(fact("last"))
            flushed = asyncio.create_task(journal.flush())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not flushed.done()
        await flushed
        assert store.threads[-1] != threading.get_ident()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_history_is_not_closed_under_a_thread_that_writes_it(tmp_path: Path) -> None:
    """Who waits for a commit may be cancelled; its thread goes on, and SQLite would crash with the whole process."""
    store = HistoryStore(tmp_path / "history.db")
    runtime = Runtime(RealClock(), Random(1), RealNetwork())
    journal = Journal(store, runtime)
    entered, leave = threading.Event(), threading.Event()

    def slow_read() -> bytes | None:
        entered.set()
        leave.wait(10)
        return store.fact("anything")

    reading = asyncio.create_task(journal.read(slow_read))
    await asyncio.to_thread(entered.wait, 10)
    reading.cancel()
    await asyncio.wait((reading,))
    closing = asyncio.create_task(asyncio.to_thread(store.close))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not closing.done(), "closed while a thread is at work"
    leave.set()
    await closing


async def test_a_disk_that_refuses_makes_people_wait_and_not_memory_grow(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a bound nothing more is taken, until the disk works again; what was taken is all written."""
    monkeypatch.setattr(journal_module, "JOURNAL_WRITES_MAX", 10)
    disk.refusals = 10**9
    for number in range(6):
        journal.write(fact(str(number)))
    await until(lambda: disk.tries > 2)
    assert journal.has_room, "those in the commit that is being tried count, too"
    for number in range(6, 10):
        journal.write(fact(str(number)))
    assert not journal.has_room
    waiting = asyncio.create_task(journal.room())
    tries = disk.tries
    await until(lambda: disk.tries > tries + 3)
    assert not waiting.done()
    disk.refusals = 0
    await asyncio.wait_for(waiting, 5)
    await journal.flush()
    assert journal.has_room
    assert all(disk.has(str(number)) for number in range(10))


async def test_a_broken_file_ends_all_waiting_in_words(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is acknowledged, nobody waits for ever, and it is said once."""
    told: list[DamagedFile] = []
    journal.on_damage = told.append

    def broken(writes: Iterable[Write]) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    monkeypatch.setattr(disk, "commit", broken)
    acknowledged: list[int] = []
    journal.write(fact("lost"))
    journal.after(lambda: acknowledged.append(1))
    for _ in range(2):
        with pytest.raises(DamagedFile):
            await asyncio.wait_for(journal.flush(), 5)
    with pytest.raises(DamagedFile):
        await journal.read(disk.fact, "lost")
    assert acknowledged == []
    assert len(told) == 1
