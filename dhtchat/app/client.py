"""A node that only asks: for commands such as `register` that are over in a moment and must not become replicas."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dhtchat.app.entry import Entry
from dhtchat.app.settings import Settings
from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import Endpoint
from dhtchat.runtime import Runtime


@asynccontextmanager
async def visiting_node(settings: Settings, runtime: Runtime) -> AsyncIterator[DhtNode]:
    """A client node inside the network. Raises `NoBootstrapAnswered`."""
    async with bare_node(settings, runtime) as dht:
        await Entry(dht, settings, runtime, None).enter()
        yield dht


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
