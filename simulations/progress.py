"""How far a run is, on one line of a terminal that is drawn again and again. Elsewhere nothing is shown."""

import os
import sys
import time
from types import TracebackType
from typing import Self

_AGAIN_S = 0.2
_TRACK = 24
_CYCLE_S = 60.0
"""Virtual seconds for one way along the track: how long a run lasts is not known before it ends."""


class Progress:
    """Use as a context manager; leaving it clears the line."""

    def __init__(self, name: str, *, shown: bool) -> None:
        self._name = name
        self._shown = shown and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._started_s = self._drawn_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._draw("")

    def show(self, virtual_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._drawn_s >= _AGAIN_S:
            self._drawn_s = now_s
            place = int(virtual_s % _CYCLE_S / _CYCLE_S * _TRACK)
            track = "=" * place + ">" + " " * (_TRACK - place - 1)
            self._draw(f"{self._name} [{track}] {virtual_s:.0f} virtual s, {now_s - self._started_s:.0f} s")

    def _draw(self, line: str) -> None:
        if self._shown:
            print(f"\x1b[1G\x1b[K{line}", end="", file=sys.stderr, flush=True)
