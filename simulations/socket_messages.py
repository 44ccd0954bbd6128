"""What the coordinator of a play with real sockets and its worker processes say to each other: JSON, one message a line."""

import msgspec

from dhtchat.chat.events import MessageArrived, Ready, StatusChanged

from .findings import Findings

PIPE_LINE_BYTES_MAX = 512 * 1024 * 1024
"""Findings are one line: everything on every disk of a process."""

ShownEvent = Ready | MessageArrived | StatusChanged
"""The events that the checkers look at; there are many more of other kinds."""


class Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="order"):
    """Coordinator to worker. Each is answered by one `Done` with its number."""

    number: int


class StartBareNode(Order, frozen=True, kw_only=True):
    """A DHT node that nobody talks through."""

    name: str
    address: str
    bootstrap: list[str]


class StartPerson(Order, frozen=True, kw_only=True):
    """Start a process of a person; `Online` or `Ended` says what came of it."""

    name: str
    address: str
    boot: int
    rooms: list[str]
    bootstrap: list[str]


class Join(Order, frozen=True, kw_only=True):
    name: str
    room: str


class SayLine(Order, frozen=True, kw_only=True):
    name: str
    target: str
    text: str


class Leave(Order, frozen=True, kw_only=True):
    name: str


class Crash(Order, frozen=True, kw_only=True):
    name: str


class KillBareNode(Order, frozen=True, kw_only=True):
    name: str


class LookUp(Order, frozen=True, kw_only=True):
    """A whole lookup from the node of that name, a person's or a bare one."""

    name: str
    target: bytes


class Report(Order, frozen=True, kw_only=True):
    """Look into all nodes. `Done` brings `findings`."""


class Stop(Order, frozen=True, kw_only=True):
    """End everything. `Done` brings `last_words`, then the process ends."""


AnyOrder = StartBareNode | StartPerson | Join | SayLine | Leave | Crash | KillBareNode | LookUp | Report | Stop


class Looked(msgspec.Struct, frozen=True):
    """The outcome of a lookup. `nearest`: endpoint host and port, and id."""

    nearest: list[tuple[str, int, bytes]]
    silent: int
    shunned: int
    asked: int
    hops: int


class LastWords(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has to say when all its nodes are gone."""

    complaints: list[str]
    datagrams: int
    rss_mib: float


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer"):
    """Worker to coordinator."""


class Done(Answer, frozen=True, kw_only=True):
    number: int
    error: str | None = None
    """The order failed: a bug, with its traceback."""
    node_id: bytes = b""
    address: str = ""
    looked: Looked | None = None
    findings: Findings | None = None
    last_words: LastWords | None = None


class Online(Answer, frozen=True, kw_only=True):
    name: str
    boot: int
    node_id: bytes


class Ended(Answer, frozen=True, kw_only=True):
    """A person's process is over; `error` when it was not asked to."""

    name: str
    boot: int
    error: str | None


class Shown(Answer, frozen=True, kw_only=True):
    """Events that came to people's screens, in order. Times are of the machine's monotonic clock, which all share."""

    events: list[tuple[str, float, int, ShownEvent]]


AnyAnswer = Done | Online | Ended | Shown
