"""Colours of the screen, dark and light. tests/tui/test_themes.py holds each to WCAG AA on its background."""

import hashlib
from typing import Final, NamedTuple


class Palette(NamedTuple):
    background: str
    panel: str
    text: str
    faint: str
    accent: str
    warning: str
    error: str
    people: tuple[str, ...]


DARK: Final = Palette(
    background="#14161b",
    panel="#1d2027",
    text="#e4e6eb",
    faint="#9299a6",
    accent="#7fb4ff",
    warning="#e5b567",
    error="#ff8080",
    people=("#8fb8ff", "#9fd67a", "#c9a6ff", "#79d3f0", "#73dcc0", "#f0b3e6", "#d6d67a", "#b8c4ff"),
)
LIGHT: Final = Palette(
    background="#fbfbfa",
    panel="#efefec",
    text="#1d2027",
    faint="#5c626d",
    accent="#1f55b5",
    warning="#7d5200",
    error="#b3202c",
    people=("#2350a8", "#336610", "#7029a3", "#00607a", "#0b6652", "#932a80", "#5d5d00", "#4a4fae"),
)


def colour_of(name: str, palette: Palette) -> str:
    """A person's colour: always the same, everywhere."""
    draw = int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8], "big")
    return palette.people[draw % len(palette.people)]
