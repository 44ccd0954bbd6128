"""What is asked of every DHT that is compared. One file beside this one for each of them; nothing else knows them."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

VALUE_BYTES = 200
"""Each value that is stored, where the system lets us choose; `Network.value_bytes` says what it came to."""
JOINING_AT_ONCE = 20
"""Nodes that join at the same moment: all at once would be a storm that no network has."""


class NotInstalled(Exception):
    """The system's package is not here; str() says how to get it."""


class Network(ABC):
    """Nodes on loopback, real sockets, port 0. Nodes and values go by number, so that all systems are asked the same of the
    same: who asks, for what and who dies is drawn by `measuring.py` from the seed."""

    nearest_count: int
    """How many nodes hold a value, and how many a whole lookup looks for."""
    value_bytes = VALUE_BYTES

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    @abstractmethod
    async def start(self, count: int) -> None:
        """Start so many nodes and have them join through the first, JOINING_AT_ONCE at a time."""

    @abstractmethod
    def node_ids(self) -> list[bytes]:
        """By the nodes' numbers, 20 bytes each."""

    @abstractmethod
    def contacts(self) -> int:
        """Entries in the tables of all living nodes: does it still grow?"""

    async def prepare(self, values: int) -> None:  # noqa: B027 - most have nothing to prepare
        """Make what is the author's work and not the network's, such as signatures."""

    @abstractmethod
    async def set(self, node: int, value: int) -> bool:
        """Store value `value` from a node. Whether the system says that it worked."""

    @abstractmethod
    async def get(self, node: int, value: int) -> bool:
        """Whether what the node reads is what was stored."""

    @abstractmethod
    async def lookup(self, node: int, target: bytes) -> list[bytes]:
        """A whole lookup: ids of the nodes found, the asker not among them."""

    @abstractmethod
    async def kill(self, nodes: Sequence[int]) -> None:
        """End them without goodbye: their sockets close, and nobody is told."""

    def datagrams_sent(self) -> int | None:
        """By all nodes since the start, questions and answers; None when the system does not count."""
        return None


def key_of(value: int) -> str:
    return f"key {value}"


def content_of(value: int) -> bytes:
    """VALUE_BYTES bytes that differ from value to value."""
    return random.Random(value).randbytes(VALUE_BYTES)
