"""Many deadlines, one timer: on virtual time, each rings once, in order, unless it is settled."""

import asyncio
import random

from dhtchat.dht.alarms import Alarms
from dhtchat.runtime import Runtime
from tests.dht.support import run_virtually


def test_each_rings_at_its_time_unless_it_is_settled(seed: int) -> None:
    async def scene(runtime: Runtime) -> None:
        loop = asyncio.get_running_loop()
        source = random.Random(seed)
        settled: set[int] = set()
        rung: list[tuple[int, float]] = []
        alarms = Alarms[int](loop, lambda thing: rung.append((thing, loop.time())), settled.__contains__)
        due: dict[int, float] = {}
        for thing in range(200):
            delay_s = source.choice((0.5, 1.0, source.uniform(0, 3)))
            due[thing] = loop.time() + delay_s
            alarms.set(thing, delay_s)
            if source.random() < 0.3:
                settled.add(source.randrange(thing + 1))
            await asyncio.sleep(0.01)
        before = {thing for thing, _ in rung}
        await asyncio.sleep(4.0)
        assert [at_s for _, at_s in rung] == sorted(at_s for _, at_s in rung), seed
        assert all(abs(at_s - due[thing]) < 1e-6 for thing, at_s in rung), seed
        assert len({thing for thing, _ in rung}) == len(rung), seed
        assert {thing for thing, _ in rung} >= set(due) - settled, seed
        assert not settled & {thing for thing, _ in rung} - before, seed

    run_virtually(scene, seed=1)


def test_what_is_set_while_one_rings_comes_in_its_turn_and_nothing_after_the_end() -> None:
    async def scene(runtime: Runtime) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        rung: list[float] = []

        def ring(left: int) -> None:
            rung.append(round(loop.time() - started_s, 6))
            if left:
                alarms.set(left - 1, 0.25)

        alarms = Alarms[int](loop, ring, lambda left: False)
        alarms.set(3, 1.0)
        await asyncio.sleep(5.0)
        assert rung == [1.0, 1.25, 1.5, 1.75]
        alarms.set(0, 1.0)
        alarms.close()
        await asyncio.sleep(5.0)
        assert len(rung) == 4

    run_virtually(scene, seed=1)
