"""Systems that take turns: two ends that talk for each, the near ones in this process, figures as one JSON object on stdout."""

import argparse
import asyncio
import cProfile
import itertools
import json
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.benchmarks.networks.__main__ import NOT_INSTALLED
from tests.benchmarks.networks.measuring import PROFILE_ROWS, Timings, timed
from tests.benchmarks.talking import bare, floor, irc, memory, ours, toxcore
from tests.benchmarks.talking.ends import NotInstalled, Talk

IN_FLIGHT = 64
TIMES_MORE_IN_FLIGHT = 4
"""So many more lines with many in flight than one at a time."""
TURNS = 10
SYSTEMS: dict[str, type[Talk]] = {
    "floor": floor.FloorTalk,
    "threaded": floor.ThreadedTalk,
    "sharing": floor.SharingTalk,
    "ours": ours.OurTalk,
    "toxcore": toxcore.ToxTalk,
    "toxecho": toxcore.EchoTalk,
    "ngircd": irc.IrcTalk,
}
FAR: dict[str, Callable[[dict[str, str]], Awaitable[None]]] = {
    "floor": partial(floor.far, system="floor"),
    "threaded": partial(floor.far, system="threaded"),
    "sharing": partial(floor.far, system="sharing"),
    "ours": ours.far,
    "toxcore": toxcore.far,
    "toxecho": toxcore.far,
    "ngircd": irc.far,
    "memory": memory.far,
    "bare": bare.far,
}


class Course:
    """Systems that take turns, so that each has its share of what the machine and its disk do meanwhile."""

    def __init__(self, talk: Talk, lines: int) -> None:
        self.talk = talk
        self.lines = max(1, lines // talk.slower)
        self.alone: list[Timings] = []
        self.many: list[Timings] = []
        self.far_cpu_s = 0.0
        self._numbers = itertools.count()

    async def warm_up(self) -> None:
        await self.talk.start()
        await timed(self._sayings(min(self.talk.first_lines, 2 * self.lines)), 1)

    async def say_alone(self) -> None:
        self.alone.append(await timed(self._sayings(-(-self.lines // TURNS)), 1))

    async def say_many(self) -> None:
        far_cpu_s = await self.talk.far.cpu_s()
        self.many.append(await timed(self._sayings(-(-TIMES_MORE_IN_FLIGHT * self.lines // TURNS)), IN_FLIGHT))
        self.far_cpu_s += await self.talk.far.cpu_s() - far_cpu_s

    async def idle_percent(self, idle_s: float) -> float:
        """Of a core, the far end with nobody talking."""
        await asyncio.sleep(idle_s / 4)  # what the last lines leave to be done
        began_s, cpu_s = time.perf_counter(), await self.talk.far.cpu_s()
        await asyncio.sleep(idle_s)
        return 100 * (await self.talk.far.cpu_s() - cpu_s) / (time.perf_counter() - began_s)

    @property
    def figures(self) -> dict[str, float]:
        """By the names in `tests.benchmarks.talk.MEASURES`."""
        alone, many = _together(self.alone), _together(self.many)
        said = len(alone.latencies_s) + len(many.latencies_s)
        return {
            "p50_ms": alone.p50_ms,
            "p99_ms": alone.p99_ms,
            "per_s": many.per_s,
            "near_cpu_ms": many.cpu_ms,
            "far_cpu_ms": 1_000 * self.far_cpu_s / len(many.latencies_s),
            "share": (alone.good + many.good) / said,
        }

    def _sayings(self, count: int) -> list[Callable[[], Awaitable[bool]]]:
        return [partial(self.talk.say, next(self._numbers)) for _ in range(count)]


def _together(turns: list[Timings]) -> Timings:
    latencies_s = [latency for turn in turns for latency in turn.latencies_s]
    return Timings(latencies_s, sum(t.good for t in turns), sum(t.wall_s for t in turns), sum(t.cpu_s for t in turns))


async def run(
    talks: dict[str, Talk], lines: int, idle_s: float, *, profile: bool = False
) -> dict[str, dict[str, float]]:
    """Figures by system."""
    courses = {system: Course(talk, lines) for system, talk in talks.items()}
    try:
        return await _run(courses, idle_s, profile=profile)
    finally:  # also when something went wrong: a server of somebody else's would go on
        for course in courses.values():
            await course.talk.stop()


async def _run(courses: dict[str, Course], idle_s: float, *, profile: bool) -> dict[str, dict[str, float]]:
    for course in courses.values():
        await course.warm_up()
    for _ in range(TURNS):
        for course in courses.values():
            await course.say_alone()
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    for _ in range(TURNS):
        for course in courses.values():
            await course.say_many()
    if profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(PROFILE_ROWS)
    figures = {system: course.figures for system, course in courses.items()}
    for system, course in courses.items():
        if idle_s and course.talk.may_idle:
            figures[system]["idle_percent"] = await course.idle_percent(idle_s)
        await course.talk.far.stop()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.talking", description=__doc__)
    parser.add_argument("systems", nargs="+", choices=FAR)
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--idle", type=float, default=0.0, metavar="S", help="then measure an idle end for so long")
    parser.add_argument("--profile", action="store_true", help="cProfile of the near end with many in flight")
    parser.add_argument("--far", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.far is not None:
            asyncio.run(FAR[arguments.systems[0]](arguments.far))
            os._exit(0)
        if arguments.systems == ["memory"]:
            figures = {"memory": {"links_kib": asyncio.run(memory.kib_per_8_links())}}
        else:
            with tempfile.TemporaryDirectory(prefix="dhtchat-talk-", ignore_cleanup_errors=True) as folder:
                talks = {system: SYSTEMS[system](Path(folder, system)) for system in arguments.systems}
                for talk in talks.values():
                    talk.folder.mkdir()
                figures = asyncio.run(run(talks, arguments.lines, arguments.idle, profile=arguments.profile))
    except NotInstalled as missing:
        print(missing, file=sys.stderr)
        return NOT_INSTALLED
    print(json.dumps(figures), flush=True)
    os._exit(0)  # to end everything in good order is not measured


if __name__ == "__main__":
    raise SystemExit(main())
