"""Set, get and whole lookups of small values, on a whole network and on one that loses half its nodes without a goodbye: ours,
the stock `kademlia` package and OpenDHT.

Each system has a process of its own, one after the other, and is asked the same: the same nodes ask for the same values and
the same ones die (`networks/measuring.py`). All of a system's nodes share that process: times are what a busy core makes of
them, ratios are what counts.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.benchmarks.networks.__main__ import NOT_INSTALLED, SYSTEMS
from tests.benchmarks.networks.measuring import IN_FLIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NODES = 200
VALUES = 150
SYSTEM_BOUND_S = 1_800
"""One system at one size, before it is given up."""

PAIRS = (("ours", "stock"), ("durable", "stock"), ("ours", "opendht"), ("uvloop", "opendht"), ("uvloop", "ours"))
GROWING = ("set_p50_ms", "set_cpu_ms", "get_p50_ms", "get_cpu_ms", "lookup_p50_ms", "lookup_datagrams")
"""What is compared between the first size and each other."""
UNLIKE = """\
These pairs do not do the same work:
  ours     soft records (a presence): 8 replicas, each checks a signature; a get asks all 8, checks and merges.
  durable  durable records (an account): 20 replicas, each checks a signature and asks its neighbours for older claims
           before it votes; a get counts the votes of all 20. Not while it waits for a claim to win: that is `register`.
  uvloop   as ours, on uvloop.
  stock    20 replicas, nothing is checked; a get returns the first value it meets.
  opendht  8 replicas, nothing is signed; a get returns the first value it meets. It runs in threads, on all cores.
