"""clock-skew: everybody's clock is wrong, and some jump."""

from ..measuring import measure_lookups, settle
from ..world import World
from .talk import chatter, fill_rooms

NAME = "clock-skew"
QUESTION = "Do presence, rooms and order survive clocks that are up to five minutes wrong and jump while people talk?"
NODES = 40
SKEW_S = 300.0


async def play(world: World, nodes: int) -> None:
    await world.start_bootstrap()
    people = [world.add_person(f"p{number:05}") for number in range(nodes)]
    for person in people:
        person.host.clock.skew_s = world.rng.uniform(-SKEW_S, SKEW_S)
        await person.start()
    rooms = await fill_rooms(world, people)
    await chatter(world, rooms, for_s=30.0, every_s=5.0)
    for person in people[::4]:
        person.host.clock.skew_s = world.rng.uniform(-SKEW_S, SKEW_S)
    await chatter(world, rooms, for_s=150.0, every_s=10.0)
    await settle(world, within_s=180.0)
    await measure_lookups(world, 50)
