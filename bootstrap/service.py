"""The bootstrap node: a DHT node that joins no room and speaks for nobody. A door, and one more replica."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from dhtchat import __version__
from dhtchat.app.entry import Entry
from dhtchat.app.paths import claim_device_folder
from dhtchat.app.settings import Settings
from dhtchat.chat.events import Ready
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import Endpoint, NodeAddress, parse_endpoint, print_node_key
from dhtchat.limits import PROBE_INTERVAL_S
from dhtchat.runtime import Runtime

from .metrics import open_metrics

log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    runtime: Runtime,
    *,
    advertise: str | None,
    metrics: str | None,
    on_ready: Callable[[Ready], None],
) -> None:
    """Run until cancelled. `advertise`: what others should be told to connect to; `metrics`: where to serve figures.

    Survives restarts: key, records and known nodes lie in the data folder.
    """
    advertised = parse_endpoint(advertise) if advertise else None
    async with contextlib.AsyncExitStack() as stack:
        folder = claim_device_folder(settings.data_dir, settings.parameters, settings.profile or "bootstrap")
        stack.callback(folder.close)
        storage = RecordStorage(path=folder.path / "records.db", parameters=settings.parameters, clock=runtime.clock)
        stack.callback(storage.close)
        dht = DhtNode(
            runtime=runtime,
            parameters=settings.parameters,
            node_key=folder.load_node_key(runtime.random, settings.parameters.id_puzzle_bits),
            storage=storage,
        )
        await stack.enter_async_context(dht)
        stack.callback(dht.say_goodbye)
        bound = await dht.listen(Endpoint(settings.host or "0.0.0.0", settings.port or 0))
        if metrics:
            await stack.enter_async_context(await open_metrics(parse_endpoint(metrics), dht, runtime))
        entry = Entry(dht, settings, runtime, folder.path / "nodes.json")
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(_meet(dht, [address for address in entry.known() if _is_other(address, bound)]))
        group.create_task(entry.remember())
        group.create_task(_keep_in_touch(dht))
        on_ready(
            Ready(
                user=None,
                fingerprint=None,
                address=str(advertised or Endpoint(_shown_host(bound), bound.port)),
                peers=len(dht.contacts()),
                version=__version__,
                node_key=print_node_key(dht.node_key),
            )
        )
        await asyncio.Event().wait()


async def _meet(dht: DhtNode, others: list[NodeAddress]) -> None:
    """The door is open at once; others, from last time or named, are found meanwhile."""
    if others:
        with contextlib.suppress(NetworkTrouble):
            await dht.bootstrap(others)


async def _keep_in_touch(dht: DhtNode) -> None:
    """A node nobody speaks with would not notice that the others are gone."""
    while True:
        await asyncio.sleep(PROBE_INTERVAL_S * 10)
        await dht.probe()


def _is_other(address: NodeAddress, bound: Endpoint) -> bool:
    local = address.endpoint.host in ("127.0.0.1", "::1", "localhost", bound.host)
    return not (local and address.endpoint.port == bound.port)


def _shown_host(bound: Endpoint) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound.host, bound.host)