So ours:opendht have the same number of replicas, durable:stock too, ours:stock have not (8 against 20).
Ours are signed before the clock starts, because that is the author's work. True nearest: of the 20 nearest living nodes,
of the 8 nearest with opendht. A get or lookup that fails or takes a minute counts as long as it took.
Cores had: one Python process that asks without a pause has nearly 1 on a quiet machine. With less, or with 1 for one
system and half for another, measure again when nothing else runs; CPU per operation suffers least."""


class Measure(NamedTuple):
    name: str
    words: str
    unit: str
    more_is_better: bool = False


MEASURES = (
    Measure("set_p50_ms", "set, p50", "ms"),
    Measure("set_per_s", f"sets, {IN_FLIGHT} in flight", "/s", True),
    Measure("get_p50_ms", "get, p50", "ms"),
    Measure("get_p95_ms", "get, p95", "ms"),
    Measure("get_per_s", f"gets, {IN_FLIGHT} in flight", "/s", True),
    Measure("get_20_p95_ms", "get, p95, 20 % killed", "ms"),
    Measure("get_50_p95_ms", "get, p95, 50 % killed", "ms"),
    Measure("lookup_p50_ms", "whole lookup, p50", "ms"),
    Measure("lookup_20_p50_ms", "whole lookup, p50, 20 % killed", "ms"),
    Measure("lookup_50_p50_ms", "whole lookup, p50, 50 % killed", "ms"),
    Measure("nearest_share", "true nearest found", "", True),
    Measure("nearest_20_share", "true nearest found, 20 % killed", "", True),
    Measure("nearest_50_share", "true nearest found, 50 % killed", "", True),
    Measure("get_share", "values got", "", True),
    Measure("get_20_share", "values got, 20 % killed", "", True),
    Measure("get_50_share", "values got, 50 % killed", "", True),
    Measure("set_cpu_ms", "CPU per set, all nodes", "ms"),
    Measure("get_cpu_ms", "CPU per get, all nodes", "ms"),
    Measure("memory_kib", "memory per node, joined", "KiB"),
    Measure("lookup_datagrams", "datagrams per lookup", ""),
    Measure("idle_cores", "cores had, nobody asks", ""),
    Measure("set_cores", f"cores had, {IN_FLIGHT} sets in flight", "", True),
    Measure("contacts", "contacts per node", "", True),
    Measure("value_bytes", "bytes per value", ""),
)
_NO_RATIO = frozenset({"idle_cores", "set_cores", "contacts", "value_bytes"})
"""More of these is neither better nor worse."""

Figures = Mapping[str, float]


class Run(NamedTuple):
    nodes: int
    by_system: dict[str, Figures]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("dht", "OpenDHT and uvloop are compared when they are installed: " + INSTALL)
    group.add_argument("--nodes", type=int, nargs="+", default=[NODES], help=f"sizes of the network ({NODES})")
    group.add_argument("--values", type=int, default=VALUES, help=f"values in a step ({VALUES})")
    group.add_argument("--seed", type=int, default=1)
    group.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="default: all")
    group.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures, as .svg or .png (extra `report`)")


INSTALL = ".venv/bin/python -m pip install --no-build-isolation --editable '.[bench,fast]'"


def measure(arguments: argparse.Namespace) -> int:
    """Print a table, or JSON lines, and draw if asked. The exit code: 1 when a system failed."""
    if arguments.plot and (why_not := _cannot_plot(arguments.plot)):
        print(why_not, file=sys.stderr)
        return 1
    failed: list[str] = []
    runs = [Run(nodes, dict(_measured(nodes, arguments, failed))) for nodes in arguments.nodes]
    if arguments.json:
        for line in json_lines(runs, arguments.seed):
            print(json.dumps(line))
    else:
        print("\n".join(table(runs)))
    if arguments.plot:
        plot(runs, arguments.plot)
    return bool(failed)


def _measured(nodes: int, arguments: argparse.Namespace, failed: list[str]) -> Iterator[tuple[str, Figures]]:
    for system in arguments.systems:
        command = [sys.executable, "-m", "tests.benchmarks.networks", system, "--nodes", str(nodes)]
        command += ["--values", str(arguments.values), "--seed", str(arguments.seed)]
        try:
            ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=SYSTEM_BOUND_S)
        except subprocess.TimeoutExpired:
            print(f"{system} with {nodes} nodes was given up after {SYSTEM_BOUND_S} s", file=sys.stderr)
            failed.append(system)
            continue
        if ended.returncode == 0:
            yield system, json.loads(ended.stdout)
        elif ended.returncode != NOT_INSTALLED:
            print(f"{system} with {nodes} nodes failed, see above", file=sys.stderr)
            failed.append(system)


# --- what it says -----------------------------------------------------------------------------------------------------


def times_better(measure: Measure, ours: Figures, theirs: Figures) -> float | None:
    """Above 1: ours is better. None when there is nothing to compare."""
    mine, other = ours.get(measure.name), theirs.get(measure.name)
    if measure.name in _NO_RATIO or not mine or not other:
        return None
    return mine / other if measure.more_is_better else other / mine


def ratios(run: Run) -> dict[tuple[str, str], dict[str, float]]:
    """By pair, then by measure."""
    found = {}
    for pair in PAIRS:
        if all(system in run.by_system for system in pair):
            ours, theirs = (run.by_system[system] for system in pair)
            better = {measure.name: times_better(measure, ours, theirs) for measure in MEASURES}
            found[pair] = {name: ratio for name, ratio in better.items() if ratio is not None}
    return found


def growth(runs: Sequence[Run]) -> Iterator[tuple[str, int, int, dict[str, float]]]:
    """System, the first size, another one, and how many times as much each figure is there."""
    first = runs[0]
    for run in runs[1:]:
        for system in first.by_system.keys() & run.by_system.keys():
            before, after = first.by_system[system], run.by_system[system]
            grown = {name: after[name] / before[name] for name in GROWING if before.get(name) and name in after}
            yield system, first.nodes, run.nodes, grown


def table(runs: Sequence[Run]) -> list[str]:
    """Ratios first."""
    lines = []
    for run in runs:
        by_pair = ratios(run)
        if by_pair:
            lines += ["", f"  {run.nodes} nodes: how many times better, above 1 the first of the pair"]
            rows = [(m.words, [better.get(m.name) for better in by_pair.values()]) for m in MEASURES]
            lines += grid([":".join(pair) for pair in by_pair], rows)
        lines += ["", f"  {run.nodes} nodes: the figures behind it, good on this machine only"]
        rows = [
            (f"{m.words}, {m.unit}".rstrip(", "), [f.get(m.name) for f in run.by_system.values()]) for m in MEASURES
        ]
        lines += grid(list(run.by_system), rows)
    words = {measure.name: measure.words for measure in MEASURES}
    for system, small, large, grown in growth(runs):
        told = ", ".join(f"{words[name]} x{factor:.2f}" for name, factor in grown.items())
        lines += ["", f"  {system}, from {small} to {large} nodes: {told}"]
    return [*lines, "", *UNLIKE.splitlines()]


def grid(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[float | None]]]) -> list[str]:
    """A column for each heading; rows that nobody has a value for are left out."""
    lines = [" " * 38 + "".join(f"{heading:>15}" for heading in headings)]
    for words, values in rows:
        if any(value is not None for value in values):
            lines.append(f"    {words:34}" + "".join(f"{_short(value):>15}" for value in values))
    return lines


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def json_lines(runs: Sequence[Run], seed: int) -> Iterator[dict[str, Any]]:
    """One object for each pair, each system, and each system that was measured at several sizes."""
    for run in runs:
        common = {"benchmark": "dht", "nodes": run.nodes, "seed": seed}
        for (ours, theirs), better in ratios(run).items():
            yield {**common, "system": ours, "against": theirs, "times_better": better}
        for system, figures in run.by_system.items():
            yield {**common, "system": system, "figures": dict(figures)}
    for system, small, large, grown in growth(runs):
        yield {"benchmark": "dht", "system": system, "from_nodes": small, "to_nodes": large, "times_as_much": grown}


# --- what it draws ----------------------------------------------------------------------------------------------------


def _cannot_plot(file: Path) -> str | None:
    """Why not; asked before minutes of measuring."""
    if file.suffix not in (".svg", ".png"):
        return f"{file}: a plot is an .svg or a .png"
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError:
        return "A plot needs matplotlib: the extra `report`."
    return None


def plot(runs: Sequence[Run], file: Path) -> None:
    """A row for each size: ratios on the left, times on the right."""
    import matplotlib

    matplotlib.use("svg" if file.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(len(runs), 2, figsize=(15, 7 * len(runs)), squeeze=False)
    try:
        for run, (left, right) in zip(runs, rows, strict=True):
            better = {":".join(pair): found for pair, found in ratios(run).items() if pair[0] != "uvloop"}
            _bars(left, better, [measure for measure in MEASURES if measure.name not in _NO_RATIO], start=1.0)
            left.axvline(1, color="black", linewidth=0.8)
            left.set_title(f"{run.nodes} nodes: how many times better (left of the line: worse)")
            _bars(right, run.by_system, [measure for measure in MEASURES if measure.unit == "ms"], start=0.0)
            right.set_title(f"{run.nodes} nodes: ms, shorter is better")
        figure.tight_layout()
        figure.savefig(file)
    finally:
        pyplot.close(figure)


def _bars(axes: "Axes", series: Mapping[str, Figures], measures: Sequence[Measure], *, start: float) -> None:
    """A group of bars for each measure that somebody has, the first on top. They reach from `start` to the figure."""
    measures = [measure for measure in measures if any(measure.name in figures for figures in series.values())]
    height = 0.8 / max(1, len(series))
    for number, (name, figures) in enumerate(series.items()):
        drawn = [(place + number * height, figures[m.name]) for place, m in enumerate(measures) if figures.get(m.name)]
        axes.barh(
            [place for place, _ in drawn], [value - start for _, value in drawn], height=height, left=start, label=name
        )
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(measures))], [m.words for m in measures])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.grid(axis="x", alpha=0.3)
    if series:
        axes.legend()
