"""`dhtchat bootstrap` as whoever runs one sees it."""

import asyncio
import json
import signal
import socket

import pytest

from dhtchat.cli.peer_process import EventFields, PeerProcess
from dhtchat.dht.contact import Contact
from dhtchat.ids import NodeAddress, parse_endpoint, print_node_key
from dhtchat.parameters import load_parameters
from tests.dht.support import running_node, until
from tests.e2e.world import (
    LOCALLY,
    World,
    address_of,
    free_tcp_port,
    has_ipv6,
    password_of,
    silent_udp_socket,
)

pytestmark = pytest.mark.process


async def test_ready_tells_where_it_listens(world: World) -> None:
    """ "`--json` prints `ready` with `user` null and the real port when 0 was asked" """
    door = await world.open_door()
    ready = await door.wait_for_event("ready")
    assert ready["user"] is None
    assert ready["fingerprint"] is None
    host, _, port = ready["address"].rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    assert ready["version"]


async def test_the_health_check(world: World) -> None:
    """ "`dhtchat bootstrap --check ADDR` is a health check for scripts": 0 when a node answers, with the right key if one
    is named, else 3."""
    door = await world.open_door()
    key = (await door.wait_for_event("ready"))["node_key"]
    _, _, port = world.address.rpartition(":")
    other_key = print_node_key(bytes(32))
    healthy, pinned, by_name, elsewhere, pinned_wrong = await asyncio.gather(
        world.run("bootstrap", "--check", world.address),
        world.run("bootstrap", "--check", f"{world.address}/{key}"),
        world.run("bootstrap", "--check", f"localhost:{port}"),
        world.run("bootstrap", "--check", "127.0.0.1:9"),
        world.run("bootstrap", "--check", f"{world.address}/{other_key}"),
    )
    for ended in (healthy, pinned, by_name):
        assert (ended.code, ended.errors) == (0, []), ended
        assert key in ended.lines[0]
    for ended in (elsewhere, pinned_wrong):
        assert (ended.code, ended.error["code"]) == (3, "nobody-reachable")
    assert "another node key" in pinned_wrong.error["message"]


async def test_a_node_can_be_pinned_by_its_key(world: World) -> None:
    """ "or with the node's key `HOST:PORT/KEY` when it is to be pinned" """
    door = await world.open_door()
    key = (await door.wait_for_event("ready"))["node_key"]
    right = f"{world.address}/{key}"
    ended = await world.run("register", "alice", "--bootstrap", right, password=password_of("alice"))
    assert ended.code == 0, ended
    another = await world.start("another", "bootstrap", "--host", "127.0.0.1", "--port", "0")
    other_key = (await another.wait_for_event("ready"))["node_key"]
    wrong = f"{world.address}/{other_key}"
    ended = await world.run("register", "bob", "--bootstrap", wrong, password=password_of("bob"))
    assert (ended.code, ended.error["code"]) == (3, "nobody-reachable"), ended


async def test_accounts_survive_a_restart(world: World) -> None:
    """ "a database of registered users": the same port and folder again, nobody else there."""
    door = await world.open_door()
    registered = await world.run("register", "alice", *world.bootstrap, password=password_of("alice"))
    assert registered.code == 0
    port = int(world.address.rpartition(":")[2])
    await door.kill()

    await world.open_door(port=port)
    refused = await world.run("register", "alice", *world.bootstrap, password=password_of("other"))
    assert (refused.code, refused.error["code"]) == (5, "name-taken")
    alice = await world.join("alice", register=False)
    assert (await alice.wait_for_event("ready"))["fingerprint"] == registered.events[0]["fingerprint"]


async def test_the_same_node_comes_back(world: World) -> None:
    """Survives `kill -9` as it survives a stop: same key, same records, same port, and one who asks for its key is let in."""
    door = await world.open_door("--log-format", "json", "-v")
    first = await door.wait_for_event("ready")
    port = int(world.address.rpartition(":")[2])
    assert (await world.run("register", "alice", *world.bootstrap, password=password_of("alice"))).code == 0
    for stop in (door.kill, lambda: _end(world)):
        await stop()
        again = await world.open_door("--log-format", "json", "-v", port=port)
        assert (await again.wait_for_event("ready"))["node_key"] == first["node_key"]
        await _until_logged(again, "started")
        started = logged(again)[0]
        assert (started["event"], started["records"]) == ("started", 1)
        pinned = f"{first['address']}/{first['node_key']}"
        assert (await world.run("bootstrap", "--check", pinned)).code == 0


