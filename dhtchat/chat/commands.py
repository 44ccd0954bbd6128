"""From a typed line to what its author wants. No I/O.

`COMMANDS` is the one table behind parsing, `/help` and the documents: a command that is not in it does not exist.
Whether a name, a room or a target exists is not known here: names go on as typed, and the node folds and checks them.
"""

import difflib
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, cast

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
from dhtchat.chat.markup import beginning
from dhtchat.chat.noticing import NAMED_LEVELS
from dhtchat.errors import BadCommand, TooLong
from dhtchat.limits import (
    AWAY_BYTES_MAX,
    AWAY_CHARACTERS_MAX,
    EMOJI_BYTES_MAX,
    EMOJI_CHARACTERS_MAX,
    HISTORY_LINES_MAX,
    REASON_BYTES_MAX,
    REASON_CHARACTERS_MAX,
    TEXT_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)

SLASH: Final = "/"
_AWAY_TEXT: Final = "away"
"""What `/away` alone says."""
_ECHO_CHARACTERS_MAX: Final = 40
"""How much of a wrong word an error repeats."""
_NEAR_MATCHES_MAX: Final = 3


class Command(NamedTuple):
    """A row of the table. `build` takes its arguments one by one; what it leaves over is an error."""

    name: str
    usage: str
    """As in the contract: what may be left out stands in brackets."""
    help: str
    build: "Callable[[_Arguments], Intent]"
    aliases: tuple[str, ...] = ()


class _Arguments:
    """What follows a command's name, taken from the left."""

    def __init__(self, command: Command, rest: str) -> None:
        self._command = command
        self._rest = rest

    def word(self, what: str) -> str:
        """The next word, which must be there."""
        return self._required(self.optional_word(), what)

    def optional_word(self) -> str | None:
        word, *rest = self._rest.split(maxsplit=1) or [""]
        self._rest = rest[0] if rest else ""
        return word or None

    def text(self, what: str) -> str:
        """All that is left, as typed, which must be something."""
        return self._required(self.optional_text(), what)

    def optional_text(self) -> str | None:
        text, self._rest = self._rest, ""
        return _within(text, "text", TEXT_CHARACTERS_MAX, TEXT_BYTES_MAX) if text.strip() else None

    def optional_phrase(self, kind: str, *, characters_max: int, bytes_max: int) -> str | None:
        """All that is left, as one line with single spaces: a topic, a reason."""
        words, self._rest = self._rest.split(), ""
        return _within(" ".join(words), kind, characters_max, bytes_max) if words else None

    def flag(self, flag: str) -> bool:
        """Whether `flag` is among the words that are left; it is taken out."""
        words = self._rest.split()
        self._rest = " ".join(word for word in words if word != flag)
        return flag in words

    def end(self) -> None:
        """Refuse what nobody took."""
        if self._rest.strip():
            raise self.wrong(f"/{self._command.name} does not take {_echo(self._rest.strip())!r}")

    def wrong(self, message: str) -> BadCommand:
        return BadCommand(message, hint=f"Usage: {self._command.usage}")

    def _required(self, argument: str | None, what: str) -> str:
        if argument is None:
            raise self.wrong(f"/{self._command.name} needs {what}")
        return argument


def parse_line(line: str) -> Intent | None:
    """What a line asks for; None for an empty one. Raises `BadCommand` or `TooLong`.

    A line that starts with `/` is a command, `//` escapes a slash, anything else is said to the current target.
    """
    # Half characters, which no encoder takes, become replacement characters instead of an error far from here.
    line = line.rstrip("\r\n").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if not line.strip():
        return None
    if not line.startswith(SLASH):
        return SayTo(_within(line, "text", TEXT_CHARACTERS_MAX, TEXT_BYTES_MAX))
    if line.startswith(2 * SLASH):
        return SayTo(_within(line[1:], "text", TEXT_CHARACTERS_MAX, TEXT_BYTES_MAX))
    name, *rest = line[1:].split(maxsplit=1) or [""]
    if not name or line[1].isspace():
        raise BadCommand("a command's name follows the slash at once", hint="See /help, or type // to say a slash.")
    command = find_command(name)
    arguments = _Arguments(command, rest[0] if rest else "")
    intent = command.build(arguments)
    arguments.end()
    return intent


def find_command(name: str) -> Command:
    """The command of that name or alias, in upper or lower case and with or without its slash, or `BadCommand`."""
    command = _BY_NAME.get(name.removeprefix(SLASH).lower())
    if command is None:
        near = difflib.get_close_matches(name[:_ECHO_CHARACTERS_MAX].lower(), _BY_NAME, n=_NEAR_MATCHES_MAX)
        meant = " or ".join(dict.fromkeys(SLASH + _BY_NAME[match].name for match in near))
        raise BadCommand(
            f"there is no command /{_echo(name.removeprefix(SLASH))}",
            hint=f"Did you mean {meant}? See /help for all of them." if meant else "See /help for all commands.",
        )
    return command


