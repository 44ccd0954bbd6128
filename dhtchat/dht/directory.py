"""Finding one's way in a tree of sets (`dhtchat/records/tree.py`), as values: answers go in, whom to ask next comes out.

Nothing here may open a socket, read a clock or start a task. `Skeleton` is what a reader knows of the nodes that have
split, `LeafSearch` finds the leaf of an item by a search on the depth, `following` finds the next leaf in which there is
somebody. Why fan-out, leaf size and hints are what they are: docs/decisions/0011-prefix-trees.md.
"""

from collections import OrderedDict
from itertools import islice
from typing import Final, NamedTuple

from dhtchat.dht.sets import NodeReading, Span
from dhtchat.dht.storage import item_of
from dhtchat.limits import TREE_DEPTH_MAX, TREE_KNOWN_MAX, TREE_KNOWN_S
from dhtchat.records.kinds import SoftRecord

_NARROW: Final = 3
"""Digits that a search goes deeper at once when nothing tells it how deep: most leaves are not much deeper than others."""


class Inner(NamedTuple):
    """A node that has split: what is below it, and who is left over in it from before."""

    below: tuple[Span, ...]
    leftovers: tuple[tuple[str, SoftRecord], ...]
    """With their items."""
    read_at_s: float


class Skeleton:
    """The nodes of one tree that are known to have split, by prefix; for a short time, because people come and go."""

    def __init__(self) -> None:
        self._inner: OrderedDict[str, Inner] = OrderedDict()

    def learn(self, prefix: str, node: NodeReading, now_s: float) -> None:
        """The answer for one node."""
        self._inner.pop(prefix, None)
        if node.split:
            self._inner[prefix] = Inner(node.below, tuple((item_of(record), record) for record in node.entries), now_s)
            if len(self._inner) > TREE_KNOWN_MAX:
                self._inner.popitem(last=False)

    def forget_old(self, now_s: float) -> None:
        while self._inner:
            oldest = next(iter(self._inner))
            if now_s - self._inner[oldest].read_at_s < TREE_KNOWN_S:
                break
            del self._inner[oldest]

    def get(self, prefix: str) -> Inner | None:
        return self._inner.get(prefix)

    def deepest(self, item: str) -> int:
        """Depth of the deepest node above an item that is known to have split; -1 when none is."""
        return next((depth for depth in range(len(item), -1, -1) if item[:depth] in self._inner), -1)

    def leftovers(self, leaf: str | None, *, behind: str | None = None) -> list[SoftRecord]:
        """Entries that belong into this leaf and are still where they were before a split; with those, too, that belong
        between the leaf `behind` and this one (None: the end), where nobody else is."""
        found = []
        for inner in self._inner.values():
            for item, record in inner.leftovers:
                inside = leaf is not None and item.startswith(leaf)
                between = behind is not None and _is_behind(item, behind) and (leaf is None or item < leaf)
                if inside or between:
                    found.append(record)
        return found


