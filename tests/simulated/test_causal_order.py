"""An answer is not shown before what it answers, however it comes about that the answer is there first."""

import asyncio

import pytest

from simulations.checkers import Evidence, causal_order
from simulations.world import World

ROOM = "#lobby"


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_who_comes_in_between_a_line_and_its_answer_sees_them_in_order(seed: int) -> None:
    """Bob has heard carol's answer and not yet the line of alice that it answers, which lies on a path that is cut. Dora
    comes in and compares with him first: she waits for the line, as he does."""
    print("seed", seed)
    world = World(seed)
    problems: list[str] = []

    async def play() -> None:
        await world.start_bootstrap(8)  # a majority of the replicas answers whoever is cut off from two of them
        people = [world.add_person(name) for name in ("alice", "bob", "carol", "dora")]
        for person in people:
            await person.start()
        alice, bob, carol, dora = people
        for person in (alice, bob, carol):
            await person.join(ROOM)
        members = ["alice", "bob", "carol", "dora"]
        for person in (bob, dora):
            await person.join("#side")  # so that these two have a link
        assert await world.until(lambda: _links(world) == [2, 3, 2, 1], within_s=60.0)
        alone, others = [bob.host.address], [alice.host.address, carol.host.address]
        # Carol hears nothing of bob, so that she does not learn what he lacks.
        with world.faults.partition(alone, others[:1]), world.faults.partition(alone, others[1:], one_way=True):
            await asyncio.sleep(0.1)  # nothing is on its way any more
            await alice.say(ROOM, "line", members)
            assert await carol.until(lambda: carol.lines(ROOM) == ["line"], within_s=5.0)
            await carol.say(ROOM, "answer", members)
            assert await world.until(lambda: _holds(world, "bob") == 1, within_s=2.0)
            with world.faults.partition([dora.host.address], others):
                await dora.join(ROOM)
                assert await world.until(lambda: _holds(world, "dora") == 1, within_s=10.0)
        assert await world.until(lambda: len(dora.lines(ROOM)) == len(bob.lines(ROOM)) == 2, within_s=60.0)
        assert dora.lines(ROOM) == bob.lines(ROOM) == ["line", "answer"]
        problems.extend(causal_order(Evidence(world, world.findings())))

    world.run(play())
    assert problems == world.loop.complaints == []


def _links(world: World) -> list[int]:
    return [person.node.inspection.sizes().links if person.node else -1 for person in world.people.values()]


def _holds(world: World, name: str) -> int:
    node = world.people[name].node
    return len(list(node.inspection.statements())) if node else -1
