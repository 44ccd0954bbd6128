"""What a shell is offered: commands, the options of the one that is being typed, and names of people, rooms and profiles."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dhtchat.cli import completion
from dhtchat.cli.main import COMMANDS, COMPLETION_VARIABLE

pytestmark = pytest.mark.process

HOSTILE = ["al;reboot", "$(reboot)", "#x y", "alice#abcd", "a\nb", "--help", "ALICE"]
USERS = ["alice", "albert", "bob", *HOSTILE]
ROOMS = ["#garden", "#gallery", "#tea", *HOSTILE]


def offered(words: str, position: int, *, shell: str = "bash") -> list[str]:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(position), COMPLETION_VARIABLE: f"complete_{shell}"}
    command = [sys.executable, "-m", "dhtchat"]
    ran = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == ""
    return ran.stdout.split()


@contextlib.contextmanager
def peer(data_dir: Path, *, silent: bool = False, network: str = "main") -> Iterator[None]:
    """What stands in for a running peer of alice; it knows hostile names too. `silent`: it says nothing."""
    folder = data_dir / f"{network}-00000000" / "alice"
    (folder / "device-1").mkdir(parents=True)
    (folder / "control.address").write_text("unix\ncontrol.sock\n")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / "control.sock"))
        door.listen()

        def answer_all() -> None:
            with contextlib.suppress(OSError):  # the door was closed: enough
                while True:
                    connection, _ = door.accept()
                    with connection, connection.makefile("rwb") as stream:
                        stream.readline()
                        asked = json.loads(stream.readline())["do"]
                        if silent:
                            stream.read()
                        kind = {"ListUsers": "users", "ListRooms": "rooms"}[asked["type"]]
                        names = USERS if kind == "users" else ROOMS
                        events = [{"event": kind, kind: [{"name": name} for name in names]}, {"event": "done", "id": 1}]
                        stream.write(b"".join(json.dumps(event).encode() + b"\n" for event in events))
                        stream.flush()

        threading.Thread(target=answer_all, daemon=True).start()
        yield
        door.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: a Unix socket lies in it."""
    return tmp_path_factory.mktemp("c")


def test_commands_and_their_options_are_completed() -> None:
    assert offered("dhtchat s", 1) == [name for name in COMMANDS if name.startswith("s")]
    assert offered("dhtchat send --wa", 2) == ["--wait"]
    assert offered("dhtchat join --pl", 2) == ["--plain"]


def test_names_are_those_that_the_running_peer_knows(folder: Path) -> None:
    """And none that would mean something to a shell."""
    at = f"--data-dir {folder}"
    with peer(folder):
        assert offered(f"dhtchat whois {at} al", 4) == ["albert", "alice"]
        assert offered(f"dhtchat whois {at} ", 4) == ["albert", "alice", "bob"]
        assert offered(f"dhtchat names {at} ga", 4) == ["gallery", "garden"]
        assert offered(f"dhtchat join {at} --room te", 5) == ["tea"]
        assert offered(f"dhtchat send {at} b", 4) == ["bob"]
        assert offered(f"dhtchat send {at} ", 4) == [
            *("\\#gallery", "\\#garden", "\\#tea"),
            *("albert", "alice", "bob"),
        ]
        assert offered(f"dhtchat history {at} --profile alice \\#ga", 6) == ["\\#gallery", "\\#garden"]
        assert offered(f"dhtchat send {at} '#ga", 4) == ["#gallery", "#garden"]
        assert offered(f"dhtchat export {at} '#t", 4) == ["#tea"]


def test_profiles_are_those_of_this_machine(folder: Path) -> None:
    for name in ("alice", "anna", "bootstrap", "two words", "-v"):
        (folder / "main-00000000" / name / "device-1").mkdir(parents=True)
    (folder / "sim-00000000" / "arthur" / "device-1").mkdir(parents=True)
    at = f"--data-dir {folder}"
    assert offered(f"dhtchat join {at} ", 4) == ["alice", "anna"]
    assert offered(f"dhtchat passwd {at} an", 4) == ["anna"]
    assert offered(f"dhtchat status {at} --profile a", 5) == ["alice", "anna"]
    assert offered(f"dhtchat status {at} --network sim --profile a", 7) == ["arthur"]


def test_without_a_peer_nothing_is_offered_and_nothing_said(folder: Path) -> None:
    at = f"--data-dir {folder}"
    for words in (f"dhtchat whois {at} a", f"dhtchat names {at} a", f"dhtchat join {at} "):
        assert offered(words, 4) == []


def test_a_peer_that_says_nothing_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "COMPLETION_TIMEOUT_S", 0.05)
    with peer(folder, silent=True):
        assert completion.offer("people", {"data_dir": folder}, "a") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_what_bash_is_given_is_one_word_that_means_the_room(folder: Path) -> None:
    """The script of `--install-completion`, as bash runs it; then what it offers, as bash reads a command line."""
    program = Path(sys.executable).with_name("dhtchat")
    script = subprocess.run(
        [program], env={**os.environ, COMPLETION_VARIABLE: "source_bash"}, capture_output=True, text=True, check=True
    ).stdout
    script += f"""
COMP_WORDS=({program} send --data-dir {folder} '#gar')
COMP_CWORD=4
_dhtchat_completion {program}
eval "set -- ${{COMPREPLY[0]}} hello"
echo "$#" "$1" "$2"
"""
    with peer(folder):
        ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "2 #garden hello"
