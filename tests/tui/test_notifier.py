"""What rings here, and what the desktop is told."""

from datetime import datetime, timedelta

import msgspec
import pytest

from dhtchat.app.preferences import Notifications
from dhtchat.tui.desktop import Desktop
from dhtchat.tui.notifier import Call, Notifier
from tests.chat.hostile import HOSTILE_TEXTS, objections
from tests.tui.screens import line

NOON = datetime.fromisoformat("2026-11-30T12:00+01:00")
LOUD = line("psst", room=None, notify=True)


def test_the_bell_rings_once_for_a_flood_and_the_desktop_is_told_when_nobody_looks() -> None:
    notifier = Notifier(Notifications())
    assert notifier.on_message(LOUD, is_seen=False, in_front=True, now=NOON) == Call(bell=True)
    a_moment = NOON + timedelta(seconds=1)
    assert notifier.on_message(LOUD, is_seen=False, in_front=True, now=a_moment) is None
    assert notifier.on_message(LOUD, is_seen=False, in_front=False, now=a_moment) == Call(False, "bob", "psst")
    later = NOON + timedelta(seconds=5)
    assert notifier.on_message(LOUD, is_seen=False, in_front=False, now=later) == Call(bell=True)
    other = line("hello alice", sender="carol", notify=True)
    assert notifier.on_message(other, is_seen=False, in_front=False, now=later) == Call(
        False, "carol in #lobby", "hello alice"
    )


def test_what_is_seen_or_not_loud_makes_no_noise() -> None:
    notifier = Notifier(Notifications())
    assert notifier.on_message(LOUD, is_seen=True, in_front=True, now=NOON) is None
    assert notifier.on_message(line("x"), is_seen=False, in_front=False, now=NOON) is None


@pytest.mark.parametrize(
    "hours, quiet",
    [("", False), ("11:00-13:00", True), ("12:00-12:30", True), ("11:00-12:00", False), ("22:00-07:30", False)],
)
def test_quiet_hours(hours: str, quiet: bool) -> None:
    notifier = Notifier(Notifications(quiet_hours=hours))
    assert (notifier.on_message(LOUD, is_seen=False, in_front=False, now=NOON) is None) == quiet


def test_quiet_hours_may_pass_midnight() -> None:
    hours = Notifications(quiet_hours="22:00-07:30")
    quiet = [hour for hour in range(24) if hours.is_quiet_at(NOON.replace(hour=hour, minute=15).time())]
    assert quiet == [0, 1, 2, 3, 4, 5, 6, 7, 22, 23]


def test_what_was_said_can_be_kept_off_the_desktop() -> None:
    notifier = Notifier(Notifications(show_text=False, bell=False))
    assert notifier.on_message(LOUD, is_seen=False, in_front=False, now=NOON) == Call(False, "bob", "said something")


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_nothing_hostile_reaches_the_desktop(text: str) -> None:
    message = msgspec.structs.replace(LOUD, text=text, sender=text)
    call = Notifier(Notifications()).on_message(message, is_seen=False, in_front=False, now=NOON)
    assert call is not None
    assert objections(call.title) == objections(call.text) == []
    assert "\n" not in call.title + call.text
    assert len(call.text) <= 200


class Told:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def send(self, *, title: str, message: str) -> None:
        self.told.append((title, message))


@pytest.mark.parametrize(
    "platform, shown",
    [("linux", "&lt;b&gt;x&lt;/b&gt; &amp; y"), ("win32", "<b>x</b> & y"), ("darwin", "<b>x</b> & y")],
)
async def test_a_body_with_markup_is_text(platform: str, shown: str) -> None:
    """freedesktop.org, Desktop Notifications Specification, "Markup": a body may have some, so it must be escaped."""
    desktop, told = Desktop(platform=platform), Told()
    desktop._notifier = told
    await desktop.show("bob", "<b>x</b> & y")
    assert told.told == [("bob", shown)]


async def test_without_the_extra_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "desktop_notifier", None)
    await Desktop().show("bob", "psst")
