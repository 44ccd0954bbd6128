"""The benchmark of talk runs, and makes of its figures what they say."""

import json
import math
import subprocess
import sys

import pytest

from tests.benchmarks import talk
from tests.benchmarks.networks.__main__ import NOT_INSTALLED
from tests.benchmarks.talking import __main__ as talking
from tests.benchmarks.talking import irc, memory

TIME_LIMIT_S = 120
FIGURES: dict[str, dict[str, float]] = {
    "floor": {"p50_ms": 8.0, "p99_ms": 10.0, "per_s": 100.0},
    "threaded": {"p50_ms": 2.0, "p99_ms": 20.0, "per_s": 400.0},
    "ours": {"p50_ms": 2.4, "p99_ms": 30.0, "per_s": 300.0, "idle_percent": 0.04},
    "toxcore": {"p50_ms": 1_000.0, "p99_ms": 1_000.0, "per_s": 40.0, "idle_percent": 0.08},
    "memory": {"links_kib": 800.0},
}


def test_it_runs_at_a_tiny_size() -> None:
    """Those that are always installed, with all their processes: every line is acknowledged, every figure is there."""
    systems = [*talk.GROUPS[0]]
    command = [sys.executable, "-m", "tests.benchmarks.talking", *systems, "--lines", "2", "--idle", "0.1"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=TIME_LIMIT_S)
    assert ended.returncode == 0
    figures = json.loads(ended.stdout)
    assert list(figures) == systems
    for found in figures.values():
        assert found["share"] == 1.0
        assert {"p50_ms", "p99_ms", "per_s", "near_cpu_ms", "far_cpu_ms"} <= found.keys()
    assert "idle_percent" in figures["ours"]


async def test_links_are_weighed() -> None:
    """It ends when all links are up. (A process that has run other tests may well shrink meanwhile.)"""
    assert math.isfinite(await memory.kib_per_8_links(1, 2))


def test_what_is_not_installed_is_left_out_with_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(irc.shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(sys, "argv", ["talking", "ngircd"])
    assert talking.main() == NOT_INSTALLED
    assert "ngircd is left out" in capsys.readouterr().err


def test_a_goal_is_judged_against_the_better_floor() -> None:
    """Quicker is better for times, more for lines a second; a goal without figures is not judged."""
    judged = [(goal.measure, round(value, 4), met) for goal, value, met in talk.judged(FIGURES)]
    assert judged == [
        ("p50_ms", 1.2, True),
        ("p99_ms", 3.0, False),
        ("per_s", 0.75, True),
        ("p50_ms", 0.0024, True),
        ("idle_percent", 0.04, True),
        ("links_kib", 800.0, False),
    ]
    without = {system: found for system, found in FIGURES.items() if system not in ("toxcore", "memory")}
    assert [goal.measure for goal, _, _ in talk.judged(without)] == ["p50_ms", "p99_ms", "per_s", "idle_percent"]


def test_the_table_begins_with_ratios_and_says_what_is_unlike() -> None:
    text = "\n".join(talk.table(FIGURES))
    assert text.index("ours / theirs") < text.index("goals") < text.index("figures behind it") < text.index("same work")
    assert text.count("MISSED") == 2


def test_the_json_has_all_that_the_table_has() -> None:
    lines = list(talk.json_lines(FIGURES))
    assert [line["ratio"]["p50_ms"] for line in lines if "ratio" in line] == [0.3, 1.2, 0.0024]
    assert [line["met"] for line in lines if "goal" in line] == [True, False, True, True, True, False]
    assert {line["system"]: line["figures"] for line in lines if "figures" in line} == FIGURES
