"""What the full screen shows and asks, without a terminal."""

from pathlib import Path

import pytest
from textual.events import Paste

from dhtchat.chat import events, intents
from dhtchat.tui.widgets.composer import Composer
from dhtchat.tui.widgets.talk_view import TalkView
from tests.tui.evening import cut_off, marked_up, stage, told
from tests.tui.screens import ScriptedPeer, colours, line, rows, screen_of

SNAPSHOTS = Path(__file__).parent / "snapshots"
PASTE = "(paste)"
"""In place of a key: a page comes from the clipboard."""


SCENES: dict[str, tuple[list[events.Event], list[str]]] = {
    "start": (told()[:1], []),
    "talk": (told(), []),
    "stage": (stage(), []),
    "markup": (marked_up(), []),
    "writing": (told(), [*"several", "alt+enter", *"lines"]),
    "elsewhere": ([*told(), line("alice, come", number=8, room="#zoo", mentioned=True), cut_off()], []),
    "help": (told(), ["f1"]),
    "links": (told(), ["alt+o"]),
    "finding": (told(), ["ctrl+f", *"row"]),
    "commands": (told(), [*"/nonsense", "enter", *"/mut", "tab"]),
    "palette": (told(), ["ctrl+p", *"top"]),
    "pasting": (told(), [PASTE]),
}
"""What is told, and the keys that are pressed then."""


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 15)], ids=lambda size: "x".join(map(str, size)))
async def test_the_screen_looks_as_it_did(size: tuple[int, int], light: bool, scene: str) -> None:
    """A change on purpose: delete the file, run the test twice, look at the new one."""
    peer = ScriptedPeer()
    to_tell, keys = SCENES[scene]
    async with screen_of(peer, light=light).run_test(size=size) as pilot:
        peer.tell(*to_tell)
        await pilot.pause(0)
        for key in keys:
            if key == PASTE:
                pilot.app.query_one(Composer).post_message(Paste("\n".join(["a line"] * 200)))
            else:
                await pilot.press(key)
            await pilot.pause(0)
        looking = [worker for worker in pilot.app.workers if worker.node is pilot.app.screen]
        for worker in looking:  # of the palette
            await worker.wait()
        await pilot.pause(0)
        await pilot.pause(0)
        shown = "\n".join([*rows(pilot.app), "--- colours", *colours(pilot.app), ""])
    file = SNAPSHOTS / f"{scene}-{size[0]}x{size[1]}-{'light' if light else 'dark'}.txt"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown, encoding="utf-8")
        pytest.fail(f"{file.name} was not there and is now: look at it")
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (200, 60)], ids=str)
async def test_no_size_breaks_it(size: tuple[int, int]) -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test(size=(80, 24)) as pilot:
        peer.tell(*told())
        await pilot.pause(0)
        await pilot.resize_terminal(*size)
        await pilot.pause(0)
        assert len(rows(pilot.app)) == size[1]


async def test_what_is_typed_is_asked_of_the_peer() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(events.TargetChanged(target="#lobby"))
        await pilot.pause(0)
        await pilot.press(*"hello", "enter", *"/nonsense", "enter")
        await pilot.pause(0)
        assert peer.asked == [intents.ShowHistory(200, "#lobby"), intents.SayTo("hello")]
        assert any("no command /nonsense" in row for row in rows(pilot.app))


async def test_alt_a_goes_where_it_is_most_urgent() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(events.TargetChanged(target="#quiet"), line("x"), line("y", number=2, room=None))
        await pilot.pause(0)
        await pilot.press("alt+a")
        await pilot.pause(0)
        assert intents.SwitchTo("bob") in peer.asked
        assert intents.MarkRead((f"{2:064x}",)) in peer.asked


async def test_readline_keys_completion_and_history() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(*told())
        await pilot.pause(0)
        composer = pilot.app.query_one(Composer)
        await pilot.press(*"one two", "ctrl+w", "ctrl+y", "ctrl+a", "ctrl+k", "ctrl+y")
        assert composer.text == "one two"
        await pilot.press("enter", "up")
        assert composer.text == "one two"
        await pilot.press("ctrl+u", *"three", "enter", *"on", "ctrl+r")
        assert composer.text == "one two"
        await pilot.press("ctrl+u", *"bo", "tab")
        assert composer.text == "bob: "
        await pilot.press("ctrl+u", *"/qui", "tab")
        assert composer.text == "/quit "


async def test_many_lines_are_thrown_away_with_two_keys() -> None:
    async with screen_of(ScriptedPeer()).run_test() as pilot:
        composer = pilot.app.query_one(Composer)
        composer.begin("one\ntwo\nthree")
        await pilot.press("ctrl+u")
        assert composer.text == "one\ntwo\n"
        await pilot.press("ctrl+u")
        assert composer.text == ""
        await pilot.press("ctrl+y")
        assert composer.text == "one\ntwo\n"
        composer.move_cursor((0, 3))
        await pilot.press("ctrl+k")
        assert composer.text == "one"


async def test_a_page_is_pasted_only_after_a_question() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        composer = pilot.app.query_one(Composer)
        composer.post_message(Paste("\n".join(["line\x1b[2J"] * 200)))
        await pilot.pause(0)
        await pilot.pause(0)
        assert composer.text == ""
        await pilot.press("y")
        await pilot.pause(0)
        assert composer.text == "\n".join(["line[2J"] * 200)


async def test_scrolling_back_is_not_undone_by_news() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(events.TargetChanged(target="#lobby"), *(line(f"line {n}", number=n, minute=1) for n in range(1, 90)))
        await pilot.pause(0)
        await pilot.pause(0)
        await pilot.press("pageup")
        await pilot.pause(0)
        before = pilot.app.query_one(TalkView).scroll_offset.y
        peer.tell(line("news", number=99, minute=2))
        await pilot.pause(0)
        assert 0 < pilot.app.query_one(TalkView).scroll_offset.y == before
