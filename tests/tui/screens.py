"""A screen without a terminal and without a network: what is told it, and what it shows."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC

from dhtchat.app.preferences import Preferences
from dhtchat.chat import events, intents
from dhtchat.chat.events import Event
from dhtchat.tui.app import ChatApp
from dhtchat.tui.themes import DARK, LIGHT


class ScriptedPeer:
    """Tells what the test puts, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[intents.Intent] = []
        self._target: str | None = None
        self._told: asyncio.Queue[Event] = asyncio.Queue()

    async def perform(self, intent: intents.Intent) -> None:
        self.asked.append(intent)
        if (
            isinstance(intent, intents.SwitchTo) and intent.target != self._target
        ):  # as a peer does: only a change is told
            self.tell(events.TargetChanged(target=intent.target))

    async def events(self) -> AsyncIterator[Event]:
        while True:
            yield await self._told.get()

    def tell(self, *told: Event) -> None:
        for event in told:
            if isinstance(event, events.TargetChanged):
                self._target = event.target
            self._told.put_nowait(event)


def line(
    text: str,
    sender: str = "bob",
    *,
    number: int = 1,
    room: str | None = "#lobby",
    own: bool = False,
    minute: int | None = None,
    **more: object,
) -> events.MessageArrived:
    return events.MessageArrived(
        id=f"{number:064x}",
        kind="room" if room else "direct",
        room=room,
        sender="alice" if own else sender,
        recipient=None if room else (sender if own else "alice"),
        text=text,
        sent_at=f"2026-11-30T10:{(number if minute is None else minute) % 60:02}:00Z",
        delayed=False,
        own=own,
        **more,  # type: ignore[arg-type]
    )


def screen_of(peer: ScriptedPeer, *, light: bool = False, preferences: Preferences | None = None) -> ChatApp:
    return ChatApp(
        peer,
        "alice",
        preferences=preferences,
        palette=LIGHT if light else DARK,
        is_dark=not light,
        timezone=UTC,
    )


def rows(app: ChatApp) -> list[str]:
    """What stands on the screen, row by row."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def colours(app: ChatApp) -> list[str]:
    """The colours in use, as `foreground on background`."""
    styles = {segment.style for strip in app.screen._compositor.render_strips() for segment in strip if segment.style}
    return sorted({f"{style.color and style.color.name} on {style.bgcolor and style.bgcolor.name}" for style in styles})
