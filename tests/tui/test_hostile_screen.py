"""Nothing that others say is obeyed by the terminal or leaves its box, whatever the terminal takes its width for.

Contract, "Line mode", last paragraph; issue 7, "Cleaning" and "What it must show", 3.
"""

import random
import re
from functools import partial
from pathlib import Path

import pytest
from wcwidth import wcwidth

from dhtchat.chat import events
from dhtchat.chat.events import Event
from tests.chat.hostile import FORBIDDEN, HOSTILE_TEXTS, WHOLESOME_TEXTS
from tests.cli.test_render import Younger, everything
from tests.e2e.seen import Seen
from tests.tui.evening import told
from tests.tui.playing import playing
from tests.tui.screens import line

pytestmark = pytest.mark.process

OURS = re.compile(
    r"\x1b\[[0-9;]*m"  # looks
    r"|\x1b\[[0-9]+;[0-9]+H|\x1b\[[0-9]+C|\x1b[78]"  # where to write
    r"|\x1b\[\?(?:25|1000|1003|1004|1006|1015|1016|1049|2004|2026|2048|7)(?:[hl]|\$p)"  # modes, and asking for them
    r"|\x1b\[[<>=][0-9]*u"  # the keyboard protocol of kitty
    r"|\x1b\]8;(?:id=[0-9]+;[!-~]+|;)\x1b\\"  # links, to printable ASCII
    r"|\x1b\[2[23];2t|\x1b\]2;[^\x00-\x1f\x7f-\x9f]*\x07"  # the title
    r"|\x1b\]22;[a-z-]+\x07"  # the shape of the mouse pointer
    r"|\x07"
)
"""All sequences of the screen; `\\x1b[0C` is none of them: many terminals take 0 for 1."""

FLOODS = {
    "4 KB of joined emoji": "\U0001f469\u200d" * 585,
    "4 KB of joiners": "a" + "\u200d" * 1_365 + "b",
    "as many marks as one may have": ("a" + "\u0301" * 4) * 400,
    "as long as a text may be": "x" * 2_000,
    "wide and long": "漢" * 2_000,
    "lines": "\n" * 1_999 + "x",
    "Hindi": "हिन्दी" * 300,
    "flags": "\U0001f1e9\U0001f1ea" * 500,
    "keycaps": "1\ufe0f\u20e3" * 500,
    "letters without width": "a\u2060\u2061\u206a\ufff9\u17b4" * 300,
}
SPLIT = {"the first half of a sequence": "half\x1b]0;", "and the second": "owned\x07 other half"}


def told_with(text: str, number: int) -> list[Event]:
    """Everything with this text in it, then back to the room, where it stands as well."""
    text = "".join(character for character in text if not "\ud800" <= character <= "\udfff")
    member = events.MemberEntry(name=text or "x", role="owner", online=True, hand=True)
    members = [events.MemberEntry(name="alice", role="owner", online=True), member]
    return [
        *(event for event in everything(text) if not isinstance(event, events.Bye | Younger)),
        events.TargetChanged(target="#lobby"),
        line(text, sender=text, number=number),
        line("and what comes after it", number=number + 1),
        line(text, number=number + 2, reacts_to=f"{number + 1:064x}"),
        events.TopicChanged(room="#lobby", user=None, by=None, topic=text),
        events.Names(room="#lobby", members=members),
        events.Notice(message=text),
        events.Notice(message=f"end of {number}"),
    ]


def check_box(seen: Seen, what: str, *, composer: int = 1) -> None:
    """The list to the left, the talk and the members to the right each in their columns, the other rows in theirs, of which
    what one writes has `composer`."""
    cells = seen.cells
    for row in cells[1 : -1 - composer]:
        assert row[19] in (" ", ""), f"the list of talks goes on into the talk: {what}"
        assert re.fullmatch(r"\d\d:\d\d | {6}|─+.*", "".join(row[20:26])), f"no time and no blanks: {what}"
        assert row[81] in " ▁▂▃▄▅▆▇█", f"the talk goes on behind its end: {what}"
        assert re.match(r" [●◐○][~@ -]| {3}", "".join(row[82:85])), f"no member and no blanks: {what}"
    assert re.match(r" alice · ", "".join(cells[-1 - composer])), what


