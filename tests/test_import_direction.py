"""Imports point one way only: the picture of the packages, checked import by import."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEVELS = (
    ("limits", "errors", "ids", "runtime", "parameters", "companions", "timestamps"),
    ("crypto",),
    ("records",),
    ("dht", "peer", "history"),
    ("chat",),
    ("app",),
    ("cli", "tui", "irc"),
)
"""What lies in `dhtchat/`. A part may use itself and the levels before its own."""

SAME_LEVEL = {
    **dict.fromkeys(LEVELS[0], LEVELS[0]),
    "cli": ("tui", "irc"),  # its commands start the other two faces
}
"""Who may use what of its own level: `dht`, `peer` and `history`, say, do not know each other."""

ENTRY = "__main__"
ENTRY_MAY_USE = (*LEVELS[0], "cli")

CLIENT = "dhtchat.app.attached"
"""What `from dhtchat import connect` loads, and the only thing that dhtchat/__init__.py may name."""

COMPANIONS = ("bootstrap", "simulations")
"""Folders beside `dhtchat/`, which may use all of it and are never imported by name: see dhtchat/companions.py."""

OWNERS = {
    "kademlia": ("dhtchat.dht",),
    "rpcudp": ("dhtchat.dht",),
    "typer": ("dhtchat.cli", "dhtchat.tui"),
    "rich": ("dhtchat.tui",),
    "textual": ("dhtchat.tui",),
    "colorama": ("dhtchat.cli", "dhtchat.tui"),
}
"""Libraries that only these parts may import."""


class Import(NamedTuple):
    line: int
    target: str
    """Absolute dotted name; empty when a relative import climbs out of its top-level folder."""
    relative: bool


def violations(root: Path) -> list[str]:
    """Each import below `root` that points the wrong way, as `file:line: imports X (why not)`."""
    found = []
    for file in sorted(file for top in ("dhtchat", *COMPANIONS) for file in (root / top).rglob("*.py")):
        path = file.relative_to(root)
        importer = ".".join(path.with_suffix("").parts)
        part = importer.split(".")[1]
        if path.parts[0] == "dhtchat" and part not in ("__init__", ENTRY) and part not in _allowed():
            found.append(f"{path.as_posix()}:1: {part} has no place in LEVELS")
            continue
        found += [
            f"{path.as_posix()}:{statement.line}: imports {statement.target or 'from above its folder'} ({objection})"
            for statement in _imports(file, importer)
            if (objection := _objection(importer, statement))
        ]
    return found


def _imports(file: Path, importer: str) -> Iterator[Import]:
    """Every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, relative=False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = importer.split(".")[: -node.level] if node.level else []
            source = ".".join([*package, *filter(None, [node.module])])
            if node.level and not package:
                yield Import(node.lineno, "", relative=True)
            elif source == "dhtchat":  # `from dhtchat import records`: the parts are among the names
                yield from (Import(node.lineno, f"dhtchat.{alias.name}", bool(node.level)) for alias in node.names)
            else:
                yield Import(node.lineno, source, bool(node.level))


def _objection(importer: str, statement: Import) -> str:
    """Why `importer` may not do that; empty when it may."""
    home, part = importer.split(".")[:2]
    top, _, rest = statement.target.partition(".")
    target_part = rest.split(".")[0]
    if top in OWNERS and not any(importer.startswith(f"{owner}.") for owner in OWNERS[top]):
        return f"only {' and '.join(OWNERS[top])} may"
    if not top or (top in COMPANIONS and not statement.relative) or target_part in COMPANIONS:
        return "companions import their own files relatively, and others go through dhtchat.companions"
    if top == "tests":
        return "tests are not installed"
    if top != "dhtchat" or not target_part or (target_part.startswith("__") and target_part != ENTRY):
        return ""  # another library, one of ours by relative import, or an attribute such as dhtchat.__version__
    if home in COMPANIONS:
        return "" if target_part in _allowed() or target_part == ENTRY else f"{target_part} has no place in LEVELS"
    if part == "__init__":
        # When it is loaded it imports nothing: tests/test_packaging.py sees to that.
        return "" if statement.target == CLIENT else "dhtchat/__init__.py imports nothing"
    allowed = ENTRY_MAY_USE if part == ENTRY else _allowed()[part]
    return "" if target_part in allowed else f"{part} may use {', '.join(allowed)}"


