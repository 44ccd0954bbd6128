"""The table of contacts, where the stock library is wrong (facts.md), and the memory of the silent."""

import random

from hypothesis import given
from hypothesis import strategies as st
from kademlia.node import Node

from dhtchat.dht.contact import Contact
from dhtchat.dht.routing import ContactTable, Silence
from dhtchat.ids import Endpoint, NodeId, distance
from dhtchat.limits import (
    NODE_ID_BYTES,
    RPC_TRIES,
    SILENCE_CONTACTS_MAX,
    SILENCE_MEMORY_S,
    SILENCE_TRIES,
    TABLE_REFRESH_S,
)
from tests.dht.support import FixedClock

K = 4


def contact(number: int, port: int = 1) -> Contact:
    return Contact(NodeId(number.to_bytes(NODE_ID_BYTES, "big")), Endpoint("127.0.0.1", port))


def table(own: int = 0, clock: FixedClock | None = None) -> ContactTable:
    return ContactTable(contact(own).node_id, K, clock or FixedClock())


def crowded() -> tuple[ContactTable, list[Contact]]:
    """A table with full buckets, and those who wait in their replacement caches."""
    routing, source = table(), random.Random(1)
    others = [contact(source.getrandbits(160)) for _ in range(300)]
    for other in others:
        routing.enter(other)
    return routing, [other for other in others if not routing.lists(other)]


@given(seed=st.integers(0, 2**32), nodes=st.integers(0, 300), count=st.integers(1, 30))
def test_nearest_are_the_true_nearest_of_all_contacts(seed: int, nodes: int, count: int) -> None:
    """Goal: `find_node` tells the truth; the stock traversal misses 3-4 of 20."""
    source = random.Random(seed)
    routing = table(source.getrandbits(160))
    for _ in range(nodes):
        routing.enter(contact(source.getrandbits(160)))
    target = source.randbytes(NODE_ID_BYTES)
    truth = sorted(routing.contacts(), key=lambda other: distance(other.node_id, target))
    assert routing.nearest(target, count) == truth[:count]
    if truth:
        assert routing.nearest(target, count, exclude=truth[0].node_id) == truth[1 : count + 1]


@given(seed=st.integers(0, 2**32))
def test_buckets_cover_the_id_space_once(seed: int) -> None:
    source = random.Random(seed)
    routing = table(source.getrandbits(160))
    edges = [0, 1, 2**160 - 1, 2**159, 2**159 - 1, 2**159 + 1]
    for number in [*edges, *(source.getrandbits(160) for _ in range(100))]:
        routing.enter(contact(number))
    assert routing.buckets[0].range[0] == 0
    assert routing.buckets[-1].range[1] == 2**160 - 1
    for left, right in zip(routing.buckets, routing.buckets[1:], strict=False):
        assert left.range[1] + 1 == right.range[0]
    for bucket in routing.buckets:
        low, high = bucket.range
        assert all(low <= node.long_id <= high for node in bucket.nodes.values())
        assert len(bucket.nodes) <= K


def test_who_waits_in_the_replacement_cache_is_known() -> None:
    """Goal: no storm; the stock table calls such a node new each time it speaks."""
    routing, waiting = crowded()
    assert waiting
    assert all(routing.find(other.node_id) == other for other in waiting)
    assert not any(routing.lists(other) for other in waiting)
    assert not any(routing.is_new_node(Node(other.node_id)) for other in waiting)


def test_who_leaves_makes_room_for_one_who_waits() -> None:
    routing, waiting = crowded()
    leaving = routing.eldest_beside(waiting[0])
    promoted = routing.leave(leaving)
    assert promoted in waiting
    assert promoted is not None
    assert routing.lists(promoted)
    assert routing.find(leaving.node_id) is None


def test_only_the_contact_itself_leaves_not_its_namesake_elsewhere() -> None:
    routing = table()
    routing.enter(contact(5, port=1))
    routing.leave(contact(5, port=2))
    assert routing.contacts() == [contact(5, port=1)]


def test_contacts_are_told_most_recently_heard_first() -> None:
    clock = FixedClock()
    routing = table(clock=clock)
    for number in (1, 2, 3):
        clock.advance(1)
        routing.enter(contact(number))
    clock.advance(1)
    routing.heard(contact(1))
    assert routing.contacts() == [contact(1), contact(3), contact(2)]


def test_the_eldest_of_a_full_bucket_is_the_one_not_heard_for_longest() -> None:
    routing, waiting = crowded()
    eldest = routing.eldest_beside(waiting[0])
    routing.heard(eldest)
    assert routing.eldest_beside(waiting[0]) != eldest


def test_buckets_that_nothing_touched_are_lonely() -> None:
    clock = FixedClock()
    routing = table(clock=clock)
    clock.advance(TABLE_REFRESH_S + 1)
    assert routing.lonely_buckets() == routing.buckets
    routing.touch(bytes(NODE_ID_BYTES))
    assert routing.lonely_buckets() == []


def test_who_fails_twice_is_left_out_for_a_while() -> None:
    silence = Silence()
    silence.failed(contact(1), 0.0)
    assert silence.is_worth_asking(contact(1), 0.0)
    assert silence.tries(contact(1)) == SILENCE_TRIES < RPC_TRIES
    silence.failed(contact(1), 1.0)
    assert not silence.is_worth_asking(contact(1), 2.0)
    assert silence.is_worth_asking(contact(1), 2.0 + SILENCE_MEMORY_S)
    silence.answered(contact(1))
    assert silence.is_worth_asking(contact(1), 2.0)
    assert silence.tries(contact(1)) == RPC_TRIES


def test_the_memory_of_the_silent_is_bounded() -> None:
    silence = Silence()
    for number in range(2 * SILENCE_CONTACTS_MAX):
        silence.failed(contact(number), 0.0)
    assert len(silence.contacts()) == SILENCE_CONTACTS_MAX