def in_agreement(character: str, unsure: int) -> int:
    """Of what all terminals agree on, their width; of anything else `unsure`."""
    agreed = character.isascii() or re.match("[─-◿✓✗●○↪·—…│▕▏漢]", character)
    return wcwidth(character) if agreed else unsure


async def test_whatever_is_said_stays_text_and_stays_in_its_box(tmp_path: Path) -> None:
    wholesome = dict(zip(("words", *map(str, range(1, 99))), WHOLESOME_TEXTS, strict=False))
    texts = {**HOSTILE_TEXTS, **SPLIT, **FLOODS, **wholesome}
    parts = [told_with(text, 10 * number) for number, text in enumerate(texts.values(), 1)]
    async with playing(tmp_path, told(), *parts, columns=100) as terminal:
        screens = {
            "as wcwidth has it": Seen(terminal),
            "one cell for what is unsure": Seen(terminal, width=lambda character: in_agreement(character, 1)),
            "two cells for what is unsure": Seen(terminal, width=lambda character: in_agreement(character, 2)),
        }
        first = screens["as wcwidth has it"]
        await first.shows("日本語")
        checked = 0
        for number, what in enumerate(texts, 1):
            terminal.type("next\r")
            await first.shows(f"end of {10 * number}")
            for name, seen in screens.items():
                await seen.comes_to(partial(check_box, seen, f"{what}, {name}"))
            checked += check_sequences(terminal.shown[checked:], what)
            assert re.fullmatch(r".+ - dhtchat( \(\d+\))?", first.title), first.title


def check_sequences(shown: str, what: str) -> int:
    """How much of `shown` was looked at: without the beginning of a sequence at its end."""
    if unfinished := re.search(r"(\r|\x1b(\[[0-?]*|\][^\x07\x1b]*\x1b?)?)$", shown):
        shown = shown[: unfinished.start()]
    rest = OURS.sub("", shown).replace("\r\n", "")
    assert "\x1b" not in rest, f"{what}: {rest!r}"
    assert not FORBIDDEN.search(rest.replace("\u200d", "")), f"{what}: {rest!r}"
    return len(shown)


async def test_a_storm_of_resizes_leaves_everything_in_its_place(tmp_path: Path, rng: random.Random) -> None:
    async with playing(tmp_path, told()) as terminal:
        seen = Seen(terminal)
        await seen.shows("日本語")
        for _ in range(100):
            seen.resize(rng.randint(1, 60), rng.randint(1, 200))
        seen.resize(5, 20)
        terminal.type("still here")
        await seen.shows("still here")
        await seen.shows("שלום")
        seen.resize(24, 100)
        await seen.shows("hello, everybody")
        await seen.comes_to(lambda: check_box(seen, "after the storm"))
        await seen.shows("still here")


async def test_two_hundred_pasted_lines_go_in_after_a_question(tmp_path: Path) -> None:
    pasted = "\r".join(f"line {number} {'x' * 10}\x1b[2J\u202e" for number in range(1, 201))
    async with playing(tmp_path, told()) as terminal:
        seen = Seen(terminal)
        await seen.shows("日本語")
        terminal.type(f"\x1b[200~{pasted}\x1b[201~")
        await seen.shows("Paste 200 lines?")
        terminal.type("y")
        await seen.shows("line 200")
        await seen.comes_to(lambda: check_box(seen, "pasted", composer=8))
        terminal.type("\r")
        await seen.shows("nothing was")
        await seen.shows("line 200", timeout_s=5)  # nothing is lost
        check_sequences(terminal.shown, "pasted")