def _allowed() -> dict[str, tuple[str, ...]]:
    """What each part of `dhtchat` may use of the others."""
    return {
        part: tuple(dict.fromkeys([*sum(LEVELS[:depth], ()), part, *SAME_LEVEL.get(part, ())]))
        for depth, level in enumerate(LEVELS)
        for part in level
    }


def test_imports_point_one_way() -> None:
    found = violations(ROOT)
    assert not found, "imports that point the wrong way:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("dhtchat/records/room.py", "from dhtchat.dht import node", "1: imports dhtchat.dht"),
        ("dhtchat/records/room.py", "from dhtchat import errors, dht", "1: imports dhtchat.dht"),
        ("dhtchat/records/room.py", "import os, dhtchat.dht.node", "1: imports dhtchat.dht.node"),
        ("dhtchat/records/room.py", "from ..chat.room import Room", "1: imports dhtchat.chat.room"),
        ("dhtchat/records/room.py", "from .. import chat", "1: imports dhtchat.chat"),
        ("dhtchat/records/__init__.py", "from .. import chat", "1: imports dhtchat.chat"),
        ("dhtchat/limits.py", "from . import crypto", "1: imports dhtchat.crypto"),
        ("dhtchat/peer/link.py", "def dial():\n    import dhtchat.dht", "2: imports dhtchat.dht"),
        ("dhtchat/history/store.py", "if TYPE_CHECKING:\n    from dhtchat.peer import link", "2: imports dhtchat.peer"),
        ("dhtchat/tui/app.py", "from dhtchat.cli import main", "1: imports dhtchat.cli"),
        ("dhtchat/app/node.py", "from kademlia.network import Server", "1: imports kademlia.network"),
        ("dhtchat/dhtlike/node.py", "", "1: dhtlike has no place in LEVELS"),
        ("dhtchat/utils.py", "", "1: utils has no place in LEVELS"),
        ("dhtchat/chat/events.py", "import typer", "1: imports typer"),
        ("dhtchat/irc/server.py", "import colorama", "1: imports colorama"),
        ("dhtchat/cli/main.py", "from bootstrap import __main__", "1: imports bootstrap"),
        ("dhtchat/cli/main.py", "from dhtchat.simulations import world", "1: imports dhtchat.simulations"),
        ("dhtchat/cli/main.py", "from ... import simulations", "1: imports from above its folder"),
        ("dhtchat/cli/main.py", "from tests import support", "1: imports tests"),
        ("dhtchat/__init__.py", "from dhtchat.limits import BODY", "1: imports dhtchat.limits"),
        ("dhtchat/__main__.py", "from dhtchat.app import node", "1: imports dhtchat.app"),
        ("simulations/world.py", "import rpcudp", "1: imports rpcudp"),
        ("simulations/world.py", "from simulations import faults", "1: imports simulations"),
        ("simulations/world.py", "from bootstrap import node", "1: imports bootstrap"),
        ("simulations/world.py", "from .. import bootstrap", "1: imports from above its folder"),
    ],
)
def test_a_wrong_import_is_named_with_its_line(tmp_path: Path, file: str, source: str, expected: str) -> None:
    _write(tmp_path, file, source)
    assert [found.split(" (")[0] for found in violations(tmp_path)] == [f"{file}:{expected}"]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("dhtchat/limits.py", "from dhtchat import errors\nfrom .ids import PeerId"),
        (
            "dhtchat/dht/node.py",
            "import kademlia.network, rpcudp\nfrom dhtchat.records import room\nfrom . import lookup",
        ),
        ("dhtchat/app/node.py", "from dhtchat import __version__, chat, dht, history, peer"),
        (
            "dhtchat/cli/main.py",
            "import typer, colorama\nfrom dhtchat.tui.app import App\nfrom dhtchat.companions import load",
        ),
        ("dhtchat/__main__.py", "from dhtchat.cli.main import run"),
        ("bootstrap/__main__.py", "from dhtchat.__main__ import main\nfrom . import node"),
        (
            "simulations/scenarios/churn.py",
            "from dhtchat.app import node\nfrom ..world import World\nfrom .. import faults",
        ),
    ],
)
def test_a_right_import_passes(tmp_path: Path, file: str, source: str) -> None:
    _write(tmp_path, file, source)
    assert violations(tmp_path) == []


def _write(root: Path, file: str, source: str) -> None:
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text(source, encoding="utf-8")
