"""Cleaning leaves nothing a terminal would obey; markup is what it says and never more than it shows."""

import random
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.chat.markup import UNPRINTABLE, Span, beginning, clean, parse, real_address
from dhtchat.limits import TEXT_BYTES_MAX, TEXT_CHARACTERS_MAX
from tests.chat.hostile import HOSTILE_TEXTS, WHOLESOME_TEXTS, any_text, objections


def shown(text: str) -> str:
    return "".join(span.text for span in parse(text))


# --- cleaning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
def test_nothing_forbidden_is_left(text: str) -> None:
    """Contract, line mode: "no C0 but newline (a tab becomes a space), no DEL, C1, surrogates or private use, ..." """
    assert objections(clean(text)) == []
    assert "\n" not in clean(text, single_line=True)


@pytest.mark.parametrize("text", WHOLESOME_TEXTS)
def test_what_people_write_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x1b[31mred\x9b0m", "[31mred0m"),
        ("a\tb", "a b"),
        ("a\r\nb\rc", "a\nbc"),
        ("a\u200cb\u200dc", "abc"),
        ("\U0001f469\u200d\u200d\U0001f469", "\U0001f469\U0001f469"),
        ("\U0001f469\u200c\U0001f469", "\U0001f469\U0001f469"),
        ("\U0001f469\u200d", "\U0001f469"),
        ("\u200d\U0001f469", "\U0001f469"),
        ("e" + "\u0301" * 9 + "x" + "\u0301" * 9, "e" + "\u0301" * 4 + "x" + "\u0301" * 4),
        ("\u2764\ufe0f\ufe0f", "\u2764\ufe0f"),
        (" \ufe0f", " "),
        ("", UNPRINTABLE),
        ("\x1b\x07\u202e\U000e0041", UNPRINTABLE),
        ("\ud83d\ude00", UNPRINTABLE),
        (" ", " "),
    ],
)
def test_cleaned_by_example(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_a_single_line_has_spaces_for_newlines() -> None:
    assert clean("a\nb\r\nc\td", single_line=True) == "a b c d"


@given(any_text, st.booleans())
def test_cleaning_is_complete_and_idempotent(text: str, single_line: bool) -> None:
    once = clean(text, single_line=single_line)
    assert once
    assert objections(once) == []
    assert clean(once, single_line=single_line) == once
    assert not (single_line and "\n" in once)


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), min_size=1))
def test_printable_ascii_stays(text: str) -> None:
    assert clean(text) == text


def test_every_character_alone() -> None:
    """All of Unicode, one by one: either gone, or itself, or the space a tab becomes."""
    for code in range(0x110000):
        character = chr(code)
        cleaned = clean(character)
        if cleaned != character:
            category = unicodedata.category(character)
            assert cleaned in (UNPRINTABLE, " "), hex(code)
            assert category in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp", "Mn"), hex(code)


def test_cleaning_takes_linear_time() -> None:
    """Twenty times the text in well below 400 times the time: compared in one run, as facts.md asks."""
    units = ["\x1b[1m", "a\u0301", "\U0001f469\u200d", "\u200d", "\u0301", "a\n", "\ufe0f"]
    for unit in units:
        short, long = (best_time(clean, unit * count) for count in (1_000, 20_000))
        assert long < 100 * short + 0.01, ascii(unit)


def best_time(function: object, text: str) -> float:
    assert callable(function)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        function(text)
        times.append(time.perf_counter() - start)
    return min(times)


def test_plain_text_takes_the_fast_path() -> None:
    plain = "a" * TEXT_CHARACTERS_MAX
    assert clean(plain) is plain
    assert 10 * best_time(clean, plain) < best_time(clean, "é" * TEXT_CHARACTERS_MAX)


