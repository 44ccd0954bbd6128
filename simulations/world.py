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
import random
import resource
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dhtchat.app.accounts import register
from dhtchat.app.client import visiting_node
from dhtchat.app.node import ChatNode
from dhtchat.app.paths import claim_device_folder
from dhtchat.app.settings import Settings
from dhtchat.chat import intents
from dhtchat.chat.events import Event, MessageArrived, Ready, StatusChanged
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import DhtChatError
from dhtchat.ids import Endpoint, Login, NodeAddress
from dhtchat.parameters import SIM, NetworkParameters
from dhtchat.runtime import Runtime

from .faults import Faults, Isolation
from .loop import VirtualLoop
from .network import Fabric, HostNetwork, Latency
from .recorder import Recorder

EPOCH_S = 1_767_225_600.0
"""Wall clocks start at 2026-01-01T00:00:00Z."""
DHT_PORT = 8_468
DEFAULT_LATENCY = Latency()
PASSWORD = "a phrase for every simulated person"


class SimClock:
    """One host's clocks: the monotonic one is the loop's, the wall clock may be off."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.skew_s = 0.0

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return EPOCH_S + self._loop.time() + self.skew_s


class Host:
    """A machine: an address, a disk, clocks, its own source of chance."""

    def __init__(self, world: "World", name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.clock = SimClock(world.loop)
        self.disk = world.disks / name
        self._world = world
        self._boots = 0

    def boot(self) -> Runtime:
        """A fresh runtime for a process that starts on this host."""
        self._boots += 1
        source = random.Random(f"{self._world.seed}/{self.name}/{self._boots}")
        network = HostNetwork(self._world.fabric, self.address, real_tls=self._world.real_tls)
        return Runtime(self.clock, source, network, inline=True)

    def settings(self, profile: str | None, bootstrap: Sequence[NodeAddress]) -> Settings:
        return Settings(
            data_dir=self.disk,
            profile=profile,
            parameters=self._world.parameters,
            bootstrap=tuple(bootstrap),
            host=self.address,
            port=DHT_PORT,
        )


class Said(NamedTuple):
    """A line somebody typed. `entitled`: who was meant to get it, by name."""

    at_s: float
    text: str
    target: str
    entitled: frozenset[str]


class Seen(NamedTuple):
    """An event as it came to a person's screen. `boot`: in which life of the process."""

    at_s: float
    boot: int
    event: Event