def help_lines(command: str | None = None) -> list[tuple[str, str]]:
    """Usage and what it does: of all commands, or of one. Raises `BadCommand` when there is none of that name."""
    return [(row.usage, row.help) for row in ([find_command(command)] if command else COMMANDS)]


def _within(text: str, kind: str, characters_max: int, bytes_max: int) -> str:
    size = len(text.encode("utf-8", "surrogatepass"))
    if len(text) > characters_max:
        raise TooLong(f"the {kind} has {len(text)} characters, {characters_max} are allowed")
    if size > bytes_max:
        raise TooLong(f"the {kind} takes {size} bytes, {bytes_max} are allowed")
    return text


def _echo(text: str) -> str:
    """What somebody typed, short and harmless enough to be repeated in an error."""
    return beginning(text, _ECHO_CHARACTERS_MAX)


# --- the commands -----------------------------------------------------------------------------------------------------


def _join(arguments: _Arguments) -> Intent:
    return JoinRoom(arguments.word("the name of a room"), _topic(arguments))


def _msg(arguments: _Arguments) -> Intent:
    target = arguments.word("a name and a text")
    return SayTo(arguments.text("a text behind the name"), target)


def _users(arguments: _Arguments) -> Intent:
    everyone = arguments.flag("--all")
    return ListUsers(arguments.optional_word() or "", everyone)


def _topic(arguments: _Arguments) -> str | None:
    return arguments.optional_phrase("topic", characters_max=TOPIC_CHARACTERS_MAX, bytes_max=TOPIC_BYTES_MAX)


def _grant(given: Literal["op", "voice", "unban", "owner"]) -> "Callable[[_Arguments], Intent]":
    return lambda arguments: Grant(arguments.word("a name"), given)


def _remove(taken: Literal["deop", "devoice", "kick", "ban"]) -> "Callable[[_Arguments], Intent]":
    def build(arguments: _Arguments) -> Intent:
        name = arguments.word("a name")
        if taken not in ("kick", "ban"):
            return Remove(name, taken)
        why = arguments.optional_phrase("reason", characters_max=REASON_CHARACTERS_MAX, bytes_max=REASON_BYTES_MAX)
        return Remove(name, taken, why or "")

    return build


def _mode(arguments: _Arguments) -> Intent:
    mode = arguments.optional_word()
    if mode is None:
        return ChangeMode()
    if mode in ("+m", "-m"):
        return ChangeMode(moderated=mode == "+m")
    if mode in ("+i", "-i"):
        return ChangeMode(closed=mode == "+i")
    raise arguments.wrong(f"{_echo(str(mode))!r} is no mode that a room can have")


def _hands(arguments: _Arguments) -> Intent:
    word = arguments.optional_word()
    if word in (None, "open", "close"):
        return ShowHands(None if word is None else word == "open")
    raise arguments.wrong(f"/hands does not take {_echo(str(word))!r}")


def _history(arguments: _Arguments) -> Intent:
    count = arguments.optional_word()
    if count is None:
        return ShowHistory()
    if not (count.isascii() and count.isdigit()) or not count.strip("0"):
        raise arguments.wrong(f"{_echo(count)!r} is no number of lines")
    # Compared by its length first: int() refuses numbers of thousands of digits.
    return ShowHistory(min(int(count), HISTORY_LINES_MAX) if len(count) < 10 else HISTORY_LINES_MAX)


_LINE: Final = "the id of a line, or -1 for the latest"


def _reply(arguments: _Arguments) -> Intent:
    line = arguments.word(f"{_LINE}, and a text")
    return ReplyTo(line, arguments.text("a text behind the id"))


def _edit(arguments: _Arguments) -> Intent:
    line = arguments.word(f"{_LINE} of yours, and a text")
    return EditLine(line, arguments.text("the new text behind the id"))


def _react(arguments: _Arguments) -> Intent:
    line = arguments.word(f"{_LINE}, and an emoji")
    emoji = _within(arguments.word("an emoji behind the id"), "reaction", EMOJI_CHARACTERS_MAX, EMOJI_BYTES_MAX)
    return ReactTo(line, emoji)


def _away(arguments: _Arguments) -> Intent:
    text = arguments.optional_phrase("text", characters_max=AWAY_CHARACTERS_MAX, bytes_max=AWAY_BYTES_MAX)
    return SetAway(text or _AWAY_TEXT)


def _notify(arguments: _Arguments) -> Intent:
    words = [word for word in (arguments.optional_word(), arguments.optional_word()) if word]
    level = words.pop().lower() if words and words[-1].lower() in NAMED_LEVELS else None
    if len(words) > 1:
        raise arguments.wrong(f"/notify does not know {_echo(words[1])!r}")
    return Notify(cast(Literal["all", "mentions", "none"] | None, level), words[0] if words else None)


