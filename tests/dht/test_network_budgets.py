"""What one network of addresses may bring to a node and ask of it: a part, so that it takes many to fill or to occupy one."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht import protocol as protocol_module
from dhtchat.dht import storage as storage_module
from dhtchat.dht import wire
from dhtchat.dht.budgets import NetworkBudgets
from dhtchat.dht.claiming import Tally, VoteKeeper
from dhtchat.dht.contact import contact_at
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import PeerId, RecordKey
from dhtchat.limits import (
    CLOCK_SKEW_S,
    NETWORK_BUDGETS_MAX,
    NETWORK_REQUESTS_BURST,
    NETWORK_REQUESTS_PER_S,
    PRESENCE_TTL_S,
    STORAGE_BYTES_MAX,
    STORAGE_ENTRIES_MAX,
    STORAGE_NETWORK_BYTES_MAX,
    STORAGE_NETWORK_ENTRIES_MAX,
)
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.account import account_key
from dhtchat.records.presence import presence_key
from dhtchat.records.room import room_key
from tests.dht.support import FixedClock, Peer, account, deliver, key_of, presence, room, running_node, until
from tests.dht.test_mailboxes import BOX, mail

HERE, THERE = "192.0.2.0/24", "198.51.100.0/24"
FEW = 3
LIMITED = msgspec.structs.replace(SIM, name="limited", networks_limited="all")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def storage(clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordStorage]:
    monkeypatch.setattr(storage_module, "STORAGE_NETWORK_ENTRIES_MAX", FEW)
    shelf = RecordStorage(None, parameters=SIM, clock=clock)
    yield shelf
    shelf.close()


def offer_presence(storage: RecordStorage, clock: FixedClock, seed: int, network: str | None) -> Reason:
    owner = key_of(seed)
    key = presence_key(PeerId(owner.public))
    return storage.offer_entry(key, presence(owner, 1, clock.wall()), network=network).reason


def offer_claim(storage: RecordStorage, seed: int, network: str | None) -> Reason:
    name = f"#room-{seed}"
    return storage.offer_claim(room_key(name), room(name, seed), network=network).reason


def offer_mail(storage: RecordStorage, clock: FixedClock, seed: int, network: str | None) -> Reason:
    return storage.offer_entry(BOX, mail(key_of(seed), seed, clock), network=network).reason


def test_it_takes_sixteen_networks_to_fill_a_node() -> None:
    assert 16 * STORAGE_NETWORK_ENTRIES_MAX <= STORAGE_ENTRIES_MAX
    assert 16 * STORAGE_NETWORK_BYTES_MAX <= STORAGE_BYTES_MAX


def test_all_kinds_count_towards_one_bound_and_others_find_room(storage: RecordStorage, clock: FixedClock) -> None:
    assert offer_presence(storage, clock, 1, HERE) is Reason.NONE
    assert offer_claim(storage, 2, HERE) is Reason.NONE
    assert offer_mail(storage, clock, 3, HERE) is Reason.NONE
    for refused in (
        offer_presence(storage, clock, 4, HERE),
        offer_claim(storage, 5, HERE),
        offer_mail(storage, clock, 6, HERE),
    ):
        assert refused is Reason.FULL
    for network in (THERE, None):
        seed = 10 if network else 20
        assert offer_presence(storage, clock, seed, network) is Reason.NONE
        assert offer_claim(storage, seed + 1, network) is Reason.NONE
        assert offer_mail(storage, clock, seed + 2, network) is Reason.NONE
    assert offer_presence(storage, clock, 30, None) is Reason.NONE, "private networks have no bound of their own"


def test_bytes_are_counted_as_well(clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(presence(key_of(1), 1, clock.wall()).raw)
    monkeypatch.setattr(storage_module, "STORAGE_NETWORK_BYTES_MAX", 2 * size + size // 2)
    storage = RecordStorage(None, parameters=SIM, clock=clock)
    reasons = [offer_presence(storage, clock, seed, HERE) for seed in range(1, 5)]
    storage.close()
    assert reasons == [Reason.NONE, Reason.NONE, Reason.FULL, Reason.FULL]


def test_what_has_died_counts_no_longer(storage: RecordStorage, clock: FixedClock) -> None:
    for seed in range(FEW):
        assert offer_presence(storage, clock, seed, HERE) is Reason.NONE
    clock.advance(PRESENCE_TTL_S + CLOCK_SKEW_S)
    storage.sweep()
    for seed in range(10, 10 + FEW):
        assert offer_presence(storage, clock, seed, HERE) is Reason.NONE
    assert offer_presence(storage, clock, 20, HERE) is Reason.FULL


def test_a_newer_version_finds_its_own_place_and_moves_to_who_brings_it(
    storage: RecordStorage, clock: FixedClock
) -> None:
    for seed in range(FEW):
        assert offer_presence(storage, clock, seed, HERE) is Reason.NONE
    key = presence_key(PeerId(key_of(0).public))
    assert storage.offer_entry(key, presence(key_of(0), 2, clock.wall()), network=HERE).verdict is Verdict.NEWER
    assert offer_presence(storage, clock, 9, HERE) is Reason.FULL
    assert storage.offer_entry(key, presence(key_of(0), 3, clock.wall()), network=THERE).verdict is Verdict.NEWER
    assert offer_presence(storage, clock, 9, HERE) is Reason.NONE


@pytest.mark.parametrize("kind", ["presence", "mail"])
def test_two_networks_do_not_make_room_for_each_other(storage: RecordStorage, clock: FixedClock, kind: str) -> None:
    """One renewing what the other brought: both together have no more than their two bounds."""

    def offer(seed: int, sequence: int, network: str) -> Reason:
        owner = key_of(seed)
        if kind == "presence":
            record: Any = presence(owner, sequence, clock.wall())
            return storage.offer_entry(presence_key(PeerId(owner.public)), record, network=network).reason
        record = mail(owner, seed, clock, sequence=sequence)
        return storage.offer_entry(BOX, record, network=network).reason

    seeds = iter(range(100, 200))
    for _ in range(3):
        brought = [next(seeds) for _ in range(FEW)]
        for seed in brought:
            offer(seed, 1, HERE)
        for seed in brought:
            offer(seed, 2, THERE)
    assert len(storage) == 2 * FEW


def test_a_claim_stays_with_who_brought_it_first(storage: RecordStorage) -> None:
    for seed in range(FEW):
        assert offer_claim(storage, seed, HERE) is Reason.NONE
    storage.put_first(room_key("#room-1"), room("#room-1", 77))
    assert storage.offer_claim(room_key("#room-1"), room("#room-1", 78), network=THERE).verdict is Verdict.NEW
    assert offer_claim(storage, 9, HERE) is Reason.FULL
    assert [offer_claim(storage, seed, THERE) for seed in (20, 21, 22)] == [Reason.NONE, Reason.NONE, Reason.FULL]


async def test_what_is_adopted_counts_for_who_made_us_ask_around(storage: RecordStorage) -> None:
    """Or an attacker would pay at the first replica only: all others would have it from there."""

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.ensure_future(work)

    async def ask_others(key: RecordKey) -> Tally:
        tally = Tally(nodes_known=1)
        tally.best = {record.digest: record for record in offered if account_key(record.body.name) == key}
        return tally

    offered = [account(f"name-{seed}", seed) for seed in range(FEW + 1)]
    votes = VoteKeeper(storage, ask_others=ask_others, spawn=spawn, on_kept=lambda key: None)
    reasons = [(await votes.offer(account_key(record.body.name), record, network=HERE)).reason for record in offered]
    assert reasons == [*FEW * [Reason.NONE], Reason.FULL]


# --- requests ---------------------------------------------------------------------------------------------------------


@given(
    asked=st.lists(st.tuples(st.sampled_from([HERE, THERE, None]), st.floats(0, 0.5)), max_size=200),
    burst=st.integers(1, 20),
    per_s=st.floats(0.5, 50),
)
def test_no_network_is_served_more_than_its_budget(
    asked: list[tuple[str | None, float]], burst: int, per_s: float
) -> None:
    budgets, now_s, served = NetworkBudgets(burst, per_s), 0.0, Counter[str | None]()
    for network, pause_s in asked:
        now_s += pause_s
        served[network] += budgets.take(network, now_s)
    assert served[None] == sum(network is None for network, _ in asked)
    assert max(served[HERE], served[THERE]) <= burst + per_s * now_s + 1e-6
    first_of_there = next((place for place, (network, _) in enumerate(asked) if network == THERE), None)
    assert first_of_there is None or served[THERE] >= 1, "what others ask is nobody else's business"


def test_so_many_networks_are_remembered_and_the_longest_silent_goes() -> None:
    budgets = NetworkBudgets(1, 0.001)
    assert budgets.take("first", 0.0)
    for number in range(NETWORK_BUDGETS_MAX - 1):
        assert budgets.take(str(number), 0.0)
    assert not budgets.take("first", 0.0)
    assert budgets.take("one more", 0.0)
    assert not budgets.take("first", 0.0)
    assert budgets.take("0", 0.0), "forgotten, and so as good as new"
    assert len(budgets) == NETWORK_BUDGETS_MAX


async def test_a_network_over_its_budget_is_told_busy_and_forged_senders_use_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert NETWORK_REQUESTS_BURST > NETWORK_REQUESTS_PER_S
    monkeypatch.setattr(protocol_module, "NETWORK_REQUESTS_BURST", FEW)
    monkeypatch.setattr(protocol_module, "NETWORK_REQUESTS_PER_S", 0.0)
    async with running_node(1, parameters=LIMITED) as node, Peer(parameters=LIMITED) as peer:
        peer.client = True
        for _ in range(2 * FEW):  # without a token: as if somebody else said it in our name
            deliver(node, peer.request(node, wire.Ping(), token=wire.NO_TOKEN), peer.endpoint)
        await until(lambda: len(peer.answers) == 2 * FEW, "no answer")
        for count in range(1, FEW + 3):
            peer.ask(node, wire.Ping())
            await until(lambda count=count: len(peer.answers) == 2 * FEW + count, "no answer")
        busy = wire.Refused(wire.Refusal.BUSY)
        assert peer.answers == [*3 * FEW * [wire.Pong()], busy, busy]
        assert node.statistics["network-over-budget"] == 2


async def test_a_node_says_from_which_network_a_record_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "STORAGE_NETWORK_ENTRIES_MAX", FEW)
    async with (
        running_node(1, parameters=LIMITED) as node,
        running_node(2, parameters=LIMITED, client=True) as asker,
    ):
        replica = contact_at(node.node_key, node.address)
        kept = []
        for number in range(FEW + 1):
            name = f"#room-{number}"
            record = room(name, number, LIMITED)
            kept.append(await asker._protocol.call_store(replica, room_key(name), record.raw))
        assert [each.reason for each in kept] == [*FEW * [Reason.NONE], Reason.FULL]
