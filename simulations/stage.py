"""What a scenario that needs no faults sees of the world it plays in: virtual (`World`) or of real sockets (`SocketWorld`).

Such a scenario is a coroutine over a `Stage` and its `Player`s and cannot tell which of the two it runs in.
"""

import asyncio
import contextlib
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from dhtchat.chat.events import Event, MessageArrived, StatusChanged
from dhtchat.dht.crawler import Found
from dhtchat.parameters import NetworkParameters

from .recorder import Recorder


class Said(NamedTuple):
    """A line somebody typed. `entitled`: who was meant to get it, by name. `boot`: in which life of the process."""

    at_s: float
    text: str
    target: str
    entitled: frozenset[str]
    boot: int = 1


class Seen(NamedTuple):
    """An event as it came to a person's screen. `boot`: in which life of the process."""

    at_s: float
    boot: int
    event: Event


class Asker(Protocol):
    """A node of the DHT, for measuring."""

    @property
    def node_id(self) -> bytes: ...

    async def find_nearest(self, target: bytes) -> Found:
        """A whole lookup from this node."""


class Player(ABC):
    """Somebody at a device, at most one process at a time. All they typed and saw there is kept.

    `account`: whose they are, for one of several devices of a person; each of these has a `name` of its own here.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, *, account: str | None = None) -> None:
        self.name = name
        self.account = account or name
        self.said: list[Said] = []
        self.seen: list[Seen] = []
        self.errors: list[str] = []
        self.held_since: dict[tuple[int, str], float] = {}
        """By life and id: lines that were seen waiting for others that they follow, and since when. Of runs that are watched."""
        self.boot = 0
        self.rooms: list[str] = []
        self._loop = loop
        self._news = asyncio.Event()

    # --- life ---

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether there is a process."""

    @property
    @abstractmethod
    def present(self) -> bool:
        """Whether there is a process that has come so far as to have a node."""

    @property
    @abstractmethod
    def online(self) -> bool:
        """Whether that node takes part in the network."""

    @abstractmethod
    async def start(self, *, wait_s: float = 120.0) -> None:
        """Start the process and wait until it is online. The account is made on the first start."""

    @abstractmethod
    async def leave(self) -> None:
        """In good order: flush, goodbyes, end."""

    @abstractmethod
    async def crash(self) -> None:
        """SIGKILL: the process is gone, its operating system resets its streams."""

    @abstractmethod
    async def restart(self) -> None:
        """Start again on the same disk."""

    # --- use ---

    def is_in(self, room: str) -> bool:
        """Whether what they type there now is said. After a start it is refused until the room has been entered again."""
        return self.online and room in self.rooms

    @abstractmethod
    async def join(self, room: str) -> None: ...

    @abstractmethod
    async def say(self, target: str, text: str, entitled: Iterable[str]) -> None:
        """Type a line; `entitled` are the names of all who should see it, the speaker not among them."""

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
        deadline_s = self._loop.time() + within_s
        while not condition():
            left_s = deadline_s - self._loop.time()
            if left_s <= 0:
                return False
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.wait()
        return True


class Stage(Protocol):
    """A world, as far as scenarios without faults use it."""

    recorder: Recorder
    rng: random.Random
    parameters: NetworkParameters

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its clock is the world's."""

    @property
    def people(self) -> Mapping[str, Player]: ...

    async def start_bootstrap(self, count: int = 1) -> None:
        """Nodes `bootstrap-0` and so on."""

    async def start_people(self, count: int, *, rooms: Sequence[str] = (), spread_s: float = 10.0) -> Sequence[Player]:
        """So many people, coming online one after the other within `spread_s`."""

    async def kill_bare_node(self, name: str) -> None: ...

    def askers(self) -> Sequence[Asker]:
        """Everybody who takes part in the DHT now."""

    def spawn(self, body: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """A task that ends with the world at the latest."""

    async def until(self, condition: Callable[[], bool], *, within_s: float, step_s: float = 0.5) -> bool:
        """Let time pass until something holds; whether it did, in time."""


class StageScenario(Protocol):
    """A scenario that plays anywhere."""

    NAME: str

    def play(self, world: Stage, nodes: int) -> Awaitable[None]:
        """Do what the question is about, then let things settle."""
