"""Mail in whole networks: it survives its author, half of its replicas and the death of processes, and arrives once."""

import asyncio

import pytest

from dhtchat.chat.events import MessageArrived, StatusChanged
from simulations.world import Person, World

LINES = 20


def elsewhere(world: World, name: str, number: int = 2) -> Person:
    """Somebody's account on another machine with an empty disk."""
    person = Person(world, name, world.new_host(f"{name}-{number}"))
    person._registered = True
    world.people[f"{name}-{number}"] = person
    return person


def told(person: Person) -> list[str]:
    """The private lines of others as they were shown."""
    events = [seen.event for seen in person.messages()]
    return [e.text for e in events if isinstance(e, MessageArrived) and e.kind == "direct" and not e.own]


def own(person: Person) -> dict[str, str]:
    """Own lines: id -> text."""
    events = [seen.event for seen in person.messages()]
    return {e.id: e.text for e in events if isinstance(e, MessageArrived) and e.own}


def in_state(person: Person, state: str) -> set[str]:
    """Texts of own lines that were ever in this state."""
    lines = own(person)
    events = [seen.event for seen in person.seen]
    return {lines[e.id] for e in events if isinstance(e, StatusChanged) and e.state == state and e.id in lines}


async def town(world: World, nodes: int) -> None:
    """A bootstrap node and so many others that nobody talks through."""
    await world.start_bootstrap()
    for number in range(nodes):
        await world.start_bare_node(f"n{number}")
    await asyncio.sleep(20.0)


async def start(world: World, name: str) -> Person:
    person = world.add_person(name)
    await person.start()
    assert person.online, person.errors
    return person


@pytest.mark.parametrize("number", range(2))
def test_lines_to_somebody_never_seen_arrive_after_their_author_and_many_replicas_are_gone(
    seed: int, number: int
) -> None:
    """Bob registers and leaves. Alice writes 20 lines and leaves; 8 of 20 nodes are killed. Bob logs in on an empty machine
    and has all of them, in order and delayed. Alice saw `stored`, and sees `delivered` when she is back."""
    world = World(seed + number)
    texts = [f"line {n}" for n in range(LINES)]

    async def play() -> None:
        await town(world, 20)
        assert await world.register_only("bob", "bobs-first-machine") == "registered"
        alice = await start(world, "alice")
        for text in texts:
            await alice.say("bob", text, ["bob"])
        await alice.leave()
        assert in_state(alice, "stored") == set(texts)
        assert in_state(alice, "delivered") == set()
        for name in world.rng.sample([f"n{n}" for n in range(20)], 8):
            await world.kill_bare_node(name)
        bob = elsewhere(world, "bob")
        await bob.start()
        assert await bob.until(lambda: len(told(bob)) >= LINES, within_s=60.0), told(bob)
        await asyncio.sleep(30.0)
        assert told(bob) == texts
        assert all(s.event.delayed for s in bob.messages() if isinstance(s.event, MessageArrived))
        await bob.leave()
        await alice.start()
        assert await alice.until(lambda: _delivered(alice) == set(texts), within_s=120.0), _delivered(alice)

    def _delivered(alice: Person) -> set[str]:
        return in_state(alice, "delivered")

    world.run(play())
    assert world.loop.complaints == []
