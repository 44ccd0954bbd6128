"""One conversation as this device knows it: order, duplicates, gaps, and what may be shown when. No I/O, no clock.

Invariants kept here:
- a statement is shown after the one before it in its author's chain and after every parent it names, or, when nobody
  could supply those for HELD_WAIT_S, without them;
- a statement is accepted once: the first with its (device, counter) wins, a second one with other bytes is a fork;
- `vector` names only what is contiguous, so that others know exactly what to send.
"""

import itertools
from collections.abc import Iterable
from enum import Enum

import msgspec

from dhtchat.ids import DeviceId, MessageId
from dhtchat.limits import ABSENT_PARENTS_MAX, HELD_MESSAGES_MAX, HELD_WAIT_S, PARENTS_MAX
from dhtchat.records.message import Statement


class Fate(Enum):
    """What became of a statement that was offered."""

    NEW = "new"
    KNOWN = "known"
    FORKED = "forked"
    """Another statement has this place in the author's chain: never acknowledged, never shown."""
    TOO_OLD = "too-old"
    """Before the point where our history of this device begins."""
    CROWDED_OUT = "crowded-out"
    """Too many wait already; it comes again with the next comparison."""


class Shown(msgspec.Struct, frozen=True):
    """A statement whose turn has come, at its depth in the graph."""

    statement: Statement
    depth: int


class Offered(msgspec.Struct, frozen=True):
    """The outcome of an offer: its fate, the depth known so far, and everything that may be shown now, in order."""

    fate: Fate
    depth: int = 0
    shown: tuple[Shown, ...] = ()


class Chain:
    """What is held of one device: everything from `floor` to `upto`, and `beyond` with gaps before them."""

    __slots__ = ("beyond", "floor", "ids", "shown_upto", "upto")

    def __init__(self, floor: int = 1, upto: int = 0) -> None:
        self.floor = floor
        self.upto = upto
        self.shown_upto = upto
        self.beyond: dict[int, MessageId] = {}
        self.ids: dict[int, MessageId] = {}
        """Counter -> id of what is held, to tell a duplicate from a fork."""

    def add(self, counter: int, statement_id: MessageId) -> None:
        self.ids[counter] = statement_id
        self.beyond[counter] = statement_id
        while self.upto + 1 in self.beyond:
            self.upto += 1
            del self.beyond[self.upto]


class _Held:
    __slots__ = ("since_s", "statement")

    def __init__(self, statement: Statement, since_s: float) -> None:
        self.statement = statement
        self.since_s = since_s


