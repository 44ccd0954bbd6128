"""A whole network in one process: hosts with clocks and disks, the production node on each, people who use it.

    world = World(seed=7)
    async def play() -> None:
        await world.start(people=20)
        ...
    world.run(play())

Everything a node takes from outside (time, chance, sockets) comes from here; the node itself is the one people run.
"""

import asyncio
import contextlib
import math
import random
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dhtchat.app.accounts import register
from dhtchat.app.client import visiting_node
from dhtchat.app.node import ChatNode
from dhtchat.app.paths import claim_device_folder
from dhtchat.app.settings import Settings
from dhtchat.chat import intents
from dhtchat.chat.events import Event, Ready
from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import DhtChatError
from dhtchat.history.store import HistoryStore
from dhtchat.ids import Endpoint, Login, NodeAddress
from dhtchat.limits import PROBE_INTERVAL_S
from dhtchat.parameters import SIM, NetworkParameters
from dhtchat.runtime import Runtime

from .faults import Faults, Isolation
from .findings import Findings, look_into
from .loop import VirtualLoop
from .network import Fabric, HostNetwork, Latency
from .recorder import Recorder
from .stage import Player, Said, Seen

T = TypeVar("T")

EPOCH_S = 1_767_225_600.0
"""Wall clocks start at 2026-01-01T00:00:00Z."""
DHT_PORT = 8_468
TORN_BYTES_MAX = 2 * 4_120
"""Of a commit that power was cut in: about two pages and their headers in a log of SQLite."""
DEFAULT_LATENCY = Latency()
PASSWORD = "a phrase for every simulated person"