async def _end(world: World) -> None:
    world.door.send_signal(signal.SIGTERM)
    assert await world.door.exit_code() == 0


def logged(door: PeerProcess) -> list[EventFields]:
    """What stands on its standard error."""
    return [json.loads(line) for line in door.errors]


async def _until_logged(door: PeerProcess, event: str) -> None:
    """Standard error is read beside standard output: wait for the line."""
    async with asyncio.timeout(20.0):
        while event not in [line["event"] for line in logged(door)]:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def test_its_life_is_logged(world: World) -> None:
    """`-v --log-format json`: start, who was met, stop with its reason; one object a line and nothing else."""
    door = await world.open_door()
    other = await world.start(
        "other", "bootstrap", *LOCALLY, "--port", "0", *world.bootstrap, "-v", "--log-format", "json"
    )
    ready = await other.wait_for_event("ready")
    await _until_logged(other, "joined")
    other.send_signal(signal.SIGTERM)
    assert await other.exit_code() == 0
    started, joined, stopping, stopped = logged(other)
    assert (started["event"], started["node_key"], started["address"]) == (
        "started",
        ready["node_key"],
        ready["address"],
    )
    assert (joined["event"], joined["through"], joined["seen_as"]) == ("joined", [world.address], ready["address"])
    assert (stopping["event"], stopping["reason"]) == ("stopping", "SIGTERM")
    assert stopped["event"] == "stopped"
    assert door.errors == [], "without -v only warnings"


async def test_two_that_name_each_other_outlive_each_other(world: World) -> None:
    """Goal: whichever of two bootstrap nodes is killed, people come in through the other, given both addresses; back again,
    it has found its companion by itself and knows who registered meanwhile."""
    first = await world.open_door("--log-format", "json", "-v")
    port = int(world.address.rpartition(":")[2])
    second = await world.start(
        "second", "bootstrap", *LOCALLY, "--port", "0", *world.bootstrap, "-v", "--log-format", "json"
    )
    second_address = (await second.wait_for_event("ready"))["address"]
    await _until_logged(second, "joined")
    both = ("--bootstrap", world.address, "--bootstrap", second_address)

    await first.kill()
    assert (await world.run("register", "alice", *both, password=password_of("alice"))).code == 0

    metrics = free_tcp_port()
    await world.open_door("--bootstrap", second_address, "--metrics", f"127.0.0.1:{metrics}", port=port)
    await _until_figure(metrics, "dhtchat_dht_records", 1)
    await second.kill()
    refused = await world.run("register", "alice", *both, password=password_of("other"))
    assert (refused.code, refused.error["code"]) == (5, "name-taken")


async def test_it_ends_while_it_waits_for_an_answer(world: World) -> None:
    """SIGTERM "while the network is silent": the node it was told to join through never answers."""
    with silent_udp_socket() as silent:
        door = await world.open_door("--bootstrap", address_of(silent))
        silent.setblocking(False)
        async with asyncio.timeout(20.0):
            await asyncio.get_running_loop().sock_recv(silent, 2_000)
        door.send_signal(signal.SIGTERM)
        assert await door.exit_code(timeout_s=3.0) == 0
        assert door.errors == []


async def test_a_goodbye_is_said(world: World) -> None:
    """Who is stopped tells the nodes in its table, so that they need not find out."""
    door = await world.open_door()
    parameters = load_parameters(str(world.folder / "network.toml"))
    told: list[Contact] = []
    async with running_node(5, parameters=parameters) as neighbour:
        neighbour._protocol._on_leaving = told.append  # type: ignore[method-assign]
        address = parse_endpoint(world.address)
        await neighbour.bootstrap([NodeAddress(address, None)])
        await until(lambda: neighbour.statistics["request-Ping"], "it looks who is there before it lets anybody in")
        door.send_signal(signal.SIGTERM)
        assert await door.exit_code() == 0
        await until(lambda: told, "no goodbye")
    assert [contact.endpoint for contact in told] == [address]


