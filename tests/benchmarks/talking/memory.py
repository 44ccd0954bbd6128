"""What links cost one end in memory: a process with one pool that others, in another process, dial."""

import asyncio
import gc
import random

from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.crypto.identity import SigningKey
from dhtchat.ids import DeviceId, Endpoint, PeerId
from dhtchat.parameters import SIM
from dhtchat.peer.link import Link
from dhtchat.peer.messages import PeerMessage
from dhtchat.peer.pool import LinkPool
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import sign_body
from dhtchat.runtime import real_runtime
from tests.benchmarks.networks.measuring import resident_bytes
from tests.benchmarks.talking.ends import START_BOUND_S, FarEnd, be_far

FIRST_LINKS = 8
"""Not counted: what the first ones need stays, however many follow."""
LINKS = 64


class _Counter:
    def __init__(self) -> None:
        self.links = 0
        self.news = asyncio.Event()

    async def link_up(self, link: Link) -> None:
        self.links += 1
        self.news.set()

    async def link_down(self, link: Link, reason: str) -> None:
        pass

    async def received(self, link: Link, message: PeerMessage) -> None:
        pass

    async def wait_for(self, links: int) -> None:
        async with asyncio.timeout(START_BOUND_S):
            while self.links < links:
                self.news.clear()
                await self.news.wait()


def _pool(name: str, handler: _Counter, tls: TlsIdentity) -> tuple[LinkPool, SigningKey, SigningKey]:
    source = random.Random(name)
    identity, device = SigningKey.generate(source), SigningKey.generate(source)
    certificate = sign_body(DeviceCertificate(name, device.public, 0), identity, SIM.network_id).raw
    pool = LinkPool(
        runtime=real_runtime(), parameters=SIM, device=device, certificate=certificate, tls=tls, handler=handler
    )
    return pool, identity, device


async def kib_per_8_links(first_links: int = FIRST_LINKS, links: int = LINKS) -> float:
    """By how much the process grows, in KiB for 8 of the later links."""
    counter = _Counter()
    pool, identity, device = _pool("dialled", counter, TlsIdentity(random.Random(1)))
    async with pool:
        at = await pool.listen(Endpoint("127.0.0.1", 0))
        whom = {"peer": identity.public.hex(), "device": device.public.hex(), "port": str(at.port)}
        first = await FarEnd.start("memory", first="0", count=str(first_links), **whom)
        await counter.wait_for(first_links)
        gc.collect()
        before = resident_bytes()
        more = await FarEnd.start("memory", first=str(first_links), count=str(links), **whom)
        await counter.wait_for(first_links + links)
        gc.collect()
        grown = resident_bytes() - before
        await first.stop()
        await more.stop()
    return 8 * grown / links / 1024


async def far(told: dict[str, str]) -> None:
    """Many people, each with a pool, who all dial one."""
    tls = TlsIdentity(random.Random(2))
    at = Endpoint("127.0.0.1", int(told["port"]))
    device, peer = DeviceId(bytes.fromhex(told["device"])), PeerId(bytes.fromhex(told["peer"]))
    async with asyncio.TaskGroup() as group:
        stop = asyncio.Event()

        async def dial(number: int) -> None:
            pool, _, _ = _pool(f"dialler{number}", _Counter(), tls)
            async with pool:
                pool.want(device, peer, [at])
                await stop.wait()

        for number in range(int(told["first"]), int(told["first"]) + int(told["count"])):
            group.create_task(dial(number))
        await be_far({})
        stop.set()
