"""Goal: the search finds bugs. Must-show 3 of the simulator: each that was put in on purpose within 200 runs."""

import pytest

from simulations import fuzz
from simulations.result import Result
from tests.simulated.planted import PLANTED

RUNS_MAX = 200
QUICK = ("replica-ignores-sequence-numbers", "acknowledged-before-the-commit")
"""Any replayed, repaired or handed-on record shows the first, any crash before a commit or full disk the second."""
QUICK_RUNS_MAX = 20
"""Half a minute: they are found in the first few."""
BROKEN = {
    "replica-ignores-sequence-numbers": {"sequence-never-back"},
    "acknowledged-before-the-commit": {"nothing-acknowledged-lost"},
    "duplicate-filter-forgets": {"nothing-twice"},
    "partition-loses-the-outbox": {"convergence"},
    "restart-loses-the-outbox": {"convergence"},
    "everybody-counts-as-a-member": {"members-only", "nothing-forged"},
}
"""What each must be found by: another invariant would be found by accident."""


def find(name: str, runs_max: int) -> Result:
    with PLANTED[name]():
        for run in fuzz.search(runs=runs_max, seed=1):
            if BROKEN[name] <= fuzz.broken(run.result):
                return run.result
    pytest.fail(f"{name} was not found within {runs_max} runs from seed 1")


@pytest.mark.parametrize("name", QUICK)
def test_the_search_finds_a_planted_bug(name: str) -> None:
    assert find(name, QUICK_RUNS_MAX).repeat.startswith("dhtchat simulate fuzz --seed ")


@pytest.mark.soak
@pytest.mark.parametrize("name", PLANTED)
def test_the_search_finds_every_planted_bug(name: str) -> None:
    find(name, RUNS_MAX)
