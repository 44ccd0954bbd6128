"""Must-show 6 of issue 2: what strangers send to open ports disturbs nobody."""

import asyncio
import itertools
import random

import pytest

from dhtchat.cli.peer_process import PeerProcess
from dhtchat.ids import Endpoint, parse_endpoint
from dhtchat.parameters import load_parameters
from tests.e2e.proc import ONLY_LINUX, listening_tcp_ports, rss_kib
from tests.e2e.strangers import DatagramFlood, connect_with_garbage
from tests.e2e.world import World, assert_each_once, enter_room, hears

pytestmark = [pytest.mark.process, ONLY_LINUX]

DATAGRAMS = 10_000
CONNECTIONS = 1_000
CONNECTIONS_AT_ONCE = 20
RSS_GROWTH_KIB_MAX = 24 * 1024
"""Half of what a node may store for others, and little beside the 70 MiB that Python and its libraries take."""


async def test_garbage_at_all_ports_disturbs_nobody(world: World, rng: random.Random) -> None:
    """ "10,000 random and mutated datagrams to the UDP port and 1,000 garbage connections to the TLS port: no traceback,
    memory within bounds, chat goes on meanwhile." The fixture looks for tracebacks."""
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    await enter_room("#lobby", alice, bob)
    parameters = load_parameters(str(world.folder / "network.toml"))
    ports = [await _udp_endpoint(process) for process in (alice, world.door)]
    [tls_port] = listening_tcp_ports(alice.pid)
    attacked = [alice.pid, world.door.pid]
    before_kib = [rss_kib(pid) for pid in attacked]

    async def flood(target: Endpoint) -> None:
        async with DatagramFlood(target, parameters, random.Random(rng.random())) as strangers:
            await strangers.send(DATAGRAMS)

    async def dial() -> None:
        source = random.Random(rng.random())
        for _ in range(CONNECTIONS // CONNECTIONS_AT_ONCE):
            await connect_with_garbage(Endpoint("127.0.0.1", tls_port), source)

    async with asyncio.TaskGroup() as strangers:
        tasks = [strangers.create_task(flood(target)) for target in ports]
        tasks += [strangers.create_task(dial()) for _ in range(CONNECTIONS_AT_ONCE)]
        said = await _talk_until_all_done(alice, bob, tasks)

    for peer in (alice, bob):
        assert_each_once(peer, said, room="#lobby")
        assert not [event for event in peer.events if event["event"] in ("disconnected", "warning", "error", "parted")]
    assert len(said) >= 20
    growth_kib = [rss_kib(pid) - before for pid, before in zip(attacked, before_kib, strict=True)]
    assert max(growth_kib) < RSS_GROWTH_KIB_MAX

    # And somebody new still gets in, at every door.
    carol = await world.join("carol", "--room", "#lobby")
    carol.say("is this the right room?")
    await asyncio.gather(*(hears(peer, ["is this the right room?"], room="#lobby") for peer in (alice, bob)))


async def _udp_endpoint(process: PeerProcess) -> Endpoint:
    return parse_endpoint((await process.wait_for_event("ready"))["address"])


async def _talk_until_all_done(alice: PeerProcess, bob: PeerProcess, tasks: list[asyncio.Task[None]]) -> list[str]:
    """Line after line, each once the one before has arrived."""
    said: list[str] = []
    for number in itertools.count():
        if all(task.done() for task in tasks) and number >= 20:
            return said
        speaker, listener = (alice, bob) if number % 2 else (bob, alice)
        said.append(f"line {number}")
        speaker.say(said[-1])
        await hears(listener, said[-1:], room="#lobby")
    raise AssertionError
