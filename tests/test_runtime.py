"""The real runtime where it touches what users type: errors of the machine come out as `OSError` and nothing else."""

import asyncio
import random

import pytest

from dhtchat.ids import Endpoint
from dhtchat.runtime import RealClock, RealNetwork, Runtime, real_runtime
from tests.e2e.world import has_ipv6


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_numeric_address_resolves_to_itself(host: str) -> None:
    """Once each, with the port that was asked for."""
    assert await RealNetwork().resolve(host, 8468) == [Endpoint(host, 8468)]


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_an_impossible_name_is_an_os_error(host: str) -> None:
    """An empty or overlong label makes Python's name encoding raise `UnicodeError`: callers expect `OSError` only."""
    with pytest.raises(OSError, match="no host name"):
        await RealNetwork().resolve(host, 8468)


async def test_blocking_work_runs_where_it_should() -> None:
    """In a thread of its own, or inline where threads would break repeatability."""
    inline = Runtime(RealClock(), random.Random(1), RealNetwork(), inline=True)
    assert await inline.run_blocking(_is_loop_running) is True
    assert await real_runtime().run_blocking(_is_loop_running) is False


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_jitter_stays_within_its_share(rng: random.Random) -> None:
    """A quarter more or less, and rarely the same twice."""
    runtime = Runtime(RealClock(), rng, RealNetwork())
    drawn = [runtime.jitter(40) for _ in range(200)]
    assert all(30 <= interval_s <= 50 for interval_s in drawn)
    assert len(set(drawn)) > 190


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_all_interfaces_are_those_of_both_families(host: str) -> None:
    """`::` takes datagrams and streams over IPv6 and over IPv4, both on the port that was asked for."""
    network = RealNetwork()
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    ear = type(
        "Ear", (asyncio.DatagramProtocol,), {"datagram_received": lambda self, data, addr: heard.put_nowait(data)}
    )
    receiver, bound = await network.open_datagrams(ear, Endpoint("::", 0))
    sender, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=(host, bound.port)
    )
    sender.sendto(b"hello")
    async with asyncio.timeout(10):
        assert await heard.get() == b"hello"
    sender.close()
    receiver.close()

    connected = asyncio.Event()
    server, bound = await network.listen(
        type("Host", (asyncio.Protocol,), {"connection_made": lambda self, transport: connected.set()}),
        Endpoint("::", 0),
    )
    async with server:
        guest = await network.connect(asyncio.Protocol, Endpoint(host, bound.port))
        async with asyncio.timeout(10):
            await connected.wait()
        guest.close()


async def test_a_port_in_use_is_an_os_error_and_leaves_no_socket() -> None:
    """The same for one family and for both, where the socket is made here."""
    network = RealNetwork()
    transport, bound = await network.open_datagrams(asyncio.DatagramProtocol, Endpoint("0.0.0.0", 0))
    for host in ("0.0.0.0", "::"):
        with pytest.raises(OSError, match="in use"):
            await network.open_datagrams(asyncio.DatagramProtocol, Endpoint(host, bound.port))
    transport.close()
