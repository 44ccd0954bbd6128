"""Runs one scenario: world, play, evidence, verdict. The same version, scenario, nodes and seed give the same `trace`."""

import gc
import logging
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from .checkers import INVARIANTS, NO_TASK_LEFT, Delivery, Evidence, measure_delivery
from .findings import Findings
from .network import Latency
from .recorder import Sample
from .result import Lookups, Messages, Result, percentile
from .stage import Stage
from .world import DEFAULT_LATENCY, World


class Scenario(Protocol):
    """One question about a network, as a module of `scenarios/`."""

    NAME: str
    QUESTION: str
    NODES: int
    """How many people when the user does not say."""

    def play(self, world: World, nodes: int) -> Awaitable[None]:
        """Do what the question is about, then let things settle."""


class Complaints(logging.Handler):
    """Log records at error level fail a run."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"logged: {record.name}: {record.getMessage()}")


GC_THRESHOLD = 400_000
"""Young objects before the collector looks: with many nodes in a process its default, 700, is a tenth of all time."""


def run_scenario(
    scenario: Scenario,
    *,
    nodes: int,
    seed: int,
    real_tls: bool = False,
    latency: Latency = DEFAULT_LATENCY,
    on_progress: Callable[[float], None] | None = None,
    on_judged: Callable[[World, "Judgement"], None] | None = None,
) -> Result:
    """Play it once and judge it. `on_progress` hears the virtual time now and then; `on_judged` may look at the world
    before everything is stopped."""
    started_s, began_mib = time.monotonic(), rss_mib()
    world = World(seed, real_tls=real_tls, latency=latency)
    if on_progress is not None:
        world.on_progress = on_progress
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    judgements: list[Judgement] = []

    async def play() -> None:
        await scenario.play(world, nodes)
        judgements.append(judge(world, world.findings()))
        if on_judged is not None:
            on_judged(world, judgements[0])

    thresholds = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD)
    try:
        world.run(play())
    finally:
        gc.set_threshold(*thresholds)
        logging.getLogger().removeHandler(complaints)
    gc.collect()  # what nobody retrieved complains when it is collected
    # By how much the process grew at most: 0 when an earlier run in it was larger.
    world.recorder.figures["memory_kib_per_node"] = 1_024 * (rss_mib() - began_mib) / max(1, nodes)
    return make_result(
        scenario.NAME,
        world,
        judgements[0],
        nodes=nodes,
        seed=seed,
        took_s=world.ended_s,
        wall_s=time.monotonic() - started_s,
        rss_mib=rss_mib(),
        datagrams=world.fabric.counts["datagrams"],
        trace=world.fabric.trace(),
        left_over=[*world.loop.complaints, *complaints.texts],
        repeat=f"dhtchat simulate {scenario.NAME} --nodes {nodes} --seed {seed}",
    )


class Judgement(NamedTuple):
    """What the checkers say of a play that is over, while its nodes still run."""

    violations: list[str]
    delivery: Delivery
    copies: int
    """Lines that reached the people who are there, the superfluous ones too."""


def judge(world: Stage, findings: Findings) -> Judgement:
    """Ask all checkers."""
    evidence = Evidence(world, findings)
    violations = [f"{name}: {what}" for name, check in INVARIANTS.items() for what in check(evidence)]
    return Judgement(violations, measure_delivery(world), findings.statements_received)


def make_result(
    scenario: str,
    world: Stage,
    judgement: Judgement,
    *,
    nodes: int,
    seed: int,
    took_s: float,
    wall_s: float,
    rss_mib: float,
    datagrams: int,
    trace: str,
    left_over: list[str],
    repeat: str,
) -> Result:
    """`left_over`: what was found running or unread after everything had stopped."""
    return Result(
        scenario=scenario,
        nodes=nodes,
        seed=seed,
        virtual_s=round(took_s, 3),
        wall_s=round(wall_s, 3),
        rss_mib=rss_mib,
        datagrams=datagrams,
        trace=trace,
        lookups=_lookups(world.recorder.lookups),
        messages=_messages(judgement),
        invariants=[*INVARIANTS, NO_TASK_LEFT],
        violations=[
            *judgement.violations,
            *world.recorder.violations,
            *(f"{NO_TASK_LEFT}: {text}" for text in left_over),
        ],
        repeat=repeat,
        figures={name: round(value, 3) for name, value in world.recorder.figures.items()},
    )


def rss_mib() -> float:
    """The most memory this process ever had."""
    unit = 1024 if sys.platform != "darwin" else 2**20
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def _lookups(samples: list[Sample]) -> Lookups:
    count = len(samples)
    times_ms = [1000 * sample.took_s for sample in samples]
    return Lookups(
        count=count,
        success=_mean([float(sample.success) for sample in samples]),
        hops_mean=_mean([float(sample.hops) for sample in samples]),
        p50_ms=round(percentile(times_ms, 0.50), 1),
        p95_ms=round(percentile(times_ms, 0.95), 1),
        p99_ms=round(percentile(times_ms, 0.99), 1),
        datagrams_mean=_mean([2.0 * sample.asked for sample in samples]),
    )


def _messages(judgement: Judgement) -> Messages:
    delivery = judgement.delivery
    times_ms = [1000 * delay_s for delay_s in delivery.delays_s]
    copies = judgement.copies / delivery.delivered if delivery.delivered else 0.0
    return Messages(
        sent=delivery.sent,
        expected=delivery.expected,
        delivered=delivery.delivered,
        lost=delivery.lost,
        duplicates=delivery.duplicates,
        p50_ms=round(percentile(times_ms, 0.50), 1),
        p99_ms=round(percentile(times_ms, 0.99), 1),
        copies_per_member=round(copies, 3),
    )


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
