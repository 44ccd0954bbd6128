"""The search for the nearest nodes: whatever order outcomes come in, it ends, and with the right nodes."""

import random

from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht.contact import Contact
from dhtchat.dht.lookup import Lookup
from dhtchat.ids import Endpoint, NodeId, distance
from dhtchat.limits import (
    LOOKUP_ASKS_MAX,
    LOOKUP_MISLED_MAX,
    LOOKUP_PATH_ASKS_MAX,
    NETWORK_NODES_PER_REPLICA_SET,
    NODE_ID_BYTES,
)

OWN = bytes(NODE_ID_BYTES)


TARGET, AFAR = bytes(NODE_ID_BYTES), b"\xff" * NODE_ID_BYTES


def contact(number: int, port: int = 1, host: str = "127.0.0.1") -> Contact:
    return Contact(NodeId(number.to_bytes(NODE_ID_BYTES, "big")), Endpoint(host, port))


class World:
    """Nodes that all know each other, some of them dead, who answer in a random order."""

    def __init__(self, seed: int, nodes: int, dead_share: float, *, k: int, alpha: int) -> None:
        self.random = random.Random(seed)
        self.nodes = [contact(self.random.getrandbits(160)) for _ in range(nodes)]
        self.dead = {node for node in self.nodes if self.random.random() < dead_share}
        self.target = self.random.randbytes(NODE_ID_BYTES)
        self.k, self.alpha = k, alpha
        self.lookup = Lookup(self.target, own_id=OWN, k=k, alpha=alpha)
        self.asked: list[Contact] = []

    def nearest(self, nodes: list[Contact]) -> list[Contact]:
        return sorted(nodes, key=lambda node: distance(node.node_id, self.target))[: self.k]

    def run(self, known: list[Contact]) -> None:
        waiting = self.lookup.start(known)
        while waiting:
            assert len(waiting) <= self.alpha
            self.asked += waiting[-1:]
            done = waiting.pop(self.random.randrange(len(waiting)))
            if done in self.dead:
                waiting += self.lookup.on_failure(done)
            else:
                named = self.nearest(self.nodes)
                waiting += self.lookup.on_reply(done, self.random.sample(named, len(named)))


@given(
    seed=st.integers(0, 2**32),
    nodes=st.integers(1, 60),
    dead_share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    k=st.integers(1, 20),
    alpha=st.integers(1, 5),
)
def test_any_order_of_outcomes_ends_with_the_nearest_that_answered(
    seed: int, nodes: int, dead_share: float, k: int, alpha: int
) -> None:
    world = World(seed, nodes, dead_share, k=k, alpha=alpha)
    world.run(world.nearest(world.nodes))
    assert world.lookup.finished
    within_reach = world.nearest(world.nodes)
    assert world.lookup.nearest() == [node for node in within_reach if node not in world.dead]
    assert world.lookup.silent() == len([node for node in within_reach if node in world.dead])


@given(seed=st.integers(0, 2**32))
def test_the_dead_make_room_for_those_behind_them(seed: int) -> None:
    """A node that knows more than the k nearest finds k live ones although the nearest are dead."""
    world = World(seed, 40, 0.0, k=8, alpha=3)
    ranked = sorted(world.nodes, key=lambda node: distance(node.node_id, world.target))
    world.dead = set(ranked[:5])
    world.run(ranked[:20])
    assert world.lookup.nearest() == ranked[5:13]
    assert world.lookup.silent() == 5


def test_a_silent_contact_costs_its_own_slot_only() -> None:
    lookup = Lookup(bytes(NODE_ID_BYTES), own_id=b"\xff" * NODE_ID_BYTES, k=8, alpha=2)
    silent, *others = [contact(number) for number in range(1, 6)]
    asked = lookup.start([silent, *others])
    assert asked == [silent, others[0]]
    for other in others:
        assert silent not in lookup.nearest()
        asked = lookup.on_reply(other, [])
    assert asked == []
    assert not lookup.finished
    assert lookup.nearest() == others
    lookup.on_failure(silent)
    assert lookup.finished


def test_liars_who_name_ever_nearer_contacts_do_not_keep_it_going() -> None:
    """Each answer names twenty contacts nobody has heard of, all nearer than any before."""
    lookup = Lookup(bytes(NODE_ID_BYTES), own_id=b"\xff" * NODE_ID_BYTES, k=20, alpha=3)
    numbers = iter(range(2**100, 0, -1))
    waiting = lookup.start([contact(next(numbers))])
    asked = len(waiting)
    while waiting:
        following = lookup.on_reply(waiting.pop(), [contact(next(numbers)) for _ in range(1_000)])
        asked += len(following)
        waiting += following
    assert asked == LOOKUP_ASKS_MAX


def test_our_own_id_is_never_asked_and_one_node_at_two_addresses_at_most() -> None:
    lookup = Lookup(bytes(NODE_ID_BYTES), own_id=contact(1).node_id, k=20, alpha=20)
    moved = [contact(2, port) for port in range(1, 10)]
    assert lookup.start([contact(1), *moved]) == moved[:2]
    lookup.on_failure(moved[0])
    lookup.on_reply(moved[1], [])
    assert lookup.nearest() == [moved[1]]
    assert lookup.silent() == 0


