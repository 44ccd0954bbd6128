"""Private talk: from saying a line until it is known that the other side has it on disk; ours against the least that this can
cost in Python, toxcore and ngircd. Then what a peer costs that does nothing, and what links cost in memory.

Both ends of each system are processes of their own; what is compared closely takes turns, a few lines each.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.benchmarks.dht import Figures, Measure, grid
from tests.benchmarks.networks.__main__ import NOT_INSTALLED

LINES = 300
IDLE_S = 60.0
GROUPS = (("floor", "threaded", "sharing", "ours"), ("toxcore",), ("toxecho",), ("ngircd",), ("memory",))
"""What takes turns in one run, one group after the other."""
GROUP_BOUND_S = 1_200
MEASURES = (
    Measure("p50_ms", "round trip, p50", "ms"),
    Measure("p99_ms", "round trip, p99", "ms"),
    Measure("per_s", "lines, 64 in flight", "/s", True),
    Measure("near_cpu_ms", "CPU per line, who says it", "ms"),
    Measure("far_cpu_ms", "CPU per line, who hears it", "ms"),
    Measure("idle_percent", "CPU of an idle end", "% of a core"),
    Measure("links_kib", "memory, 8 links", "KiB"),
    Measure("share", "lines acknowledged", "", True),
)
PAIRS = tuple(("ours", other) for other in ("floor", "threaded", "sharing", "toxcore", "toxecho", "ngircd"))
UNLIKE = """\
These do not do the same work:
  ours      two whole peers: identities, order, history with search; the line is on both disks, statuses are shown.
  floor     asyncio, TLS 1.3, one signature, one check, and one commit on each side for each line, on the loop.
  threaded  as floor, commits in a thread. The floor that goals speak of is the lower of these two.
  sharing   as floor, lines that come together share a commit, as they do in ours.
            Either does strictly less than ours: a ratio below 1 tells of the disk and the scheduler. TMPDIR=/dev/shm
            leaves the disk out.
  toxcore   at its own pace, acknowledged by its own receipts. Nothing is kept on disk, nothing is signed.
  toxecho   the same, acknowledged by an answer of the other program.
  ngircd    a server in between, without TLS, acknowledged by an answer. Nothing is kept on disk, nothing is signed.
The pace of our own client is lifted through the argument `pacer` of ChatNode."""


class Goal(NamedTuple):
    """`limit` of measure / the same of `against` (the best of them); of the figure itself when that is empty."""

    measure: str
    against: tuple[str, ...]
    limit: float
    at_least: bool = False


_FLOORS = ("floor", "threaded")
GOALS = (
    Goal("p50_ms", _FLOORS, 1.3),
    Goal("p99_ms", _FLOORS, 2.5),
    Goal("per_s", _FLOORS, 0.6, at_least=True),
    Goal("p50_ms", ("toxcore",), 1 / 50),
    Goal("idle_percent", (), 0.05),
    Goal("links_kib", (), 400.0),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("talk", "Compared when installed: Debian's libtoxcore2 and ngircd")
    group.add_argument("--lines", type=int, default=LINES, help=f"said one at a time ({LINES})")
    group.add_argument("--idle", type=float, default=IDLE_S, metavar="S", help=f"seconds of idleness ({IDLE_S:g})")


def measure(arguments: argparse.Namespace) -> int:
    """Print a table or JSON lines. The exit code: 1 when a system failed."""
    failed: list[str] = []
    figures = dict(_measured(arguments, failed))
    if arguments.json:
        for line in json_lines(figures):
            print(json.dumps(line))
    else:
        print("\n".join(table(figures)))
    return bool(failed)


def _measured(arguments: argparse.Namespace, failed: list[str]) -> Iterator[tuple[str, Figures]]:
    for group in GROUPS:
        print(f"  {', '.join(group)}", file=sys.stderr)
        command = [sys.executable, "-m", "tests.benchmarks.talking", *group]
        command += ["--lines", str(arguments.lines), "--idle", str(arguments.idle)]
        try:
            ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=GROUP_BOUND_S)
        except subprocess.TimeoutExpired:
            print(f"{', '.join(group)} was given up after {GROUP_BOUND_S} s", file=sys.stderr)
            failed.extend(group)
            continue
        if ended.returncode == 0:
            yield from json.loads(ended.stdout).items()
        elif ended.returncode != NOT_INSTALLED:
            print(f"{', '.join(group)} failed, see above", file=sys.stderr)
            failed.extend(group)


# --- what it says -----------------------------------------------------------------------------------------------------


def ratios(figures: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
    """By whom ours is compared with, then by measure: ours / theirs."""
    found = {}
    for ours, other in PAIRS:
        if ours in figures and other in figures:
            mine, theirs = figures[ours], figures[other]
            found[other] = {
                m.name: mine[m.name] / theirs[m.name] for m in MEASURES if m.name in mine and theirs.get(m.name)
            }
    return found


def judged(figures: Mapping[str, Figures]) -> Iterator[tuple[Goal, float, bool]]:
    """Each goal that something was measured for, the value it speaks of, and whether that is good enough."""
    better = {m.name: max if m.more_is_better else min for m in MEASURES}
    for goal in GOALS:
        mine = [f[goal.measure] for system, f in figures.items() if system in ("ours", "memory") and goal.measure in f]
        theirs = [figures[system][goal.measure] for system in goal.against if system in figures]
        if not mine or bool(theirs) != bool(goal.against):
            continue
        value = mine[0] / better[goal.measure](theirs) if theirs else mine[0]
        yield goal, value, value >= goal.limit if goal.at_least else value <= goal.limit


def table(figures: Mapping[str, Figures]) -> list[str]:
    """Ratios first."""
    words = {m.name: m for m in MEASURES}
    lines = ["", "  ours / theirs"]
    compared = ratios(figures)
    rows: list[tuple[str, Sequence[float | None]]]
    rows = [(m.words, [found.get(m.name) for found in compared.values()]) for m in MEASURES]
    lines += grid(list(compared), rows)
    lines += ["", "  goals"]
    for goal, value, met in judged(figures):
        measure_ = words[goal.measure]
        unit = f"times the best of {', '.join(goal.against)}" if goal.against else measure_.unit
        bound = f"at {'least' if goal.at_least else 'most'} {goal.limit:.3g}"
        lines.append(f"    {measure_.words}: {value:.3g} {unit}, {bound}: {'met' if met else 'MISSED'}")
    lines += ["", "  the figures behind it, good on this machine only"]
    rows = [(f"{m.words}, {m.unit}".rstrip(", "), [f.get(m.name) for f in figures.values()]) for m in MEASURES]
    lines += grid(list(figures), rows)
    return [*lines, "", *UNLIKE.splitlines()]


def json_lines(figures: Mapping[str, Figures]) -> Iterator[dict[str, Any]]:
    """One object for each pair, each goal and each system."""
    for other, found in ratios(figures).items():
        yield {"benchmark": "talk", "system": "ours", "against": other, "ratio": found}
    for goal, value, met in judged(figures):
        yield {"benchmark": "talk", "goal": goal._asdict(), "value": value, "met": met}
    for system, found in figures.items():
        yield {"benchmark": "talk", "system": system, "figures": dict(found)}
