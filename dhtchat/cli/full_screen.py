"""The full screen of one session: logs in on the plain terminal first, so that what goes wrong is said in lines."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from dhtchat.app.node import ChatNode
from dhtchat.chat import intents
from dhtchat.cli.errors import INTERRUPTED
from dhtchat.cli.passwords import tell
from dhtchat.runtime import real_runtime

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings
    from dhtchat.ids import Login


def fits_terminal(environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> bool:
    """Whether both ends of this process are a terminal that can move its cursor."""
    kind = environ.get("TERM", "" if platform == "win32" else "dumb")
    return kind not in ("dumb", "unknown") and sys.stdin.isatty() and sys.stdout.isatty()


class FullScreen:
    """One session on the whole terminal."""

    def __init__(self, settings: "Settings", login: "Login", profile: str) -> None:
        self._settings = settings
        self._login = login
        self._profile = profile

    async def run(self, rooms: list[str], log_in: Callable[[ChatNode], Awaitable[None]]) -> int:
        """Until the user leaves, or a signal. Errors before the screen opens are raised."""
        async with ChatNode(self._settings, real_runtime()) as node:
            try:
                tell("Looking for the network ...")
                await node.connect(self._profile)
                await log_in(node)
                await node.go_online()
                for room in rooms:
                    await node.perform(intents.JoinRoom(room))
                from dhtchat.tui.app import run  # late: it takes longer to import than most commands run

                await run(node, self._login.name)
                await node.leave()
            except asyncio.CancelledError:
                await node.leave(flush=False)
                return INTERRUPTED
            finally:
                node.close_events()
        return 0