class SimClock:
    """One host's clocks: the monotonic one is the loop's, the wall clock may be off."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skew_s = 0.0
        self.far_off_s = 0.0
        """In addition, for a while: by more than CLOCK_SKEW_S."""
        self.times_far_off = 0

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return EPOCH_S + self._loop.time() + self.skew_s + self.far_off_s

    def go_far_off(self, by_s: float) -> None:
        """Until `far_off_s` is 0 again."""
        self.far_off_s = by_s
        self.times_far_off += 1


class Host:
    """A machine: an address, a disk, clocks, its own source of chance."""

    def __init__(self, world: "World", name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.clock = SimClock(world.loop)
        self.disk = world.disks / name
        self.disk_full = False
        """While it is, history cannot be committed."""
        self.around_commit: Callable[[bool], None] | None = None
        """Told of each commit of history, just before it (False) and just after it (True); may raise to stop there."""
        self._world = world
        self._boots = 0

    def move(self) -> None:
        """To another address, as a laptop does between two networks; for a process that starts after it."""
        self.address = self._world.free_address()

    def freeze_disk(self) -> Path:
        """The disk as it is at this moment, beside it."""
        frozen = self.disk.with_name(f"{self.name}.frozen")
        self.disk.mkdir(exist_ok=True)
        # What SQLite keeps in `-shm` is rebuilt from the log.
        shutil.copytree(self.disk, frozen, ignore=shutil.ignore_patterns("*-shm"))
        return frozen

    def restore_disk(self, frozen: Path, *, torn: bool) -> None:
        """Whatever a dying process wrote after `freeze_disk` never happened. `torn`: power was cut, so the end of what
        was not yet synced is missing: the log of the DHT's records, which are kept with `synchronous=NORMAL`. History is
        synced with each commit; behind its last one lies some of what was being written."""
        shutil.rmtree(self.disk)
        frozen.rename(self.disk)
        if torn:
            for log in sorted(self.disk.glob("**/records.db-wal")):
                size = log.stat().st_size
                with log.open("r+b") as file:
                    file.truncate(self._world.rng.randint(0, size))
            for log in sorted(self.disk.glob("**/history.db-wal")):
                with log.open("ab") as file:
                    file.write(self._world.rng.randbytes(self._world.rng.randint(0, TORN_BYTES_MAX)))

    def boot(self) -> Runtime:
        """A fresh runtime for a process that starts on this host."""
        self._boots += 1
        source = random.Random(f"{self._world.seed}/{self.name}/{self._boots}")
        network = HostNetwork(self._world.fabric, self.address, real_tls=self._world.real_tls)
        return HostRuntime(self, source, network)

    def settings(self, profile: str | None, bootstrap: Sequence[NodeAddress]) -> Settings:
        return Settings(
            data_dir=self.disk,
            profile=profile,
            parameters=self._world.parameters,
            bootstrap=tuple(bootstrap),
            host=self.address,
            port=DHT_PORT,
        )


class HostRuntime(Runtime):
    """Work that would go to a thread is done at once; a full disk refuses what is written there."""

    def __init__(self, host: Host, source: random.Random, network: HostNetwork) -> None:
        super().__init__(host.clock, source, network, inline=True)
        self._host = host

    async def run_blocking(self, function: Callable[..., T], *arguments: Any, quick: bool = False) -> T:
        # The journal hands the commit to something that takes a lock around it.
        if not any(getattr(each, "__func__", None) is HistoryStore.commit for each in (function, *arguments)):
            return await super().run_blocking(function, *arguments)
        if self._host.disk_full:
            raise sqlite3.OperationalError("database or disk is full")
        self._tell_commit(False)
        result = await super().run_blocking(function, *arguments)
        self._tell_commit(True)
        return result

    def _tell_commit(self, done: bool) -> None:
        if self._host.around_commit is not None:
            self._host.around_commit(done)


class Person(Player):
    """Somebody with a host of their own, at most one process on it at a time; or another device of such a person."""

    def __init__(self, world: "World", name: str, host: Host, *, account: str | None = None) -> None:
        super().__init__(name, world.loop, account=account)
        self.host = host
        self.network_id = world.parameters.network_id
        self.crashes: set[int] = set()
        """Lives that ended with a crash, by `boot`."""
        self.node: ChatNode | None = None
        self._world = world
        self._process: asyncio.Task[None] | None = None
        self._commands: dict[asyncio.Task[None], None] = {}
        self._dying = False
        """From the moment of a crash until the disk is as it was at that moment: nothing starts on it before."""
        self._registered = False

    # --- life ---

    @property
    def running(self) -> bool:
        return self._dying or (self._process is not None and not self._process.done())

    @property
    def present(self) -> bool:
        return self.node is not None

    @property
    def online(self) -> bool:
        return self.node is not None and self.node.is_online

    async def start(self, *, wait_s: float = 120.0) -> None:
        self.boot += 1
        boot = self.boot
        self._process = self._world.spawn(self._live(), f"process-of-{self.name}")
        await self.until(
            lambda: not self.running or any(s.boot == boot and isinstance(s.event, Ready) for s in self.seen),
            within_s=wait_s,
        )

    async def _live(self) -> None:
        world = self._world
        runtime = self.host.boot()
        settings = self.host.settings(self.account, world.bootstrap_addresses)
        try:
            async with ChatNode(settings, runtime) as node:
                self.node = node
                reader = world.spawn(self._read(node, self.boot), f"screen-of-{self.name}")
                try:
                    await node.connect(self.name)
                    if self.account != self.name:
                        await world.until(lambda: world.people[self.account]._registered, within_s=math.inf)
                    elif not self._registered:
                        await node.register(self.name, PASSWORD)
                        self._registered = True
                    await node.log_in(Login(self.account, None), PASSWORD)
                    await node.go_online()
                    for room in self.rooms:
                        await node.perform(intents.JoinRoom(room))
                    await asyncio.Event().wait()
                finally:
                    node.close_events()
                    with contextlib.suppress(asyncio.CancelledError):
                        await reader
        except DhtChatError as error:
            self.errors.append(f"{error.code}: {error}")
        finally:
            self.node = None
            self._news.set()

    async def _read(self, node: ChatNode, boot: int) -> None:
        async for event in node.events():
            if boot in self.crashes:
                continue  # the screen went with the process: what is still on its way to it is seen by nobody
            self.seen.append(Seen(self._world.loop.time(), boot, event))
            self._world.fabric.note_event(f"{self.name} {type(event).__name__}")
            for watch in self._world.watches:
                watch.on_event(self, event)
            self._news.set()

    async def leave(self) -> None:
        """In good order: flush, goodbyes, end."""
        boot = self.boot
        if self.node is not None:
            await self._while_running(self.node.leave())
        if self.boot == boot:
            await self._end()

    async def crash(self, *, power: bool = False) -> None:
        """SIGKILL: the process is gone, its operating system resets its streams. `power`: that is gone as well."""
        if self.running and not self._dying:
            await self._bury(self._die(power=power), power=power)

    async def crash_at_commit(self, *, done: bool, skip: int = 0, power: bool = False) -> None:
        """Wait for a commit of history, `skip` others passed over, and crash right before it, or right after when `done`:
        between what was heard and the disk, or between the disk and what is said about it."""
        buried: asyncio.Future[asyncio.Task[None]] = self._world.loop.create_future()
        left = skip

        def strike(is_done: bool) -> None:
            nonlocal left
            if is_done is not done or self._dying:
                return
            left -= 1
            if left < 0:
                self.host.around_commit = None
                frozen = self._die(power=power)
                buried.set_result(self._world.spawn(self._bury(frozen, power=power), f"end-of-{self.name}"))
                raise asyncio.CancelledError  # the journal ends here, as everything else does

        self.host.around_commit = strike
        try:
            await asyncio.wait([await buried])
        finally:
            if self.host.around_commit is strike:
                self.host.around_commit = None

    def _die(self, *, power: bool) -> Path:
        """In one step: nothing gets out any more, and the disk is as it is now. Where that is kept."""
        fabric = self._world.fabric
        self._dying = True
        self.crashes.add(self.boot)
        for watch in self._world.watches:
            watch.on_crash(self)
        if power:
            self._world.dark.hosts.add(self.host.address)
        fabric.close_sockets(self.host.address)
        fabric.reset_streams(self.host.address)
        # Nothing that the dying process still tries gets out, or onto its disk.
        self._world.dark.hosts.add(self.host.address)
        return self.host.freeze_disk()

    async def _bury(self, frozen: Path, *, power: bool) -> None:
        await self._end()
        self.host.restore_disk(frozen, torn=power)
        self._dying = False
        if not power:
            self._world.dark.hosts.discard(self.host.address)

    async def restart(self) -> None:
        self._world.dark.hosts.discard(self.host.address)
        await self.start()

    async def _end(self) -> None:
        process = self._process
        self.node = None  # nobody types into a process that is on its way out
        for command in list(self._commands):
            command.cancel()
        if process is not None:
            process.cancel()
            await asyncio.wait([process])
            if self._process is process:
                self._process = None

    # --- use ---

    def is_in(self, room: str) -> bool:
        return self.node is not None and self.node.is_online and room in self.node.inspection.room_conversations()

    async def perform(self, intent: intents.Intent) -> None:
        if self.node is not None and self.node.is_online:
            await self._while_running(self.node.perform(intent))

    async def _while_running(self, body: Coroutine[Any, Any, None]) -> None:
        """What a process does ends with it at the latest."""
        assert self._process is not None
        task = self._world.spawn(body, f"command-of-{self.name}")
        self._commands[task] = None
        try:
            await asyncio.wait([task, self._process], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._commands.pop(task, None)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def join(self, room: str) -> None:
        if room not in self.rooms:
            self.rooms.append(room)
        await self.perform(intents.JoinRoom(room))

    async def part(self, room: str) -> None:
        if room in self.rooms:
            self.rooms.remove(room)
        await self.perform(intents.PartRoom(room))

    async def say(self, target: str, text: str, entitled: Iterable[str]) -> None:
        if not self.online:
            return
        self.said.append(Said(self._world.loop.time(), text, target, frozenset(entitled) - {self.name}, self.boot))
        await self.perform(intents.SayTo(text, target))


class Watch(Protocol):
    """Looks on while a world runs."""

    def on_event(self, person: Person, event: Event) -> None:
        """Somebody's screen shows something."""

    def on_crash(self, person: Person) -> None:
        """Just before."""


