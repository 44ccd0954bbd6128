"""Faults end with their block, whatever else is in force, and hit whom they name."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from simulations.faults import Faults, Isolation
from simulations.loop import VirtualLoop
from simulations.network import Fabric, Latency

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    loop = VirtualLoop()
    yield Fabric(loop, random.Random(1), Latency())
    loop.close()


def passes(fabric: Fabric, source: str, target: str) -> bool:
    return not fabric.judge(source, target).lost


def test_a_partition_cuts_both_ways_between_its_sides_only(fabric: Fabric) -> None:
    with Faults(fabric).partition([A], [B]):
        assert not passes(fabric, A, B)
        assert not passes(fabric, B, A)
        assert passes(fabric, A, C)
        assert passes(fabric, C, B)
    assert passes(fabric, A, B)


def test_a_one_way_partition_cuts_one(fabric: Fabric) -> None:
    with Faults(fabric).partition([A], [B], one_way=True):
        assert not passes(fabric, A, B)
        assert passes(fabric, B, A)


def test_isolated_hosts_reach_nobody_and_may_change(fabric: Fabric) -> None:
    dark = Isolation([A])
    with Faults(fabric).rule(dark):
        assert not passes(fabric, A, B)
        assert not passes(fabric, B, A)
        dark.hosts = {B}
        assert passes(fabric, A, C)
        assert not passes(fabric, C, B)


def test_nested_rules_add_up_and_each_ends_with_its_own_block(fabric: Fabric) -> None:
    """Two rules of different kinds with the same numbers are equal as tuples: the right one must go."""
    faults = Faults(fabric)
    with faults.loss(1.0):
        with faults.duplication(1.0):
            verdict = fabric.judge(A, B)
            assert (verdict.lost, verdict.copies) == (True, 2)
        verdict = fabric.judge(A, B)
        assert (verdict.lost, verdict.copies) == (True, 1)
    assert fabric.rules == []


def test_a_rule_ends_when_its_block_fails(fabric: Fabric) -> None:
    with pytest.raises(RuntimeError), Faults(fabric).loss(1.0):
        raise RuntimeError
    assert passes(fabric, A, B)


def test_delays_add_up(fabric: Fabric) -> None:
    faults = Faults(fabric)
    with faults.reordering(1.0, delay_s=1.0), faults.slow_paths(1.0, mean_s=1.0):
        delays_s = [fabric.judge(A, B).extra_delay_s for _ in range(1_000)]
    assert 1.3 < sum(delays_s) / len(delays_s) < 1.7


def test_swizzle_clog_stops_hosts_one_by_one_and_lets_them_back_in_another_order(fabric: Fabric) -> None:
    reachable: list[str] = []

    async def watch() -> None:
        for _ in range(4):
            await asyncio.sleep(1.0)
            reachable.append("".join(name for name, host in (("a", A), ("b", B)) if passes(fabric, C, host)))

    async def play() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            await asyncio.sleep(0.5)
            await Faults(fabric).swizzle_clog([A, B], [A, B], step_s=1.0)

    loop = fabric.loop
    assert isinstance(loop, VirtualLoop)
    loop.run(play())
    assert reachable == ["b", "", "a", "ab"]
    assert fabric.rules == []
