"""A node that only asks: for commands such as `register` that are over in a moment and must not become replicas."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from dhtchat.app.entry import Entry
from dhtchat.app.settings import Settings
from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import Endpoint, NodeAddress
from dhtchat.runtime import Runtime


class Visit(NamedTuple):
    """`via`: how the network was found, as in `Ready`; `through`: by whom."""

    dht: DhtNode
    via: str
    through: Sequence[NodeAddress]


@asynccontextmanager
async def visit(settings: Settings, runtime: Runtime, *, memory: Path | None = None) -> AsyncIterator[Visit]:
    """A client node inside the network. `memory`: a device's file with remembered nodes, to be read only. Raises
    `NoBootstrapAnswered`."""
    async with bare_node(settings, runtime) as dht:
        entry = Entry(dht, settings, runtime, memory)
        via = await entry.enter()
        yield Visit(dht, via, entry.answered)


@asynccontextmanager
async def visiting_node(settings: Settings, runtime: Runtime) -> AsyncIterator[DhtNode]:
    """The same for those who do not mind how they come in."""
    async with visit(settings, runtime) as visited:
        yield visited.dht


@asynccontextmanager
async def bare_node(settings: Settings, runtime: Runtime) -> AsyncIterator[DhtNode]:
    """A client node that knows nobody yet."""
    storage = RecordStorage(path=None, parameters=settings.parameters, clock=runtime.clock)
    dht = DhtNode(
        runtime=runtime,
        parameters=settings.parameters,
        node_key=NodeKey.generate(runtime.random),
        storage=storage,
        client=True,
    )
    try:
        async with dht:
            at = settings.listen_at()
            await dht.listen(Endpoint(at.host, settings.port or 0))
            yield dht
    finally:
        storage.close()
