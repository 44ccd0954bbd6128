"""The scissors cut: what a pulled cable does is what tests of outages stand on."""

import asyncio
from typing import Any

import pytest

from dhtchat.ids import Endpoint
from tests.app.cables import CuttableNetwork, Exchange
from tests.app.town import LOOPBACK, until


class Notes(asyncio.Protocol, asyncio.DatagramProtocol):
    """What arrived, and how it ended."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.heard = b""
        self.ended: object = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = exc or "closed"


async def a_moment() -> None:
    """Long enough for loopback to carry what it will carry: there is no event for what does not happen."""
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("cut_side", ["client", "server"])
async def test_a_cut_stream_stalls_and_goes_on(cut_side: str) -> None:
    exchange = Exchange()
    networks = {side: CuttableNetwork(exchange) for side in ("client", "server")}
    there, here = Notes(), Notes()
    server, address = await networks["server"].listen(lambda: there, LOOPBACK)
    await networks["client"].connect(lambda: here, address)
    here.transport.write(b"one ")
    await until(lambda: there.heard == b"one ", "nothing arrives")
    networks[cut_side].cut()
    here.transport.write(b"two ")
    there.transport.write(b"three ")
    here.transport.write(b"four ")
    connecting = asyncio.create_task(networks["client"].connect(Notes, address))
    await a_moment()
    assert (there.heard, here.heard, here.ended, there.ended) == (b"one ", b"", None, None)
    assert not connecting.done()
    connecting.cancel()
    networks[cut_side].mend()
    await until(lambda: there.heard == b"one two four " and here.heard == b"three ", "it does not go on")

    # Closed while it is cut: this side is done at once, the other learns it later, after what was written.
    networks["client"].cut()
    here.transport.write(b"bye")
    here.transport.close()
    await until(lambda: here.ended, "closing hangs")
    await a_moment()
    assert there.ended is None
    networks["client"].mend()
    await until(lambda: there.ended, "the end does not arrive")
    assert there.heard.endswith(b"four bye")
    server.close()


async def test_an_abort_behind_a_cut_is_learnt_later_and_loses_what_was_written() -> None:
    network, other = CuttableNetwork(), CuttableNetwork()
    there, here = Notes(), Notes()
    server, address = await other.listen(lambda: there, LOOPBACK)
    await network.connect(lambda: here, address)
    await until(lambda: there.transport, "nobody is accepted")
    network.cut()
    here.transport.write(b"never")
    here.transport.abort()
    await until(lambda: here.ended, "aborting hangs")
    await a_moment()
    assert there.ended is None
    network.mend()
    await until(lambda: there.ended, "the end does not arrive")
    assert there.heard == b""
    server.close()


async def test_a_cut_swallows_datagrams_both_ways() -> None:
    networks = [CuttableNetwork(), CuttableNetwork()]
    ends: list[tuple[Notes, Endpoint]] = []
    for network in networks:
        notes = Notes()
        _, address = await network.open_datagrams(lambda notes=notes: notes, LOOPBACK)
        ends.append((notes, address))
    (first, at_first), (second, at_second) = ends
    first.transport.sendto(b"a", tuple(at_second))
    await until(lambda: second.heard == b"a", "nothing arrives")
    networks[0].cut()
    first.transport.sendto(b"b", tuple(at_second))
    second.transport.sendto(b"c", tuple(at_first))
    await a_moment()
    networks[0].mend()
    first.transport.sendto(b"d", tuple(at_second))
    second.transport.sendto(b"e", tuple(at_first))
    await until(
        lambda: second.heard == b"ad" and first.heard == b"e", "swallowed datagrams came, or later ones did not"
    )
    for notes, _ in ends:
        notes.transport.close()
