"""The local network, played on the loopback interface: who is announced there is found, and who lies there is not believed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from dhtchat import companions
from dhtchat.app import neighbourhood
from dhtchat.app.client import bare_node
from dhtchat.app.entry import Entry
from dhtchat.app.neighbourhood import SERVICE, announce, believable, interfaces_of, search
from dhtchat.app.settings import Settings
from dhtchat.chat.events import Ready
from dhtchat.errors import NoBootstrapAnswered
from dhtchat.ids import Endpoint, NodeAddress, parse_endpoint
from dhtchat.limits import LAN_ADDRESSES_PER_NODE, LAN_NODES_MAX
from dhtchat.parameters import SIM, NetworkParameters
from dhtchat.runtime import real_runtime

HERE = ("127.0.0.1",)
NODE_KEY = bytes(32)


def network_of_its_own(tmp_path: Path) -> NetworkParameters:
    """Two runs of these tests on one machine must not meet."""
    return msgspec.structs.replace(SIM, name=f"lan-{abs(hash(tmp_path)) % 10**9}")


@contextlib.asynccontextmanager
async def announced(at: Endpoint, network_id: bytes) -> AsyncIterator[None]:
    task = asyncio.create_task(announce(at, NODE_KEY, network_id, HERE))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def liar(*hosts: str, count: int = 1, **properties: str | bytes) -> AsyncIterator[None]:
    """Somebody who announces anything, on this machine."""
    multicast = AsyncZeroconf(interfaces=list(HERE), ip_version=IPVersion.V4Only)
    try:
        for number in range(count):
            info = AsyncServiceInfo(
                SERVICE, f"liar{number}.{SERVICE}", port=9, parsed_addresses=list(hosts), properties=properties
            )
            await (await multicast.async_register_service(info))
        yield
    finally:
        await multicast.async_unregister_all_services()
        await multicast.async_close()


async def until_found(network_id: bytes) -> list[NodeAddress]:
    """An announcement takes a moment: it asks three times first whether somebody else has its name."""
    async with asyncio.timeout(20.0):
        while not (found := await search(network_id, HERE)):
            pass
    return found


async def until_entered(entry: Entry) -> str:
    """What is multicast may be missed by one search."""
    while True:
        with contextlib.suppress(NoBootstrapAnswered):
            return await entry.enter()


async def test_a_node_that_is_announced_is_found_by_its_network(tmp_path: Path) -> None:
    ours, theirs = network_of_its_own(tmp_path), SIM
    async with announced(Endpoint("0.0.0.0", 8468), ours.network_id):
        assert await until_found(ours.network_id) == [NodeAddress(Endpoint("127.0.0.1", 8468), None)]
        assert await search(theirs.network_id, HERE) == []


async def test_nobody_is_told_or_asked_where_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without the extra: both return at once."""
    assert await search(SIM.network_id, ()) == []
    await announce(Endpoint("127.0.0.1", 8468), NODE_KEY, SIM.network_id, ())
    monkeypatch.setattr(neighbourhood, "is_available", lambda: False)
    assert await search(SIM.network_id, HERE) == []
    await announce(Endpoint("127.0.0.1", 8468), NODE_KEY, SIM.network_id, HERE)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (None, None),
        ("0.0.0.0", None),
        ("::", None),
        ("chat.example", None),
        ("192.168.1.7", ("192.168.1.7",)),
        ("127.0.0.1", ()),
        ("::1", ()),
        ("fd00::1", ()),
    ],
)
def test_who_stays_on_this_machine_asks_no_other(host: str | None, expected: tuple[str, ...] | None) -> None:
    assert interfaces_of(host) == expected


def test_only_addresses_of_a_local_network_are_believed() -> None:
    local = ["192.168.1.7", "10.0.0.1", "172.16.5.4", "169.254.8.8"]
    assert believable(local, None) == local
    for elsewhere in (
        "8.8.8.8",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.251",
        "255.255.255.255",
        "240.0.0.1",
        "fd00::1",
        "x",
        "",
    ):
        assert believable([elsewhere], None) == [], elsewhere
    assert believable(["127.0.0.1", "192.168.1.7"], HERE) == ["127.0.0.1"]
    assert len(believable([f"10.0.0.{number}" for number in range(1, 100)], None)) == LAN_ADDRESSES_PER_NODE


async def test_what_liars_announce_is_bounded_and_harmless(tmp_path: Path) -> None:
    network_id = network_of_its_own(tmp_path).network_id
    async with liar(*HERE, count=LAN_NODES_MAX + 2, network=network_id.hex()):
        assert len(await until_found(network_id)) <= LAN_NODES_MAX
    async with liar("8.8.8.8", network=network_id.hex()):
        assert await search(network_id, HERE) == []
    async with liar(*HERE, network=b"\xff\xfe\x00"):
        assert await search(network_id, HERE) == []


async def test_whoever_knows_no_address_comes_in_through_a_bootstrap_node_that_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: a node that announces itself, and one that remembers nobody. On this machine none listens where one
    would be expected."""
    monkeypatch.setattr("dhtchat.app.entry.LOCAL_NODE", NodeAddress(Endpoint("127.0.0.1", 9), None))
    parameters = network_of_its_own(tmp_path)
    settings = Settings(data_dir=tmp_path, parameters=parameters, host="127.0.0.1", interfaces=HERE)
    service = companions.load("bootstrap", "service")
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        service.serve(settings, real_runtime(), advertise=None, metrics=None, on_ready=ready.set_result)
    )
    try:
        address = parse_endpoint((await ready).address)
        assert await until_found(parameters.network_id) == [NodeAddress(address, None)]
        async with bare_node(settings, real_runtime()) as dht:
            entry = Entry(dht, settings, real_runtime(), None)
            async with asyncio.timeout(60.0):
                assert await until_entered(entry) == "lan"
            assert entry.answered == (NodeAddress(address, None),)
        secluded = msgspec.structs.replace(settings, interfaces=())
        async with bare_node(secluded, real_runtime()) as dht:
            with pytest.raises(NoBootstrapAnswered) as raised:
                await Entry(dht, secluded, real_runtime(), None).enter()
            assert "--bootstrap" in raised.value.hint
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_who_is_announced_and_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dhtchat.app.entry.LOCAL_NODE", NodeAddress(Endpoint("127.0.0.1", 9), None))
    parameters = network_of_its_own(tmp_path)
    settings = Settings(data_dir=tmp_path, parameters=parameters, host="127.0.0.1", interfaces=HERE)
    async with announced(Endpoint("127.0.0.1", 19), parameters.network_id), bare_node(settings, real_runtime()) as dht:
        await until_found(parameters.network_id)
        async with asyncio.timeout(60.0):
            while True:  # what is multicast may be missed by one search
                with pytest.raises(NoBootstrapAnswered) as raised:
                    await Entry(dht, settings, real_runtime(), None).enter()
                if len(raised.value.tried) > 1:
                    break
    assert [str(tried) for tried in raised.value.tried] == ["127.0.0.1:9", "127.0.0.1:19"]
    assert "--bootstrap" in raised.value.hint
