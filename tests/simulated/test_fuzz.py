"""Goal: nothing that the search for bugs can think of breaks a promise. A sample of seeds here, thousands in `make soak`.

A failure prints the seed and the command that repeats it, and in `make soak` what is left of the plan after shrinking.
"""

import json
import os
import random
import subprocess
import sys

import msgspec
import pytest

from simulations import fuzz, plans
from simulations.plans import Crash, Plan, Say
from simulations.shrinking import shrink
from tests.simulated.planted import acknowledged_before_the_commit

SAMPLE = range(1, 16)
SOAK_RUNS_VARIABLE = "DHTCHAT_SOAK_RUNS"
SOAK_RUNS = int(os.environ.get(SOAK_RUNS_VARIABLE, "2000"))
"""About a second each."""
SOAK_BATCH = 50
DRAWN = [plans.draw(seed) for seed in range(200)]


def search_for_nothing(*, runs: int, seed: int, smaller: bool) -> None:
    for run in fuzz.search(runs=runs, seed=seed):
        if run.result.violations:
            plan = fuzz.shrunk(run) if smaller else run.plan
            pytest.fail(fuzz.failure_in_words(run, plans.in_words(plan)), pytrace=False)


@pytest.mark.parametrize("run_seed", SAMPLE)
def test_a_sample_of_seeds_breaks_nothing(run_seed: int) -> None:
    search_for_nothing(runs=1, seed=run_seed, smaller=False)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1_000, 1_000 + SOAK_RUNS, SOAK_BATCH))
def test_thousands_of_seeds_break_nothing(first: int) -> None:
    search_for_nothing(runs=SOAK_BATCH, seed=first, smaller=True)


# --- the search itself ------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert plans.draw(7) == plans.draw(7)
    assert len({msgspec.json.encode(plan) for plan in DRAWN}) == len(DRAWN)


@pytest.mark.process
def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    """Method: two processes that hash strings and bytes differently, so that any order of a set shows."""
    code = "from simulations import fuzz, plans; print(fuzz.run_plan(plans.draw(2)).trace)"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(traces) == 1


def test_every_kind_of_step_is_drawn_and_told_in_words() -> None:
    kinds = {type(step) for plan in DRAWN for step in plan.steps}
    assert kinds == set(plans.AnyStep.__args__)  # type: ignore[attr-defined]
    for plan in DRAWN:
        assert len(plans.in_words(plan)) == 2 + len(plan.rooms) + len(plan.steps)


def test_a_plan_survives_being_written_down() -> None:
    """Method: what `--json` could carry is the plan again when it is read."""
    for plan in DRAWN:
        assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_whoever_is_left_out_of_a_plan_is_in_no_step_of_it() -> None:
    source = random.Random(1)
    for plan in DRAWN:
        gone = source.choice(plan.people)
        smaller = plan.without_people(frozenset({gone}))
        assert gone not in smaller.people
        assert gone.encode() not in msgspec.json.encode([list(smaller.rooms.values()), smaller.people])
        assert all(gone not in step.people() for step in smaller.steps)


def test_shrinking_keeps_what_matters_and_drops_the_rest() -> None:
    """Method: a "bug" that needs one crash and one line of the same person."""

    def fails(plan: Plan) -> bool:
        crashed = {step.who for step in plan.steps if isinstance(step, Crash)}
        return any(step.who in crashed for step in plan.steps if isinstance(step, Say))

    for plan in filter(fails, DRAWN):
        smaller = shrink(plan, fails, runs_max=1_000)
        assert sorted(type(step).__name__ for step in smaller.steps) == ["Crash", "Say"]
        assert 2 <= len(smaller.people) <= 2 + len(smaller.devices)  # with a device goes its owner, who has the account
        assert len(smaller.rooms) <= 1
        assert fails(smaller)


def test_shrinking_ends_after_so_many_runs() -> None:
    tried: list[Plan] = []
    shrink(DRAWN[0], lambda plan: bool(tried.append(plan)), runs_max=5)  # type: ignore[func-returns-value]
    assert len(tried) == 5


# --- what it prints ---------------------------------------------------------------------------------------------------


def test_a_failure_is_printed_with_its_seed_and_the_command_that_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "SHRINK_RUNS_MAX", 1)
    with acknowledged_before_the_commit():
        for as_json in (True, False):
            assert fuzz.fuzz(runs=1, seed=9, json=as_json, quiet=True) == 1
    first, second, *words = capsys.readouterr().out.splitlines()
    finding, summary = json.loads(first), json.loads(second)
    assert finding["repeat"] == "dhtchat simulate fuzz --seed 9 --runs 1"
    assert finding["violations"][0].startswith("nothing-acknowledged-lost: ")
    assert finding["plan"]
    assert set(fuzz.Result.__struct_fields__) <= finding.keys()
    assert summary["failed"] == [9]
    assert words[0] == "seed 9 failed"
    assert any("again with: dhtchat simulate fuzz --seed 9 --runs 1" in line for line in words)


def test_a_search_that_finds_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.fuzz(runs=1, seed=3, json=False, quiet=True) == 0
    assert "all invariants hold" in capsys.readouterr().out


def test_what_is_raised_in_a_run_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a search goes on after a run that broke the simulator itself."""

    async def play(self: object) -> None:
        raise ValueError("broken on purpose")

    monkeypatch.setattr(fuzz.Playing, "_play", play)
    result = fuzz.run_plan(DRAWN[0])
    assert any("broken on purpose" in violation for violation in result.violations)
