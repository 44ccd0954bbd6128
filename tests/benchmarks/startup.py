"""Whole processes, median of several runs: the contract allows --version 2.5 times `python -c pass`, --help as much as Typer,
and a command to a running peer 1.3 times a bare Typer program."""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
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


STATUS = {"event": "peer-status", "user": "alice", "address": "192.0.2.10:8468", "peers": 7, "links": 2}
STATUS |= {"rooms": ["#garden"], "since": "2026-01-01T12:00:00Z"}


@contextlib.contextmanager
def answering(data_dir: Path) -> Iterator[None]:
    """What stands in for a running peer: it answers at once, so that only the command itself is measured."""
    profile = data_dir / "main-00000000" / "alice"
    profile.mkdir(parents=True)
    (profile / "control.address").write_text("unix\ncontrol.sock\n")
    answer = b"".join(json.dumps(event).encode() + b"\n" for event in (STATUS, {"event": "done", "id": 1}))
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(profile / "control.sock"))
        door.listen()

        def answer_all() -> None:
            with contextlib.suppress(OSError):  # the door was closed: enough
                while True:
                    connection, _ = door.accept()
                    with connection, connection.makefile("rb") as asked:
                        asked.readline()
                        asked.readline()
                        connection.sendall(answer)

        threading.Thread(target=answer_all, daemon=True).start()
        yield
        door.shutdown(socket.SHUT_RDWR)


def measure() -> Iterator[Figure]:
    """The commands in turn, so that a machine that drifts drifts for all."""
    program = str(Path(sys.executable).with_name("dhtchat"))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE_TYPER)
        commands = {
            "pass": [sys.executable, "-c", "pass"],
            "version": [program, "--version"],
            "typer": [sys.executable, str(bare), "--help"],
            "help": [program, "--help"],
        }
        if os.name == "posix":
            stack.enter_context(answering(Path(folder)))
            status = [program, "status", "--data-dir", folder, "--profile", "alice"]
            commands |= {"typer-one": [sys.executable, str(bare), "one", "x"], "status": status}
            commands["json"] = [*status, "--json"]
        # As it is installed: with its byte code on the disk, as that of its libraries is in any case.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        times_ms: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(RUNS + 1):
            for name, command in commands.items():
                started_s = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environment)
                if run:  # the first fills the caches
                    times_ms[name].append(1000 * (time.perf_counter() - started_s))
    median = {name: statistics.median(values) for name, values in times_ms.items()}
    yield Figure("dhtchat --version", median["version"], "ms", "python -c pass", median["pass"])
    yield Figure("dhtchat --help", median["help"], "ms", "a bare Typer program's --help", median["typer"])
    if "status" in median:
        against = "a bare Typer program's command"
        yield Figure("dhtchat status", median["status"], "ms", against, median["typer-one"])
        yield Figure("dhtchat status --json", median["json"], "ms", against, median["typer-one"])
