"""A full screen with no network behind it, for tests that look at a terminal: `python -m tests.tui.played EVENTS`.

EVENTS is a file of events as `--json` prints them. They are told one after the other; `--light` is the other theme.
"""

import asyncio
import sys
from pathlib import Path

from dhtchat.app.event_lines import decode_event
from dhtchat.tui.app import run
from tests.tui.screens import ScriptedPeer


async def main() -> None:
    peer = ScriptedPeer()
    for line in await asyncio.to_thread(lambda: Path(sys.argv[1]).read_bytes().splitlines()):
        event = decode_event(line)
        assert event is not None
        peer.tell(event)
    await run(peer, "alice", light="--light" in sys.argv)


if __name__ == "__main__":
    asyncio.run(main())
