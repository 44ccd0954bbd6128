"""Disturbances as rules. Each is in force inside its `with` block and ends with it.

    with world.faults.partition(left, right):
        ...

A rule sees source, target and the seeded source of chance, nothing else, so that a run can be repeated.
"""

import asyncio
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from .network import UNDISTURBED, Fabric, Rule, Verdict

_LOST = Verdict(lost=True)


class Loss(NamedTuple):
    """Each packet is lost with this probability."""

    share: float

    def judge(self, source: str, target: str, rng: random.Random) -> Verdict:
        return _LOST if rng.random() < self.share else UNDISTURBED


class Duplication(NamedTuple):
    """Each packet comes twice with this probability."""

    share: float

    def judge(self, source: str, target: str, rng: random.Random) -> Verdict:
        return Verdict(copies=2) if rng.random() < self.share else UNDISTURBED


class Reordering(NamedTuple):
    """With this probability a packet is held back for up to `delay_s`, so that later ones overtake it."""

    share: float
    delay_s: float

    def judge(self, source: str, target: str, rng: random.Random) -> Verdict:
        return Verdict(extra_delay_s=rng.random() * self.delay_s) if rng.random() < self.share else UNDISTURBED


class SlowPaths(NamedTuple):
    """Paths with a heavy tail: with probability `share` a packet takes an exponential time of mean `mean_s` more."""

    share: float
    mean_s: float

    def judge(self, source: str, target: str, rng: random.Random) -> Verdict:
        return Verdict(extra_delay_s=rng.expovariate(1 / self.mean_s)) if rng.random() < self.share else UNDISTURBED


class Partition(NamedTuple):
    """Nothing passes from a host in `left` to one in `right`, nor back unless `one_way`."""

    left: frozenset[str]
    right: frozenset[str]
    one_way: bool = False

    def judge(self, source: str, target: str, rng: random.Random) -> Verdict:
        if source in self.left and target in self.right:
            return _LOST
        return _LOST if not self.one_way and source in self.right and target in self.left else UNDISTURBED


class Isolation:
    """Hosts that nothing reaches and nothing leaves; the set may change while the rule is in force."""

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self.hosts = set(hosts)

    def judge(self, source: str, target: str, rng: random.Random) -> Verdict:
        return _LOST if source in self.hosts or target in self.hosts else UNDISTURBED


class Faults:
    """What a scenario uses."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric

    @contextmanager
    def rule(self, rule: Rule) -> Iterator[Rule]:
        self._fabric.rules.append(rule)
        try:
            yield rule
        finally:
            # Not by `remove`: two kinds of rule with the same numbers are equal as tuples.
            self._fabric.rules[:] = [each for each in self._fabric.rules if each is not rule]

    def loss(self, share: float) -> AbstractContextManager[Rule]:
        return self.rule(Loss(share))

    def duplication(self, share: float) -> AbstractContextManager[Rule]:
        return self.rule(Duplication(share))

    def reordering(self, share: float, delay_s: float = 0.2) -> AbstractContextManager[Rule]:
        return self.rule(Reordering(share, delay_s))

    def slow_paths(self, share: float, mean_s: float) -> AbstractContextManager[Rule]:
        return self.rule(SlowPaths(share, mean_s))

    def partition(
        self, left: Collection[str], right: Collection[str], *, one_way: bool = False
    ) -> AbstractContextManager[Rule]:
        return self.rule(Partition(frozenset(left), frozenset(right), one_way))

    async def swizzle_clog(self, stopping: Sequence[str], returning: Sequence[str], *, step_s: float) -> None:
        """Cut these hosts off one by one, then let them back one by one in another order: every `step_s` one."""
        clogged = Isolation()
        with self.rule(clogged):
            for host in stopping:
                clogged.hosts.add(host)
                await asyncio.sleep(step_s)
            for host in returning:
                clogged.hosts.discard(host)
                await asyncio.sleep(step_s)
