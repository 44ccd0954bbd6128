"""`dhtchat simulate --sockets`: the same scenarios in real time, with real UDP and TLS on loopback, in several processes.

Here is the coordinator: the scenario runs in this process and everybody in it is a stand-in for a production node in one
of the workers (`socket_worker.py`). Every host has an address of its own where the system allows it.
"""

import asyncio
import contextlib
import os
import random
import shutil
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from dhtchat.dht.contact import Contact
from dhtchat.dht.crawler import Found
from dhtchat.errors import BadUsage
from dhtchat.ids import Endpoint, NodeId
from dhtchat.parameters import SIM

from .findings import Findings
from .recorder import Recorder
from .result import Result
from .runner import judge, make_result, rss_mib
from .socket_messages import (
    PIPE_LINE_BYTES_MAX,
    AnyAnswer,
    Crash,
    Done,
    Ended,
    Join,
    KillBareNode,
    LastWords,
    Leave,
    LookUp,
    Online,
    Order,
    Report,
    SayLine,
    Shown,
    StartBareNode,
    StartPerson,
    Stop,
)
from .stage import Player, Said, Seen, StageScenario
from .world import make_disks, raise_file_limit

STOP_TIMEOUT_S = 60.0
"""For a worker to end all its nodes, on a machine that is busy."""
TRACE = "sockets"
"""Stands where virtual runs have the hash of their trace: no two real runs are the same."""


_ROOT = Path(__file__).resolve().parents[(__package__ or "").count(".") + 1]
_SEARCH_PATH = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
"""Workers find this package from wherever we were started."""


class WorkerFailed(Exception):
    """A worker process ended by itself, or an order ended with a traceback."""


