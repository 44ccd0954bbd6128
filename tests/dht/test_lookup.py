"""The search for the nearest nodes: whatever order outcomes come in, it ends, and with the right nodes."""

import random

from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht.contact import Contact
from dhtchat.dht.lookup import Lookup
from dhtchat.ids import Endpoint, NodeId, distance
from dhtchat.limits import LOOKUP_ASKS_MAX, NODE_ID_BYTES

OWN = bytes(NODE_ID_BYTES)


def contact(number: int, port: int = 1) -> Contact:
    return Contact(NodeId(number.to_bytes(NODE_ID_BYTES, "big")), Endpoint("127.0.0.1", port))


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
