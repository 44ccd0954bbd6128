"""Text that somebody else wrote: cleaned of what a terminal would obey, and cut into styled spans.

`clean` is the only thing between a stranger's bytes and the terminal. It runs when a text arrives and again when it is
drawn, so it gives back its own results unchanged. No I/O; both functions take time linear in the text.
"""

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import msgspec

from dhtchat.limits import COMBINING_MARKS_MAX, HOST_NAME_CHARACTERS_MAX, TEXT_BYTES_MAX

if TYPE_CHECKING:
    from linkify_it import LinkifyIt
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline

UNPRINTABLE: Final = "(unprintable)"
"""Shown in place of a text of which cleaning left nothing."""

# --- cleaning ---------------------------------------------------------------------------------------------------------

_NONCHARACTERS: Final = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_FORBIDDEN: Final = re.compile(
    "["
    "\x00-\x09\x0b-\x1f\x7f-\x9f"  # C0 but newline, DEL, C1. A carriage return just goes: CRLF becomes a newline
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"  # invisible, or reorders the text around it
    "\u200c"  # the other zero-width joiner: joiners stay only inside emoji, where this one means nothing
    "\ud800-\udfff"  # half a character, which no encoder takes
    "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"  # private use: looks like anything, or like nothing
    "\U000e0000-\U000e007f"  # tags: a whole alphabet nobody sees
    f"{_NONCHARACTERS}]+"
)

_EMOJI: Final = (
    "\u2194\u2195\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705"
    "\u2708-\u2712\u2714\u2716\u271d\u2721\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763-\u2767"
    "\u2795-\u2797\u27a1\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\U0001f170-\U0001f189\U0001f300-\U0001f3fa"
    "\U0001f400-\U0001f64f\U0001f680-\U0001f6ff\U0001f7e0-\U0001f7eb\U0001f90c-\U0001faff"
)
"""What emoji are joined from: the part of Unicode's Extended_Pictographic that occurs in joined ones."""
_SKIN_TONES: Final = "\U0001f3fb-\U0001f3ff"
_STRAY_JOINERS: Final = re.compile(
    f"(?<![{_EMOJI}{_SKIN_TONES}])(?<![{_EMOJI}]\ufe0f)\u200d"  # not behind an emoji
    f"|\u200d(?![{_EMOJI}])"  # not before one
)
_VARIATION_SELECTORS: Final = frozenset(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))


def clean(text: str, *, single_line: bool = False) -> str:
    """What of `text` may be shown, as the contract has it; `(unprintable)` when nothing is left.

    `single_line` also turns newlines into spaces: for names, topics and reasons.
    """
    if not (text.isascii() and text.isprintable()):
        text = _FORBIDDEN.sub("", text.replace("\t", " "))
        if single_line:
            text = text.replace("\n", " ")
        if not text.isascii():
            # In this order: what a later step takes away never gives an earlier one more to do.
            text = _thin_out_marks(_STRAY_JOINERS.sub("", text))
    return text or UNPRINTABLE


def beginning(text: str, characters_max: int) -> str:
    """The first so many characters of a text on one line, cleaned, and three dots when there are more."""
    whole = clean(text, single_line=True)
    if len(whole) <= characters_max:
        return whole
    # Cleaned again: the cut may have gone through an emoji and left a joiner that joins nothing.
    return f"{clean(whole[:characters_max]).rstrip()}..."


def _thin_out_marks(text: str) -> str:
    """At most COMBINING_MARKS_MAX marks on a base, and a variation selector only directly behind one."""
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category.startswith("M"):
            stray = character in _VARIATION_SELECTORS and (marks or not kept or kept[-1].isspace())
            if stray or marks == COMBINING_MARKS_MAX:
                continue
            marks += 1
        elif category != "Cf":  # a soft hyphen, say, is invisible and no new base
            marks = 0
        kept.append(character)
    return "".join(kept)


# --- markup -----------------------------------------------------------------------------------------------------------


class Span(msgspec.Struct, frozen=True):
    """A piece of text of one look. `link` is the address it leads to: printable ASCII and nothing else."""

    text: str
    bold: bool = False
    italic: bool = False
    strike: bool = False
    code: bool = False
    block: bool = False
    """Of code: whole lines, which stand apart from the text around them."""
    quote: bool = False
    link: str | None = None


