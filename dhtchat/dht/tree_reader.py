"""Reads directories and memberships over the network: leaf by leaf, a range, a sample. Whom to ask says `directory.py`."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from dhtchat.dht.directory import LeafSearch, Next, Skeleton, first_of, following
from dhtchat.dht.replicas import Replicas
from dhtchat.dht.sets import NodeReading
from dhtchat.limits import (
    JUMP_LOOKUPS_MAX,
    PAGE_LOOKUPS_MAX,
    SAMPLE_READS_MAX,
    TREE_DEPTH_MAX,
    TREES_KNOWN_MAX,
)
from dhtchat.records.kinds import SoftRecord
from dhtchat.records.tree import DIGITS, Tree
from dhtchat.runtime import Runtime

FIRST_ITEM = "0" * TREE_DEPTH_MAX
LAST_ITEM = "f" * TREE_DEPTH_MAX


class Page(NamedTuple):
    """One leaf: its prefix, who is in it, in order, and how many lookups it took."""

    leaf: str
    entries: tuple[SoftRecord, ...]
    lookups: int
    answered: bool = True


class TreeReading(NamedTuple):
    """Entries in order. `complete`: these are all there are in the range. `whole`: the tree is one leaf, and this is it.
    `estimate`: how many there are in the tree, as far as a sample can tell."""

    entries: tuple[SoftRecord, ...]
    complete: bool
    whole: bool
    answered: bool
    estimate: int


class TreeReader:
    """What is read is remembered for a moment, so that the next question begins further down."""

    def __init__(self, replicas: Replicas, runtime: Runtime) -> None:
        self._replicas = replicas
        self._runtime = runtime
        self._skeletons: OrderedDict[Tree, Skeleton] = OrderedDict()
        self.lookups = 0
        """Nodes of trees asked for since the start."""

    def forget(self) -> None:
        """Begin anew with the next question."""
        self._skeletons.clear()

    async def find(self, tree: Tree, item: str, *, whole: bool = True) -> Page:
        """The leaf of an item: a jump. `whole`: else less than all of it, for who wants to know where it is and no more."""
        skeleton = self._skeleton(tree)
        search = LeafSearch(item, skeleton)
        before = self.lookups
        node: NodeReading | None = None
        while search.ask is not None:
            asked = search.ask
            node = await self._read(tree, asked, skeleton, whole=whole)
            if not node.reading.answered:
                return Page(asked, (), self.lookups - before, answered=False)
            search.on_answer(node)
            node = None if node.split else node
        assert search.leaf is not None
        above = search.leaf[:-1]
        if search.leaf and skeleton.get(above) is None and self.lookups - before < JUMP_LOOKUPS_MAX:
            await self._read(tree, above, skeleton, whole=whole)  # who belongs here may be left over there
        held = node.entries if node is not None else ()
        return Page(search.leaf, self._sorted(held, skeleton.leftovers(search.leaf)), self.lookups - before)

    async def pages(self, tree: Tree, first: str = FIRST_ITEM, last: str = LAST_ITEM) -> AsyncIterator[Page]:
        """The leaf of `first`, even if nobody is in it, then every leaf with somebody in it, as far as that of `last`."""
        page = await self.find(tree, first)
        while True:
            yield page
            if not page.answered:
                return
            skeleton = self._skeleton(tree)
            before = self.lookups
            leaf: str | None = page.leaf
            while True:  # until a leaf has somebody in it: hints may be old
                assert leaf is not None
                leaf = await self._next(tree, leaf, skeleton, lookups_max=None)
                if leaf is None or leaf > last:
                    left = self._sorted([], skeleton.leftovers(leaf, behind=page.leaf))
                    if left:
                        yield Page(page.leaf, left, self.lookups - before)
                    return
                leaf, node = await self._descend(tree, leaf, skeleton)
                entries = self._sorted(node.entries, skeleton.leftovers(leaf, behind=page.leaf))
                if entries or not node.reading.answered:
                    break
            # What the next page needs is asked for now, as far as this one has cost little.
            await self._next(tree, leaf, skeleton, lookups_max=PAGE_LOOKUPS_MAX - (self.lookups - before))
            page = Page(leaf, entries, self.lookups - before, answered=node.reading.answered > 0)

    async def read_range(self, tree: Tree, first: str, last: str, count: int) -> TreeReading:
        """The first `count` entries from one item to another."""
        found: list[SoftRecord] = []
        answered = complete = True
        whole = False
        async with aclosing(self.pages(tree, first, last)) as pages:  # type: ignore[type-var]
            async for page in pages:
                answered = answered and page.answered
                whole = page.answered and not page.leaf
                found += [entry for entry in page.entries if first <= entry.body.item(entry.key) <= last]  # type: ignore[union-attr]
                if len(found) > count:
                    complete = False
                    break
        entries = tuple(first_of(found, count))
        return TreeReading(entries, complete and answered, whole, answered, len(entries))

    async def sample(self, tree: Tree, count: int) -> TreeReading:
        """Everybody, when the tree is one leaf; else those of leaves chosen by chance until they are `count`, and how many
        there are in all if the others are as full."""
        found: list[SoftRecord] = []
        weights: list[int] = []
        seen: set[str] = set()
        for _ in range(SAMPLE_READS_MAX):
            item = "".join(self._runtime.random.choice(DIGITS) for _ in range(TREE_DEPTH_MAX))
            page = await self.find(tree, item)
            if not page.answered:
                break
            if not page.leaf:
                return TreeReading(page.entries, True, True, True, len(page.entries))
            if page.leaf not in seen:
                found += page.entries
            seen.add(page.leaf)
            weights.append(len(page.entries) * len(DIGITS) ** len(page.leaf))
            if len(found) >= count:
                break
        entries = tuple(first_of(found, len(found)))
        estimate = max(len(entries), sum(weights) // len(weights)) if weights else 0
        return TreeReading(entries, False, False, bool(weights), estimate)

    async def _next(self, tree: Tree, leaf: str, skeleton: Skeleton, *, lookups_max: int | None) -> str | None:
        """The first leaf behind this one; None at the end, and when `lookups_max` do not tell."""
        barren: frozenset[str] = frozenset()
        asked = 0
        while True:
            step: Next = following(leaf, skeleton, barren=barren, asked=asked)
            if step.ask is None or (lookups_max is not None and asked >= lookups_max):
                return step.leaf
            node = await self._read(tree, step.ask, skeleton)
            if not node.split:
                barren |= {step.ask}
            asked += 1

    async def _descend(self, tree: Tree, leaf: str, skeleton: Skeleton) -> tuple[str, NodeReading]:
        """Read a leaf; where it has split since, the first below it. The node above first: it knows best where the first
        is, and who belongs into a leaf may be left over there."""
        above = leaf[:-1]
        if leaf and skeleton.get(above) is None:
            node = await self._read(tree, above, skeleton)
            if node.split and node.below:
                leaf = node.below[0].first
        while True:
            node = await self._read(tree, leaf, skeleton)
            if not node.split or not node.below:
                return leaf, node if not node.split else node._replace(reading=node.reading._replace(entries=()))
            leaf = node.below[0].first

    async def _read(self, tree: Tree, prefix: str, skeleton: Skeleton, *, whole: bool = True) -> NodeReading:
        self.lookups += 1
        node = await self._replicas.read_node(tree.key(prefix), tree.kind, prefix, whole=whole)
        skeleton.learn(prefix, node, self._runtime.clock.monotonic())
        return node

    def _sorted(self, held: Sequence[SoftRecord], left_over: Sequence[SoftRecord]) -> tuple[SoftRecord, ...]:
        everybody = [*held, *left_over]
        return tuple(first_of(everybody, len(everybody)))

    def _skeleton(self, tree: Tree) -> Skeleton:
        skeleton = self._skeletons.setdefault(tree, Skeleton())
        self._skeletons.move_to_end(tree)
        if len(self._skeletons) > TREES_KNOWN_MAX:
            self._skeletons.popitem(last=False)
        skeleton.forget_old(self._runtime.clock.monotonic())
        return skeleton
