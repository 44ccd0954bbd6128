"""One table drives parsing and help; every line gives an intent, nothing, or an error that says what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.chat.commands import COMMANDS, find_command, help_lines, parse_line
from dhtchat.chat.intents import (
    ChangeMode,
    ChangeTopic,
    DeleteLine,
    EditLine,
    Grant,
    Ignore,
    Intent,
    Invite,
    JoinRoom,
    ListNames,
    ListRooms,
    ListUsers,
    MoveHand,
    Mute,
    Notify,
    OpenQuery,
    PartRoom,
    Quit,
    ReactTo,
    Remove,
    ReplyTo,
    SayTo,
    Search,
    SetAway,
    ShowHands,
    ShowHelp,
    ShowHistory,
    ShowStatus,
    SwitchTo,
    WhoIs,
)
from dhtchat.errors import BadCommand, TooLong
from dhtchat.limits import (
    AWAY_CHARACTERS_MAX,
    HISTORY_LINES_MAX,
    TEXT_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from tests.chat.hostile import any_text, objections

CONTRACT = """
/join #room [topic] · /part [#room] · /msg NAME text · /query NAME · /me text · /rooms [prefix] ·
/users [prefix] [--all] · /names [#room] · /whois NAME · /topic [text] · /history [N] · /search text · /away [text] · /back ·
/ignore NAME · /unignore NAME · /mute [TARGET] · /switch TARGET · /status · /help [command] · /quit ·
/reply ID text · /edit ID text · /delete ID · /react ID emoji ·
/invite NAME · /kick NAME [why] · /ban NAME [why] · /unban NAME · /op NAME · /deop NAME · /voice NAME · /devoice NAME · /mode [+m|-m|+i|-i] ·
/hand · /hands [open|close]
"""
"""contract.md, "Line mode", without what later issues add."""
OURS = {"/notify [TARGET] [LEVEL]", "/handover NAME"}
"""What we have beyond that."""


@pytest.mark.parametrize(
    ("line", "intent"),
    [
        ("hello", SayTo("hello")),
        ("  indented code  ", SayTo("  indented code  ")),
        ("two\nlines", SayTo("two\nlines")),
        ("hello\r\n", SayTo("hello")),
        (" /quit is a command", SayTo(" /quit is a command")),
        ("//quit is a command", SayTo("/quit is a command")),
        ("///", SayTo("//")),
        ("//", SayTo("/")),
        ("/join #lobby", JoinRoom("#lobby")),
        ("/j #lobby", JoinRoom("#lobby")),
        ("/join   #lobby   where  we meet ", JoinRoom("#lobby", "where we meet")),
        ("/JOIN #Lobby", JoinRoom("#Lobby")),
        ("/part", PartRoom()),
        ("/leave #lobby", PartRoom("#lobby")),
        ("/msg bob  hi  there", SayTo("hi  there", "bob")),
        ("/msg bob /quit", SayTo("/quit", "bob")),
        ("/msg bob one\ntwo", SayTo("one\ntwo", "bob")),
        ("/query bob", OpenQuery("bob")),
        ("/me waves  twice", SayTo("waves  twice", action=True)),
        ("/rooms", ListRooms()),
        ("/list lo", ListRooms("lo")),
        ("/users", ListUsers()),
        ("/users al", ListUsers("al")),
        ("/users --all", ListUsers("", everyone=True)),
        ("/users --all al", ListUsers("al", everyone=True)),
        ("/users al --all", ListUsers("al", everyone=True)),
        ("/names", ListNames()),
        ("/names #lobby", ListNames("#lobby")),
        ("/whois bob", WhoIs("bob")),
        ("/topic", ChangeTopic()),
        ("/topic new\n topic", ChangeTopic("new topic")),
        ("/history", ShowHistory()),
        ("/history 5", ShowHistory(5)),
        ("/history " + "9" * 5_000, ShowHistory(HISTORY_LINES_MAX)),
        ("/away", SetAway("away")),
        ("/away at lunch", SetAway("at lunch")),
        ("/back", SetAway(None)),
        ("/ignore bob", Ignore("bob")),
        ("/unignore bob", Ignore("bob", ignored=False)),
        ("/mute", Mute()),
        ("/mute #lobby", Mute("#lobby")),
        ("/notify", Notify()),
        ("/notify all", Notify("all")),
        ("/notify #lobby", Notify(None, "#lobby")),
        ("/notify #lobby MENTIONS", Notify("mentions", "#lobby")),
        ("/notify none none", Notify("none", "none")),
        ("/switch bob", SwitchTo("bob")),
        ("/status", ShowStatus()),
        ("/help", ShowHelp()),
        ("/help join", ShowHelp("join")),
        ("/help /list", ShowHelp("rooms")),
        ("/quit", Quit()),
        ("/exit", Quit()),
        ("/search two words", Search("two words")),
        ("/reply -1 me, too", ReplyTo("-1", "me, too")),
        ("/r 3fa2 two\nlines", ReplyTo("3fa2", "two\nlines")),
        ("/edit 3fa2  indented", EditLine("3fa2", "indented")),
        ("/delete -2", DeleteLine("-2")),
        ("/react -1 👍", ReactTo("-1", "👍")),
        ("/invite bob", Invite("bob")),
        ("/kick bob", Remove("bob", "kick")),
        ("/kick bob  too\n loud", Remove("bob", "kick", "too loud")),
        ("/ban bob spam", Remove("bob", "ban", "spam")),
        ("/deop bob", Remove("bob", "deop")),
        ("/devoice bob", Remove("bob", "devoice")),
        ("/unban bob", Grant("bob", "unban")),
        ("/op bob", Grant("bob", "op")),
        ("/voice bob", Grant("bob", "voice")),
        ("/handover bob", Grant("bob", "owner")),
        ("/mode", ChangeMode()),
        ("/mode +m", ChangeMode(moderated=True)),
        ("/mode -m", ChangeMode(moderated=False)),
        ("/mode +i", ChangeMode(closed=True)),
        ("/mode -i", ChangeMode(closed=False)),
        ("/hand", MoveHand()),
        ("/hands", ShowHands()),
        ("/hands open", ShowHands(open=True)),
        ("/hands close", ShowHands(open=False)),
        ("", None),
        ("\n", None),
        ("  \t ", None),
    ],
)
def test_lines_by_example(line: str, intent: Intent | None) -> None:
    assert parse_line(line) == intent


def test_the_table_has_the_commands_of_the_contract() -> None:
    usages = [command.usage for command in COMMANDS if command.usage not in OURS]
    assert usages == [usage.strip() for usage in CONTRACT.split("·")]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("/join", "/join needs the name of a room", "Usage: /join #room [topic]"),
        ("/msg", "/msg needs a name and a text", "Usage: /msg NAME text"),
        ("/msg bob", "/msg needs a text behind the name", "Usage: /msg NAME text"),
        ("/msg bob   ", "/msg needs a text behind the name", "Usage: /msg NAME text"),
        ("/me", "/me needs a text", "Usage: /me text"),
        ("/search", "/search needs words", "Usage: /search text"),
        ("/reply", "/reply needs the id of a line, or -1 for the latest, and a text", "Usage: /reply ID text"),
        ("/reply -1", "/reply needs a text behind the id", "Usage: /reply ID text"),
        ("/edit -1", "/edit needs the new text behind the id", "Usage: /edit ID text"),
        ("/delete", "/delete needs the id of a line, or -1 for the latest of yours", "Usage: /delete ID"),
        ("/react -1", "/react needs an emoji behind the id", "Usage: /react ID emoji"),
        ("/react -1 👍 👎", "/react does not take '👎'", "Usage: /react ID emoji"),
        ("/whois", "/whois needs a name", "Usage: /whois NAME"),
        ("/whois bob carol", "/whois does not take 'carol'", "Usage: /whois NAME"),
        ("/back now", "/back does not take 'now'", "Usage: /back"),
        ("/users --everyone al", "/users does not take 'al'", "Usage: /users [prefix] [--all]"),
        ("/history 0", "'0' is no number of lines", "Usage: /history [N]"),
        ("/history -3", "'-3' is no number of lines", "Usage: /history [N]"),
        ("/history ٣", "'٣' is no number of lines", "Usage: /history [N]"),
        ("/jion #lobby", "there is no command /jion", "Did you mean /join? See /help for all of them."),
        ("/exot", "there is no command /exot", "Did you mean /quit? See /help for all of them."),
        ("/invite", "/invite needs a name", "Usage: /invite NAME"),
        ("/kick", "/kick needs a name", "Usage: /kick NAME [why]"),
        ("/voice bob carol", "/voice does not take 'carol'", "Usage: /voice NAME"),
        ("/unban bob carol", "/unban does not take 'carol'", "Usage: /unban NAME"),
        ("/mode +x", "'+x' is no mode that a room can have", "Usage: /mode [+m|-m|+i|-i]"),
        ("/hand up", "/hand does not take 'up'", "Usage: /hand"),
        ("/hands up", "/hands does not take 'up'", "Usage: /hands [open|close]"),
        ("/help qiut", "there is no command /qiut", "Did you mean /quit? See /help for all of them."),
        ("/", "a command's name follows the slash at once", "See /help, or type // to say a slash."),
        ("/ join", "a command's name follows the slash at once", "See /help, or type // to say a slash."),
        ("/\x1b[31mred", "there is no command /[31mred", "See /help for all commands."),
        ("/" + "x" * 100, "there is no command /" + "x" * 40 + "...", "See /help for all commands."),
    ],
)
def test_a_wrong_line_says_what_is_wrong_and_what_to_do(line: str, message: str, hint: str) -> None:
    with pytest.raises(BadCommand) as caught:
        parse_line(line)
    assert (str(caught.value), caught.value.hint) == (message, hint)


@pytest.mark.parametrize("start", ["", "//", "/me ", "/msg bob "])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" * (TEXT_CHARACTERS_MAX + 1), "the text has 2001 characters, 2000 are allowed"),
        # As many characters as allowed never take more bytes than allowed: limits.py asserts it the other way round.
        ("\U0001f600" * (TEXT_CHARACTERS_MAX + 1), "the text has 2001 characters, 2000 are allowed"),
    ],
)
def test_a_text_above_the_limits_is_refused(start: str, text: str, message: str) -> None:
    shorter_by_escape = 1 if start == "//" else 0
    with pytest.raises(TooLong, match=message):
        parse_line(start + text[shorter_by_escape:])


@pytest.mark.parametrize("text", ["a" * TEXT_CHARACTERS_MAX, "\U0001f600" * (TEXT_BYTES_MAX // 4)])
def test_a_text_at_the_limit_goes_through(text: str) -> None:
    assert parse_line(text) == SayTo(text)
    assert parse_line("/msg bob " + text) == SayTo(text, "bob")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("/topic " + "a" * (TOPIC_CHARACTERS_MAX + 1), "topic"),
        ("/join #lobby " + "a" * (TOPIC_CHARACTERS_MAX + 1), "topic"),
        ("/topic " + "\U0001f600" * (TOPIC_BYTES_MAX // 4 + 1), "topic takes 404 bytes"),
        ("/away " + "a" * (AWAY_CHARACTERS_MAX + 1), "text"),
    ],
)
def test_a_topic_or_away_text_above_the_limits_is_refused(line: str, kind: str) -> None:
    with pytest.raises(TooLong, match=f"the {kind}"):
        parse_line(line)


def test_help_lists_every_command_and_explains_one() -> None:
    assert help_lines() == [(command.usage, command.help) for command in COMMANDS]
    assert help_lines("/LIST") == help_lines("rooms") == [("/rooms [prefix]", "list the rooms there are")]
    with pytest.raises(BadCommand, match="there is no command /nonsense"):
        help_lines("nonsense")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_row_is_consistent(command: object) -> None:
    """Its usage starts with its name, its aliases lead to it, and it works with what its usage asks for."""
    row = next(row for row in COMMANDS if row is command)
    assert row.usage.split()[0] == "/" + row.name
    assert all(find_command(name) is row for name in (row.name, "/" + row.name, *row.aliases))
    assert row.help[0].islower()
    assert not row.help.endswith(".")
    needed = [word for word in row.usage.split()[1:] if not word.startswith("[")]
    assert isinstance(parse_line(" ".join([f"/{row.name}", *needed])), Intent)
    if needed:
        with pytest.raises(BadCommand) as caught:
            parse_line(f"/{row.name}")
        assert caught.value.hint == f"Usage: {row.usage}"


@given(
    st.one_of(
        any_text,
        st.builds("/{} {}".format, st.sampled_from([command.name for command in COMMANDS]), any_text),
        any_text.map("/{}".format),
    )
)
def test_any_line_gives_an_intent_nothing_or_a_clean_error(line: str) -> None:
    outcome = intent_or_error(line)
    if isinstance(outcome, BadCommand | TooLong):
        assert objections(str(outcome) + outcome.hint) == []
        assert "\n" not in str(outcome) + outcome.hint
    else:
        assert (outcome is None) == (not line.strip())
    if isinstance(outcome, SayTo):
        outcome.text.encode()  # nothing that cannot be sent
        assert outcome.text.strip()


def intent_or_error(line: str) -> Intent | BadCommand | TooLong | None:
    try:
        return parse_line(line)
    except (BadCommand, TooLong) as error:
        return error
