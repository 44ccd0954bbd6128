"""Set and get of small values in a network of 50 nodes on loopback: the stock `kademlia` package and ours, in one process."""

import asyncio
import logging
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator

from kademlia.network import Server

from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import Endpoint, NodeAddress
from dhtchat.parameters import SIM
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.presence import Address, Presence, presence_key
from dhtchat.runtime import real_runtime
from tests.benchmarks.figures import Figure

NODES = 50
VALUES = 60


def measure() -> Iterator[Figure]:
    logging.getLogger("kademlia").setLevel(logging.CRITICAL)
    logging.getLogger("rpcudp").setLevel(logging.CRITICAL)
    ours_set, ours_get = asyncio.run(_ours())
    stock_set, stock_get = asyncio.run(_stock())
    yield Figure("set, p50 (ours: 8 replicas, signed and checked)", ours_set, "ms", "stock: 20 replicas", stock_set)
    yield Figure("get, p50 (ours: all replicas asked and merged)", ours_get, "ms", "stock: the first value", stock_get)


async def _timed_ms(work: Callable[[int], Awaitable[object]]) -> float:
    times_ms = []
    for number in range(VALUES):
        started_s = time.perf_counter()
        await work(number)
        times_ms.append(1000 * (time.perf_counter() - started_s))
    return statistics.median(times_ms)


async def _stock() -> tuple[float, float]:
    servers = [Server() for _ in range(NODES)]
    for server in servers:
        await server.listen(0, interface="127.0.0.1")
    door = servers[0].transport.get_extra_info("sockname")[:2]
    for server in servers[1:]:
        await server.bootstrap([door])
    chosen = random.Random(1)
    set_ms = await _timed_ms(lambda n: chosen.choice(servers).set(f"key {n}", "v" * 200))
    get_ms = await _timed_ms(lambda n: chosen.choice(servers).get(f"key {n}"))
    for server in servers:
        server.stop()
    await asyncio.sleep(0.1)
    return set_ms, get_ms


async def _ours() -> tuple[float, float]:
    runtime = real_runtime()
    source = random.Random(1)
    nodes: list[DhtNode] = []
    storages = [RecordStorage(None, parameters=SIM, clock=runtime.clock) for _ in range(NODES)]
    people = [SigningKey.generate(source) for _ in range(VALUES)]

    def record(number: int) -> Signed[Presence]:
        now_s = int(time.time())
        address = [Address("127.0.0.1", 9_999)]
        body = Presence("somebody", people[number].public, address, "", now_s, 1, now_s, 120, False)
        return sign_body(body, people[number], SIM.network_id)

    async def use() -> tuple[float, float]:
        set_ms = await _timed_ms(lambda n: source.choice(nodes).put(record(n)))
        get_ms = await _timed_ms(lambda n: source.choice(nodes).read_set(presence_key(people[n].public), Presence))
        return set_ms, get_ms

    async def with_nodes(left: int) -> tuple[float, float]:
        if not left:
            return await use()
        key = SigningKey.generate(source)
        async with DhtNode(runtime=runtime, parameters=SIM, node_key=key, storage=storages[left - 1]) as node:
            await node.listen(Endpoint("127.0.0.1", 0))
            if nodes:
                await node.bootstrap([NodeAddress(nodes[0].address, None)])
            nodes.append(node)
            return await with_nodes(left - 1)

    try:
        return await with_nodes(NODES)
    finally:
        for storage in storages:
            storage.close()
