"""The way out to the terminal: pinned text, and the title of the window."""

import contextlib
import os
from functools import cache
from typing import Any, Protocol, TextIO, runtime_checkable

from textual.driver import Driver

from dhtchat.chat.markup import clean
from dhtchat.tui.pinning import pinned

_TITLE_CHARACTERS_MAX = 60
"""Longer titles are cut by window managers anyway."""
_PUSH_TITLE, _POP_TITLE = "\x1b[22;2t", "\x1b[23;2t"
"""XTWINOPS: xterm and most others bring back the old title with it, the rest ignores it."""


class LastingFile:
    """A terminal that may go away. Textual writes in a thread, which an error would end; then its queue is full, and whoever
    leaves waits for ever to be written."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()


@runtime_checkable
class Window(Protocol):
    """A driver of a real terminal, which has more to it than its cells."""

    def show_title(self, title: str) -> None:
        """`title` may have texts of others in it."""

    def give_mouse(self, to_us: bool) -> None:
        """Or to the terminal, which selects text with it."""


@cache
def careful(base: type[Driver]) -> type[Driver]:
    """That driver of Textual with a way out of ours."""

    class CarefulDriver(base):  # type: ignore[misc, valid-type]
        _has_title = False

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            file = getattr(self, "_file", None)  # of Textual's drivers those for a real terminal have one
            if file is not None:
                self._file = LastingFile(file)

        def give_mouse(self, to_us: bool) -> None:
            if to_us:
                self._mouse = True
                self._enable_mouse_support()
            else:
                self._disable_mouse_support()
                self._mouse = False

        def write(self, data: str) -> None:
            super().write(pinned(data))

        def show_title(self, title: str) -> None:
            if os.environ.get("TERM") == "linux":
                return  # a console has no title
            push = "" if self._has_title else _PUSH_TITLE
            self._has_title = True
            super().write(f"{push}\x1b]2;{clean(title, single_line=True)[:_TITLE_CHARACTERS_MAX]}\x07")

        def stop_application_mode(self) -> None:
            if self._has_title:
                super().write(_POP_TITLE)
                self._has_title = False
            super().stop_application_mode()

    return CarefulDriver
