"""Goal: one connection keeps its bounds and its word, over real TLS on the loopback."""

import asyncio
import asyncio.sslproto
import contextlib
import random
import ssl
import tracemalloc
from typing import Any, cast

import pytest

from dhtchat.crypto.certificates import ALPN, TlsIdentity
from dhtchat.errors import LinkLost, MalformedRecord
from dhtchat.limits import FRAME_BYTES_MAX, TLS_RECORD_BYTES
from dhtchat.peer.framing import LENGTH_BYTES, frame
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Announce, Bye, PeerMessage, Ping, Pong, Tell, Welcome, decode, encode
from tests.peer.fakes import PATIENCE_S, Party, Person, Pipe, Rude, committed, tell, until

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_messages_go_both_ways_in_order(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        alice.want(await bob.listen())
        here, there = await alice.linked(bob), await bob.linked(alice)
        assert (here.author.name, there.author.name) == ("bob", "alice")
        assert (here.author.peer, here.author.device) == (bob.person.peer, bob.person.device)
        assert (here.dialled, there.dialled) == (True, False)
        assert here.endpoint == bob.address
        texts = [str(number) for number in range(500)]
        for text in texts:
            await here.send(tell(text))
            assert there.send_soon(tell(text))
        await until(lambda: len(alice.notes.heard) == len(bob.notes.heard) == 500)
        assert alice.notes.texts() == bob.notes.texts() == [text.encode() for text in texts]


# --- TLS --------------------------------------------------------------------------------------------------------------


def with_alpn(context: ssl.SSLContext, *names: str) -> ssl.SSLContext:
    context.set_alpn_protocols(list(names))
    return context


async def test_the_channel_is_tls_1_3_with_our_alpn_and_without_tickets(rng: random.Random) -> None:
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            channel: ssl.SSLObject = rude.writer.get_extra_info("ssl_object")
            assert channel.version() == "TLSv1.3"
            assert channel.selected_alpn_protocol() == ALPN == "dhtchat/1"
            await rude.prove(Person("mallory", rng))
            assert decode(await rude.message()) == Welcome()
            assert channel.session is None or not channel.session.has_ticket


@pytest.mark.parametrize("names", [(), ("h2",)])
async def test_a_client_without_our_alpn_is_refused(rng: random.Random, names: tuple[str, ...]) -> None:
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        context = TlsIdentity(rng).client_context
        context = with_alpn(context, *names) if names else _plain_client()
        async with Rude.connected(bob.address, context) as rude:
            await rude.is_hung_up_on()
        await until(lambda: bob.pool.statistics["refused-proof"] == 1)


def _plain_client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_a_client_with_an_older_tls_is_refused(rng: random.Random) -> None:
    context = with_alpn(_plain_client(), ALPN)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        with pytest.raises(OSError):  # noqa: PT011  (which one depends on the version of OpenSSL)
            async with Rude.connected(bob.address, context):
                pass
        await until(lambda: bob.pool.statistics["handshake-failed"] == 1)


async def test_a_server_without_our_alpn_is_refused_before_the_hello(rng: random.Random) -> None:
    tls = TlsIdentity(rng)
    with_alpn(tls.server_context, "h2")
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng, tls=tls) as bob:
        alice.want(await bob.listen())
        await until(lambda: alice.pool.statistics["refused-proof"] > 0)
        assert not bob.notes.ups


def test_asyncio_sets_aside_one_tls_record_per_connection() -> None:
    assert asyncio.sslproto.SSLProtocol.max_size == TLS_RECORD_BYTES


