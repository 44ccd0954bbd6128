"""Records stay where they belong while nodes come and go."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import Endpoint, NodeAddress, PeerId, RecordKey, distance
from dhtchat.limits import PRESENCE_REFRESH_S, PRESENCE_TTL_S, SOFT_REPLICAS, UPKEEP_INTERVAL_S, UPKEEP_RESTART_S
from dhtchat.parameters import SIM, NetworkParameters
from dhtchat.records.presence import Presence, presence_key
from dhtchat.records.room import room_key
from dhtchat.runtime import Runtime
from tests.dht.support import (
    SMALL,
    key_of,
    presence,
    room,
    run_virtually,
    running_node,
    start_nodes,
    storage_of,
    until,
)

ALICE = key_of(1)
HER_SET = presence_key(PeerId(ALICE.public))
LOBBY = room_key("#lobby")


def holders(nodes: Sequence[DhtNode], key: RecordKey) -> set[DhtNode]:
    return {node for node in nodes if storage_of(node).claims(key)}


def nearest(nodes: Sequence[DhtNode], key: RecordKey, count: int) -> set[DhtNode]:
    return set(sorted(nodes, key=lambda node: distance(node.node_id, key))[:count])


async def test_a_late_node_is_given_what_is_there_and_its_giver_may_die() -> None:
    """Over real UDP: one node holds a room and a presence; a second one joins; the first is gone."""
    async with AsyncExitStack() as stack:
        async with running_node(1) as first:
            now_s = first._runtime.clock.wall()
            await first.put(room("#lobby", 1))
            await first.put(presence(ALICE, 1, now_s))
            late = await stack.enter_async_context(running_node(2, [first]))
            await until(lambda: len(storage_of(late)) == 2, "nothing was handed on")
        assert (await late.read_claims(LOBBY)).owner == room("#lobby", 1)
        assert len((await late.read_set(HER_SET, Presence)).entries) == 1


@pytest.mark.parametrize("settled_s", [0.0, 60.0])
def test_hand_off_goes_to_those_who_are_near_without_a_storm(settled_s: float) -> None:
    """Goal: each of 20 rooms is soon on the k nearest nodes of 10, and nobody is given the same thing again and again.

    Six come at once, so each is at first surrounded by others who hold nothing either. In virtual time, k = 4. In seven
    networks, because in some of them several have to give the same thing: none knows who else holds it.
    """
    stores = needed = 0

    async def scene(runtime: Runtime, seed: int) -> None:
        nonlocal stores, needed
        async with AsyncExitStack() as stack:
            first = await start_nodes(stack, 4, seed=seed, parameters=SMALL, runtime=runtime)
            names = [f"#r{number}" for number in range(20)]
            for number, name in enumerate(names):
                assert (await first[0].put(room(name, number, SMALL))).stored == SMALL.k
            await asyncio.sleep(settled_s)
            late = await start_late(stack, 6, first[0], SMALL, runtime)
            nodes = [*first, *late]
            await asyncio.sleep(20)
            lacking = [nearest(nodes, room_key(name), SMALL.k) - holders(nodes, room_key(name)) for name in names]
            # With full buckets the giver may not know a newcomer: for those there is upkeep, minutes later.
            assert sum(map(len, lacking)) <= 0.2 * SMALL.k * len(names), seed
            stores += sum(node.statistics["request-Store"] for node in late)
            needed += sum(len(nearest(nodes, room_key(name), SMALL.k) & set(late)) for name in names)
            await asyncio.sleep(2 * UPKEEP_INTERVAL_S)
            for name in names:
                assert nearest(nodes, room_key(name), SMALL.k) <= holders(nodes, room_key(name)), seed

    for seed in range(7):
        run_virtually(partial(scene, seed=seed), seed=seed)
    assert stores <= 2 * needed, "a storm"


@pytest.mark.parametrize("seed", range(3))
def test_a_presence_follows_the_network_while_many_come_at_once(seed: int) -> None:
    """Goal: who came online among the first of 40 within four seconds is found before anything is refreshed, and until the
    next search for replicas. Each newcomer is at first surrounded by others who hold nothing either. In virtual time.

    One of them may have to wait for its first refresh: who came while it searched for its replicas is taken for one.
    """
    count, gap_s = 40, 0.1

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(running_node(1_000 * seed, runtime=runtime))]
            lives = [await stack.enter_async_context(AsyncExitStack()) for _ in range(count)]

            async def come(number: int) -> None:
                await asyncio.sleep(gap_s * number)
                node = running_node(1_000 * seed + 1 + number, nodes[:1], runtime=runtime)
                nodes.append(await lives[number].enter_async_context(node))
                owner = key_of(number)
                nodes[-1].keep(
                    "presence",
                    lambda sequence, issued_at_s, gone: presence(owner, sequence, issued_at_s, gone=gone),
                    refresh_s=PRESENCE_REFRESH_S,
                )

            await asyncio.gather(*(come(number) for number in range(count)))
            for seconds in range(20, 140, 10):
                await asyncio.sleep(20 if seconds == 20 else 10)
                lost = []
                for number in range(count):
                    key = presence_key(PeerId(key_of(number).public))
                    near = nearest(nodes, key, SOFT_REPLICAS)
                    if not any(list(storage_of(node).entries(key, Presence.KIND)) for node in near):
                        lost.append(number)
                assert len(lost) <= (seconds < 1.25 * PRESENCE_REFRESH_S), f"after {seconds} s"

    run_virtually(scene, seed=seed)


async def start_late(
    stack: AsyncExitStack, count: int, via: DhtNode, parameters: NetworkParameters, runtime: Runtime
) -> list[DhtNode]:
    """All at the same time."""
    joining = [running_node(7_000 + number, [via], parameters=parameters, runtime=runtime) for number in range(count)]
    lives = [await stack.enter_async_context(AsyncExitStack()) for _ in joining]
    return await asyncio.gather(*(life.enter_async_context(node) for life, node in zip(lives, joining, strict=True)))


def test_a_hand_off_never_extends_a_life() -> None:
    """Goal: however often a presence is handed from node to node and read, it dies when it should."""

    async def scene(runtime: Runtime) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 3, runtime=runtime)
            dies_s = loop.time() + PRESENCE_TTL_S
            await nodes[0].put(presence(ALICE, 1, runtime.clock.wall()))
            for number in range(4):
                await asyncio.sleep(PRESENCE_TTL_S / 6)
                late = await stack.enter_async_context(running_node(500 + number, nodes[:1], runtime=runtime))
                await asyncio.sleep(2)
                assert len((await late.read_set(HER_SET, Presence)).entries) == 1
                nodes.append(late)
            assert all(list(storage_of(node).entries(HER_SET, "presence")) for node in nodes)
            await asyncio.sleep(dies_s - loop.time() + 1)
            for node in nodes:
                assert (await node.read_set(HER_SET, Presence)).entries == ()
                assert not list(storage_of(node).entries(HER_SET, "presence"))

    run_virtually(scene, seed=1)


@pytest.mark.parametrize("seed", range(3))
def test_a_room_survives_the_slow_replacement_of_every_node(seed: int) -> None:
    """Goal: durable means durable. Method: k = 4; every four minutes one node goes silently and another comes, until
    nobody who was there at the start is left, twice over."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            lives: list[tuple[DhtNode, AsyncExitStack]] = []

            async def come(number: int) -> None:
                life = await stack.enter_async_context(AsyncExitStack())
                via = [node for node, _ in lives[-2:]]
                node = running_node(9_000 + number, via, parameters=SMALL, runtime=runtime)
                lives.append((await life.enter_async_context(node), life))

            for number in range(6):
                await come(number)
            record = room("#lobby", 1, SMALL)
            assert (await lives[0][0].claim(record)).owner == record
            for number in range(6, 18):
                _, life = lives.pop(0)
                await life.aclose()
                await come(number)
                await asyncio.sleep(240)
                for node, _ in lives:
                    await node.probe()
            for node, _ in lives:
                reading = await node.read_claims(LOBBY)
                assert reading.owner == record
                assert reading.decision.certain
            nodes = [node for node, _ in lives]
            assert nearest(nodes, LOBBY, SMALL.k) <= holders(nodes, LOBBY)

    run_virtually(scene, seed=seed)


