"""Every scenario plays to its end at a small size, breaks nothing, and says what the contract wants said."""

import json
from typing import Any

import pytest

from simulations import command, scenarios
from simulations.command import simulate
from simulations.runner import run_scenario
from simulations.scenarios import SCENARIOS, durable_data, long_churn
from simulations.world import World

SIZES = {
    "churn": 5,
    "durable-data": 12,
    "eclipse-one-key": 16,
    "healthy-lookup": 50,
    "hostile-half": 20,
    "hostile-lookup": 20,
    "long-churn": 4,
    "lookup-under-loss": 20,
    "registration-race": 8,
    "rolling-restart": 5,
    "spreading": 60,
}
"""People, or nodes where nobody talks; 8 in the others."""

FIELDS = {
    "scenario": str,
    "nodes": int,
    "seed": int,
    "virtual_s": float,
    "wall_s": float,
    "rss_mib": float,
    "datagrams": int,
    "trace": str,
    "lookups": dict,
    "messages": dict,
    "invariants": list,
    "violations": list,
    "repeat": str,
}
LOOKUP_FIELDS = {"count", "success", "hops_mean", "p50_ms", "p95_ms", "p99_ms", "datagrams_mean"}
MESSAGE_FIELDS = {"sent", "expected", "delivered", "lost", "duplicates", "p50_ms", "p99_ms", "copies_per_member"}
"""contract.md, "Simulator output"."""


@pytest.fixture(autouse=True)
def _shorter_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions in place of sixteen."""
    monkeypatch.setattr(durable_data, "DURATION_S", 2 * durable_data.MEDIAN_SESSION_S)


def run_command(scenario: str | None, **changed: Any) -> int:
    options: dict[str, Any] = {
        "list_them": False,
        "nodes": 3,
        "seed": 1,
        "runs": 1,
        "report": None,
        "sockets": False,
        "json": True,
        "quiet": True,
    }
    return simulate(scenario, **options | changed)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_plays_at_a_small_size_and_breaks_nothing(
    name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_churn, "LASTS_S", 900.0)  # two hours of it are for `dhtchat simulate long-churn`
    monkeypatch.setattr(long_churn, "SPLIT_S", 120.0)
    result = run_scenario(SCENARIOS[name], nodes=SIZES.get(name, 8), seed=seed)
    assert result.violations == [], result.repeat
    assert result.messages.lost == result.messages.duplicates == 0
    assert result.datagrams > 0
    assert result.lookups.count or result.messages.sent or result.figures, "it answers nothing"


def test_the_object_has_every_field_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("steady-chat") == 0
    printed = json.loads(capsys.readouterr().out)
    for field, kind in FIELDS.items():
        assert isinstance(printed[field], kind), field
    assert set(printed["lookups"]) >= LOOKUP_FIELDS
    assert set(printed["messages"]) >= MESSAGE_FIELDS
    assert printed["repeat"] == "dhtchat simulate steady-chat --nodes 3 --seed 1"
    named = {
        "nothing-acknowledged-lost",
        "nothing-twice",
        "nothing-forged",
        "author-order",
        "causal-order",
        "convergence",
        "one-owner-per-name",
        "sequence-never-back",
        "bounds-kept",
        "no-task-left",
    }
    assert set(printed["invariants"]) >= named
    assert "memory_kib_per_node" in printed["figures"]


def test_the_list_names_all_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(None) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["scenario"] for entry in listed] == list(SCENARIOS)
    for entry in listed:
        assert entry["question"].endswith("?"), entry
        assert entry["nodes"] > 0
    assert run_command(None, json=False) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in [*SCENARIOS, "fuzz"])


class _Broken:
    """A scenario that sees something wrong."""

    NAME, QUESTION, NODES = "broken", "Is it broken?", 1

    async def play(self, world: World, nodes: int) -> None:
        world.recorder.violations.append("made-up: it is")


def test_a_violation_is_exit_code_1_with_the_command_that_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scenarios.SCENARIOS, "broken", _Broken())
    assert command.SCENARIOS is scenarios.SCENARIOS
    assert run_command("broken", seed=7) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["violations"] == ["made-up: it is"]
    assert run_command("broken", seed=7, json=False) == 1
    text = capsys.readouterr().out
    assert "VIOLATED made-up: it is" in text
    assert "dhtchat simulate broken --nodes 3 --seed 7" in text
