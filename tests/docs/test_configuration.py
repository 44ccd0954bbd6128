"""The configuration in the documents is the one there is, and its examples work."""

import tomllib
from pathlib import Path

import msgspec

from dhtchat.app.preferences import FILE_NAME, load_preferences
from dhtchat.tui.keys import check_names, help_rows
from dhtchat.tui.themes import ThemeFile, choose
from tests.docs.configuration import PAGE, page
from tests.docs.options import ENVIRONMENT, looked_at
from tests.docs.pages import blocks, read, section, table


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make it again: python -m tests.docs.configuration"


def test_the_guide_has_the_keys_that_there_are() -> None:
    assert table(section(read("docs/user-guide.md"), "The full screen"), "key", "does") == [
        [keys, does] for keys, does in help_rows({})
    ]


def test_its_examples_work(tmp_path: Path) -> None:
    config, theme = [block.text for block in blocks(read("docs/configuration.md")) if block.language == "toml"]
    (tmp_path / FILE_NAME).write_text(config, encoding="utf-8")
    preferences = load_preferences(tmp_path)
    check_names(preferences.keys)
    assert preferences.notifications.quiet_hours == "22:00-07:30"
    (tmp_path / "mine.toml").write_text(theme, encoding="utf-8")
    palette, is_dark = choose("mine.toml", tmp_path, {})
    assert (palette.background, is_dark) == ("#fdf6e3", False)
    assert msgspec.convert(tomllib.loads(theme), ThemeFile).like == "light"


def test_every_variable_of_the_environment_that_is_looked_at_is_told_about() -> None:
    assert looked_at() - ENVIRONMENT.keys() == set()
    assert looked_at() >= {"NO_COLOR", "TERM", "TMUX", "NOTIFY_SOCKET"}, "the search finds what there is"
