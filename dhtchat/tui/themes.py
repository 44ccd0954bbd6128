"""Colours of the screen, dark and light. tests/tui/test_themes.py holds each to WCAG AA on its background."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from dhtchat.app.preferences import read_toml


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
    people=("#2350a8", "#336610", "#7029a3", "#00607a", "#0b6652", "#932a80", "#5d5d00", "#3a3a9a"),
)


DARK_16: Final = Palette(
    background="#000000",
    panel="#000000",
    text="#aaaaaa",
    faint="#aaaaaa",
    accent="#55ffff",
    warning="#ffff55",
    error="#ff5555",
    people=("#55ff55", "#ff55ff", "#55ffff", "#ffffff"),
)
LIGHT_16: Final = Palette(
    background="#ffffff",
    panel="#ffffff",
    text="#000000",
    faint="#000000",
    accent="#0000aa",
    warning="#aa00aa",
    error="#aa0000",
    people=("#0000aa", "#00aa00", "#aa00aa", "#00aaaa"),
)
"""For terminals of 16 colours, which would take the nearest of those for ours, however little they differ from the
background. As VGA had them: that is how they are told apart, and each terminal shows its own."""

_Colour = Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$")]


class ThemeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A theme of one's own: colours as `#rrggbb`. What is left out is as in the theme that it is `like`."""

    like: Literal["dark", "light"] = "dark"
    """Which of ours the rest is taken from."""
    background: _Colour | None = None
    """Behind talk."""
    panel: _Colour | None = None
    """Behind the lists, the topic and the status line."""
    text: _Colour | None = None
    """What is said."""
    faint: _Colour | None = None
    """Times, notices, who is offline."""
    accent: _Colour | None = None
    """Links, code, what is unread."""
    warning: _Colour | None = None
    """Private lines that are unread."""
    error: _Colour | None = None
    """Errors, and where somebody named you."""
    people: tuple[_Colour, ...] = ()
    """Names: each keeps one of these."""


def other_of(palette: Palette, *, is_dark: bool) -> Palette:
    """The light one beside a dark palette, the dark one beside a light."""
    if palette in (DARK_16, LIGHT_16):
        return LIGHT_16 if is_dark else DARK_16
    return LIGHT if is_dark else DARK


def choose(
    theme: str, data_dir: Path, environ: Mapping[str, str], *, has_few_colours: bool = False
) -> tuple[Palette, bool]:
    """The palette that a setting means, and whether it is a dark one. Raises `BadUsage` for a wrong file."""
    if theme == "auto":
        # rxvt, Konsole and others say `15;0`, or `15;default;0`: the last is the background, 7 and 15 are white.
        theme = "light" if environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else "dark"
    if theme in ("dark", "light"):
        dark, light = (DARK_16, LIGHT_16) if has_few_colours else (DARK, LIGHT)
        return (dark, True) if theme == "dark" else (light, False)
    file = read_toml(data_dir / Path(theme).expanduser(), ThemeFile)
    changes = {name: value for name, value in msgspec.structs.asdict(file).items() if value and name != "like"}
    return (DARK if file.like == "dark" else LIGHT)._replace(**changes), file.like == "dark"


def colour_of(name: str, palette: Palette) -> str:
    """A person's colour: always the same, everywhere."""
    draw = int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8], "big")
    return palette.people[draw % len(palette.people)]
