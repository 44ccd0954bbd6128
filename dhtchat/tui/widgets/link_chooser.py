"""Shows where links lead, in the letters that the network knows, before one is opened."""

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.widgets import Static


class LinkChooser(ModalScreen[str | None]):
    """Gives back the address that is to be opened."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "choose", "Open"),
        ("escape,q,alt+o", "dismiss(None)", "Close"),
        ("up,k", "move(-1)", "Up"),
        ("down,j", "move(1)", "Down"),
    ]

    def __init__(self, addresses: Sequence[str]) -> None:
        """`addresses`: as `markup.real_address` makes them, at least one; the first is offered."""
        super().__init__()
        self._addresses = addresses
        self._at = 0
        self._shown = Static(id="question", markup=False)

    def compose(self) -> ComposeResult:
        yield self._shown

    def on_mount(self) -> None:
        self._show()

    def _show(self) -> None:
        text = Text("Open which of them in the browser?\n\n")
        for number, address in enumerate(self._addresses):
            is_meant = number == self._at
            text.append(f"{'>' if is_meant else ' '} {address}\n", Style(reverse=is_meant or None))
        text.append("\nEnter: open   Up, Down: another   Esc: none")
        self._shown.update(text)

    def action_move(self, by: int) -> None:
        self._at = (self._at + by) % len(self._addresses)
        self._show()

    def action_choose(self) -> None:
        self.dismiss(self._addresses[self._at])
