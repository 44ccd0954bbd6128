"""One conversation as this device knows it: order, duplicates, gaps, and what may be shown when. No I/O, no clock.

Invariants kept here:
- a statement is shown after the one before it in its author's chain (but for those that it passes over) and after every
  parent it names, or, when it has waited HELD_WAIT_S, after those of them that are here; then at once, so nobody can hold
  back somebody else for longer;
- a statement is accepted once: the first with its (device, counter) wins, a second one with other bytes is a fork;
- `vector` names only what is contiguous, so that others know exactly what to send;
- `read` is no head: nobody names it as a parent, so nobody waits for it, who may never come through a mailbox.
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar

import msgspec

from dhtchat.ids import DeviceId, MessageId, PeerId
from dhtchat.limits import ABSENT_PARENTS_MAX, HELD_MESSAGES_MAX, HELD_WAIT_S, PARENTS_MAX
from dhtchat.records.message import Read, Statement

K = TypeVar("K")


class Fate(Enum):
    """What became of a statement that was offered."""

    NEW = "new"
    KNOWN = "known"
    RESTORED = "restored"
    """It was here and shown once, and its bytes were lost since."""
    FORKED = "forked"
    """Another statement has this place in the author's chain: never acknowledged, never shown."""


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
    """What is held of one device: everything from `floor` to `upto`, and `beyond` with gaps before them.

    What lies before the floor is not waited for; should it come all the same, it is taken.
    """

    __slots__ = ("beyond", "depth", "filled", "floor", "held", "ids", "last_shown", "lost", "reads", "told", "upto")

    def __init__(self, floor: int = 1, told: int | None = None) -> None:
        self.floor = floor
        self.told = floor if told is None else told
        """What others hear: from here on everything was here once, and is not taken again."""
        self.filled: list[tuple[int, int]] = []
        """A heap of (the counter it follows, its own): what was deleted before it came, still to be passed."""
        self.lost: set[int] = set()
        """Those whose bytes are damaged: others are asked for them as if they had never been here."""
        self.upto = floor - 1
        self.beyond: set[int] = set()
        self.ids: dict[int, MessageId] = {}
        """Counter -> id of what is held, to tell a duplicate from a fork."""
        self.held: list[int] = []
        """Counters of what is not shown yet, sorted."""
        self.reads: set[int] = set()
        """Counters of those that are `read`."""
        self.last_shown = 0
        self.depth = 0
        """Of what was shown last."""

    @property
    def begun(self) -> bool:
        """Whether the statement at `floor` is here."""
        return self.upto >= self.floor

    @property
    def shown_upto(self) -> int:
        return max(self.last_shown, self.floor - 1)

    def add(self, counter: int, statement_id: MessageId) -> None:
        self.ids[counter] = statement_id
        if counter >= self.floor:
            self.beyond.add(counter)
            self._advance()
        elif self.begun:
            while self.floor - 1 in self.ids:
                self.floor -= 1
            self.told = min(self.told, self.floor)

    def move(self, floor: int) -> None:
        """Begin elsewhere."""
        self.floor, self.told, self.upto = floor, floor, floor - 1
        self._advance()

    def pass_filled(self) -> None:
        """What was deleted before it came need not be shown for the next one's turn to come."""
        while self.filled and self.filled[0][0] <= self.shown_upto:
            self.last_shown = max(self.last_shown, heapq.heappop(self.filled)[1])

    @property
    def said_upto(self) -> int:
        """The last counter without a gap, as others hear it."""
        return min(self.upto, min(self.lost) - 1) if self.lost else self.upto

    @property
    def last(self) -> int:
        """The highest counter held, whatever lacks before it."""
        return max(self.beyond, default=self.upto)

    def _advance(self) -> None:
        while self.upto + 1 in self.beyond:
            self.upto += 1
            self.beyond.remove(self.upto)


