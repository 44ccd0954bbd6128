"""Goal: what anybody can send to an open port costs little and disturbs nobody. Method: send it, much of it."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable

import pytest

from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.ids import Endpoint
from dhtchat.limits import NONCE_BYTES
from dhtchat.parameters import MAIN
from dhtchat.peer.framing import frame
from dhtchat.peer.messages import Welcome, decode, encode
from tests.peer.fakes import Party, Person, Rude, tell, until

pytestmark = pytest.mark.usefixtures("nothing_left")

Stranger = Callable[[asyncio.StreamReader, asyncio.StreamWriter, random.Random], None]


def client_hello() -> bytes:
    """The first bytes of a real TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    channel = TlsIdentity(random.Random(1)).client_context.wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        channel.do_handshake()
    return outgoing.read()


CLIENT_HELLO = client_hello()
GARBAGE: dict[str, Callable[[random.Random], bytes]] = {
    "random bytes": lambda source: source.randbytes(source.randint(1, 2_000)),
    "half a TLS hello": lambda source: CLIENT_HELLO[: source.randint(1, len(CLIENT_HELLO) - 1)],
    "a TLS hello with a bit changed": lambda source: bytes(
        byte ^ (source.random() < 0.01) << source.randint(0, 7) for byte in CLIENT_HELLO
    ),
    "a TLS hello and noise": lambda source: CLIENT_HELLO + source.randbytes(500),
    "nothing": lambda source: b"",
    "plain HTTP": lambda source: b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "our frames without TLS": lambda source: frame(encode(Welcome())),
}


async def be_a_stranger(to: Endpoint, source: random.Random) -> None:
    """One connection of some kind, ended in some way."""
    data = GARBAGE[source.choice(list(GARBAGE))](source)
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(*to)
        try:
            writer.write(data)
            match source.randrange(3):
                case 0:  # wait for what they say to it, but not for their timeout
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(), 0.02)
                case 1:  # half-close
                    writer.write_eof()
                    await reader.read(1)
                case 2:  # reset
                    pass
        finally:
            writer.transport.abort()
            await writer.wait_closed()