class Timeline:
    """The state of one conversation. `conversation`: its 32-byte id."""

    def __init__(self, conversation: bytes) -> None:
        self.conversation = conversation
        self._chains: dict[DeviceId, Chain] = {}
        self._depths: dict[MessageId, int] = {}
        """Of everything shown."""
        self._heads: dict[MessageId, int] = {}
        """Shown and not yet followed by anything shown -> depth."""
        self._held: dict[MessageId, _Held] = {}
        self._absent: set[MessageId] = set()
        """Parents that lie before everything we will ever get: nothing waits for them."""
        self.forks_seen = 0

    # --- loading what the disk has, in this order ---

    def restore_chain(self, device: DeviceId, floor: int) -> None:
        """Where the history of a device begins."""
        self._chains[device] = Chain(floor, floor - 1)

    def restore_place(
        self, device: DeviceId, counter: int, statement_id: MessageId, depth: int, *, shown: bool
    ) -> None:
        """One statement that is on disk, by increasing counter per device."""
        chain = self._chains.setdefault(device, Chain())
        chain.add(counter, statement_id)
        if shown:
            chain.shown_upto = max(chain.shown_upto, counter)
            self._depths[statement_id] = depth

    def restore_recent(self, statement: Statement) -> None:
        """The newest shown ones in causal order: their loose ends are the heads."""
        self._settle(statement, self._depths[statement.id])

    def restore_held(self, statement: Statement, now_s: float) -> None:
        """What was never shown waits again and comes out of the next `release`."""
        self._held[statement.id] = _Held(statement, now_s)

    # --- what others need to know ---

    def vector(self) -> dict[DeviceId, int]:
        """Per device the last counter held without a gap."""
        return {device: chain.upto for device, chain in self._chains.items() if chain.upto}

    def floor_of(self, device: DeviceId) -> int:
        chain = self._chains.get(device)
        return chain.floor if chain else 1

    def upto_of(self, device: DeviceId) -> int:
        chain = self._chains.get(device)
        return chain.upto if chain else 0

    def holds(self, statement_id: MessageId) -> bool:
        """Whether it is here, shown or held back."""
        return statement_id in self._depths or statement_id in self._held

    def lacks(self, theirs: dict[DeviceId, int]) -> bool:
        """Whether somebody with this vector has something that is missing here."""
        return any(counter > self.upto_of(device) for device, counter in theirs.items())

    @property
    def waiting(self) -> int:
        """Statements held back."""
        return len(self._held)

    def __len__(self) -> int:
        return len(self._depths)

    # --- speaking ---

    def next_place(self, device: DeviceId) -> tuple[int, bytes, list[bytes]]:
        """Counter, previous id and parents for this device's next statement."""
        chain = self._chains.setdefault(device, Chain())
        previous = chain.ids.get(chain.upto, MessageId(b""))
        newest = sorted(self._heads.items(), key=lambda head: (-head[1], head[0]))
        parents = [statement_id for statement_id, _ in newest if statement_id != previous]
        return chain.upto + 1, previous, list(parents[:PARENTS_MAX])

    # --- hearing ---

    def set_floor(self, device: DeviceId, floor: int, now_s: float) -> tuple[Shown, ...]:
        """Somebody says that what is before `floor` will not come. Believed only while we have nothing contiguous."""
        chain = self._chains.setdefault(device, Chain())
        if chain.upto or floor <= chain.floor or (chain.ids and floor > min(chain.ids)):
            return ()
        fresh = Chain(floor, floor - 1)
        for counter, statement_id in sorted(chain.ids.items()):
            fresh.add(counter, statement_id)
        self._chains[device] = fresh
        return self.release(now_s)

    def set_absent(self, parents: Iterable[bytes]) -> None:
        """Somebody who sent a page says that these parents will not come."""
        unknown = (MessageId(parent) for parent in parents if parent not in self._depths)
        self._absent.update(itertools.islice(unknown, max(0, ABSENT_PARENTS_MAX - len(self._absent))))

    def offer(self, statement: Statement, now_s: float) -> Offered:
        """A verified statement of this conversation, from whoever. `now_s` is monotonic."""
        chain = self._chains.setdefault(statement.author.device, Chain())
        counter = statement.body.counter
        known = chain.ids.get(counter)
        if known is not None or counter <= chain.upto:
            if known in (None, statement.id):
                return Offered(Fate.KNOWN if known or counter >= chain.floor else Fate.TOO_OLD)
            self.forks_seen += 1
            return Offered(Fate.FORKED)
        if len(self._held) >= HELD_MESSAGES_MAX and self._waits_for(statement):
            return Offered(Fate.CROWDED_OUT)
        chain.add(counter, statement.id)
        self._held[statement.id] = _Held(statement, now_s)
        depth = self._depth_of(statement)
        return Offered(Fate.NEW, depth, self.release(now_s))

    def release(self, now_s: float) -> tuple[Shown, ...]:
        """Everything whose turn has come, in causal order, ties by id; what waited too long goes first of its chain."""
        out: list[Shown] = []
        while ready := sorted(
            (self._depth_of(held.statement), statement_id)
            for statement_id, held in self._held.items()
            if not self._waits_for(held.statement) or self._waited_out(held, now_s)
        ):
            for depth, statement_id in ready:
                statement = self._held.pop(statement_id).statement
                self._settle(statement, depth)
                out.append(Shown(statement, depth))
        return tuple(out)

    def next_release_s(self) -> float | None:
        """When something held will have waited too long (monotonic), or None."""
        return min((held.since_s for held in self._held.values()), default=None)

    def _waits_for(self, statement: Statement) -> bool:
        chain = self._chains.get(statement.author.device)
        counter = statement.body.counter
        if chain is not None and counter > chain.floor and chain.shown_upto < counter - 1:
            return True
        return any(
            parent not in self._depths and parent not in self._absent
            for parent in map(MessageId, statement.body.parents)
        )

    def _waited_out(self, held: _Held, now_s: float) -> bool:
        if now_s - held.since_s < HELD_WAIT_S:
            return False
        # Of one chain only the first may go without what is missing: the others still follow it in order.
        device, counter = held.statement.author.device, held.statement.body.counter
        return not any(
            other.statement.author.device == device and other.statement.body.counter < counter
            for other in self._held.values()
        )

    def _settle(self, statement: Statement, depth: int) -> None:
        chain = self._chains[statement.author.device]
        chain.shown_upto = max(chain.shown_upto, statement.body.counter)
        self._depths[statement.id] = depth
        for parent in self._followed(statement):
            self._heads.pop(parent, None)
        self._heads[statement.id] = depth

    def _depth_of(self, statement: Statement) -> int:
        return 1 + max((self._depths.get(parent, 0) for parent in self._followed(statement)), default=0)

    @staticmethod
    def _followed(statement: Statement) -> Iterable[MessageId]:
        if statement.body.previous:
            yield MessageId(statement.body.previous)
        yield from map(MessageId, statement.body.parents)
