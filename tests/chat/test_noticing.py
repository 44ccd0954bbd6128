"""Which lines are worth a noise: the whole table."""

import itertools

from dhtchat.chat.noticing import Level, in_words, is_worth_a_notice


def test_every_case() -> None:
    for level, direct, mentioned, is_late, quiet in itertools.product(Level, *[(False, True)] * 4):
        heard = is_worth_a_notice(level, direct=direct, mentioned=mentioned, is_late=is_late, quiet=quiet)
        if quiet or level is Level.NONE or (is_late and not direct):
            assert not heard
        elif level is Level.ALL or mentioned:
            assert heard
        else:
            assert heard == (level is Level.USUAL and direct)


def test_what_is_usual_is_said_as_what_it_is() -> None:
    assert in_words(Level.USUAL, direct=True) == in_words(Level.ALL, direct=False) == "every line"
    assert in_words(Level.USUAL, direct=False) == in_words(Level.MENTIONS, direct=True) == "lines that name you"
