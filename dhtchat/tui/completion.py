"""What Tab offers: commands, rooms, people, emoji. No I/O."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.emoji import Emoji

from dhtchat.chat import intents
from dhtchat.chat.commands import COMMANDS, SLASH

_OFFERS_MAX: Final = 50
_CODE: Final = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
"""Inline code, as CommonMark 6.1 has it."""


class Completion(NamedTuple):
    """`offers`: what the characters from `start` on may become, the likeliest first."""

    start: int
    offers: list[str]


def complete(before: str, *, people: Sequence[str], rooms: Sequence[str]) -> Completion:
    """What the word at the cursor may become. `before`: what stands left of it. `people` and `rooms`, likeliest first."""
    start = max(before.rfind(" "), before.rfind("\n")) + 1
    word = before[start:].lower()
    offers: list[str] = []
    if not word:
        pass
    elif start == 0 and word.startswith(SLASH):
        offers = [f"{SLASH}{command.name} " for command in COMMANDS if command.name.startswith(word[1:])]
    elif word.startswith("#"):
        offers = [f"{room} " for room in rooms if room.startswith(word)]
    elif word.startswith(":"):
        offers = [f":{name}: " for name in _emoji_names() if len(word) > 1 and name.startswith(word[1:])]
    else:
        at = "@" * word.startswith("@")
        ending = ": " if start == 0 and not at else " "
        offers = [at + name + ending for name in people if name.startswith(word.removeprefix("@"))]
    return Completion(start, offers[:_OFFERS_MAX])


def _emoji_names() -> list[str]:
    from rich._emoji_codes import EMOJI

    return sorted(EMOJI)


def with_emoji(intent: intents.Intent) -> intents.Intent:
    """`:name:` replaced in what is said, where there is an emoji of that name; not in code, not in other commands."""
    match intent:
        case intents.SayTo(text, target, action):
            return intents.SayTo(_replaced(text), target, action)
        case intents.ReplyTo(line, text):
            return intents.ReplyTo(line, _replaced(text))
        case intents.EditLine(line, text):
            return intents.EditLine(line, _replaced(text))
        case intents.ReactTo(line, emoji):
            return intents.ReactTo(line, _replaced(emoji))
    return intent


def _replaced(text: str) -> str:
    pieces: list[str] = []
    at = 0
    for code in _CODE.finditer(text):
        pieces += [_outside(text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*pieces, _outside(text[at:])])


def _outside(text: str) -> str:
    """Word by word: an address may have colons."""
    return "".join(word if "://" in word else Emoji.replace(word) for word in re.split(r"(\s+)", text))
