"""The table of contacts, where the stock library is wrong (facts.md), and the memory of the silent."""

import random

from hypothesis import given
from hypothesis import strategies as st
from kademlia.node import Node

from dhtchat.dht.contact import Contact
from dhtchat.dht.routing import ContactTable, KnownNode, Silence
from dhtchat.ids import Endpoint, NodeId, distance
from dhtchat.limits import (
    JOIN_SEARCHES_MAX,
    NETWORK_NODES_PER_BUCKET,
    NETWORK_NODES_PER_REPLICA_SET,
    NETWORK_NODES_PER_TABLE,
    NODE_ID_BYTES,
    RPC_TRIES,
    SILENCE_CONTACTS_MAX,
    SILENCE_MEMORY_S,
    SILENCE_TRIES,
    TABLE_REFRESH_S,
)
from tests.dht.support import FixedClock

K = 4


def contact(number: int, port: int = 1, host: str = "127.0.0.1") -> Contact:
    return Contact(NodeId(number.to_bytes(NODE_ID_BYTES, "big")), Endpoint(host, port))


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


# --- networks ---------------------------------------------------------------------------------------------------------


def honest(source: random.Random, number: int) -> Contact:
    """One in a network of its own."""
    return contact(source.getrandbits(160), host=f"198.51.{number}.1")


@given(seed=st.integers(0, 2**32), leaving=st.booleans())
def test_one_network_gets_few_places_however_many_knock(seed: int, leaving: bool) -> None:
    """In a bucket, those who wait included, and in the table; who leaves makes room for another network."""
    source = random.Random(seed)
    routing = table(source.getrandbits(160))
    crowd = [contact(source.getrandbits(160), port, "192.0.2.1") for port in range(1, 200)]
    others = [honest(source, number) for number in range(60)]
    for each in source.sample([*crowd, *others], len(crowd) + len(others)):
        routing.enter(each)
    if leaving:
        for each in source.sample(others, 40):
            routing.leave(each)
    for bucket in routing.buckets:
        beside = [*bucket.nodes.values(), *bucket.replacement_nodes.values()]
        assert sum(node.contact in crowd for node in beside) <= NETWORK_NODES_PER_BUCKET
    listed = [each for each in routing.contacts() if each in crowd]
    assert 0 < len(listed) <= NETWORK_NODES_PER_TABLE
    target = source.randbytes(NODE_ID_BYTES)
    assert sum(each in crowd for each in routing.nearest(target, 20)) <= NETWORK_NODES_PER_REPLICA_SET
    truth = sorted(routing.contacts(), key=lambda other: distance(other.node_id, target))
    surplus = max(0, len(listed) - NETWORK_NODES_PER_REPLICA_SET)
    assert len(routing.nearest(target, len(truth))) == len(truth) - surplus, "those who do not count, and nobody else"


def test_private_networks_may_crowd_and_others_where_a_group_wants_it() -> None:
    source = random.Random(1)
    numbers = [source.getrandbits(160) for _ in range(K)]
    for host, limited, entered in [
        ("10.0.0.1", "public", K),
        ("10.0.0.1", "all", NETWORK_NODES_PER_BUCKET),
        ("192.0.2.1", "public", NETWORK_NODES_PER_BUCKET),
        ("192.0.2.1", "none", K),
    ]:
        routing = ContactTable(contact(0).node_id, K, FixedClock(), limited=limited)  # type: ignore[arg-type]
        assert sum(routing.enter(contact(number, host=host)) for number in numbers) == entered, (host, limited)


def test_a_network_that_has_its_share_gives_a_place_when_one_of_its_own_is_dead() -> None:
    clock = FixedClock()
    routing = table(clock=clock)
    kin = [contact(2**159 + number, host="192.0.2.1") for number in range(3)]
    routing.enter(contact(2**159 + 99, host="198.51.100.1"))
    for each in kin[:2]:
        clock.advance(1.0)
        assert routing.enter(each)
    assert not routing.enter(kin[2])
    assert routing.eldest_beside(kin[2]) == kin[0], "not the eldest of the bucket, whose leaving would not help"
    routing.leave(kin[0])
    assert routing.enter(kin[2])


def test_a_crowd_does_not_crowd_others_out() -> None:
    """Those who do not count are not counted either when somebody seems too far away."""
    routing = table()
    for number in range(1, K + 1):  # past the door: by and by, in different buckets, ten may come in
        routing.add_contact(KnownNode(contact(number, number, "192.0.2.1"), 0.0, "192.0.2.0/24"))
    far, target = contact(1 << 159, host="198.51.100.1"), contact(1).node_id
    assert not routing.is_crowded_out(far.node_id, target, K)
    routing.leave(contact(K, K, "192.0.2.1"))
    assert routing.enter(far)
    assert far in routing.nearest(target, K)


def test_what_is_out_of_reach_of_somebody_is_not_for_them(seed: int) -> None:
    """Goal: never leave out a key that somebody should have: those near us that are called out of their reach are indeed not
    among those of which they are one of the nearest."""
    source = random.Random(seed)
    own = source.getrandbits(160)
    routing = table(own)
    others = [contact(source.getrandbits(160) >> source.choice((0, 0, 1, 4, 9)) ^ own) for _ in range(300)]
    known = [other for other in others if routing.enter(other)]
    ruled_out = 0
    for other in known:
        bits = routing.bits_out_of_reach(other.node_id, K)
        for _ in range(20):
            key = (own ^ source.getrandbits(160) >> source.choice((0, 1, 3, 9))).to_bytes(20, "big")
            if (int.from_bytes(key, "big") ^ own) >> bits == 0:
                ruled_out += 1
                assert other not in routing.nearest(key, K), seed
    assert ruled_out > 100, seed


def test_a_newcomer_looks_into_the_buckets_beside_its_own() -> None:
    """The empty ones too: there it knows nobody, and whoever asks it would be told of nobody."""
    routing, source = table(), random.Random(1)
    for _ in range(4 * K):
        routing.enter(contact((1 << 158) + source.getrandbits(157)))
    beside = routing.buckets_beside_ours()
    assert any(not bucket.nodes for bucket in beside)
    assert not any(bucket.has_in_range(routing.node) for bucket in beside)
    assert len(beside) == min(len(routing.buckets) - 1, JOIN_SEARCHES_MAX)
    for number in range(100):  # ids alike make it split again and again
        routing.enter(contact((1 << 159) + number))
    assert len(routing.buckets_beside_ours()) == JOIN_SEARCHES_MAX < len(routing.buckets)
