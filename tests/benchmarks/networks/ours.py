"""`DhtNode` as the rest of the program uses it. The only file of the benchmark that knows it.

Records are signed before the clock starts, because that is their author's work; what replicas and readers check of them
is measured.
"""

import asyncio
import random
import string
import time
from collections.abc import Sequence

import msgspec

from dhtchat.crypto.datagram import NodeKey
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import Endpoint, NodeAddress, PeerId
from dhtchat.limits import SOFT_REPLICAS
from dhtchat.parameters import SIM
from dhtchat.records.account import Account, account_key, create_account
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.presence import Address, Presence, presence_key
from dhtchat.runtime import real_runtime
from tests.benchmarks.networks.driver import JOINING_AT_ONCE, VALUE_BYTES, Network, key_of

PARAMETERS = msgspec.structs.replace(SIM, name="bench", presence_ttl_s=3_600, presence_refresh_s=1_200)
"""Cheap passwords, which belong to the author; k and alpha of `main`; and no record dies while we measure."""


class SoftNetwork(Network):
    """Presences: SOFT_REPLICAS nodes hold each. A get asks all of them and merges what they say."""

    nearest_count = PARAMETERS.k

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._runtime = real_runtime()
        self._nodes: list[DhtNode] = []
        self._ends: list[asyncio.Event] = []
        self._lives: list[asyncio.Task[None]] = []
        self._alive: set[int] = set()
        self._sent_by_dead = 0
        self._records: list[Signed[Presence]] = []

    async def start(self, count: int) -> None:
        await self._join(1)
        while len(self._nodes) < count:
            await self._join(min(JOINING_AT_ONCE, count - len(self._nodes)))
        self._alive = set(range(count))

    async def _join(self, count: int) -> None:
        doors = [NodeAddress(self._nodes[0].address, None)] if self._nodes else []
        loop = asyncio.get_running_loop()
        ready: list[asyncio.Future[DhtNode]] = [loop.create_future() for _ in range(count)]
        for joined in ready:
            end = asyncio.Event()
            key = NodeKey.generate(self.random)
            self._ends.append(end)
            self._lives.append(asyncio.create_task(self._live(key, doors, joined, end)))
        for joined, life in zip(ready, self._lives[-count:], strict=True):
            await asyncio.wait((joined, life), return_when=asyncio.FIRST_COMPLETED)
            if not joined.done():
                life.result()  # raises why it could not join
            self._nodes.append(joined.result())

    async def _live(
        self, key: SigningKey, doors: list[NodeAddress], joined: "asyncio.Future[DhtNode]", end: asyncio.Event
    ) -> None:
        """One node from joining to its end: the block must be left by the task that entered it."""
        storage = RecordStorage(None, parameters=PARAMETERS, clock=self._runtime.clock)
        try:
            async with DhtNode(runtime=self._runtime, parameters=PARAMETERS, node_key=key, storage=storage) as node:
                await node.listen(Endpoint("127.0.0.1", 0))
                if doors:
                    await node.bootstrap(doors)
                joined.set_result(node)
                await end.wait()
        finally:
            storage.close()

    def node_ids(self) -> list[bytes]:
        return [bytes(node.node_id) for node in self._nodes]

    def contacts(self) -> int:
        return sum(len(self._nodes[number].contacts()) for number in self._alive)

    async def prepare(self, values: int) -> None:
        now_s = int(time.time())
        for _ in range(values):
            person = SigningKey.generate(self.random)
            body = Presence("somebody", person.public, [Address("127.0.0.1", 9_999)], "", now_s, 1, now_s, 3_600, False)
            bare = sign_body(body, person, PARAMETERS.network_id)
            padding = "." * max(0, VALUE_BYTES - len(bare.raw))
            body = msgspec.structs.replace(body, away=padding)
            self._records.append(sign_body(body, person, PARAMETERS.network_id))
        self.value_bytes = len(self._records[0].raw)

    async def set(self, node: int, value: int) -> bool:
        report = await self._nodes[node].put(self._records[value])
        return report.stored > 0

    async def get(self, node: int, value: int) -> bool:
        wanted = self._records[value]
        reading = await self._nodes[node].read_set(presence_key(PeerId(wanted.key)), Presence)
        return [entry.digest for entry in reading.entries] == [wanted.digest]

    async def lookup(self, node: int, target: bytes) -> list[bytes]:
        found = await self._nodes[node].find_nearest(target)
        return [bytes(contact.node_id) for contact in found.nearest]

    async def kill(self, nodes: Sequence[int]) -> None:
        for node in nodes:
            self._sent_by_dead += self._nodes[node].statistics["datagrams-out"]
            self._ends[node].set()
        await asyncio.gather(*[self._lives[node] for node in nodes])
        self._alive -= set(nodes)

    def datagrams_sent(self) -> int | None:
        return self._sent_by_dead + sum(self._nodes[number].statistics["datagrams-out"] for number in self._alive)


class DurableNetwork(SoftNetwork):
    """Accounts: all k nearest hold each, and each asks its neighbours for older claims before it votes. A get counts
    the votes."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._accounts: list[Signed[Account]] = []

    async def prepare(self, values: int) -> None:
        for value in range(values):
            account, _ = create_account(
                _name_of(value), key_of(value), parameters=PARAMETERS, source=self.random, now_s=time.time()
            )
            self._accounts.append(account)
        self.value_bytes = len(self._accounts[0].raw)

    async def set(self, node: int, value: int) -> bool:
        report = await self._nodes[node].put(self._accounts[value])
        return report.stored > 0

    async def get(self, node: int, value: int) -> bool:
        reading = await self._nodes[node].read_claims(account_key(_name_of(value)))
        return reading.owner is not None and reading.owner.digest == self._accounts[value].digest


def _name_of(value: int) -> str:
    """A user name, of letters only."""
    return "user-" + "".join(random.Random(value).choices(string.ascii_lowercase, k=16))


assert SOFT_REPLICAS == 8, "what dht.py says about replicas is not true any more"
