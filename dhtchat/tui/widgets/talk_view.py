"""The lines of the current talk. Only what is visible is drawn: ten thousand lines cost no more than twenty."""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dhtchat.chat.markup import clean, parse
from dhtchat.tui.drawing import body, gutter, gutter_cells, rows_at_once, wrapped
from dhtchat.tui.talks import Line, Talk
from dhtchat.tui.themes import DARK, Palette

if TYPE_CHECKING:
    from textual import events

_NEW = "new"
_NOTHING: Mapping[Line, int] = {}
_DRAWN_MAX = 2_000
"""Lines that are kept as they were drawn."""


class TalkView(ScrollView, can_focus=False):
    """Shows one talk; follows its end unless the reader has scrolled up."""

    class Scrolled(Message):
        """To the end, or away from it."""

    def __init__(self) -> None:
        super().__init__(id="talk")
        self.palette: Palette = DARK
        self.has_links = True
        """Whether the terminal knows links."""
        self._talk = Talk("")
        self._items: list[Line | str] = []
        """Lines, and between them the words of separators."""
        self._ends: list[int] = []
        """Behind which row each item ends."""
        self._places: dict[Line, int] = {}
        """Which of the items each line is."""
        self._drawn: dict[Line, list[Strip]] = {}
        self._laid_out: tuple[Talk, int, int, Palette] | None = None
        """Which talk, in what structure, how wide: while that holds, only what is new or touched is looked at. To lay out
        ten thousand lines for each new one would take longer than people wait."""
        self._day: date | None = None
        self._lines_seen = 0
        self._width = 0
        self._found: Line | None = None
        """What was searched for and stands out."""
        self._follows = True
        self._is_settling = False
        """Whether it is we who scroll."""

    @property
    def follows(self) -> bool:
        """Whether the end is on the screen, and stays there."""
        return self._follows

    def show(self, talk: Talk) -> None:
        """Draw this talk, or what has changed in it."""
        if talk is not self._talk:
            self._follows, self._found = True, None
        self._talk = talk
        self._lay_out()

    def follow(self) -> None:
        """Go to the end and stay there."""
        if not self._follows:
            self._follows = True
            self._settle(None)
            self.post_message(self.Scrolled())

    def find(self, words: str, step: int) -> tuple[int, int]:
        """Show a line with all these words: the latest, or from the one that is shown `step` on. Which of how many it is,
        the latest being 1; zeros when there is none."""
        wanted = words.casefold().split()
        items = [item for item in self._items if isinstance(item, Line) and item.id and _has(item, wanted)]
        items.reverse()
        if not wanted or not items:
            self._show_found(None)
            return 0, 0
        at = items.index(self._found) - step if step and self._found in items else 0
        at = max(0, min(at, len(items) - 1))
        self._show_found(items[at])
        return at + 1, len(items)

    @property
    def chosen(self) -> Line | None:
        """The line that stands out, if one does."""
        return self._found

    def choose(self, step: int) -> None:
        """The line above the chosen one, or the one below; first the last line of somebody, and none behind it."""
        lines = [item for item in self._items if isinstance(item, Line) and item.id]
        at = self._talk_index(lines) + step
        self._show_found(lines[max(at, 0)] if lines and at < len(lines) else None)
        if self._found is None:
            self.follow()

    def choose_none(self) -> None:
        if self._found is not None:
            self._show_found(None)

    def _talk_index(self, lines: list[Line]) -> int:
        return lines.index(self._found) if self._found in lines else len(lines)

    def _show_found(self, line: Line | None) -> None:
        self._found = line
        self._drawn = {}
        self.refresh()
        if line is not None:
            at = self._places[line]
            start = self._ends[at - 1] if at else 0
            if not self.scroll_offset.y <= start or self._ends[at] > self.scroll_offset.y + self.size.height:
                self.scroll_to(y=max(start - self.size.height // 2, 0), animate=False, immediate=True, force=True)

    def links(self) -> list[str]:
        """Where the links on the screen lead, the last first."""
        first = bisect_right(self._ends, self.scroll_offset.y)
        last = bisect_right(self._ends, self.scroll_offset.y + max(self.size.height - 1, 0))
        spans = (
            span
            for item in reversed(self._items[first : last + 1])
            if isinstance(item, Line)
            for span in reversed(parse(clean(item.text)))
        )
        return list(dict.fromkeys(span.link for span in spans if span.link))

    def on_resize(self, event: "events.Resize") -> None:
        self._lay_out()
        self._settle(None)  # also where only its height has changed

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._is_settling and self._follows != self.is_vertical_scroll_end:
            self._follows = not self._follows
            self.post_message(self.Scrolled())

    def _settle(self, top: tuple[Line, int] | None) -> None:
        """Scroll to the end, or to where that row of that line is now. Forced: no scrollbar may be there yet."""
        self._is_settling = True
        try:
            if self._follows:
                self.scroll_end(animate=False, immediate=True, force=True)
            elif top is not None and top[0] in self._places:
                at = self._places[top[0]]
                start = self._ends[at - 1] if at else 0
                row = start + min(top[1], self._ends[at] - start - 1)
                self.scroll_to(y=max(row, 0), animate=False, immediate=True, force=True)
        finally:
            self._is_settling = False

    def _top(self) -> tuple[Line, int] | None:
        """The first line on the screen, and which row of it is the first; below zero when a separator stands above it."""
        at = bisect_right(self._ends, self.scroll_offset.y)
        for index in range(at, len(self._items)):
            item = self._items[index]
            if not isinstance(item, str):
                start = self._ends[index - 1] if index else 0
                return item, self.scroll_offset.y - start
        return None

    def _lay_out(self) -> None:
        width, talk = self.scrollable_content_region.width, self._talk
        if not width:
            return  # not on the screen yet; on_resize comes when it is
        state = talk, talk.structure, width, self.palette
        if self._laid_out == state:
            self._add()
            return
        top = None if self._follows else self._top()
        known: dict[Line, int] = {}
        if width == self._width:
            for line in talk.touched:
                self._places.pop(line, None)
            known = {line: self._ends[at] - (self._ends[at - 1] if at else 0) for line, at in self._places.items()}
        self._laid_out, self._width = state, width
        self._items, self._ends, self._places, self._drawn = [], [], {}, {}
        self._day, self._lines_seen = None, 0
        talk.touched.clear()
        self._append(known)
        self._resize_content(top)

    def _add(self) -> None:
        """What is new at the end, and what was touched."""
        top = None if self._follows else self._top()
        touched, self._talk.touched = self._talk.touched, []
        for line in touched:
            self._drawn.pop(line, None)
            if (at := self._places.get(line)) is not None:
                grown = self._height(line) - (self._ends[at] - (self._ends[at - 1] if at else 0))
                if grown:
                    self._ends[at:] = [end + grown for end in self._ends[at:]]
        if touched or self._lines_seen < len(self._talk.lines):
            self._append()
            self._resize_content(top)

    def _append(self, known: Mapping[Line, int] = _NOTHING) -> None:
        """Lay out the lines that have not been seen yet, with what separates them. `known`: how high some of them are."""
        end = self._ends[-1] if self._ends else 0
        lines = self._talk.lines
        for at in range(self._lines_seen, len(lines)):
            line = lines[at]
            if line.sent_at is not None and line.sent_at.date() != self._day:
                self._day = line.sent_at.date()
                self._items.append(f"{self._day:%A, %Y-%m-%d}")
                self._ends.append(end := end + 1)
            if line.id and line.id == self._talk.marker:
                self._items.append(_NEW)
                self._ends.append(end := end + 1)
            self._places[line] = len(self._items)
            self._items.append(line)
            self._ends.append(end := end + (known.get(line) or self._height(line)))
        self._lines_seen = len(lines)

    def _height(self, line: Line) -> int:
        room = self._width - gutter_cells(self._width)
        return rows_at_once(line, room) or len(self._wrap(line, room))

    def _resize_content(self, top: tuple[Line, int] | None) -> None:
        self._is_settling = True
        self.virtual_size = Size(self._width, self._ends[-1] if self._ends else 0)
        self._settle(top)
        self.refresh()

    def _wrap(self, line: Line, room: int) -> list[Text]:
        return wrapped(body(line, self.palette, with_links=self.has_links), line.hang, max(room, 1), self.app.console)

    def render_line(self, y: int) -> Strip:
        width, row = self.scrollable_content_region.width, y + self.scroll_offset.y
        background = Style(bgcolor=self.palette.background)
        if not self._ends or row >= self._ends[-1]:
            return Strip.blank(width, background)
        at = bisect_right(self._ends, row)
        rows = self._rows(self._items[at])
        inner = row - (self._ends[at - 1] if at else 0)
        strip = rows[min(inner, len(rows) - 1)]
        return strip.adjust_cell_length(width, background).apply_style(background)

    def _rows(self, item: Line | str) -> list[Strip]:
        """As it is laid out, also while a resize is under way."""
        if isinstance(item, str):
            return self._draw(item, self._width)
        if item not in self._drawn:
            if len(self._drawn) >= _DRAWN_MAX:
                self._drawn = {}
            self._drawn[item] = self._draw(item, self._width)
        return self._drawn[item]

    def _draw(self, item: Line | str, width: int) -> list[Strip]:
        if isinstance(item, str):
            colour = self.palette.accent if item == _NEW else self.palette.faint
            return [Strip([Segment(f" {item} ".center(width, "─"), Style(color=colour))])]
        start = gutter(item, width, self.palette)
        blank = Text(" " * gutter_cells(width))
        rows = self._wrap(item, width - gutter_cells(width))
        if item is self._found:
            for row in rows:
                row.stylize(Style(reverse=True))
        return [
            Strip((blank.copy() if number else start).append_text(text).render(self.app.console))
            for number, text in enumerate(rows)
        ]


def _has(line: Line, words: list[str]) -> bool:
    said = f"{line.sender} {line.text}".casefold()
    return all(word in said for word in words)
