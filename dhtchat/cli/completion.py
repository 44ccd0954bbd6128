"""Names that a shell offers behind a command: profiles of this machine, people and rooms that the running peer knows.

A shell waits while this looks, and shows whatever is written: it takes COMPLETION_TIMEOUT_S at most, and what goes wrong offers
nothing and says nothing. Only names in their one form are offered; nothing else is safe to be put into a command line.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dhtchat.app.meeting_point import profiles_of
from dhtchat.app.paths import default_data_dir
from dhtchat.cli.asking import Asker
from dhtchat.errors import DhtChatError
from dhtchat.ids import is_folded_name, is_folded_room
from dhtchat.limits import COMPLETION_TIMEOUT_S, RESERVED_NAMES

Given = Mapping[str, Any]
"""Options that stand in the command line already, by their names as parameters."""


_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""A profile may have any name; this much of them need no quotes and are no options."""


def profiles(given: Given, incomplete: str) -> list[str]:
    """Who has been on this machine."""
    names = profiles_of(given.get("data_dir") or default_data_dir(), given.get("network") or "main")
    return [
        name
        for name in names
        if name.startswith(incomplete) and _PLAIN.fullmatch(name) and name not in RESERVED_NAMES  # the bootstrap node's
    ]


def people(given: Given, incomplete: str) -> list[str]:
    """Whom the running peer knows of."""
    asked = {"type": "ListUsers", "prefix": incomplete, "everyone": True}
    names = _listed(given, asked, "users")
    return [name for name in names if is_folded_name(name) and name.startswith(incomplete) and name[0] != "-"]


def rooms(given: Given, incomplete: str) -> list[str]:
    """Rooms that the running peer finds, without the '#' that a shell could take for a comment, unless it was typed."""
    typed_mark = incomplete.startswith("#")
    found = _rooms(given, incomplete.removeprefix("#"))
    return [_for_shell(room) if typed_mark else room.removeprefix("#") for room in found]


def targets(given: Given, incomplete: str) -> list[str]:
    """People and rooms: where a line can go."""
    marked = [_for_shell(room) for room in _rooms(given, incomplete[1:])] if incomplete[:1] in ("", "#") else []
    return marked if incomplete.startswith("#") else people(given, incomplete) + marked


KINDS: Final[dict[str, Callable[[Given, str], list[str]]]] = {
    "profiles": profiles,
    "people": people,
    "rooms": rooms,
    "targets": targets,
}


def offer(kind: str, given: Given, incomplete: str) -> list[str]:
    """What may stand there, sorted."""
    with contextlib.suppress(DhtChatError, OSError, ValueError, LookupError, TypeError):
        return sorted(set(KINDS[kind](given, incomplete)))
    return []


def _rooms(given: Given, prefix: str) -> list[str]:
    asked = {"type": "ListRooms", "prefix": prefix}
    return [name for name in _listed(given, asked, "rooms") if is_folded_room(name) and name[1:].startswith(prefix)]


def _listed(given: Given, intent: dict[str, Any], kind: str) -> Iterator[str]:
    """The names in one list of the running peer."""
    data_dir: Path | None = given.get("data_dir")
    with Asker(data_dir, given.get("profile"), given.get("network") or "main") as peer:
        peer.hurry(COMPLETION_TIMEOUT_S)
        peer.request(intent)
        while (heard := peer.next()) is not None:
            fields = heard[1]
            if fields["event"] == kind:
                yield from (entry["name"] for entry in fields[kind])
            if fields["event"] in ("done", "error"):
                return


class _Quoted(str):
    """A word as the shell must read it. Typer drops what does not begin as what was typed does, but that has no quotes any more
    when it gets there; what is offered here has been compared already."""

    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        return True


def _for_shell(room: str) -> str:
    """A '#' begins a comment in bash and PowerShell, which take what is offered as it is; zsh and fish quote it themselves."""
    shell = os.environ.get("_DHTCHAT_COMPLETE", "").rpartition("_")[2]
    if shell == "bash":
        word = re.split(r"\s", os.environ.get("COMP_WORDS", ""))[-1]
        return room if word.startswith(("'", '"')) else _Quoted(f"\\{room}")
    return _Quoted(f"'{room}'") if shell in ("powershell", "pwsh") else room
