"""Drives a `Lookup` over the network: the library's crawler, without its rounds."""

import asyncio
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


class LookupCrawl(NodeSpiderCrawl):
    """One search. Its tasks are its own: `find` returns or is cancelled with none of them left."""

    def __init__(self, protocol: DhtProtocol, target: bytes, *, count: int, alpha: int) -> None:
        self._known = protocol.router.nearest(target, protocol.ksize)
        super().__init__(protocol, Node(target), [], count, alpha)
        self._asked = 0
        self._hops: dict[Contact, int] = dict.fromkeys(self._known, 0)
        self._lookup = Lookup(target, own_id=protocol.own_id, k=count, alpha=alpha)

    async def find(self) -> Found:
        self.protocol.router.touch(self._lookup.target)
        async with asyncio.TaskGroup() as group:
            self._ask(group, self._lookup.start(self._known))
        nearest = self._lookup.nearest()
        hops = self._hops.get(nearest[0], 0) if nearest else 0
        return Found(nearest, self._lookup.silent(), self._lookup.shunned(), self._asked, hops)

    def _ask(self, group: asyncio.TaskGroup, contacts: list[Contact]) -> None:
        self._asked += len(contacts)
        for contact in contacts:
            group.create_task(self._ask_one(group, contact))

    async def _ask_one(self, group: asyncio.TaskGroup, contact: Contact) -> None:
        try:
            named = await self.protocol.call_find_node(contact, self._lookup.target)
        except NetworkTrouble:
            self._ask(group, self._lookup.on_failure(contact))
        else:
            worth, shunned = self.protocol.sift(named)
            hops = 1 + self._hops.get(contact, 0)
            for other in worth:
                self._hops.setdefault(other, hops)
            self._lookup.shun(shunned)
            self._ask(group, self._lookup.on_reply(contact, worth))
