"""The `kademlia` package as it comes."""

import asyncio
from collections.abc import Sequence
from typing import Any

from kademlia.crawling import NodeSpiderCrawl
from kademlia.network import Server
from kademlia.node import Node

from tests.benchmarks.networks.driver import JOINING_AT_ONCE, Network, content_of, key_of


class StockNetwork(Network):
    nearest_count = 20

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._servers: list[Server] = []
        self._alive: set[int] = set()

    async def start(self, count: int) -> None:
        first = await self._listening()
        door = first.transport.get_extra_info("sockname")[:2]
        while len(self._servers) < count:
            newcomers = [await self._listening() for _ in range(min(JOINING_AT_ONCE, count - len(self._servers)))]
            await asyncio.gather(*[server.bootstrap([door]) for server in newcomers])
        self._alive = set(range(count))

    async def _listening(self) -> Server:
        server = Server(node_id=self.random.randbytes(20))
        await server.listen(0, interface="127.0.0.1")
        self._servers.append(server)
        return server

    def node_ids(self) -> list[bytes]:
        return [server.node.id for server in self._servers]

    def contacts(self) -> int:
        return sum(len(bucket.nodes) for number in self._alive for bucket in self._router(number).buckets)

    async def set(self, node: int, value: int) -> bool:
        return bool(await self._servers[node].set(key_of(value), content_of(value)))

    async def get(self, node: int, value: int) -> bool:
        return bool(await self._servers[node].get(key_of(value)) == content_of(value))

    async def lookup(self, node: int, target: bytes) -> list[bytes]:
        server, goal = self._servers[node], Node(target)
        known = self._router(node).find_neighbors(goal)
        found = await NodeSpiderCrawl(server.protocol, goal, known, server.ksize, server.alpha).find()
        return [contact.id for contact in found]

    async def kill(self, nodes: Sequence[int]) -> None:
        for node in nodes:
            self._servers[node].stop()
        self._alive -= set(nodes)

    def _router(self, number: int) -> Any:
        return self._servers[number].protocol.router
