"""Sets of soft records: what readers see of them, through goodbyes, replays, lagging replicas and refreshes."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.announcer import MakeRecord
from dhtchat.dht.contact import Contact
from dhtchat.dht.node import DhtNode
from dhtchat.dht.sets import SetMerge
from dhtchat.dht.storage import HeldEntry
from dhtchat.ids import Endpoint, NodeAddress, NodeId, PeerId, RoomId
from dhtchat.limits import PRESENCE_REFRESH_S, PRESENCE_TTL_S, SOFT_REPLICAS
from dhtchat.records.envelope import Signed
from dhtchat.records.kinds import SoftRecord
from dhtchat.records.membership import Membership, membership_key
from dhtchat.records.presence import Presence, presence_key
from dhtchat.runtime import Runtime
from tests.dht.support import (
    key_of,
    membership,
    presence,
    real_runtime_from,
    run_virtually,
    running_node,
    start_nodes,
    storage_of,
    until,
    until_async,
)

ALICE = key_of(1)
HER_SET = presence_key(PeerId(ALICE.public))
RECORDS = {
    (device, sequence): presence(ALICE, sequence, 1_000, device=device, gone=sequence % 3 == 0)
    for device in range(3)
    for sequence in range(1, 7)
}


def replica(number: int) -> Contact:
    return Contact(NodeId(number.to_bytes(20, "big")), Endpoint("127.0.0.1", number + 1))


def presence_of(owner: SigningKey, device: int = 1) -> MakeRecord:
    def make(sequence: int, issued_at_s: int, gone: bool) -> Signed[Presence]:
        return presence(owner, sequence, issued_at_s, device=device, gone=gone)

    return make


async def online(node: DhtNode) -> set[bytes]:
    """Alice's devices, as `node` reads them."""
    return {
        entry.body.device
        for entry in (await node.read_set(HER_SET, Presence)).entries
        if isinstance(entry.body, Presence)
    }


# --- merging ----------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32))
def test_the_highest_sequence_of_each_entry_wins_in_whatever_order_replicas_answer(seed: int) -> None:
    source = random.Random(seed)
    merge = SetMerge()
    newest: dict[int, int] = {}
    answers: list[tuple[Contact, list[HeldEntry]]] = []
    for number in range(source.randrange(6)):
        held = {device: source.randint(1, 6) for device in range(3) if source.random() < 0.7}
        answers.append((replica(number), [HeldEntry(RECORDS[item], 50.0) for item in held.items()]))
        for device, sequence in held.items():
            newest[device] = max(sequence, newest.get(device, 0))
    source.shuffle(answers)
    for contact, entries in answers:
        merge.on_answer(contact, entries, now_s=100.0)
    merge.on_silence(2)
    reading = merge.reading(now_s=100.0)
    alive = [RECORDS[item] for item in sorted(newest.items()) if not RECORDS[item].body.gone]
    assert list(reading.entries) == alive
    assert (reading.asked, reading.answered) == (len(answers) + 2, len(answers))
    for contact, entries in answers:
        held = {entry.record.body.device: entry.record.body.gone for entry in entries}
        lacking = {lack.record for lack in merge.lacks(100.0) if lack.contact == contact}
        best = {RECORDS[item] for item in newest.items()}
        assert lacking == {record for record in best if held.get(record.body.device) is not record.body.gone}


def test_what_is_given_on_has_the_life_that_was_left_less_the_time_since() -> None:
    merge = SetMerge()
    merge.on_answer(replica(1), [HeldEntry(RECORDS[0, 1], 50.0)], now_s=100.0)
    merge.on_answer(replica(2), [], now_s=110.0)
    assert [(lack.contact, lack.remaining_s) for lack in merge.lacks(110.0)] == [(replica(2), 40.0)]
    assert merge.lacks(150.0) == []
    assert merge.reading(150.0).entries == ()


# --- on a network -----------------------------------------------------------------------------------------------------


async def test_what_is_kept_is_read_everywhere_until_it_is_dropped() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 5)
        nodes[0].keep("one", presence_of(ALICE, 1), refresh_s=PRESENCE_REFRESH_S)
        nodes[1].keep("two", presence_of(ALICE, 2), refresh_s=PRESENCE_REFRESH_S)
        both = {n.to_bytes(32, "big") for n in (1, 2)}
        await until_async(_sees(nodes[3], both), "they are not seen")
        await nodes[0].drop("one")
        for node in nodes:
            assert await online(node) == {(2).to_bytes(32, "big")}
        await nodes[1].drop_all(2.0)
        assert await online(nodes[4]) == set()


