"""Lines of talk as styled text. Built from the spans of `chat/markup.py` only: remote text is never parsed as markup."""

import re
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style
from rich.text import Text

from dhtchat.chat.markup import clean, parse
from dhtchat.tui.talks import Line
from dhtchat.tui.themes import Palette, colour_of

MARKS: Final = {"queued": "…", "sent": "→", "stored": "▣", "delivered": "✓", "read": "✓✓", "failed": "✗ not delivered"}
"""What became of one's own line."""


_INDENTED: Final = re.compile(r"^(?=.)", re.MULTILINE)
"""Where lines begin. A block of code stands two cells further in, so that it can be told without colours as well."""


def name_cells(width: int) -> int:
    """How wide the column of names is."""
    return 12 if width >= 60 else 8


def gutter_cells(width: int) -> int:
    """What stands before the text: time, name and a space each; on a very narrow screen nothing."""
    return 0 if width < 24 else 6 + name_cells(width) + 1


def body(line: Line, palette: Palette, *, with_links: bool = True) -> Text:
    """What is said, with what belongs to it. `with_links`: as links of the terminal (OSC 8), for one that knows them."""
    text = Text(style=Style(color=palette.text))
    if not line.id:
        text.append(clean(line.text), Style(color=palette.error if line.is_error else palette.faint))
        return text
    if line.quote:
        text.append(f"↪ {clean(line.quote, single_line=True)} ", Style(color=palette.faint, italic=True))
    if line.deleted:
        text.append(line.text, Style(color=palette.faint, italic=True))
    else:
        for span in parse(clean(line.text)):
            style = Style(
                bold=span.bold or line.mentioned or None,
                italic=span.italic or span.quote or line.action or None,
                strike=span.strike or None,
                color=palette.accent if span.code or span.link else palette.faint if span.quote else None,
                underline=bool(span.link) or None,
                link=span.link if with_links else None,
            )
            text.append(_INDENTED.sub("  ", span.text) if span.block else span.text, style)
    if line.edited and not line.deleted:
        text.append(" (edited)", Style(color=palette.faint))
    for emoji, users in line.reactions.items():
        if users:
            text.append(f" [{clean(emoji, single_line=True)} {len(users)}]", Style(color=palette.accent))
    if line.own and line.state:
        colour = palette.error if line.state == "failed" else palette.faint
        text.append(f" {MARKS.get(line.state, '')}", Style(color=colour))
    return text


def gutter(line: Line, width: int, palette: Palette) -> Text:
    """Time and name, the name to the right, in the person's colour."""
    cells = name_cells(width)
    text = Text()
    if not gutter_cells(width):
        return text
    text.append(f"{line.sent_at:%H:%M} " if line.sent_at else " " * 6, Style(color=palette.faint))
    name = clean(line.sender, single_line=True) if line.sender else "!!" if line.is_error else "--"
    shown = f"* {name}" if line.action else name
    if cell_len(shown) > cells:
        shown = set_cell_size(shown, cells - 1) + "…"
    colour = colour_of(line.sender, palette) if line.sender else palette.error if line.is_error else palette.faint
    style = Style(color=colour, bold=line.own or None, reverse=line.mentioned or None)
    text.append(" " * (cells - cell_len(shown)))
    text.append(shown, style)
    text.append(" ")
    return text


def wrapped(text: Text, hang: int, cells: int, console: Console) -> list[Text]:
    """In rows of `cells`, the second and later ones `hang` further in, or less where that leaves no room."""
    rows = list(text.wrap(console, cells)) or [Text()]
    if not hang or (len(rows) == 1 and cell_len(rows[0].plain) <= cells):
        return rows
    if cells < 2 * hang:
        hang = min(2, cells - 1)
    _, rest = text.divide([len(rows[0].plain.rstrip())])
    blanks = len(rest.plain) - len(rest.plain.lstrip())
    rest = rest.divide([blanks])[-1]
    return [rows[0], *(Text(" " * hang).append_text(row) for row in rest.wrap(console, cells - hang))]


_PLAIN: Final = re.compile(r"(?! )(?:[!-)+-\[\]-_a-}]| (?! ))*")
"""ASCII with single blanks and without what may be markup: it is drawn as it stands."""


def rows_at_once(line: Line, width: int) -> int:
    """How many rows the line takes, told without drawing it, for thousands are asked at once; 0: that needs drawing."""
    if line.quote or line.edited or line.reactions or line.hang or line.state == "failed":
        return 0
    if not line.text or not _PLAIN.fullmatch(line.text):
        return 0
    words = line.text.split(" ")
    if line.own and line.state:
        words.append(MARKS.get(line.state, ""))
    rows, column = 1, 0
    for word in words:
        if len(word) > width:
            return 0
        if column and column + len(word) > width:
            rows, column = rows + 1, 0
        column += len(word) + 1
    return rows
