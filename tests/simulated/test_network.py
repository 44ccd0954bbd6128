"""The network in memory: what it promises to nodes, and what it does to them."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from dhtchat.ids import Endpoint
from simulations.faults import Faults
from simulations.loop import VirtualLoop
from simulations.network import (
    CONNECT_TIMEOUT_S,
    GIVE_UP_S,
    MTU_PAYLOAD_BYTES,
    STREAM_WINDOW_BYTES,
    Fabric,
    Latency,
    Stream,
)

HERE, THERE = Endpoint("10.0.0.1", 1_000), Endpoint("10.0.0.2", 2_000)


class Sink(asyncio.Protocol):
    """Keeps what comes and when."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.at_s: list[float] = []
        self.lost: list[Exception | None] = []
        self.writing = True
        self.eof = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Stream)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.at_s.append(asyncio.get_running_loop().time())

    def eof_received(self) -> bool:
        self.eof = True
        return False

    def pause_writing(self) -> None:
        self.writing = False

    def resume_writing(self) -> None:
        self.writing = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.datagrams.append(data)


class Net:
    """A fabric on a loop of its own."""

    def __init__(self, seed: int = 1) -> None:
        self.loop = VirtualLoop()
        self.fabric = Fabric(self.loop, random.Random(seed), Latency())
        self.faults = Faults(self.fabric)

    def run(self, play: Coroutine[Any, Any, None]) -> None:
        self.loop.run(play)
        assert self.loop.complaints == []

    async def pair(self) -> tuple[Sink, Sink]:
        """Two ends of a stream."""
        far = Sink()
        self.fabric.listen(THERE, lambda: far)
        near = Sink()
        await self.fabric.connect(HERE, THERE, lambda: near)
        await asyncio.sleep(0.1)
        return near, far


@pytest.fixture
def net() -> Net:
    return Net()


# --- datagrams --------------------------------------------------------------------------------------------------------


def bound(net: Net) -> tuple[Any, Inbox]:
    inbox = Inbox()
    net.fabric.bind(THERE, inbox)
    return net.fabric.bind(HERE, asyncio.DatagramProtocol()), inbox


def test_a_datagram_takes_its_latency(net: Net) -> None:
    async def play() -> None:
        socket, inbox = bound(net)
        socket.sendto(b"hello", tuple(THERE))
        await asyncio.sleep(net.fabric.latency.low_s - 0.001)
        assert inbox.datagrams == []
        await asyncio.sleep(net.fabric.latency.high_s)
        assert inbox.datagrams == [b"hello"]

    net.run(play())


def test_a_datagram_above_the_mtu_is_lost(net: Net) -> None:
    async def play() -> None:
        socket, inbox = bound(net)
        socket.sendto(bytes(MTU_PAYLOAD_BYTES + 1), tuple(THERE))
        socket.sendto(bytes(MTU_PAYLOAD_BYTES), tuple(THERE))
        await asyncio.sleep(1.0)
        assert [len(data) for data in inbox.datagrams] == [MTU_PAYLOAD_BYTES]

    net.run(play())


def test_loss_duplication_and_reordering_do_what_they_say(net: Net) -> None:
    async def play() -> None:
        socket, inbox = bound(net)
        sent = [number.to_bytes(2, "big") for number in range(1_000)]

        async def received() -> list[bytes]:
            inbox.datagrams.clear()
            for data in sent:
                socket.sendto(data, tuple(THERE))
                await asyncio.sleep(0.1)
            return list(inbox.datagrams)

        assert await received() == sent
        with net.faults.loss(0.2):
            arrived = await received()
            assert 700 < len(arrived) < 900
            assert arrived == sorted(arrived)
        with net.faults.duplication(0.2):
            assert 1_100 < len(await received()) < 1_300
        with net.faults.reordering(0.5, delay_s=1.0):
            arrived = await received()
            await asyncio.sleep(1.0)
            assert arrived != sorted(arrived)
            assert sorted(inbox.datagrams) == sent
        assert await received() == sent

    net.run(play())


def test_an_address_is_bound_once_until_it_is_closed(net: Net) -> None:
    async def play() -> None:
        socket, _ = bound(net)
        with pytest.raises(OSError, match="address in use"):
            net.fabric.bind(HERE, asyncio.DatagramProtocol())
        socket.close()
        net.fabric.bind(HERE, asyncio.DatagramProtocol())

    net.run(play())


# --- streams ----------------------------------------------------------------------------------------------------------


