"""`dhtchat simulate`: names the scenarios, runs one, prints what came of it."""

from pathlib import Path

import msgspec

from dhtchat.errors import BadUsage

from .progress import Progress
from .report import Observations, observe, require_charts, write_report
from .result import Result
from .runner import run_scenario
from .scenarios import SCENARIOS

FUZZ = "fuzz"


def simulate(
    scenario: str | None,
    *,
    list_them: bool,
    nodes: int | None,
    seed: int,
    runs: int,
    report: Path | None,
    sockets: bool,
    json: bool,
    quiet: bool,
) -> int:
    """Exit code 0, or 1 when an invariant was violated. Raises `BadUsage`."""
    if list_them or scenario is None:
        return _list_scenarios(json=json)
    if scenario == FUZZ:
        from .fuzz import fuzz

        return fuzz(runs=runs, seed=seed, json=json, quiet=quiet)
    if scenario not in SCENARIOS:
        raise BadUsage(f"there is no scenario {scenario!a}", hint="See 'dhtchat simulate --list'.")
    chosen = SCENARIOS[scenario]
    if sockets and report is not None:
        raise BadUsage("--report is for virtual time", hint="Leave out --sockets or --report.")
    if sockets:
        from .sockets import run_with_sockets

        with Progress(chosen.NAME, shown=not (json or quiet)) as progress:
            result = run_with_sockets(chosen, nodes=nodes or chosen.NODES, seed=seed, on_progress=progress.show)
    else:
        observed: list[Observations] = []
        if report is not None:
            require_charts()
        with Progress(chosen.NAME, shown=not (json or quiet)) as progress:
            result = run_scenario(
                chosen,
                nodes=nodes or chosen.NODES,
                seed=seed,
                on_progress=progress.show,
                on_judged=lambda world, judgement: observed.append(observe(world, judgement)),
            )
        if report is not None:
            write_report(report, result, observed[0], chosen.QUESTION)
    print(msgspec.json.encode(result).decode() if json else in_words(result))
    return 1 if result.violations else 0


def _list_scenarios(*, json: bool) -> int:
    for name, scenario in SCENARIOS.items():
        if json:
            print(
                msgspec.json.encode({"scenario": name, "question": scenario.QUESTION, "nodes": scenario.NODES}).decode()
            )
        else:
            print(f"{name:20} {scenario.QUESTION} (default: {scenario.NODES} nodes)")
    if not json:
        print(f"{FUZZ:20} Draws scenario, size and faults from the seed, again and again, and looks for what breaks.")
    return 0


def in_words(result: Result) -> str:
    """The result for a person to read."""
    lookups, messages = result.lookups, result.messages
    lines = [
        f"{result.scenario}: {result.nodes} nodes, seed {result.seed}",
        f"  {result.virtual_s:.0f} virtual seconds in {result.wall_s:.1f} s, {result.rss_mib:.0f} MiB, "
        f"{result.datagrams} datagrams",
    ]
    if lookups.count:
        lines.append(
            f"  {lookups.count} lookups: {lookups.success:.1%} right, {lookups.hops_mean:.1f} hops, p50 {lookups.p50_ms:.0f} "
            f"ms, p95 {lookups.p95_ms:.0f} ms, {lookups.datagrams_mean:.0f} datagrams each"
        )
    if messages.sent:
        lines.append(
            f"  {messages.sent} lines to {messages.expected} screens: {messages.delivered} shown, {messages.lost} lost, "
            f"{messages.duplicates} twice, p50 {messages.p50_ms:.0f} ms, p99 {messages.p99_ms:.0f} ms"
        )
    lines += [f"  {name.replace('_', ' ')}: {value:g}" for name, value in result.figures.items()]
    if result.violations:
        lines += [f"  VIOLATED {violation}" for violation in result.violations]
        lines.append(f"  again with: {result.repeat}")
    else:
        lines.append(f"  all invariants hold: {', '.join(result.invariants)}")
    return "\n".join(lines)
