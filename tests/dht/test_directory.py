"""The way in a tree of sets, in a model without a network: found from anywhere, complete, sorted, in few questions."""

import random
from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht.contact import Contact
from dhtchat.dht.directory import LeafSearch, Skeleton, following
from dhtchat.dht.sets import NodeMerge, NodeReading, SetReading, Span
from dhtchat.dht.storage import HeldEntry
from dhtchat.ids import Endpoint, NodeId, RoomId
from dhtchat.limits import PAGE_LOOKUPS_MAX, TREE_DEPTH_MAX, TREE_NAME_DIGITS
from dhtchat.records.tree import DIGITS, item_by_name, name_digits, names_between
from tests.dht.support import key_of, membership

LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAME = st.text("-0123456789_" + LETTERS, min_size=3, max_size=24)


class Model:
    """A tree as honest writers leave it. `items`: all entries, sorted."""

    def __init__(self, items: list[str], leaf_max: int) -> None:
        self.items = sorted(items)
        self.split: set[str] = set()
        self.leaves: dict[str, list[str]] = {}
        self.asked = 0
        self._grow("", self.items, leaf_max)
        self.living = sorted(leaf for leaf, held in self.leaves.items() if held)

    def _grow(self, prefix: str, items: list[str], leaf_max: int) -> None:
        if len(items) <= leaf_max or len(prefix) == TREE_DEPTH_MAX:
            self.leaves[prefix] = items
            return
        self.split.add(prefix)
        for digit in DIGITS:
            self._grow(prefix + digit, [item for item in items if item[len(prefix)] == digit], leaf_max)

    def read(self, prefix: str) -> NodeReading:
        self.asked += 1
        if prefix in self.split:
            spans = []
            for digit in DIGITS:
                below = self._under(prefix + digit)
                if below:
                    cut = max(len(prefix) + 1, TREE_NAME_DIGITS)
                    spans.append(Span(below[0][:cut], below[-1][:cut]))
            return NodeReading(SetReading((), 8, 8), True, tuple(spans))
        held = tuple(self.leaves.get(prefix, ()))
        return NodeReading(SetReading(held, 8, 8), False)  # type: ignore[arg-type]

    def _under(self, prefix: str) -> list[str]:
        found = []
        for leaf in self.living[bisect_left(self.living, prefix) :]:
            if not leaf.startswith(prefix):
                break
            found.append(leaf)
        return found

    def jump(self, item: str, skeleton: Skeleton) -> str:
        search = LeafSearch(item, skeleton)
        while search.ask is not None:
            node = self.read(search.ask)
            skeleton.learn(search.ask, node, 0.0)
            search.on_answer(node)
        assert search.leaf is not None
        return search.leaf

    def next(self, leaf: str, skeleton: Skeleton, lookups_max: int = 1_000) -> str | None:
        asked = 0
        while (step := following(leaf, skeleton, asked=asked)).ask is not None and asked < lookups_max:
            skeleton.learn(step.ask, self.read(step.ask), 0.0)
            asked += 1
        leaf_or_above = step.leaf
        while leaf_or_above in self.split and lookups_max > PAGE_LOOKUPS_MAX:  # named too short
            node = self.read(leaf_or_above)
            skeleton.learn(leaf_or_above, node, 0.0)
            leaf_or_above = node.below[0].first
        return leaf_or_above


def some_names(source: random.Random, count: int) -> list[str]:
    """Of all sorts: numbered, made of words, by chance, and one name that many go by."""
    words = ["".join(source.choices(LETTERS, weights=range(26, 0, -1), k=source.randint(3, 7))) for _ in range(60)]
    sorts = [
        lambda: f"user{source.randrange(count):05}",
        lambda: source.choice(words) + source.choice(["", "_", "-"]) + source.choice(words),
        lambda: source.choice(words) + str(source.randrange(2_100)),
        lambda: "".join(source.choices(LETTERS, k=source.randint(4, 12))),
        lambda: "satoshi",
    ]
    return [source.choices(sorts, weights=[2, 4, 3, 1, 1])[0]()[:24] for _ in range(count)]


def items_of(names: list[str], source: random.Random) -> list[str]:
    return [item_by_name(name, source.randbytes(32), b"") for name in names]


@given(first=NAME, second=NAME)
def test_items_sort_as_names_do(first: str, second: str) -> None:
    """As far as the digits tell them apart."""
    assert len(name_digits(first)) == TREE_NAME_DIGITS
    if first <= second:
        assert name_digits(first) <= name_digits(second)
    if first[:18] != second[:18]:
        assert name_digits(first) != name_digits(second)


