"""Keeps what we hold for others where it belongs: hand-off to nodes that are new, and a look at the other holders.

Hand-off (the paper's §2.5): a node that enters the table is given the records for which it is among the nearest, by the
holder that is nearest to the key as far as it knows, so that not everybody sends them. Upkeep: every holder looks now and
then who of the nearest lacks its durable records, and whether the votes on them agree.
"""

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import inf

from dhtchat.dht.announcer import Schedule
from dhtchat.dht.claiming import VoteKeeper, rivals
from dhtchat.dht.contact import Contact
from dhtchat.dht.replicas import Replicas
from dhtchat.dht.storage import Mortal, RecordStorage, claim_of
from dhtchat.ids import NodeId, RecordKey, distance
from dhtchat.limits import (
    HANDOFF_CONTACTS_MAX,
    HANDOFF_DELAY_S,
    HANDOFF_STORES_OPEN_MAX,
    KEYS_PER_SLICE,
    MAIL_LOOK_S,
    NEWCOMER_S,
    SETTLE_DELAY_S,
    SOFT_REPLICAS,
    UPKEEP_INTERVAL_S,
    UPKEEP_LOOKS_PER_INTERVAL,
    UPKEEP_OPEN_MAX,
    UPKEEP_RESTART_PER_S,
    UPKEEP_RESTART_S,
)
from dhtchat.parameters import NetworkParameters
from dhtchat.runtime import Runtime