# --- markup -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("plain", [Span("plain")]),
        ("", []),
        ("a **b** c", [Span("a "), Span("b", bold=True), Span(" c")]),
        ("*i*", [Span("i", italic=True)]),
        ("***both***", [Span("both", bold=True, italic=True)]),
        ("~~gone~~", [Span("gone", strike=True)]),
        ("`x = *p`", [Span("x = *p", code=True)]),
        ("``a ` b``", [Span("a ` b", code=True)]),
        ("```\nif x:\n    y\n```", [Span("if x:\n    y", code=True, block=True)]),
        ("see\n```python\nx = **y\n> z\n```\n*so*", [
            Span("see\n"),
            Span("x = **y\n> z\n", code=True, block=True),
            Span("so", italic=True),
        ]),
        ("```\n\u0301x\n```", [Span("```\n\u0301x\n```")]),
        ("```\n```", [Span("```\n```")]),
        ("```\nnever closed", [Span("```\nnever closed")]),
        ("> a **b**\n> c\nno", [
            Span("> a ", quote=True),
            Span("b", bold=True, quote=True),
            Span("\n> c\n", quote=True),
            Span("no"),
        ]),
        ("\n> a\n", [Span("\n"), Span("> a\n", quote=True)]),
        ("a > b", [Span("a > b")]),
        ("**a *b* ~~c~~**", [
            Span("a ", bold=True),
            Span("b", bold=True, italic=True),
            Span(" ", bold=True),
            Span("c", bold=True, strike=True),
        ]),
        ("**two\nlines**", [Span("two\nlines", bold=True)]),
        (r"\*kept\* \`too\`", [Span("*kept* `too`")]),
        ("see https://a.example/x_y_z?q=*1.", [
            Span("see "),
            Span("https://a.example/x_y_z?q=*1", link="https://a.example/x_y_z?q=*1"),
            Span("."),
        ]),
        ("**https://a.example/b**!", [
            Span("https://a.example/b", bold=True, link="https://a.example/b"),
            Span("!"),
        ]),
        ("~~http://a.example~~", [Span("http://a.example", strike=True, link="http://a.example")]),
        ("(http://a.example/w_(b))", [
            Span("("),
            Span("http://a.example/w_(b)", link="http://a.example/w_(b)"),
            Span(")"),
        ]),
        ("mail mailto:bob@b.example", [Span("mail "), Span("mailto:bob@b.example", link="mailto:bob@b.example")]),
        ("HTTPS://A.Example/P", [Span("HTTPS://A.Example/P", link="https://a.example/P")]),
        ("`https://a.example`", [Span("https://a.example", code=True)]),
    ],
)  # fmt: skip
def test_markup_by_example(text: str, spans: list[Span]) -> None:
    assert parse(text) == spans


@pytest.mark.parametrize(
    "text",
    [
        "# not a heading",
        "1. not a list\n- nor this\n > nor a quote\n    nor code",
        "snake_case_name and __init__ and _this_",
        "2 * 3 * 4 ** 5",
        "¯\\_(ツ)_/¯ C:\\temp\\new \\d+",
        "<b>no</b> &amp; &#65; <!-- html -->",
        "![image](x.png) [ref]: x [^1]",
        "~one~ ~ ~~ ~~~",
        "**open *and ~~never `closed",
        "trailing  \nspaces\\\nstay",
        "javascript:alert(1) ftp://a.example data:text/html,x file:///etc/passwd",
        "https://bank.example@evil.example/ https://user:pw@a.example",
        "www.a.example a.example bob@b.example xhttp://a.example http:// https://",
        "*️⃣ keycaps *️⃣",
    ],
)
def test_everything_else_stays_as_typed(text: str) -> None:
    assert parse(text) == [Span(text)]


def test_an_address_cannot_hide_behind_a_text() -> None:
    """Text and real address are both seen, as typed."""
    spans = parse("[https://bank.example](https://evil.example/x)")
    assert "".join(span.text for span in spans) == "[https://bank.example](https://evil.example/x)"
    assert [(span.text, span.link) for span in spans if span.link] == [
        ("https://bank.example", "https://bank.example"),
        ("https://evil.example/x", "https://evil.example/x"),
    ]


