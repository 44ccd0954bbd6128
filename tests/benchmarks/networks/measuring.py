"""The same course for every network: join, settle, look up, set, get, then twice lose nodes without a goodbye and go on.

Everything is bounded: an operation by OPERATION_BOUND_S, which is then how long it took, and each step by STEP_BOUND_S,
after which no further operation begins.
"""

import asyncio
import cProfile
import gc
import io
import pstats
import random
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.networks.driver import Network

IN_FLIGHT = 32
OPERATION_BOUND_S = 60.0
STEP_BOUND_S = 90.0
SETTLE_POLL_S = 2.0
SETTLE_GROWTH = 0.01
SETTLE_CPU_SHARE = 0.1
SETTLE_BOUND_S = 60.0
"""Settled: from one poll to the next all tables together have grown by less than this share, and all nodes together have
used less than this share of a core. What is bounded: a system that never rests is measured as it is."""
LOOKUPS = 60
LOOKUPS_AT_ONCE = 8
LOOKUPS_AFTER_LOSS = 32
GETS_AFTER_LOSS_MAX = 64
"""Twice IN_FLIGHT: where each takes 15 s that is all one waits for."""
PROFILE_ROWS = 45
LOSSES = {20: 0.2, 50: 0.5}
"""Share of the nodes that are dead by then."""


class Timings(NamedTuple):
    latencies_s: list[float]
    """Of each operation that began, the failed ones too."""
    good: int
    wall_s: float
    cpu_s: float

    @property
    def p50_ms(self) -> float:
        return 1_000 * percentile(self.latencies_s, 50)

    @property
    def p95_ms(self) -> float:
        return 1_000 * percentile(self.latencies_s, 95)

    @property
    def p99_ms(self) -> float:
        return 1_000 * percentile(self.latencies_s, 99)

    @property
    def per_s(self) -> float:
        return len(self.latencies_s) / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """Of this process, all threads."""
        return 1_000 * self.cpu_s / len(self.latencies_s)

    @property
    def cores(self) -> float:
        """How many it had. What asks without a pause needs all of one: less, and others had the machine meanwhile."""
        return self.cpu_s / self.wall_s

    @property
    def good_share(self) -> float:
        return self.good / len(self.latencies_s)


async def timed(operations: Sequence[Callable[[], Awaitable[bool]]], at_once: int) -> Timings:
    """Run them in order, so many at the same time. What raises or is not over in time has failed."""
    waiting = iter(operations)
    latencies_s: list[float] = []
    good = 0
    began_s, cpu_s = time.perf_counter(), time.process_time()

    async def work() -> None:
        nonlocal good
        for operation in waiting:
            started_s = time.perf_counter()
            if started_s - began_s > STEP_BOUND_S and latencies_s:
                return
            try:
                async with asyncio.timeout(OPERATION_BOUND_S):
                    worked = await operation()
            except Exception:  # noqa: BLE001 - whatever a rival raises, it has failed and is counted so
                worked = False
            good += worked  # not `good += await ...`, which adds to what it was before
            latencies_s.append(time.perf_counter() - started_s)

    await asyncio.gather(*[work() for _ in range(at_once)])
    return Timings(latencies_s, good, time.perf_counter() - began_s, time.process_time() - cpu_s)