def _sees(node: DhtNode, devices: set[bytes]) -> Callable[[], "asyncio.Future[bool]"]:
    async def check() -> bool:
        return await online(node) == devices

    return lambda: asyncio.ensure_future(check())


async def test_a_soft_record_is_on_the_eight_nearest_and_nowhere_else() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 12)
        record = presence(ALICE, 1, real_runtime_from(0).clock.wall())
        assert (await nodes[0].put(record)).stored == SOFT_REPLICAS
        assert sum(len(storage_of(node)) for node in nodes) == SOFT_REPLICAS


async def test_old_records_replayed_to_every_replica_are_not_believed() -> None:
    """Goal: who recorded a presence cannot bring it back after the goodbye, not with a promise of long life either."""
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 4)
        recorded: list[SoftRecord] = []

        def make(sequence: int, issued_at_s: int, gone: bool) -> Signed[Presence]:
            recorded.append(presence(ALICE, sequence, issued_at_s, gone=gone))
            return recorded[-1]

        nodes[0].keep("presence", make, refresh_s=PRESENCE_REFRESH_S)
        await until_async(_sees(nodes[1], {(1).to_bytes(32, "big")}), "it is not seen")
        await nodes[0].drop("presence")
        (attacker,) = [await stack.enter_async_context(running_node(99, nodes[:1], client=True))]
        for old in recorded[:-1]:
            for contact in attacker.contacts():
                for remaining_s in (None, 1_000.0):
                    outcome = await attacker._replicas.store(contact, HER_SET, old.raw, remaining_s)
                    assert not outcome.holds
        for node in nodes:
            assert await online(node) == set()


async def test_a_replica_that_missed_the_goodbye_is_overruled_and_repaired() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 4)
        now_s = real_runtime_from(0).clock.wall()
        old, goodbye = presence(ALICE, 1, now_s), presence(ALICE, 2, now_s, gone=True)
        for node in nodes:
            storage_of(node).offer_entry(HER_SET, old)
        storage_of(nodes[0]).offer_entry(HER_SET, goodbye)
        assert await online(nodes[2]) == set()
        await until(
            lambda: all(
                [held.record.raw for held in storage_of(node).entries(HER_SET, "presence")] == [goodbye.raw]
                for node in nodes
            ),
            "those who lagged were not given the goodbye",
        )


async def test_what_does_not_belong_into_a_set_is_not_believed() -> None:
    """A replica that serves somebody else's entry, or one from the future, is not believed."""
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 2)
        now_s = real_runtime_from(0).clock.wall()
        shelf = storage_of(nodes[0])
        bad = [presence(key_of(2), 1, now_s), presence(ALICE, 1, now_s + 10_000)]
        nodes[0]._protocol.replica.entries = lambda *_: [HeldEntry(record, 50.0) for record in bad]  # type: ignore[method-assign]
        assert await online(nodes[1]) == set()
        assert nodes[1].statistics["record-dropped-wrong-place"] == 1
        assert nodes[1].statistics["record-dropped-from-the-future"] == 1
        assert len(shelf) == 0


async def test_large_sets_are_read_page_by_page() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        now_s = real_runtime_from(0).clock.wall()
        lobby = RoomId(bytes(32))
        members = [membership(key_of(seed), lobby, 1, now_s) for seed in range(60)]
        for number, member in enumerate(members):
            storage_of(nodes[number % 3]).offer_entry(membership_key(lobby), member)
        reading = await nodes[0].read_set(membership_key(lobby), Membership)
        assert set(reading.entries) == set(members)
        assert (reading.asked, reading.answered) == (3, 3)


async def test_a_sequence_number_others_remember_is_surpassed() -> None:
    """Goal: whose clock was ahead in an earlier run is seen again at once, not when the clock has caught up."""
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 3)
        now_s = real_runtime_from(0).clock.wall()
        ahead = presence(ALICE, int((now_s + 3_600) * 1_000), now_s, gone=True)
        await nodes[0].put(ahead)
        nodes[1].keep("presence", presence_of(ALICE), refresh_s=PRESENCE_REFRESH_S)
        await until_async(_sees(nodes[2], {(1).to_bytes(32, "big")}), "it stays hidden")


