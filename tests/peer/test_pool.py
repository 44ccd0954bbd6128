"""Goal: one link per pair of devices, which comes back by itself, whatever order things happen in."""

import asyncio
import contextlib
import random
from collections import Counter
from typing import Any

import pytest

from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.errors import AddressInUse
from dhtchat.ids import DeviceId, Endpoint
from dhtchat.limits import NONCE_BYTES
from dhtchat.peer.messages import PeerMessage
from dhtchat.peer.pool import Link
from dhtchat.peer.session import Reply
from tests.peer.fakes import LOOPBACK, PATIENCE_S, QUICK, Party, Person, Pipe, Rude, tell, until

pytestmark = pytest.mark.usefixtures("nothing_left")


async def closed_port(party: Party) -> Endpoint:
    """An address where nobody is: one that was just given back."""
    server = await asyncio.start_server(lambda reader, writer: None, *LOOPBACK)
    address = Endpoint(*server.sockets[0].getsockname()[:2])
    server.close()
    assert address != party.address
    return address


# --- one link per pair ------------------------------------------------------------------------------------------------


async def settled(alice: Party, bob: Party) -> tuple[Link, Link]:
    """The one link of a pair, seen from both ends, once nothing moves any more."""
    await until(
        lambda: (
            len(alice.notes.ups) - len(alice.notes.downs) == 1
            and len(bob.notes.ups) - len(bob.notes.downs) == 1
            and len(alice.pool._streams) == len(bob.pool._streams) == 1
        )
    )
    here, there = alice.link(bob), bob.link(alice)
    assert here is not None
    assert there is not None
    assert here.dialled != there.dialled
    # It is the same one: what goes in here comes out there.
    await here.send(tell("from here"))
    await there.send(tell("from there"))
    await until(lambda: (there, tell("from here")) in bob.notes.heard)
    await until(lambda: (here, tell("from there")) in alice.notes.heard)
    return here, there


async def test_two_who_dial_each_other_at_once_end_with_one_link(seed: int) -> None:
    """Goal: the same one on both sides, and nothing that was said on the other is lost. Repeated with many timings."""
    statistics: Counter[str] = Counter()
    for repetition in range(30):
        source = random.Random(seed * 1_000 + repetition)
        async with Party(Person("alice", source), source) as alice, Party(Person("bob", source), source) as bob:
            said: dict[str, list[bytes]] = {"alice": [], "bob": []}

            async def greet(link: Link, said: dict[str, list[bytes]] = said) -> None:
                """Upon each link, at once: what may end up on the one that loses."""
                for number in range(5):
                    text = f"{link.author.name} {number} {id(link)}"
                    if link.send_soon(tell(text)):
                        said[link.author.name].append(text.encode())

            alice.notes.on_up = bob.notes.on_up = greet
            await alice.listen()
            await bob.listen()
            # A handshake takes about 10 ms here: gaps around that are the interesting ones.
            alice.want(bob)
            await asyncio.sleep(source.choice([0.0, source.uniform(0.0, 0.02)]))
            bob.want(alice)
            here, there = await settled(alice, bob)
            winner = here if here.dialled else there
            assert winner.alive
            await until(lambda: set(said["alice"]) <= set(alice.notes.texts()))  # noqa: B023
            await until(lambda: set(said["bob"]) <= set(bob.notes.texts()))  # noqa: B023
            assert set(alice.notes.reasons() + bob.notes.reasons()) <= {"duplicate"}
            statistics += alice.pool.statistics + bob.pool.statistics
    assert statistics["duplicate"] > 0, "no two ever raced"
    assert statistics["refused-proof"] == statistics["malformed"] == 0


async def test_the_race_goes_to_the_smaller_device_key(rng: random.Random) -> None:
    """Both links are up on both sides before either is judged: only the key can decide."""
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        await alice.listen()
        await bob.listen()
        alice.want(bob)
        bob.want(alice)
        here, _ = await settled(alice, bob)
        both_came_up = alice.pool.statistics["opened"] + bob.pool.statistics["opened"] > 2
        smaller_is_alice = alice.person.device < bob.person.device
        assert here.dialled == smaller_is_alice or not both_came_up


