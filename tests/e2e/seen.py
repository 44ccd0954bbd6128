"""A terminal's screen as a person sees it, drawn by `pyte`."""

import asyncio
import re
import unicodedata
from collections.abc import Callable
from typing import Final

import pyte
from wcwidth import wcwidth

from tests.e2e.pseudo_terminal import PseudoTerminal

_COLOUR_CODES: Final = {*range(30, 39), *range(40, 49), *range(90, 108)}
_SGR: Final = re.compile(r"\x1b\[([0-9;:]*)m")


class _Screen(pyte.Screen):
    """pyte draws nothing more of a text behind a character without width that is no combining mark: leave those out."""

    def __init__(self, columns: int, rows: int, width: Callable[[str], int]) -> None:
        super().__init__(columns, rows)
        self._width = width

    def draw(self, data: str) -> None:
        pyte.screens.wcwidth = self._width
        try:
            super().draw("".join(c for c in data if self._width(c) > 0 or unicodedata.combining(c)))
        finally:
            pyte.screens.wcwidth = wcwidth


class Seen:
    """What `terminal` shows right now, and what it was told to do."""

    def __init__(self, terminal: PseudoTerminal, *, width: Callable[[str], int] = wcwidth) -> None:
        """`width`: how many cells this terminal takes a character for."""
        self._terminal = terminal
        rows, columns = terminal.size
        self._screen = _Screen(columns, rows, width)
        self._stream = pyte.Stream(self._screen)
        self._fed = 0

    def resize(self, rows: int, columns: int) -> None:
        self._feed()
        self._screen.resize(rows, columns)
        self._terminal.resize(rows, columns)

    def _feed(self) -> None:
        news, self._fed = self._terminal.shown[self._fed :], len(self._terminal.shown)
        # pyte takes what follows a private marker for a text: the keyboard protocol of kitty, asked for at start.
        self._stream.feed(re.sub(r"\x1b\[[<>=][0-9;]*[a-z]", "", news))

    @property
    def cells(self) -> list[list[str]]:
        """Of each row, what stands in each cell; nothing in the second cell of a wide character."""
        self._feed()
        columns = range(self._screen.columns)
        return [[self._screen.buffer[row][column].data for column in columns] for row in range(self._screen.lines)]

    @property
    def rows(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.cells]

    def cell_of(self, text: str, offset: int = 0) -> pyte.screens.Char:
        """The cell so far right of the beginning of `text`."""
        at, row = next((at, row) for at, row in enumerate(self.rows) if text in row)
        return self._screen.buffer[at][row.index(text) + offset]

    @property
    def title(self) -> str:
        self._feed()
        return self._screen.title

    async def shows(self, text: str, *, timeout_s: float = 30.0) -> None:
        def check() -> None:
            assert any(text in row for row in self.rows), f"{text!r} is not shown"

        await self.comes_to(check, timeout_s=timeout_s)

    async def comes_to(self, check: Callable[[], None], *, timeout_s: float = 30.0) -> None:
        """Until `check` raises no `AssertionError` any more: what is drawn comes in pieces."""
        wrong = "never looked"
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._terminal.news.clear()
                    try:
                        return check()
                    except AssertionError as error:
                        wrong = str(error)
                    await self._terminal.news.wait()
        except TimeoutError:
            raise AssertionError(f"{wrong}\n" + "\n".join(self.rows)) from None


def colour_codes(shown: str) -> set[int]:
    """The SGR codes in it that set a colour, of the 16, of 256 or a true one (ECMA-48 §8.3.117, and 38, 48, 90-107)."""
    found: set[int] = set()
    for parameters in _SGR.findall(shown):
        codes = [int(code or 0) for code in parameters.replace(":", ";").split(";")]
        while codes:
            code = codes.pop(0)
            if code in _COLOUR_CODES:
                found.add(code)
            if code in (38, 48):  # 5 and a number, or 2 and three of them: not codes themselves
                del codes[: 2 if codes[:1] == [5] else 4]
    return found
