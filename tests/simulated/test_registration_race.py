"""Goal: one owner per name, whoever wants it at the same moment and whatever the network does meanwhile.

Must-show 4 of the simulator. A failure prints the command that repeats the run.
"""

import asyncio
from typing import NamedTuple

import pytest

from dhtchat.chat.events import Event, MessageArrived, Warned
from dhtchat.ids import PeerId
from dhtchat.records.account import account_key
from simulations.runner import run_scenario
from simulations.scenarios import registration_race
from simulations.world import Person, World

REGISTRANTS = 100
SEEDS = range(1, 6)
MANY_SEEDS = range(1, 101)
WANTED = registration_race.WANTED

REPLICAS = 6
"""On each side of the split, beside a bootstrap node: enough that neither side looks like a single machine."""
FORGET_S = 120.0
"""After this long the halves of a split have given each other up and decide alone."""
HEAL_S = 90.0
SETTLE_S = 20.0


def race(seed: int) -> None:
    result = run_scenario(registration_race, nodes=REGISTRANTS, seed=seed)
    told = f"again with: {result.repeat}"
    assert not result.violations, f"{result.violations}; {told}"
    assert result.figures["outcome_registered"] == 1, f"{result.figures}; {told}"
    assert result.figures["outcome_name-taken"] == REGISTRANTS - 1, f"{result.figures}; {told}"


@pytest.mark.parametrize("race_seed", SEEDS)
def test_exactly_one_of_a_hundred_registrants_gets_the_name(race_seed: int) -> None:
    """Goal: with 10 % loss one wins, all others are told that the name is taken, and every node names the same owner."""
    race(race_seed)


@pytest.mark.soak
@pytest.mark.parametrize("race_seed", MANY_SEEDS)
def test_exactly_one_of_a_hundred_registrants_gets_the_name_with_a_hundred_seeds(race_seed: int) -> None:
    race(race_seed)


class Split(NamedTuple):
    """A network in two halves. In each, somebody who talks (`ann`, `bob`) and somebody who wants the name."""

    world: World
    ann: Person
    bob: Person
    left: Person
    right: Person


async def split(world: World) -> tuple[Split, list[str], list[str]]:
    """Everybody but those who want the name is online. The last two are the hosts of either side."""
    await world.start_bootstrap(2)
    hosts: list[list[str]] = [[], []]
    for number in range(2 * REPLICAS):
        await world.start_bare_node(f"replica-{number:02}")
    for number, node in enumerate(world.nodes.values()):
        hosts[number % 2].append(node.address.host)
    ann, bob = world.add_person("ann"), world.add_person("bob")
    await ann.start()
    await bob.start()
    wanting = [Person(world, WANTED, world.new_host(f"wanting-{side}")) for side in ("left", "right")]
    for side, people in enumerate(((ann, wanting[0]), (bob, wanting[1]))):
        hosts[side] += [person.host.address for person in people]
    return Split(world, ann, bob, *wanting), hosts[0], hosts[1]


def warnings(person: Person) -> set[str]:
    return {seen.event.code for seen in person.seen if isinstance(seen.event, Warned)}


def shown(person: Person) -> list[Event]:
    return [seen.event for seen in person.seen]


def heard(person: Person) -> list[tuple[str, str]]:
    return [(e.sender, e.text) for e in shown(person) if isinstance(e, MessageArrived) and not e.own]


async def owners(world: World) -> set[PeerId | None]:
    """Who owns the name, asked from every node."""
    readings = [await node.read_claims(account_key(WANTED)) for node in world.askers()]
    return {PeerId(reading.owner.key) if reading.owner else None for reading in readings}


@pytest.mark.parametrize("split_seed", [1, 2])
def test_a_name_registered_on_both_sides_of_a_split_has_one_owner_after_it_heals(split_seed: int) -> None:
    """Goal: both who registered are warned, so are those who meet the other one, one owns the name in the end, and nobody's
    contact becomes somebody else. Method: a split long enough that each half decides alone; then lines across."""
    world = World(split_seed)

    async def play() -> None:
        parts, left_hosts, right_hosts = await split(world)
        ann, bob, left, right = parts.ann, parts.bob, parts.left, parts.right
        world.people |= {"wanting-left": left, "wanting-right": right}
        with world.faults.partition(left_hosts, right_hosts):
            await asyncio.sleep(FORGET_S)
            await asyncio.gather(left.start(), right.start())
            assert left.online, left.errors
            assert right.online, right.errors
            await ann.say(WANTED, "to the left one", [WANTED])
            await bob.say(WANTED, "to the right one", [WANTED])
            await asyncio.sleep(SETTLE_S)
            assert heard(left) == [("ann", "to the left one")]
            assert heard(right) == [("bob", "to the right one")]
        await asyncio.sleep(HEAL_S)
        assert "name-conflict" in warnings(left)
        assert "name-conflict" in warnings(right)
        assert len(await owners(world)) == 1
        # Those who pinned one of the two hear from the other, and talk with their own as before.
        await left.say("bob", "from the left one", ["bob"])
        await right.say("ann", "from the right one", ["ann"])
        await ann.say(WANTED, "to the left one again", [WANTED])
        await bob.say(WANTED, "to the right one again", [WANTED])
        await asyncio.sleep(SETTLE_S)
        assert heard(left) == [("ann", "to the left one"), ("ann", "to the left one again")]
        assert heard(right) == [("bob", "to the right one"), ("bob", "to the right one again")]
        for person in (ann, bob):
            assert "key-changed" in warnings(person)
            ((sender, _),) = heard(person)
            assert sender.startswith(f"{WANTED}#"), "shown under the bare name, although somebody else is pinned for it"

    world.run(play())
    assert not world.loop.complaints


@pytest.mark.parametrize("split_seed", [1])
def test_a_split_in_the_middle_of_a_race_leaves_one_owner(split_seed: int) -> None:
    """Goal: at most one winner on each side of a split that comes while they race, and one owner for all after it."""
    world = World(split_seed)
    outcomes: list[str] = []

    async def play() -> None:
        await world.start_bootstrap(2)
        for number in range(2 * REPLICAS):
            await world.start_bare_node(f"replica-{number:02}")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(world.register_only(WANTED, f"registrant-{n:03}")) for n in range(20)]
            await asyncio.sleep(0.3)  # the first have stored their claims by now
            hosts = world.addresses()
            with world.faults.partition(hosts[::2], hosts[1::2]):
                await asyncio.sleep(30.0)
        outcomes.extend(task.result() for task in tasks)
        await asyncio.sleep(HEAL_S)
        assert len(await owners(world)) == 1

    world.run(play())
    assert 1 <= outcomes.count("registered") <= 2, outcomes
    assert not world.loop.complaints
