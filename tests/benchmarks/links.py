"""A proved link against the floor: an asyncio TLS 1.3 echo between two Protocols, both ends in one process."""

import asyncio
import random
import statistics
import time
from collections.abc import Iterator

from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.crypto.identity import SigningKey
from dhtchat.ids import DeviceId, Endpoint, PeerId
from dhtchat.parameters import SIM
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Committed, PeerMessage
from dhtchat.peer.pool import LinkPool
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import sign_body
from dhtchat.runtime import real_runtime
from tests.benchmarks.figures import Figure

ROUND_TRIPS = 2_000
PAYLOAD = Committed([bytes(16)] * 12)
"""About 220 bytes, as a short signed line."""


def measure() -> Iterator[Figure]:
    ours_us, opened_ms = asyncio.run(_link_round_trips())
    floor_us = asyncio.run(_floor_round_trips())
    yield Figure("round trip over a link, p50", ours_us, "us", "asyncio TLS floor", floor_us)
    yield Figure("dial, TLS and proof of both identities", opened_ms, "ms")


class _Echo:
    """Sends back what it gets; the dialling side counts instead."""

    def __init__(self, *, echo: bool) -> None:
        self._echo = echo
        self.up: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self.came = asyncio.Event()

    async def link_up(self, link: Link) -> None:
        self.up.set_result(link)

    async def link_down(self, link: Link, reason: str) -> None:
        pass

    async def received(self, link: Link, message: PeerMessage) -> None:
        if self._echo:
            link.send_soon(message)
        else:
            self.came.set()


def _pool(name: str, handler: _Echo) -> tuple[LinkPool, SigningKey, SigningKey]:
    source = random.Random(name)
    identity, device = SigningKey.generate(source), SigningKey.generate(source)
    certificate = sign_body(DeviceCertificate(name, device.public, 0), identity, SIM.network_id).raw
    pool = LinkPool(
        runtime=real_runtime(),
        parameters=SIM,
        device=device,
        certificate=certificate,
        tls=TlsIdentity(source),
        handler=handler,
    )
    return pool, identity, device


async def _link_round_trips() -> tuple[float, float]:
    here, there = _Echo(echo=False), _Echo(echo=True)
    (near, _, _), (far, far_identity, far_device) = _pool("alice", here), _pool("bobby", there)
    async with far, near:
        at = await far.listen(Endpoint("127.0.0.1", 0))
        started_s = time.perf_counter()
        near.want(DeviceId(far_device.public), PeerId(far_identity.public), [at])
        link = await here.up
        opened_ms = 1000 * (time.perf_counter() - started_s)
        times_us = []
        for _ in range(ROUND_TRIPS):
            started_s = time.perf_counter()
            here.came.clear()
            link.send_soon(PAYLOAD)
            await here.came.wait()
            times_us.append(1e6 * (time.perf_counter() - started_s))
    return statistics.median(times_us), opened_ms


class _FloorEnd(asyncio.Protocol):
    def __init__(self, *, echo: bool) -> None:
        self._echo = echo
        self.came = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._echo:
            self.transport.write(data)
        else:
            self.came.set()


async def _floor_round_trips() -> float:
    loop = asyncio.get_running_loop()
    tls = TlsIdentity(random.Random(1))
    server = await loop.create_server(lambda: _FloorEnd(echo=True), "127.0.0.1", 0, ssl=tls.server_context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        transport, end = await loop.create_connection(
            lambda: _FloorEnd(echo=False), "127.0.0.1", port, ssl=tls.client_context
        )
        payload = bytes(220)
        times_us = []
        for _ in range(ROUND_TRIPS):
            started_s = time.perf_counter()
            end.came.clear()
            transport.write(payload)
            await end.came.wait()
            times_us.append(1e6 * (time.perf_counter() - started_s))
        transport.abort()
        await asyncio.sleep(0)
    return statistics.median(times_us)
