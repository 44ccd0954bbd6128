"""`dhtchat bootstrap` as whoever runs one sees it."""

import asyncio

import pytest

from tests.e2e.world import World, free_tcp_port, password_of

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
    healthy, pinned, by_name, elsewhere = await asyncio.gather(
        world.run("bootstrap", "--check", world.address),
        world.run("bootstrap", "--check", f"{world.address}/{key}"),
        world.run("bootstrap", "--check", f"localhost:{port}"),
        world.run("bootstrap", "--check", "127.0.0.1:9"),
    )
    for ended in (healthy, pinned, by_name):
        assert (ended.code, ended.errors) == (0, []), ended
        assert key in ended.lines[0]
    assert (elsewhere.code, elsewhere.error["code"]) == (3, "nobody-reachable")


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


async def test_metrics(world: World) -> None:
    """ "[--metrics HOST:PORT]": Prometheus' text format over HTTP."""
    port = free_tcp_port()
    await world.open_door("--metrics", f"127.0.0.1:{port}")
    await world.run("register", "alice", *world.bootstrap, password=password_of("alice"))
    head, body = await _get(port, "/metrics")
    assert head.startswith("HTTP/1.1 200 ")
    assert "text/plain; version=0.0.4" in head
    figures = dict(line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
    assert float(figures["dhtchat_records"]) >= 1
    assert float(figures['dhtchat_events_total{event="datagrams-in"}']) > 1
    head, _ = await _get(port, "/")
    assert head.startswith("HTTP/1.1 404 ")


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
