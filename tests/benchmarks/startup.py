"""Whole processes, median of several runs: the contract allows --version 2.5 times `python -c pass`, --help as much as Typer."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.figures import Figure

RUNS = 15
BARE_TYPER = """
import typer
app = typer.Typer()
@app.command()
def one(name: str): "A command."
@app.command()
def two(name: str): "Another."
app()
"""


def measure() -> Iterator[Figure]:
    """The commands in turn, so that a machine that drifts drifts for all."""
    program = str(Path(sys.executable).with_name("dhtchat"))
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE_TYPER)
        commands = {
            "pass": [sys.executable, "-c", "pass"],
            "version": [program, "--version"],
            "typer": [sys.executable, str(bare), "--help"],
            "help": [program, "--help"],
        }
        times_ms: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(RUNS + 1):
            for name, command in commands.items():
                started_s = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                if run:  # the first fills the caches
                    times_ms[name].append(1000 * (time.perf_counter() - started_s))
    median = {name: statistics.median(values) for name, values in times_ms.items()}
    yield Figure("dhtchat --version", median["version"], "ms", "python -c pass", median["pass"])
    yield Figure("dhtchat --help", median["help"], "ms", "a bare Typer program's --help", median["typer"])
