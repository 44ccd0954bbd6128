"""What reaches a real terminal: no colours where none are wanted, and no more of them than it has."""

from pathlib import Path

import pytest

from dhtchat.chat import events
from tests.e2e.seen import Seen, colour_codes
from tests.tui.evening import told
from tests.tui.playing import playing

pytestmark = pytest.mark.process


async def test_no_color_means_no_colour_at_all(tmp_path: Path) -> None:
    failure = events.ErrorShown(code="bad-command", message="that went wrong", hint="do it better")
    async with playing(tmp_path, [*told(), failure], NO_COLOR="1") as terminal:
        seen = Seen(terminal)
        await seen.shows("that went wrong")
        terminal.type("typed")
        await seen.shows("typed")
        assert colour_codes(terminal.shown) == set()
        assert "\x1b[7m" in terminal.shown, "the cursor and the bars are still told apart"
        assert seen.cell_of("typed", len("typed")).reverse, "the cursor stands behind what is typed"
        assert any("!! that went wrong" in row for row in seen.rows), "told without colours as well"


@pytest.mark.parametrize(
    "environment, codes",
    [
        ({"TERM": "xterm"}, {*range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108)}),
        ({"TERM": "xterm-256color"}, {38, 48}),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, {38, 48}),
    ],
    ids=["16", "256", "true"],
)
async def test_a_terminal_gets_the_colours_that_it_says_it_has(
    tmp_path: Path, environment: dict[str, str], codes: set[int]
) -> None:
    async with playing(tmp_path, told(), **environment) as terminal:
        await Seen(terminal).shows("hello, everybody")
        used = colour_codes(terminal.shown)
        assert used, "there are colours"
        assert used <= codes
        assert ("38;2;" in terminal.shown) == ("COLORTERM" in environment)