_MARKERS: Final = "*~`"
_MAY_HAVE_MARKUP: Final = re.compile(rf"[{re.escape(_MARKERS)}]|^>|https?://|mailto:", re.IGNORECASE | re.MULTILINE)
_FENCE: Final = re.compile(r"```[\w+#.-]*[ ]*")
"""A line above a block of code, with the name of its language or without."""
_STYLES: Final = {"strong": "bold", "em": "italic", "s": "strike"}
"""The parser's names for what a pair of markers does, and ours."""
_SCHEME_AT_END: Final = re.compile(r"(?<![a-z0-9.+-])(?:https?|mailto)$", re.IGNORECASE)
_SCHEME_CHARACTERS_MAX: Final = len("mailto")


def parse(text: str) -> list[Span]:
    """Cut a cleaned text into spans: `**bold**`, `*italic*`, `~~strike~~`, `` `code` ``, addresses, lines of code between two
    lines of three backticks (which are left out), and quotes, whose lines begin with `>` (which stays).

    A backslash before a marker keeps it; everything else stays as typed: a line that starts with
    `#` or `1.` is no heading and no list. `_` is a letter, for `snake_case` and `__init__`. `[text](address)` stays as
    typed too, so that nobody hides an address behind a text.
    """
    if len(text) > TEXT_BYTES_MAX or not _MAY_HAVE_MARKUP.search(text):
        return [Span(text)] if text else []
    spans: list[Span] = []
    for look, part in _blocks(text):
        spans += [Span(part, code=True, block=True)] if look == "code" else _inline(part, quote=look == "quote")
    # With its marker gone, a mark behind it would come to sit on the character before, beside the four it may have.
    if not spans or any(unicodedata.category(span.text[0]).startswith(("M", "Cf")) for span in spans):
        return [Span(text)]
    return spans


def _blocks(text: str) -> list[tuple[str, str]]:
    """The text in pieces of whole lines, each `text`, `quote` or `code`, none empty. Three backticks without a second line of
    them are themselves."""
    lines = text.split("\n")
    ends: dict[int, int] = {}
    """Of the lines above blocks of code, the lines below them."""
    opened = None
    for number, line in enumerate(lines):
        if opened is None and _FENCE.fullmatch(line):
            opened = number
        elif opened is not None and line.rstrip() == "```":
            ends[opened], opened = number, None
    looks: list[tuple[str, list[str]]] = []
    number = 0
    while number < len(lines):
        if end := ends.get(number):
            looks.append(("code", lines[number + 1 : end]))
            number = end + 1
            continue
        look = "quote" if lines[number].startswith(">") else "text"
        if not looks or looks[-1][0] != look:
            looks.append((look, []))
        looks[-1][1].append(lines[number])
        number += 1
    pieces = [(look, "".join(f"{line}\n" for line in part)) for look, part in looks]
    pieces[-1] = pieces[-1][0], pieces[-1][1].removesuffix("\n")
    return [(look, piece) for look, piece in pieces if piece]


def _inline(text: str, *, quote: bool) -> list[Span]:
    # The parser makes spaces of the newlines inside code. A vertical tab is as much white space to it and stays; a
    # cleaned text has none.
    tokens = _markdown().inline.parse(text.replace("\n", "\v"), _markdown(), {}, [])
    spans: list[Span] = []
    depth = dict.fromkeys(_STYLES.values(), 0)
    link: str | None = None
    for token in tokens:
        if token.type == "link_open":
            link = str(token.attrs["href"])
        elif token.type == "link_close":
            link = None
        elif token.nesting:
            depth[_STYLES[token.tag]] += token.nesting
        elif token.content:
            styles = {style: pairs > 0 for style, pairs in depth.items()}
            content = token.content.replace("\v", "\n")
            spans.append(Span(content, **styles, code=token.type == "code_inline", quote=quote, link=link))
    return spans