class _Held:
    __slots__ = ("missing", "since_s", "statement")

    def __init__(self, statement: Statement, since_s: float, missing: set[MessageId]) -> None:
        self.statement = statement
        self.since_s = since_s
        self.missing = missing
        """Parents that are neither shown nor known to be absent."""


class _Head(NamedTuple):
    depth: int
    device: DeviceId
    counter: int


class Timeline:
    """The state of one conversation. `conversation`: its 32-byte id."""

    def __init__(self, conversation: bytes) -> None:
        self.conversation = conversation
        self._chains: dict[DeviceId, Chain] = {}
        self._depths: dict[MessageId, int] = {}
        """Of everything shown."""
        self._heads: dict[MessageId, _Head] = {}
        """Shown and not yet followed by anything shown."""
        self._overtaken: dict[MessageId, None] = {}
        """Followed by something shown, and not shown themselves: they will be no heads. The oldest first."""
        self._held: dict[MessageId, _Held] = {}
        """What waits, the oldest first."""
        self._held_by: Counter[PeerId] = Counter()
        self._blocked: dict[MessageId, dict[MessageId, None]] = {}
        """Missing parent -> those in `_held` that wait for it."""
        self._ready: list[tuple[int, MessageId]] = []
        """A heap of (depth, id): held, and waiting for nothing any more."""
        self._absent: dict[MessageId, None] = {}
        """Parents that lie before everything we will ever get: nothing waits for them. The oldest first."""
        self._lost: set[MessageId] = set()
        """Those that `Chain.lost` names."""
        self.forks_seen = 0

    # --- loading what the disk has, in this order ---

    def restore_chain(self, device: DeviceId, floor: int, told: int | None = None) -> None:
        """Where the history of a device begins, and where others are told it does."""
        self._chains[device] = Chain(floor, told)

    def restore_place(
        self, device: DeviceId, counter: int, statement_id: MessageId, depth: int, *, shown: bool, is_read: bool = False
    ) -> None:
        """One statement that is on disk, by increasing counter per device."""
        chain = self._chains.setdefault(device, Chain())
        chain.add(counter, statement_id)
        if is_read:
            chain.reads.add(counter)
        if shown:
            chain.last_shown = max(chain.last_shown, counter)
            chain.depth = max(chain.depth, depth)
            self._depths[statement_id] = depth

    def lose(self, device: DeviceId, counter: int) -> None:
        """The bytes of one that is shown are damaged: it is asked for again, and not shown again."""
        chain = self._chains[device]
        if counter in chain.ids and chain.ids[counter] not in self._held:
            chain.lost.add(counter)
            self._lost.add(chain.ids[counter])

    def restore_recent(self, statement: Statement) -> None:
        """The newest shown ones in causal order, but for `read`: their loose ends are the heads."""
        for followed in self._followed(statement):
            if self._heads.pop(followed, None) is None:
                self._overtake(followed)
        self._add_head(statement, self._depths[statement.id])

    def restore_held(self, statement: Statement, now_s: float) -> None:
        """What was never shown waits again and comes out of the next `release`."""
        self._hold(statement, now_s)

    # --- what others need to know ---

    def vector(self) -> dict[DeviceId, int]:
        """Per device the last counter held without a gap."""
        return {device: chain.said_upto for device, chain in self._chains.items() if chain.said_upto}

    def floor_of(self, device: DeviceId) -> int:
        chain = self._chains.get(device)
        return chain.floor if chain else 1

    def told_floor_of(self, device: DeviceId) -> int:
        """From where on everything is here, or was until it was too old to be kept."""
        chain = self._chains.get(device)
        return chain.told if chain else 1

    def upto_of(self, device: DeviceId) -> int:
        chain = self._chains.get(device)
        return chain.said_upto if chain else 0

    def holds(self, statement_id: MessageId) -> bool:
        """Whether it is here, shown or held back."""
        return statement_id not in self._lost and (statement_id in self._depths or statement_id in self._held)

    def has_place(self, device: DeviceId, counter: int) -> bool:
        """Whether the place in a chain is taken, by whatever."""
        chain = self._chains.get(device)
        return chain is not None and (counter in chain.ids or chain.told <= counter < chain.floor)

    def lacks(self, theirs: dict[DeviceId, int]) -> bool:
        """Whether somebody with this vector has something that is missing here."""
        return any(counter > self.upto_of(device) for device, counter in theirs.items())

    @property
    def waiting(self) -> int:
        """Statements held back."""
        return len(self._held)

    def held_since(self) -> dict[MessageId, float]:
        """What is held back, and since when (monotonic)."""
        return {statement_id: held.since_s for statement_id, held in self._held.items()}

    def awaited(self) -> frozenset[MessageId]:
        """Parents that something is held back for: they may still come, so nobody may be told that they will not."""
        return frozenset(self._blocked)

    def __len__(self) -> int:
        return len(self._depths)

    # --- speaking ---

    def next_place(self, device: DeviceId) -> tuple[int, bytes, list[bytes]]:
        """Counter, previous id and parents for this device's next statement."""
        chain = self._chains.get(device, Chain())
        counter = chain.last + 1  # whatever lacks before it: a counter is never used twice
        previous = chain.ids.get(counter - 1, MessageId(b""))
        newest = sorted(self._heads.items(), key=lambda item: (-item[1].depth, item[0]))
        parents: list[bytes] = [
            statement_id
            for statement_id, head in newest
            # What lies behind a gap cannot be asked for: naming it would make everybody wait for it.
            if statement_id != previous and head.counter <= self.upto_of(head.device)
        ]
        return counter, previous, parents[:PARENTS_MAX]

    def next_passes_over(self, device: DeviceId, taken_back: Container[int] = ()) -> int:
        """How many statements directly before that place nobody need wait for; `taken_back`: counters of those that the
        next one deletes."""
        chain = self._chains.get(device, Chain())
        counter = chain.last
        while counter in chain.reads or counter in taken_back:
            counter -= 1
        return chain.last - counter

    # --- hearing ---

    def set_floor(self, device: DeviceId, floor: int, now_s: float) -> tuple[Shown, ...]:
        """Somebody says that what is before `floor` will not come from there.

        Believed only beside that very statement, and either of a device of which we have no beginning yet (an older one
        that somebody dug out is none), or behind a gap that nobody could fill for HELD_WAIT_S: a lie could otherwise make
        us pass over lines that are still to be said.
        """
        return self.set_floors({device: floor}, now_s)

    def set_floors(self, floors: Mapping[DeviceId, int], now_s: float) -> tuple[Shown, ...]:
        """The same for several devices at once, so that what they said at the same time comes out in one order."""
        for device, floor in floors.items():
            chain = self._chains.get(device)
            if chain is None or floor not in chain.ids:
                continue
            if passed := {counter for counter in chain.lost if counter < floor <= chain.upto}:
                chain.lost -= passed  # nobody there has them either: to ask again and again helps nobody
                self._lost -= {chain.ids[counter] for counter in passed}
            if chain.begun and (floor <= chain.upto or chain.last_shown < floor):
                continue
            chain.move(floor)
            self._try_first(chain)
        return self.release(now_s)

    def set_absent(self, parents: Iterable[bytes]) -> None:
        """Somebody who sent a page says that these parents will not come. What waited for them is ready to be released."""
        for parent in map(MessageId, parents):
            if self.holds(parent):
                continue
            self._absent[parent] = None
            if len(self._absent) > ABSENT_PARENTS_MAX:
                _drop_oldest(self._absent)
            self._unblock(parent)

    def offer(self, statement: Statement, now_s: float) -> Offered:
        """A verified statement of this conversation, from whoever. `now_s` is monotonic."""
        device, counter = statement.author.device, statement.body.counter
        chain = self._chains.setdefault(device, Chain())
        known = chain.ids.get(counter)
        if known == statement.id and counter in chain.lost:
            chain.lost.remove(counter)
            self._lost.remove(statement.id)
            if statement.id in self._depths:
                return Offered(Fate.RESTORED)
            self._hold(statement, now_s)
            shown = self.release(now_s)
            return Offered(Fate.NEW, self._depths.get(statement.id) or self._depth_of(statement), shown)
        if known == statement.id or (known is None and chain.told <= counter < chain.floor):
            return Offered(Fate.KNOWN)
        if known is not None:
            self.forks_seen += 1
            self.set_absent([statement.id])
            return Offered(Fate.FORKED)
        chain.add(counter, statement.id)
        if isinstance(statement.body.content, Read):
            chain.reads.add(counter)
        self._hold(statement, now_s)
        shown = self.release(now_s)
        return Offered(Fate.NEW, self._depths.get(statement.id) or self._depth_of(statement), shown)

    def fill(
        self, device: DeviceId, counter: int, statement_id: MessageId, now_s: float, *, passes_over: int = 0
    ) -> tuple[Shown, ...]:
        """A statement that is not here was deleted by its author: its place is taken, nothing waits for it."""
        if self.has_place(device, counter):
            return ()
        chain = self._chains.setdefault(device, Chain())
        chain.add(counter, statement_id)
        heapq.heappush(chain.filled, (counter - 1 - passes_over, counter))
        self._depths[statement_id] = 0
        self._absent.pop(statement_id, None)
        chain.pass_filled()
        self._unblock(statement_id)
        self._try_first(chain)
        return self.release(now_s)

    def forget(self, device: DeviceId, floor: int) -> None:
        """What lies before `floor` was too old to be kept. The last place stays, so that the chain can go on."""
        chain = self._chains.get(device)
        if chain is None:
            return
        floor = min(floor, chain.upto)
        if floor <= chain.floor:
            return
        for counter in [counter for counter in chain.ids if counter < floor]:
            self._depths.pop(chain.ids.pop(counter), None)
        chain.reads = {counter for counter in chain.reads if counter >= floor}
        chain.floor = floor

    def release(self, now_s: float) -> tuple[Shown, ...]:
        """Everything whose turn has come, in causal order, ties by id, and what has waited too long.

        When more than HELD_MESSAGES_MAX wait, those go early of whom most wait: held back is not refused, or somebody who
        catches up would ask for the same page again and again.
        """
        out: list[Shown] = []
        self._drain(out)
        while self._held:
            oldest = next(iter(self._held.values()))
            if now_s >= oldest.since_s + HELD_WAIT_S:
                self._force(oldest, out)
            elif len(self._held) > HELD_MESSAGES_MAX:
                heaviest = max(self._held_by, key=self._held_by.__getitem__)
                self._force(next(h for h in self._held.values() if h.statement.author.peer == heaviest), out)
            else:
                break
        return tuple(out)

    def next_release_s(self) -> float | None:
        """When something held will have waited too long (monotonic), or None."""
        return next((held.since_s + HELD_WAIT_S for held in self._held.values()), None)

    # --- inside ---

    def _hold(self, statement: Statement, now_s: float) -> None:
        parents = map(MessageId, statement.body.parents)
        missing = {parent for parent in parents if parent not in self._depths and parent not in self._absent}
        held = self._held[statement.id] = _Held(statement, now_s, missing)
        self._held_by[statement.author.peer] += 1
        insort(self._chains[statement.author.device].held, statement.body.counter)
        for parent in missing:
            self._blocked.setdefault(parent, {})[statement.id] = None
        self._try(held)

    def _try(self, held: _Held) -> None:
        """Note it as ready if it waits for nothing."""
        body, chain = held.statement.body, self._chains[held.statement.author.device]
        follows = body.counter - 1 - body.passes_over
        if not held.missing and (body.counter <= chain.floor or chain.shown_upto >= follows):
            heapq.heappush(self._ready, (self._depth_of(held.statement), held.statement.id))

    def _try_first(self, chain: Chain) -> None:
        if chain.held:
            self._try(self._held[chain.ids[chain.held[0]]])

    def _unblock(self, parent: MessageId) -> None:
        for statement_id in self._blocked.pop(parent, ()):
            held = self._held[statement_id]
            held.missing.discard(parent)
            self._try(held)

    def _drain(self, out: list[Shown]) -> None:
        """Show what is ready and what becomes ready by it."""
        while self._ready:
            depth, statement_id = heapq.heappop(self._ready)
            held = self._held.get(statement_id)
            if held is None or self._held_below(held.statement) is not None:  # its turn comes after that one
                continue
            if depth < (deeper := self._depth_of(held.statement)):
                heapq.heappush(self._ready, (deeper, statement_id))
            else:
                self._show(held, out)

    def _force(self, held: _Held, out: list[Shown]) -> None:
        """Show it without what is missing, but first what it follows and is here, each in the same way.

        Chains go by counter, not by hash, so a liar can make a circle: it signs its fifth statement first and its fourth
        as a reply to a reply to the fifth. Then the circle is cut at a parent, and never inside a chain.
        """
        path = [held.statement.id]
        seen = set(path)
        while path:
            top = self._held.get(path[-1])
            if top is None:  # it became ready on the way
                path.pop()
                continue
            lower = self._held_below(top.statement)
            before = next((b for b in (lower, *top.missing) if b in self._held and b not in seen), None)
            if before is not None:
                seen.add(before)
                path.append(before)
                continue
            path.pop()
            if lower is None:
                self._show(top, out)
                self._drain(out)

    def _held_below(self, statement: Statement) -> MessageId | None:
        """The held statement just before this one in its chain."""
        chain = self._chains[statement.author.device]
        index = bisect_left(chain.held, statement.body.counter)
        return chain.ids[chain.held[index - 1]] if index else None

    def _show(self, held: _Held, out: list[Shown]) -> None:
        statement, counter = held.statement, held.statement.body.counter
        chain, depth = self._chains[statement.author.device], self._depth_of(held.statement)
        del self._held[statement.id]
        del chain.held[bisect_left(chain.held, counter)]
        self._held_by[statement.author.peer] -= 1
        if not self._held_by[statement.author.peer]:
            del self._held_by[statement.author.peer]
        for parent in held.missing:
            waiting = self._blocked[parent]
            del waiting[statement.id]
            if not waiting:
                del self._blocked[parent]
        chain.last_shown = max(chain.last_shown, counter)
        chain.pass_filled()
        chain.depth = depth
        self._depths[statement.id] = depth
        self._absent.pop(statement.id, None)
        if isinstance(statement.body.content, Read):
            self._overtaken.pop(statement.id, None)
        else:
            for followed in self._followed(statement):
                self._heads.pop(followed, None)
                if followed not in self._depths:
                    self._overtake(followed)
            self._add_head(statement, depth)
        out.append(Shown(statement, depth))
        self._unblock(statement.id)
        self._try_first(chain)

    def _add_head(self, statement: Statement, depth: int) -> None:
        if statement.id in self._overtaken:
            del self._overtaken[statement.id]
        else:
            self._heads[statement.id] = _Head(depth, statement.author.device, statement.body.counter)

    def _overtake(self, statement_id: MessageId) -> None:
        self._overtaken[statement_id] = None
        if len(self._overtaken) > ABSENT_PARENTS_MAX:
            _drop_oldest(self._overtaken)

    def _depth_of(self, statement: Statement) -> int:
        """One more than everything it follows; within a chain it grows whatever `previous` says."""
        known = (self._depths.get(followed, 0) for followed in self._followed(statement))
        return 1 + max((self._chains[statement.author.device].depth, *known))

    @staticmethod
    def _followed(statement: Statement) -> Iterator[MessageId]:
        if statement.body.previous:
            yield MessageId(statement.body.previous)
        yield from map(MessageId, statement.body.parents)


def _drop_oldest(ordered: dict[K, None]) -> K:
    """Take the first key out."""
    oldest = next(iter(ordered))
    del ordered[oldest]
    return oldest
