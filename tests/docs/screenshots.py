"""Makes the pictures of the full screen in docs/screenshots/, of what the snapshots show.

`python -m tests.docs.screenshots` draws them; a test compares them with what stands there.
"""

import asyncio
import re
from pathlib import Path
from typing import Final, NamedTuple

from dhtchat.chat.events import Event
from tests.tui.evening import cut_off, stage, told
from tests.tui.screens import ScriptedPeer, line, screen_of

FOLDER: Final = Path(__file__).parents[2] / "docs" / "screenshots"


class Picture(NamedTuple):
    told: list[Event]
    keys: tuple[str, ...] = ()
    """Pressed once everything is told."""
    size: tuple[int, int] = (100, 20)
    light: bool = False


PICTURES: Final = {
    "talk": Picture(told()),
    "stage": Picture(stage(), light=True),
    "help": Picture(told(), ("f1",)),
    "narrow": Picture([*told(), line("alice, come", number=8, room="#zoo", mentioned=True), cut_off()], size=(44, 16)),
}
_FONTS: Final = re.compile(r"\s*@font-face \{[^}]*\}")
"""They would be fetched from elsewhere: whoever reads a page of ours asks nobody else for it."""


async def draw(picture: Picture) -> str:
    """As SVG, the same on every machine."""
    peer = ScriptedPeer()
    async with screen_of(peer, light=picture.light).run_test(size=picture.size) as pilot:
        peer.tell(*picture.told)
        await pilot.pause(0)
        await pilot.press(*picture.keys)
        await pilot.pause(0)
        await pilot.pause(0)
        drawn = pilot.app.export_screenshot(title="dhtchat", simplify=True)
    lines = _FONTS.sub("", drawn).replace("Fira Code, monospace", "monospace").splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


async def main() -> None:
    for name, picture in PICTURES.items():
        await asyncio.to_thread((FOLDER / f"{name}.svg").write_text, await draw(picture), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
