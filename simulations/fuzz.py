"""`dhtchat simulate fuzz`: draws who is there, what they say and what goes wrong from the seed, again and again.

Each run is a plan (`plans.py`): first everything may go wrong and nothing that was promised may be broken; then all faults
stop, everybody is brought back, and all must agree. The same seed gives the same trace.
"""

import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from . import plans
from .checkers import INVARIANTS, NO_TASK_LEFT
from .network import Latency
from .plans import Plan
from .playing import Playing
from .result import Lookups, Messages, Result
from .runner import run_scenario
from .shrinking import shrink
from .watching import WATCHED
from .world import World

NAME = "fuzz"
SHRINK_RUNS_MAX = 60
"""Runs spent on making one failure smaller: as much again as looking for it costs."""


class Finding(Result, frozen=True, kw_only=True):
    """A run that failed, as it is printed. `plan`: what is left of it after shrinking, in words."""

    plan: list[str]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of all. `virtual_s`: of all runs together."""

    scenario: str = NAME
    runs: int
    seed: int
    failed: list[int]
    """The seeds of the runs that failed."""
    virtual_s: float
    wall_s: float
    datagrams: int


class Run(NamedTuple):
    plan: Plan
    result: Result


class _Scenario:
    """A plan as the runner wants it."""

    NAME = NAME
    QUESTION = "What breaks?"

    def __init__(self, plan: Plan) -> None:
        self.NODES = len(plan.people)
        self._plan = plan

    async def play(self, world: World, nodes: int) -> None:
        await Playing(world, self._plan).play()


def repeat_command(seed: int) -> str:
    return f"dhtchat simulate {NAME} --seed {seed} --runs 1"


def run_plan(plan: Plan) -> Result:
    """Play it once and judge it. Whatever is raised is a violation as well."""
    started_s = time.monotonic()
    try:
        result = run_scenario(_Scenario(plan), nodes=len(plan.people), seed=plan.seed, latency=Latency(*plan.latency_s))
    except Exception as error:  # noqa: BLE001 - a deadlock, for instance: the seed must be printed beside it
        result = _broken(plan, f"{NO_TASK_LEFT}: {type(error).__name__}: {error}", time.monotonic() - started_s)
    return msgspec.structs.replace(
        result, repeat=repeat_command(plan.seed), invariants=[*INVARIANTS, NO_TASK_LEFT, *WATCHED]
    )


def _broken(plan: Plan, violation: str, wall_s: float) -> Result:
    """Of a run that did not come to its end."""
    return Result(
        scenario=NAME,
        nodes=len(plan.people),
        seed=plan.seed,
        virtual_s=0.0,
        wall_s=round(wall_s, 3),
        rss_mib=0.0,
        datagrams=0,
        trace="",
        lookups=Lookups(count=0, success=0, hops_mean=0, p50_ms=0, p95_ms=0, p99_ms=0, datagrams_mean=0),
        messages=Messages(
            sent=0, expected=0, delivered=0, lost=0, duplicates=0, p50_ms=0, p99_ms=0, copies_per_member=0
        ),
        invariants=[],
        violations=[violation],
        repeat="",
    )


def search(*, runs: int, seed: int) -> Iterator[Run]:
    """The runs of these seeds, from `seed` on, one after the other."""
    for run_seed in range(seed, seed + runs):
        plan = plans.draw(run_seed)
        yield Run(plan, run_plan(plan))


def broken(result: Result) -> frozenset[str]:
    """The invariants that a run violated."""
    return frozenset(violation.partition(":")[0] for violation in result.violations)


def shrunk(run: Run) -> Plan:
    """A smaller plan that breaks one of the same invariants."""
    wanted = broken(run.result)
    return shrink(run.plan, lambda plan: bool(wanted & broken(run_plan(plan))), runs_max=SHRINK_RUNS_MAX)


def fuzz(*, runs: int, seed: int, json: bool, quiet: bool) -> int:
    """Exit code 0, or 1 when any run failed."""
    started_s = time.monotonic()
    failed: list[int] = []
    virtual_s, datagrams = 0.0, 0
    progress = sys.stderr.isatty() and not quiet
    for number, run in enumerate(search(runs=runs, seed=seed), start=1):
        virtual_s += run.result.virtual_s
        datagrams += run.result.datagrams
        if progress:
            print(f"\r{number} of {runs} runs, {len(failed)} failed", end="", file=sys.stderr, flush=True)
        if run.result.violations:
            failed.append(run.plan.seed)
            if progress:
                print(f"\rseed {run.plan.seed} failed; making it smaller", file=sys.stderr)
            _print_finding(run, json=json)
    if progress:
        print(file=sys.stderr)
    summary = Summary(
        runs=runs,
        seed=seed,
        failed=failed,
        virtual_s=round(virtual_s, 3),
        wall_s=round(time.monotonic() - started_s, 3),
        datagrams=datagrams,
    )
    if json:
        print(msgspec.json.encode(summary).decode())
    else:
        verdict = f"{len(failed)} failed" if failed else "all invariants hold"
        print(
            f"{NAME}: {runs} runs from seed {seed}, {virtual_s:.0f} virtual seconds in {summary.wall_s:.1f} s: {verdict}"
        )
    return 1 if failed else 0


def _print_finding(run: Run, *, json: bool) -> None:
    words = plans.in_words(shrunk(run))
    if json:
        print(msgspec.json.encode(Finding(**msgspec.structs.asdict(run.result), plan=words)).decode())
    else:
        print(failure_in_words(run, words))


def failure_in_words(run: Run, words: list[str]) -> str:
    """What broke, how to see it again, and what led to it."""
    lines = [f"seed {run.plan.seed} failed"]
    lines += [f"  VIOLATED {violation}" for violation in run.result.violations]
    lines += [f"  again with: {run.result.repeat}", "  a smaller plan that breaks the same:"]
    return "\n".join([*lines, *(f"    {line}" for line in words)])
