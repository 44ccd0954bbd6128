"""Events on their way to a face: in order, bounded, and chatter goes first."""

import asyncio

import pytest

from dhtchat.app import event_stream
from dhtchat.app.event_stream import EventStream
from dhtchat.chat.events import Event, Notice, PresenceChanged, StatusChanged
from dhtchat.limits import EVENTS_WAITING_MAX


def note(number: int) -> Event:
    return Notice(message=str(number))


def presence(number: int) -> Event:
    return PresenceChanged(user=f"user{number}", online=True)


def status(number: int) -> Event:
    return StatusChanged(id=str(number), state="sent")


async def drained(stream: EventStream) -> list[Event]:
    stream.close()
    return [event async for event in stream.read()]


async def test_events_come_in_order_while_they_are_put() -> None:
    """One writer, one reader, neither waits for the other."""
    stream, got = EventStream(), []

    async def read() -> None:
        async for event in stream.read():
            got.append(event)

    reader = asyncio.create_task(read())
    for number in range(100):
        stream.put(note(number))
        if number % 9 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert got == [note(number) for number in range(100)]
    assert not reader.done()
    stream.close()
    await reader


async def test_close_drains_and_takes_nothing_more() -> None:
    """What was there is still read, `bye` last; what is put afterwards is not."""
    stream = EventStream()
    stream.put(note(1))
    stream.put(note(2))
    stream.close()
    stream.put(note(3))
    assert [event async for event in stream.read()] == [note(1), note(2)]
    assert [event async for event in stream.read()] == []


async def test_above_the_bound_the_oldest_chatter_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A face that does not read costs bounded memory; lines outlive presence and status."""
    monkeypatch.setattr(event_stream, "EVENTS_WAITING_MAX", 6)
    stream = EventStream()
    for event in (note(1), presence(1), note(2), status(1), presence(2), note(3)):
        stream.put(event)
    stream.put(note(4))
    stream.put(status(2))
    assert await drained(stream) == [note(1), note(2), presence(2), note(3), note(4), status(2)]


async def test_without_chatter_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is on disk, in /history."""
    monkeypatch.setattr(event_stream, "EVENTS_WAITING_MAX", 3)
    stream = EventStream()
    for number in range(5):
        stream.put(note(number))
    assert await drained(stream) == [note(2), note(3), note(4)]


async def test_the_bound_holds_at_its_real_size() -> None:
    """Nobody reads, everything arrives."""
    stream = EventStream()
    for number in range(EVENTS_WAITING_MAX + 100):
        stream.put(presence(number) if number % 2 else note(number))
    events = await drained(stream)
    assert len(events) == EVENTS_WAITING_MAX
    assert [event for event in events if isinstance(event, Notice)] == [
        note(number) for number in range(0, EVENTS_WAITING_MAX + 100, 2)
    ]