class CountingWrites:
    """A transport, and the sizes of what was written to it."""

    def __init__(self, inner: asyncio.Transport) -> None:
        self.inner = inner
        self.sizes: list[int] = []

    def write(self, data: bytes) -> None:
        self.sizes.append(len(data))
        self.inner.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def test_what_one_tick_says_leaves_in_one_write(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        alice.want(await bob.listen())
        here = await alice.linked(bob)
        await bob.linked(alice)
        transport = CountingWrites(cast(asyncio.Transport, here._transport))
        here._transport = cast(asyncio.Transport, transport)
        for _ in range(100):
            await here.send(tell("x" * 100))
        await until(lambda: len(bob.notes.heard) == 100)
        assert len(transport.sizes) == 1
        for _ in range(10):
            await here.send(committed(900))  # 16 KiB each: not all at once, or the TLS layer would hold all of it
        await here.send(Announce([bytes(1_000)] * 32))
        await until(lambda: len(bob.notes.heard) == 111)
        assert max(transport.sizes) <= TLS_RECORD_BYTES


def test_uvloop_does_as_well(seed: int) -> None:
    """Goal: nothing is lost of a client that begins TLS before we do. uvloop reads it although told to pause."""
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        rng = random.Random(seed)
        async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
            alice.want(await bob.listen())
            await (await alice.linked(bob)).send(tell("hello"))
            async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
                await rude.link(Person("mallory", rng))
                rude.write(frame(encode(tell("in a hurry"))))
                await until(lambda: sorted(bob.notes.texts()) == [b"hello", b"in a hurry"])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_slow_reader_makes_its_sender_wait_and_nobody_else(rng: random.Random) -> None:
    """Goal: 24 MiB for somebody who does not read cost the sender its bound. Method: count, then let them read."""
    sizes: dict[str, Any] = {"link_queue_bytes_max": 256 * 1024, "inbox_frames_max": 16, "inbox_bytes_max": 256 * 1024}
    async with (
        Party(Person("alice", rng), rng, **sizes) as alice,
        Party(Person("bob", rng), rng, **sizes) as bob,
        Party(Person("carol", rng), rng, **sizes) as carol,
        asyncio.TaskGroup() as tasks,
    ):
        alice.want(await bob.listen())
        alice.want(await carol.listen())
        to_bob, to_carol = await alice.linked(bob), await alice.linked(carol)
        at_bob = cast(Any, (await bob.linked(alice))._transport)
        message = committed(900)
        count = 24 * 1024 * 1024 // len(encode(message))  # the kernel takes some 5 MiB of it
        bob.notes.may_read.clear()

        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            sender = tasks.create_task(_send_all(to_bob, [message] * count))
            await until(lambda: not to_bob.send_soon(tell("full?")))
            for number in range(20):  # somebody else is served as ever
                await to_carol.send(tell(str(number)))
                await until(lambda: len(carol.notes.heard) == number + 1)  # noqa: B023
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 2 * 1024 * 1024
        assert to_bob.queued_bytes <= 256 * 1024 + 2 * FRAME_BYTES_MAX
        assert at_bob.get_read_buffer_size() <= 8 * TLS_RECORD_BYTES  # asyncio left alone: 256 KiB
        assert not sender.done()
        assert to_bob.alive

        bob.notes.may_read.set()
        await asyncio.wait_for(sender, PATIENCE_S)
        await until(lambda: sum(heard == message for _, heard in bob.notes.heard) == count)
        await until(lambda: to_bob.queued_bytes == 0)


async def _send_all(link: Link, messages: list[PeerMessage]) -> None:
    for message in messages:
        await link.send(message)


async def test_a_reader_that_never_reads_is_dropped(rng: random.Random) -> None:
    limits: dict[str, Any] = {"link_queue_bytes_max": 128 * 1024, "link_stall_timeout_s": 0.3, "inbox_frames_max": 4}
    async with Party(Person("alice", rng), rng, **limits) as alice, Party(Person("bob", rng), rng, **limits) as bob:
        alice.want(await bob.listen())
        link = await alice.linked(bob)
        bob.notes.may_read.clear()
        senders = [asyncio.create_task(_send_all(link, [committed(900)] * 2_000)) for _ in range(3)]
        for sender in senders:
            with pytest.raises(LinkLost):
                await asyncio.wait_for(sender, PATIENCE_S)
        assert not link.alive
        await until(lambda: alice.notes.reasons() == ["the other side has not read for 0.3 s"])
        bob.notes.may_read.set()


async def test_a_slow_handler_is_no_silence(rng: random.Random) -> None:
    """Goal: while one side's handler sits on a message for several keep-alive timeouts, neither declares the other dead."""
    limits: dict[str, Any] = {"keepalive_interval_s": 0.1, "keepalive_timeout_s": 0.5, "inbox_frames_max": 4}
    async with Party(Person("alice", rng), rng, **limits) as alice, Party(Person("bob", rng), rng, **limits) as bob:
        alice.want(await bob.listen())
        here, there = await alice.linked(bob), await bob.linked(alice)
        bob.notes.may_read.clear()
        for number in range(40):
            await here.send(tell(str(number)))
        patience = asyncio.get_running_loop().time() + 3 * 0.5
        await until(lambda: asyncio.get_running_loop().time() > patience)
        assert here.alive
        assert there.alive
        assert await there.check(0.2)  # the answer is behind what our handler does not read: no reason to drop
        bob.notes.may_read.set()
        await until(lambda: len(bob.notes.heard) == 40)
        assert await here.check(PATIENCE_S)
        assert await there.check(PATIENCE_S)


async def test_a_frame_above_the_limit_is_refused_by_its_length_alone(rng: random.Random) -> None:
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        mallory = Person("mallory", rng)
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            await rude.link(mallory)
            await until(lambda: bob.pool.get(mallory.device) is not None)
            rude.write(frame(encode(tell("last words"))))
            rude.write((FRAME_BYTES_MAX + 1).to_bytes(LENGTH_BYTES, "big"))
            await rude.is_hung_up_on()
        await until(lambda: len(bob.notes.downs) == 1)
        assert bob.pool.statistics["malformed"] == 1


@pytest.mark.parametrize(
    "rudeness",
    [frame(b"no message"), frame(encode(Welcome())), frame(encode(Pong(1))), b"\0\0\0\0", b"\xff" * 100],
    ids=["no message", "handshake again", "pong unasked", "empty frame", "noise"],
)
async def test_who_breaks_the_rules_is_dropped_and_counted(rng: random.Random, rudeness: bytes) -> None:
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        mallory = Person("mallory", rng)
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            await rude.link(mallory)
            await until(lambda: bob.pool.get(mallory.device) is not None)
            rude.write(frame(encode(tell("before"))) + rudeness + frame(encode(tell("after"))))
            await rude.is_hung_up_on()
        await until(lambda: len(bob.notes.downs) == 1)
        assert bob.notes.texts() in ([], [b"before"])
        assert bob.pool.statistics["malformed"] == 1
        assert bob.pool.links() == []


async def test_pings_without_end_do_not_pile_up_answers(rng: random.Random) -> None:
    """Somebody pings and never reads: the pongs beyond the bound are not kept."""
    async with Party(Person("bob", rng), rng, link_queue_bytes_max=16 * 1024) as bob:
        await bob.listen()
        mallory = Person("mallory", rng)
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            await rude.link(mallory)
            await until(lambda: bob.pool.get(mallory.device) is not None)
            link = bob.pool.get(mallory.device)
            assert link is not None
            link.pause_writing()  # what asyncio says when the socket takes no more; without it the kernel takes megabytes
            rude.write(frame(encode(Ping(1))) * 5_000 + frame(encode(tell("done"))))
            await until(lambda: bob.notes.texts() == [b"done"])
            assert 16 * 1024 < link.queued_bytes < 17 * 1024
            assert link.alive
            link.resume_writing()
            await until(lambda: link.queued_bytes == 0)


async def test_a_handler_that_finds_a_lie_drops_the_link(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:

        async def refuse(link: Link, message: PeerMessage) -> None:
            raise MalformedRecord("a statement that is none")

        bob.notes.on_received = refuse
        alice.want(await bob.listen())
        link = await alice.linked(bob)
        alice.pool.unwant(bob.person.device)
        await link.send(tell("lie"))
        await until(lambda: len(alice.notes.downs) == len(bob.notes.downs) == 1)
        assert bob.notes.reasons() == ["a statement that is none"]
        assert bob.pool.statistics["misbehaved"] == 1


async def test_a_handler_that_meets_a_dead_link_goes_on(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:

        async def lose(link: Link, message: PeerMessage) -> None:
            raise LinkLost("the one it was to be passed on to is gone")

        bob.notes.on_received = lose
        alice.want(await bob.listen())
        link = await alice.linked(bob)
        for text in ("one", "two"):
            await link.send(tell(text))
        await until(lambda: bob.notes.texts() == [b"one", b"two"])
        assert link.alive


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_nothing_said_before_a_goodbye_is_lost_in_either_direction(rng: random.Random) -> None:
    """Goal: what both had queued when one of them closes arrives at the other. Method: much, at once, then close."""
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        alice.want(await bob.listen())
        here, there = await alice.linked(bob), await bob.linked(alice)
        alice.pool.unwant(bob.person.device)
        for link in (here, there):
            for _ in range(60):
                await link.send(committed(450))
        alice.pool.close(bob.person.device, "leaving")
        assert not here.alive
        with pytest.raises(LinkLost):
            await here.send(tell("too late"))
        assert not here.send_soon(tell("too late"))
        assert not await here.check(PATIENCE_S)
        await until(lambda: len(alice.notes.downs) == len(bob.notes.downs) == 1)
        assert alice.notes.reasons() == bob.notes.reasons() == ["leaving"]
        assert len(alice.notes.heard) == len(bob.notes.heard) == 60


async def test_a_goodbye_nobody_answers_ends_all_the_same(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng, goodbye_timeout_s=0.2) as alice, Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        async with Pipe(bob.address) as pipe:
            alice.want(bob, pipe.address)
            await alice.linked(bob)
            alice.pool.unwant(bob.person.device)
            pipe.silent = True
            alice.pool.close(bob.person.device)
            await until(lambda: alice.notes.reasons() == ["leaving"])


async def test_silence_ends_a_link_on_both_sides(rng: random.Random) -> None:
    """Goal: a network that swallows everything without a word is noticed. Method: a relay that goes silent."""
    limits: dict[str, Any] = {"keepalive_interval_s": 0.1, "keepalive_timeout_s": 0.5}
    async with Party(Person("alice", rng), rng, **limits) as alice, Party(Person("bob", rng), rng, **limits) as bob:
        await bob.listen()
        async with Pipe(bob.address) as pipe:
            alice.want(bob, pipe.address)
            await alice.linked(bob)
            await bob.linked(alice)
            quiet_until = asyncio.get_running_loop().time() + 2 * 0.5
            await until(lambda: asyncio.get_running_loop().time() > quiet_until)
            assert not alice.notes.downs  # pings keep an idle link
            assert not bob.notes.downs
            pipe.silent = True
            await until(lambda: bool(alice.notes.downs) and bool(bob.notes.downs))
            assert alice.notes.reasons() == bob.notes.reasons() == ["nothing heard for 0.5 s"]


async def test_a_check_finds_out_at_once(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        async with Pipe(bob.address) as pipe:
            alice.want(bob, pipe.address)
            link = await alice.linked(bob)
            assert all(await asyncio.gather(link.check(PATIENCE_S), link.check(PATIENCE_S)))
            pipe.silent = True
            assert not any(await asyncio.gather(link.check(0.1), link.check(PATIENCE_S)))
            assert not link.alive
            await until(lambda: alice.notes.reasons() == ["no answer to a check within 0.1 s"])


async def test_a_hand_made_goodbye_is_answered_by_hanging_up(rng: random.Random) -> None:
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            await rude.link(Person("mallory", rng))
            rude.write(frame(encode(Tell(b"x"))) + frame(encode(Bye("leaving"))) + frame(encode(Tell(b"after"))))
            await rude.is_hung_up_on()
        await until(lambda: bob.notes.reasons() == ["leaving"])
        assert bob.notes.texts() == [b"x"]


async def test_a_server_believes_in_a_link_when_the_client_says_something(rng: random.Random) -> None:
    """Between our welcome and their first word the client may have gone on with another link: nobody is told of it."""
    mallory = Person("mallory", rng)
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            await rude.prove(mallory)
            assert decode(await rude.message()) == Welcome()
            assert bob.pool.links() == []
            rude.write(frame(encode(Bye("duplicate"))))
            await rude.is_hung_up_on()
        await until(lambda: not bob.pool._links)
        assert not bob.notes.ups
        # But what they did say is heard, even if it crosses our own goodbye.
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            await rude.prove(mallory)
            assert decode(await rude.message()) == Welcome()
            bob.pool.close(mallory.device, "duplicate")
            rude.write(frame(encode(tell("crossing"))) + frame(encode(Bye("duplicate"))))
            await rude.is_hung_up_on()
        await until(lambda: bob.notes.reasons() == ["duplicate"])
        assert bob.notes.texts() == [b"crossing"]


async def test_a_reset_is_a_lost_link(rng: random.Random) -> None:
    async with Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        mallory = Person("mallory", rng)
        async with Rude.connected(bob.address, TlsIdentity(rng).client_context) as rude:
            await rude.link(mallory)
            await until(lambda: bob.pool.get(mallory.device) is not None)
        await until(lambda: len(bob.notes.downs) == 1)
        assert bob.pool.links() == []
        with contextlib.suppress(LinkLost):
            await bob.notes.ups[0].send(tell("nobody there"))