async def test_a_thousand_strangers_disturb_nobody(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        alice.want(await bob.listen())
        here, there = await alice.linked(bob), await bob.linked(alice)
        left = 1_000

        async def some_strangers(source: random.Random) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await be_a_stranger(bob.address, source)
                assert len(bob.pool._half_open) <= 16

        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(some_strangers(random.Random(rng.random() + number)))
            spoken = 0
            while left > 0:
                await here.send(tell(f"alice {spoken}"))
                await there.send(tell(f"bob {spoken}"))
                spoken += 1
                await until(lambda: len(bob.notes.heard) == len(alice.notes.heard) == spoken)  # noqa: B023
        await until(lambda: not bob.pool._half_open)
        assert spoken > 20
        assert here.alive
        assert there.alive
        assert not alice.notes.downs
        assert not bob.notes.downs
        counted = bob.pool.statistics
        # A stranger who is gone before we accept is not counted by anybody.
        assert 0.9 * 1_000 < counted["accepted"] <= 1_001
        assert counted["handshake-failed"] == counted["accepted"] - 1
        assert counted["opened"] == 1


async def test_of_too_many_idle_connections_the_oldest_goes(rng: random.Random) -> None:
    async with Party(Person("bob", rng), rng, half_open_per_host_max=4) as bob, contextlib.AsyncExitStack() as stack:
        await bob.listen()
        idle = []
        for number in range(10):
            idle.append(await stack.enter_async_context(Rude.connected(bob.address, None)))
            await until(lambda: bob.pool.statistics["accepted"] == number + 1)  # noqa: B023
            assert len(bob.pool._half_open) <= 4
        for rude in idle[:6]:
            await rude.is_hung_up_on()
        assert [link.endpoint.port for link in bob.pool._half_open] == [
            rude.writer.get_extra_info("sockname")[1] for rude in idle[6:]
        ]
        assert bob.pool.statistics["half-open-dropped"] == 6
        # Who proves something gets in all the same.
        async with Party(Person("alice", rng), rng) as alice:
            alice.want(bob)
            await alice.linked(bob)
            await bob.linked(alice)


async def test_the_sum_over_all_hosts_is_bounded_too(rng: random.Random) -> None:
    async with Party(Person("bob", rng), rng, half_open_max=3) as bob, contextlib.AsyncExitStack() as stack:
        await bob.listen()
        for number in range(8):
            await stack.enter_async_context(Rude.connected(bob.address, None))
            await until(lambda: bob.pool.statistics["accepted"] == number + 1)  # noqa: B023
            assert len(bob.pool._half_open) <= 3


async def test_one_host_at_its_limit_takes_nothing_from_another(rng: random.Random) -> None:
    """All of 127.0.0.0/8 is this machine, so a test can come from several addresses."""
    async with Party(Person("bob", rng), rng, half_open_per_host_max=2) as bob:
        await bob.listen()
        async with contextlib.AsyncExitStack() as stack:
            for host in ["127.0.0.2"] + ["127.0.0.3"] * 5:
                await stack.enter_async_context(Rude.connected(bob.address, None, host=host))
            await until(lambda: bob.pool.statistics["accepted"] == 6)
            assert [link.endpoint.host for link in bob.pool._half_open] == ["127.0.0.2", "127.0.0.3", "127.0.0.3"]


async def test_a_byte_now_and_then_does_not_hold_a_connection(rng: random.Random) -> None:
    """Slowloris, in TLS: the deadline is for the whole handshake."""
    async with Party(Person("bob", rng), rng, handshake_timeout_s=0.3) as bob:
        await bob.listen()
        start = asyncio.get_running_loop().time()
        async with Rude.connected(bob.address, None) as rude, asyncio.TaskGroup() as tasks:
            drip = tasks.create_task(_drip(rude, CLIENT_HELLO))
            await rude.is_hung_up_on()
            drip.cancel()
        assert asyncio.get_running_loop().time() - start >= 0.29
        await until(lambda: bob.pool.statistics["handshake-failed"] == 1)


async def _drip(rude: Rude, data: bytes) -> None:
    for byte in data:
        rude.write(bytes([byte]))
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("said", ["nothing", "hello", "half a frame"])
async def test_tls_alone_does_not_hold_a_connection(rng: random.Random, said: str) -> None:
    async with Party(Person("bob", rng), rng, handshake_timeout_s=0.3) as bob:
        await bob.listen()
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            if said == "hello":
                rude.write(Person("mallory", rng).client(bytes(NONCE_BYTES)).start(b"some certificate"))
                await rude.message()
            elif said == "half a frame":
                rude.write(b"\0\0\1\0half")
            await rude.is_hung_up_on()
        await until(lambda: bob.pool.statistics["handshake-failed"] == 1)
        assert not bob.notes.ups


@pytest.mark.parametrize("lie", ["certificate", "network", "talk first"])
async def test_who_proves_nothing_gets_no_link(rng: random.Random, lie: str) -> None:
    mallory, alice = Person("mallory", rng), Person("alice", rng)
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            match lie:
                case "certificate":
                    await rude.prove(mallory, certificate=alice.certificate)
                case "network":
                    rude.write(mallory.client(bytes(NONCE_BYTES), network_id=MAIN.network_id).start(b"whatever"))
                case "talk first":
                    rude.write(frame(encode(tell("let me in"))))
            await rude.is_hung_up_on()
        kind = "malformed" if lie == "talk first" else "refused-proof"
        await until(lambda: bob.pool.statistics[kind] == 1)
        assert not bob.notes.ups


async def test_what_is_said_in_the_same_breath_as_the_tls_handshake_is_heard(rng: random.Random) -> None:
    """asyncio hands data over before start_tls() returns; it must not get lost. Method: two clients, one in a hurry."""
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        for _ in range(20):
            async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
                mallory = Person("mallory", rng)
                await rude.prove(mallory)
                rude.write(frame(encode(tell("at once"))))
                assert decode(await rude.message()) == Welcome()
        await until(lambda: len(bob.notes.texts()) == 20)


async def test_a_pool_that_leaves_in_the_middle_of_it_leaves_nothing(rng: random.Random) -> None:
    """Connections at every stage when the pool goes: what is left is checked by `nothing_left`."""
    for _ in range(10):
        async with asyncio.TaskGroup() as tasks:
            async with Party(Person("bob", rng), rng) as bob:
                await bob.listen()
                strangers = [
                    tasks.create_task(be_a_stranger(bob.address, random.Random(rng.random()))) for _ in range(20)
                ]
                friend = tasks.create_task(_call(Person("alice", rng), rng, bob))
                await asyncio.sleep(rng.uniform(0.0, 0.03))
            assert not bob.pool._streams
            for task in [*strangers, friend]:
                task.cancel()


async def _call(person: Person, source: random.Random, other: Party) -> None:
    async with Party(person, source) as party:
        party.want(other)
        await asyncio.Event().wait()
