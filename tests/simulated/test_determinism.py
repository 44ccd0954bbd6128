"""The same seed gives the same trace: in another process, with another hash seed, on another Python. Another seed does not.

Sources of chance that are easily let in: the order of a set of bytes or tasks, the machine's clock, the operating
system's randomness, threads. Where two runs differ, write both down line by line (`Fabric.note`) and compare.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
NODES = 6
_RUN = """
import json, sys
from simulations.runner import run_scenario
from simulations.scenarios import SCENARIOS
name, nodes, seed, real_tls = sys.argv[1:]
result = run_scenario(SCENARIOS[name], nodes=int(nodes), seed=int(seed), real_tls=real_tls == "tls")
print(json.dumps([result.trace, result.datagrams, result.virtual_s, result.violations]))
"""


def start(
    scenario: str, *, seed: int, hash_seed: int, real_tls: bool = False, python: str = sys.executable
) -> "subprocess.Popen[str]":
    arguments = [scenario, str(NODES), str(seed), "tls" if real_tls else "plain"]
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(
        [python, "-c", _RUN, *arguments], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True
    )


def outcomes(*runs: "subprocess.Popen[str]") -> list[list[object]]:
    """What each printed; they run side by side."""
    printed = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs)
    return [json.loads(text) for text in printed]


@pytest.mark.process
@pytest.mark.parametrize(
    "scenario, real_tls", [("steady-chat", False), ("churn", False), ("partition-heal", False), ("steady-chat", True)]
)
def test_two_processes_with_different_hash_seeds_leave_the_same_trace(scenario: str, real_tls: bool, seed: int) -> None:
    first, second = outcomes(
        start(scenario, seed=seed, hash_seed=1, real_tls=real_tls),
        start(scenario, seed=seed, hash_seed=2, real_tls=real_tls),
    )
    assert first == second
    assert first[-1] == []  # nothing violated


@pytest.mark.process
def test_another_seed_leaves_another_trace(seed: int) -> None:
    first, second = outcomes(
        start("steady-chat", seed=seed, hash_seed=1), start("steady-chat", seed=seed + 1, hash_seed=1)
    )
    assert first[0] != second[0]


@pytest.mark.soak
@pytest.mark.process
def test_another_python_leaves_the_same_trace(seed: int, tmp_path: Path) -> None:
    """Needs another Python on this machine and its package index, for the locked dependencies."""
    other = next((found for name in ("python3.13", "python3.12", "python3.11") if (found := _other(name))), None)
    if other is None:
        pytest.skip("there is no other Python on this machine")
    environment = tmp_path / "other"
    subprocess.run([other, "-m", "venv", environment], check=True)
    python = str(environment / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:"]
    if subprocess.run([*install, "-r", CHECKOUT / "requirements" / "base.txt"], check=False).returncode:
        pytest.skip("the dependencies cannot be installed for the other Python here")
    here, there = outcomes(
        start("churn", seed=seed, hash_seed=1), start("churn", seed=seed, hash_seed=2, python=python)
    )
    assert here == there


def _other(name: str) -> str | None:
    """The path of another version than the one that runs this; a pyenv shim may be there and still not work."""
    hidden = sorted(Path.home().glob(f".pyenv/versions/*/bin/{name}"))
    for found in filter(None, (shutil.which(name), *map(str, hidden))):
        asked = subprocess.run(
            [found, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0 and asked.stdout.strip() != str(sys.version_info[:2]):
            return found
    return None
