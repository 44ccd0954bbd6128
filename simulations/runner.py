"""Runs one scenario: world, play, evidence, verdict. The same version, scenario, nodes and seed give the same `trace`."""

import gc
import logging
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from .checkers import INVARIANTS, NO_TASK_LEFT, Delivery, Evidence, measure_delivery
from .recorder import Sample
from .result import Lookups, Messages, Result, percentile
from .world import World


class Scenario(Protocol):
    """One question about a network, as a module of `scenarios/`."""

    NAME: str
    QUESTION: str
    NODES: int
    """How many people when the user does not say."""

    def play(self, world: World, nodes: int) -> Awaitable[None]:
        """Do what the question is about, then let things settle."""


class _Complaints(logging.Handler):
    """Log records at error level fail a run."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"logged: {record.name}: {record.getMessage()}")


def run_scenario(
    scenario: Scenario,
    *,
    nodes: int,
    seed: int,
    real_tls: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """Play it once and judge it."""
    started_s = time.monotonic()
    world = World(seed, real_tls=real_tls)
    if on_progress is not None:
        world.on_progress = on_progress
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    violations: list[str] = []
    deliveries: list[Delivery] = []

    async def play() -> None:
        await scenario.play(world, nodes)
        evidence = Evidence(world)
        for name, check in INVARIANTS.items():
            violations.extend(f"{name}: {what}" for what in check(evidence))
        deliveries.append(measure_delivery(world))

    try:
        world.run(play())
    finally:
        logging.getLogger().removeHandler(complaints)
    gc.collect()  # what nobody retrieved complains when it is collected
    violations += world.recorder.violations
    violations += [f"{NO_TASK_LEFT}: {text}" for text in (*world.loop.complaints, *complaints.texts)]
    return Result(
        scenario=scenario.NAME,
        nodes=nodes,
        seed=seed,
        virtual_s=round(world.ended_s, 3),
        wall_s=round(time.monotonic() - started_s, 3),
        rss_mib=round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20), 1
        ),
        datagrams=world.fabric.counts["datagrams"],
        trace=world.fabric.trace(),
        lookups=_lookups(world.recorder.lookups),
        messages=_messages(deliveries[0], world),
        invariants=[*INVARIANTS, NO_TASK_LEFT],
        violations=violations,
        repeat=f"dhtchat simulate {scenario.NAME} --nodes {nodes} --seed {seed}",
        figures={name: round(value, 3) for name, value in world.recorder.figures.items()},
    )


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


def _messages(delivery: Delivery, world: World) -> Messages:
    times_ms = [1000 * delay_s for delay_s in delivery.delays_s]
    copies = world.statements_received() / delivery.delivered if delivery.delivered else 0.0
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
