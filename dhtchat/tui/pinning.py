"""Keeps what is wide, joined or invisible inside its cells, whatever the terminal takes its width for. No I/O.

How many cells a family emoji, a flag or a letter with marks takes is answered differently by each terminal, by its age and by
its fonts. One that counts more than we do would push everything behind it to the right, out of its box. So such a word is
written onto blanks of the width that we laid out, and the cursor is put behind those blanks, not behind the word.
"""

import re
from typing import Final

from rich.cells import cell_len

_AGREED: Final = (
    "\x00-\x7e\xa1-\xac\xae-\u02ff\u0370-\u0373\u0376\u0377\u037b-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u052f"  # letters
    "\u2010-\u2027\u2030-\u205e\u2190-\u2193\u2500-\u25fc"  # dashes and quotes, arrows, frames
    "\u3001-\u3029\u3041-\u3096\u30a1-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e"  # of two cells
)
"""Characters of which all terminals think the same."""
_UNSURE: Final = re.compile(f"[^{_AGREED}]")
_SEQUENCE: Final = re.compile(r"(\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P_^X].*?(?:\x07|\x1b\\)|\x1b.)", re.DOTALL)
_WORD: Final = re.compile(r"[^ \n\r]+")

_SAVE, _RESTORE = "\x1b7", "\x1b8"  # DECSC and DECRC: the one way back that every terminal knows


def pinned(output: str) -> str:
    """The same output, its unsure words pinned. `output` is what we send: whole sequences, and text between them."""
    if output.isascii() or not _UNSURE.search(output):
        return output
    parts = _SEQUENCE.split(output)
    parts[::2] = [_WORD.sub(_pin, part) if _UNSURE.search(part) else part for part in parts[::2]]
    return "".join(parts)


def _pin(match: re.Match[str]) -> str:
    word = match[0]
    if not _UNSURE.search(word):
        return word
    cells = cell_len(word)
    forward = f"\x1b[{cells}C" if cells else ""
    return f"{_SAVE}{' ' * cells}{_RESTORE}{_SAVE}{word}{_RESTORE}{forward}"
