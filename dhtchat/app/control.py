"""The control socket: other processes of the same user as faces of a running peer.

Both sides speak JSON, one object a line. A client begins with `Hello`. Then come `Request`s, numbered by the client; the
peer performs them in turn and says `done` with the number when all that answers one has been written. In between come events:
all of them for a client that listens, else only what answers. See docs/decisions/0017-control-socket.md.

One way in: `decode_hello` and `decode_request`. A client that breaks the rules or does not read loses its connection; the peer
never waits for one.
"""

import asyncio
import contextlib
import hmac
import logging
import os
import shutil
import socket
import struct
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Final, Self

import msgspec
from msgspec import Meta

from dhtchat.app.event_lines import Done
from dhtchat.app.faces import Face
from dhtchat.app.meeting_point import ADDRESS_FILE, Meeting, read_meeting
from dhtchat.app.node import ChatNode
from dhtchat.app.paths import make_folder, network_folder, profile_folder, write_private
from dhtchat.chat import intents
from dhtchat.chat.events import ErrorShown, Event, MessageArrived, StatusChanged, to_json
from dhtchat.chat.markup import clean
from dhtchat.errors import DhtChatError, MalformedMessage, NotDelivered, ProfileBusy, RemoteMisbehaved
from dhtchat.limits import (
    AWAY_BYTES_MAX,
    CONTROL_CLIENTS_MAX,
    CONTROL_EVENTS_MAX,
    CONTROL_HELLO_TIMEOUT_S,
    CONTROL_PATH_BYTES_MAX,
    CONTROL_REQUEST_BYTES_MAX,
    CONTROL_SEND_WAIT_S_MAX,
    CONTROL_SENDS_MAX,
    EMOJI_BYTES_MAX,
    REASON_BYTES_MAX,
)
from dhtchat.parameters import NetworkParameters

if TYPE_CHECKING:
    from filelock import BaseFileLock

log = logging.getLogger(__name__)

_SOCKET_FILE: Final = "control.sock"
_SECRET_BYTES: Final = 32
_SHORT_PREFIX: Final = "dhtchat-"
HAS_UNIX_SOCKETS: Final = os.name == "posix"


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a client."""

    hello: Annotated[int, Meta(ge=1, le=1)]
    """The version of what follows."""
    listens: bool = False
    secret: Annotated[str, Meta(max_length=2 * _SECRET_BYTES)] = ""
    """Where the socket is a port of this machine: what stands in the address file."""


class Send(intents.Intent, frozen=True):
    """Say something and wait for what becomes of it, for at most `wait_s`."""

    target: str
    text: str
    wait_s: Annotated[float, Meta(ge=0, le=CONTROL_SEND_WAIT_S_MAX)] = 30.0


class Stop(intents.Intent, frozen=True):
    """End the peer, once what was said is flushed. (`Quit` only takes leave of this face.)"""


Performed = (
    intents.SayTo
    | intents.JoinRoom
    | intents.PartRoom
    | intents.OpenQuery
    | intents.SwitchTo
    | intents.ListRooms
    | intents.ListUsers
    | intents.ListNames
    | intents.WhoIs
    | intents.ChangeTopic
    | intents.Grant
    | intents.Remove
    | intents.Invite
    | intents.ChangeMode
    | intents.MoveHand
    | intents.ShowHands
    | intents.ShowHistory
    | intents.Search
    | intents.ReplyTo
    | intents.EditLine
    | intents.DeleteLine
    | intents.ReactTo
    | intents.MarkRead
    | intents.SetAway
    | intents.Ignore
    | intents.Mute
    | intents.Notify
    | intents.ShowHelp
    | intents.ShowStatus
    | intents.Quit
)
"""What a face may want; a test compares it with all intents there are."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=0, le=2**53)]
    do: Performed | Send | Stop


_hello_decoder = msgspec.json.Decoder(Hello)
_request_decoder = msgspec.json.Decoder(Request)


def decode_hello(line: bytes) -> Hello:
    """Raises `MalformedMessage` and nothing else."""
    try:
        return _hello_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"no hello: {error}") from error


def decode_request(line: bytes) -> Request:
    """Raises `MalformedMessage` and nothing else."""
    try:
        request = _request_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"no request: {error}") from error
    match request.do:
        case intents.SetAway(str() as text):
            _check_bytes(text, AWAY_BYTES_MAX)
        case intents.Remove(why=text):
            _check_bytes(text, REASON_BYTES_MAX)
        case intents.ReactTo(emoji=text):
            _check_bytes(text, EMOJI_BYTES_MAX)
    return request


