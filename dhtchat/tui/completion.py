"""What Tab offers: commands, rooms, people, emoji. No I/O."""

from collections.abc import Sequence

from rich.emoji import Emoji

from dhtchat.chat.commands import COMMANDS, SLASH


def candidates(text: str, *, speakers: Sequence[str], people: Sequence[str], rooms: Sequence[str]) -> list[str]:
    """What the last word of `text` may become, the likeliest first: who spoke last comes before who did not."""
    word = text.rpartition(" ")[2]
    is_first = word == text
    if not word:
        return []
    if is_first and word.startswith(SLASH):
        return [f"{SLASH}{command.name} " for command in COMMANDS if command.name.startswith(word[1:].lower())]
    if word.startswith("#"):
        return [f"{room} " for room in sorted(rooms) if room.startswith(word.lower())]
    ending = ": " if is_first else " "
    names = dict.fromkeys([*speakers, *sorted(people)])
    return [name + ending for name in names if name.startswith(word.lower())]


def with_emoji(text: str) -> str:
    """`:name:` replaced where there is an emoji of that name; a command's name is left alone."""
    return Emoji.replace(text)