async def test_systemd_is_told(world: World) -> None:
    """`Type=notify` and `WatchdogSec` of the unit: ready once it listens, alive twice as often as asked, stopping."""
    path = world.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.setblocking(False)

        async def heard(prefix: str) -> None:
            async with asyncio.timeout(20.0):
                while not (await asyncio.get_running_loop().sock_recv(systemd, 1_000)).startswith(prefix.encode()):
                    pass

        door = await world.open_door(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="200000")
        await heard("READY=1\nSTATUS=0 nodes known")
        await heard("WATCHDOG=1")
        await heard("WATCHDOG=1")
        door.send_signal(signal.SIGTERM)
        await heard("STOPPING=1")
        assert await door.exit_code() == 0


async def _figures(port: int) -> dict[str, float]:
    _, body = await _get(port, "/metrics")
    samples = (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


async def _until_figure(port: int, name: str, value: float) -> None:
    async with asyncio.timeout(20.0):
        while (await _figures(port))[name] != value:  # noqa: ASYNC110 - a collector asks again, too
            await asyncio.sleep(0.1)


async def test_one_folder_has_one_node(world: World) -> None:
    """A second one in the same folder would be another node with another key, whom nobody has pinned: it is refused."""
    await world.open_door()
    ended = await world.run("bootstrap", *LOCALLY, "--port", "0", folder="bootstrap")
    assert (ended.code, ended.error["code"]) == (2, "busy")
    assert "--data-dir" in ended.error["hint"]


async def test_a_disk_that_refuses_is_no_bug(world: World) -> None:
    """Two lines that name the folder and the reason, not a traceback. (A folder where the store's file should be, because
    root may write where others may not.)"""
    door = await world.open_door()
    await door.kill()
    [store] = (world.folder / "bootstrap").rglob("records.db")
    for file in store.parent.glob("records.db*"):
        file.unlink()
    store.mkdir()
    ended = await world.run("bootstrap", *LOCALLY, "--port", "0", folder="bootstrap")
    assert (ended.code, ended.error["code"], len(ended.errors)) == (2, "usage", 2)
    assert "cannot use the data folder" in ended.error["message"]


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_both_families_are_served_side_by_side(world: World) -> None:
    """`--host ::`: a node that comes over IPv4 and one that comes over IPv6."""
    door = await world.start("bootstrap", "bootstrap", "--host", "::", "--port", "0")
    port = (await door.wait_for_event("ready"))["address"].rpartition(":")[2]
    over_4, over_6 = await asyncio.gather(
        world.run("bootstrap", "--check", f"127.0.0.1:{port}"), world.run("bootstrap", "--check", f"[::1]:{port}")
    )
    assert (over_4.code, over_6.code) == (0, 0)


async def test_metrics(world: World) -> None:
    """ "[--metrics HOST:PORT]": Prometheus' text format over HTTP."""
    port = free_tcp_port()
    await world.open_door("--metrics", f"127.0.0.1:{port}")
    await world.run("register", "alice", *world.bootstrap, password=password_of("alice"))
    head, _ = await _get(port, "/metrics")
    assert head.startswith("HTTP/1.1 200 ")
    assert "text/plain; version=0.0.4" in head
    figures = await _figures(port)
    assert figures["dhtchat_dht_records"] >= 1
    assert figures['dhtchat_dht_datagrams_total{direction="in"}'] > 1
    assert figures['dhtchat_dht_requests_total{kind="store"}'] >= 1
    head, _ = await _get(port, "/")
    assert head.startswith("HTTP/1.1 404 ")
    head, body = await _get(port, "/healthz")
    assert (head.split()[1], body.splitlines()[0]) == ("200", "ok")


async def _get(port: int, path: str) -> tuple[str, str]:
    """Head and body of an HTTP answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return head, body


async def test_it_runs_as_a_module_of_the_checkout(world: World) -> None:
    """ "from a checkout also `python -m bootstrap`" """
    door = await world.start("bootstrap", "--host", "127.0.0.1", "--port", "0", module="bootstrap")
    ready = await door.wait_for_event("ready")
    assert ready["user"] is None
    assert (await world.run("bootstrap", "--check", ready["address"])).code == 0
