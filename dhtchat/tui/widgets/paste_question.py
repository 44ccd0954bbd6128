"""Asks before many pasted lines go into what one writes."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.widgets import Static


class PasteQuestion(ModalScreen[bool]):
    """True: they are meant."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter,y", "dismiss(True)", "Paste"),
        ("escape,n", "dismiss(False)", "Do not"),
    ]

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        yield Static(f"Paste {self._lines} lines?\n\nEnter: yes   Esc: no", id="question", markup=False)
