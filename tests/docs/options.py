"""The options of all commands and the environment, as docs/configuration.md shows them; `configuration.py` puts them there."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import typer

from dhtchat.app.settings import BOOTSTRAP_VARIABLE
from dhtchat.cli import main as program

PACKAGE: Final = Path(program.__file__).parents[1]

_OPTIONS_HEAD: Final = """## On the command line

What holds for one run. Which commands take an option stands in the last column; most of them are told about in the
[user guide](user-guide.md#options), those of a bootstrap node in [operations.md](operations.md#options).

| option | default | means | commands |
|---|---|---|---|
"""
_ENVIRONMENT_HEAD: Final = """## In the environment

An option goes before the environment, and the environment before what was remembered.

| variable | means |
|---|---|
"""
ENVIRONMENT: Final = {
    BOOTSTRAP_VARIABLE: "Addresses of nodes to start from, separated by blanks or commas, when there is no `--bootstrap`.",
    "NO_COLOR": "Set to anything but nothing: no colours.",
    "TERM": "`dumb` or `unknown`: no colours and no full screen; with `256color` in it: 256 colours; `linux`: what the console can draw.",
    "COLORTERM": "`truecolor` or `24bit`: at least 256 colours.",
    "COLORFGBG": "Whether the terminal is light, with the theme `auto`.",
    "XDG_DATA_HOME": "On Linux, where the data folder lies: `dhtchat` in it.",
    "TERM_PROGRAM": "Which terminal it is: whether links can be clicked on.",
    "TERM_PROGRAM_VERSION": "Its version, for the same.",
    "VTE_VERSION": "The same, of terminals that stand on VTE.",
    "KITTY_WINDOW_ID": "The same, of kitty.",
    "WT_SESSION": "The same, of Windows Terminal, and 256 colours.",
    "TMUX": "Links inside tmux are left to its version.",
    "STY": "Inside screen there are no links.",
    "_DHTCHAT_COMPLETE": "Set by the script that `--install-completion` writes for a shell: which shell asks.",
    "COMP_WORDS": "Set by bash for completion.",
    "NOTIFY_SOCKET": "Set by systemd for a bootstrap node: whom to tell that it is ready.",
    "WATCHDOG_USEC": "Set by systemd: how often to show that it is alive.",
    "WATCHDOG_PID": "Set by systemd: for whom that is meant.",
    "JOURNAL_STREAM": "Set by systemd: the log goes to the journal, which knows the time already.",
}
"""Every variable that is looked at; a test searches the code for others."""


def options() -> str:
    """Each option once, with the commands that take it."""
    commands: Any = typer.main.get_command(program.build_app([*program.COMMANDS])).commands  # type: ignore[attr-defined]
    taken: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, command in commands.items():
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                taken[_written(parameter), _default(parameter), _cell(parameter.help or "")].append(name)
    rows = [
        f"| {written} | {default} | {means} | {'all' if len(names) == len(commands) else ', '.join(names)} |"
        for (written, default, means), names in sorted(taken.items())
    ]
    return _OPTIONS_HEAD + "\n".join(rows) + "\n"


def _written(parameter: Any) -> str:
    value = "" if parameter.is_flag or parameter.count else f" {parameter.metavar or 'FORMAT'}"
    return ", ".join(f"`{option}{value if option.startswith('--') else ''}`" for option in parameter.opts)


def _default(parameter: Any) -> str:
    default = parameter.default
    return "" if default in (None, False, [], ()) or parameter.count else f"`{getattr(default, 'value', default)}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def environment() -> str:
    return _ENVIRONMENT_HEAD + "\n".join(f"| `{name}` | {means} |" for name, means in ENVIRONMENT.items()) + "\n"


_LOOKED_AT: Final = re.compile(
    r"""environ(?:ment)?(?:\.get\(|\[)"([A-Z_]+)"|"([A-Z_]+)"\s(?:not\s)?in\s(?:os\.)?environ(?:ment)?\b"""
)


def looked_at() -> set[str]:
    """Names of variables that the code reads, by how it reads them."""
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "bootstrap").rglob("*.py")]
    return {match[1] or match[2] for file in files for match in _LOOKED_AT.finditer(file.read_text(encoding="utf-8"))}