@pytest.mark.parametrize("seed", range(3))
def test_a_refreshed_record_lives_on_and_one_whose_owner_died_goes(seed: int) -> None:
    """In virtual time, with 10 % loss."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 6, runtime=runtime, within_s=120)
            async with running_node(500, nodes[:1], runtime=runtime) as owner:
                owner.keep("presence", presence_of(ALICE), refresh_s=PRESENCE_REFRESH_S)
                await asyncio.sleep(5)
                for _ in range(20):
                    await asyncio.sleep(PRESENCE_REFRESH_S / 2)
                    assert await online(nodes[2])
            await asyncio.sleep(PRESENCE_TTL_S + 10)
            for node in nodes:
                assert not await online(node)

    run_virtually(scene, seed=seed, loss=0.1)


def test_kept_again_in_the_same_slot_it_is_published_at_once() -> None:
    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 3, runtime=runtime)
            nodes[0].keep("presence", presence_of(ALICE, 1), refresh_s=PRESENCE_REFRESH_S)
            await asyncio.sleep(2)
            nodes[0].keep("presence", presence_of(ALICE, 2), refresh_s=PRESENCE_REFRESH_S)
            await asyncio.sleep(2)
            assert (2).to_bytes(32, "big") in await online(nodes[1])

    run_virtually(scene, seed=1)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_kept_before_there_was_a_network_is_published_once_there_is(seed: int) -> None:
    """At once: not when the next try or refresh is due."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 3, runtime=runtime)
            late = await stack.enter_async_context(running_node(500, runtime=runtime))
            late.keep("presence", presence_of(ALICE), refresh_s=PRESENCE_REFRESH_S)
            await asyncio.sleep(20)
            await late.bootstrap([NodeAddress(nodes[0].address, None)])
            await asyncio.sleep(0.2)
            assert all(list(storage_of(node).entries(HER_SET, "presence")) for node in nodes)

    run_virtually(scene, seed=seed, delay_s=(0.001, 0.01))


def test_goodbyes_arrive_although_somebody_has_just_died() -> None:
    """Leaving has two seconds; a search that waits for a silent node takes longer, so holders are told directly."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack, AsyncExitStack() as doomed:
            nodes = await start_nodes(stack, 5, runtime=runtime)
            for seed in (500, 501, 502, 503):
                await doomed.enter_async_context(running_node(seed, nodes[:1], runtime=runtime))
            nodes[0].keep("presence", presence_of(ALICE), refresh_s=PRESENCE_REFRESH_S)
            await asyncio.sleep(3)
            assert await online(nodes[1])
            await doomed.aclose()
            await nodes[0].drop_all(2.0)
            assert await online(nodes[1]) == set()

    run_virtually(scene, seed=1)


@pytest.mark.parametrize(("age_s", "given"), [(40, False), (59, False), (60, True), (110, True)])
def test_a_replica_that_missed_only_the_latest_refresh_is_not_repaired(age_s: int, given: bool) -> None:
    """The next refresh comes by itself; given to it by every reader, each version would travel a hundred times."""
    merge = SetMerge()
    older, newer = (presence(ALICE, sequence, 1_000 + issued_s) for sequence, issued_s in ((1, 0), (2, age_s)))
    merge.on_answer(replica(1), [HeldEntry(older, 30.0)], now_s=100.0)
    merge.on_answer(replica(2), [HeldEntry(newer, 100.0)], now_s=100.0)
    assert [lack.contact for lack in merge.lacks(100.0)] == ([replica(1)] if given else [])
    assert merge.reading(100.0).entries == (newer,)


@pytest.mark.parametrize(
    ("gone", "said_s_ago", "given"), [(False, 0, False), (False, 4, False), (False, 6, True), (True, 0, True)]
)
def test_what_may_still_be_on_its_way_is_not_given_a_goodbye_is(gone: bool, said_s_ago: int, given: bool) -> None:
    """Where many come at once every reader would overtake their authors; but a goodbye makes lists right."""
    merge = SetMerge()
    record = presence(ALICE, 1, 1_000, gone=gone)
    merge.on_answer(replica(1), [HeldEntry(record, record.body.ttl_s - said_s_ago)], now_s=100.0)
    merge.on_answer(replica(2), [], now_s=100.0)
    assert [lack.contact for lack in merge.lacks(100.0)] == ([replica(2)] if given else [])
