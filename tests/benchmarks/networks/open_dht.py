"""OpenDHT: C++ with two threads a node, by its own Python binding (extra `bench`)."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.benchmarks.networks.driver import JOINING_AT_ONCE, Network, NotInstalled, content_of, key_of

try:
    import opendht
except ImportError as error:
    raise NotInstalled(
        f"OpenDHT is left out ({error}). To have it: "
        ".venv/bin/python -m pip install --no-build-isolation --editable '.[bench]'"
    ) from error

_JOIN_BOUND_S = 15.0
_JOIN_POLL_S = 0.02


class OpenDhtNetwork(Network):
    nearest_count = 8
    """OpenDHT's own choice: `TARGET_NODES`."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._runners: list[opendht.DhtRunner] = []
        self._alive: set[int] = set()

    async def start(self, count: int) -> None:
        first = self._listening()
        port = str(first.getBound()).rsplit(":", 1)[1]
        while len(self._runners) < count:
            newcomers = [self._listening() for _ in range(min(JOINING_AT_ONCE, count - len(self._runners)))]
            for runner in newcomers:
                runner.bootstrap("127.0.0.1", port)
            await self._joined(newcomers)
        self._alive = set(range(count))

    def _listening(self) -> "opendht.DhtRunner":
        config = opendht.DhtConfig()
        config.setNodeId(opendht.InfoHash(self.random.randbytes(20).hex().encode()))
        config.setRateLimit(-1, -1)  # all nodes share one address, and the limits are per address
        config.setPeerDiscovery(False, False)
        runner = opendht.DhtRunner()
        runner.run(port=0, ipv4="127.0.0.1", ipv6="", config=config)
        self._runners.append(runner)
        return runner

    async def _joined(self, newcomers: list["opendht.DhtRunner"]) -> None:
        """Until each has somebody in its table that answered."""
        async with asyncio.timeout(_JOIN_BOUND_S):
            while not all(_table(runner).count("[good]") for runner in newcomers):  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(_JOIN_POLL_S)

    def node_ids(self) -> list[bytes]:
        return [bytes.fromhex(_text(runner.getNodeId())) for runner in self._runners]

    def contacts(self) -> int:
        return sum(len(re.findall(r"\bNode ", _table(self._runners[number]))) for number in self._alive)

    async def set(self, node: int, value: int) -> bool:
        key = opendht.InfoHash.get(key_of(value))
        stored, _ = await _finished(lambda done: self._runners[node].put(key, opendht.Value(content_of(value)), done))
        return bool(stored)

    async def get(self, node: int, value: int) -> bool:
        """The first value ends it, as in the stock package."""
        heard: list[bytes] = []

        def on_value(found: Any) -> bool:
            heard.append(found.data)
            return False

        key = opendht.InfoHash.get(key_of(value))
        await _finished(lambda done: self._runners[node].get(key, get_cb=on_value, done_cb=done))
        return bool(heard) and heard[0] == content_of(value)

    async def lookup(self, node: int, target: bytes) -> list[bytes]:
        """A get of a key that nobody stored asks until it has the nearest."""
        key = opendht.InfoHash(target.hex().encode())
        _, nodes = await _finished(lambda done: self._runners[node].get(key, get_cb=lambda found: True, done_cb=done))
        return [bytes.fromhex(_text(found.getId().toString())) for found in nodes]

    async def kill(self, nodes: Sequence[int]) -> None:
        for node in nodes:
            self._runners[node].join()
        self._alive -= set(nodes)


async def _finished(begin: Callable[[Callable[[Any, Any], None]], object]) -> tuple[Any, Any]:
    """What its thread gives to the callback `done(ok, nodes)`."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, Any]] = loop.create_future()

    def settle(outcome: tuple[Any, Any]) -> None:
        if not future.done():
            future.set_result(outcome)

    begin(lambda ok, nodes: loop.call_soon_threadsafe(settle, (ok, nodes)))
    return await future


def _table(runner: "opendht.DhtRunner") -> str:
    return _text(runner.getRoutingTablesLog(2))  # 2: AF_INET


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
