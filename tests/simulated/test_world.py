"""The world: hosts that crash, lose power, restart and have wrong clocks, and runs that fail when something is left over."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest

from dhtchat.chat.events import ErrorShown, Ready
from dhtchat.limits import PRESENCE_TTL_S
from simulations.playing import CONVERGE_S
from simulations.runner import run_scenario
from simulations.world import EPOCH_S, Person, World

ROOM = "#lobby"


def play(body: Callable[[World, Person, Person], Awaitable[None]], *, real_tls: bool = False, seed: int = 1) -> World:
    """Alice and bob in a room, then whatever a test does with them."""
    world = World(seed, real_tls=real_tls)

    async def whole() -> None:
        await world.start_bootstrap()
        alice, bob = world.add_person("alice"), world.add_person("bob")
        for person in (alice, bob):
            person.rooms = [ROOM]
            await person.start()
        assert await world.until(lambda: bool(links(alice) and links(bob)), within_s=30.0)
        await body(world, alice, bob)

    world.run(whole())
    assert world.loop.complaints == []
    return world


def links(person: Person) -> int:
    return person.node.inspection.sizes().links if person.node is not None and person.node.is_online else 0


async def talk(world: World, speaker: Person, listener: Person, text: str) -> None:
    await speaker.say(ROOM, text, [listener.name])
    assert await listener.until(lambda: text in listener.lines(ROOM), within_s=60.0), text


@pytest.mark.parametrize("real_tls", [False, True])
def test_people_talk_over_plain_streams_and_over_real_tls(real_tls: bool) -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        await talk(world, alice, bob, "hello")
        await talk(world, bob, alice, "hello yourself")

    play(body, real_tls=real_tls)


def test_a_killed_process_is_noticed_at_once_because_its_system_resets_its_streams() -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        await bob.crash()
        assert await world.until(lambda: links(alice) == 0, within_s=1.0, step_s=0.1)

    play(body)


def test_a_power_cut_is_silence_until_the_keep_alive_gives_up() -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        await bob.crash(power=True)
        await asyncio.sleep(3.0)
        assert links(alice) == 1
        assert await world.until(lambda: links(alice) == 0, within_s=60.0)

    play(body)


@pytest.mark.parametrize("power", [False, True])
def test_a_restart_on_the_same_disk_keeps_keys_history_and_what_was_missed(power: bool) -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        await talk(world, alice, bob, "before")
        await bob.crash(power=power)
        await alice.say(ROOM, "while you were away", ["bob"])
        await bob.restart()
        assert await bob.until(lambda: "while you were away" in bob.lines(ROOM), within_s=120.0)
        assert bob.lines(ROOM).count("before") == 1
        await talk(world, bob, alice, "after")
        who = [seen.event.fingerprint for seen in bob.seen if isinstance(seen.event, Ready)]
        assert len(who) == 2
        assert len(set(who)) == 1

    play(body)


def test_a_power_cut_leaves_half_a_commit_behind_the_history() -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        await talk(world, alice, bob, "before")
        [log] = bob.host.disk.glob("**/history.db-wal")
        size, held = log.stat().st_size, on_disk(bob)
        await bob.crash(power=True)
        assert log.stat().st_size > size
        assert on_disk(bob) == held > 0

    play(body)


def test_nothing_of_a_crashed_process_gets_out() -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        sent: list[str] = []
        world.fabric.taps.append(lambda source, target, data: sent.append(source.host))
        await bob.crash()
        await asyncio.sleep(30.0)
        assert bob.host.address not in sent
        assert alice.host.address in sent

    play(body)


def on_disk(person: Person) -> int:
    """Lines in the history, read from outside."""
    (path,) = person.host.disk.glob("**/history.db")
    with closing(sqlite3.connect(path)) as database:
        count: int = database.execute("SELECT count(*) FROM statements").fetchone()[0]
    return count


def test_a_full_disk_keeps_a_line_off_it_and_off_the_screen_until_there_is_room() -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        bob.host.disk_full = True
        await alice.say(ROOM, "hello", ["bob"])
        assert await bob.until(lambda: any(isinstance(seen.event, ErrorShown) for seen in bob.seen), within_s=10.0)
        await asyncio.sleep(5.0)
        assert bob.lines(ROOM) == []
        assert on_disk(bob) == 0
        bob.host.disk_full = False
        assert await bob.until(lambda: bob.lines(ROOM) == ["hello"], within_s=30.0)

    play(body)


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("done", [False, True])
def test_a_crash_strikes_exactly_before_or_after_a_commit(done: bool, power: bool) -> None:
    """Goal: the moments between what is heard and the disk, and between the disk and what is said about it. Nobody is told
    anything of either, and with the next life the line is where it belongs."""

    async def body(world: World, alice: Person, bob: Person) -> None:
        crash = asyncio.ensure_future(bob.crash_at_commit(done=done, power=power))
        await asyncio.sleep(0)
        await alice.say(ROOM, "hello", ["bob"])
        await crash
        assert on_disk(bob) == done
        assert bob.lines(ROOM) == []
        await asyncio.sleep(1.0)
        assert "delivered" not in states(alice)
        await bob.restart()
        assert await world.until(lambda: "delivered" in states(alice), within_s=120.0)
        assert on_disk(bob) == 1
        assert bob.lines(ROOM) == (
            [] if done else ["hello"]
        )  # in between it is a line to `/history`, never shown twice

    play(body)


def states(person: Person) -> set[str]:
    return {change.state for changes in person.states().values() for change in changes}


def test_clocks_of_hosts_may_be_wrong_and_time_still_passes_for_all() -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        bob.host.clock.skew_s = -200.0
        assert bob.host.clock.wall() == alice.host.clock.wall() - 200.0
        assert bob.host.clock.monotonic() == alice.host.clock.monotonic() == world.loop.time()
        assert alice.host.clock.wall() == EPOCH_S + world.loop.time()
        await talk(world, bob, alice, "what time is it?")

    play(body)


@pytest.mark.parametrize("hour_s", [-3_600.0, 3_600.0])
def test_a_clock_an_hour_wrong_costs_being_found_and_nothing_else(hour_s: float) -> None:
    """docs/threat-model.md, "The clock": beyond CLOCK_SKEW_S nobody sees such a machine online. What was said is neither
    lost nor told twice, and with the clock right again it is found."""

    async def body(world: World, alice: Person, bob: Person) -> None:
        await talk(world, alice, bob, "before")
        bob.host.clock.go_far_off(hour_s)
        await asyncio.sleep(2 * PRESENCE_TTL_S)
        assert alice.node is not None
        assert bob.node is not None
        assert alice.node.inspection.members()[ROOM] == {alice.node.inspection.peer}
        await alice.say(ROOM, "meanwhile", ["bob"])
        await asyncio.sleep(5.0)
        bob.host.clock.far_off_s = 0.0
        assert await bob.until(lambda: "meanwhile" in bob.lines(ROOM), within_s=CONVERGE_S)
        await talk(world, bob, alice, "after")
        assert bob.lines(ROOM) == ["before", "meanwhile", "after"]
        assert alice.lines(ROOM) == ["before", "meanwhile", "after"]

    play(body)


def test_a_disk_is_gone_with_its_world() -> None:
    async def body(world: World, alice: Person, bob: Person) -> None:
        assert any(alice.host.disk.glob("**/history.db"))

    world = play(body)
    assert not world.disks.exists()


class _Scenario:
    """A scenario made of one coroutine."""

    NAME, QUESTION, NODES = "made-up", "Does it fail?", 1

    def __init__(self, body: Callable[[World], Awaitable[None]]) -> None:
        self._body = body

    async def play(self, world: World, nodes: int) -> None:
        await self._body(world)


def violations_of(body: Callable[[World], Awaitable[None]]) -> list[str]:
    return run_scenario(_Scenario(body), nodes=1, seed=1).violations


def test_a_task_left_running_fails_a_run() -> None:
    async def body(world: World) -> None:
        world.loop.create_task(asyncio.Event().wait(), name="forgotten")

    assert violations_of(body) == ["no-task-left: left running: forgotten"]


def test_a_log_record_at_error_level_fails_a_run() -> None:
    async def body(world: World) -> None:
        logging.getLogger("dhtchat.somewhere").error("it went %s", "wrong")
        logging.getLogger("dhtchat.somewhere").warning("this is fine")

    assert violations_of(body) == ["no-task-left: logged: dhtchat.somewhere: it went wrong"]


def test_an_exception_that_nobody_retrieved_fails_a_run() -> None:
    async def body(world: World) -> None:
        async def fail() -> None:
            raise ValueError("lost")

        world.loop.create_task(fail())
        await asyncio.sleep(1.0)

    assert any("lost" in violation for violation in violations_of(body))


def test_hosts_have_addresses_of_their_own() -> None:
    world = World(1)

    async def whole() -> None:
        addresses = {world.new_host(f"h{number}").address for number in range(70_000)}
        assert len(addresses) == 70_000
        assert all(max(map(int, address.split("."))) <= 255 for address in addresses)

    world.run(whole())
