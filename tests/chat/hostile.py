"""Texts made to be obeyed by a terminal, and what must never reach one: shared by the tests of cleaning and drawing."""

import re
import unicodedata
from typing import Final

from hypothesis import strategies as st

from dhtchat.limits import COMBINING_MARKS_MAX

HOSTILE_TEXTS: Final = {
    "7-bit CSI": "\x1b[2J\x1b[1;1H\x1b[31mred",
    "8-bit CSI": "\x9b2J\x9b1;1H\x9b31mred",
    "SGR with colons": "\x1b[38:2::1:2:3mtext",
    "unterminated CSI": "text\x1b[",
    "unterminated 8-bit CSI": "text\x9b12;",
    "lone ESC at the end": "text\x1b",
    "OSC title, BEL": "\x1b]0;title\x07",
    "OSC title, ST": "\x1b]2;title\x1b\\",
    "8-bit OSC and ST": "\x9d0;title\x9c",
    "unterminated OSC": "\x1b]0;everything after this is the title",
    "OSC 52, clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "OSC 8, a disguised link": "\x1b]8;;https://evil.example\x1b\\https://bank.example\x1b]8;;\x1b\\",
    "OSC 1337, a file": "\x1b]1337;File=inline=1:AAAA\x07",
    "DCS": "\x1bP$q\x22p\x1b\\",
    "8-bit DCS": "\x90$q\x22p\x9c",
    "unterminated DCS": "\x1bPqABCDEF",
    "APC, PM, SOS": "\x1b_Gf=24;AAAA\x1b\\\x1b^x\x1b\\\x1bXy\x1b\\",
    "device report": "\x1b[6n\x1b[c\x1b[?1$p\x05",
    "alternate screen and mouse": "\x1b[?1049h\x1b[?1003h",
    "bracketed paste": "\x1b[201~rm -rf /\r\x1b[200~",
    "carriage return": "harmless\r12:03 #lobby <bob> forged",
    "line ends": "one\r\ntwo\n\rthree\x85four\u2028five\u2029six",
    "a forged line": "hello\n12:04 #lobby <bob> I said this\n-- bob joined #lobby\nerror: disk full",
    "backspaces": "safe\b\b\b\bevil",
    "shift out": "\x0ex\x0f",
    "delete": "a\x7fb",
    "tabs and form feeds": "a\tb\vc\fd",
    "every C0 and C1": "".join(map(chr, [*range(32), *range(127, 160)])),
    "bidi override": "\u202egnp.exe\u202c \u202a\u202b\u202d",
    "bidi isolates": "\u2066a\u2067b\u2068c\u2069",
    "bidi marks": "a\u200eb\u200fc\u061cd",
    "zero-width spaces": "a\u200b\u200c\u200d\ufeffb",
    "joiner flood": "a" + "\u200d" * 500 + "b",
    "joiners between letters": "a\u200db\u200dc",
    "joiners around an emoji": "\u200d\U0001f469\u200d\u200d\U0001f469\u200d",
    "zalgo": "".join(c + "\u0301\u0334\u0317\u0352\u0489" * 20 for c in "zalgo"),
    "zalgo on soft hyphens": "a" + "\u00ad\u0301\u0301\u0301\u0301" * 20,
    "marks behind markers": "a\u0301\u0301\u0301\u0301**\u0301\u0301\u0301\u0301b**",
    "marks on nothing": "\u0301" * 50,
    "variation selectors": "a\ufe0f\ufe0f\ufe0e\U000e0100b \ufe0f",
    "half characters": "a\ud800b\udfffc\ud83d\ude00",
    "private use": "\ue000\uf8ff\U000f0000\U000ffffd\U00100000\U0010fffd",
    "noncharacters": "\ufdd0\ufdef\ufffe\uffff\U0001fffe\U0010ffff",
    "tags": "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "hidden") + "\U000e007f",
    "nothing but control": "\x1b\x07\x9b\u202e",
    "link in code in bold": "**`https://a.example/\x1b]8;;x\x07`** ~~*https://b.example*~~",
    "link with a terminator": "https://a.example/\x1b\\\x1b]0;x\x07 https://a.example/\x9c;",
    "link with quotes": 'https://a.example/?"><script>;\x00 https://аpple.example/путь',
    "nested markers": "**" * 200 + "a" + "*~~`" * 200,
    "nothing": "",
}

WHOLESOME_TEXTS: Final = (
    "plain text, with punctuation!",
    "zwei Zeilen\nund noch eine",
    "naïve façade Ω≈ç√ 漢字 かな 한국어 हिन्दी ไทย עברית العربية",
    "\u05d1\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05b4\u05c1\u05d9\u05ea",  # Hebrew with its points
    "e\u0301 and a\u0323\u0307\u0302\u0304",
    "\U0001f469\u200d\u2764\ufe0f\u200d\U0001f468",  # couple with heart
    "\U0001f468\U0001f3fd\u200d\U0001f680",  # astronaut, medium skin tone
    "\U0001f3f3\ufe0f\u200d\U0001f308",  # rainbow flag
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",  # family
    "1\ufe0f\u20e3 \u00a9\ufe0f \U0001f1e9\U0001f1ea",  # keycap, sign, flag
    "\U0001f408\u200d\u2b1b \U0001f642\u200d\u2194\ufe0f \U0001f9d1\u200d\u2695\ufe0f",
)

FORBIDDEN: Final = re.compile(
    # contract.md, "Line mode", sentence by sentence; the last two lines are noncharacters.
    "[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\ud800-\udfff\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
    "\u061c\u200b\u200e-\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f"
    "\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff\U0010fffe\U0010ffff]"
)


def objections(text: str) -> list[str]:
    """What the contract has against showing `text`."""
    found = [f"U+{ord(c):04X}" for c in FORBIDDEN.findall(text)]
    marks = 0
    for before, character, after in zip(["", *text], text, [*text[1:], ""], strict=False):
        if character in "\u200c\u200d" and not (_may_be_joined(before) and _may_be_joined(after)):
            found.append("a joiner outside an emoji")
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if marks > COMBINING_MARKS_MAX:
            found.append(f"{marks} marks on a base")
    return found


def _may_be_joined(character: str) -> bool:
    """Roughly: no letter, digit, blank, control or bare mark."""
    return character == "\ufe0f" or unicodedata.category(character or " ") in ("So", "Sk", "Sm")


_NASTY_CHARACTERS: Final = sorted(
    set("".join(HOSTILE_TEXTS.values()) + "".join(WHOLESOME_TEXTS) + "*~`\\[]()#_:/@.\n ")
)
_MARKUP_PIECES: Final = [
    *"ab *~`\\\n\u0301\u00ad",
    *("**", "~~", "https://", "http://a.b/", "http://é.b/", "mailto:x@y.z", "\U0001f469", "\u200d"),
]
any_text = st.one_of(
    st.text(st.sampled_from(_NASTY_CHARACTERS), max_size=80),
    st.text(st.characters(exclude_categories=()), max_size=80),
    st.lists(st.sampled_from([*HOSTILE_TEXTS.values(), *WHOLESOME_TEXTS]), max_size=3).map("".join),
    st.lists(st.sampled_from(_MARKUP_PIECES), max_size=40).map("".join),
)
"""Texts that try: of the characters above, of all characters, of whole sequences, and of markup."""
