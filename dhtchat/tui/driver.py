"""The way out to the terminal: pinned text, and the title of the window."""

import os
from functools import cache
from typing import Protocol, runtime_checkable

from textual.driver import Driver

from dhtchat.chat.markup import clean
from dhtchat.tui.pinning import pinned

_TITLE_CHARACTERS_MAX = 60
"""Longer titles are cut by window managers anyway."""
_PUSH_TITLE, _POP_TITLE = "\x1b[22;2t", "\x1b[23;2t"
"""XTWINOPS: xterm and most others bring back the old title with it, the rest ignores it."""


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