async def test_many_who_all_dial_each_other_end_with_one_link_per_pair(rng: random.Random) -> None:
    people = [Party(Person(f"peer-{number}", rng), rng) for number in range(6)]
    async with asyncio.TaskGroup() as tasks:
        ready = asyncio.Barrier(len(people))
        for party in people:
            tasks.create_task(_in_a_crowd(party, people, ready))


async def _in_a_crowd(party: Party, people: list[Party], ready: asyncio.Barrier) -> None:
    async with party as me:
        await me.listen()
        await ready.wait()
        others = [other for other in people if other is not me]
        for other in others:
            me.want(other)
        for other in others:
            await me.linked(other)
        await until(lambda: len(me.pool._streams) == len(others))
        await ready.wait()
        assert sorted(link.author.name for link in me.pool.links()) == sorted(other.person.name for other in others)
        await ready.wait()


def in_order_of_keys(source: random.Random) -> tuple[Person, Person]:
    """Alice and Bob, of whom Alice has the smaller device key: a race is hers."""
    alice, bob = Person("alice", source), Person("bob", source)
    while bob.device < alice.device:
        bob = Person("bob", source)
    return alice, bob


async def test_a_later_link_replaces_one_that_only_we_believe_in(rng: random.Random) -> None:
    """Bob's machine loses power: no goodbye, no reset. He is back before we have noticed, and dials us.

    In a race our link would win. But it is not one: more than LINK_RACE_S lie between the two.
    """
    alice_herself, bob_himself = in_order_of_keys(rng)
    async with Party(alice_herself, rng, link_race_s=0.0) as alice:
        await alice.listen()
        async with Party(bob_himself, rng) as bob:
            await bob.listen()
            async with Pipe(bob.address) as pipe:
                alice.want(bob, pipe.address)
                old, at_bob = await alice.linked(bob), await bob.linked(alice)
                alice.pool.unwant(bob.person.device)
                pipe.silent = True
                at_bob.abort("power failure")
                await until(lambda: len(bob.notes.downs) == 1)
                assert old.alive
                bob.want(alice)
                await until(lambda: len(alice.notes.ups) == 2)
                assert alice.notes.downs == [(old, "replaced by a newer link")]
                await settled(alice, bob)


async def test_the_old_link_is_down_before_the_new_one_is_up(rng: random.Random) -> None:
    """Even if a handler still sits on a message of the old one."""
    bob_again = Person("bob", rng)
    async with Party(Person("alice", rng), rng) as alice:
        await alice.listen()
        alice.notes.may_read.clear()
        for number in range(3):
            async with Party(bob_again, rng) as bob:
                bob.want(alice)
                link = await bob.linked(alice)
                await link.send(tell(f"message {number}"))
                await until(lambda: alice.pool.statistics["opened"] == number + 1)  # noqa: B023
                await bob.pool.close_all("leaving", 1.0)
        assert len(alice.notes.ups) == 1
        assert alice.notes.texts() == []
        alice.notes.may_read.set()
        await until(lambda: len(alice.notes.downs) == 3)
        assert alice.notes.ups == [link for link, _ in alice.notes.downs]
        assert alice.notes.texts() == [b"message 0", b"message 1", b"message 2"]


async def test_who_dials_again_within_the_race_time_has_lost_the_first(rng: random.Random) -> None:
    """The same, sooner than LINK_RACE_S: both links were dialled by Bob, so it is no race."""
    bob_again = Person("bob", rng)
    async with Party(Person("alice", rng), rng) as alice:
        await alice.listen()
        async with Pipe(alice.address) as pipe:
            async with Party(bob_again, rng) as bob:
                bob.want(alice, pipe.address)
                await alice.linked(bob)
                pipe.silent = True
            async with Party(bob_again, rng) as bob:
                bob.want(alice)
                await settled(alice, bob)


