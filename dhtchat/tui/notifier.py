"""What of the things that arrive makes itself heard at this screen, and how. No I/O, no clock: the time is told."""

from datetime import datetime
from typing import NamedTuple

from dhtchat.app.preferences import Notifications
from dhtchat.chat.events import MessageArrived
from dhtchat.chat.markup import clean
from dhtchat.limits import BELL_PAUSE_S, NOTICE_CHARACTERS_MAX, NOTICE_PAUSE_S, NOTICES_REMEMBERED_MAX


class Call(NamedTuple):
    """`title` and `text` for the desktop; without a title, nothing for it."""

    bell: bool
    title: str = ""
    text: str = ""


class Notifier:
    def __init__(self, preferences: Notifications) -> None:
        self._preferences = preferences
        self._rang_at: datetime | None = None
        self._told_at: dict[str, datetime] = {}
        """Of each talk, when the desktop was told of it last."""

    def on_message(self, event: MessageArrived, *, is_seen: bool, in_front: bool, now: datetime) -> Call | None:
        """`is_seen`: the line stands before somebody's eyes already. `in_front`: the terminal does. `now`: local time."""
        if not event.notify or is_seen or self._preferences.is_quiet_at(now.time()):
            return None
        bell = self._preferences.bell and self._is_over(self._rang_at, BELL_PAUSE_S, now)
        if bell:
            self._rang_at = now
        talk = event.room or event.sender
        if not self._preferences.desktop or in_front or not self._is_over(self._told_at.get(talk), NOTICE_PAUSE_S, now):
            return Call(bell) if bell else None
        self._told_at[talk] = now
        if len(self._told_at) > NOTICES_REMEMBERED_MAX:
            del self._told_at[next(iter(self._told_at))]
        title = f"{event.sender} in {event.room}" if event.room else event.sender
        text = event.text if self._preferences.show_text else "said something"
        return Call(bell, clean(title, single_line=True), clean(text, single_line=True)[:NOTICE_CHARACTERS_MAX])

    def _is_over(self, last: datetime | None, pause_s: float, now: datetime) -> bool:
        return last is None or not 0 <= (now - last).total_seconds() < pause_s
