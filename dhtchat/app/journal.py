"""Disk before words: what is written here is committed before anything that depends on it leaves.

Writes of one moment share a commit (`synchronous=FULL` costs a disk flush, however many rows). What was said with `after`
runs in order, each once everything written before it is on disk.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from dhtchat.errors import DamagedFile
from dhtchat.history.store import HistoryStore, Write, is_damage
from dhtchat.limits import COMMIT_QUICK_S, COMMIT_RETRY_S, COMMITS_QUICK, JOURNAL_WRITES_MAX, RECEIPT_WAIT_S
from dhtchat.runtime import Runtime

log = logging.getLogger(__name__)
T = TypeVar("T")


class Journal:
    """The only one who touches the store while the node runs. `run` must be running for anything to happen."""

    def __init__(self, store: HistoryStore, runtime: Runtime) -> None:
        self._store = store
        self._runtime = runtime
        self._writes: list[Write] = []
        self._actions: list[Callable[[], None]] = []
        self._poked = asyncio.Event()
        self._disk = asyncio.Lock()
        self._flushing: dict[asyncio.Future[None], None] = {}
        self._along: asyncio.TimerHandle | None = None
        """When what may wait is written by itself."""
        self._committing = 0
        """Writes in the commit that is going on."""
        self._quick_commits = 0
        """How many in a row the disk had done within COMMIT_QUICK_S."""
        self._room = asyncio.Event()
        self._room.set()
        self.damaged = False
        """The file turned out to be broken: nothing more is written, nothing that depends on it happens."""
        self.on_trouble: Callable[[sqlite3.Error], None] = lambda error: None
        """Told once when the disk refuses, and not again until it has worked."""
        self.on_damage: Callable[[DamagedFile], None] = lambda error: None
        """Told once when the file turns out to be broken."""
        self.on_erased: Callable[[], None] = lambda: None
        """Told after a commit when something that was deleted may still stand on the disk."""

    def write(self, *writes: Write) -> None:
        self._writes.extend(writes)
        self._poked.set()
        if not self.has_room:
            self._room.clear()

    def write_along(self, *writes: Write) -> None:
        """Write what nothing depends on: with the next commit, at the latest RECEIPT_WAIT_S from now. A commit of its own would
        make the next line wait for one more flush of the disk."""
        self._writes.extend(writes)
        if not self.has_room:
            self._room.clear()
        if writes and self._along is None:
            self._along = asyncio.get_running_loop().call_later(RECEIPT_WAIT_S, self._poked.set)

    @property
    def has_room(self) -> bool:
        """Whether the disk keeps up, so that more may be written."""
        return len(self._writes) + self._committing < JOURNAL_WRITES_MAX

    async def room(self) -> None:
        """Wait until it does."""
        await self._room.wait()

    def after(self, action: Callable[[], None]) -> None:
        """Run `action` once everything written so far is on disk."""
        self._actions.append(action)
        self._poked.set()

    async def flush(self) -> None:
        """Return once everything written so far is on disk and the actions so far have run. Raises `DamagedFile`."""
        self._check()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushing[done] = None
        self.after(lambda: None if done.done() else done.set_result(None))
        try:
            await done
        finally:
            self._flushing.pop(done, None)

    async def read(self, function: Callable[..., T], *arguments: object) -> T:
        """A query of the store, off the loop and never beside a commit. Raises `DamagedFile`."""
        self._check()
        try:
            async with self._disk:
                return await self._runtime.run_blocking(self._alone, function, *arguments)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._condemn(error)
            raise self._damage() from error

    def _check(self) -> None:
        if self.damaged:
            raise self._damage()

    def _damage(self) -> DamagedFile:
        return DamagedFile(
            "the history on this disk is damaged, nothing more is kept",
            hint="Quit and start again: what is damaged is moved aside, and talk comes back from the others.",
        )

    def _condemn(self, error: sqlite3.Error) -> None:
        """From here on as if the disk was gone: what cannot be kept is not acknowledged, and whoever waits gives up."""
        if not self.damaged:
            log.error("the history is damaged: %s", error)
            self.damaged = True
            for done in self._flushing:
                if not done.done():
                    done.set_exception(self._damage())
            self._store.condemn()
            self.on_damage(self._damage())

    def _alone(self, function: Callable[..., T], *arguments: object) -> T:
        """In the thread: `_disk` is let go when we are cancelled, this lock when the work is done."""
        with self._store.lock:
            return function(*arguments)

    def _timed(self, function: Callable[[list[Write]], None], writes: list[Write]) -> None:
        began = self._runtime.clock.monotonic()
        self._alone(function, writes)
        took_s = self._runtime.clock.monotonic() - began
        self._quick_commits = self._quick_commits + 1 if took_s <= COMMIT_QUICK_S else 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._poked.wait()
            await self._round()

    async def _round(self) -> None:
        self._poked.clear()
        if self._along is not None:
            self._along.cancel()
            self._along = None
        writes, self._writes = self._writes, []
        actions, self._actions = self._actions, []
        self._committing = len(writes)
        if writes:
            await self._commit(writes)
        self._committing = 0
        if self._store.needs_scrub:
            self.on_erased()
        if self.has_room:
            self._room.set()
        for action in actions:
            try:
                action()
            except Exception:
                log.exception("an action after a commit failed")

    async def _commit(self, writes: list[Write]) -> None:
        complained = False
        while True:
            try:
                async with self._disk:
                    quick = self._quick_commits >= COMMITS_QUICK and not self._store.lock.locked()
                    await self._runtime.run_blocking(self._timed, self._store.commit, writes, quick=quick)
                return
            except sqlite3.Error as error:
                if is_damage(error):
                    self._condemn(error)
                    await asyncio.Event().wait()  # until cancelled
                # Disk full, most often. Nothing was written and nothing that depends on it leaves: wait and try again.
                if not complained:
                    log.warning("cannot write history: %s", error)
                    self.on_trouble(error)
                    complained = True
                await asyncio.sleep(COMMIT_RETRY_S)
