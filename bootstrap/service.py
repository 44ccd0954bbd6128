"""The bootstrap node: a DHT node that joins no room and speaks for nobody. A door, and one more replica."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from dhtchat import __version__
from dhtchat.app.entry import Entry
from dhtchat.app.neighbourhood import announce
from dhtchat.app.paths import DeviceFolder, claim_device_folder
from dhtchat.app.settings import Settings
from dhtchat.chat.events import Ready
from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import BadUsage, DhtChatError, ProfileBusy
from dhtchat.ids import Endpoint, NodeAddress, parse_endpoint, print_node_key
from dhtchat.limits import LOG_TICK_S
from dhtchat.runtime import Runtime

from .company import Company
from .logs import tell
from .metrics import CONTENT_TYPE, MetricsPage
from .pages import PLAIN, Page, serve_pages
from .supervisor import Supervisor
from .watch import Figures, Watch


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
    metrics_at = parse_endpoint(metrics) if metrics else None
    supervisor = Supervisor(os.environ)
    async with contextlib.AsyncExitStack() as ended, contextlib.AsyncExitStack() as stack:
        folder, node_key, storage = _open_store(settings, runtime, stack)
        dht = DhtNode(runtime=runtime, parameters=settings.parameters, node_key=node_key, storage=storage)
        await stack.enter_async_context(dht)
        stack.callback(dht.say_goodbye)
        bound = await dht.listen(Endpoint(settings.host or "0.0.0.0", settings.port or 0))
        if metrics_at:
            await stack.enter_async_context(serve_pages(metrics_at, _pages(dht, settings, runtime), runtime.network))
        shown = advertised or Endpoint(_shown_host(bound), bound.port)
        tell(
            "started",
            version=__version__,
            address=str(bound),
            node_key=print_node_key(dht.node_key),
            network=settings.parameters.name,
            records=len(storage),
            data=str(folder.path),
            metrics=str(metrics_at or "none"),
        )
        started_s = runtime.clock.monotonic()
        ended.callback(lambda: tell("stopped", up_s=round(runtime.clock.monotonic() - started_s)))
        entry = Entry(dht, settings, runtime, folder.path / "nodes.json")
        named, remembered = (
            [address for address in addresses if _is_other(address, bound)]
            for addresses in (settings.bootstrap, entry.known())
        )
        company = Company(dht, runtime, named, remembered)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(company.keep())
        group.create_task(company.probe())
        group.create_task(entry.remember())
        group.create_task(announce(bound, dht.node_key, settings.parameters.network_id, settings.interfaces))
        group.create_task(_watch(dht, runtime, supervisor))
        if supervisor.watchdog_interval_s is not None:
            group.create_task(_show_life(supervisor, supervisor.watchdog_interval_s))
        on_ready(
            Ready(
                user=None,
                fingerprint=None,
                address=str(shown),
                peers=len(dht.contacts()),
                version=__version__,
                node_key=print_node_key(dht.node_key),
            )
        )
        supervisor.ready(_in_short(dht))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            # The signal's name, where it was one; nothing when a task of ours has failed.
            tell("stopping", reason=str(cancelled.args[0]) if cancelled.args else "error")
            supervisor.stopping()
            raise


def _open_store(
    settings: Settings, runtime: Runtime, stack: contextlib.AsyncExitStack
) -> tuple[DeviceFolder, NodeKey, RecordStorage]:
    """The data folder, ours until the stack is left, with what lies in it."""
    profile = settings.profile or "bootstrap"
    with _told_about(settings.data_dir):
        try:
            # The first folder or none: with the second it would be another node, whom nobody has pinned.
            folder = claim_device_folder(settings.data_dir, settings.parameters, profile, places=1)
        except ProfileBusy as error:
            raise ProfileBusy(
                f"another bootstrap node uses {settings.data_dir} as '{profile}'",
                hint="End it, or give this one a folder of its own with --data-dir or --profile.",
            ) from error
        stack.callback(folder.close)
        node_key = folder.load_node_key(runtime.random, settings.parameters.id_puzzle_bits)
        storage = RecordStorage(path=folder.path / "records.db", parameters=settings.parameters, clock=runtime.clock)
        stack.callback(storage.close)
    return folder, node_key, storage


@contextlib.contextmanager
def _told_about(data_dir: Path) -> Iterator[None]:
    """A folder without rights or a full disk is not our bug. Raises `BadUsage`."""
    try:
        yield
    except DhtChatError:
        raise
    except (OSError, sqlite3.Error) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise BadUsage(
            f"cannot use the data folder {data_dir}: {why}",
            hint="Give us the right to write there, make room, or name another one with --data-dir.",
        ) from error


def _pages(dht: DhtNode, settings: Settings, runtime: Runtime) -> dict[str, Page]:
    """`/healthz` says that the program runs, not that the network is well: to restart it would not help."""
    page = MetricsPage(dht, settings.parameters, runtime.clock)
    return {
        "/metrics": Page(CONTENT_TYPE, page.text),
        "/healthz": Page(PLAIN, lambda: f"ok\n{_in_short(dht)}\n"),
    }


async def _watch(dht: DhtNode, runtime: Runtime, supervisor: Supervisor) -> None:
    watch = Watch(runtime.clock.monotonic())
    while True:
        await asyncio.sleep(LOG_TICK_S)
        figures = Figures(len(dht.contacts()), len(dht.storage), dht.storage.bytes_held, dht.statistics)
        for logged in watch.look(runtime.clock.monotonic(), figures):
            tell(logged.event, **logged.fields)
        supervisor.status(_in_short(dht))


async def _show_life(supervisor: Supervisor, interval_s: float) -> None:
    while True:
        supervisor.alive()
        await asyncio.sleep(interval_s)


def _in_short(dht: DhtNode) -> str:
    return f"{len(dht.contacts())} nodes known, {len(dht.storage)} records held"


def _is_other(address: NodeAddress, bound: Endpoint) -> bool:
    local = address.endpoint.host in ("127.0.0.1", "::1", "localhost", bound.host)
    return not (local and address.endpoint.port == bound.port)


def _shown_host(bound: Endpoint) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound.host, bound.host)
