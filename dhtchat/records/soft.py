"""What the soft kinds share: they are entries of a set, one per device of their owner, and die unless refreshed."""

from typing import Annotated, Protocol

from msgspec import Meta

from dhtchat.ids import RecordKey
from dhtchat.limits import CLOCK_SKEW_S, SOFT_TTL_S_MAX

TtlSeconds = Annotated[int, Meta(ge=1, le=SOFT_TTL_S_MAX)]


class SoftBody(Protocol):
    """Body of an entry. `gone` makes it a tombstone: it hides older versions and is kept as long as they could live."""

    @property
    def name(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def issued_at_s(self) -> int: ...
    @property
    def ttl_s(self) -> int: ...
    @property
    def gone(self) -> bool: ...
    def place(self, key: bytes) -> RecordKey:
        """The set it belongs to, given the key that signed it; the root, when that is a tree."""

    def entry_id(self, key: bytes) -> bytes:
        """Which entry of the set it is: a new version replaces the one with the same id."""


def dies_at(issued_at_s: int, ttl_s: int, received_at_s: float, remaining_s: float | None = None) -> float:
    """When a soft record ends (Unix seconds): the earlier of receipt + ttl and issued + ttl + skew.

    `remaining_s` is what a hand-off carries: the life that was left where it came from; it never extends anything.
    """
    life_s = ttl_s if remaining_s is None else min(ttl_s, max(0.0, remaining_s))
    return min(received_at_s + life_s, forgotten_at(issued_at_s, ttl_s))


def forgotten_at(issued_at_s: int, ttl_s: int) -> float:
    """Until when its sequence number must be remembered, so that a left-behind copy cannot be replayed."""
    return issued_at_s + ttl_s + CLOCK_SKEW_S