class Worker:
    """One worker process, as the coordinator sees it."""

    def __init__(self, world: "SocketWorld", number: int, process: asyncio.subprocess.Process) -> None:
        self._world = world
        self._number = number
        self._process = process
        self._asked: dict[int, asyncio.Future[Done]] = {}
        self._orders = 0
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(AnyAnswer)
        self._reader = asyncio.create_task(self._read(), name=f"answers-of-worker-{number}")
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises `WorkerFailed` when it ended by itself."""

    @classmethod
    async def start(cls, world: "SocketWorld", number: int) -> "Worker":
        folder = world.disks / f"worker-{number}"
        folder.mkdir(mode=0o700)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"{__package__}.socket_worker", str(world.seed), str(folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=PIPE_LINE_BYTES_MAX,
            env={**os.environ, "PYTHONPATH": _SEARCH_PATH},
        )
        return cls(world, number, process)

    async def ask(self, order_type: type[Order], **fields: Any) -> Done:
        """Give an order and wait until it is done. Raises `WorkerFailed`."""
        if self.failed.done():
            self.failed.result()
        self._orders += 1
        order = order_type(number=self._orders, **fields)
        answer = self._asked[order.number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(self._encoder.encode(order) + b"\n")
        try:
            done: Done = await answer
        finally:
            del self._asked[order.number]
        if done.error is not None:
            raise WorkerFailed(f"{type(order).__name__} failed in worker {self._number}:\n{done.error}")
        return done

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = self._decoder.decode(line)
            if not isinstance(answer, Done):
                self._world.hear(answer)
            elif (asked := self._asked.get(answer.number)) is not None and not asked.done():
                asked.set_result(answer)
        code = await self._process.wait()
        error = WorkerFailed(f"worker {self._number} ended by itself, with exit code {code}")
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(error)
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # seen, whoever waits or not

    async def stop(self) -> LastWords:
        """In good order. Raises `WorkerFailed` or `TimeoutError`."""
        async with asyncio.timeout(STOP_TIMEOUT_S):
            done = await self.ask(Stop)
            await self._process.wait()
        assert done.last_words is not None
        return done.last_words

    async def end(self) -> None:
        """Whatever state it is in: it is gone when this returns."""
        if self._process.stdin is not None:
            self._process.stdin.close()  # it takes that as the order to clear up and end
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await asyncio.wait([self._reader])
        self._reader.result()


class SocketNode(NamedTuple):
    """A DHT node in a worker."""

    worker: Worker
    name: str
    node_id: NodeId

    async def find_nearest(self, target: bytes) -> Found:
        looked = (await self.worker.ask(LookUp, name=self.name, target=target)).looked
        assert looked is not None
        nearest = [Contact(NodeId(node_id), Endpoint(host, port)) for host, port, node_id in looked.nearest]
        return Found(nearest, looked.silent, looked.shunned, looked.asked, looked.hops)


class SocketPerson(Player):
    """Somebody whose process is in a worker."""

    def __init__(self, world: "SocketWorld", name: str, worker: Worker, address: str) -> None:
        super().__init__(name, world.loop)
        self.node: SocketNode | None = None
        self._world = world
        self._worker = worker
        self._address = address
        self._running = False
        self._leaving = False

    @property
    def running(self) -> bool:
        return self._running

    @property
    def present(self) -> bool:
        return self._running

    @property
    def online(self) -> bool:
        return self.node is not None and not self._leaving

    async def start(self, *, wait_s: float = 120.0) -> None:
        self.boot += 1
        boot = self.boot
        self._running, self._leaving = True, False
        await self._worker.ask(
            StartPerson,
            name=self.name,
            address=self._address,
            boot=boot,
            rooms=list(self.rooms),
            bootstrap=self._world.bootstrap_addresses,
        )
        await self.until(lambda: self.boot != boot or not self._running or self.node is not None, within_s=wait_s)

    async def leave(self) -> None:
        if self._running:
            self._leaving = True
            await self._worker.ask(Leave, name=self.name)

    async def crash(self) -> None:
        if self._running:
            self._leaving = True
            await self._worker.ask(Crash, name=self.name)

    async def restart(self) -> None:
        await self.start()

    async def join(self, room: str) -> None:
        if room not in self.rooms:
            self.rooms.append(room)
        if self.online:
            await self._worker.ask(Join, name=self.name, room=room)

    async def say(self, target: str, text: str, entitled: Iterable[str]) -> None:
        if self.online:
            self.said.append(Said(self._loop.time(), text, target, frozenset(entitled) - {self.name}, self.boot))
            await self._worker.ask(SayLine, name=self.name, target=target, text=text)

    def hear(self, news: Online | Ended | Seen) -> None:
        """What the worker tells of us."""
        match news:
            case Seen():
                self.seen.append(news)
            case Online(boot=boot, node_id=node_id) if boot == self.boot:
                self.node = SocketNode(self._worker, self.name, NodeId(node_id))
            case Ended(boot=boot, error=error) if boot == self.boot:
                self._running, self.node = False, None
                if error is not None:
                    self.errors.append(error)
        self._news.set()


class SocketWorld:
    """A `Stage` of real nodes. Use as an async context manager: on leaving, no process, socket or file is left."""

    def __init__(self, seed: int, *, workers: int) -> None:
        self.seed = seed
        self.rng = random.Random(f"{seed}/world")
        self.recorder = Recorder()
        self.parameters = SIM
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.people: dict[str, SocketPerson] = {}
        self.nodes: dict[str, SocketNode] = {}
        """Bare DHT nodes."""
        self.bootstrap_addresses: list[str] = []
        self.disks: Path
        self._workers: list[Worker] = []
        self._wanted = workers
        self._tasks: set[asyncio.Task[Any]] = set()
        self._hosts = 0
        self._many_addresses = _has_many_loopback_addresses()

    async def __aenter__(self) -> "SocketWorld":
        raise_file_limit()
        self.disks = make_disks()
        try:
            for number in range(self._wanted):
                self._workers.append(await Worker.start(self, number))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        await asyncio.gather(*(worker.end() for worker in self._workers))
        shutil.rmtree(self.disks, ignore_errors=True)

    async def play(self, play: Coroutine[Any, Any, None]) -> None:
        """To the end, or until a worker fails."""
        playing = self.spawn(play, "play")
        failures = [worker.failed for worker in self._workers]
        await asyncio.wait([playing, *failures], return_when=asyncio.FIRST_COMPLETED)
        for failure in failures:
            if failure.done():
                failure.result()
        playing.result()

    async def stop(self) -> list[LastWords]:
        """End all nodes in good order."""
        return list(await asyncio.gather(*(worker.stop() for worker in self._workers)))

    async def findings(self) -> Findings:
        """What lies inside the nodes now."""
        all_found = Findings()
        for done in await asyncio.gather(*(worker.ask(Report) for worker in self._workers)):
            assert done.findings is not None
            all_found.add(done.findings)
        return all_found

    def hear(self, news: Online | Ended | Shown) -> None:
        """What workers tell without being asked."""
        if isinstance(news, Shown):
            for name, at_s, boot, event in news.events:
                self.people[name].hear(Seen(at_s, boot, event))
        else:
            self.people[news.name].hear(news)

    # --- Stage ---

    async def start_bootstrap(self, count: int = 1) -> None:
        for number in range(count):
            name, (worker, address) = f"bootstrap-{number}", self._new_host()
            bootstrap = self.bootstrap_addresses
            done = await worker.ask(StartBareNode, name=name, address=address, bootstrap=bootstrap)
            self.nodes[name] = SocketNode(worker, name, NodeId(done.node_id))
            self.bootstrap_addresses.append(done.address)

    async def start_people(
        self, count: int, *, rooms: Iterable[str] = (), spread_s: float = 10.0
    ) -> list[SocketPerson]:
        people = [self._add_person(f"p{number:05}") for number in range(len(self.people), len(self.people) + count)]

        async def come(person: SocketPerson, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            person.rooms = list(rooms)
            await person.start()

        async with asyncio.TaskGroup() as group:
            for number, person in enumerate(people):
                group.create_task(come(person, spread_s * number / max(1, count)))
        return people

    def _add_person(self, name: str) -> SocketPerson:
        worker, address = self._new_host()
        person = self.people[name] = SocketPerson(self, name, worker, address)
        return person

    def _new_host(self) -> tuple[Worker, str]:
        """Numbered as in the virtual world, in 127/8 instead of 10/8."""
        self._hosts += 1
        number = self._hosts
        address = (
            f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}" if self._many_addresses else "127.0.0.1"
        )
        return self._workers[number % len(self._workers)], address

    async def kill_bare_node(self, name: str) -> None:
        node = self.nodes.pop(name)
        await node.worker.ask(KillBareNode, name=name)

    def askers(self) -> list[SocketNode]:
        """Everybody who takes part in the DHT now."""
        people = [person.node for person in self.people.values() if person.online]
        return [*self.nodes.values(), *(node for node in people if node is not None)]

    def spawn(self, body: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = self.loop.create_task(body, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def until(self, condition: Any, *, within_s: float, step_s: float = 0.5) -> bool:
        deadline_s = self.loop.time() + within_s
        while not condition():
            if self.loop.time() >= deadline_s:
                return False
            await asyncio.sleep(step_s)
        return True


def run_with_sockets(
    scenario: "_Named", *, nodes: int, seed: int, on_progress: Callable[[float], None] | None = None
) -> Result:
    """Play a scenario by its name. `on_progress` hears once a second how long it takes already. Raises `BadUsage` for one that needs what only the virtual world has."""
    from .scenarios import WITH_SOCKETS

    if scenario.NAME not in WITH_SOCKETS:
        raise BadUsage(
            f"{scenario.NAME} needs a network that can be disturbed",
            hint=f"With --sockets there are: {', '.join(WITH_SOCKETS)}.",
        )
    return play_with_sockets(WITH_SOCKETS[scenario.NAME], nodes=nodes, seed=seed, on_progress=on_progress)


class _Named(Protocol):
    NAME: str


def play_with_sockets(
    scenario: StageScenario,
    *,
    nodes: int,
    seed: int,
    workers: int | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """Play it once and judge it. Raises `WorkerFailed`."""
    playing = _play(scenario, nodes=nodes, seed=seed, workers=workers or os.cpu_count() or 1, on_progress=on_progress)
    return asyncio.run(playing)


async def _play(
    scenario: StageScenario, *, nodes: int, seed: int, workers: int, on_progress: Callable[[float], None] | None
) -> Result:
    begun_s = time.monotonic()
    async with SocketWorld(seed, workers=workers) as world:
        started_s = world.loop.time()
        if on_progress is not None:
            world.spawn(_tick(on_progress), "progress")
        await world.play(_coroutine(scenario, world, nodes))
        took_s = world.loop.time() - started_s
        judgement = judge(world, await world.findings())
        last_words = await world.stop()
    return make_result(
        scenario.NAME,
        world,
        judgement,
        nodes=nodes,
        seed=seed,
        took_s=took_s,
        wall_s=time.monotonic() - begun_s,
        rss_mib=round(rss_mib() + sum(words.rss_mib for words in last_words), 1),
        datagrams=sum(words.datagrams for words in last_words),
        trace=TRACE,
        left_over=[text for words in last_words for text in words.complaints],
        repeat=f"dhtchat simulate {scenario.NAME} --sockets --nodes {nodes} --seed {seed}",
    )


async def _tick(on_progress: Callable[[float], None]) -> None:
    started_s = time.monotonic()
    while True:
        on_progress(time.monotonic() - started_s)
        await asyncio.sleep(1.0)


async def _coroutine(scenario: StageScenario, world: SocketWorld, nodes: int) -> None:
    await scenario.play(world, nodes)


def _has_many_loopback_addresses() -> bool:
    """Linux answers for all of 127/8, others for 127.0.0.1 alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.1.2.3", 0))
        except OSError:
            return False
    return True
