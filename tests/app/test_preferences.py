"""The configuration file: what is left out has its default, what is wrong is said."""

from pathlib import Path

import pytest

from dhtchat.app.preferences import FILE_NAME, Preferences, load_preferences
from dhtchat.errors import BadUsage


def test_without_a_file_everything_is_as_usual(tmp_path: Path) -> None:
    assert load_preferences(tmp_path) == Preferences()
    (tmp_path / FILE_NAME).write_bytes(b"")
    assert load_preferences(tmp_path) == Preferences()


def test_what_is_said_holds(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('[screen]\nmouse = false\n[keys]\nhelp = "f9"\n', encoding="utf-8")
    preferences = load_preferences(tmp_path)
    assert (preferences.screen.mouse, preferences.screen.theme, preferences.keys) == (False, "auto", {"help": "f9"})


@pytest.mark.parametrize(
    "content",
    [
        b"[screen",
        b"[screen]\nmouse = 3",
        b"[screens]\n",
        b"[screen]\nmouze = true",
        b'[notifications]\nquiet_hours = "22-7"',
        b'[notifications]\nquiet_hours = "24:00-07:00"',
        b"\xff\xfe",
        b"[keys]\nhelp = 3",
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(BadUsage, match=FILE_NAME) as caught:
        load_preferences(tmp_path)
    assert caught.value.hint
