"""A full screen with no network behind it, for tests that look at a terminal: `python -m tests.tui.played EVENTS`.

EVENTS is a file of events as `--json` prints them, in parts with an empty line between. The first part is told at once, the next
whenever `next` is said, so that each can be looked at. `--light` is the other theme.
"""

import asyncio
import sys
from pathlib import Path

from dhtchat.app.event_lines import decode_event
from dhtchat.app.preferences import Appearance, Preferences
from dhtchat.chat import intents
from dhtchat.tui.app import run
from tests.tui.screens import ScriptedPeer


class PlayedPeer(ScriptedPeer):
    def __init__(self, parts: list[bytes]) -> None:
        super().__init__()
        self._parts = iter(parts)
        self._tell_next()

    def _tell_next(self) -> None:
        for line in next(self._parts, b"").splitlines():
            event = decode_event(line)
            assert event is not None
            self.tell(event)

    async def perform(self, intent: intents.Intent) -> None:
        await super().perform(intent)
        if intent == intents.SayTo("next"):
            self._tell_next()


async def main() -> None:
    parts = await asyncio.to_thread(lambda: Path(sys.argv[1]).read_bytes().split(b"\n\n"))
    preferences = Preferences(screen=Appearance(theme="light" if "--light" in sys.argv else "dark"))
    await run(PlayedPeer(parts), "alice", preferences=preferences)


if __name__ == "__main__":
    asyncio.run(main())
