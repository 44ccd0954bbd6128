"""The full screen of one session: logs in on the plain terminal first, so that what goes wrong is said in lines."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dhtchat.app.attached import attach
from dhtchat.app.control import Control
from dhtchat.app.node import ChatNode
from dhtchat.chat import intents
from dhtchat.cli.errors import INTERRUPTED
from dhtchat.cli.passwords import tell
from dhtchat.cli.terminal import detect
from dhtchat.runtime import real_runtime

if TYPE_CHECKING:
    from dhtchat.app.faces import Screen
    from dhtchat.app.preferences import Preferences
    from dhtchat.app.settings import Settings
    from dhtchat.ids import Login


def fits_terminal(environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> bool:
    """Whether both ends of this process are a terminal that can move its cursor."""
    kind = environ.get("TERM", "" if platform == "win32" else "dumb")
    return kind not in ("dumb", "unknown") and sys.stdin.isatty() and sys.stdout.isatty()


def goes_on(user: str) -> str:
    """What is said when a face has gone and its peer has not."""
    return f"you have left; the peer of {user} goes on, 'dhtchat down' ends it"


async def attach_screen(folder: Path, login: "Login", rooms: list[str]) -> int:
    """The screen of a peer that runs already."""
    data_dir = folder.parent.parent  # below it the network, then the profile
    preferences = _load(data_dir)
    async with attach(folder) as client:
        client.require_user(login.name)
        client.repeat_ready()
        await _show(client.screen, login.name, rooms, preferences, data_dir)
    tell(goes_on(login.name))
    return 0


def _load(data_dir: Path) -> "Preferences":
    """The configuration file. Raises `BadUsage`: said before anything else happens."""
    from dhtchat.app.preferences import load_preferences

    preferences = load_preferences(data_dir)
    from dhtchat.tui.keys import check_names

    check_names(preferences.keys)
    return preferences


async def _show(peer: "Screen", user: str, rooms: list[str], preferences: "Preferences", data_dir: Path) -> None:
    """Enter the rooms, then show the screen until it is left or the peer ends."""
    from dhtchat.tui.app import run  # late: it takes longer to import than most commands run

    for room in rooms:
        await peer.perform(intents.JoinRoom(room))
    await run(peer, user, preferences=preferences, data_dir=data_dir, has_links=detect(sys.stdout).links)


class FullScreen:
    """One session on the whole terminal, with a peer of its own."""

    def __init__(self, settings: "Settings", login: "Login", profile: str) -> None:
        self._settings = settings
        self._login = login
        self._profile = profile

    async def run(self, rooms: list[str], log_in: Callable[[ChatNode], Awaitable[None]]) -> int:
        """Until the user leaves, or a signal. Errors before the screen opens are raised."""
        settings = self._settings
        preferences = _load(settings.data_dir)
        async with (
            Control(settings.data_dir, settings.parameters, self._profile) as control,
            ChatNode(settings, real_runtime()) as node,
        ):
            try:
                tell("Looking for the network ...")
                await node.connect(self._profile)
                await log_in(node)
                await node.go_online()
                control.serve(node)
                await _show(node, self._login.name, rooms, preferences, settings.data_dir)
                await node.leave()
            except asyncio.CancelledError:
                await node.leave(flush=False)
                return INTERRUPTED
            finally:
                node.close_events()
                await control.take_leave()
        return 0