class Course:
    """One network from its start to the loss of half of it. `figures` is what came of it, by the names in
    `tests.benchmarks.dht.MEASURES`."""

    def __init__(self, network: Network, *, nodes: int, values: int, seed: int) -> None:
        self.figures: dict[str, float] = {}
        self._network = network
        self._count = nodes
        self._values = values
        self._random = random.Random(f"course {seed}")
        """Drawn from in the same order whatever the network."""
        self._alive = list(range(nodes))
        self._ids: list[bytes] = []

    async def run(self, say: Callable[[str], None]) -> None:
        say("join")
        await self._join()
        say("look up")
        await self._look_up("", LOOKUPS, LOOKUPS_AT_ONCE)
        say("set and get")
        first = range(self._values)
        await self._network.prepare(3 * self._values)
        self.figures["value_bytes"] = self._network.value_bytes
        alone = await self.set(first, 1)
        self.figures["set_p50_ms"] = alone.p50_ms
        await self._get("", first, 1)
        many = await self.set(range(self._values, 3 * self._values), IN_FLIGHT)
        self.figures |= {"set_per_s": many.per_s, "set_cpu_ms": many.cpu_ms, "set_share": many.good_share}
        self.figures["set_cores"] = many.cores
        many = await self.get(first, IN_FLIGHT)
        self.figures |= {"get_per_s": many.per_s, "get_cpu_ms": many.cpu_ms}
        order = self._random.sample(self._alive, self._count)
        for turn, (percent, share) in enumerate(LOSSES.items(), start=1):
            say(f"lose {percent} %")
            dying = [node for node in order[: int(share * self._count)] if node in self._alive]
            self._alive = [node for node in self._alive if node not in dying]
            await self._network.kill(dying)
            kept = range(turn * self._values, turn * self._values + min(self._values, GETS_AFTER_LOSS_MAX))
            await self._get(f"_{percent}", kept, IN_FLIGHT)
            await self._look_up(f"_{percent}", LOOKUPS_AFTER_LOSS, LOOKUPS_AFTER_LOSS)

    async def run_profiled(self, operation: str) -> str:
        """The hottest functions of one operation in a settled network, IN_FLIGHT at once: its own time, then all below."""
        await self._join()
        await self._network.prepare(self._values)
        values = range(self._values)
        if operation == "get":
            await self.set(values, IN_FLIGHT)
        profile = cProfile.Profile()
        profile.enable()
        if operation == "lookup":
            await self._look_up("", self._values, IN_FLIGHT)
        else:
            await (self.set if operation == "set" else self.get)(values, IN_FLIGHT)
        profile.disable()
        told = io.StringIO()
        pstats.Stats(profile, stream=told).sort_stats("tottime").print_stats(PROFILE_ROWS)
        pstats.Stats(profile, stream=told).sort_stats("cumtime").print_stats(PROFILE_ROWS)
        return told.getvalue()

    async def _join(self) -> None:
        gc.collect()
        resident_before = resident_bytes()
        began_s = time.perf_counter()
        await self._network.start(self._count)
        self.figures["join_s"] = time.perf_counter() - began_s
        await self._settle()
        self._ids = self._network.node_ids()
        gc.collect()
        self.figures["contacts"] = self._network.contacts() / self._count
        self.figures["memory_kib"] = (resident_bytes() - resident_before) / 1024 / self._count

    async def _settle(self) -> None:
        """Nodes know each other from joining; their next searches for themselves, hundreds at once, are under way."""
        known, end_s = 0, time.perf_counter() + SETTLE_BOUND_S
        while time.perf_counter() < end_s:
            known_before, known = known, self._network.contacts()
            began_s, cpu_s = time.perf_counter(), time.process_time()
            await asyncio.sleep(SETTLE_POLL_S)
            share = (time.process_time() - cpu_s) / (time.perf_counter() - began_s)
            self.figures["idle_cores"] = share
            if share < SETTLE_CPU_SHARE and known <= known_before * (1 + SETTLE_GROWTH):
                return

    async def set(self, values: range, at_once: int) -> Timings:
        return await timed([self._asked(self._network.set, value) for value in values], at_once)

    async def get(self, values: range, at_once: int) -> Timings:
        return await timed([self._asked(self._network.get, value) for value in values], at_once)

    def _asked(self, operation: Callable[[int, int], Awaitable[bool]], value: int) -> Callable[[], Awaitable[bool]]:
        node = self._random.choice(self._alive)
        return lambda: operation(node, value)

    async def _get(self, suffix: str, values: range, at_once: int) -> None:
        timings = await self.get(values, at_once)
        self.figures[f"get{suffix}_p50_ms"] = timings.p50_ms
        self.figures[f"get{suffix}_p95_ms"] = timings.p95_ms
        self.figures[f"get{suffix}_share"] = timings.good_share

    async def _look_up(self, suffix: str, count: int, at_once: int) -> None:
        found_shares: list[float] = []

        def lookup(node: int, target: bytes) -> Callable[[], Awaitable[bool]]:
            async def run() -> bool:
                found = await self._network.lookup(node, target)
                found_shares.append(self._share_found(node, target, found))
                return True

            return run

        drawn = [(self._random.choice(self._alive), self._random.randbytes(20)) for _ in range(count)]
        sent_before = self._network.datagrams_sent()
        timings = await timed([lookup(*one) for one in drawn], at_once)
        sent = self._network.datagrams_sent()
        self.figures[f"lookup{suffix}_p50_ms"] = timings.p50_ms
        self.figures[f"nearest{suffix}_share"] = sum(found_shares) / len(timings.latencies_s)
        if sent is not None and sent_before is not None:
            self.figures[f"lookup{suffix}_datagrams"] = (sent - sent_before) / len(timings.latencies_s)

    def _share_found(self, node: int, target: bytes, found: list[bytes]) -> float:
        """Of the living that really are nearest, without the asker."""
        goal = int.from_bytes(target, "big")
        others = [self._ids[other] for other in self._alive if other != node]
        count = min(self._network.nearest_count, len(others))
        nearest = sorted(others, key=lambda node_id: int.from_bytes(node_id, "big") ^ goal)[:count]
        return len(set(nearest) & set(found)) / count


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def resident_bytes() -> int:
    """Now; where there is no /proc, the most it ever was."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
