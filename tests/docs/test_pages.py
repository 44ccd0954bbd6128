"""What holds for every page: links lead somewhere, files and tests that are named exist, nothing betrays a machine."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dhtchat.chat.commands import parse_line
from tests.docs.pages import GUIDES, PAGES, ROOT, anchors, blocks, name_of, prose, quoted, unquoted

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
every_guide = pytest.mark.parametrize("page", GUIDES, ids=name_of)

_FOLDERS = "dhtchat|tests|docs|bootstrap|simulations|requirements"
_FILE = re.compile(r"(?<![\w/.~<>-])((?:[\w.-]+/)+[\w-]+\.(?:py|md|json|txt))\b")
_TEST = re.compile(r"([\w/]+\.py)?::(\w+)")
_SLASH_COMMAND = re.compile(r"/[a-z]+(?: |$)")


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """Relative ones to a file or folder and, behind `#`, to one of its headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", unquoted(prose(_text(page)))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} leads nowhere"
        assert linked == ROOT or ROOT in linked.parents, f"{target} leads out of the checkout"
        assert not anchor or anchor in anchors(_text(linked)), f"{target}: no such heading"


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    """Wherever a path stands: from the root, from `dhtchat/`, or from the page's own folder."""
    text = _text(page)
    folders = [name for name in quoted(prose(text)) if re.fullmatch(rf"(?:{_FOLDERS})/(?:[\w.-]+/)*", name)]
    for name in [*_FILE.findall(text), *folders]:
        assert any((start / name).exists() for start in (ROOT, ROOT / "dhtchat", page.parent)), f"there is no {name}"


@every_page
def test_tests_that_are_named_exist(page: Path) -> None:
    """`file::test`, and `::another` behind it for the same file."""
    for file, test in _named_tests(_text(page)):
        assert test in _tests_in(file), f"there is no {file}::{test}"


def _named_tests(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        file = ""
        for match in _TEST.finditer(line):
            file = match[1] or file
            yield file, match[2]


@functools.cache
def _tests_in(file: str) -> set[str]:
    return set(re.findall(r"def (test_\w+)", (ROOT / file).read_text(encoding="utf-8")))


@every_page
def test_nothing_betrays_the_machine_it_was_written_on(page: Path) -> None:
    text = _text(page)
    assert not re.findall(r"(?<![\w.])/(?:root|home|work|tmp|Users|mnt|private)\b", text)
    assert not re.findall(r"pypi|pythonhosted|index-url", text, re.IGNORECASE)
    assert not [character for character in text if ord(character) > 0xFFFF], "no emoji"


@every_guide
def test_chat_commands_that_are_named_exist(page: Path) -> None:
    """In the text and in the blocks: each is one that the program would take."""
    text = _text(page)
    for name in quoted(prose(text)):
        if _SLASH_COMMAND.match(name):
            parse_line(f"/help {name.split()[0]}")
    for block in blocks(text):
        for line in block.text.splitlines():
            if _SLASH_COMMAND.match(line):
                assert parse_line(line)