def _help(arguments: _Arguments) -> Intent:
    command = arguments.optional_word()
    return ShowHelp(find_command(command).name if command else None)


COMMANDS: Final = (
    Command("join", "/join #room [topic]", "enter a room; one that nobody has made yet is created", _join, ("j",)),
    Command(
        "part", "/part [#room]", "leave a room, or the current one", lambda a: PartRoom(a.optional_word()), ("leave",)
    ),
    Command("msg", "/msg NAME text", "say something to one person in private", _msg, ("m",)),
    Command(
        "query",
        "/query NAME",
        "talk with one person in private: what you type goes there",
        lambda a: OpenQuery(a.word("a name")),
    ),
    Command("me", "/me text", "say what you do", lambda a: SayTo(a.text("a text"), action=True)),
    Command(
        "rooms",
        "/rooms [prefix]",
        "list the rooms there are",
        lambda a: ListRooms(a.optional_word() or ""),
        ("list",),
    ),
    Command("users", "/users [prefix] [--all]", "list who is online, or everyone known", _users),
    Command(
        "names",
        "/names [#room]",
        "list the members of a room, or of the current one",
        lambda a: ListNames(a.optional_word()),
    ),
    Command("whois", "/whois NAME", "tell about somebody: key, rooms, since when", lambda a: WhoIs(a.word("a name"))),
    Command("topic", "/topic [text]", "show or set the topic of the current room", lambda a: ChangeTopic(_topic(a))),
    Command("history", "/history [N]", "show the last N lines of the current talk", _history),
    Command(
        "search", "/search text", "find lines of the current talk by their words", lambda a: Search(a.text("words"))
    ),
    Command("away", "/away [text]", "tell others that you are not at the keyboard", _away),
    Command("back", "/back", "tell others that you are back", lambda a: SetAway(None)),
    Command("ignore", "/ignore NAME", "no longer show what somebody says", lambda a: Ignore(a.word("a name"))),
    Command(
        "unignore",
        "/unignore NAME",
        "show again what somebody says",
        lambda a: Ignore(a.word("a name"), ignored=False),
    ),
    Command(
        "mute",
        "/mute [TARGET]",
        "turn notices of a room or person off, or on again",
        lambda a: Mute(a.optional_word()),
    ),
    Command(
        "notify",
        "/notify [TARGET] [LEVEL]",
        "say what of a room or person you hear: all, mentions or none",
        _notify,
    ),
    Command(
        "switch",
        "/switch TARGET",
        "make a room or person the current target",
        lambda a: SwitchTo(a.word("a room or a name")),
        ("s",),
    ),
    Command("status", "/status", "tell about this peer: address, links, rooms", lambda a: ShowStatus()),
    Command("help", "/help [command]", "list the commands, or explain one", _help, ("h",)),
    Command("quit", "/quit", "leave, once what was said is on its way", lambda a: Quit(), ("exit",)),
    Command("reply", "/reply ID text", "answer a line; -1 is the latest, /history shows ids", _reply, ("r",)),
    Command("edit", "/edit ID text", "give a line of yours another text; -1 is your latest", _edit),
    Command(
        "delete",
        "/delete ID",
        "take a line of yours back; -1 is your latest",
        lambda a: DeleteLine(a.word(f"{_LINE} of yours")),
    ),
    Command("react", "/react ID emoji", "react to a line, or take the same reaction back", _react),
    Command("invite", "/invite NAME", "ask somebody into the current room", lambda a: Invite(a.word("a name"))),
    Command(
        "kick", "/kick NAME [why]", "throw somebody out; back again they listen until given the floor", _remove("kick")
    ),
    Command("ban", "/ban NAME [why]", "throw somebody out for good", _remove("ban")),
    Command("unban", "/unban NAME", "let somebody in again who was banned", _grant("unban")),
    Command("op", "/op NAME", "make somebody a moderator of the room", _grant("op")),
    Command("deop", "/deop NAME", "make a moderator a member like others", _remove("deop")),
    Command("voice", "/voice NAME", "give somebody the floor", _grant("voice")),
    Command("devoice", "/devoice NAME", "take the floor from somebody: they listen", _remove("devoice")),
    Command(
        "mode",
        "/mode [+m|-m|+i|-i]",
        "let only those speak who have the floor (+m), or only those enter who are invited (+i), or undo it (-); or show it",
        _mode,
    ),
    Command("hand", "/hand", "ask for the floor by raising a hand, or lower it again", lambda a: MoveHand()),
    Command("hands", "/hands [open|close]", "list the raised hands, or let nobody raise one any more", _hands),
    Command(
        "handover", "/handover NAME", "make somebody else the owner of the room; you stay a moderator", _grant("owner")
    ),
)

_BY_NAME: Final = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}
assert len(_BY_NAME) == sum(1 + len(command.aliases) for command in COMMANDS), "a name stands for one command only"
