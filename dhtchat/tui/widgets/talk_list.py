"""Rooms and people one talks with, with what is unread."""

from rich.cells import set_cell_size
from rich.style import Style
from rich.text import Text
from textual.events import Click
from textual.message import Message

from dhtchat.tui.talks import Heat, Talks
from dhtchat.tui.themes import Palette
from dhtchat.tui.widgets.still import Still

_CELLS = 20


class TalkList(Still):
    """A row a talk: its number for Alt, its name, how much is unread, in the colour of its heat."""

    class Chosen(Message):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__(id="talks")
        self._names: list[str] = []

    def show(self, talks: Talks, palette: Palette) -> None:
        colours = {
            Heat.NONE: palette.text,
            Heat.MESSAGE: palette.accent,
            Heat.PRIVATE: palette.warning,
            Heat.HIGHLIGHT: palette.error,
        }
        rows = Text()
        ordered, room = talks.ordered, self.size.height or len(talks.ordered)
        # Where there are more talks than rows, those around the current one.
        first = max(0, min(ordered.index(talks.current) - room // 2, len(ordered) - room))
        shown = ordered[first : first + room]
        self._names = [talk.name for talk in shown]
        for number, talk in enumerate(shown, first + 1):
            is_current = talk is talks.current
            unread = str(len(talk.unread)) if talk.unread and not is_current else ""
            sign = {Heat.HIGHLIGHT: "!", Heat.PRIVATE: "@"}.get(talk.heat, " ")  # told without colours as well
            name = talk.name or "dhtchat"
            row = f"{number if number < 10 else ' '}{sign}{set_cell_size(name, _CELLS - 7)} {unread:>3} "
            rows.append(row + "\n", Style(color=colours[talk.heat], reverse=is_current or None, bold=bool(talk.heat)))
        self.put(rows)

    def on_click(self, event: Click) -> None:
        if 0 <= event.y < len(self._names):
            self.post_message(self.Chosen(self._names[event.y]))