async def test_two_devices_of_one_person_are_two_links(rng: random.Random) -> None:
    laptop = Person("bob", rng)
    phone = Person("bob", rng, identity=laptop.identity)
    async with Party(Person("alice", rng), rng) as alice, Party(laptop, rng) as one, Party(phone, rng) as other:
        alice.want(await one.listen())
        alice.want(await other.listen())
        await alice.linked(one)
        await alice.linked(other)
        assert {link.author.device for link in alice.pool.links_of(laptop.peer)} == {laptop.device, phone.device}
        one.want(await other.listen())  # and with each other
        await one.linked(other)
        assert len(alice.pool.links()) == 2
        assert alice.pool.links_of(alice.person.peer) == []


async def test_nobody_links_to_oneself(rng: random.Random) -> None:
    bob = Person("bob", rng)
    async with Party(bob, rng) as one, Party(bob, rng) as copy:
        one.want(one)
        assert one.pool.statistics["dialled"] == 0
        # Somebody's record says that carol is at our address.
        copy.pool.want(DeviceId(Person("carol", rng).device), bob.peer, [(await one.listen()).address])
        await until(lambda: copy.pool.statistics["refused-proof"] > 0)
        assert not one.notes.ups


# --- dialling ---------------------------------------------------------------------------------------------------------


async def test_a_link_comes_back_after_the_other_side_died_without_a_word(rng: random.Random) -> None:
    person = Person("bob", rng)
    async with Party(Person("alice", rng), rng) as alice:
        async with Party(person, rng) as bob:
            alice.want(await bob.listen())
            await alice.linked(bob)
            address = bob.address
        await until(lambda: len(alice.notes.downs) == 1)
        failed = alice.pool.statistics["handshake-failed"]
        await until(lambda: alice.pool.statistics["handshake-failed"] >= failed + 3)  # nobody there for a while
        async with Party(person, rng) as bob:
            await bob.listen(address)
            await settled(alice, bob)
        assert len(alice.notes.ups) == 2


class Ceilings(random.Random):
    """A source that notes between what bounds it was asked for, and always gives the upper one."""

    asked: list[tuple[float, float]]

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return b


async def test_waits_between_dials_grow_twofold_with_full_jitter_up_to_the_limit(rng: random.Random) -> None:
    source = Ceilings(1)
    source.asked = []
    async with Party(Person("alice", rng), source, backoff_first_s=0.001, backoff_max_s=0.02) as alice:
        alice.pool.want(Person("bob", rng).device, Person("bob", rng).peer, [await closed_port(alice)])
        await until(lambda: len(source.asked) >= 8)
        assert source.asked[:8] == [(0, wait) for wait in (0.001, 0.002, 0.004, 0.008, 0.016, 0.02, 0.02, 0.02)]


async def test_links_that_die_young_do_not_make_us_dial_in_a_tight_circle(rng: random.Random) -> None:
    source = Ceilings(1)
    source.asked = []

    async def go_away(link: Link) -> None:
        link.close("leaving")

    async with (
        Party(Person("alice", rng), source, backoff_first_s=0.001, backoff_max_s=0.02) as alice,
        Party(Person("bob", rng), rng) as bob,
    ):
        bob.notes.on_up = go_away
        alice.want(await bob.listen())
        await until(lambda: len(source.asked) >= 6)
        assert source.asked[:6] == [(0, wait) for wait in (0.001, 0.002, 0.004, 0.008, 0.016, 0.02)]
        assert len(alice.notes.ups) >= 5


async def test_a_link_that_lasted_makes_us_forget_the_waits(rng: random.Random) -> None:
    source = Ceilings(1)
    source.asked = []
    limits: dict[str, Any] = {"keepalive_interval_s": 0.02, "keepalive_timeout_s": 0.1}
    async with (
        Party(Person("alice", rng), source, backoff_first_s=0.001, backoff_max_s=0.02, **limits) as alice,
        Party(Person("bob", rng), rng, **limits) as bob,
    ):
        alice.want(bob, await closed_port(alice))
        await until(lambda: len(source.asked) >= 6)
        alice.want(await bob.listen())
        link = await alice.linked(bob)
        old_enough = link.made_at + 0.1
        await until(lambda: asyncio.get_running_loop().time() > old_enough)
        asked = len(source.asked)
        bob.pool.close(alice.person.device)
        await until(lambda: len(source.asked) > asked)
        assert source.asked[asked] == (0, 0.001)


