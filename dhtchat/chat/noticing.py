"""Which lines are worth a noise. No I/O: the node asks here, the screens ring."""

from enum import IntEnum


class Level(IntEnum):
    """What of a talk makes itself heard. The numbers are those on disk; 0 and 1 are as old as `/mute`."""

    USUAL = 0
    """Whoever speaks to oneself: private lines, and in rooms where one's name falls or one is answered."""
    NONE = 1
    ALL = 2
    MENTIONS = 3


NAMED_LEVELS = {"all": Level.ALL, "mentions": Level.MENTIONS, "none": Level.NONE}
"""As one types them."""


def is_worth_a_notice(level: Level, *, direct: bool, mentioned: bool, is_late: bool, quiet: bool) -> bool:
    """Of somebody else's line. `is_late`: it comes out of the history of a room; nobody waits for an answer to it.
    `quiet`: one is away, or it is shown again."""
    if quiet or level is Level.NONE or (is_late and not direct):
        return False
    if level is Level.USUAL:
        level = Level.ALL if direct else Level.MENTIONS
    return level is Level.ALL or mentioned


def in_words(level: Level, *, direct: bool) -> str:
    """What `/notify` says of it."""
    if level is Level.USUAL:
        level = Level.ALL if direct else Level.MENTIONS
    return {Level.ALL: "every line", Level.MENTIONS: "lines that name you", Level.NONE: "nothing"}[level]
