"""What Tab offers, and where emoji take the place of their names."""

import pytest

from dhtchat.chat import events, intents
from dhtchat.tui.completion import complete, with_emoji
from dhtchat.tui.widgets.composer import Composer
from tests.tui.screens import ScriptedPeer, line, screen_of


def offers(before: str) -> list[str]:
    return complete(before, people=["bob", "anna", "bert"], rooms=["#zoo", "#lobby", "#lab"]).offers


def test_the_word_at_the_cursor_is_completed_the_likeliest_first() -> None:
    assert offers("b") == ["bob: ", "bert: "]
    assert offers("hello b") == ["bob ", "bert "]
    assert offers("hello @B") == ["@bob ", "@bert "]
    assert offers("in #l") == ["#lobby ", "#lab "]
    assert offers("/jo") == ["/join "]
    assert offers("say /jo") == []
    assert offers("first line\nb") == ["bob ", "bert "]
    assert ":wave: " in offers("hi :wav")
    assert offers("") == offers("x ") == []


@pytest.mark.parametrize("typed", [":wave:", "a :wave: b", "**:wave:**"])
def test_names_of_emoji_become_emoji(typed: str) -> None:
    assert with_emoji(intents.SayTo(typed)) == intents.SayTo(typed.replace(":wave:", "👋"))
    assert with_emoji(intents.EditLine("-1", typed)) == intents.EditLine("-1", typed.replace(":wave:", "👋"))


@pytest.mark.parametrize("typed", ["`:wave:`", "``a ` :wave: ``", "https://a.example/:wave:", "10:30:45", ": wave :"])
def test_not_in_code_nor_in_addresses(typed: str) -> None:
    assert with_emoji(intents.SayTo(typed)) == intents.SayTo(typed)


def test_code_ends_and_what_stands_around_it_is_text() -> None:
    assert with_emoji(intents.SayTo(":wave: `:wave:` :wave:")) == intents.SayTo("👋 `:wave:` 👋")


def test_other_commands_stay_as_typed() -> None:
    for intent in (intents.JoinRoom("#a", ":wave:"), intents.Search(":wave:"), intents.SetAway(":wave:")):
        assert with_emoji(intent) == intent
    assert with_emoji(intents.ReactTo("-1", ":wave:")) == intents.ReactTo("-1", "👋")


async def test_tab_works_in_the_middle_and_goes_round() -> None:
    peer = ScriptedPeer()
    async with screen_of(peer).run_test() as pilot:
        peer.tell(
            events.TargetChanged(target="#lobby"),
            line("first", sender="bert", number=1),
            line("then", sender="bob", number=2),
            events.Users(users=[events.UserEntry(name="bianca", fingerprint="x", online=True)]),
        )
        await pilot.pause(0)
        composer = pilot.app.query_one(Composer)
        await pilot.press(*"say b now", *["left"] * 4, "tab")
        assert composer.text == "say bob now"
        assert composer.cursor_location == (0, 7)
        await pilot.press("tab")
        assert composer.text == "say bert now"
        await pilot.press("tab")
        assert composer.text == "say bianca now", "who was in an answer is known as well"
        await pilot.press("tab", "shift+tab")
        assert composer.text == "say bianca now"
        await pilot.press("!")
        assert composer.text == "say bianca! now"