async def test_other_addresses_are_dialled_at_once_and_forget_the_waits(rng: random.Random) -> None:
    async with (
        Party(Person("alice", rng), Patient(1), backoff_first_s=600.0, backoff_max_s=600.0) as alice,
        Party(Person("bob", rng), rng) as bob,
    ):
        nobody = await closed_port(alice)
        alice.want(bob, nobody)
        await until(lambda: alice.pool.statistics["handshake-failed"] == 1)
        alice.want(bob, nobody)  # nothing new: no reason to dial
        alice.want(await bob.listen())
        await alice.linked(bob)
        assert alice.pool.statistics["dialled"] == 2


class Patient(random.Random):
    """Always waits as long as it may."""

    def uniform(self, a: float, b: float) -> float:
        return b


async def test_when_the_network_is_back_all_are_dialled_at_once(rng: random.Random) -> None:
    async with (
        Party(Person("alice", rng), Patient(1), backoff_first_s=600.0, backoff_max_s=600.0) as alice,
        Party(Person("bob", rng), rng) as bob,
    ):
        address = await closed_port(alice)
        alice.want(bob, address)
        await until(lambda: alice.pool.statistics["handshake-failed"] == 1)
        await bob.listen(address)
        alice.pool.retry_now()
        await alice.linked(bob)


async def test_who_is_not_wanted_any_more_keeps_the_link_and_is_not_dialled_again(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice:
        async with Party(Person("bob", rng), rng) as bob:
            alice.want(await bob.listen())
            link = await alice.linked(bob)
            alice.pool.unwant(bob.person.device)
            alice.pool.unwant(bob.person.device)
            assert await link.check(PATIENCE_S)
        await until(lambda: len(alice.notes.downs) == 1)
        assert alice.pool._wanted == {}
        assert alice.pool.statistics["dialled"] == 1


async def test_a_dial_that_is_not_wanted_any_more_leaves_nothing(rng: random.Random) -> None:
    """At every moment of a dial: unwanted before it, during TLS, during the proof, just after."""
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        for step in range(40):
            alice.want(bob)
            for _ in range(step):
                await asyncio.sleep(0)
            alice.pool.unwant(bob.person.device)
            alice.pool.close(bob.person.device)
            await until(lambda: not alice.pool._streams or alice.pool.get(bob.person.device) is not None)
            alice.pool.close(bob.person.device)
            await until(lambda: not alice.pool._streams and not bob.pool._streams)
        assert len(bob.notes.ups) == len(bob.notes.downs)


async def test_a_link_whose_proof_is_out_is_the_servers_to_decide(rng: random.Random) -> None:
    """Goal: when both dial at once and the server has taken our link for the one that stays, our change of mind must
    not drop it, or both would be gone. Method: a server made by hand that takes its time with the welcome."""
    bob, tls = Person("bob", rng), TlsIdentity(rng)
    proved, dropped = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rude = Rude(reader, writer)
        session = bob.server(bytes(NONCE_BYTES), tls.certificate)
        reply = session.receive(await rude.message(), 0.0)
        assert isinstance(reply, Reply)
        rude.write(reply.wire)
        session.receive(await rude.message(), 0.0)
        proved.set()
        await dropped.wait()
        rude.write(session.welcome(0.0))
        await rude.is_hung_up_on()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, *LOOPBACK, ssl=tls.server_context)
    async with server, Party(Person("alice", rng), rng) as alice:
        alice.pool.want(bob.device, bob.peer, [Endpoint(*server.sockets[0].getsockname()[:2])])
        await proved.wait()
        [wanted] = alice.pool._wanted.values()
        assert wanted.task is not None
        alice.pool.unwant(bob.device)
        await asyncio.wait([wanted.task])
        dropped.set()
        await until(lambda: alice.pool.get(bob.device) is not None)


