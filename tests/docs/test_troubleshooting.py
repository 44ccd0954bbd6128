"""Symptoms that the documents name are things the program says: each piece of a quoted message stands in the code."""

import re
from pathlib import Path
from typing import Final

import pytest

import dhtchat
from tests.docs.pages import quoted, read, tables

CODE: Final = "\n".join(
    file.read_text(encoding="utf-8") for file in sorted(Path(dhtchat.__file__).parent.rglob("*.py"))
).replace('" f"', "")
MESSAGE: Final = re.compile(r"[a-z.!(].* .*")
"""What has several words is said by the program; a single one is a word of the interface."""
SYMPTOMS: Final = [
    message
    for rows in tables(read("docs/troubleshooting.md"))
    for symptom, _ in rows[1:]
    for message in quoted(symptom)
    if MESSAGE.fullmatch(message)
]


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_what_is_quoted_is_said(symptom: str) -> None:
    pieces = [piece.strip(" :(") for piece in symptom.replace("network: ", "").split("...")]
    for piece in filter(None, pieces):
        if piece.startswith("!! WARNING"):
            piece = piece.partition("(")[2].rstrip(")")
        assert piece in CODE, f"nothing says {piece!r}"


def test_there_are_symptoms() -> None:
    assert len(SYMPTOMS) >= 18
