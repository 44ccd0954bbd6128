"""Where one types what to find in a talk."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class Finder(Input):
    """Hidden until it is asked for. Posts `Asked` with every change, and when one wants the next hit."""

    class Asked(Message):
        def __init__(self, words: str, step: int) -> None:
            """`step`: 0 the latest hit, -1 the one before the one that is shown, 1 the one after."""
            super().__init__()
            self.words = words
            self.step = step

    class Closed(Message):
        pass

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,up,ctrl+f", "ask(-1)", show=False, priority=True),
        Binding("down", "ask(1)", show=False, priority=True),
        Binding("escape", "close", show=False, priority=True),
    ]

    def __init__(self) -> None:
        super().__init__(id="finder", placeholder="find in this talk; Enter, Up: older, Down: newer, Esc: close")
        self.display = False

    def open(self) -> None:
        self.display = True
        self.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display:
            self.post_message(self.Asked(self.value, 0))

    def action_ask(self, step: int) -> None:
        self.post_message(self.Asked(self.value, step))

    def action_close(self) -> None:
        self.value = ""
        self.display = False
        self.post_message(self.Closed())