async def test_whoever_answers_for_somebody_else_gets_no_link(rng: random.Random) -> None:
    async with (
        Party(Person("alice", rng), rng) as alice,
        Party(Person("bob", rng), rng) as bob,
        Party(Person("mallory", rng), rng) as mallory,
    ):
        await mallory.listen()
        await bob.listen()
        alice.want(bob, mallory.address)
        await until(lambda: alice.pool.statistics["refused-proof"] >= 2)
        alice.want(bob, mallory.address, bob.address)
        await alice.linked(bob)
        assert not mallory.notes.ups
        # The device may be right and the person not: a record that binds bob's device to mallory.
        alice.pool.close(bob.person.device)
        refused = alice.pool.statistics["refused-proof"]
        alice.pool.want(bob.person.device, mallory.person.peer, [bob.address])
        await until(lambda: alice.pool.statistics["refused-proof"] > refused)


async def test_a_silent_address_holds_up_the_next_one_for_a_moment_only(rng: random.Random) -> None:
    """RFC 8305 §5: the next address is tried after the "Connection Attempt Delay", not after the first has failed."""
    async with (
        Party(Person("alice", rng), rng, dial_stagger_s=0.05) as alice,
        Party(Person("bob", rng), rng, handshake_timeout_s=0.3) as bob,
    ):
        await bob.listen()
        async with Pipe(bob.address, silent=True) as pipe:
            start = asyncio.get_running_loop().time()
            alice.want(bob, pipe.address, bob.address)
            link = await alice.linked(bob)
            assert link.endpoint == bob.address
            assert 0.05 <= asyncio.get_running_loop().time() - start < QUICK.dial_timeout_s
            await settled(alice, bob)


async def test_a_refused_address_does_not_hold_up_the_next_one(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng, dial_stagger_s=600.0) as alice, Party(Person("bob", rng), rng) as bob:
        await bob.listen()
        alice.want(bob, await closed_port(alice), bob.address)
        await alice.linked(bob)


async def test_several_good_addresses_give_one_link(rng: random.Random) -> None:
    """All of them answer at the same time, and only one is told who calls."""
    async with Party(Person("alice", rng), rng, dial_stagger_s=0.0) as alice, Party(Person("bob", rng), rng) as bob:
        addresses = [(await bob.listen()).address for _ in range(4)]
        alice.want(bob, *addresses)
        await settled(alice, bob)
        assert alice.pool.statistics["dialled"] > 1
        assert bob.pool.statistics["opened"] == 1
        assert len(alice.notes.ups) == 1


@pytest.mark.parametrize("address", [Endpoint("localhost", 80), Endpoint("", 80), Endpoint("127.0.0.1", 0)])
async def test_only_numeric_addresses_are_dialled(rng: random.Random, address: Endpoint) -> None:
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        alice.want(bob, address)
        alice.want(bob, address, (await bob.listen()).address)
        await alice.linked(bob)
        assert alice.pool.statistics["dialled"] == 1


# --- caps and the end -------------------------------------------------------------------------------------------------


async def test_a_full_pool_says_so_and_takes_the_next_when_one_leaves(rng: random.Random) -> None:
    names = ["ann", "ben", "cid"]
    async with (
        Party(Person("hub", rng), rng, links_max=2) as hub,
        Party(Person(names[0], rng), rng) as ann,
        Party(Person(names[1], rng), rng) as ben,
        Party(Person(names[2], rng), rng) as cid,
    ):
        await hub.listen()
        for first in (ann, ben):
            first.want(hub)
            await hub.linked(first)
        cid.want(hub)
        await until(lambda: hub.pool.statistics["full"] > 1)
        assert not cid.notes.ups
        assert len(hub.pool.links()) == 2
        ann.pool.unwant(hub.person.device)
        ann.pool.close(hub.person.device)
        await hub.linked(cid)


