"""The faces of a node: each gives intents and gets events, and has a current target of its own.

What answers a face's question goes to that face; what happens goes to all. Which face asks is known by the context in which
its intent is performed, so nothing on the way has to hand it on.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Final, Protocol

from dhtchat.app.event_stream import EventStream
from dhtchat.chat.events import (
    Bye,
    ErrorShown,
    Event,
    Found,
    Help,
    History,
    Names,
    Notice,
    PeerStatus,
    Rooms,
    TargetChanged,
    TopicChanged,
    Users,
    WhoIsAnswer,
)
from dhtchat.chat.intents import Intent

_ANSWERS: Final = (
    *(ErrorShown, Found, Help, History, Names, Notice),
    *(PeerStatus, Rooms, TargetChanged, Users, WhoIsAnswer),
)


class Screen(Protocol):
    """What line mode and its like need of a peer: a `ChatNode` in the same process, or `attached.Client.screen`."""

    def events(self) -> AsyncIterator[Event]: ...

    async def perform(self, intent: Intent) -> None: ...


class Face:
    """One screen, script or connection. `target` is where its plain lines go."""

    def __init__(
        self, on_overflow: Callable[[], None] | None = None, *, listens: bool = True, events_max: int | None = None
    ) -> None:
        """`on_overflow`: called instead of dropping events, once, when too many wait. `listens`: shown what happens, or only
        answers."""
        self.listens = listens
        self.target: str | None = None
        self.stream = EventStream(on_overflow, events_max=events_max)

    def events(self) -> AsyncIterator[Event]:
        """Everything to show, in order, until the face is closed. One reader."""
        return self.stream.read()


_asking: ContextVar[Face | None] = ContextVar("asking", default=None)


class Faces:
    """All faces of one node. `own` is that of whoever made the node, and the one meant where no other asks."""

    def __init__(self) -> None:
        self.own = Face()
        self._open: dict[Face, None] = {self.own: None}

    def __iter__(self) -> Iterator[Face]:
        return iter(list(self._open))

    @property
    def asking(self) -> Face:
        """Whose intent is performed right now."""
        face = _asking.get()
        return face if face is not None and face in self._open else self.own

    def add(self, face: Face) -> None:
        self._open[face] = None

    def remove(self, face: Face) -> None:
        self._open.pop(face, None)
        face.stream.close()

    @contextlib.contextmanager
    def asked_by(self, face: Face) -> Iterator[None]:
        token = _asking.set(face)
        try:
            yield
        finally:
            _asking.reset(token)

    def put(self, event: Event) -> None:
        """An answer to the face that asks, everything else to all of them."""
        asking = _asking.get()
        is_answer = isinstance(event, _ANSWERS) or (isinstance(event, TopicChanged) and event.by is None)
        if is_answer and asking is not None and asking in self._open:
            asking.stream.put(event)
            return
        for face in self:
            if face.listens or isinstance(event, Bye):
                face.stream.put(event)

    def close(self) -> None:
        for face in self:
            face.stream.close()