def test_a_second_outcome_for_the_same_contact_changes_nothing() -> None:
    lookup = Lookup(bytes(NODE_ID_BYTES), own_id=OWN, k=4, alpha=1)
    lookup.start([contact(1)])
    lookup.on_failure(contact(1))
    assert lookup.on_reply(contact(1), [contact(2)]) == []
    assert lookup.on_reply(contact(9), [contact(2)]) == []
    assert lookup.nearest() == []


def test_those_silent_before_are_counted_but_not_asked() -> None:
    lookup = Lookup(bytes(NODE_ID_BYTES), own_id=b"\xff" * NODE_ID_BYTES, k=2, alpha=3)
    lookup.start([contact(3)])
    lookup.shun([contact(1), contact(9)])
    assert lookup.on_reply(contact(3), [contact(1), contact(4)]) == [contact(4)]
    lookup.on_reply(contact(4), [])
    assert lookup.nearest() == [contact(3), contact(4)]
    assert lookup.shunned() == 1, "the one nearer than the k-th, not the one beyond"


# --- the slow ---------------------------------------------------------------------------------------------------------


def test_the_slot_of_a_slow_contact_is_lent_and_its_answer_still_counts() -> None:
    lookup = Lookup(TARGET, own_id=AFAR, k=8, alpha=1)
    slow, other, late = contact(1), contact(2), contact(3)
    assert lookup.start([slow, other]) == [slow]
    assert lookup.on_slow(slow) == [other]
    assert lookup.on_slow(slow) == [], "once"
    lookup.on_reply(other, [])
    assert lookup.finished
    assert lookup.awaited() == [slow], "the one who asks may wait for it, or not"
    assert lookup.silent() == 1
    assert lookup.on_reply(slow, [late]) == [late]
    lookup.on_reply(late, [])
    assert lookup.nearest() == [slow, other, late]
    assert lookup.awaited() == []
    assert lookup.silent() == 0


def test_nobody_waits_for_the_slow_who_would_not_be_among_the_nearest() -> None:
    lookup = Lookup(TARGET, own_id=AFAR, k=2, alpha=4)
    lookup.start([contact(1), contact(9)])
    lookup.on_slow(contact(9))
    lookup.on_reply(contact(1), [contact(2)])
    lookup.on_reply(contact(2), [])
    assert lookup.finished
    assert lookup.awaited() == []


def test_who_names_the_silent_is_not_followed_for_long() -> None:
    """A liar's phantoms are nearer than all others; they cost a few slots, and what others name too is asked."""
    lookup = Lookup(TARGET, own_id=AFAR, k=20, alpha=3)
    liar, honest = contact(2**100), contact(2**99)
    phantoms = [contact(number) for number in range(1, 11)]
    lookup.start([liar, honest])
    asked = lookup.on_reply(liar, phantoms)
    for each in asked:
        asked += lookup.on_slow(each)
    assert LOOKUP_MISLED_MAX <= len(asked) < LOOKUP_MISLED_MAX + 3, "those beside it were under way"
    assert lookup.awaited() == asked
    assert all(map(lookup.is_dubious, asked)), "and not worth much time"
    assert lookup.on_reply(honest, phantoms[8:9]) == phantoms[8:9], "somebody else vouches for it"
    lookup.on_reply(phantoms[8], [])
    assert lookup.finished
    assert lookup.nearest() == [phantoms[8], honest, liar]


# --- networks ---------------------------------------------------------------------------------------------------------


def test_a_crowd_of_one_network_does_not_fill_the_search() -> None:
    """Forty nearer ones in one /24: two of them count, whoever lies behind them is found."""
    lookup = Lookup(TARGET, own_id=AFAR, k=8, alpha=3)
    crowd = [contact(number, number, "192.0.2.1") for number in range(1, 41)]
    others = [contact(1_000 + number, 1, f"198.51.{number}.1") for number in range(6)]
    asked = waiting = lookup.start([*crowd[:6], *others[:1]])
    while waiting:
        each, waiting = waiting[0], waiting[1:]
        more = lookup.on_reply(each, crowd[:20] if each in crowd else others)
        asked, waiting = asked + more, waiting + more
    assert lookup.nearest() == [*crowd[:NETWORK_NODES_PER_REPLICA_SET], *others]
    assert len(asked) == len(lookup.nearest()), "nobody else was asked"


# --- disjoint paths ---------------------------------------------------------------------------------------------------


