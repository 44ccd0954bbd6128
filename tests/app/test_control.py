"""The control socket against clients that break the rules, lag behind or come too early, and the door it hangs on."""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.app.attached import Client, attach
from dhtchat.app.control import Control, Performed, Request, Send, Stop, decode_hello, decode_request
from dhtchat.app.event_lines import decode_event
from dhtchat.app.faces import Face, Faces
from dhtchat.app.meeting_point import meet, read_meeting
from dhtchat.app.paths import network_folder
from dhtchat.chat import intents
from dhtchat.chat.events import Bye, ErrorShown, Event, Notice, PeerStatus, PresenceChanged, Ready
from dhtchat.errors import MalformedMessage, NotRunning, ProfileBusy
from dhtchat.limits import AWAY_BYTES_MAX, CONTROL_REQUEST_BYTES_MAX, HISTORY_LINES_MAX
from dhtchat.parameters import SIM

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Unix sockets")
READY = Ready(user="alice", fingerprint="f", address="127.0.0.1:1", peers=1, version="0")
STATUS = PeerStatus(user="alice", address="127.0.0.1:1", peers=1, links=0, rooms=[], since="2026-01-01T00:00:00Z")


class Node:
    """What the socket uses of a `ChatNode`: its faces."""

    def __init__(self) -> None:
        self.faces = Faces()
        self.performed: list[intents.Intent] = []
        self.is_online = True

    def add_face(self, face: Face) -> None:
        face.stream.put(READY)
        self.faces.add(face)

    def remove_face(self, face: Face) -> None:
        self.faces.remove(face)

    async def perform(self, intent: intents.Intent, face: Face) -> None:
        with self.faces.asked_by(face):
            self.performed.append(intent)
            self.faces.put(STATUS if isinstance(intent, intents.ShowStatus) else Notice(message="done"))

    async def leave(self) -> None:
        self.is_online = False
        self.faces.put(Bye())
        self.faces.close()


def folder_of(data_dir: Path) -> Path:
    return network_folder(data_dir, SIM) / "alice"


@contextlib.asynccontextmanager
async def served(data_dir: Path, **options: Any) -> AsyncIterator[Node]:
    node = Node()
    async with Control(data_dir, SIM, "alice", **options) as control:
        control.serve(node)  # type: ignore[arg-type]
        yield node


