"""A task that sleeps until something is due wakes up in time for everybody who asked, and not otherwise. On virtual time."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import pytest

from dhtchat.app.alarm import Alarm
from simulations.loop import Deadlock, VirtualLoop


class LoopClock:
    """The monotonic clock of another start than the loop's own."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return 1_000.0 + self._loop.time()

    def wall(self) -> float:
        raise AssertionError("nobody asks for it")


def play(make: Callable[[Alarm, LoopClock], Coroutine[Any, Any, None]]) -> None:
    loop = VirtualLoop()
    clock = LoopClock(loop)
    loop.run(make(Alarm(clock), clock))
    assert loop.complaints == []


def test_it_sleeps_until_the_time() -> None:
    async def sleep(alarm: Alarm, clock: LoopClock) -> None:
        await alarm.sleep(1_007.0)
        assert clock.monotonic() == pytest.approx(1_007.0)
        await alarm.sleep(0.0)
        assert clock.monotonic() == pytest.approx(1_007.0), "what is due is not waited for"

    play(sleep)


def test_nobody_wakes_who_has_nothing_to_wait_for() -> None:
    async def sleep(alarm: Alarm, clock: LoopClock) -> None:
        await alarm.sleep()

    with pytest.raises(Deadlock):
        play(sleep)


def test_who_is_told_while_awake_does_not_oversleep_it() -> None:
    """Something changes while the task is busy looking: what it has looked at already is looked at again."""

    async def sleep(alarm: Alarm, clock: LoopClock) -> None:
        alarm.within(2.0)
        alarm.within(5.0)
        await alarm.sleep()
        assert clock.monotonic() == pytest.approx(1_002.0)
        with pytest.raises(TimeoutError):  # that look was for the other as well
            async with asyncio.timeout(60.0):
                await alarm.sleep()

    play(sleep)


def test_others_get_their_turn_even_from_who_is_always_late() -> None:
    async def sleep(alarm: Alarm, clock: LoopClock) -> None:
        turns = []
        asyncio.get_running_loop().call_soon(turns.append, "other")
        for _ in range(3):
            await alarm.sleep(-inf)
        assert turns == ["other"]

    play(sleep)


def test_a_sleeper_that_is_cancelled_leaves_nothing_behind() -> None:
    async def sleep(alarm: Alarm, clock: LoopClock) -> None:
        task = asyncio.create_task(alarm.sleep(1_500.0))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        alarm.within(3.0)
        await alarm.sleep(1_100.0)
        assert clock.monotonic() == pytest.approx(1_004.0)

    play(sleep)


@pytest.mark.parametrize("case", range(20))
def test_it_is_awake_whenever_somebody_asked_and_only_then(case: int, seed: int) -> None:
    """Against a list of all that was asked: each wake-up is at the earliest time asked for since the last one."""
    rng = random.Random(f"{seed}/{case}")

    async def sleep(alarm: Alarm, clock: LoopClock) -> None:
        asked: list[float] = []

        async def ask() -> None:
            for _ in range(30):
                await asyncio.sleep(rng.expovariate(1.0))
                at_s = clock.monotonic() + rng.choice((0.0, 0.5, rng.uniform(0.0, 5.0), 1e6))
                asked.append(at_s)
                alarm.by(at_s)

        asking = asyncio.create_task(ask())
        while not asking.done():
            until_s = clock.monotonic() + rng.choice((rng.uniform(0.0, 5.0), 30.0))
            asked.append(until_s)
            await alarm.sleep(until_s)
            assert clock.monotonic() == pytest.approx(min(asked))
            asked.clear()
        await asking

    play(sleep)