class Liars:
    """Nodes some of which name only each other; paths are told apart by whom they began with."""

    def __init__(self, seed: int, nodes: int, liars_share: float, *, k: int, alpha: int, paths: int) -> None:
        self.random = random.Random(seed)
        self.nodes = [contact(self.random.getrandbits(160)) for _ in range(nodes)]
        self.liars = {node for node in self.nodes if self.random.random() < liars_share}
        self.target = self.random.randbytes(NODE_ID_BYTES)
        self.k, self.alpha, self.paths = k, alpha, paths
        self.lookup = Lookup(self.target, own_id=OWN, k=k, alpha=alpha, paths=paths)
        self.asked: list[Contact] = []

    def ranked(self, nodes: list[Contact]) -> list[Contact]:
        return sorted(nodes, key=lambda node: distance(node.node_id, self.target))

    def run(self, known: list[Contact]) -> None:
        waiting = self.lookup.start(known)
        self.asked += waiting
        while waiting:
            assert len(waiting) <= self.alpha * self.paths
            done = waiting.pop(self.random.randrange(len(waiting)))
            named = [node for node in self.nodes if node in self.liars] if done in self.liars else self.nodes
            following = self.lookup.on_reply(done, self.ranked(named)[: self.k])
            waiting += following
            self.asked += following


@given(
    seed=st.integers(0, 2**32),
    nodes=st.integers(1, 80),
    liars_share=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    k=st.integers(1, 20),
    alpha=st.integers(1, 4),
    paths=st.integers(1, 8),
)
def test_paths_end_ask_nobody_twice_and_are_bounded(
    seed: int, nodes: int, liars_share: float, k: int, alpha: int, paths: int
) -> None:
    world = Liars(seed, nodes, liars_share, k=k, alpha=alpha, paths=paths)
    world.run(world.random.sample(world.nodes, len(world.nodes) // 2 + 1))
    assert world.lookup.finished
    assert len(set(world.asked)) == len(world.asked), "no two paths ask the same"
    assert len(world.asked) <= max(LOOKUP_ASKS_MAX, paths * LOOKUP_PATH_ASKS_MAX)
    if liars_share == 0.0 and len(world.nodes) <= k:
        assert world.lookup.nearest() == world.ranked(world.nodes)
    assert set(world.lookup.nearest()) <= set(world.asked)


@given(seed=st.integers(0, 2**32), paths=st.integers(2, 8))
def test_a_path_among_liars_leads_no_other_astray(seed: int, paths: int) -> None:
    """All begin with a liar but one. The honest one is not told of the liars, and finds the honest."""
    world = Liars(seed, 200, 0.5, k=10, alpha=2, paths=paths)
    honest = [node for node in world.ranked(world.nodes) if node not in world.liars]
    world.run([*world.ranked(list(world.liars))[: paths - 1], honest[-1]])
    truth = world.ranked(world.nodes)[: world.k]
    assert world.lookup.nearest() == truth
    if 0 < len(world.liars & set(truth)) <= world.k // 2:
        assert world.lookup.agreement() <= 1 / paths, "the others have not heard of most of them"


def test_a_path_without_end_leaves_the_others_theirs() -> None:
    """One meets liars who name ever nearer nodes: it has its share of questions, not that of the rest."""
    lookup = Lookup(TARGET, own_id=AFAR, k=20, alpha=3, paths=2)
    numbers = iter(range(2**100, 0, -1))
    liar, honest = contact(next(numbers)), contact(2**110)
    waiting = lookup.start([liar, honest])
    waiting.remove(honest)
    asked = 1
    while waiting:
        following = lookup.on_reply(waiting.pop(), [contact(next(numbers)) for _ in range(20)])
        asked += len(following)
        waiting += following
    assert asked == LOOKUP_PATH_ASKS_MAX
    assert lookup.on_reply(honest, [contact(2**105)]) == [contact(2**105)]


def test_paths_that_agree_are_not_doubted() -> None:
    world = Liars(1, 100, 0.0, k=10, alpha=2, paths=4)
    world.run(world.random.sample(world.nodes, 12))
    assert world.lookup.agreement() == 1.0


@given(seed=st.integers(0, 2**32), open_max=st.integers(1, 6), paths=st.integers(1, 4))
def test_who_lacks_few_answers_asks_few_at_a_time_and_ends_all_the_same(seed: int, open_max: int, paths: int) -> None:
    chance = random.Random(seed)
    nodes = [contact(chance.getrandbits(160)) for _ in range(40)]
    lookup = Lookup(TARGET, own_id=OWN, k=10, alpha=3, paths=paths)
    waiting = lookup.start(nodes[:20])
    lookup.asks_open_max = open_max
    while waiting:
        done = waiting.pop(chance.randrange(len(waiting)))
        more = lookup.on_failure(done) if chance.random() < 0.2 else lookup.on_reply(done, nodes)
        assert not more or len(waiting) + len(more) <= open_max
        waiting += more
    assert lookup.finished
    assert len(lookup.nearest()) == 10, "nobody was forgotten"


def test_no_path_starves_where_only_one_may_be_asked_at_a_time() -> None:
    """Two paths that believe in different contacts: those asked come from both in turn."""
    even, odd = [contact(2 * number) for number in range(1, 9)], [contact(2 * number + 1) for number in range(1, 9)]
    lookup = Lookup(TARGET, own_id=OWN, k=20, alpha=3, paths=2)
    lookup.asks_open_max = 1
    asked = lookup.start([even[0], odd[0]])
    while len(asked) < 10:
        asked += lookup.on_reply(asked[-1], even if asked[-1] in even else odd)
    assert 4 <= sum(other in even for other in asked) <= 6
