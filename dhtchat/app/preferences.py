"""What a user likes on every run: the configuration file, `config.toml` in the data folder.

Everything in it may be left out, and the file itself. docs/configuration.md is made of the classes below: what stands under a
setting is what people read about it.
"""

import tomllib
from datetime import time
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from dhtchat.errors import BadUsage

FILE_NAME: Final = "config.toml"
_Kind = TypeVar("_Kind")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Appearance(_Section, frozen=True, kw_only=True):
    """How the full screen looks."""

    theme: str = "auto"
    """`dark`, `light`, `auto` (what the terminal says in `COLORFGBG`, else dark), or a theme file: its path, from the data folder
    or absolute."""
    mouse: bool = True
    """Whether the mouse works in the program: a click in the list of talks, the wheel. Without, the terminal has it, to select
    text; most terminals do that with Shift held down in any case. F3 changes it for the moment."""
    title: bool = True
    """Whether the title of the window names the talk and counts what is unread."""


class Notifications(_Section, frozen=True, kw_only=True):
    """What makes itself heard. Of which talk, `/notify` says; while you are away (`/away`), nothing does."""

    bell: bool = True
    """Whether the terminal's bell rings."""
    desktop: bool = True
    """Whether the desktop shows a notification while the terminal is not in front. Needs the extra `notify`."""
    show_text: bool = True
    """Whether a notification of the desktop says what was said, or only who spoke."""
    quiet_hours: Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")] = ""
    """When nothing makes itself heard, such as `22:00-07:30`, by this machine's clock."""

    def is_quiet_at(self, now: time) -> bool:
        """Whether `now`, the local time, is in the quiet hours; their end is not."""
        if not self.quiet_hours:
            return False
        begin, end = map(time.fromisoformat, self.quiet_hours.split("-"))
        now = now.replace(tzinfo=None)
        return begin <= now < end if begin <= end else now >= begin or now < end


class Preferences(_Section, frozen=True, kw_only=True):
    screen: Appearance = Appearance()
    notifications: Notifications = Notifications()
    keys: dict[str, str] = {}
    """Other keys: the name of an action and its keys, with commas between, such as `next-active = "alt+a,ctrl+n"`."""


def load_preferences(data_dir: Path) -> Preferences:
    """What the file there says; the defaults where there is none. Raises `BadUsage`."""
    path = data_dir / FILE_NAME
    return read_toml(path, Preferences) if path.exists() else Preferences()


def read_toml(path: Path, kind: type[_Kind]) -> _Kind:
    """A file that somebody has written by hand. Raises `BadUsage`, which says where it is wrong."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), kind)
    except OSError as error:
        raise BadUsage(
            f"cannot read {path}: {error.strerror or error}", hint="Check its name and its rights."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise BadUsage(f"{path} is wrong: {error}", hint="docs/configuration.md says what may stand there.") from error