@given(name=NAME, cut=st.integers(0, 24))
def test_a_prefix_covers_the_names_that_begin_with_it_and_no_neighbours(name: str, cut: int) -> None:
    first, last = names_between(name[:cut])
    assert first <= item_by_name(name, b"k" * 32, b"") <= last
    if 0 < cut <= 16:
        assert not first <= item_by_name("~" + name, b"k" * 32, b"")[:-1] + "g" < first


@pytest.mark.parametrize("leaf_max", [1, 4, 128])
def test_every_leaf_is_found_from_nothing_and_listed_in_order(leaf_max: int, seed: int) -> None:
    source = random.Random(seed)
    model = Model(items_of(some_names(source, 400 if leaf_max < 128 else 3_000), source), leaf_max)
    for item in [
        *source.sample(model.items, 100),
        *("".join(source.choices(DIGITS, k=TREE_DEPTH_MAX)) for _ in range(50)),
    ]:
        leaf = model.jump(item, Skeleton())
        assert leaf in model.leaves, seed
        assert item.startswith(leaf)
    for start in ("0" * TREE_DEPTH_MAX, source.choice(model.items)):
        skeleton = Skeleton()
        found = []
        leaf: str | None = model.jump(start, skeleton)
        while leaf is not None:
            found += model.read(leaf).entries
            leaf = model.next(leaf, skeleton)
        begin = next((item for item in model.items if item >= start), None)
        assert begin in found
        assert found == model.items[len(model.items) - len(found) :], seed
    assert all(first < second for first, second in pairwise(model.living))


def test_jumps_and_pages_take_few_questions(seed: int) -> None:
    """The promise, at 20,000 entries: a jump at most 6 lookups, the next page at most 3, reading ahead included."""
    source = random.Random(seed)
    model = Model(items_of(some_names(source, 20_000), source), 128)
    jumps, pages = [], []
    for _ in range(60):
        skeleton = Skeleton()
        model.asked = 0
        leaf: str | None = model.jump(source.choice(model.items), skeleton)
        jumps.append(model.asked)
        for _ in range(20):
            model.asked = 0
            assert leaf is not None
            leaf = model.next(leaf, skeleton)
            if leaf is None:
                break
            model.read(leaf)
            model.next(leaf, skeleton, PAGE_LOOKUPS_MAX - model.asked)
            pages.append(model.asked)
    pages.sort()
    assert sum(jumps) / len(jumps) <= 4.5, seed
    assert max(jumps) <= 7, seed
    assert pages[int(0.99 * len(pages))] <= PAGE_LOOKUPS_MAX, seed


# --- what replicas say, put together ----------------------------------------------------------------------------------


def replica(number: int) -> Contact:
    return Contact(NodeId(number.to_bytes(20, "big")), Endpoint("127.0.0.1", number + 1))


HELD = [HeldEntry(membership(key_of(1), RoomId(bytes(32)), 1, 1_000), 50.0)]


def test_a_minority_neither_splits_a_leaf_nor_denies_a_split() -> None:
    for liars in range(4):
        split, leaf = NodeMerge(), NodeMerge()
        for number in range(8):
            lies = number < liars
            split.on_node(replica(number), HELD if lies else [], not lies, () if lies else ("3a", "3f"), now_s=0.0)
            leaf.on_node(replica(number), [] if lies else HELD, lies, ("77",) if lies else (), now_s=0.0)
        assert split.node(0.0).split
        assert split.node(0.0).below == (Span("3a", "3f"),)
        assert not leaf.node(0.0).split
        assert len(leaf.node(0.0).entries) == 1


def test_who_holds_nothing_has_no_vote() -> None:
    merge = NodeMerge()
    for number in range(8):
        merge.on_node(replica(number), [], number < 2, ("1", "f") if number < 2 else (), now_s=0.0)
    assert merge.node(0.0).below == (Span("1", "1"), Span("f", "f"))


def test_one_liar_sends_nobody_to_empty_places_nor_out_of_the_node() -> None:
    merge = NodeMerge("ab")
    for number in range(8):
        lie = ("ab5", "ab6", "cd", "ab") if number == 0 else ()
        merge.on_node(replica(number), [], True, ("ab01", "ab0f", *lie), now_s=0.0)
    assert merge.node(0.0).below == (Span("ab01", "ab0f"),)