class World:
    """Seed in, trace out. `run` plays a coroutine in it; afterwards everything can be looked at."""

    def __init__(
        self,
        seed: int,
        *,
        latency: Latency = DEFAULT_LATENCY,
        parameters: NetworkParameters = SIM,
        real_tls: bool = False,
    ) -> None:
        self.seed = seed
        self.loop = VirtualLoop()
        self.rng = random.Random(f"{seed}/world")
        self.fabric = Fabric(self.loop, random.Random(f"{seed}/fabric"), latency)
        self.faults = Faults(self.fabric)
        self.dark = Isolation()
        """Hosts that are switched off."""
        self.fabric.rules.append(self.dark)
        self.parameters = parameters
        self.real_tls = real_tls
        self.watches: list[Watch] = []
        self.people: dict[str, Person] = {}
        self.nodes: dict[str, DhtNode] = {}
        """Bare DHT nodes by host name: bootstrap nodes and replicas that nobody uses to talk."""
        self.bootstrap_addresses: list[NodeAddress] = []
        self.disks = make_disks()
        self.recorder = Recorder()
        self.ended_s = 0.0
        """Virtual time at which the play was over."""
        self.on_progress: Callable[[float], None] = lambda share: None
        self._tasks: dict[asyncio.Task[Any], None] = {}
        """(A dictionary: a set has no order, and they are ended in this one.)"""
        self._networks = 0
        self._addresses: list[str] = []
        self._bare: dict[str, asyncio.Task[None]] = {}
        raise_file_limit()

    def run(self, play: Coroutine[Any, Any, None]) -> None:
        """Play to the end, stop everybody, clear the disks. Raises what `play` raises."""
        try:
            self.loop.run(self._play(play))
        finally:
            shutil.rmtree(self.disks, ignore_errors=True)

    async def _play(self, play: Coroutine[Any, Any, None]) -> None:
        self.spawn(self._tell_progress(), "progress")
        try:
            await play
        finally:
            self.ended_s = self.loop.time()
            await self._stop_all()

    async def _tell_progress(self) -> None:
        """Always, whether anybody listens or not: a run must not depend on who watches."""
        while True:
            self.on_progress(self.loop.time())
            await asyncio.sleep(1.0)

    async def _stop_all(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def spawn(self, body: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """A task that ends with the world at the latest."""
        task = self.loop.create_task(body, name=name)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    # --- who is there ---

    def new_host(self, name: str, *, beside: Host | None = None) -> Host:
        """In a /24 of its own, or in that of another host."""
        return Host(self, name, self.free_address() if beside is None else self._address_beside(beside.address))

    def free_address(self) -> str:
        self._networks += 1
        self._addresses.append(_address(self._networks))
        return self._addresses[-1]

    def _address_beside(self, address: str) -> str:
        network = address.rpartition(".")[0]
        self._addresses.append(f"{network}.{1 + sum(a.rpartition('.')[0] == network for a in self._addresses)}")
        return self._addresses[-1]

    def addresses(self) -> list[str]:
        """Of all hosts there ever were, in order."""
        return list(self._addresses)

    async def start_bare_node(self, name: str, *, bootstrap: bool = False) -> DhtNode:
        """A DHT node that nobody talks through."""
        host = self.new_host(name)
        ready: asyncio.Future[DhtNode] = self.loop.create_future()
        self._bare[name] = self.spawn(self._live_bare(host, ready), f"node-{name}")
        node = await ready
        self.nodes[name] = node
        if bootstrap:
            self.bootstrap_addresses.append(NodeAddress(Endpoint(host.address, DHT_PORT), None))
        return node

    async def _live_bare(self, host: Host, ready: "asyncio.Future[DhtNode]") -> None:
        runtime = host.boot()
        settings = host.settings(None, self.bootstrap_addresses)
        folder = claim_device_folder(settings.data_dir, self.parameters, "node")
        storage = RecordStorage(path=None, parameters=self.parameters, clock=runtime.clock)
        try:
            key = NodeKey.generate(runtime.random)
            async with DhtNode(runtime=runtime, parameters=self.parameters, node_key=key, storage=storage) as node:
                await node.listen(Endpoint(host.address, DHT_PORT))
                if self.bootstrap_addresses:
                    await node.bootstrap(self.bootstrap_addresses)
                ready.set_result(node)
                while True:  # as a bootstrap node does (bootstrap/service.py): who was lost is found again
                    await asyncio.sleep(10 * PROBE_INTERVAL_S)
                    await node.probe()
        finally:
            folder.close()
            storage.close()

    async def kill_bare_node(self, name: str) -> None:
        node = self.nodes.pop(name)
        host = node.address.host
        self.fabric.close_sockets(host)
        self.dark.hosts.add(host)
        task = self._bare.pop(name)
        task.cancel()
        await asyncio.wait([task])

    async def start_bootstrap(self, count: int = 1) -> None:
        for number in range(count):
            await self.start_bare_node(f"bootstrap-{number}", bootstrap=True)

    async def start_people(self, count: int, *, rooms: Sequence[str] = (), spread_s: float = 10.0) -> list[Person]:
        """So many people, coming online one after the other within `spread_s`."""
        people = [self.add_person(f"p{number:05}") for number in range(len(self.people), len(self.people) + count)]

        async def come(person: Person, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            person.rooms = list(rooms)
            await person.start()

        async with asyncio.TaskGroup() as group:
            for number, person in enumerate(people):
                group.create_task(come(person, spread_s * number / max(1, count)))
        return people

    def add_person(self, name: str, *, account: str | None = None) -> Person:
        """`account`: whose other device it is; that person makes the account."""
        person = self.people[name] = Person(self, name, self.new_host(name), account=account)
        return person

    async def register_only(self, name: str, host_name: str) -> str:
        """What `dhtchat register` does, from a host of its own: the error's code, or `registered`."""
        host = self.new_host(host_name)
        runtime = host.boot()
        settings = host.settings(None, self.bootstrap_addresses)
        try:
            async with visiting_node(settings, runtime) as dht:
                await register(dht, name, PASSWORD, parameters=self.parameters, runtime=runtime)
        except DhtChatError as error:
            return error.code
        return "registered"

    def askers(self) -> list[DhtNode]:
        """Everybody who takes part in the DHT now."""
        people = (person.node for person in self.people.values() if person.node is not None)
        return [*self.nodes.values(), *(node.inspection.dht for node in people if node.is_online)]

    def findings(self) -> Findings:
        """What lies inside the nodes now."""
        nodes = {name: person.node for name, person in self.people.items() if person.node is not None}
        return look_into(nodes, self.nodes)

    async def until(self, condition: Callable[[], bool], *, within_s: float, step_s: float = 0.5) -> bool:
        """Let time pass until something holds; whether it did, in time."""
        deadline_s = self.loop.time() + within_s
        while not condition():
            if self.loop.time() >= deadline_s:
                return False
            await asyncio.sleep(step_s)
        return True


def _address(network: int) -> str:
    """The first address of a /24. Of class E (RFC 1112 §4), which no rule of ours takes for private and nobody routes."""
    return f"{240 + (network >> 16)}.{network >> 8 & 255}.{network & 255}.1"


def make_disks() -> Path:
    """In memory where the system has such a place: a simulated disk is not worth a real one's wear."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="dhtchat-sim-", dir=shared if shared.is_dir() else None))


def raise_file_limit() -> None:
    """Every node keeps some files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
