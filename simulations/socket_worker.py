"""One of the processes of a play with real sockets: many production nodes on one event loop, driven over standard input.

What this file guards: the process ends, with all its nodes, sockets and files, when it is told to or when its standard
input ends, which is what happens when the coordinator dies.
"""

import asyncio
import contextlib
import gc
import logging
import random
import shutil
import signal
import ssl
import sys
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from dhtchat.app.node import ChatNode
from dhtchat.app.paths import claim_device_folder
from dhtchat.app.settings import Settings
from dhtchat.chat import intents
from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import DhtChatError
from dhtchat.ids import Endpoint, Login, parse_node_address
from dhtchat.parameters import SIM
from dhtchat.runtime import RealClock, RealNetwork, Runtime

from .findings import look_into
from .runner import GC_THRESHOLD, Complaints, rss_mib
from .socket_messages import (
    PIPE_LINE_BYTES_MAX,
    Answer,
    AnyOrder,
    Crash,
    Done,
    Ended,
    Join,
    KillBareNode,
    LastWords,
    Leave,
    Looked,
    LookUp,
    Online,
    Report,
    SayLine,
    Shown,
    ShownEvent,
    StartBareNode,
    StartPerson,
    Stop,
)
from .world import PASSWORD, raise_file_limit

SHOWN_EVERY_S = 0.05
"""What came to the screens is told in bundles."""


class HostNetwork(RealNetwork):
    """The machine's sockets as one host uses them, which can be gone from one moment to the next."""

    def __init__(self) -> None:
        self._gone = False
        self._open: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()

    async def open_datagrams(
        self, factory: Callable[[], asyncio.DatagramProtocol], local: Endpoint
    ) -> tuple[asyncio.DatagramTransport, Endpoint]:
        self._refuse_if_gone()
        transport, bound = await super().open_datagrams(factory, local)
        self._open.add(transport)
        return transport, bound

    async def connect(self, factory: Callable[[], asyncio.Protocol], remote: Endpoint) -> asyncio.Transport:
        self._refuse_if_gone()
        transport = await super().connect(factory, remote)
        self._open.add(transport)
        return transport

    async def start_tls(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        timeout_s: float,
    ) -> asyncio.Transport:
        """Every stream comes by here, the accepted ones too."""
        self._refuse_if_gone()
        self._open.add(transport)
        return await super().start_tls(transport, protocol, context, server_side=server_side, timeout_s=timeout_s)

    def vanish(self) -> None:
        """As when the process is killed: the kernel closes what is open, and nothing that was to be said is said."""
        self._gone = True
        for transport in list(self._open):
            transport.abort()  # type: ignore[attr-defined]

    def _refuse_if_gone(self) -> None:
        if self._gone:
            raise OSError("this host is gone")


class Process:
    """One life of a person's process."""

    def __init__(self, name: str, boot: int) -> None:
        self.name = name
        self.boot = boot
        self.network = HostNetwork()
        self.node: ChatNode | None = None
        self.task: asyncio.Task[None]