class Upkeep:
    """`run_handoffs` and `run_looks` are its tasks."""

    def __init__(
        self,
        storage: RecordStorage,
        votes: VoteKeeper,
        replicas: Replicas,
        *,
        own_id: NodeId,
        parameters: NetworkParameters,
        runtime: Runtime,
    ) -> None:
        self._storage = storage
        self._votes = votes
        self._replicas = replicas
        self._own_number = int.from_bytes(own_id, "big")
        self._parameters = parameters
        self._runtime = runtime
        self._looks: Schedule[RecordKey] = Schedule()
        self._unsettled: dict[RecordKey, float] = {}
        """How long we wait before we look again at a name whose votes do not agree; grows each time."""
        self._newcomers: OrderedDict[Contact, float] = OrderedDict()
        """Since when they wait for their share."""
        self._entered_at_s: dict[bytes, float] = {}
        """Of every node in the table, by its id."""
        self._kept_at_s: dict[RecordKey, float] = {}
        """When the first claim for a name came; those from an earlier run are not in it."""
        self._look_due = asyncio.Event()
        self._newcomer = asyncio.Event()

    def start(self) -> None:
        """What is on disk from an earlier run is looked after soon: while we were away others may have taken over."""
        keys = self._storage.claim_keys()
        within_s = max(UPKEEP_RESTART_S, len(keys) / UPKEEP_RESTART_PER_S)
        for key in keys:
            self._looks.put(key, self._now_s() + self._runtime.random.uniform(0, within_s))

    def on_kept(self, key: RecordKey) -> None:
        """A claim was stored. Rivals are looked at soon, so that a race ends the same everywhere."""
        self._kept_at_s.setdefault(key, self._now_s())
        if rivals(self._storage.claims(key)):
            self._looks.hasten(key, self._now_s() + self._runtime.jitter(SETTLE_DELAY_S))
        elif key not in self._looks:
            self._looks.put(key, self._now_s() + self._runtime.jitter(UPKEEP_INTERVAL_S))
        self._look_due.set()

    # --- hand-off -----------------------------------------------------------------------------------------------------

    def greet(self, contact: Contact) -> None:
        """A node has entered the table."""
        self._entered_at_s[contact.node_id] = self._newcomers[contact] = self._now_s()
        if len(self._newcomers) > HANDOFF_CONTACTS_MAX:
            self._newcomers.popitem(last=False)  # upkeep gives it its share later
        self._newcomer.set()

    def forget(self, contact: Contact) -> None:
        """It has left the table."""
        self._entered_at_s.pop(contact.node_id, None)
        self._newcomers.pop(contact, None)

    async def run_handoffs(self) -> None:
        """Until cancelled. One newcomer after the other, each once it and we have had time to learn the network."""
        while True:
            while self._newcomers:
                contact, since_s = self._newcomers.popitem(last=False)
                await asyncio.sleep(since_s + HANDOFF_DELAY_S - self._now_s())
                await self._hand_off(contact)
            self._newcomer.clear()
            await self._newcomer.wait()

    async def _hand_off(self, contact: Contact) -> None:
        """Claims in their order, entries with the life they have left. Ends when the newcomer does not answer."""
        room = asyncio.Semaphore(HANDOFF_STORES_OPEN_MAX)
        gone = False

        async def give(key: RecordKey, share: list[Mortal]) -> None:
            nonlocal gone
            for record, dies_at_s, depth, lives in share:
                remaining_s = None if dies_at_s is None else dies_at_s - self._runtime.clock.wall()
                if gone or (remaining_s is not None and remaining_s <= 0):
                    continue
                outcome = await self._replicas.store(contact, key, record.raw, remaining_s, depth=depth, lives=lives)
                gone |= outcome.kept is None
            room.release()

        # In a large network this is nearly all we hold: found out without a look at each.
        far = {count: self._replicas.bits_out_of_reach(contact, count) for count in (self._parameters.k, SOFT_REPLICAS)}
        async with asyncio.TaskGroup() as group:
            for looked_at, (key, count, share) in enumerate(self._shares()):
                if looked_at % KEYS_PER_SLICE == 0:
                    await asyncio.sleep(0)
                if gone:
                    break
                if (int.from_bytes(key, "big") ^ self._own_number) >> far[count] == 0:
                    continue
                if self._is_ours_to_give(key, contact, count):
                    await room.acquire()
                    group.create_task(give(key, share(key)))

    def _shares(self) -> Iterator[tuple[RecordKey, int, Callable[[RecordKey], list[Mortal]]]]:
        """All we hold, key by key: how many nodes should hold it, and what it is."""
        for key in self._storage.claim_keys():
            yield key, self._parameters.k, lambda key: [Mortal(record) for record in self._storage.claims(key)]
        for key in self._storage.entry_keys():
            yield key, SOFT_REPLICAS, self._storage.mortal_entries

    def _is_ours_to_give(self, key: RecordKey, newcomer: Contact, count: int) -> bool:
        """Whether the newcomer should hold it, and we are the nearest of those who may be expected to hold it already:
        of several that come at once, each would leave it to another that has nothing yet."""
        if self._replicas.is_crowded_out(newcomer, key, count):
            return False
        near = self._replicas.nearest_known(key, self._parameters.k, exclude=newcomer.node_id)
        # Not only among the nearest `count`: when many come at once, all of these may be new.
        giver = next((contact for contact in near if self._may_hold(contact, key)), None)
        if giver is not None and not self._replicas.is_us(giver):
            return False
        return len(near) < count or distance(newcomer.node_id, key) < distance(near[count - 1].node_id, key)

    def _may_hold(self, contact: Contact, key: RecordKey) -> bool:
        """Who was there when it came to us was given it as well; who came later, by now."""
        entered_at_s = self._entered_at_s.get(contact.node_id, -inf)
        kept_at_s = self._kept_at_s.get(key) or self._storage.entries_since_s(key) or inf
        return entered_at_s <= kept_at_s or self._now_s() - entered_at_s > NEWCOMER_S

    # --- looking after ------------------------------------------------------------------------------------------------

    async def run_looks(self) -> None:
        """Until cancelled, a few keys at a time."""
        room = asyncio.Semaphore(UPKEEP_OPEN_MAX)
        async with asyncio.TaskGroup() as group:
            while True:
                await room.acquire()
                look = group.create_task(self._look_after(await self._next_due()))
                look.add_done_callback(lambda _: room.release())

    async def _next_due(self) -> RecordKey:
        while (key := self._looks.pop_due(self._now_s())) is None:
            self._look_due.clear()
            next_s = self._looks.next_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if next_s is None else max(0.0, next_s - self._now_s())):
                    await self._look_due.wait()
        return key

    async def _look_after(self, key: RecordKey) -> None:
        """Count the votes, give ours to whom the others have agreed on, and the owner's record to those who lack it."""
        tally = await self._replicas.tally(key, await self._replicas.nearest(key, self._parameters.k))
        self._votes.settle(key, tally)
        held = self._storage.claims(key)
        tally.learn(held)
        decision = tally.decision()
        owner = claim_of(held[0]) if decision.owner is None else decision.owner
        if decision.certain or not decision.contested:
            self._replicas.repair_claim(tally, owner, key)
        self._look_again(key, agreed=not decision.contested, holders=decision.holders)

    def _look_again(self, key: RecordKey, *, agreed: bool, holders: int) -> None:
        """Some holder every few minutes: the more there are, the rarer each of them. Sooner, and then ever later, while
        the votes differ."""
        if agreed:
            self._unsettled.pop(key, None)
            delay_s = UPKEEP_INTERVAL_S * max(1.0, holders / UPKEEP_LOOKS_PER_INTERVAL)
        else:
            delay_s = self._unsettled.get(key, SETTLE_DELAY_S)
            self._unsettled[key] = min(2 * delay_s, UPKEEP_INTERVAL_S)
        self._looks.put(key, self._now_s() + self._runtime.jitter(delay_s))
        self._look_due.set()

    async def run_mail_looks(self) -> None:
        """Until cancelled. Mail lives for days and nobody says it again, so its replicas look after each other: whoever of the
        nearest lacks something is given it."""
        looks: Schedule[RecordKey] = Schedule()
        while True:
            await asyncio.sleep(self._runtime.jitter(MAIL_LOOK_S))
            for key in self._storage.mail_keys():
                if key not in looks:
                    looks.put(key, self._now_s() + self._runtime.random.uniform(0, UPKEEP_INTERVAL_S))
            while due := list(itertools.islice(iter(lambda: looks.pop_due(self._now_s()), None), UPKEEP_OPEN_MAX)):
                async with asyncio.TaskGroup() as group:
                    for key in due:
                        group.create_task(self._look_after_mail(key, looks))

    async def _look_after_mail(self, key: RecordKey, looks: Schedule[RecordKey]) -> None:
        if not self._storage.mortal_entries(key):
            return  # it has ended; should it come again, so does its turn
        holders = await self._replicas.even_out(key, self._storage.mortal_entries)
        pause_s = UPKEEP_INTERVAL_S * max(1.0, holders / UPKEEP_LOOKS_PER_INTERVAL)
        looks.put(key, self._now_s() + self._runtime.jitter(pause_s))

    def _now_s(self) -> float:
        return self._runtime.clock.monotonic()
