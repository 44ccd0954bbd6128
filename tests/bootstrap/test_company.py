"""Bootstrap nodes that name each other find each other, whichever starts first, and again after a split. Virtual time."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from bootstrap.company import Company
from dhtchat.dht.node import DhtNode
from dhtchat.ids import Endpoint, NodeAddress
from dhtchat.limits import BOOTSTRAP_ADDRESSES_MAX, CONTACTS_REMEMBERED_MAX, REGREET_INTERVAL_S, SILENCE_MEMORY_S
from dhtchat.runtime import Runtime
from tests.dht.support import run_virtually, running_node

HALVES = tuple((Endpoint("10.0.0.1", port), Endpoint("10.0.0.1", port + 1)) for port in (1_000, 2_000))
"""A bootstrap node and a peer in each."""


async def start(
    stack: AsyncExitStack,
    runtime: Runtime,
    seed: int,
    at: Endpoint,
    *named: Endpoint,
    remembered: Sequence[NodeAddress] = (),
) -> DhtNode:
    """A bootstrap node that stays in touch with those it was started with."""
    node = await stack.enter_async_context(running_node(seed, runtime=runtime, local=at))
    company = Company(node, runtime, [NodeAddress(endpoint, None) for endpoint in named], remembered)
    group = await stack.enter_async_context(asyncio.TaskGroup())
    for task in (group.create_task(company.keep()), group.create_task(company.probe())):
        stack.callback(task.cancel)
    return node


def knows(node: DhtNode, *others: DhtNode) -> bool:
    return {other.node_id for other in others} <= {contact.node_id for contact in node.contacts()}


@pytest.mark.parametrize("seed", range(3))
def test_who_starts_first_finds_the_other_later(seed: int) -> None:
    """Goal: only the earlier one names the later one, and it keeps trying."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            early = await start(stack, runtime, 1, HALVES[0][0], HALVES[1][0])
            await asyncio.sleep(600)
            assert not early.contacts()
            late = await start(stack, runtime, 2, HALVES[1][0])
            await asyncio.sleep(2 * REGREET_INTERVAL_S)
            assert knows(early, late)
            assert knows(late, early)

    run_virtually(scene, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_halves_that_forgot_each_other_meet_again(seed: int) -> None:
    """Goal: after an hour apart nobody in one half has anybody of the other in its table; once the line is back, all find
    all, the peers too, who know nothing of this."""

    async def scene(runtime: Runtime) -> None:
        network = runtime.network
        async with AsyncExitStack() as stack:
            first = await start(stack, runtime, 1, HALVES[0][0], HALVES[1][0])
            second = await start(stack, runtime, 2, HALVES[1][0], HALVES[0][0])
            await asyncio.sleep(10)
            network.drop = lambda data, a, b: (a in HALVES[0]) != (b in HALVES[0])  # type: ignore[attr-defined]
            here, there = [
                await stack.enter_async_context(running_node(seed, [via], runtime=runtime, local=half[1]))
                for seed, via, half in zip((3, 4), (first, second), HALVES, strict=True)
            ]
            await asyncio.sleep(3_600)
            assert {contact.node_id for contact in first.contacts()} == {here.node_id}
            assert {contact.node_id for contact in second.contacts()} == {there.node_id}
            network.drop = lambda data, a, b: False  # type: ignore[attr-defined]
            await asyncio.sleep(2 * REGREET_INTERVAL_S + SILENCE_MEMORY_S)
            assert knows(first, second, here, there)
            assert knows(second, first, here, there)
            await asyncio.sleep(1_200)
            assert knows(here, there)

    run_virtually(scene, seed=seed)


@pytest.mark.parametrize("seed", range(2))
def test_an_own_address_among_those_named_does_no_harm(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """One list for all nodes of a group is what people write; each finds itself in it, and does not take that for a loss."""
    caplog.set_level("INFO", "dhtchat.bootstrap")

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            everybody = (HALVES[0][0], HALVES[1][0])
            first = await start(stack, runtime, 1, HALVES[0][0], *everybody)
            second = await start(stack, runtime, 2, HALVES[1][0], *everybody)
            await asyncio.sleep(5 * REGREET_INTERVAL_S)
            assert knows(first, second)
            assert knows(second, first)

    run_virtually(scene, seed=seed)
    assert [record.getMessage() for record in caplog.records].count("alone") <= 1, (
        "the first one, before the second was"
    )


def test_being_alone_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dhtchat.bootstrap")

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            await start(stack, runtime, 1, HALVES[0][0], HALVES[1][0])
            await asyncio.sleep(3_600)
            await start(stack, runtime, 2, HALVES[1][0])
            await asyncio.sleep(120)

    run_virtually(scene, seed=1)
    said = [record.getMessage() for record in caplog.records]
    assert said.count("alone") == 1, said
    assert said.count("joined") == 1


@pytest.mark.parametrize("seed", range(3))
def test_everybody_of_last_time_gets_a_turn(seed: int) -> None:
    """Goal: of two hundred remembered the last one is the only one alive, and it is found."""
    gone = [NodeAddress(Endpoint("10.0.0.1", port), None) for port in range(3_001, 3_000 + CONTACTS_REMEMBERED_MAX)]
    assert len(gone) > 2 * BOOTSTRAP_ADDRESSES_MAX

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            alive = await start(stack, runtime, 1, HALVES[0][0])
            remembered = [*gone, NodeAddress(HALVES[0][0], None)]
            back = await start(stack, runtime, 2, HALVES[1][0], remembered=remembered)
            await asyncio.sleep(3 * 3_600)
            assert knows(back, alive)

    run_virtually(scene, seed=seed)