def test_upkeep_gives_a_record_to_a_replica_that_lost_it() -> None:
    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 4, parameters=SMALL, runtime=runtime)
            record = room("#lobby", 1, SMALL)
            await nodes[0].put(record)
            storage_of(nodes[2])._claims.clear()
            await asyncio.sleep(2 * UPKEEP_INTERVAL_S)
            assert holders(nodes, LOBBY) == set(nodes)

    run_virtually(scene, seed=1)


def test_a_reader_repairs_replicas_that_lack_what_it_read() -> None:
    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 4, parameters=SMALL, runtime=runtime)
            await asyncio.sleep(20)  # no hand-off is under way that would do it as well
            for node in nodes[:2]:  # not so many that it could stop before it has asked everybody
                storage_of(node).offer_claim(LOBBY, room("#lobby", 1, SMALL))
            client = await stack.enter_async_context(
                running_node(99, nodes[:1], parameters=SMALL, runtime=runtime, client=True)
            )
            await client.read_claims(LOBBY)
            await asyncio.sleep(2)
            assert holders(nodes, LOBBY) == set(nodes)

    run_virtually(scene, seed=1)


def test_rivals_in_two_halves_of_a_healed_network_end_with_one_owner() -> None:
    """Both halves granted the name; once they meet, the votes settle on one, and everybody sees that it was contested
    only until then."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            left = await start_nodes(stack, 2, seed=1, parameters=SMALL, runtime=runtime)
            right = await start_nodes(stack, 2, seed=2, parameters=SMALL, runtime=runtime)
            ours, theirs = room("#lobby", 1, SMALL), room("#lobby", 2, SMALL)
            assert (await left[0].claim(ours)).owner == ours
            assert (await right[0].claim(theirs)).owner == theirs
            await left[0].bootstrap([NodeAddress(right[0].address, None)])
            await asyncio.sleep(2 * UPKEEP_INTERVAL_S)
            readings = [await node.read_claims(LOBBY) for node in left + right]
            assert len({reading.owner for reading in readings}) == 1
            assert all(reading.decision.certain and not reading.decision.contested for reading in readings)
            assert all(len(reading.records) == 2 for reading in readings), "the loser's claim is still known"

    run_virtually(scene, seed=1)


def test_after_a_restart_a_replica_gives_back_what_it_has_on_disk(tmp_path: Path) -> None:
    """Everybody stops; one comes back with its disk, then another with nothing."""

    async def scene(runtime: Runtime) -> None:
        shelf = RecordStorage(tmp_path / "records.sqlite", parameters=SIM, clock=runtime.clock)
        async with running_node(1, runtime=runtime, storage=shelf) as node:
            await node.put(room("#lobby", 1))
        shelf.close()
        shelf = RecordStorage(tmp_path / "records.sqlite", parameters=SIM, clock=runtime.clock)
        async with AsyncExitStack() as stack:
            fresh = await start_nodes(stack, 3, seed=4, runtime=runtime)
            await stack.enter_async_context(running_node(1, fresh[:1], runtime=runtime, storage=shelf))
            await asyncio.sleep(UPKEEP_RESTART_S + 2)
            assert holders(fresh, LOBBY) == set(fresh)
        shelf.close()

    run_virtually(scene, seed=1)


def test_a_new_replica_does_not_vote_for_a_thief() -> None:
    """Goal: who asks the newest node first does not get its vote, although it has been handed nothing yet."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 3, parameters=SMALL, runtime=runtime)
            mine, theirs = room("#lobby", 1, SMALL), room("#lobby", 2, SMALL)
            assert (await nodes[0].claim(mine)).owner == mine
            new = await stack.enter_async_context(running_node(500, nodes[:1], parameters=SMALL, runtime=runtime))
            thief = await stack.enter_async_context(
                running_node(99, nodes[:1], parameters=SMALL, runtime=runtime, client=True)
            )
            contact = next(c for c in thief.contacts() if c.node_id == new.node_id)
            await thief._replicas.store(contact, LOBBY, theirs.raw)
            assert storage_of(new).claims(LOBBY) == [mine, theirs]

    run_virtually(scene, seed=1)


def test_what_a_far_holder_alone_still_has_gets_back_to_the_nearest() -> None:
    """A holder that is not among the nearest any more, and whose hand-off went wrong, gives it to them at its upkeep."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 8, parameters=SMALL, runtime=runtime)
            far = max(nodes, key=lambda node: distance(node.node_id, LOBBY))
            await far._replicas.store(_contact(far), LOBBY, room("#lobby", 1, SMALL).raw)
            assert holders(nodes, LOBBY) == {far}
            await asyncio.sleep(2 * UPKEEP_INTERVAL_S)
            assert nearest(nodes, LOBBY, SMALL.k) <= holders(nodes, LOBBY)

    run_virtually(scene, seed=1)


def _contact(node: DhtNode) -> "tuple[bytes, Endpoint]":
    contact = node._own_contact()
    assert contact is not None
    return contact
