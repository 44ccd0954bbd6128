"""What is known about a terminal from its environment, and colours that can be read on it."""

import io
import re
from itertools import pairwise

import pytest

from dhtchat.cli.terminal import ERROR, PEOPLE_256, PLAIN, WARNING, Terminal, detect, make_safe


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


XTERM = {"TERM": "xterm-256color"}


def on_terminal(**environ: str) -> Terminal:
    return detect(FakeTerminal(), environ, platform="linux")


def test_a_terminal_has_colours() -> None:
    assert on_terminal(TERM="xterm") == Terminal(colours=True)
    assert on_terminal(**XTERM) == Terminal(colours=True, many_colours=True)
    assert on_terminal(TERM="xterm", COLORTERM="truecolor").many_colours


@pytest.mark.parametrize(
    "environ",
    [
        {"TERM": "dumb"},
        {"TERM": "unknown"},
        {},
        {**XTERM, "NO_COLOR": "1"},
        {**XTERM, "NO_COLOR": "0"},
        {**XTERM, "NO_COLOR": "1", "FORCE_COLOR": "1"},
        {"TERM": "dumb", "FORCE_COLOR": "1"},
        {"TERM": "dumb", "WT_SESSION": "x"},
    ],
)
def test_no_color_and_a_dumb_terminal_switch_colours_off(environ: dict[str, str]) -> None:
    """Contract: "`NO_COLOR`, a pipe and a dumb terminal switch colours off." """
    assert detect(FakeTerminal(), environ, platform="linux") == PLAIN


@pytest.mark.parametrize(
    "environ", [XTERM, {**XTERM, "FORCE_COLOR": "3", "CLICOLOR_FORCE": "1", "VTE_VERSION": "7200"}]
)
def test_a_pipe_switches_colours_off(environ: dict[str, str]) -> None:
    assert detect(io.StringIO(), environ, platform="linux") == PLAIN


def test_an_empty_no_color_means_nothing() -> None:
    """no-color.org: "when present and not an empty string"."""
    assert on_terminal(TERM="xterm", NO_COLOR="").colours


def test_windows_needs_no_term() -> None:
    assert detect(FakeTerminal(), {}, platform="win32") == Terminal(colours=True)
    assert detect(FakeTerminal(), {"WT_SESSION": "guid"}, platform="win32").links


def test_a_closed_stream_is_a_pipe() -> None:
    stream = FakeTerminal()
    stream.close()
    assert detect(stream, {"TERM": "dumb"}) == PLAIN
    closed = io.StringIO()
    closed.close()
    assert detect(closed, XTERM) == PLAIN


@pytest.mark.parametrize(
    "environ",
    [
        {"VTE_VERSION": "7200"},
        {"VTE_VERSION": "5001"},
        {"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.5.0"},
        {"TERM_PROGRAM": "WezTerm", "TERM_PROGRAM_VERSION": "20240203-110809-5046fc22"},
        {"TERM_PROGRAM": "vscode", "TERM_PROGRAM_VERSION": "1.96.2"},
        {"TERM_PROGRAM": "ghostty", "TERM_PROGRAM_VERSION": "1.0.1"},
        {"TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.4", "TMUX": "/tmp/x", "TERM": "tmux-256color"},
        {"TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.5a", "TMUX": "/tmp/x", "TERM": "screen"},
        {"WT_SESSION": "guid"},
        {"KITTY_WINDOW_ID": "1"},
        {"TERM": "xterm-kitty"},
        {"TERM": "foot"},
    ],
)
def test_terminals_known_to_know_links(environ: dict[str, str]) -> None:
    assert on_terminal(**{**XTERM, **environ}).links


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"VTE_VERSION": "5000"},
        {"VTE_VERSION": "4205"},
        {"VTE_VERSION": "9" * 5_000 + "x"},
        {"VTE_VERSION": "²"},
        {"TERM_PROGRAM": "Apple_Terminal", "TERM_PROGRAM_VERSION": "455"},
        {"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.0.15"},
        {"TERM_PROGRAM": "iTerm.app"},
        {"TERM_PROGRAM": "vscode", "TERM_PROGRAM_VERSION": "1.71.9"},
        {"TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.3a", "TMUX": "/tmp/x"},
        {"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.5.0", "TMUX": "/tmp/x"},
        {"TERM": "tmux-256color", "VTE_VERSION": "7200"},
        {"TERM": "screen.xterm-256color", "KITTY_WINDOW_ID": "1"},
        {"STY": "1.pts", "VTE_VERSION": "7200"},
        {"NO_COLOR": "1", "KITTY_WINDOW_ID": "1"},
    ],
)
def test_everyone_else_gets_plain_addresses(environ: dict[str, str]) -> None:
    terminal = on_terminal(**{**XTERM, **environ})
    assert not terminal.links
    assert terminal.linked("text", "https://a.example") == "text"


