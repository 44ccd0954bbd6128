"""What is pasted is text, also where it has escape sequences in it.

Terminals put marks around a paste (bracketed paste), and most take ESC out of it; a multiplexer may not. Textual looks for keys in
what stands between the marks, so that a pasted sequence is pressed instead of pasted. Here nothing of it looks like one any more.
"""

import importlib
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

from textual._xterm_parser import XTermParser
from textual.message import Message

_START: Final = "\x1b[200~"
_END: Final = "\x1b[201~"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class PasteFilter:
    """Takes control characters out of pastes. Pure: what arrives goes in, in any pieces; what goes on comes out."""

    def __init__(self) -> None:
        self._is_inside = False
        self._seen = ""
        """Outside: the last characters, which went on, and may have begun a mark. Inside: those that may begin its end, and wait."""

    def feed(self, data: str) -> str:
        out: list[str] = []
        while data:
            if self._is_inside:
                data, self._seen = self._seen + data, ""
                text, end, data = data.partition(_END)
                if not end:
                    self._seen = _beginning_of(_END, text)
                    text = text[: len(text) - len(self._seen)]
                self._is_inside = not end
                out += [_CONTROL.sub("", text), end]
            else:
                _, start, rest = (self._seen + data).partition(_START)
                on = len(data) - len(rest) if start else len(data)
                out.append(data[:on])
                self._is_inside = bool(start)
                self._seen = "" if start else (self._seen + data)[-len(_START) + 1 :]
                data = data[on:]
        return "".join(out)


def _beginning_of(mark: str, text: str) -> str:
    """The longest beginning of `mark` that `text` ends with."""
    return next((mark[:n] for n in range(len(mark) - 1, 0, -1) if text.endswith(mark[:n])), "")


class CarefulParser(XTermParser):
    """Textual's, with the filter before it."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._pastes = PasteFilter()

    def feed(self, data: str) -> Iterable[Message]:
        filtered = self._pastes.feed(data)
        if data and not filtered:
            return []  # an empty text means the end of all input
        return super().feed(filtered)


def use_careful_parser() -> None:
    """For the drivers of this process, which name the class themselves."""
    drivers: Any = importlib.import_module(f"textual.drivers.{'win32' if sys.platform == 'win32' else 'linux_driver'}")
    drivers.XTermParser = CarefulParser
