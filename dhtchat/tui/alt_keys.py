"""Alt with a letter or a digit, told at once.

A terminal sends it as ESC and the character. Textual knows some of them as what a Mac types with that key, so that Alt+3 and a typed
pound are one, and for the others waits a tenth of a second for what may follow: whoever typed on by then would get `^3` into the
line. None of these is the beginning of anything longer.
"""

import string
from typing import NamedTuple

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


class _Key(NamedTuple):
    value: str


def tell_alt_keys() -> None:
    """For the whole process; again: no change."""
    assert isinstance(ANSI_SEQUENCES_KEYS, dict)
    known = {f"\x1b{character}": f"alt+{character}" for character in string.ascii_lowercase + string.digits}
    known |= {"\x1b\r": "alt+enter", "\x1b\x7f": "alt+backspace"}
    for sequence, name in known.items():
        ANSI_SEQUENCES_KEYS[sequence] = (_Key(name),)
