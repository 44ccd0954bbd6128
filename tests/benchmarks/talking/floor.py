"""The least that acknowledged talk can cost in Python: asyncio TLS 1.3 between two Protocols, and for each line one signature,
one check, and one SQLite commit (`synchronous=FULL`) on each side. Nothing else: no identities, no order, no history.

On a quiet machine the least is to commit on the loop, which has nothing else to do meanwhile. On a busy one it is to commit
in a thread: a thread that has hardly used its share wakes up at once. So both are measured, and the floor is the lower one.
"""

import asyncio
import random
import sqlite3
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.crypto.identity import SIGNATURE_BYTES, SigningKey, verify
from tests.benchmarks.talking.ends import DISK_FIRST_LINES, FarEnd, Talk, be_far, text_of

_LENGTH = struct.Struct("!I")
_NUMBER = struct.Struct("!Q")
_NETWORK = bytes(32)
_LOG_BYTES = 5_000_000


class FloorTalk(Talk):
    """A commit for each line."""

    system = "floor"
    first_lines = DISK_FIRST_LINES
    may_idle = False

    async def start(self) -> None:
        self._key = SigningKey.generate(random.Random("floor"))
        self._disk = Disk(self.folder / "near.db")
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._unsent: list[tuple[int, bytes]] = []
        self.far = await FarEnd.start(self.system, folder=str(self.folder), public=self._key.public.hex())
        tls = TlsIdentity(random.Random("near"))
        self._wire = Wire(self._acknowledged)
        await asyncio.get_running_loop().create_connection(
            lambda: self._wire, "127.0.0.1", self.far.hello["port"], ssl=tls.client_context
        )

    async def say(self, number: int) -> bool:
        body = _NUMBER.pack(number) + text_of(number).encode()
        done = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._unsent.append((number, self._key.sign("message", _NETWORK, body) + body))
        self._lines_signed()
        return await done

    def _lines_signed(self) -> None:
        self._send()

    def _send(self) -> None:
        lines, self._unsent = self._unsent, []
        self._disk.commit(lines)
        self._wire.write([raw for _, raw in lines])

    def _acknowledged(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self._waiting.pop(_NUMBER.unpack(frame)[0]).set_result(True)


class ThreadedTalk(FloorTalk):
    """A commit for each line, in a thread."""

    system = "threaded"

    async def say(self, number: int) -> bool:
        body = _NUMBER.pack(number) + text_of(number).encode()
        raw = self._key.sign("message", _NETWORK, body) + body
        done = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._disk.commit_in_thread([(number, raw)])
        self._wire.write([raw])
        return await done


class SharingTalk(FloorTalk):
    """Lines of one moment share a commit on either side."""

    system = "sharing"

    def _lines_signed(self) -> None:
        if len(self._unsent) == 1:
            asyncio.get_running_loop().call_soon(self._send)


class Disk:
    def __init__(self, file: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE lines (number INTEGER PRIMARY KEY, raw BLOB)")
        # As long as the write-ahead log gets before its first checkpoint: to overwrite it costs less than to make it longer.
        self._db.execute("INSERT INTO lines VALUES (-1, zeroblob(?))", (_LOG_BYTES,))
        self._db.execute("PRAGMA wal_checkpoint(RESTART)")

    def commit(self, lines: Sequence[tuple[int, bytes]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO lines VALUES (?,?)", lines)
        self._db.execute("COMMIT")

    async def commit_in_thread(self, lines: Sequence[tuple[int, bytes]]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self.commit, lines)


class Wire(asyncio.Protocol):
    """Frames with their length before them; those of one read are handed over together."""

    def __init__(self, heard: Callable[[Sequence[bytes]], None]) -> None:
        self._heard = heard
        self._left = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def write(self, frames: Sequence[bytes]) -> None:
        self._transport.write(b"".join(_LENGTH.pack(len(frame)) + frame for frame in frames))

    def data_received(self, data: bytes) -> None:
        data, at, frames = self._left + data, 0, []
        while len(data) - at >= _LENGTH.size:
            end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
            if end > len(data):
                break
            frames.append(data[at + _LENGTH.size : end])
            at = end
        self._left = data[at:]
        if frames:
            self._heard(frames)


async def far(told: dict[str, str], system: str) -> None:
    """Checks, commits, acknowledges."""
    public, disk = bytes.fromhex(told["public"]), Disk(Path(told["folder"]) / "far.db")
    async with asyncio.TaskGroup() as group:

        def make_wire() -> Wire:
            def heard(frames: Sequence[bytes]) -> None:
                for frame in frames:
                    assert verify(public, "message", _NETWORK, frame[SIGNATURE_BYTES:], frame[:SIGNATURE_BYTES])
                lines = [(_NUMBER.unpack_from(frame, SIGNATURE_BYTES)[0], frame) for frame in frames]
                for shared in [lines] if system == "sharing" else [[line] for line in lines]:
                    if system == "threaded":
                        group.create_task(keep(shared))
                    else:
                        disk.commit(shared)
                        acknowledge(shared)

            async def keep(lines: Sequence[tuple[int, bytes]]) -> None:
                await disk.commit_in_thread(lines)
                acknowledge(lines)

            def acknowledge(lines: Sequence[tuple[int, bytes]]) -> None:
                wire.write([_NUMBER.pack(number) for number, _ in lines])

            wire = Wire(heard)
            return wire

        context = TlsIdentity(random.Random("far")).server_context
        server = await asyncio.get_running_loop().create_server(make_wire, "127.0.0.1", 0, ssl=context)
        await be_far({"port": server.sockets[0].getsockname()[1]})
