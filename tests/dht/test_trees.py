"""Trees of sets: what a replica keeps of them, and that on a network with small leaves everybody is found."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from dhtchat.crypto.identity import SigningKey
from dhtchat.dht import storage as storage_module
from dhtchat.dht.announcer import MakeRecord
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import Kept, RecordStorage, Standing
from dhtchat.ids import RoomId
from dhtchat.limits import (
    PRESENCE_REFRESH_S,
    PRESENCE_TTL_S,
    SPLIT_KEPT_S,
    SPOKESMEN_PER_SIDE,
    STORAGE_SWEEP_S,
    TREE_DEPTH_MAX,
)
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Reason, Verdict, judge
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.listing import USERS, UserListing
from dhtchat.records.membership import members_of
from dhtchat.records.tree import names_between
from dhtchat.runtime import Runtime
from tests.dht.support import FixedClock, key_of, membership, run_virtually, running_node, start_nodes, storage_of

LEAF = 8
"""Entries of a leaf in these tests."""


@pytest.fixture(autouse=True)
def _small_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "LEAF_ENTRIES_MAX", LEAF)


def listing(name: str, seed: int, issued_at_s: float, *, sequence: int = 1, gone: bool = False) -> Signed[UserListing]:
    key = key_of(seed)
    body = UserListing(name, key.public, False, sequence, int(issued_at_s), PRESENCE_TTL_S, gone)
    return sign_body(body, key, SIM.network_id)


def item(record: Signed[UserListing]) -> str:
    return record.body.item(record.key)


# --- one replica ------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def storage(clock: FixedClock) -> RecordStorage:
    return RecordStorage(None, parameters=SIM, clock=clock)


def offer(storage: RecordStorage, record: Signed[UserListing], depth: int = 0, lives: int = 0) -> Kept:
    key = record.body.place(record.key, depth)
    return storage.offer_entry(key, record, depth=depth, lives=max(depth, lives))


def full_root(storage: RecordStorage, clock: FixedClock) -> list[Signed[UserListing]]:
    """Split by one entry too many."""
    records = [listing(f"{letter}ob", number, clock.wall()) for number, letter in enumerate("abcdefgh")]
    for record in records:
        assert offer(storage, record).verdict is Verdict.NEW
    assert offer(storage, listing("zoe", 99, clock.wall())).reason is Reason.SPLIT
    return records


@pytest.mark.parametrize("depth", [0, 1, 5, TREE_DEPTH_MAX])
def test_a_record_belongs_under_every_prefix_of_its_item_and_nowhere_else(depth: int, clock: FixedClock) -> None:
    record, other = listing("alice", 1, clock.wall()), membership(key_of(1), RoomId(bytes(32)), 1, clock.wall())
    key = USERS.key(item(record)[:depth])
    assert judge(record, None, key=key, now_s=clock.wall(), parameters=SIM, depth=depth).accepted
    for wrong in {0, 1, 2, 5, TREE_DEPTH_MAX} - {depth}:
        refused = judge(record, None, key=key, now_s=clock.wall(), parameters=SIM, depth=wrong)
        assert refused.reason is Reason.WRONG_PLACE
    assert not judge(other, None, key=key, now_s=clock.wall(), parameters=SIM, depth=depth).accepted


def test_a_full_leaf_splits_for_good_and_what_was_there_dies_there(storage: RecordStorage, clock: FixedClock) -> None:
    records = full_root(storage, clock)
    assert storage.has_split(USERS.key())
    clock.advance(PRESENCE_TTL_S - 10)
    again = listing("aob", 0, clock.wall(), sequence=2)
    assert offer(storage, again).verdict is Verdict.NEWER
    assert storage.standing(USERS.key(), again) == Standing(split=True, edge=False)
    assert len(list(storage.entries(USERS.key(), USERS.kind))) == len(records)
    clock.advance(11)
    assert list(storage.entries(USERS.key(), USERS.kind)) == [], "the refreshed one dies with the others"
    assert storage.has_split(USERS.key())


def test_a_full_leaf_gives_up_a_tombstone_before_it_splits(storage: RecordStorage, clock: FixedClock) -> None:
    for number in range(LEAF):
        offer(storage, listing(f"user{number}", number, clock.wall(), gone=number == 3))
    assert offer(storage, listing("zoe", 99, clock.wall())).verdict is Verdict.NEW
    assert not storage.has_split(USERS.key())


def test_the_first_and_the_last_of_each_child_speak_for_it(storage: RecordStorage, clock: FixedClock) -> None:
    full_root(storage, clock)
    clock.advance(PRESENCE_TTL_S + 1)
    crowd = [listing(f"ma{number:02}", 200 + number, clock.wall()) for number in range(20)]
    random.Random(1).shuffle(crowd)
    for record in crowd:
        offer(storage, record, 0, 4)
    held = {mortal.record for mortal in storage.mortal_entries(USERS.key())}
    ordered = sorted(crowd, key=item)
    assert held == {*ordered[:SPOKESMEN_PER_SIDE], *ordered[-SPOKESMEN_PER_SIDE:]}
    assert storage.below(USERS.key()) == tuple(sorted({item(ordered[0])[:4], item(ordered[-1])[:4]}))
    assert storage.standing(USERS.key(), ordered[0]) == Standing(split=True, edge=True)
    assert list(storage.entries(USERS.key(), USERS.kind)) == [], "spokesmen are no entries"


def test_a_split_node_below_which_nobody_is_is_forgotten(storage: RecordStorage, clock: FixedClock) -> None:
    full_root(storage, clock)
    clock.advance(SPLIT_KEPT_S - 1)
    storage.sweep()
    assert storage.has_split(USERS.key())
    clock.advance(SPLIT_KEPT_S + STORAGE_SWEEP_S)
    storage.sweep()
    assert not storage.knows(USERS.key())
    assert storage._splits == 0


def test_bounds_hold_whatever_is_offered(storage: RecordStorage, clock: FixedClock, seed: int) -> None:
    source = random.Random(seed)
    for number in range(400):
        name = source.choice(["satoshi", f"user{source.randrange(99):02}", "abc", "zzz"])
        record = listing(name, number, clock.wall(), gone=source.random() < 0.1)
        depth = source.choice([0, 0, 1, 2, TREE_DEPTH_MAX])
        offer(storage, record, depth, min(TREE_DEPTH_MAX, depth + source.randrange(3)))
    for key in storage.entry_keys():
        most = LEAF + 16 * 2 * SPOKESMEN_PER_SIDE if storage.has_split(key) else LEAF
        assert len(storage.mortal_entries(key)) <= most, seed


# --- a network --------------------------------------------------------------------------------------------------------


def listed_as(name: str, key: SigningKey) -> MakeRecord:
    def make(sequence: int, issued_at_s: int, gone: bool) -> Signed[UserListing]:
        body = UserListing(name, key.public, False, sequence, issued_at_s, PRESENCE_TTL_S, gone)
        return sign_body(body, key, SIM.network_id)

    return make


async def all_names(node: DhtNode, prefix: str = "") -> list[str]:
    node.trees.forget()
    reading = await node.trees.read_range(USERS, *names_between(prefix), 10_000)
    assert reading.complete
    return [entry.body.name for entry in reading.entries if entry.body.name.startswith(prefix)]


def announce(nodes: list[DhtNode], names: list[str]) -> None:
    for number, name in enumerate(names):
        slot = f"listing:{name}"
        make = listed_as(name, key_of(1_000 + number))
        nodes[number % len(nodes)].keep(slot, make, refresh_s=PRESENCE_REFRESH_S)


def in_a_network(
    scene: "Callable[[list[DhtNode], AsyncExitStack, Runtime], object]", *, seed: int, loss: float = 0.0
) -> None:
    async def play(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 14, runtime=runtime, within_s=120)
            await scene(nodes, stack, runtime)  # type: ignore[misc]

    run_virtually(play, seed=seed, loss=loss)


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_everybody_is_listed_in_order_while_leaves_split_and_after(loss: float, seed: int) -> None:
    """All come at once, half of them with names that begin alike; then some leave, and are gone at once."""
    names = [f"user{number:02}" for number in range(40)] + [f"{chr(97 + n % 26)}{n}x" for n in range(40)]

    async def scene(nodes: list[DhtNode], stack: AsyncExitStack, runtime: Runtime) -> None:
        announce(nodes, names)
        if not loss:  # half of them are still where they were before a split
            await asyncio.sleep(5.0)
            assert await all_names(nodes[3]) == sorted(names), seed
        await asyncio.sleep(2.5 * PRESENCE_REFRESH_S)
        assert await all_names(nodes[3]) == sorted(names), seed
        assert await all_names(nodes[5], "user1") == [f"user1{number}" for number in range(10)]
        assert any(storage_of(node).has_split(USERS.key()) for node in nodes)
        leaving = names[::7]
        for number, name in enumerate(names):
            if name in leaving:
                await nodes[number % len(nodes)].drop(f"listing:{name}")
        if not loss:
            assert await all_names(nodes[7]) == sorted({*names} - {*leaving}), seed

    in_a_network(scene, seed=seed, loss=loss)


def test_a_split_outlives_the_replicas_that_made_it(seed: int) -> None:
    """One after the other all nodes but those who write and read crash, and others come: the list stays whole. Too few are
    left to split the root once more: those who come later can know it from others only."""
    names = sorted(f"{chr(97 + n % 26)}{n:02}" for n in range(20))
    staying = names[::6]

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            writers = await start_nodes(stack, 3, runtime=runtime, within_s=120)
            holders: list[tuple[AsyncExitStack, DhtNode]] = []
            for number in range(20):
                life = AsyncExitStack()
                node = await life.enter_async_context(running_node(700 + number, writers, runtime=runtime))
                holders.append((life, node))
                if number == 9:
                    announce(writers, names)
                    await asyncio.sleep(2.5 * PRESENCE_REFRESH_S)
                    for place, name in enumerate(names):
                        if name not in staying:
                            await writers[place % 3].drop(f"listing:{name}")
                    await asyncio.sleep(PRESENCE_TTL_S)
                if number > 9:
                    await asyncio.sleep(PRESENCE_REFRESH_S)
                    await holders.pop(0)[0].aclose()
                    assert await all_names(writers[2]) == staying, (number, seed)
            marked = [node for _, node in holders if storage_of(node).has_split(USERS.key())]
            assert len(marked) >= 4, "those who came later know that the root has split"
            for life, _ in holders:
                await life.aclose()

    run_virtually(scene, seed=seed)


def test_nobody_hangs_a_node_where_none_belongs(seed: int) -> None:
    """An entry offered far below the leaf is neither served, nor does it hide the leaf from a search."""

    async def scene(nodes: list[DhtNode], stack: AsyncExitStack, runtime: Runtime) -> None:
        announce(nodes, ["alice", "bob"])
        await asyncio.sleep(5)
        fake = listing("alicf", 5, runtime.clock.wall())
        for lives in (9, 10):
            await nodes[1]._replicas.put(fake, depth=9, lives=lives)
        await asyncio.sleep(5)
        report, _ = await nodes[1]._replicas.put(fake, depth=9, lives=10)
        assert report.refused[Reason.NO_NODE] == report.asked, seed
        assert not any(storage_of(node).knows(USERS.key(item(fake)[:9])) for node in nodes)
        assert await all_names(nodes[6]) == ["alice", "bob"]

    in_a_network(scene, seed=seed)


def test_a_large_room_is_read_by_a_sample(seed: int) -> None:
    room = RoomId(bytes(32))
    tree = members_of(room)

    async def scene(nodes: list[DhtNode], stack: AsyncExitStack, runtime: Runtime) -> None:
        small = await nodes[0].trees.sample(tree, 20)
        assert (small.estimate, small.complete) == (0, True)
        for number in range(60):
            key = key_of(2_000 + number)

            def make(sequence: int, issued_at_s: int, gone: bool, key: SigningKey = key) -> Signed[object]:
                return membership(key, room, sequence, issued_at_s)  # type: ignore[return-value]

            nodes[number % 14].keep(f"member:{number}", make, refresh_s=PRESENCE_REFRESH_S)  # type: ignore[arg-type]
        await asyncio.sleep(2.5 * PRESENCE_REFRESH_S)
        nodes[0].trees.forget()
        sample = await nodes[0].trees.sample(tree, 20)
        assert not sample.complete
        assert len(sample.entries) >= 20
        assert 20 <= sample.estimate <= 180, seed

    in_a_network(scene, seed=seed)
