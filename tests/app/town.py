"""A town in one process: a bootstrap node and people with real sockets, real TLS and folders of their own.

`async with Town(tmp_path, seed) as town:` starts the bootstrap node; `await town.newcomer("alice")` registers somebody and
brings them online; `alice.say("/join #lobby")` types a line; `await alice.expect(MessageArrived, text="hi")` waits for an
event. Leaving the block stops everybody and fails when anything crashed, was logged as an error or was left running.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from dhtchat.app.node import ChatNode
from dhtchat.app.settings import Settings
from dhtchat.chat.commands import parse_line
from dhtchat.chat.events import (
    Event,
    History,
    MemberEntry,
    MessageArrived,
    Names,
    RoomEntry,
    Rooms,
    StatusChanged,
    UserEntry,
    Users,
    WhoIsAnswer,
)
from dhtchat.chat.room import Room
from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import DeviceId, Endpoint, NodeAddress, parse_login
from dhtchat.parameters import SIM
from dhtchat.runtime import RealClock, Runtime
from tests.app.cables import CuttableNetwork, Exchange

LOOPBACK = Endpoint("127.0.0.1", 0)
PASSWORD = "mokita-luberi-sapodu-venika"
PATIENCE_S = 60.0
"""How long anything may take unless a test says otherwise: several times what it does take."""

E = TypeVar("E", bound=Event)


async def until(condition: Callable[[], object], why: str | Callable[[], str], *, within_s: float = PATIENCE_S) -> None:
    """Poll until it holds, for no longer than `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - any condition, not an event of ours
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"after {within_s} s: {why if isinstance(why, str) else why()}") from None


async def until_async(
    condition: Callable[[], Awaitable[object]], why: str | Callable[[], str], *, within_s: float = PATIENCE_S
) -> None:
    """The same for what must be asked for."""
    try:
        async with asyncio.timeout(within_s):
            while not await condition():  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"after {within_s} s: {why if isinstance(why, str) else why()}") from None


class Person:
    """Somebody with a folder and a machine. May be online, be stopped, and come back with the same folder."""

    def __init__(self, town: "Town", name: str, folder: Path, *, password: str = PASSWORD) -> None:
        self.name = name
        self.folder = folder
        self.password = password
        self.town = town
        self.cable = CuttableNetwork(town.exchange)
        self.node: ChatNode
        self.identity = b""
        """Their key, once they have logged in."""
        self.events: list[Event] = []
        """All of all runs, in order."""
        self._life: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._politely = False

    # --- coming and going ---

    async def come_online(self, *, register: bool = False, bootstrap: Iterable[NodeAddress] | None = None) -> Self:
        """As `join` does. Raises what it would raise."""
        assert self._life is None, f"{self.name} is online already"
        self._up, self._down = asyncio.Event(), asyncio.Event()
        at = tuple(self.town.doors() if bootstrap is None else bootstrap)
        settings = Settings(data_dir=self.folder, parameters=SIM, bootstrap=at, host=LOOPBACK.host)
        life = self._life = asyncio.create_task(self._live(settings, register=register), name=f"life of {self.name}")
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait((life, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if life.done():
            self._life = None
            life.result()
        return self

    async def _live(self, settings: Settings, *, register: bool) -> None:
        runtime = Runtime(RealClock(), self.town.fork_random(), self.cable)
        async with ChatNode(settings, runtime) as node:
            self.node = node
            reader = asyncio.create_task(self._read(node))
            try:
                login = parse_login(self.name)
                await node.connect(login.name)
                if register:
                    await node.register(self.name, self.password)
                await node.log_in(login, self.password)
                self.identity = node.account.peer
                await node.go_online()
                self._up.set()
                await self._down.wait()
                if self._politely:
                    await node.leave()
            finally:
                node.close_events()
                await reader

    async def _read(self, node: ChatNode) -> None:
        async for event in node.events():
            self.events.append(event)

    async def leave(self) -> None:
        """As `/quit` does."""
        await self._stop(politely=True)

    async def crash(self) -> None:
        """Gone from one moment to the next: no goodbye, what was not on disk is lost."""
        await self._stop(politely=False)

    async def _stop(self, *, politely: bool) -> None:
        life, self._life = self._life, None
        if life is not None:
            self._politely = politely
            self._down.set()
            await life

    @property
    def is_online(self) -> bool:
        return self._life is not None

    @property
    def device_folder(self) -> Path:
        [found] = self.folder.glob(f"*/{parse_login(self.name).name}/device-1")
        return found

    def room(self, name: str) -> Room:
        """The state of a room they are in."""
        joined = self.node._rooms.by_name(name)
        assert joined is not None, f"{self.name} is not in {name}"
        return joined.room

    @property
    def device(self) -> DeviceId:
        return self.node._core.me.device

    def remembers(self, other: "Person") -> bool:
        """Whether the other's node is on disk, to be tried first next time."""
        memory = self.device_folder / "nodes.json"
        return memory.exists() and f'"{other.node.address}"' in memory.read_text("utf-8")

    # --- talking ---

    async def say(self, line: str) -> None:
        """Type a line, a command perhaps."""
        intent = parse_line(line)
        if intent is not None:
            await self.node.perform(intent)

    async def say_all(self, lines: Iterable[str]) -> None:
        for line in lines:
            await self.say(line)

    async def ask(self, line: str, event: type[E], /, **fields: Any) -> E:
        """Type a command and return its answer."""
        before = self.mark()
        await self.say(line)
        return await self.expect(event, after=before, **fields)

    async def users(self, rest: str = "") -> list[UserEntry]:
        return (await self.ask(f"/users {rest}", Users)).users

    async def online(self) -> list[str]:
        """Names in `/users`, sorted."""
        return [user.name for user in await self.users()]

    async def rooms(self) -> dict[str, RoomEntry]:
        return {room.name: room for room in (await self.ask("/rooms", Rooms)).rooms}

    async def members(self, room: str) -> dict[str, MemberEntry]:
        return {member.name: member for member in (await self.ask(f"/names {room}", Names)).members}

    async def whois(self, name: str) -> WhoIsAnswer:
        return await self.ask(f"/whois {name}", WhoIsAnswer)

    async def history(self, target: str, count: int = 1000) -> list[MessageArrived]:
        await self.say(f"/switch {target}")
        return (await self.ask(f"/history {count}", History)).messages

    # --- what they see ---

    def mark(self) -> int:
        """Now, for `after`."""
        return len(self.events)

    def seen(self, wanted: type[E], /, *, after: int = 0, **fields: Any) -> list[E]:
        """Events of a type with these fields, in order; a field may be a predicate."""
        return [
            event
            for event in self.events[after:]
            if isinstance(event, wanted)
            and all(
                want(getattr(event, field)) if callable(want) else getattr(event, field) == want
                for field, want in fields.items()
            )
        ]

    async def expect(self, wanted: type[E], /, *, after: int = 0, within_s: float = PATIENCE_S, **fields: Any) -> E:
        """The first such event, which may have come already."""

        def come() -> list[E]:
            self.check()
            return self.seen(wanted, after=after, **fields)

        await until(
            come, lambda: f"{self.name} saw no {wanted.__name__} with {fields}; {self._last()}", within_s=within_s
        )
        return come()[0]

    def texts(self, target: str | None = None, *, after: int = 0) -> list[str]:
        """Lines as they were shown: of a room, of a private talk with a person, or all."""
        return [
            message.text
            for message in self.seen(MessageArrived, after=after)
            if target is None or target in (message.room, message.sender, message.recipient)
        ]

    async def expect_texts(
        self, texts: list[str], target: str | None = None, *, after: int = 0, within_s: float = PATIENCE_S
    ) -> None:
        """Exactly these lines come, in this order, each once."""

        def come() -> bool:
            self.check()
            return self.texts(target, after=after) == texts

        await until(
            come,
            lambda: f"{self.name} saw {self.texts(target, after=after)} and not {texts}; {self._last()}",
            within_s=within_s,
        )

    def states(self, message: MessageArrived) -> list[str]:
        """What `status` said of a line, without repetitions of a state."""
        return list(dict.fromkeys(status.state for status in self.seen(StatusChanged, id=message.id)))

    async def expect_delivered(self, text: str, *, to: int | None = None, within_s: float = PATIENCE_S) -> None:
        """An own line gets there; in a room, to this many members."""
        line = await self.expect(MessageArrived, own=True, text=text)
        fields = {} if to is None else {"delivered_to": to}
        await self.expect(StatusChanged, id=line.id, state="delivered", within_s=within_s, **fields)

    def check(self) -> None:
        """Raises what this person's peer crashed of."""
        if self._life is not None and self._life.done():
            life, self._life = self._life, None
            life.result()

    def _last(self) -> str:
        return "last events:\n  " + "\n  ".join(map(repr, self.events[-20:]))

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Town:
    """The bootstrap node and everybody who lives here."""

    def __init__(self, folder: Path, seed: int, *, bootstrap: bool = True) -> None:
        self.folder = folder
        self.exchange = Exchange()
        self.people: list[Person] = []
        self.bootstrap: DhtNode | None = None
        self.bootstrap_cable = CuttableNetwork(self.exchange)
        self._random = random.Random(seed)
        self._with_bootstrap = bootstrap
        self._stack = contextlib.AsyncExitStack()
        self._errors = _ErrorsLogged()
        self._tasks_before: set[asyncio.Task[Any]] = set()

    def fork_random(self) -> random.Random:
        return random.Random(self._random.getrandbits(64))

    def doors(self) -> list[NodeAddress]:
        """Where newcomers knock."""
        return [NodeAddress(self.bootstrap.address, None)] if self.bootstrap else []

    async def __aenter__(self) -> Self:
        self._tasks_before = asyncio.all_tasks()
        self._errors.start()
        if self._with_bootstrap:
            self.bootstrap = await self._stack.enter_async_context(self.dht_node(network=self.bootstrap_cable))
        return self

    @contextlib.asynccontextmanager
    async def dht_node(
        self,
        *,
        network: CuttableNetwork | None = None,
        client: bool = False,
        doors: list[NodeAddress] | None = None,
    ) -> AsyncIterator[DhtNode]:
        """One more node of the DHT, which nobody is behind. It joins through `doors`, or through the bootstrap node."""
        runtime = Runtime(RealClock(), self.fork_random(), network or CuttableNetwork(self.exchange))
        storage = RecordStorage(None, parameters=SIM, clock=runtime.clock)
        key = NodeKey.generate(runtime.random)
        try:
            async with DhtNode(runtime=runtime, parameters=SIM, node_key=key, storage=storage, client=client) as node:
                await node.listen(LOOPBACK)
                if doors := self.doors() if doors is None else doors:
                    await node.bootstrap(doors)
                yield node
        finally:
            storage.close()

    async def close_bootstrap(self) -> None:
        """For good, without a word."""
        await self._stack.aclose()
        self.bootstrap = None

    def resident(self, name: str, *, machine: str = "", password: str = PASSWORD) -> Person:
        """Somebody who is not online yet. `machine`: another folder than their first."""
        person = Person(self, name, self.folder / f"{name}{machine}", password=password)
        self.people.append(person)
        return person

    async def newcomer(self, name: str) -> Person:
        """Register and come online."""
        return await self.resident(name).come_online(register=True)

    async def newcomers(self, *names: str) -> list[Person]:
        """One after the other; then everybody knows everybody."""
        return [await self.newcomer(name) for name in names]

    async def gather_in(self, room: str, *people: Person) -> None:
        """All join, and every one has seen every other's link come up: what is said from now on goes straight."""
        for person in people:
            await person.say(f"/join {room}")
        for person in people:
            await until(
                lambda person=person: _linked(person) >= {other.identity for other in people if other is not person},
                f"{person.name} is not linked to everybody in {room}",
            )
            for other in people:
                await until(
                    lambda person=person, other=other: _has_member(person, room, other),
                    f"{person.name} does not see {other.name} in {room}",
                )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for person in self.people:
            person.cable.mend()  # streams that stall would outlive us
        failures = await asyncio.gather(*(person.crash() for person in self.people), return_exceptions=True)
        await self._stack.aclose()
        self._errors.stop()
        if kind is not None:
            return
        for failure in failures:
            if isinstance(failure, BaseException):
                raise failure
        assert not self._errors.texts, "errors were logged:\n" + "\n".join(self._errors.texts)
        left = asyncio.all_tasks() - self._tasks_before
        assert not left, f"tasks were left running: {left}"


def _linked(person: Person) -> set[bytes]:
    return {link.author.peer for link in person.node._pool.links()}


def _has_member(person: Person, room: str, other: Person) -> bool:
    joined = person.node._rooms.by_name(room)
    return joined is not None and (person is other or joined.room.is_member(other.identity))


class _ErrorsLogged(logging.Handler):
    """Collects what nobody else would notice: exceptions in callbacks and tasks, and `log.exception`."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("rpcudp"):
            return  # the stock library's own, which only an attacker of ours uses
        self.texts.append(self.format(record))

    def start(self) -> None:
        logging.getLogger().addHandler(self)

    def stop(self) -> None:
        logging.getLogger().removeHandler(self)