@cache
def _markdown() -> "MarkdownIt":
    """The inline parser, built at first use: importing it takes longer than most commands run."""
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline.emphasis import tokenize as emphasis

    def asterisks(state: "StateInline", silent: bool) -> bool:
        return state.src[state.pos] == "*" and emphasis(state, silent)

    markdown = MarkdownIt("zero").enable(["backticks", "emphasis", "strikethrough", "balance_pairs", "fragments_join"])
    inline = markdown.inline.ruler
    inline.at("emphasis", asterisks)
    inline.before("backticks", "address", _address_rule)
    inline.before("backticks", "kept_marker", _kept_marker_rule)
    inline.enable(["address", "kept_marker"])
    return markdown


def _kept_marker_rule(state: "StateInline", silent: bool) -> bool:
    """A backslash before one of our markers: the marker is meant. Any other backslash is itself, as in `C:\\temp`."""
    marker = state.src[state.pos + 1 : state.pos + 2]
    if silent or state.src[state.pos] != "\\" or not marker or marker not in _MARKERS:
        return False
    state.pending += marker
    state.pos += 2
    return True


def _address_rule(state: "StateInline", silent: bool) -> bool:
    """A web or mail address, noticed at the colon behind its scheme: there the parser's text rule stops."""
    if silent or state.src[state.pos] != ":":
        return False
    scheme = _SCHEME_AT_END.search(state.pending[-_SCHEME_CHARACTERS_MAX - 1 :])
    if not scheme:
        return False
    start = state.pos - len(scheme[0])
    length = _linkify().test_schema_at(state.src, scheme[0].lower() + ":", state.pos + 1)
    typed = state.src[start : state.pos + 1 + length].rstrip("*")  # an address inside **bold** ends before the stars
    while typed.endswith("~~"):
        typed = typed[:-2]
    address = _read_address(typed) if length else None
    if not address:
        return False
    state.pending = state.pending[: -len(scheme[0])]
    state.push("link_open", "a", 1).attrs = {"href": address.target}
    state.push("text", "", 0).content = address.shown
    state.push("link_close", "a", -1)
    state.pos = start + len(typed)
    return True


@cache
def _linkify() -> "LinkifyIt":
    from linkify_it import LinkifyIt

    return LinkifyIt()


# --- addresses --------------------------------------------------------------------------------------------------------

_ADDRESS: Final = re.compile(
    r"(?P<head>https?://|mailto:[^@]+@)(?P<host>[^/?#:@]+)(?P<tail>(?::[0-9]{1,5})?(?:[/?#].*)?)", re.IGNORECASE
)
_HOST: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_URI_CHARACTERS: Final = "%!#$&'()*+,/:;=?@[]~"
"""What `quote` may leave alone besides letters, digits and `_.-`: the reserved characters of RFC 3986 §2.2."""


class _Address(NamedTuple):
    shown: str
    """As typed, but for a host that is not ASCII."""
    target: str


def real_address(url: str) -> str | None:
    """Where an http, https or mailto address leads, in printable ASCII; None: nothing that we make a link of.

    The host is in lower case and, if need be, punycode: `аpple.com` with a Cyrillic letter shows what it is. An address
    with a user name is never a link: `https://bank.example@evil.example` exists to be misread.
    """
    address = _read_address(url)
    return address.target if address else None


def _read_address(url: str) -> _Address | None:
    parts = _ADDRESS.fullmatch(url)
    host = _ascii_host(parts["host"]) if parts else ""
    if not parts or not host or not url.isprintable():
        return None
    scheme, _, user = parts["head"].partition(":")
    shown_host = parts["host"] if parts["host"].isascii() else host
    return _Address(
        shown=f"{parts['head']}{shown_host}{parts['tail']}",
        target=f"{scheme.lower()}:{_quoted(user)}{host}{_quoted(parts['tail'])}",
    )


def _quoted(text: str) -> str:
    return quote(text, safe=_URI_CHARACTERS)


def _ascii_host(host: str) -> str:
    """The host as the network knows it; empty when it can be none.

    Not Python's `idna` codec: that is IDNA 2003, which leads `faß.de` elsewhere than browsers go.
    """
    if len(host) > HOST_NAME_CHARACTERS_MAX:
        return ""
    host = unicodedata.normalize("NFKC", host).lower().replace("\u3002", ".")  # an ideographic full stop is a dot too
    if not host.isascii():
        host = ".".join(
            label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in host.split(".")
        )
    return host if _HOST.fullmatch(host) else ""
