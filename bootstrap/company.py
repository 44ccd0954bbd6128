"""Staying in touch with the bootstrap nodes one was started with: they may start later, restart, or be away for a day."""

import asyncio
import logging
from collections.abc import Sequence

from dhtchat.dht.node import DhtNode
from dhtchat.errors import NetworkTrouble, ProofRefused
from dhtchat.ids import Endpoint, NodeAddress, NodeId
from dhtchat.limits import (
    BOOTSTRAP_ADDRESSES_MAX,
    PROBE_INTERVAL_S,
    REGREET_FIRST_S,
    REGREET_INTERVAL_S,
    REJOIN_ADDRESSES,
)
from dhtchat.runtime import Runtime

from .logs import tell

log = logging.getLogger("dhtchat.bootstrap.company")


class Company:
    """`named`: by whoever started us, and never given up. `remembered`: of last time, asked too until anybody is there."""

    def __init__(
        self, dht: DhtNode, runtime: Runtime, named: Sequence[NodeAddress], remembered: Sequence[NodeAddress]
    ) -> None:
        self._dht = dht
        self._runtime = runtime
        self._named = tuple(named[:BOOTSTRAP_ADDRESSES_MAX])
        self._remembered = tuple(remembered)
        self._said_alone = False
        self._known: frozenset[NodeId] = frozenset()
        """Who was in the table at the end of the last round."""

    async def keep(self) -> None:
        """Until cancelled. Meets the others soon after the start, and those that are missing about once a minute."""
        pause_s = REGREET_FIRST_S
        remembered = (
            self._remembered
        )  # those heard last come first, once; then any: more were kept than are asked at a time
        while True:
            if self._dht.contacts():
                await self._greet_missing()
                pause_s = REGREET_INTERVAL_S
            elif await self._meet(tuple(dict.fromkeys([*self._named, *remembered]))):
                pause_s = REGREET_INTERVAL_S
            remembered = tuple(self._runtime.random.sample(self._remembered, len(self._remembered)))
            self._known = frozenset(contact.node_id for contact in self._dht.contacts())
            await asyncio.sleep(self._runtime.jitter(pause_s))
            pause_s = min(2 * pause_s, REGREET_INTERVAL_S)

    async def probe(self) -> None:
        """Until cancelled. A node nobody speaks with would not notice that the others are gone."""
        while True:
            await asyncio.sleep(self._runtime.jitter(PROBE_INTERVAL_S * 10))
            await self._dht.probe()

    async def _meet(self, addresses: Sequence[NodeAddress]) -> bool:
        if not addresses:
            return False
        try:
            report = await self._dht.bootstrap(addresses)
        except NetworkTrouble as error:
            if not self._said_alone:
                tell("alone", why=str(error))
            self._said_alone = True
            return False
        self._said_alone = False
        through = [str(address.endpoint) for address in report.answered]
        tell("joined", through=through, nodes=len(self._dht.contacts()), seen_as=str(report.observed))
        for address, why in report.failed:
            log.debug("not through %s: %s", address.endpoint, why)
        return True

    async def _greet_missing(self) -> None:
        """Whoever answers and was not in the table in the last round, though by now it may have greeted us, is the door to
        another half of the network: we look around there."""
        for address in self._named:
            for endpoint in (await self._resolve(address))[:REJOIN_ADDRESSES]:
                try:
                    answer = await self._dht.hello(endpoint, pinned=address.node_key)
                except (NetworkTrouble, ProofRefused) as error:
                    log.debug("%s: %s", address.endpoint, error)
                    continue
                if answer.node_id not in self._known and answer.node_id != self._dht.node_id:
                    await self._meet([address])
                break

    async def _resolve(self, address: NodeAddress) -> list[Endpoint]:
        try:
            return await self._runtime.network.resolve(*address.endpoint)
        except OSError as error:
            log.debug("%s cannot be resolved: %s", address.endpoint.host, error)
            return []
