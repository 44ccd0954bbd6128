"""The pictures in the guide show the screen that there is."""

import re

import pytest

from tests.docs.pages import read
from tests.docs.screenshots import FOLDER, PICTURES, draw


@pytest.mark.parametrize("name", PICTURES)
async def test_a_picture_is_what_the_screen_shows(name: str) -> None:
    drawn = await draw(PICTURES[name])
    assert (FOLDER / f"{name}.svg").read_text(encoding="utf-8") == drawn, "python -m tests.docs.screenshots"
    assert "url(http" not in drawn, "a picture that fetches something from elsewhere tells who reads it"


def test_every_picture_is_shown_and_said_in_words() -> None:
    shown = dict(re.findall(r"!\[([^\]]+)\]\(screenshots/(\w+)\.svg\)", read("docs/user-guide.md")))
    assert sorted(shown.values()) == sorted(PICTURES) == sorted(file.stem for file in FOLDER.iterdir())
    assert all(len(words) > 30 for words in shown), "for those who do not see it"
