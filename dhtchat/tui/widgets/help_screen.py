"""Keys and commands on a page of their own, over the talk."""

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from dhtchat.tui.themes import Palette

_LEFT_CELLS_MAX = 26


class HelpScreen(ModalScreen[None]):
    """Closed by Escape, Enter, q or the key that opened it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,enter,q,f1", "dismiss", "Close"),
        ("up,k", "scroll(-1)", "Up"),
        ("down,j", "scroll(1)", "Down"),
    ]

    def __init__(self, parts: Sequence[tuple[str, Sequence[tuple[str, str]]]], palette: Palette) -> None:
        """`parts`: titles, and below each what to press or type and what it does. Our own words."""
        super().__init__()
        self._parts = parts
        self._palette = palette

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help", can_focus=False) as page:
            page.border_title, page.border_subtitle = "Help", "PgDn, Down: more   Esc: close"
            for title, rows in self._parts:
                yield Static(Text(title, Style(bold=True, color=self._palette.accent)))
                table = Table.grid(padding=(0, 2), expand=True)
                table.add_column(max_width=min(_LEFT_CELLS_MAX, self.app.size.width // 3), overflow="fold")
                table.add_column(ratio=1, overflow="fold")
                for what, does in rows:
                    table.add_row(Text(what, Style(bold=True)), Text(does))
                yield Static(table, classes="rows")

    def action_scroll(self, rows: int) -> None:
        self.query_one("#help").scroll_relative(y=rows, animate=False)

    def page(self, pages: int) -> None:
        view = self.query_one("#help")
        view.scroll_relative(y=pages * max(view.size.height - 1, 1), animate=False)
