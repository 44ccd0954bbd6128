"""Events on their way to a face: bounded, oldest chatter goes first."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from dhtchat.chat.events import Event, PresenceChanged, StatusChanged
from dhtchat.limits import EVENTS_WAITING_MAX

_CHATTER = (PresenceChanged, StatusChanged)


class EventStream:
    """One writer, one reader. `close` ends the reader once it has read what is there."""

    def __init__(self, on_overflow: Callable[[], None] | None = None, *, events_max: int | None = None) -> None:
        """`on_overflow`: called, once, in place of dropping anything; the stream is closed then."""
        self.on_overflow = on_overflow
        self._events_max = events_max or EVENTS_WAITING_MAX
        self._events: deque[Event] = deque()
        self._poked = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        if self._closed:
            return
        if len(self._events) >= self._events_max:
            if self.on_overflow is not None:
                self.close()
                self.on_overflow()
                return
            chatter = next((waiting for waiting in self._events if isinstance(waiting, _CHATTER)), self._events[0])
            self._events.remove(chatter)
        self._events.append(event)
        self._poked.set()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._poked.set()

    async def read(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed:
                return
            self._poked.clear()
            await self._poked.wait()
