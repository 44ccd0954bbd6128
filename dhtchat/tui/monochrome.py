"""The screen without colours, for `NO_COLOR`: not shades of grey, but the terminal's own two.

What colours tell is told by bold, underline and reverse, or by a sign; the style sheet says how for `:nocolor`.
"""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter


class WithoutColours(LineFilter):
    """Takes the colours out of what is drawn and leaves its looks and links."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text, style.without_color if style is not None else None, control)
            for text, style, control in segments
        ]
