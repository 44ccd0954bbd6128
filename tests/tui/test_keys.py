"""Keys: each does what the table says, others can be chosen, and the help knows all of them."""

from pathlib import Path

import pytest
from textual.widgets import Input

from dhtchat.app.preferences import Preferences
from dhtchat.chat import events, intents
from dhtchat.chat.commands import COMMANDS
from dhtchat.errors import BadUsage
from dhtchat.tui.app import ChatApp
from dhtchat.tui.keys import ACTIONS, check_names, help_rows
from dhtchat.tui.widgets.composer import Composer
from dhtchat.tui.widgets.help_screen import HelpScreen
from dhtchat.tui.widgets.talk_view import TalkView
from tests.e2e.seen import Seen
from tests.tui.evening import told
from tests.tui.playing import playing
from tests.tui.screens import ScriptedPeer, line, rows, screen_of

MANY = [events.TargetChanged(target="#lobby"), *(line(f"line {n}.", number=n, minute=1) for n in range(1, 90))]


async def test_other_keys_from_the_configuration() -> None:
    peer = ScriptedPeer()
    preferences = Preferences(keys={"next-active": "ctrl+n,f9", "cut-word": "f10"})
    async with screen_of(peer, preferences=preferences).run_test() as pilot:
        peer.tell(events.TargetChanged(target="#lobby"), line("psst", room=None))
        await pilot.pause(0)
        await pilot.press("alt+a")
        assert intents.SwitchTo("bob") not in peer.asked
        await pilot.press("ctrl+n")
        assert intents.SwitchTo("bob") in peer.asked
        composer = pilot.app.query_one(Composer)
        await pilot.press(*"one two", "f10")
        assert composer.text == "one "


def test_a_wrong_name_is_said_with_what_was_meant() -> None:
    with pytest.raises(BadUsage, match="'next-activ' in ") as caught:
        check_names({"next-activ": "f9"})
    assert caught.value.hint == "Did you mean 'next-active'?"


def test_the_help_has_every_key() -> None:
    does = {text for _, text in help_rows({})}
    assert all(action.does in does for action in ACTIONS if not action.name.startswith("talk-"))
    assert ("Alt+1 to Alt+9", "go to that talk") in help_rows({})
    assert ("F9, Ctrl+N", "go where you are wanted most") in help_rows({"next-active": "f9, ctrl+n"})


async def test_the_help_is_a_page_over_the_talk() -> None:
    async with screen_of(ScriptedPeer()).run_test(size=(60, 20)) as pilot:
        await pilot.press("f1")
        await pilot.pause(0)
        assert isinstance(pilot.app.screen, HelpScreen)
        assert any("Alt+1 to Alt+9" in row for row in rows(pilot.app))
        for _ in range(9):
            await pilot.press("pagedown")
        await pilot.pause(0)
        assert any(COMMANDS[-1].usage in row for row in rows(pilot.app)), "\n".join(rows(pilot.app))
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, HelpScreen)


async def test_windows_by_number_and_by_neighbourhood() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        app = pilot.app
        assert isinstance(app, ChatApp)
        peer.tell(line("x", room="#b"), line("y", number=2, room=None), events.TargetChanged(target="#a"))
        await pilot.pause(0)
        for key, talk in [
            ("alt+3", "#b"),
            ("alt+right", "bob"),
            ("alt+right", ""),
            ("alt+left", "bob"),
            ("alt+9", "bob"),
            ("alt+1", ""),
            ("alt+4", "bob"),
        ]:
            await pilot.press(key)
            await pilot.pause(0)
            assert app.talks.current.name == talk, key


async def test_finding_words_in_the_talk() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test(size=(80, 20)) as pilot:
        peer.tell(*MANY)
        await pilot.pause(0)
        await pilot.press("ctrl+f", *"LINE 3")
        await pilot.pause(0)
        shown = rows(pilot.app)
        assert any(row.startswith(" 1 of ") for row in shown)
        assert any("line 83." in row for row in shown)
        await pilot.press("enter", "enter")
        await pilot.pause(0)
        assert any("line 63." in row for row in rows(pilot.app))
        await pilot.press("down", "down", "down")
        await pilot.pause(0)
        assert any(row.startswith(" 1 of ") for row in rows(pilot.app))
        await pilot.press(*"xyz")
        await pilot.pause(0)
        assert any("nothing found" in row for row in rows(pilot.app))
        await pilot.press("escape", *"said")
        assert pilot.app.query_one(Composer).text == "said"
        assert not pilot.app.query_one(Input).display


async def test_scrolling_to_the_top_asks_for_more() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(*MANY)
        await pilot.pause(0)
        for _ in range(8):
            await pilot.press("pageup")
        assert intents.ShowHistory(2_000, "#lobby") in peer.asked
        before = [row for row in rows(pilot.app) if "line " in row]
        old = [line(f"old {n}.", number=1_000 + n, minute=0) for n in range(50)]
        peer.tell(events.History(target="#lobby", messages=old))
        await pilot.pause(0)
        assert before[0] in rows(pilot.app), "what stands there stays there"
        await pilot.press("ctrl+home")
        await pilot.pause(0)
        assert any("old 0." in row for row in rows(pilot.app))
        await pilot.press("ctrl+end")
        await pilot.pause(0)
        assert pilot.app.query_one(TalkView).follows


