"""When a task has something to do next: it sleeps until then, or until somebody says that something has changed."""

import asyncio
from math import inf

from dhtchat.runtime import Clock


class Alarm:
    """For one sleeper. Whoever changes what it looks at calls `within` or `by`; what is asked before it sleeps counts as well.

    Times are those of `clock`, monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked_s = inf
        """When it has to be awake at the latest, for those who have asked since it woke up."""
        self._sleeper: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def within(self, delay_s: float = 0.0) -> None:
        """Wake it up so many seconds from now at the latest: what comes in between shares that look."""
        self.by(self._clock.monotonic() + delay_s)

    def by(self, at_s: float) -> None:
        """Wake it up at that time at the latest."""
        if at_s < self._asked_s:
            self._asked_s = at_s
            if self._sleeper is not None:
                self._set(at_s)

    async def sleep(self, until_s: float = inf) -> None:
        """Until then or until somebody asked for earlier; others get their turn in any case. One at a time."""
        self._sleeper = asyncio.get_running_loop().create_future()
        self._timer = None
        try:
            self._set(min(until_s, self._asked_s))
            await self._sleeper
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._sleeper = self._timer = None
            self._asked_s = inf

    def _set(self, at_s: float) -> None:
        """Unless it is woken up earlier anyway."""
        if at_s == inf:
            return
        loop = asyncio.get_running_loop()
        at_s += loop.time() - self._clock.monotonic()
        if self._timer is not None:
            if self._timer.when() <= at_s:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at_s, self._wake)

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
