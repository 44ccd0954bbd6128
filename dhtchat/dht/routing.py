"""The table of contacts: kademlia's, with a clock passed in, whole ranges, and the true nearest contacts.

What is different from the library (facts.md): ranges include both ends and stop at 2^160 - 1; a node in the replacement
cache is not new; `find_neighbors` looks at every contact; a full bucket names whom to ping instead of starting a task;
few of one network enter, and fewer count as nearest (`diversity.py`). Beside it `Silence`, the memory of who did not answer lately.
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from dhtchat.dht.contact import Contact
from dhtchat.dht.diversity import Limited, Network, network_of, spread
from dhtchat.ids import Endpoint, NodeId
from dhtchat.limits import (
    ADDRESSES_PER_CONTACT_MAX,
    CONTACT_FRESH_S,
    JOIN_SEARCHES_MAX,
    NETWORK_NODES_PER_BUCKET,
    NETWORK_NODES_PER_REPLICA_SET,
    NETWORK_NODES_PER_TABLE,
    NODE_ID_BYTES,
    RPC_TRIES,
    SILENCE_CONTACTS_MAX,
    SILENCE_MEMORY_S,
    SILENCE_STRIKES,
    SILENCE_TRIES,
    TABLE_REFRESH_S,
)
from dhtchat.runtime import Clock

_ID_BITS: Final = 8 * NODE_ID_BYTES
_ID_MAX: Final = 2**_ID_BITS - 1
_DEPTH_STEP: Final = 5
"""b of the paper's §4.2, as the library has it."""


class KnownNode(Node):
    """The library's node, once it has answered us: where, and when it was last heard."""

    def __init__(self, contact: Contact, heard_at_s: float, network: Network | None) -> None:
        super().__init__(contact.node_id, contact.endpoint.host, contact.endpoint.port)
        self.contact = contact
        self.network = network
        """Whose number is limited, see `diversity.py`."""
        self.heard_at_s = heard_at_s


class ContactBucket(KBucket):
    """`range` includes both ends."""

    nodes: "OrderedDict[bytes, KnownNode]"
    replacement_nodes: "OrderedDict[bytes, KnownNode]"
    range: tuple[int, int]
    last_updated: float

    def __init__(self, lower: int, upper: int, ksize: int, clock: Clock) -> None:
        self._clock = clock
        super().__init__(lower, upper, ksize)

    def touch_last_updated(self) -> None:
        self.last_updated = self._clock.monotonic()

    def split(self) -> tuple["ContactBucket", "ContactBucket"]:
        lower, upper = self.range
        middle = (lower + upper) // 2
        halves = (
            ContactBucket(lower, middle, self.ksize, self._clock),
            ContactBucket(middle + 1, upper, self.ksize, self._clock),
        )
        for node in (*self.nodes.values(), *self.replacement_nodes.values()):
            halves[node.long_id > middle].add_node(node)
        for half in halves:
            half.last_updated = self.last_updated
        return halves

    def depth(self) -> int:
        """Bits that all ids in it share. (The library has it by strings of bits, which takes a hundred times as long.)"""
        numbers = [node.long_id for node in self.nodes.values()]
        return _ID_BITS - int(min(numbers) ^ max(numbers)).bit_length()

    def is_healthy(self, now_s: float) -> bool:
        """Whether it is full, and even the one not heard for longest was heard lately."""
        eldest = next(iter(self.nodes.values()), None)
        return len(self.nodes) >= self.ksize and eldest is not None and now_s - eldest.heard_at_s < CONTACT_FRESH_S

    def is_new_node(self, node: Node) -> bool:
        return node.id not in self.nodes and node.id not in self.replacement_nodes


