"""Keeps our own soft records alive at their replicas, and says goodbye for them. What and when: `announcer.py`."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from dhtchat.dht.announcer import Announcement, Announcer, MakeRecord
from dhtchat.dht.contact import Contact
from dhtchat.dht.placing import Placer
from dhtchat.dht.replicas import Outcome, PutReport, Replicas
from dhtchat.dht.tree_reader import TreeReader
from dhtchat.records.kinds import TREE_KINDS, SoftRecord, place_of
from dhtchat.runtime import Runtime


class Publisher:
    """`run` is the task; it is woken whenever there is something new to say."""

    def __init__(
        self,
        replicas: Replicas,
        trees: TreeReader,
        runtime: Runtime,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._replicas = replicas
        self._placer = Placer(replicas, trees)
        self._runtime = runtime
        self._spawn = spawn
        self._announcer = Announcer(runtime.jitter)
        self.on_published: Callable[[SoftRecord], None] = lambda record: None
        """Called with what goes out to the replicas, for neighbours to hear of it directly."""
        self._news = asyncio.Event()

    def keep(self, slot: str, make: MakeRecord, *, refresh_s: float) -> None:
        """Publish now and again every `refresh_s` until dropped."""
        self._announcer.keep(slot, make, refresh_s, self._now_s())
        self._news.set()

    def forget(self, slot: str) -> None:
        """Stop refreshing and say nothing: what is out there dies by itself."""
        self._announcer.drop(slot)

    def make(self, slot: str, *, gone: bool) -> SoftRecord | None:
        """A fresh version of what a slot holds, to be told to others directly; None for an empty slot."""
        announcement = self._announcer.get(slot)
        return None if announcement is None else self._make(announcement, gone=gone)

    def sign_once(self, make: MakeRecord, *, gone: bool = False) -> SoftRecord:
        """A record that is told to neighbours and not published, numbered among those that are."""
        wall_s = self._runtime.clock.wall()
        return make(self._announcer.next_sequence(wall_s), int(wall_s), gone)

    def hurry(self) -> None:
        """The network is there again."""
        self._announcer.hurry(self._now_s())
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._news.clear()
            while announcement := self._announcer.pop_due(self._now_s()):
                self._spawn(self._publish(announcement))
            next_s = self._announcer.next_s()
            try:
                async with asyncio.timeout(None if next_s is None else max(0.0, next_s - self._now_s())):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def drop(self, slot: str) -> None:
        """Say goodbye now, first to those who hold it, then to whoever a search finds: they may be others by now."""
        announcement = self._announcer.drop(slot)
        if announcement is None:
            return
        goodbye = self._make(announcement, gone=True)
        depth = announcement.depth or 0
        key = place_of(goodbye, depth)
        assert key is not None
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._replicas.store_at_all(announcement.holders, key, goodbye.raw, depth=depth, lives=depth)
            )
            for copy in sorted({depth, *announcement.copies}):
                group.create_task(self._replicas.put(goodbye, depth=copy, lives=max(depth, copy)))

    async def drop_all(self, timeout_s: float) -> None:
        """All goodbyes at once, for no longer than `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                for slot in self._announcer.slots():
                    group.create_task(self.drop(slot))
        except TimeoutError:
            pass  # whoever did not hear it sees the record die by itself

    async def _publish(self, announcement: Announcement) -> None:
        if await self._touch(announcement):
            return
        record = self._make(announcement)
        self.on_published(record)
        report, outcomes = await self._put(announcement, record)
        # A replica that knows a later one of ours, from an earlier run with a faster clock, hides what we say now.
        if self._announcer.learn_sequence(report.newest_sequence, self._runtime.clock.wall()):
            if not self._announcer.is_current(announcement):
                return
            record = self._make(announcement)
            _, outcomes = await self._put(announcement, record)
        self._announcer.published(announcement, record, self._holders(outcomes), self._now_s())

    async def _touch(self, announcement: Announcement) -> bool:
        """A refresh without a search and without a new signature: those who hold it keep it alive, where it lives. Whether
        that was enough; else it is published anew."""
        record, depth = announcement.record, announcement.depth
        if announcement.direct_left <= 0 or record is None or depth is None:
            return False
        self.on_published(record)
        key = place_of(record, depth)
        assert key is not None
        outcomes = await self._replicas.touch_at_all(announcement.holders, key, record)
        if not all(outcome.holds and not outcome.standing.split for outcome in outcomes):
            return False
        announcement.direct_left -= 1
        await self._placer.speak(announcement, record, outcomes)
        return True

    async def _put(self, announcement: Announcement, record: SoftRecord) -> tuple[PutReport, list[Outcome]]:
        if isinstance(record.body, TREE_KINDS):
            return await self._placer.place(announcement, record)
        announcement.depth = 0
        return await self._replicas.put(record)

    def _holders(self, outcomes: list[Outcome]) -> tuple[Contact, ...]:
        """Other nodes only: with nobody but ourselves it is not published."""
        return tuple(o.contact for o in outcomes if o.holds and not self._replicas.is_us(o.contact))

    def _make(self, announcement: Announcement, *, gone: bool = False) -> SoftRecord:
        return self.sign_once(announcement.make, gone=gone)

    def _now_s(self) -> float:
        return self._runtime.clock.monotonic()
