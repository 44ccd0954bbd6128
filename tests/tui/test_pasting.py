"""What stands between the marks of a paste is text, wherever the pieces are cut in which it arrives."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from textual import events

from dhtchat.tui.pasting import CarefulParser, PasteFilter

START, END = "\x1b[200~", "\x1b[201~"
inside = st.text(st.sampled_from("ab \r\n\t\x1b[201~;m\x9b\x00漢"), max_size=30).filter(lambda text: END not in text)
outside = st.text(st.sampled_from("ab\x1b[2A"), max_size=10).filter(lambda text: START not in text)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def without_controls(text: str) -> str:
    return "".join(c for c in text if c in "\r\n\t" or (c >= " " and not "\x7f" <= c <= "\x9f"))


@given(outside, inside, outside, inside, st.lists(st.integers(0, 200), max_size=12))
def test_only_pastes_are_changed(before: str, first: str, between: str, second: str, cuts: list[int]) -> None:
    stream = f"{before}{START}{first}{END}{between}{START}{second}{END}"
    paste_filter = PasteFilter()
    went_on = "".join(paste_filter.feed(piece) for piece in pieces_of(stream, cuts))
    first, second = without_controls(first), without_controls(second)
    assert went_on == f"{before}{START}{first}{END}{between}{START}{second}{END}"


@given(outside.filter(lambda text: text and text[-1] != "\x1b"))
def test_nothing_typed_is_held_back(typed: str) -> None:
    """An Escape that waits for the next key is none."""
    assert PasteFilter().feed(typed) == typed


def test_no_key_is_pressed_by_what_is_pasted() -> None:
    told = list(CarefulParser().feed(f"{START}one\x1b[2J\x1b\rtwo\x1b[A\x1b{END}x"))
    assert [type(message) for message in told] == [events.Paste, events.Key]
    assert isinstance(told[0], events.Paste)
    assert told[0].text == "one[2J\rtwo[A"