async def test_a_link_is_opened_after_its_real_address_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    peer, opened = ScriptedPeer(), []
    async with screen_of(peer).run_test(size=(80, 24)) as pilot:
        monkeypatch.setattr(pilot.app, "open_url", opened.append)
        await pilot.press("alt+o")
        assert opened == []
        peer.tell(
            events.TargetChanged(target="#lobby"),
            line("https://first.example/"),
            line("see https://аpple.example/путь now", number=2),
        )
        await pilot.pause(0)
        await pilot.press("alt+o")
        await pilot.pause(0)
        assert any("> https://xn--pple-43d.example/" in row for row in rows(pilot.app)), "\n".join(rows(pilot.app))
        await pilot.press("down", "enter")
        await pilot.pause(0)
        assert opened == ["https://first.example/"]
        await pilot.press("alt+o", "escape")
        await pilot.pause(0)
        assert len(opened) == 1


async def test_the_palette_finds_talks_actions_and_commands() -> None:
    peer = ScriptedPeer()
    name = "[@click=app.quit]x[/]"
    async with screen_of(peer).run_test(size=(80, 24)) as pilot:
        peer.tell(line("x", room="#b"), line("psst", sender=name, room=None, number=2))
        await pilot.pause(0)
        await pilot.press("ctrl+p")
        await pilot.pause(0)
        await pilot.press(*"go to")
        await pilot.pause(1)
        assert any(name in row for row in rows(pilot.app)), "a name is text: \n" + "\n".join(rows(pilot.app))
        await pilot.press(*["backspace"] * 5, *"/topic")
        await pilot.pause(1)
        await pilot.press("enter")
        await pilot.pause(1)
        assert pilot.app.query_one(Composer).text == "/topic "


@pytest.mark.process
async def test_alt_is_told_at_once(tmp_path: Path) -> None:
    """Who types on within the tenth of a second for which a terminal's sequences are waited for."""
    async with playing(tmp_path, told()) as terminal:
        seen = Seen(terminal)
        await seen.shows("日本語")
        terminal.type("\x1b3typed at once")
        await seen.shows("are you there?")
        await seen.shows("typed at once")
        terminal.type("\x1b[1;3A")  # Alt+Up
        terminal.type("\x1b[1;3D")  # Alt+Left
        await seen.shows("Talk about everything")
        terminal.type("\x1b[1;3C")
        await seen.shows("are you there?")
        terminal.type("\x1b\x7fmore\x1b2")
        await seen.shows("typed at more")
        await seen.shows("Talk about everything")


@pytest.mark.process
async def test_the_mouse_can_be_left_to_the_terminal(tmp_path: Path) -> None:
    async with playing(tmp_path, told()) as terminal:
        seen = Seen(terminal)
        await seen.shows("日本語")
        assert "\x1b[?1000h" in terminal.shown
        terminal.type("\x1bOR")
        await seen.shows("to select text")
        assert terminal.shown.rindex("\x1b[?1000l") > terminal.shown.rindex("\x1b[?1000h")


async def test_a_line_is_chosen_and_answered_changed_reacted_to() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test(size=(80, 24)) as pilot:
        composer = pilot.app.query_one(Composer)
        peer.tell(*MANY, line("mine", number=100, minute=2, own=True))
        await pilot.pause(0)
        await pilot.press("alt+e")
        assert composer.text == "/edit -1 "
        await pilot.press("ctrl+u", "alt+up", "alt+e")
        assert composer.text == f"/edit {100:064x}"[:18] + " mine"
        await pilot.press("ctrl+u", *["alt+up"] * 40, "alt+down", "alt+r", *"yes", "enter")
        await pilot.pause(0)
        assert peer.asked[-1] == intents.ReplyTo(f"{52:064x}"[:12], "yes")
        view = pilot.app.query_one(TalkView)
        assert view.chosen is None
        await pilot.press("alt+up", "alt+down", "alt+t")
        assert composer.text == "/react -1 "
        assert view.follows


async def test_history_that_is_asked_for_is_told_with_ids() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test(size=(100, 24)) as pilot:
        peer.tell(*MANY[:3])
        await pilot.press(*"/history 1", "enter")
        peer.tell(events.History(target="#lobby", messages=[line("line 2.", number=2, minute=1)]))
        await pilot.pause(0)
        await pilot.pause(0)
        assert any("2026-11-30 10:01 [00000000] bob: line 2." in row for row in rows(pilot.app))


async def test_lists_show_what_there_is_room_for() -> None:
    peer = ScriptedPeer()
    members = [events.MemberEntry(name=f"member{n:03}", role="speaker", online=True) for n in range(500)]
    async with screen_of(peer).run_test(size=(110, 24)) as pilot:
        peer.tell(
            *(line("x", room=f"#room{n:02}", number=n) for n in range(40)),
            events.TargetChanged(target="#room30"),
            events.Names(room="#room30", members=members),
        )
        await pilot.pause(0)
        shown = rows(pilot.app)
        assert any("#room30" in row[:20] for row in shown[1:])
        assert any("and 480 more" in row for row in shown), "\n".join(shown)