class Person:
    """Somebody with an account, at most one process on one host at a time. All they typed and saw is kept."""

    def __init__(self, world: "World", name: str, host: Host) -> None:
        self.name = name
        self.host = host
        self.said: list[Said] = []
        self.seen: list[Seen] = []
        self.errors: list[str] = []
        self.boot = 0
        self.rooms: list[str] = []
        self.node: ChatNode | None = None
        self._world = world
        self._process: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._registered = False

    # --- life ---

    @property
    def running(self) -> bool:
        return self._process is not None and not self._process.done()

    async def start(self, *, wait_s: float = 120.0) -> None:
        """Start the process and wait until it is online. The account is made on the first start."""
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
        settings = self.host.settings(self.name, world.bootstrap_addresses)
        try:
            async with ChatNode(settings, runtime) as node:
                self.node = node
                reader = world.spawn(self._read(node, self.boot), f"screen-of-{self.name}")
                try:
                    await node.connect(self.name)
                    if not self._registered:
                        await node.register(self.name, PASSWORD)
                        self._registered = True
                    await node.log_in(Login(self.name, None), PASSWORD)
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
            self.seen.append(Seen(self._world.loop.time(), boot, event))
            self._world.fabric.note_event(f"{self.name} {type(event).__name__}")
            self._news.set()

    async def leave(self) -> None:
        """In good order: flush, goodbyes, end."""
        if self.node is not None:
            await self.node.leave()
        await self._end()

    async def crash(self, *, power: bool = False) -> None:
        """SIGKILL: the process is gone, its operating system resets its streams. `power`: that is gone as well."""
        fabric = self._world.fabric
        if power:
            self._world.dark.hosts.add(self.host.address)
        fabric.close_sockets(self.host.address)
        fabric.reset_streams(self.host.address)
        # Nothing that the dying process still tries gets out.
        self._world.dark.hosts.add(self.host.address)
        await self._end()
        if not power:
            self._world.dark.hosts.discard(self.host.address)

    async def restart(self) -> None:
        self._world.dark.hosts.discard(self.host.address)
        await self.start()

    async def _end(self) -> None:
        if self._process is not None:
            self._process.cancel()
            await asyncio.wait([self._process])
            self._process = None

    # --- use ---

    async def perform(self, intent: intents.Intent) -> None:
        if self.node is not None:
            await self.node.perform(intent)

    async def join(self, room: str) -> None:
        if room not in self.rooms:
            self.rooms.append(room)
        await self.perform(intents.JoinRoom(room))

    async def say(self, target: str, text: str, entitled: Iterable[str]) -> None:
        """Type a line; `entitled` are the names of all who should see it, the speaker not among them."""
        if self.node is None:
            return
        self.said.append(Said(self._world.loop.time(), text, target, frozenset(entitled) - {self.name}))
        await self.perform(intents.SayTo(text, target))

    def messages(self) -> list[Seen]:
        return [seen for seen in self.seen if isinstance(seen.event, MessageArrived)]

    def lines(self, target: str) -> list[str]:
        """The texts of a room, in the order they were shown."""
        return [
            seen.event.text
            for seen in self.seen
            if isinstance(seen.event, MessageArrived) and seen.event.room == target
        ]

    def states(self) -> dict[str, list[StatusChanged]]:
        found: dict[str, list[StatusChanged]] = {}
        for seen in self.seen:
            if isinstance(seen.event, StatusChanged):
                found.setdefault(seen.event.id, []).append(seen.event)
        return found

    async def until(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Wait for something to be seen; whether it was, in time."""
        deadline_s = self._world.loop.time() + within_s
        while not condition():
            left_s = deadline_s - self._world.loop.time()
            if left_s <= 0:
                return False
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.wait()
        return True


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
        self.people: dict[str, Person] = {}
        self.nodes: dict[str, DhtNode] = {}
        """Bare DHT nodes by host name: bootstrap nodes and replicas that nobody uses to talk."""
        self.bootstrap_addresses: list[NodeAddress] = []
        self.disks = _make_disks()
        self.recorder = Recorder()
        self.ended_s = 0.0
        """Virtual time at which the play was over."""
        self.on_progress: Callable[[float], None] = lambda share: None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._hosts = 0
        self._bare: dict[str, asyncio.Task[None]] = {}
        _raise_file_limit()

    def run(self, play: Coroutine[Any, Any, None]) -> None:
        """Play to the end, stop everybody, clear the disks. Raises what `play` raises."""
        try:
            self.loop.run(self._play(play))
        finally:
            shutil.rmtree(self.disks, ignore_errors=True)

    async def _play(self, play: Coroutine[Any, Any, None]) -> None:
        try:
            await play
        finally:
            self.ended_s = self.loop.time()
            await self._stop_all()

    async def _stop_all(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def spawn(self, body: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """A task that ends with the world at the latest."""
        task = self.loop.create_task(body, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- who is there ---

    def new_host(self, name: str) -> Host:
        self._hosts += 1
        number = self._hosts
        return Host(self, name, f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")

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
            key = SigningKey.generate(runtime.random)
            async with DhtNode(runtime=runtime, parameters=self.parameters, node_key=key, storage=storage) as node:
                await node.listen(Endpoint(host.address, DHT_PORT))
                if self.bootstrap_addresses:
                    await node.bootstrap(self.bootstrap_addresses)
                ready.set_result(node)
                await asyncio.Event().wait()
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

    def add_person(self, name: str) -> Person:
        person = self.people[name] = Person(self, name, self.new_host(name))
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

    def statements_received(self) -> int:
        """Copies of lines that reached somebody who is there now, the superfluous ones too."""
        nodes = (person.node for person in self.people.values())
        return sum(node.inspection.statements_received for node in nodes if node is not None and node.is_online)

    async def until(self, condition: Callable[[], bool], *, within_s: float, step_s: float = 0.5) -> bool:
        """Let time pass until something holds; whether it did, in time."""
        deadline_s = self.loop.time() + within_s
        while not condition():
            if self.loop.time() >= deadline_s:
                return False
            await asyncio.sleep(step_s)
        return True


def _make_disks() -> Path:
    """In memory where the system has such a place: a simulated disk is not worth a real one's wear."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="dhtchat-sim-", dir=shared if shared.is_dir() else None))


def _raise_file_limit() -> None:
    """Every node keeps some files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