def test_a_host_that_only_looks_right_is_shown_as_punycode() -> None:
    assert parse("https://аpple.example/путь") == [
        Span("https://xn--pple-43d.example/путь", link="https://xn--pple-43d.example/%D0%BF%D1%83%D1%82%D1%8C")
    ]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a.example/a b", "https://a.example/a%20b"),
        ("https://a.example/\"<>`\\^{|}'", "https://a.example/%22%3C%3E%60%5C%5E%7B%7C%7D'"),
        ("HTTP://EXAMPLE.com:8080?q#f", "http://example.com:8080?q#f"),
        ("https://faß.example", "https://xn--fa-hia.example"),
        ("https://ａ。example", "https://a.example"),
        ("mailto:bob@ü.example", "mailto:bob@xn--tda.example"),
        ("https://" + "é" * 300, None),
        ("https://user@a.example", None),
        ("https://a.example\\@b.example", None),
        ("https://℀.example", None),
        ("https://a.example:99999999", None),
        ("https://", None),
        ("https://a.example/\u202e", None),
        ("https://a.example/\ud800", None),
        ("javascript:alert(1)", None),
        ("mailto:bob", None),
        ("", None),
    ],
)  # fmt: skip
def test_real_addresses(url: str, address: str | None) -> None:
    assert real_address(url) == address


@given(any_text)
def test_parsing_never_fails_and_stays_clean(text: str) -> None:
    cleaned = clean(text)
    spans = parse(cleaned)
    joined = "".join(span.text for span in spans)
    assert objections(joined) == []
    assert all(span.text for span in spans)
    assert all(span.link.isascii() and span.link.isprintable() and " " not in span.link for span in spans if span.link)
    assert not any(span.link and "\n" in span.text for span in spans)


@given(any_text)
def test_without_markers_the_text_is_the_input(text: str) -> None:
    cleaned = clean("".join(c for c in text if c not in "*~`:>"))
    assert shown(cleaned) == cleaned
    assert parse(cleaned) == [Span(cleaned)]


@given(any_text)
def test_parsing_takes_what_was_never_cleaned(text: str) -> None:
    parse(text)
    real_address(text)


@pytest.mark.parametrize(
    "unit",
    [
        "*", "**", "*a ", "**a *b ", "a**b", "***a ", "*~~`", "*~~", "~~a", "~", "`", "`a``", "[", "[(", "](", "!" + "[",
        "<", "&", "\\", "\\*", "http://", "http://a", "http://a ", "http://a@", "http://a.", "http://a/(", "http://a/([",
        "http://a/?'\"", "```\n", "```a\n", "> *a\n", "> \na\n", "mailto:", "mailto:a", "a:", ".a", "-a", "é.", "*_", "_", "* *",
    ],
)  # fmt: skip
def test_nasty_markup_ends_in_time(unit: str) -> None:
    """The longest text there may be, of whatever is worst: a fraction of a second on any machine, not minutes."""
    for text in (unit * (TEXT_BYTES_MAX // len(unit)), "https://a/" + unit * (TEXT_BYTES_MAX // len(unit) - 10)):
        assert best_time(parse, text) < 1.0


def test_a_text_above_the_limits_is_not_parsed() -> None:
    text = "**a**" * TEXT_BYTES_MAX
    assert parse(text) == [Span(text)]


def test_random_markup_never_fails(rng: random.Random) -> None:
    pieces = [
        "*",
        "**",
        "~~",
        "`",
        "``",
        "\\",
        "a",
        " ",
        "\n",
        "https://a.b/c",
        ":",
        "//",
        "(",
        ")",
        "[",
        "]",
        "é",
        ".",
    ]
    for _ in range(300):
        text = "".join(rng.choices(pieces, k=60))
        letters = [c for c in text if c.isalnum()]
        assert "```a" in text or [c for c in shown(text) if c.isalnum()] == letters, text


@given(any_text, st.integers(1, 40))
def test_a_text_cut_short_is_as_clean_as_a_whole_one(text: str, characters_max: int) -> None:
    short = beginning(text, characters_max)
    assert objections(short) == []
    assert len(short) <= max(characters_max, len(UNPRINTABLE)) + len("...")
    assert "\n" not in short


def test_a_cut_through_an_emoji_leaves_no_joiner() -> None:
    flag = "\U0001f3f3\ufe0f\u200d\U0001f308"
    assert beginning(flag, 3) == "\U0001f3f3\ufe0f..."
    assert beginning(flag, 4) == flag