def test_a_link_is_osc_8() -> None:
    """https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda: `OSC 8 ; params ; URI ST`."""
    linked = Terminal(colours=True, links=True).linked("text", "https://a.example")
    assert linked == "\x1b]8;;https://a.example\x1b\\text\x1b]8;;\x1b\\"


def test_a_style_ends_with_its_text() -> None:
    assert Terminal(colours=True).styled("text", ERROR) == "\x1b[31mtext\x1b[0m"
    assert Terminal(colours=True).styled("text") == "text"
    assert Terminal(colours=True).styled("", ERROR) == ""
    assert PLAIN.styled("text", ERROR) == "text"


def test_a_person_keeps_the_colour() -> None:
    """Stable over runs and machines: pinned here, so no seeded hash."""
    many, few = Terminal(colours=True, many_colours=True), Terminal(colours=True)
    assert [many.colour_of(name) for name in ("alice", "bob")] == ["\x1b[38;5;165m", "\x1b[38;5;29m"]
    assert few.colour_of("alice") == few.colour_of("alice")
    assert PLAIN.colour_of("alice") == ""
    assert len({many.colour_of(f"user{n}") for n in range(500)}) == len(set(PEOPLE_256))
    assert not {few.colour_of(f"user{n}") for n in range(500)} & {ERROR, WARNING}


def test_colours_of_people_are_readable_on_black_and_on_white_and_are_not_alarming() -> None:
    """WCAG 2.2 §1.4.11 asks for a contrast of 3:1; between the alarming hues, 320 (pink) over red to 65 (yellow)."""
    for colour in PEOPLE_256:
        red, green, blue = cube_colour(colour)
        luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
        assert (luminance + 0.05) / 0.05 >= 3.5, colour
        assert 1.05 / (luminance + 0.05) >= 3.5, colour
        assert green >= red or blue >= 175, f"{colour} looks like an error or a warning"
    assert all(a < b for a, b in pairwise(PEOPLE_256))


def cube_colour(number: int) -> tuple[int, int, int]:
    levels = (0, 95, 135, 175, 215, 255)
    index = number - 16
    return levels[index // 36], levels[index // 6 % 6], levels[index % 6]


def linear(level: int) -> float:
    share = level / 255
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_stream_takes_every_character_once_made_safe(encoding: str) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding)
    assert make_safe(stream) is stream
    stream.write("naïve → \U0001f600\n")
    written = buffer.getvalue().decode(encoding)  # there without a flush: lines go out as they come
    assert re.match(r"na(ï|\\xef)ve (→|\\u2192) (\U0001f600|\\U0001f600)\r?\n$", written)


def test_json_is_utf_8_whatever_the_locale() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    assert make_safe(stream, json=True) is stream
    stream.write('{"text": "→"}\n')
    assert buffer.getvalue().decode().strip() == '{"text": "→"}'


def test_streams_that_are_not_files_are_left_alone() -> None:
    stream = io.StringIO()
    assert make_safe(stream) is stream