async def raw(data_dir: Path, *lines: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that says what it likes."""
    connection, _ = meet(folder_of(data_dir))
    connection.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=connection)
    writer.write(b"".join(lines))
    return reader, writer


async def first(client: Client, wanted: Callable[[Event], bool]) -> Event:
    async with asyncio.timeout(10.0):
        async for event in client.events():
            if wanted(event):
                return event
    raise AssertionError("the events ended")


# --- decoding ---------------------------------------------------------------------------------------------------------


@given(
    line=st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_decoded_or_refused(line: bytes) -> None:
    for decode in (decode_hello, decode_request, decode_event):
        with contextlib.suppress(MalformedMessage):
            decode(line)


def test_every_intent_can_be_asked_for() -> None:
    assert set(get_args(Performed)) == set(intents.Intent.__subclasses__()) - {Send, Stop}


@pytest.mark.parametrize(
    "do",
    [
        {"type": "SetAway", "text": "\u20ac" * (AWAY_BYTES_MAX // 3 + 1)},
        {"type": "ShowHistory", "count": HISTORY_LINES_MAX + 1},
        {"type": "ShowHistory", "count": 0},
        {"type": "Send", "target": "bob", "text": "hi", "wait_s": -1},
        {"type": "ShowStatus", "more": 1},
        {"type": "Intent"},
        {},
    ],
)
def test_what_no_face_asks_for_is_refused(do: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        decode_request(json.dumps({"id": 1, "do": do}).encode())


def test_a_request_is_read_as_it_is_written() -> None:
    line = b'{"id": 7, "do": {"type": "SayTo", "text": "hi", "target": "bob"}}'
    assert decode_request(line) == Request(7, intents.SayTo("hi", "bob"))
    assert decode_event(b'{"event": "from-the-future", "x": 1}') is None


# --- faces ------------------------------------------------------------------------------------------------------------


async def test_answers_go_to_who_asks_and_news_to_all(tmp_path: Path) -> None:
    async with served(tmp_path) as node, attach(folder_of(tmp_path)) as one, attach(folder_of(tmp_path)) as other:
        assert await one.perform("/status") == [STATUS]
        node.faces.put(PresenceChanged(user="bob", online=True))
        assert await first(other, lambda event: True) == PresenceChanged(user="bob", online=True)
        node.faces.put(ErrorShown(code="disk", message="m", hint="h"))
        assert isinstance(await first(one, lambda event: isinstance(event, ErrorShown)), ErrorShown)
        assert node.performed == [intents.ShowStatus()]


async def test_a_client_that_does_not_listen_hears_answers_only(tmp_path: Path) -> None:
    async with served(tmp_path) as node:
        reader, writer = await raw(tmp_path, b'{"hello": 1}\n')
        assert json.loads(await reader.readline())["event"] == "ready"
        node.faces.put(PresenceChanged(user="bob", online=True))
        writer.write(b'{"id": 5, "do": {"type": "ShowStatus"}}\n')
        assert [json.loads(await reader.readline())["event"] for _ in range(2)] == ["peer-status", "done"]
        writer.close()


async def test_who_comes_early_waits_until_the_peer_is_online(tmp_path: Path) -> None:
    async with Control(tmp_path, SIM, "alice") as control:
        reader, writer = await raw(tmp_path, b'{"hello": 1}\n')
        waiting = asyncio.create_task(reader.readline())
        await asyncio.sleep(0)
        assert not waiting.done()
        control.serve(Node())  # type: ignore[arg-type]
        assert json.loads(await asyncio.wait_for(waiting, 10.0))["event"] == "ready"
        writer.close()


async def test_who_waits_for_a_peer_that_gives_up_is_told(tmp_path: Path) -> None:
    async with Control(tmp_path, SIM, "alice"):
        waiting = asyncio.create_task(attach(folder_of(tmp_path)).__aenter__())
        await asyncio.sleep(0.05)
    with pytest.raises(NotRunning):
        await asyncio.wait_for(waiting, 10.0)


async def test_a_slow_listener_loses_its_connection_and_slows_nobody(tmp_path: Path) -> None:
    """It does not read; the peer goes on, keeps a bounded number of events for it, and another face hears them all."""
    news = Notice(message="x" * 10_000)
    async with served(tmp_path, events_max=50) as node, attach(folder_of(tmp_path)) as reading:
        _, writer = await raw(tmp_path, b'{"hello": 1, "listens": true}\n')
        async with asyncio.timeout(20.0):
            while len(list(node.faces)) < 3:  # noqa: ASYNC110 - of the other side there is no event to wait for
                await asyncio.sleep(0.001)
            events = reading.events()
            heard = 0
            while len([face for face in node.faces if not face.stream.closed]) == 3:
                node.faces.put(news)
                assert await anext(events) == news
                heard += 1
        assert 50 < heard < 5_000
        node.faces.put(news)
        assert await anext(events) == news
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        b"rubbish\n",
        b'{"hello": 2}\n',
        b'{"hello": 1}\nrubbish\n',
        b'{"hello": 1}\n{"id": 1, "do": {"type": "Nonsense"}}\n',
        b'{"hello": 1}\n' + b"x" * (CONTROL_REQUEST_BYTES_MAX + 1),
    ],
)
async def test_who_breaks_the_rules_loses_the_connection(tmp_path: Path, lines: bytes) -> None:
    async with served(tmp_path), attach(folder_of(tmp_path)) as other:
        reader, writer = await raw(tmp_path, lines)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 10.0)
        writer.close()
        assert await other.perform("/status") == [STATUS]


async def test_who_stops_the_peer_hears_when_the_profile_is_free_again(tmp_path: Path) -> None:
    """So that `up` right after `down` finds nobody; and who connects while it leaves is not served any more."""
    async with served(tmp_path):
        reader, writer = await raw(tmp_path, b'{"hello": 1}\n{"id": 1, "do": {"type": "Stop"}}\n')
        assert [json.loads(await reader.readline())["event"] for _ in range(2)] == ["ready", "bye"]
        end = asyncio.create_task(reader.read())
        with pytest.raises(NotRunning):
            async with attach(folder_of(tmp_path)):
                pass
        assert not end.done()
    assert await asyncio.wait_for(end, 10.0) == b""
    writer.close()
    async with served(tmp_path):
        pass


# --- the door ---------------------------------------------------------------------------------------------------------


async def test_a_profile_has_one_peer(tmp_path: Path) -> None:
    async with served(tmp_path):
        with pytest.raises(ProfileBusy):
            async with Control(tmp_path, SIM, "alice"):
                pass
    async with served(tmp_path):
        pass


async def test_what_a_killed_peer_left_behind_is_removed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "control.sock"))
    (folder / "control.address").write_text("unix\ncontrol.sock\n")
    with pytest.raises(NotRunning):
        meet(folder)
    async with served(tmp_path), attach(folder) as client:
        assert client.ready == READY
    assert [file.name for file in folder.iterdir() if file.suffix != ".lock"] == []


async def test_a_long_path_gets_a_short_socket_that_is_private_too(tmp_path: Path) -> None:
    """ "mind the 108-byte path limit": a private folder of its own, gone with the peer."""
    data_dir = tmp_path / ("d" * 100)
    async with served(data_dir), attach(folder_of(data_dir)) as client:
        assert client.ready == READY
        meeting = read_meeting(folder_of(data_dir))
        assert meeting is not None
        path = Path(str(meeting.path))
        assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert not path.parent.exists()


async def test_without_unix_sockets_a_port_asks_for_the_secret(tmp_path: Path) -> None:
    """As on Windows."""
    async with served(tmp_path, unix=False), attach(folder_of(tmp_path)) as client:
        assert client.ready == READY
        file = folder_of(tmp_path) / "control.address"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        reader, writer = await raw(tmp_path, b'{"hello": 1, "secret": "guessed"}\n')
        assert await asyncio.wait_for(reader.read(), 10.0) == b""
        writer.close()


@pytest.mark.parametrize("content", [b"", b"unix\n", b"tcp\nx\ny\n", b"tcp\n1\n", b"\xff\xfe\n", b"smoke\nsignals\n"])
def test_a_damaged_address_is_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "control.address").write_bytes(content)
    with pytest.raises(NotRunning):
        meet(tmp_path)
