"""A face of a peer that runs in another process: intents in, events out, over the control socket.

`from dhtchat import connect` is `connect` from here:

    async with connect("alice") as client:
        await client.send("#garden", "it rains")
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from dhtchat.app.control import Request, Send, Stop
from dhtchat.app.event_lines import Done, decode_event
from dhtchat.app.event_stream import EventStream
from dhtchat.app.meeting_point import Meeting, connect_to_peer, meet
from dhtchat.chat.commands import parse_line
from dhtchat.chat.events import ErrorShown, Event, Ready
from dhtchat.chat.intents import Intent, MarkRead
from dhtchat.errors import BadUsage, DhtChatError, MalformedMessage, NotRunning, error_of
from dhtchat.limits import CONTROL_ANSWER_BYTES_MAX, CONTROL_EVENTS_MAX

_encoder: Final = msgspec.json.Encoder()


def connect(profile: str | None = None, *, data_dir: Path | str | None = None, network: str = "main") -> "Client":
    """The running peer of a profile (default: the last one used) as an async context manager. Entering it raises
    `NotRunning` when there is none."""
    return Client(lambda: connect_to_peer(Path(data_dir) if data_dir else None, profile, network))


def attach(folder: Path) -> "Client":
    """The same by the folder of the profile."""
    return Client(lambda: (*meet(folder), folder.name))


class Client:
    """A face of a running peer. Leaving the block leaves the peer as it is."""

    ready: Ready
    """Who it is, as the peer said when we came."""

    profile: str

    def __init__(self, find: Callable[[], tuple[socket.socket, Meeting, str]]) -> None:
        self._find = find
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._answers: dict[int, list[Event]] = {}
        self._stream: EventStream
        self._following: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        connection, meeting, self.profile = await asyncio.to_thread(self._find)
        connection.setblocking(False)
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=CONTROL_ANSWER_BYTES_MAX)
        self._stream = EventStream(events_max=CONTROL_EVENTS_MAX)
        try:
            self._write({"hello": 1, "listens": True, "secret": meeting.secret})
            first = await self._next()
            if not isinstance(first, Ready):
                raise NotRunning("the peer ended before it was online")
        except BaseException:
            self._writer.transport.abort()
            raise
        self.ready = first
        self._following = asyncio.create_task(self._follow(), name="attached")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        self._writer.transport.abort()

    def require_user(self, name: str) -> None:
        """Raises `BadUsage` when it is the peer of somebody else."""
        if self.ready.user != name:
            raise BadUsage(
                f"the peer that runs in this profile is that of {self.ready.user}",
                hint="Name another one with --profile.",
            )

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens from now on, and what answers `perform`, in order, until the peer ends. One reader.

        Who reads too slowly loses the connection; what was said then is in the history. Of what came before this is first
        called, the latest is kept.
        """
        self._stream.on_overflow = self._writer.transport.abort
        return self._stream.read()

    def repeat_ready(self) -> None:
        """Let `ready` come with `events` too, for a face that learns from those alone whether its peer is online."""
        self._stream.put(self.ready)

    async def perform(self, wanted: str | Intent) -> list[Event]:
        """Do what a line in the chat does, such as `/join #room`, or an intent. Returns the events until it was done: those
        that answer, and what else happened meanwhile. Raises the first error among them."""
        intent = parse_line(wanted) if isinstance(wanted, str) else wanted
        if intent is None:
            return []
        _, events = await self._request(intent)
        for event in events:
            if isinstance(event, ErrorShown):
                raise error_of(event.code, event.message, event.hint)
        return events

    @property
    def screen(self) -> "AttachedFace":
        """What a screen needs of a peer, here of one in another process."""
        return AttachedFace(self)

    async def tell(self, intent: Intent) -> None:
        """As `perform`, but errors come with `events` as everything else does."""
        await self._request(intent)

    def mention(self, intent: Intent) -> None:
        """Without waiting until it is done."""
        self._write(msgspec.structs.asdict(Request(next(self._numbers), intent)))  # type: ignore[arg-type]

    async def send(self, target: str, text: str, *, wait_s: float = 30.0) -> str:
        """Say `text` to `#room` or a person and wait for what becomes of it: `delivered`, `read` or `stored`. Raises
        `NotDelivered` and what else goes wrong."""
        done, events = await self._request(Send(target, text, wait_s))
        if done.state in ("delivered", "read", "stored"):
            return done.state
        for event in reversed(events):
            if isinstance(event, ErrorShown):
                raise error_of(event.code, event.message, event.hint)
        raise DhtChatError(f"the peer does not say what became of the line to {target}")

    async def stop(self) -> None:
        """End the peer; returns when it says that it has ended."""
        with contextlib.suppress(NotRunning):
            await self._request(Stop())

    # --- inside ---

    async def _request(self, intent: Intent) -> tuple[Done, list[Event]]:
        if self._following.done():
            raise NotRunning("the peer has ended")
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._answers[number] = []
        try:
            self._write(msgspec.structs.asdict(Request(number, intent)))  # type: ignore[arg-type]
            await self._writer.drain()
            return await waiting, self._answers[number]
        except ConnectionError:
            raise NotRunning("the peer has ended") from None
        finally:
            del self._waiting[number], self._answers[number]

    def _write(self, thing: dict[str, Any]) -> None:
        self._writer.write(_encoder.encode(thing) + b"\n")

    async def _next(self) -> Event | None:
        """The next event; None at the end."""
        while line := await self._reader.readline():
            event = decode_event(line)
            if event is not None:
                return event
        return None

    async def _follow(self) -> None:
        try:
            while (event := await self._next()) is not None:
                if isinstance(event, Done):
                    waiting = self._waiting.get(event.id)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(event)
                    continue
                for heard in self._answers.values():
                    heard.append(event)
                self._stream.put(event)
        except (ConnectionError, ValueError, MalformedMessage):
            pass  # the end all the same
        finally:
            self._stream.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(NotRunning("the peer has ended"))


class AttachedFace:
    """`faces.Screen` of a peer in another process."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def events(self) -> AsyncIterator[Event]:
        return self._client.events()

    async def perform(self, intent: Intent) -> None:
        try:
            if isinstance(intent, MarkRead):
                self._client.mention(intent)  # what is printed waits for nothing
            else:
                await self._client.tell(intent)
        except NotRunning:
            pass  # the events end, too: whoever reads them sees it
