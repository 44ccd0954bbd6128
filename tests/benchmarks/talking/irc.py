"""ngircd, a server in C that keeps nothing, without TLS: near, server, far, and the same way back, because IRC acknowledges
nothing by itself."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Callable

from tests.benchmarks.talking.ends import START_BOUND_S, FarEnd, NotInstalled, Talk, be_far, number_of, text_of

_CONNECT_POLL_S = 0.1
_CONFIGURATION = """\
[Global]
Name = irc.benchmark.test
Info = benchmark
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = "hello"
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
"""


class IrcTalk(Talk):
    may_idle = False
    _server: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        program = shutil.which("ngircd") or shutil.which("ngircd", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise NotInstalled("ngircd is left out: it is not installed; Debian has it as ngircd")
        port = _free_port()
        self.folder.chmod(0o755)  # it gives up its rights, if it has any
        configuration = self.folder / "ngircd.conf"
        configuration.write_text(_CONFIGURATION.format(port=port))
        quiet = asyncio.subprocess.DEVNULL
        self._server = await asyncio.create_subprocess_exec(
            program, "--nodaemon", "--config", str(configuration), stdin=quiet, stdout=quiet, stderr=quiet
        )
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._client = await _connect(port, "near", self._heard)
        self.far = await FarEnd.start("ngircd", port=str(port))

    async def say(self, number: int) -> bool:
        done = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._client.say("far", text_of(number))
        return await done

    def _heard(self, text: str) -> None:
        self._waiting.pop(number_of(text)).set_result(True)

    async def stop(self) -> None:
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._server.terminate()
        await self._server.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class _Client(asyncio.Protocol):
    """`heard` gets the texts that come in."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._left = b""
        self._transport: asyncio.Transport
        self.welcome = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def write(self, line: str) -> None:
        self._transport.write(f"{line}\r\n".encode())

    def say(self, name: str, text: str) -> None:
        self.write(f"PRIVMSG {name} :{text}")

    def data_received(self, data: bytes) -> None:
        *lines, self._left = (self._left + data).split(b"\r\n")
        for line in lines:
            words = line.decode().split(" ", 3)
            if words[0] == "PING":
                self.write(f"PONG {words[1]}")
            elif words[1] == "001":
                self.welcome.set()
            elif words[1] == "PRIVMSG":
                self._heard(words[3].removeprefix(":"))


async def _connect(port: int, name: str, heard: Callable[[str], None]) -> _Client:
    """Waits for the server to listen."""
    async with asyncio.timeout(START_BOUND_S):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, client = await asyncio.get_running_loop().create_connection(
                    lambda: _Client(heard), "127.0.0.1", port
                )
                break
            await asyncio.sleep(_CONNECT_POLL_S)
        client.write(f"NICK {name}")
        client.write(f"USER {name} 0 * :{name}")
        await client.welcome.wait()
    return client


async def far(told: dict[str, str]) -> None:
    client = await _connect(int(told["port"]), "far", lambda text: client.say("near", text[:8]))
    await be_far({})
