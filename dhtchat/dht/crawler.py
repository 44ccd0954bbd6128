"""Drives a `Lookup` over the network: the library's crawler, without its rounds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from kademlia.crawling import NodeSpiderCrawl
from kademlia.node import Node

from dhtchat.dht.contact import Contact
from dhtchat.dht.lookup import Lookup
from dhtchat.dht.protocol import DhtProtocol
from dhtchat.errors import NetworkTrouble


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


Ask = Callable[[Contact], Awaitable[Sequence[Contact]]]
"""Puts the question of a search to a contact and returns whom it named. Raises `NetworkTrouble`."""


class LookupCrawl(NodeSpiderCrawl):
    """One search. Its tasks are its own: `find` returns or is cancelled with none of them left.

    `ask`: another question than FindNode, which looks for a value on the way. `enough`: asked after each answer with those
    of the nearest that have answered (`Lookup.settled`); True ends the search.
    """

    def __init__(
        self,
        protocol: DhtProtocol,
        target: bytes,
        *,
        count: int,
        alpha: int,
        ask: Ask | None = None,
        enough: Callable[[list[Contact]], bool] | None = None,
    ) -> None:
        self._known = protocol.router.nearest(target, protocol.ksize)
        super().__init__(protocol, Node(target), [], count, alpha)
        self._asked = 0
        self._hops: dict[Contact, int] = dict.fromkeys(self._known, 0)
        self._lookup = Lookup(target, own_id=protocol.own_id, k=count, alpha=alpha)
        self._question: Ask = ask or (lambda contact: protocol.call_find_node(contact, target))
        self._enough = enough
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def find(self) -> Found:
        self.protocol.router.touch(self._lookup.target)
        async with asyncio.TaskGroup() as group:
            self._ask(group, self._lookup.start(self._known))
        nearest = self._lookup.settled() if self._stopped else self._lookup.nearest()
        hops = self._hops.get(nearest[0], 0) if nearest else 0
        return Found(nearest, self._lookup.silent(), self._lookup.shunned(), self._asked, hops)

    def _ask(self, group: asyncio.TaskGroup, contacts: list[Contact]) -> None:
        self._asked += len(contacts)
        self._tasks += [group.create_task(self._ask_one(group, contact)) for contact in contacts]

    async def _ask_one(self, group: asyncio.TaskGroup, contact: Contact) -> None:
        try:
            named = await self._question(contact)
        except NetworkTrouble:
            self._ask(group, self._lookup.on_failure(contact))
        else:
            worth, shunned = self.protocol.sift([*named])
            hops = 1 + self._hops.get(contact, 0)
            for other in worth:
                self._hops.setdefault(other, hops)
            self._lookup.shun(shunned)
            more = self._lookup.on_reply(contact, worth)
            if self._enough is None or not self._enough(self._lookup.settled()):
                self._ask(group, more)
            else:
                self._stopped = True
                for task in self._tasks:
                    task.cancel()
