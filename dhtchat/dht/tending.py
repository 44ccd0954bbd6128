"""How this node, as a replica, learns which nodes of a tree there are and which of them have split.

A set is served as a node of a tree only if the node above it has split: by induction from the root nobody can hang a node
where none belongs, and whoever finds one that is not empty has found the leaf. A replica to which a node is new asks the
replicas of the node above once, and those beside it whether it has split: so a mark outlives the replicas that made it.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import RecordKey
from dhtchat.limits import TREE_CHECK_AGAIN_S, TREE_CHECKS_OPEN_MAX, TREE_CHECKS_REMEMBERED_MAX
from dhtchat.records.kinds import TREE_KINDS, SoftRecord, place_of
from dhtchat.runtime import Clock


class Votes(NamedTuple):
    """Of the replicas of one node of a tree. Who holds nothing there has none."""

    split: int = 0
    leaf: int = 0
    answered: int = 0

    @property
    def has_split(self) -> bool:
        """The majority's word."""
        return self.split > self.leaf


class TreeKeeper:
    """`ask(key, kind, near)` counts the votes of the replicas of a node; `near`: only those we know without a search."""

    def __init__(
        self,
        storage: RecordStorage,
        *,
        ask: Callable[[RecordKey, str, bool], Awaitable[Votes]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._ask = ask
        self._spawn = spawn
        self._clock = clock
        self._open = 0
        self._misplaced: OrderedDict[RecordKey, float] = OrderedDict()
        """Where no node is, and until when that is believed."""
        self._asked: OrderedDict[RecordKey, float] = OrderedDict()
        """When we asked last whether a node has split."""

    def is_misplaced(self, key: RecordKey) -> bool:
        """Whether we found lately that the tree does not reach down to here."""
        return self._misplaced.get(key, 0.0) > self._clock.monotonic()

    def is_busy(self) -> bool:
        """Whether nothing more can be looked into now."""
        return self._open >= TREE_CHECKS_OPEN_MAX

    def look_into(self, key: RecordKey, record: SoftRecord, depth: int, lives: int, *, new: bool) -> None:
        """Called after a record was offered. `new`: before it nothing was known of this node."""
        claims_split = lives > depth and not self._storage.has_split(key)
        if not isinstance(record.body, TREE_KINDS) or not (new or claims_split) or not self._storage.knows(key):
            return
        now_s = self._clock.monotonic()
        if self.is_busy() or (not new and now_s - self._asked.get(key, float("-inf")) < TREE_CHECK_AGAIN_S):
            return
        _note(self._asked, key, now_s)
        self._open += 1
        if self._spawn(self._look(key, record, depth, claims_split=claims_split, new=new)) is None:
            self._open -= 1  # this node is about to end

    async def _look(self, key: RecordKey, record: SoftRecord, depth: int, *, claims_split: bool, new: bool) -> None:
        try:
            if new and depth:
                above = place_of(record, depth - 1)
                assert above is not None
                votes = await self._ask(above, record.body.KIND, False)
                if votes.answered and not votes.has_split:
                    if not votes.split:  # else it may be splitting this very moment
                        _note(self._misplaced, key, self._clock.monotonic() + TREE_CHECK_AGAIN_S)
                    self._storage.discard(key)
                    return
            votes = await self._ask(key, record.body.KIND, True)
            # Whoever says so lives further down; if all who knew are gone, nobody is left to contradict.
            if votes.has_split or (claims_split and not votes.leaf):
                self._storage.mark_split(key)
            self._storage.reveal(key)
        finally:
            self._open -= 1


def _note(memory: OrderedDict[RecordKey, float], key: RecordKey, value: float) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > TREE_CHECKS_REMEMBERED_MAX:
        memory.popitem(last=False)
