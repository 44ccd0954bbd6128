"""Drives a `Lookup` over the network: the library's crawler, without its rounds.

Each question is a task of the node, not of the search: a search that has what it came for does not wait for the silent, and
they are still found out, so that the next search need not ask them.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from kademlia.crawling import NodeSpiderCrawl
from kademlia.node import Node

from dhtchat.dht.alarms import Alarms
from dhtchat.dht.contact import Contact
from dhtchat.dht.diversity import Limited, spread
from dhtchat.dht.lookup import Lookup
from dhtchat.dht.protocol import DhtProtocol
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import distance
from dhtchat.limits import LOOKUP_AGREEMENT_MIN, LOOKUP_SPARE_ASKS, LOOKUP_STARTS_PER_PATH


class Found(NamedTuple):
    """`nearest` that answered, nearest first. How many would be among them had they answered: `silent` were asked now,
    `shunned` were not, because they were silent before; others still name them."""

    nearest: list[Contact]
    silent: int
    shunned: int
    asked: int = 0
    """Contacts asked in all."""
    hops: int = 0
    """Answers one after the other until the nearest of them was known: 0 when it was in our own table."""
    doubtful: bool = False
    """The paths of a search by several do not agree."""

    def joined(self, other: "Found", target: bytes, count: int, limited: Limited) -> "Found":
        """Both together: who answered has answered."""
        nodes = {contact.node_id: contact for contact in (*other.nearest, *self.nearest)}
        nearest = spread(sorted(nodes.values(), key=lambda c: distance(c.node_id, target)), count, limited)
        return Found(
            nearest,
            max(self.silent, other.silent),
            max(self.shunned, other.shunned),
            self.asked + other.asked,
            max(self.hops, other.hops),
            self.doubtful,
        )


Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None] | None]
"""Starts a task of the node; None when it is about to end and starts nothing any more."""


class Question(NamedTuple):
    """What a search asks on its way, where that is not only for nearer contacts."""

    ask: Callable[[Contact], Awaitable[Sequence[Contact]]]
    """Puts it to a contact and returns whom that named. Raises `NetworkTrouble`."""
    lacks: Callable[[list[Contact]], int]
    """Told after each answer which of the best candidates have answered: how many more, if they agree, would settle it. 0 ends
    the search; and no more are asked at a time than that, and LOOKUP_SPARE_ASKS more."""


class LookupCrawl(NodeSpiderCrawl):
    """One search. `hasty`: it does not wait for those who are silent after the second try; good enough for whoever needs
    most of the nearest, not all."""

    def __init__(
        self,
        protocol: DhtProtocol,
        target: bytes,
        *,
        count: int,
        alpha: int,
        spawn: Spawn,
        question: Question | None = None,
        paths: int = 1,
        hasty: bool = False,
        elsewhere: bool = False,
    ) -> None:
        """`elsewhere`: begin with others than a search by fewer paths does."""
        starts = max(protocol.ksize, paths * LOOKUP_STARTS_PER_PATH)
        self._known = protocol.router.nearest(target, starts + (protocol.ksize if elsewhere else 0))[-starts:]
        super().__init__(protocol, Node(target), [], count, alpha)
        self._spawn = spawn
        self._hasty = hasty
        self._asked = 0
        self._hops: dict[Contact, int] = dict.fromkeys(self._known, 0)
        self._lookup = Lookup(
            target, own_id=protocol.own_id, k=count, alpha=alpha, paths=paths, limited=protocol.router.limited
        )
        self._question = question
        self._settled = False
        self._paths = paths
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self._waiting: dict[Contact, bool] = {}
        """Whom we have asked, and whether that one is slow."""
        self._alarms = Alarms(self._loop, self._late, self._is_over)

    async def find(self) -> Found:
        self.protocol.router.touch(self._lookup.target)
        try:
            self._ask(self._lookup.start(self._known))
            await self._over
        finally:
            self._end()
            self._alarms.close()
        nearest = self._lookup.settled() if self._settled else self._lookup.nearest()
        hops = self._hops.get(nearest[0], 0) if nearest else 0
        doubtful = self._paths > 1 and not self._settled and self._lookup.agreement() < LOOKUP_AGREEMENT_MIN
        return Found(nearest, self._lookup.silent(), self._lookup.shunned(), self._asked, hops, doubtful)

    def _ask(self, contacts: list[Contact]) -> None:
        """Ask these, and see whether that was all."""
        self._asked += len(contacts)
        for contact in contacts:
            self._waiting[contact] = False
            self._alarms.set((contact, False), self.protocol.slow_after_s())
            task = self._spawn(self._ask_one(contact))
            if task is None:  # this node is about to end
                self._failed(contact)
            else:
                task.add_done_callback(functools.partial(self._ended, contact))
        if self._lookup.finished and not self._lookup.awaited():
            self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def _ask_one(self, contact: Contact) -> None:
        try:
            if self._question is None:
                named: Sequence[Contact] = await self.protocol.call_find_node(contact, self._lookup.target)
            else:
                named = await self._question.ask(contact)
        except NetworkTrouble:
            self._failed(contact)
        else:
            self._answered(contact, named)

    def _ended(self, contact: Contact, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # the node is about to end
            self._failed(contact)

    def _answered(self, contact: Contact, named: Sequence[Contact]) -> None:
        if self._over.done():
            return
        self._waiting.pop(contact, None)
        worth, shunned = self.protocol.sift([*named])
        hops = 1 + self._hops.get(contact, 0)
        for other in worth:
            self._hops.setdefault(other, hops)
        self._lookup.shun(shunned)
        if self._question is None:
            self._ask(self._lookup.on_reply(contact, worth))
            return
        self._lookup.learn(contact, worth)
        lacking = self._question.lacks(self._lookup.settled())
        if lacking <= 0:
            self._settled = True
            self._end()
        else:
            self._lookup.asks_open_max = lacking + LOOKUP_SPARE_ASKS
            self._ask(self._lookup.next_asks())

    def _failed(self, contact: Contact) -> None:
        if self._over.done():
            return
        self._waiting.pop(contact, None)
        self._ask(self._lookup.on_failure(contact))

    def _is_over(self, alarm: tuple[Contact, bool]) -> bool:
        contact, second = alarm
        return self._over.done() or self._waiting.get(contact) is not second

    def _late(self, alarm: tuple[Contact, bool]) -> None:
        contact, second = alarm
        if not second:  # it takes longer than most
            self._waiting[contact] = True
            self._alarms.set((contact, True), self.protocol.patience_s())
            self._ask(self._lookup.on_slow(contact))
        elif self._hasty or self._lookup.is_dubious(contact):  # it has not answered the second try either
            self._failed(contact)
