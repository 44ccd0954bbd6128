"""Screens on real terminals that are told what a test wants."""

from pathlib import Path

from dhtchat.chat.events import Event, to_json
from tests.e2e.pseudo_terminal import PseudoTerminal

PLAIN = {"COLORTERM": "", "NO_COLOR": "", "TERM": "xterm-256color"}
"""Whatever the terminal is that the tests run in."""


def playing(
    folder: Path, *parts: list[Event], rows: int = 24, columns: int = 100, **environment: str
) -> PseudoTerminal:
    """A screen that is told the first of `parts`, and the others one by one when `next` is said there."""
    file = folder / "events.jsonl"
    file.write_text("\n".join("".join(to_json(event) + "\n" for event in part) for part in parts), encoding="utf-8")
    return PseudoTerminal(
        str(file), module="tests.tui.played", environment={**PLAIN, **environment}, rows=rows, columns=columns
    )
