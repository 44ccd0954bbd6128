"""How lines are drawn: in rows that are counted right without drawing them."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from dhtchat.tui.drawing import MARKS, body, rows_at_once, wrapped
from dhtchat.tui.talks import Line
from dhtchat.tui.themes import DARK
from tests.chat.hostile import any_text

CONSOLE = Console(width=80)
words = st.lists(
    st.text(st.sampled_from("abcXYZ019.,:;!?()/=&%$#@'\"+-_{}|<>[]"), min_size=1, max_size=12), max_size=30
)


@given(words.map(" ".join), st.integers(1, 60), st.booleans(), st.sampled_from(["", *MARKS]))
def test_rows_are_counted_as_they_are_drawn(text: str, width: int, own: bool, state: str) -> None:
    line = Line(text, id="x", own=own, state=state)
    assert rows_at_once(line, width) in (0, len(wrapped(body(line, DARK), 0, width, CONSOLE)))


@given(any_text, st.integers(1, 60))
def test_of_any_text_as_well(text: str, width: int) -> None:
    line = Line(text, id="x")
    assert rows_at_once(line, width) in (0, len(wrapped(body(line, DARK), 0, width, CONSOLE)))


def test_most_lines_need_no_drawing() -> None:
    assert rows_at_once(Line("hello, is anybody there? see https://example.org/a_b?c=d", id="x"), 40) == 2


@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=120),
    st.integers(0, 30),
    st.integers(1, 60),
)
def test_what_hangs_in_stays_in_its_width_and_loses_nothing(text: str, hang: int, width: int) -> None:
    rows = wrapped(body(Line(text), DARK), hang, width, CONSOLE)
    assert all(cell_len(row.plain.rstrip()) <= width for row in rows)
    assert "".join("".join(row.plain for row in rows).split()) == "".join((text or "(unprintable)").split())
