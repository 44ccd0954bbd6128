"""The documents as the tests read them: texts, headings, tables and blocks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
GUIDES: Final = [page for page in PAGES if page.parent.name != "decisions"]
"""Those that say what there is; a decision may name what there is not."""

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARKED: Final = re.compile(r"^<!-- (run|example): ([\w.-]+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_QUOTED: Final = re.compile(r"``(?: (.+?) )``|`([^`\n]+)`")


class Block(NamedTuple):
    language: str
    text: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[Block]:
    """Fenced ones, and those that are set in by four blanks."""
    for match in _FENCE.finditer(text):
        yield Block(match[1], match[2])
    without_fences = _FENCE.sub("", text)
    for match in re.finditer(r"(?:^ {4}.*\n)+", without_fences, re.MULTILINE):
        yield Block("", re.sub("^ {4}", "", match[0], flags=re.MULTILINE))


def marked(text: str, what: str) -> dict[str, str]:
    """Blocks with a comment above, such as `<!-- run: greeter.py -->`, by the name in it."""
    return {match[2]: match[3] for match in _MARKED.finditer(text) if match[1] == what}


def prose(text: str) -> str:
    """Without fenced blocks."""
    return _FENCE.sub("", text)


def quoted(text: str) -> list[str]:
    """What stands between backticks, in order."""
    return [match[1] or match[2] for match in _QUOTED.finditer(text)]


def unquoted(text: str) -> str:
    """Without what stands between backticks."""
    return _QUOTED.sub("", text)


def section(text: str, heading: str) -> str:
    """What follows a heading, up to the next of its rank or a higher one."""
    headings = list(re.finditer(r"^(#+) (.+)$", _FENCE.sub(lambda fence: "~" * len(fence[0]), text), re.MULTILINE))
    for index, found in enumerate(headings):
        if found[2] == heading:
            ends = (later.start() for later in headings[index + 1 :] if len(later[1]) <= len(found[1]))
            return text[found.end() : next(ends, len(text))]
    raise AssertionError(f"there is no heading {heading!r}")


def tables(text: str) -> list[list[list[str]]]:
    """Every table as rows of cells, the heading row first and without the line below it."""
    found = []
    for match in re.finditer(r"(?:^\|.*\|\n?)+", text, re.MULTILINE):
        rows = [
            [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in match[0].splitlines()
        ]
        found.append([rows[0], *rows[2:]])
    return found


def table(text: str, *heading: str) -> list[list[str]]:
    """The rows of the one table with this heading row."""
    found = [rows for rows in tables(text) if tuple(rows[0]) == heading]
    assert len(found) == 1, f"{len(found)} tables with the heading {heading}"
    return found[0][1:]


def anchors(text: str) -> set[str]:
    """What a heading can be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