def _check_bytes(text: str, bytes_max: int) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > bytes_max:
        raise MalformedMessage(f"a text takes more than {bytes_max} bytes")


class Control:
    """The control socket of one peer. Use as an async context manager around the node, which is `serve`d once it is online.

    Entering claims the profile: raises `ProfileBusy` when another peer has it. Who connects before `serve` waits.
    """

    def __init__(
        self,
        data_dir: Path,
        parameters: NetworkParameters,
        profile: str,
        *,
        unix: bool = HAS_UNIX_SOCKETS,
        events_max: int = CONTROL_EVENTS_MAX,
    ) -> None:
        self._profile = profile
        self._folder = profile_folder(network_folder(data_dir, parameters), profile)
        self._unix = unix
        self._events_max = events_max
        self._lock: BaseFileLock
        self._server: asyncio.Server
        self._short_folder: Path | None = None
        self._secret = ""
        self._node: asyncio.Future[ChatNode]
        self._connections: set[asyncio.Task[None]] = set()
        self._stopping: set[asyncio.Task[None]] = set()
        """Those that have asked for the end: theirs is the sign that the profile is free again."""

    async def __aenter__(self) -> Self:
        from filelock import FileLock, Timeout

        make_folder(self._folder)
        self._lock = FileLock(self._folder / "control.lock", timeout=0, mode=0o600)
        try:
            self._lock.acquire()
        except Timeout:
            raise ProfileBusy(
                f"a peer of {self._profile} is running already",
                hint="Ask it, end it with 'dhtchat down', or name another --profile.",
            ) from None
        self._node = asyncio.get_running_loop().create_future()
        try:
            self._forget_last()
            await self._listen()
        except BaseException:
            self._lock.release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._node.cancel()
        self._forget_last()
        self._lock.release()
        for task in list(self._stopping):
            task.cancel()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def serve(self, node: ChatNode) -> None:
        """Those who have connected become faces of `node`, which is online."""
        self._node.set_result(node)

    async def take_leave(self) -> None:
        """The node has left: wait until its last words are written to those who read."""
        if self._connections:
            await asyncio.wait(self._connections, timeout=1.0)

    # --- the door ---

    async def _listen(self) -> None:
        limit = CONTROL_REQUEST_BYTES_MAX
        if self._unix:
            path = self._folder / _SOCKET_FILE
            if len(os.fsencode(path)) > CONTROL_PATH_BYTES_MAX:
                self._short_folder = Path(tempfile.mkdtemp(prefix=_SHORT_PREFIX))  # 0700
                path = self._short_folder / _SOCKET_FILE
            listener = socket.socket(socket.AF_UNIX)
            try:
                listener.bind(str(path))  # nobody gets in before `listen`
                path.chmod(0o600)
                self._server = await asyncio.start_unix_server(self._accepted, sock=listener, limit=limit)
            except BaseException:
                listener.close()
                raise
            meeting = Meeting(str(path) if self._short_folder else _SOCKET_FILE)
        else:
            self._secret = os.urandom(_SECRET_BYTES).hex()
            self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=limit)
            meeting = Meeting(None, self._server.sockets[0].getsockname()[1], self._secret)
        write_private(self._folder / ADDRESS_FILE, meeting.written())
        write_private(self._folder / "control.pid", f"{os.getpid()}\n".encode("ascii"))

    def _forget_last(self) -> None:
        """What this peer, or one that was killed, has left behind. We hold the lock: nobody else uses it."""
        meeting = read_meeting(self._folder)
        if meeting is not None and meeting.path is not None:
            folder = Path(meeting.path).parent
            if (
                folder != self._folder
                and folder.name.startswith(_SHORT_PREFIX)
                and folder.parent == Path(tempfile.gettempdir())
            ):
                shutil.rmtree(folder, ignore_errors=True)
        for name in (_SOCKET_FILE, ADDRESS_FILE, "control.pid"):
            (self._folder / name).unlink(missing_ok=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) + len(self._stopping) >= CONTROL_CLIENTS_MAX or not _is_same_user(writer):
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            if await self._greet(reader, writer):
                self._connections.remove(task)
                self._stopping.add(task)
                await asyncio.Event().wait()  # until the peer has ended, which ends us
        except (OSError, TimeoutError, asyncio.IncompleteReadError, MalformedMessage) as error:
            log.info("a control connection ended: %s", error)
        except asyncio.CancelledError:
            writer.transport.abort()  # the peer ends
        finally:
            self._connections.discard(task)
            self._stopping.discard(task)
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve it; whether it has asked for the end of the peer."""
        async with asyncio.timeout(CONTROL_HELLO_TIMEOUT_S):
            hello = decode_hello(await _line(reader))
        if not hmac.compare_digest(hello.secret.encode(), self._secret.encode()):
            raise MalformedMessage("a wrong secret")
        node = await asyncio.shield(self._node)
        if not node.is_online:  # it is leaving
            return False
        return await _Connection(node, reader, writer, hello, self._events_max).run()


class _Connection:
    """One client as a face of the node."""

    def __init__(
        self, node: ChatNode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello, events_max: int
    ) -> None:
        self._node = node
        self._reader = reader
        self._writer = writer
        self._listens = hello.listens
        self._face = Face(writer.transport.abort, listens=hello.listens, events_max=events_max)
        self._stops = False
        self._sends = asyncio.Semaphore(CONTROL_SENDS_MAX)

    async def run(self) -> bool:
        """Until either side ends it; whether it has asked for the end of the peer."""
        self._node.add_face(self._face)
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(tasks))
                await self._write()
                reading.cancel()
        except* (OSError, asyncio.IncompleteReadError, MalformedMessage) as group:
            raise group.exceptions[0] from None
        finally:
            self._node.remove_face(self._face)
        return self._stops

    async def _write(self) -> None:
        """Until the face is closed. Who does not read fills the face's queue, and is gone then."""
        async for event in self._face.events():
            self._writer.write(to_json(event).encode() + b"\n")
            await self._writer.drain()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                request = decode_request(await _line(self._reader))
                match request.do:
                    case Send():
                        await self._sends.acquire()
                        tasks.create_task(self._send(request.id, request.do))
                    case Stop():
                        self._stops = True
                        await self._node.leave()
                    case intents.Quit():
                        self._answer(Done(id=request.id))
                        break
                    case intent:
                        await self._node.perform(intent, self._face)
                        self._answer(Done(id=request.id))
        self._node.remove_face(self._face)

    def _answer(self, event: Event) -> None:
        self._face.stream.put(event)

    async def _send(self, number: int, send: Send) -> None:
        """What happens to the line is shown to whoever asked, whether they listen or not."""
        watching = Face(events_max=CONTROL_EVENTS_MAX)
        self._node.add_face(watching)
        state: str | None = None
        alone = False
        try:
            line = await self._node.say(send.target, send.text, watching)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(send.wait_s):
                    async for event in watching.events():
                        if not isinstance(event, MessageArrived | StatusChanged) or event.id != line:
                            continue
                        if not self._listens:
                            self._answer(event)
                        if isinstance(event, StatusChanged):
                            state, alone = event.state, event.members == 0
                            if alone or state in ("stored", "delivered", "read", "failed"):
                                break
            if state not in ("stored", "delivered", "read"):
                self._answer(_shown(_not_delivered(send.target, state, alone=alone)))
        except DhtChatError as error:
            self._answer(_shown(error))
        finally:
            self._node.remove_face(watching)
            self._sends.release()
            self._answer(Done(id=number, state=state))


def _not_delivered(target: str, state: str | None, *, alone: bool) -> NotDelivered:
    if alone:
        return NotDelivered(
            f"nobody else is in {target}", hint="Your line is kept; who comes later finds it in the history."
        )
    so_far = {None: "not yet on the disk", "queued": "waiting", "sent": "on its way"}.get(state, "given up")
    return NotDelivered(f"your line to {target} is {so_far}")


def _shown(error: DhtChatError) -> ErrorShown:
    code = "nobody-reachable" if isinstance(error, RemoteMisbehaved) else error.code
    return ErrorShown(code=code, message=clean(str(error)), hint=clean(error.hint))


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise MalformedMessage(f"a line of more than {CONTROL_REQUEST_BYTES_MAX} bytes") from error


def _is_same_user(writer: asyncio.StreamWriter) -> bool:
    """What the kernel says of the other side. Where it is not asked, the mode of the folder or the secret decides."""
    connection = writer.get_extra_info("socket")
    if sys.platform != "linux" or connection.family != socket.AF_UNIX:
        return True
    _, user, _ = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return user in (os.getuid(), 0)