class Worker:
    """All nodes of this process."""

    def __init__(self, seed: str, disks: Path, out: asyncio.WriteTransport) -> None:
        self._seed = seed
        self._disks = disks
        self._out = out
        self._encoder = msgspec.json.Encoder()
        self._processes: dict[str, Process] = {}
        self._registered: set[str] = set()
        self._bare: dict[str, DhtNode] = {}
        self._bare_tasks: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._shown: list[tuple[str, float, int, ShownEvent]] = []
        self._datagrams = 0
        """Sent by nodes that are gone."""
        self.complaints = Complaints()

    # --- orders ---

    def obey(self, order: AnyOrder) -> None:
        """Begin at once; the answer comes when it is done."""
        self.spawn(self._obey(order), type(order).__name__)

    async def _obey(self, order: AnyOrder) -> None:
        try:
            done = await self._perform(order)
        except Exception:  # noqa: BLE001 - it is told to the coordinator, which fails
            done = Done(number=order.number, error=traceback.format_exc())
        self.tell(done)

    async def _perform(self, order: AnyOrder) -> Done:
        number = order.number
        match order:
            case StartBareNode():
                node = await self._start_bare(order)
                return Done(number=number, node_id=node.node_id, address=str(node.address))
            case StartPerson():
                process = self._processes[order.name] = Process(order.name, order.boot)
                process.task = self.spawn(self._live(process, order), f"process-of-{order.name}")
            case Join(name=name, room=room):
                await self._use(name, intents.JoinRoom(room))
            case SayLine(name=name, target=target, text=text):
                await self._use(name, intents.SayTo(text, target))
            case Leave(name=name):
                leaving = self._processes.get(name)
                if leaving is not None and leaving.node is not None:
                    await leaving.node.leave()
                await self._end(leaving)
            case Crash(name=name):
                crashing = self._processes.get(name)
                if crashing is not None:
                    crashing.network.vanish()
                await self._end(crashing)
            case KillBareNode(name=name):
                self._datagrams += self._bare.pop(name).statistics["datagrams-out"]
                await _cancelled(self._bare_tasks.pop(name))
            case LookUp(name=name, target=target):
                return Done(number=number, looked=await self._look_up(name, target))
            case Report():
                nodes = {name: process.node for name, process in self._processes.items() if process.node is not None}
                return Done(number=number, findings=look_into(nodes, self._bare))
            case Stop():
                raise AssertionError("the one who reads the orders stops")
        return Done(number=number)

    async def _use(self, name: str, intent: intents.Intent) -> None:
        """What a process does ends with it at the latest."""
        process = self._processes.get(name)
        if process is None or process.node is None or not process.node.is_online:
            return
        doing = self.spawn(process.node.perform(intent), f"command-of-{name}")
        await asyncio.wait([doing, process.task], return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            await _cancelled(doing)
        if not doing.cancelled():
            doing.result()

    async def _look_up(self, name: str, target: bytes) -> Looked:
        dht = self._bare.get(name)
        if dht is None:
            node = self._processes[name].node
            assert node is not None
            dht = node.inspection.dht
        found = await dht.find_nearest(target)
        nearest = [(contact.endpoint.host, contact.endpoint.port, bytes(contact.node_id)) for contact in found.nearest]
        return Looked(nearest, found.silent, found.shunned, found.asked, found.hops)

    # --- people ---

    async def _live(self, process: Process, order: StartPerson) -> None:
        """As `Person` does it in virtual time."""
        name = process.name
        runtime = self._runtime(name, process.boot, process.network)
        error: str | None = None
        dht: DhtNode | None = None
        try:
            async with ChatNode(self._settings(name, name, order.address, order.bootstrap), runtime) as node:
                process.node = node
                reader = self.spawn(self._read(process, node), f"screen-of-{name}")
                try:
                    await node.connect(name)
                    if name not in self._registered:
                        await node.register(name, PASSWORD)
                        self._registered.add(name)
                    await node.log_in(Login(name, None), PASSWORD)
                    await node.go_online()
                    dht = node.inspection.dht
                    self.tell(Online(name=name, boot=process.boot, node_id=dht.node_id))
                    for room in order.rooms:
                        await node.perform(intents.JoinRoom(room))
                    await asyncio.Event().wait()
                finally:
                    if dht is not None:
                        self._datagrams += dht.statistics["datagrams-out"]
                    node.close_events()
                    await asyncio.wait([reader])
        except DhtChatError as trouble:
            error = f"{trouble.code}: {trouble}"
        finally:
            process.node = None
            self.tell(Ended(name=name, boot=process.boot, error=error))

    async def _read(self, process: Process, node: ChatNode) -> None:
        async for event in node.events():
            if isinstance(event, ShownEvent):
                if not self._shown:
                    asyncio.get_running_loop().call_later(SHOWN_EVERY_S, self._tell_shown)
                self._shown.append((process.name, time.monotonic(), process.boot, event))

    async def _end(self, process: Process | None) -> None:
        if process is not None:
            await _cancelled(process.task)
            if self._processes.get(process.name) is process:
                del self._processes[process.name]

    def _runtime(self, host: str, boot: int, network: HostNetwork) -> Runtime:
        """Chance as in the virtual world, so that everybody has the same keys in both. What would go to a thread is done at
        once: with a hundred nodes in a process, threads wait for each other a fifth of the time."""
        return Runtime(RealClock(), random.Random(f"{self._seed}/{host}/{boot}"), network, inline=True)

    def _settings(self, host: str, profile: str | None, address: str, bootstrap: list[str]) -> Settings:
        return Settings(
            data_dir=self._disks / host,
            profile=profile,
            parameters=SIM,
            bootstrap=tuple(parse_node_address(text) for text in bootstrap),
            host=address,
            # None: a free one, and the same again after a restart.
            port=None,
        )

    # --- bare nodes ---

    async def _start_bare(self, order: StartBareNode) -> DhtNode:
        ready: asyncio.Future[DhtNode] = asyncio.get_running_loop().create_future()
        task = self._bare_tasks[order.name] = self.spawn(self._live_bare(order, ready), f"node-{order.name}")
        waiting: list[asyncio.Future[Any]] = [ready, task]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            task.result()
        node = self._bare[order.name] = ready.result()
        return node

    async def _live_bare(self, order: StartBareNode, ready: "asyncio.Future[DhtNode]") -> None:
        runtime = self._runtime(order.name, 1, HostNetwork())
        settings = self._settings(order.name, None, order.address, order.bootstrap)
        folder = claim_device_folder(settings.data_dir, SIM, "node")
        storage = RecordStorage(path=None, parameters=SIM, clock=runtime.clock)
        try:
            key = NodeKey.generate(runtime.random)
            async with DhtNode(runtime=runtime, parameters=SIM, node_key=key, storage=storage) as node:
                await node.listen(Endpoint(order.address, 0))
                if settings.bootstrap:
                    await node.bootstrap(settings.bootstrap)
                ready.set_result(node)
                await asyncio.Event().wait()
        finally:
            folder.close()
            storage.close()

    # --- answers ---

    def tell(self, answer: Answer) -> None:
        if self._shown:
            self._tell_shown()
        self._write(answer)

    def _tell_shown(self) -> None:
        if self._shown:
            events, self._shown = self._shown, []
            self._write(Shown(events=events))

    def _write(self, answer: Answer) -> None:
        if not self._out.is_closing():
            self._out.write(self._encoder.encode(answer) + b"\n")

    # --- the end ---

    def spawn(self, body: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(body, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> LastWords:
        """End all nodes, then see what is left."""
        running = set(self._tasks) - {asyncio.current_task()}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self._datagrams += sum(node.statistics["datagrams-out"] for node in self._bare.values())
        await asyncio.sleep(0)  # closed transports still tell their protocols
        left = asyncio.all_tasks() - {asyncio.current_task(), *_MAIN}
        texts = [f"left running: {task.get_name()}" for task in left if not task.done()]
        del left, running
        gc.collect()  # what nobody retrieved or closed complains when it is collected
        await asyncio.sleep(0)
        return LastWords(complaints=[*texts, *self.complaints.texts], datagrams=self._datagrams, rss_mib=rss_mib())


_MAIN: "set[asyncio.Task[Any]]" = set()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    """Cancel it and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])


async def work(seed: str, disks: Path) -> None:
    """Obey the orders of standard input until it ends or one says stop."""
    _MAIN.update(asyncio.all_tasks())
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=PIPE_LINE_BYTES_MAX)
    reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer)
    writing, talker = await loop.connect_write_pipe(_Talker, sys.stdout.buffer)
    worker = Worker(seed, disks, writing)
    logging.getLogger().addHandler(worker.complaints)
    loop.set_exception_handler(lambda _, context: worker.complaints.texts.append(_in_words(context)))
    sys.unraisablehook = lambda what: worker.complaints.texts.append(
        f"not raised: {what.exc_value!r} in {what.object!r}"
    )
    try:
        async for line in orders:
            order = msgspec.json.decode(line, type=AnyOrder)
            if isinstance(order, Stop):
                worker.tell(Done(number=order.number, last_words=await worker.stop()))
                break
            worker.obey(order)
        else:
            await worker.stop()
    finally:
        reading.close()
        writing.close()  # sends what is still to be sent, unless nobody is there to read it
        await talker.closed.wait()


class _Talker(asyncio.Protocol):
    """Tells when standard output is closed, to the last byte."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()


def _in_words(context: dict[str, Any]) -> str:
    error = context.get("exception")
    text = "".join(traceback.format_exception(error)) if error is not None else ""
    return f"{context.get('message')} {text}".strip()


def main(seed: str, disks: Path) -> None:
    """Run as `python -m simulations.socket_worker SEED FOLDER` by the coordinator."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the coordinator tells us what to do
    warnings.simplefilter("error", ResourceWarning)
    gc.set_threshold(GC_THRESHOLD)
    raise_file_limit()
    try:
        asyncio.run(work(seed, disks))
    finally:
        shutil.rmtree(disks, ignore_errors=True)
        with contextlib.suppress(OSError):  # the others still use it, or it is gone
            disks.parent.rmdir()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