class ContactTable(RoutingTable):
    """Everybody here has answered us from the address it is listed with."""

    buckets: list[ContactBucket]

    def __init__(self, own_id: NodeId, ksize: int, clock: Clock, *, limited: Limited = "public") -> None:
        """`limited`: of which networks only a few may enter."""
        self._clock = clock
        self.limited = limited
        self._networks: Counter[Network] = Counter()
        """How many of each are in the buckets."""
        self._surplus = 0
        """How many would not count were all of them in one replica set."""
        self._by_number: dict[int, KnownNode] = {}
        """Who is in the buckets (not waiting beside them), by its id as a number."""
        self._tops: list[int] = []
        """The last number of each bucket's range."""
        self._numbers: list[int] = []
        """The same numbers, sorted: a subtree of the id space is a slice of it."""
        self._at: dict[Endpoint, dict[Contact, None]] = {}
        """Who entered at an address; some may have left since. (Not a set: a simulated run must be the same each time.)"""
        super().__init__(None, ksize, Node(own_id))

    def flush(self) -> None:
        self.buckets = [ContactBucket(0, _ID_MAX, self.ksize, self._clock)]
        self._index_all()

    def __len__(self) -> int:
        return len(self._numbers)

    def get_bucket_for(self, node: Node) -> int:
        return self._bucket_index(node.long_id)

    def split_bucket(self, index: int) -> None:
        super().split_bucket(index)
        self._index_all()  # who waited in the replacement cache may have found a place

    def lonely_buckets(self) -> list[ContactBucket]:
        """Those that no lookup and no newcomer has touched for long."""
        long_ago = self._clock.monotonic() - TABLE_REFRESH_S
        return [bucket for bucket in self.buckets if bucket.last_updated < long_ago]

    def buckets_beside_ours(self) -> list[ContactBucket]:
        """Where a newcomer knows next to nobody, because its search for itself went the other way: the empty ones above
        all. The nearest to us, at most JOIN_SEARCHES_MAX: whoever grinds ids alike makes a table split for nothing."""
        others = (bucket for bucket in self.buckets if not bucket.has_in_range(self.node))
        return heapq.nsmallest(JOIN_SEARCHES_MAX, others, key=lambda bucket: bucket.range[0] ^ self.node.long_id)

    def touch(self, target: bytes) -> None:
        """A lookup goes there: that refreshes the bucket."""
        self._bucket(NodeId(target)).touch_last_updated()

    def add_contact(self, node: KnownNode) -> bool:
        """Whether it is in the table now; otherwise it waits in the replacement cache of a full bucket."""
        bucket = self.buckets[self.get_bucket_for(node)]
        while not bucket.add_node(node):
            if not self._may_split(bucket):
                return False
            self.split_bucket(self.get_bucket_for(node))
            bucket = self.buckets[self.get_bucket_for(node)]
        self._index(node)
        bucket.touch_last_updated()
        return True

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[KnownNode]:
        others = (
            other
            for other in self._nodes()
            if other.id != node.id and (exclude is None or not other.same_home_as(exclude))
        )
        return heapq.nsmallest(k or self.ksize, others, key=node.distance_to)

    # --- in our own terms ---------------------------------------------------------------------------------------------

    def enter(self, contact: Contact) -> bool:
        """Put in somebody who has just answered, see `add_contact`. Not even the replacement cache takes more than a few
        of one network."""
        if self._is_crowd(contact):
            return False
        if len(self._at) > ADDRESSES_PER_CONTACT_MAX * (len(self) + self.ksize):  # mostly of those who are gone
            self._at.clear()
            for node in self._everybody():
                self._at.setdefault(node.contact.endpoint, {})[node.contact] = None
        self._at.setdefault(contact.endpoint, {})[contact] = None
        return self.add_contact(KnownNode(contact, self._clock.monotonic(), self._network_of(contact)))

    def leave(self, contact: Contact) -> Contact | None:
        """Take it out, from the replacement cache too; returns who came in from there instead. Nothing happens when
        the node is listed with another address."""
        bucket = self._bucket(contact.node_id)
        if self.find(contact.node_id) != contact:
            return None
        bucket.replacement_nodes.pop(contact.node_id, None)
        left = bucket.nodes.pop(contact.node_id, None)
        if left is None:
            return None
        del self._by_number[left.long_id], self._numbers[bisect_left(self._numbers, left.long_id)]
        self._uncount(left.network)
        while bucket.replacement_nodes:
            _, waiting = bucket.replacement_nodes.popitem()
            if waiting.network is None or self._networks[waiting.network] < NETWORK_NODES_PER_TABLE:
                bucket.nodes[waiting.id] = waiting
                self._index(waiting)
                return waiting.contact
        return None

    def heard(self, contact: Contact) -> None:
        """It answered again: the most recently heard stands last in its bucket."""
        bucket = self._bucket(contact.node_id)
        for nodes in (bucket.nodes, bucket.replacement_nodes):
            if contact.node_id in nodes:
                nodes[contact.node_id].heard_at_s = self._clock.monotonic()
                nodes.move_to_end(contact.node_id)

    def find(self, node_id: bytes) -> Contact | None:
        """The contact with this id, be it in the table or waiting in the replacement cache."""
        bucket = self._bucket(node_id)
        node = bucket.nodes.get(node_id) or bucket.replacement_nodes.get(node_id)
        return node.contact if node else None

    def lists(self, contact: Contact) -> bool:
        """Whether it is in the table, not just in the replacement cache."""
        node = self._bucket(contact.node_id).nodes.get(contact.node_id)
        return node is not None and node.contact == contact

    def has_use_for(self, contact: Contact) -> bool:
        """Whether it is worth finding out if somebody new is there: not while its bucket is full of nodes that were heard
        lately, unless it is ours, which splits. (The paper's §2.2 pings the eldest each time; in a busy network that was a
        quarter of all questions. Full buckets elsewhere split for whom our own searches meet.)"""
        bucket = self._bucket(contact.node_id)
        return not bucket.is_healthy(self._clock.monotonic()) or bool(bucket.has_in_range(self.node))

    def _may_split(self, bucket: ContactBucket) -> bool:
        return bool(bucket.has_in_range(self.node) or bucket.depth() % _DEPTH_STEP != 0)

    def eldest_beside(self, contact: Contact) -> Contact:
        """Whom to ping for `contact` to find a place, the one not heard for longest: of the full bucket that it would
        belong to, or of its own network if that has its share."""
        beside: Iterable[KnownNode] = self._bucket(contact.node_id).nodes.values()
        if self._is_crowd(contact):
            network = self._network_of(contact)
            kin = [node for node in self._everybody() if node.network == network]
            beside = [node for node in kin if node in beside] or kin
            return min(beside, key=lambda node: node.heard_at_s).contact
        return next(iter(beside)).contact

    def tenants(self, endpoint: Endpoint) -> list[Contact]:
        """Who is listed at an address: one that answers as somebody else has lost its old name."""
        return [contact for contact in self._at.get(endpoint, ()) if self.find(contact.node_id) == contact]

    def nearest(self, target: bytes, count: int, *, exclude: bytes = b"") -> list[Contact]:
        """The `count` nearest to `target` with few of one network (`spread`), nearest first, without the node
        `exclude`."""
        goal = int.from_bytes(target, "big")
        wanted = count + (1 if exclude else 0) + self._surplus
        chosen = sorted(self._around(goal, wanted), key=goal.__xor__)[:wanted]
        near = [self._by_number[number].contact for number in chosen]
        if exclude:
            near = [contact for contact in near if contact.node_id != exclude]
        return spread(near, count, self.limited) if self._surplus else near[:count]

    def is_crowded_out(self, node_id: bytes, target: bytes, count: int) -> bool:
        """Whether so many of the table share more of `target` than `node_id` does that it is not among the `count`
        nearest. A quick look: False does not mean that it is."""
        goal = int.from_bytes(target, "big")
        gap = goal ^ int.from_bytes(node_id, "big")
        start, stop = self._subtree(goal, max(0, gap.bit_length() - 1))
        return stop - start >= count + self._surplus

    def bits_out_of_reach(self, node_id: bytes, count: int) -> int:
        """The same for all targets near us at once: a node is not among the `count` nearest to any that differs from our
        own id in the last so many bits only. Whoever shares those with us is nearer to them, and there are enough."""
        own = self.node.long_id
        free_bits = max(0, (own ^ int.from_bytes(node_id, "big")).bit_length() - 1)
        start, stop = self._subtree(own, free_bits)
        return free_bits if stop - start >= count + self._surplus else 0

    def contacts(self) -> list[Contact]:
        """All, most recently heard first."""
        return [node.contact for node in sorted(self._nodes(), key=lambda node: -node.heard_at_s)]

    def least_heard(self, count: int) -> list[Contact]:
        """Those not heard for longest."""
        return [node.contact for node in heapq.nsmallest(count, self._by_number.values(), key=lambda n: n.heard_at_s)]

    # --- networks -----------------------------------------------------------------------------------------------------

    def _network_of(self, contact: Contact) -> str | None:
        return network_of(contact.endpoint, self.limited)

    def _is_crowd(self, contact: Contact) -> bool:
        """Whether there are as many of its network as may be: in the table, or in its bucket, those who wait included."""
        network = self._network_of(contact)
        if network is None or self.find(contact.node_id) == contact:
            return False
        if self._networks[network] >= NETWORK_NODES_PER_TABLE:
            return True
        bucket = self._bucket(contact.node_id)
        beside = (*bucket.nodes.values(), *bucket.replacement_nodes.values())
        return sum(node.network == network for node in beside) >= NETWORK_NODES_PER_BUCKET

    def _count(self, network: Network | None) -> None:
        if network is not None:
            self._networks[network] += 1
            self._surplus += self._networks[network] > NETWORK_NODES_PER_REPLICA_SET

    def _uncount(self, network: Network | None) -> None:
        if network is not None:
            self._surplus -= self._networks[network] > NETWORK_NODES_PER_REPLICA_SET
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]

    def _everybody(self) -> Iterator[KnownNode]:
        """Those who wait too."""
        for bucket in self.buckets:
            yield from bucket.nodes.values()
            yield from bucket.replacement_nodes.values()

    def _nodes(self) -> list[KnownNode]:
        return [node for bucket in self.buckets for node in bucket.nodes.values()]

    def _bucket(self, node_id: bytes) -> ContactBucket:
        return self.buckets[self._bucket_index(int.from_bytes(node_id, "big"))]

    def _bucket_index(self, number: int) -> int:
        return bisect_left(self._tops, number)

    # --- the index ----------------------------------------------------------------------------------------------------

    def _index(self, node: KnownNode) -> None:
        before = self._by_number.get(node.long_id)
        if before is None:
            insort(self._numbers, node.long_id)
        else:
            self._uncount(before.network)
        self._count(node.network)
        self._by_number[node.long_id] = node

    def _index_all(self) -> None:
        self._tops = [int(bucket.range[1]) for bucket in self.buckets]
        self._by_number = {node.long_id: node for node in self._nodes()}
        self._numbers = sorted(self._by_number)
        self._networks.clear()
        self._surplus = 0
        for node in self._by_number.values():
            self._count(node.network)

    def _around(self, goal: int, count: int) -> list[int]:
        """All numbers of the smallest subtree around `goal` that has at least `count`: nearer than any outside it."""
        free_bits = _ID_BITS - (len(self._numbers) // max(1, count)).bit_length()
        start, stop = self._subtree(goal, free_bits)
        while stop - start < count and free_bits < _ID_BITS:
            free_bits += 1
            start, stop = self._subtree(goal, free_bits)
        return self._numbers[start:stop]

    def _subtree(self, goal: int, free_bits: int) -> tuple[int, int]:
        """Where those are in `_numbers` that differ from `goal` in the last `free_bits` bits only."""
        lower = goal >> free_bits << free_bits
        return bisect_left(self._numbers, lower), bisect_left(self._numbers, lower + (1 << free_bits))


class Silence:
    """Who did not answer lately. One failure: fewer tries next time. SILENCE_STRIKES of them: lookups leave it out for
    a while, so that the dead whom others still name do not cost each lookup its time-out. An answer forgives all."""

    def __init__(self) -> None:
        self._strikes: OrderedDict[Contact, tuple[int, float]] = OrderedDict()

    def failed(self, contact: Contact, now_s: float) -> None:
        strikes, _ = self._strikes.pop(contact, (0, now_s))
        self._strikes[contact] = strikes + 1, now_s
        if len(self._strikes) > SILENCE_CONTACTS_MAX:
            self._strikes.popitem(last=False)

    def answered(self, contact: Contact) -> None:
        self._strikes.pop(contact, None)

    def is_worth_asking(self, contact: Contact, now_s: float) -> bool:
        strikes, since_s = self._strikes.get(contact, (0, now_s))
        return strikes < SILENCE_STRIKES or now_s - since_s > SILENCE_MEMORY_S

    def sift(self, contacts: list[Contact], now_s: float) -> tuple[list[Contact], list[Contact]]:
        """Those worth asking, and the others."""
        if not self._strikes:
            return contacts, []
        shunned = [c for c in contacts if c in self._strikes and not self.is_worth_asking(c, now_s)]
        return [c for c in contacts if c not in shunned] if shunned else contacts, shunned

    def tries(self, contact: Contact) -> int:
        return SILENCE_TRIES if contact in self._strikes else RPC_TRIES

    def contacts(self) -> list[Contact]:
        """Those who failed, the latest last."""
        return list(self._strikes)