class LeafSearch:
    """The leaf of an item: ask for the node `ask` names and report each answer, until it is None and `leaf` is set.

    A node that has split is above the leaf. One that holds somebody and has not is the leaf: replicas keep nothing where no
    node is. One that holds nobody may be the leaf or below it.
    """

    def __init__(self, item: str, skeleton: Skeleton) -> None:
        self._item = item
        self._skeleton = skeleton
        self._low = -1
        """The deepest node that has split."""
        self._high = TREE_DEPTH_MAX + 1
        """The highest that certainly has not."""
        self.leaf: str | None = None
        self.ask: str | None = None
        self._choose()

    def on_answer(self, node: NodeReading) -> None:
        """The skeleton has learnt it."""
        assert self.ask is not None
        depth = len(self.ask)
        if node.split:
            self._low = max(self._low, depth)
        else:
            self._high = min(self._high, depth)
            if node.entries:
                self.leaf, self.ask = self.ask, None
                return
        self._choose()

    def _choose(self) -> None:
        low, guess, certain = self._hint()
        if low + 1 >= self._high or certain:
            self.leaf, self.ask = self._item[: low + 1], None
            return
        if not low < guess < self._high:
            guess = min((low + self._high) // 2, low + _NARROW)
        self.ask = self._item[:guess]

    def _hint(self) -> tuple[int, int, bool]:
        """How deep the tree has split above the item, how deep its leaf may be, and whether that is just below: then
        nobody is in it."""
        known = self._skeleton.deepest(self._item)
        inner = self._skeleton.get(self._item[:known]) if known >= 0 else None
        if inner is None:
            return self._low, 0, False  # the root first: in a small network it is the leaf
        span = next((span for span in inner.below if span.first[known] == self._item[known : known + 1]), None)
        if span is None:
            return max(self._low, known), known + 1, self._low <= known
        # All there is below this child lies below what its first and its last leaf have in common.
        shared = _shared(span.first, span.last)
        common = len(_shared(shared, self._item))
        if common < len(shared):
            return max(self._low, common), common + 1, self._low <= common
        if span.first == span.last:
            return max(self._low, len(shared) - 1), len(shared), False
        low = max(self._low, len(shared))
        if self._low > known:
            return low, -1, False  # a node has split since of which nobody told us
        return low, (len(span.first) + len(span.last)) // 2, False


class Next(NamedTuple):
    """The first leaf behind another in which there is somebody; or what to ask for; or neither, at the end."""

    leaf: str | None = None
    ask: str | None = None


def following(leaf: str, skeleton: Skeleton, *, barren: frozenset[str] = frozenset(), asked: int = 0) -> Next:
    """What comes behind `leaf`, above which everything has split. `barren`: nodes known to have nothing there although
    they are not in the skeleton. `asked`: how often this question has been answered with `ask` so far."""

    def goes_on(last: str) -> bool:
        """Whether there is something behind, going by the last leaf: that may be named too short, or have split since."""
        inside = leaf.startswith(last) and leaf != last and skeleton.get(last) is None and last not in barren
        return inside or _is_behind(last, leaf)

    # In the node at depth `low` there is something behind the leaf, in that at `high` nothing.
    low, high = -1, len(leaf)
    for depth in range(len(leaf) - 1, -1, -1):
        inner = skeleton.get(leaf[:depth])
        if inner is not None and any(goes_on(span.last) for span in inner.below):
            low = depth
            break
        if inner is not None or leaf[:depth] in barren:
            high = depth
    inner = skeleton.get(leaf[:low]) if low >= 0 else None
    if inner is not None:
        beside = next((span for span in inner.below if span.first[low] == leaf[low]), None)
        if beside is not None and _is_behind(beside.first, leaf):
            return Next(leaf=beside.first)
        if beside is not None and goes_on(beside.last):
            shared = _shared(beside.first, beside.last)
            # Between here and there nothing branches off.
            if leaf.startswith(shared) and leaf[: len(shared)] not in barren:
                low = max(low, min(len(shared), high - 1))
        else:
            high = min(high, low + 1)
    if high - low > 1:
        # The node above usually has more; else the search halves what is left.
        return Next(ask=leaf[: high - 1 if asked == 0 else (low + high) // 2])
    inner = skeleton.get(leaf[:low]) if low >= 0 else None
    if inner is None:
        return Next(ask=leaf[:low]) if low >= 0 else Next()
    return Next(leaf=next((span.first for span in inner.below if _is_behind(span.first, leaf)), None))


def _shared(one: str, other: str) -> str:
    """The digits with which both begin."""
    length = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def _is_behind(other: str, leaf: str) -> bool:
    return other > leaf and not other.startswith(leaf)


def first_of(records: list[SoftRecord], count: int) -> list[SoftRecord]:
    """In the order of the tree, each entry once in its newest version."""
    newest: dict[bytes, SoftRecord] = {}
    for record in records:
        entry_id = record.body.entry_id(record.key)
        if entry_id not in newest or record.body.sequence > newest[entry_id].body.sequence:
            newest[entry_id] = record
    return list(islice(sorted(newest.values(), key=lambda r: (item_of(r), r.digest)), count))
