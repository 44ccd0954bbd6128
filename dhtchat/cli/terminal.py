"""What the terminal on the other end can show: colours, links, characters. Decides nothing about what is shown.

Only this file and `render.py` know escape sequences: SGR for looks and OSC 8 for links, nothing else.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from typing import Final, TextIO

import msgspec
from colorama import Fore, Style, just_fix_windows_console
from colorama.ansi import code_to_chars

BOLD: Final = Style.BRIGHT
DIM: Final = Style.DIM
ITALIC: Final = code_to_chars(3)  # ECMA-48; colorama names only what the Windows console of old could do
UNDERLINE: Final = code_to_chars(4)
REVERSE: Final = code_to_chars(7)
STRIKE: Final = code_to_chars(9)
CODE: Final = Fore.CYAN
ERROR: Final = Fore.RED
WARNING: Final = Fore.YELLOW
RESET: Final = Style.RESET_ALL

_LINK_START: Final = "\x1b]8;;{}\x1b\\"
_LINK_END: Final = "\x1b]8;;\x1b\\"

_PEOPLE_16: Final = (Fore.GREEN, Fore.MAGENTA, Fore.CYAN)
"""Neither the colours of errors and warnings, nor blue, which is hard to read on black, nor the light ones on white."""
PEOPLE_256: Final = (
    *(27, 28, 29, 30, 31, 32, 33, 61, 62, 63, 64, 67, 68),
    *(97, 98, 99, 128, 129, 133, 134, 135, 163, 164, 165),
)
"""Those of the 256-colour cube with a contrast of at least 3.5 (WCAG 2) to black and to white, the reddish and yellowish
ones left out: errors and warnings have those."""


class Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """What may be written besides text. The default is a pipe: nothing."""

    colours: bool = False
    many_colours: bool = False
    """256 of them rather than 16."""
    links: bool = False
    """OSC 8."""

    def styled(self, text: str, *styles: str) -> str:
        """`text` in these looks, which end with it."""
        return f"{''.join(styles)}{text}{RESET}" if self.colours and text and any(styles) else text

    def linked(self, text: str, address: str) -> str:
        """`text` as a link to `address`, which must be printable ASCII, as `markup.real_address` makes it."""
        return _LINK_START.format(address) + text + _LINK_END if self.links else text

    def colour_of(self, name: str) -> str:
        """A person's colour: always the same, everywhere."""
        if not self.colours:
            return ""
        draw = int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8], "big")
        if self.many_colours:
            return f"\x1b[38;5;{PEOPLE_256[draw % len(PEOPLE_256)]}m"
        return _PEOPLE_16[draw % len(_PEOPLE_16)]


PLAIN: Final = Terminal()


def detect(stream: TextIO, environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> Terminal:
    """What `stream` leads to. `NO_COLOR`, a pipe and a dumb terminal mean: text only.

    `FORCE_COLOR` and the like are not heard: the contract promises that a pipe gets no colours.
    """
    kind = environ.get("TERM", "" if platform == "win32" else "dumb")
    if environ.get("NO_COLOR") or kind in ("dumb", "unknown") or not _is_terminal(stream):
        return PLAIN
    many = "256color" in kind or environ.get("COLORTERM") in ("truecolor", "24bit") or "WT_SESSION" in environ
    links = _knows_links(environ, kind)
    return Terminal(colours=True, many_colours=many or links, links=links)


def make_safe(stream: TextIO, *, json: bool = False) -> TextIO:
    """What to write to instead of `sys.stdout` or `sys.stderr`: it takes every character, and lines as they come.

    What the encoding lacks appears as `\\u20ac`; JSON is UTF-8 by definition (RFC 8259 §8.1), whatever the locale says.
    """
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(
            encoding="utf-8" if json else stream.encoding, errors="backslashreplace", line_buffering=True
        )
    names = [name for name in ("stdout", "stderr") if getattr(sys, name) is stream]
    just_fix_windows_console()  # on an old Windows it puts translators in the place of both
    return getattr(sys, names[0]) if names else stream


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


# --- links ------------------------------------------------------------------------------------------------------------

_LINKS_SINCE: Final = {
    "iTerm.app": (3, 1),
    "WezTerm": (20200620,),
    "vscode": (1, 72),
    "ghostty": (1,),
    "mintty": (3, 4),
    "rio": (0,),
    "Tabby": (1,),
    "tmux": (3, 4),
}
"""`TERM_PROGRAM`, and the version from which on it knows OSC 8. One that is not listed may print the address as rubbish."""
_LINKS_BY_KIND: Final = frozenset({"xterm-kitty", "xterm-ghostty", "foot", "foot-extra", "wezterm", "contour"})
_VTE_SINCE: Final = 5001
"""0.50.1: the library behind GNOME's terminals crashed on OSC 8 in 0.50.0."""


def _knows_links(environ: Mapping[str, str], kind: str) -> bool:
    """Whether the terminal is known to know OSC 8: a wrong yes is ugly, a wrong no costs little."""
    program = environ.get("TERM_PROGRAM", "")
    if "STY" in environ or "TMUX" in environ or kind.startswith(("screen", "tmux")):
        # What runs outside is still in the environment; it is the multiplexer that would have to pass links on.
        return program == "tmux" and _version(environ) >= _LINKS_SINCE["tmux"]
    if program in _LINKS_SINCE:
        return _version(environ) >= _LINKS_SINCE[program]
    vte = environ.get("VTE_VERSION", "")
    if vte.isascii() and vte.isdigit():
        return int(vte[:9]) >= _VTE_SINCE
    return "WT_SESSION" in environ or "KITTY_WINDOW_ID" in environ or kind in _LINKS_BY_KIND


def _version(environ: Mapping[str, str]) -> tuple[int, ...]:
    """`3.4a` is (3, 4), `20240203-110809-5046fc22` is (20240203,)."""
    numbers = []
    for part in environ.get("TERM_PROGRAM_VERSION", "").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))][:9]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