def test_streams_keep_their_order_under_loss_at_the_price_of_time(net: Net) -> None:
    async def play() -> None:
        near, far = await net.pair()
        parts = [number.to_bytes(4, "big") for number in range(300)]
        with net.faults.loss(0.3):
            for part in parts:
                near.transport.write(part)
                far.transport.write(part)
                await asyncio.sleep(0.01)
            await asyncio.sleep(120.0)
        for end in (near, far):
            assert bytes(end.data) == b"".join(parts)
            assert end.at_s == sorted(end.at_s)
        assert net.fabric.counts["datagrams"] == 0

    net.run(play())


def test_a_writer_is_paused_until_the_reader_reads(net: Net) -> None:
    async def play() -> None:
        near, far = await net.pair()
        far.transport.pause_reading()
        near.transport.write(bytes(STREAM_WINDOW_BYTES))
        assert near.writing
        near.transport.write(b"x")
        assert not near.writing
        await asyncio.sleep(10.0)
        assert not near.writing
        assert far.data == b""
        far.transport.resume_reading()
        await asyncio.sleep(1.0)
        assert near.writing
        assert len(far.data) == STREAM_WINDOW_BYTES + 1

    net.run(play())


def test_a_short_partition_only_delays(net: Net) -> None:
    async def play() -> None:
        near, far = await net.pair()
        with net.faults.partition([HERE.host], [THERE.host]):
            near.transport.write(b"one ")
            near.transport.write(b"two")
            await asyncio.sleep(GIVE_UP_S / 2)
            assert far.data == b""
        await asyncio.sleep(10.0)
        assert far.data == b"one two"
        assert near.lost == far.lost == []

    net.run(play())


def test_a_long_partition_resets_whoever_has_something_to_say(net: Net) -> None:
    async def play() -> None:
        near, far = await net.pair()
        with net.faults.partition([HERE.host], [THERE.host]):
            near.transport.write(b"hello?")
            await asyncio.sleep(2 * GIVE_UP_S)
            assert [type(error) for error in near.lost] == [TimeoutError]
            assert far.lost == []  # nobody told it
        far.transport.write(b"still there?")
        await asyncio.sleep(1.0)
        assert [type(error) for error in far.lost] == [ConnectionResetError]
        assert far.data == b""

    net.run(play())


def test_one_way_partitions_stop_one_direction(net: Net) -> None:
    async def play() -> None:
        near, far = await net.pair()
        with net.faults.partition([HERE.host], [THERE.host], one_way=True):
            near.transport.write(b"to there")
            far.transport.write(b"to here")
            await asyncio.sleep(5.0)
            assert near.data == b"to here"
            assert far.data == b""

    net.run(play())


def test_closing_is_seen_behind_all_that_was_written(net: Net) -> None:
    async def play() -> None:
        near, far = await net.pair()
        near.transport.write(b"last words")
        near.transport.close()
        await asyncio.sleep(1.0)
        assert far.data == b"last words"
        assert far.eof
        assert (near.lost, far.lost) == ([None], [None])

    net.run(play())


def test_aborting_resets_the_other_end(net: Net) -> None:
    async def play() -> None:
        near, far = await net.pair()
        near.transport.abort()
        await asyncio.sleep(1.0)
        assert [type(error) for error in far.lost] == [ConnectionResetError]

    net.run(play())


# --- connecting -------------------------------------------------------------------------------------------------------


def test_nobody_listening_refuses(net: Net) -> None:
    async def play() -> None:
        with pytest.raises(ConnectionRefusedError):
            await net.fabric.connect(HERE, THERE, Sink)

    net.run(play())


def test_a_dial_into_the_dark_times_out(net: Net) -> None:
    async def play() -> None:
        net.fabric.listen(THERE, Sink)
        with net.faults.partition([HERE.host], [THERE.host]), pytest.raises(TimeoutError):
            await net.fabric.connect(HERE, THERE, Sink)
        assert CONNECT_TIMEOUT_S / 2 < net.loop.time() <= CONNECT_TIMEOUT_S

    net.run(play())


def test_the_same_seed_leaves_the_same_trace() -> None:
    def trace(seed: int) -> str:
        net = Net(seed)

        async def play() -> None:
            near, _ = await net.pair()
            with net.faults.loss(0.3):
                for _ in range(50):
                    near.transport.write(b"x")
                    await asyncio.sleep(0.05)

        net.run(play())
        return net.fabric.trace()

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)