async def test_saying_goodbye_to_all_reaches_all(rng: random.Random) -> None:
    others = [Party(Person(f"peer-{number}", rng), rng) for number in range(3)]
    async with Party(Person("hub", rng), rng) as hub, others[0], others[1], others[2]:
        await hub.listen()
        for other in others:
            other.want(hub)
            await (await other.linked(hub)).send(tell(other.person.name))
        await until(lambda: len(hub.notes.heard) == 3)
        for link in hub.pool.links():
            await link.send(tell("last words"))
        await hub.pool.close_all("leaving", PATIENCE_S)
        assert hub.pool.links() == []
        assert hub.notes.reasons() == ["leaving"] * 3
        await until(lambda: all(other.notes.reasons() == ["leaving"] for other in others))
        assert all(other.notes.texts() == [b"last words"] for other in others)
        hub.pool.want(others[0].person.device, others[0].person.peer, [others[0].address])
        assert hub.pool._wanted == {}


async def test_a_taken_address_is_said_to_be_taken(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice, Party(Person("bob", rng), rng) as bob:
        await alice.listen()
        with pytest.raises(AddressInUse, match=f"cannot listen on {alice.address}"):
            await bob.listen(alice.address)


async def test_fifty_links_come_and_go_and_leave_nothing(rng: random.Random) -> None:
    """What is left is checked by `nothing_left`; here: that they all were there, and all at once."""
    source = random.Random(rng.random())
    # They are all on one host, and on a busy machine would push each other out of the half-open ones again and again.
    async with Party(Person("hub", source), source, half_open_per_host_max=50) as hub:
        await hub.listen()
        async with asyncio.TaskGroup() as tasks:
            everybody = asyncio.Barrier(50)
            for number in range(50):
                tasks.create_task(_come_and_go(Person(f"peer-{number}", source), source, hub, everybody))
        await until(lambda: len(hub.notes.downs) == 50)
        assert len(hub.notes.ups) == len(hub.notes.texts()) == 50
        assert not hub.pool._streams
        assert not hub.pool._serving
        assert not hub.pool._links
        assert not hub.pool._half_open


async def _come_and_go(person: Person, source: random.Random, hub: Party, everybody: asyncio.Barrier) -> None:
    async with Party(person, source) as party:
        party.want(hub)
        await (await party.linked(hub)).send(tell(person.name))
        await everybody.wait()
        await party.pool.close_all("leaving", PATIENCE_S)


async def test_leaving_is_quick_and_complete(rng: random.Random) -> None:
    """No goodbye is waited for, and no stream outlives the block by a tick."""
    async with (
        Party(Person("alice", rng), rng) as alice,
        contextlib.AsyncExitStack() as stack,
        asyncio.timeout(PATIENCE_S),
    ):
        async with Party(Person("bob", rng), rng, goodbye_timeout_s=600.0) as bob:
            alice.want(await bob.listen())
            await bob.linked(alice)
            await stack.enter_async_context(Rude.connected(bob.address, None))
            await until(lambda: len(bob.pool._streams) == 2)
        assert not bob.pool._streams


async def test_leaving_does_not_wait_for_a_handler_that_does_not_come_back(rng: random.Random) -> None:
    async with Party(Person("alice", rng), rng) as alice:
        async with Party(Person("bob", rng), rng, goodbye_timeout_s=0.1) as bob:
            alice.want(await bob.listen())
            link = await alice.linked(bob)
            bob.notes.may_read.clear()
            await link.send(tell("never handled"))
            await until(lambda: bob.notes.ups != [])
        assert len(bob.notes.downs) == 1
        assert not bob.notes.heard


async def test_a_bug_in_a_handler_ends_the_pool_with_its_traceback(rng: random.Random) -> None:
    async def break_down(link: Link, message: PeerMessage) -> None:
        raise ZeroDivisionError("a bug")

    async def run_bob(alice: Party) -> None:
        async with Party(Person("bob", rng), rng) as bob:
            bob.notes.on_received = break_down
            alice.want(await bob.listen())
            await (await alice.linked(bob)).send(tell("x"))
            await asyncio.Event().wait()

    async with Party(Person("alice", rng), rng) as alice:
        with pytest.raises(ExceptionGroup) as caught:
            await run_bob(alice)
        assert caught.group_contains(ZeroDivisionError, match="a bug")
        await until(lambda: len(alice.notes.downs) == 1)
