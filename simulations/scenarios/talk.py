"""What several scenarios do: put people into rooms and let them talk."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..stage import Player, Stage

P = TypeVar("P", bound=Player)

ROOM_SIZE = 8
"""Up to here everybody in a room is linked to everybody; larger rooms are a question of their own."""


async def fill_rooms(world: Stage, people: Sequence[P], *, size: int = ROOM_SIZE) -> dict[str, list[P]]:
    """Rooms of `size`, everybody in one. The first of a room creates it."""
    rooms = {
        f"#room{number:04}": list(people[start : start + size])
        for number, start in enumerate(range(0, len(people), size))
    }

    async def enter(room: str, members: list[P]) -> None:
        for person in members:
            await person.join(room)

    async with asyncio.TaskGroup() as group:
        for room, members in rooms.items():
            group.create_task(enter(room, members))
    return rooms


async def chatter(world: Stage, rooms: Mapping[str, Sequence[Player]], *, for_s: float, every_s: float) -> None:
    """Each room hears a line about every `every_s` from a random member who is there, for `for_s`."""

    async def talk(room: str, members: Sequence[Player]) -> None:
        number = 0
        ends_s = world.loop.time() + for_s
        while (wait_s := world.rng.expovariate(1 / every_s)) + world.loop.time() < ends_s:
            await asyncio.sleep(wait_s)
            speakers = [person for person in members if person.is_in(room)]
            if speakers:
                speaker = world.rng.choice(speakers)
                number += 1
                text = f"line {number} of {speaker.name} in {room} at {world.loop.time():.3f}"
                await speaker.say(room, text, (person.name for person in members))

    async with asyncio.TaskGroup() as group:
        for room, members in rooms.items():
            group.create_task(talk(room, members))


async def private_lines(world: Stage, people: Sequence[Player], count: int) -> None:
    """So many lines between random pairs."""
    for number in range(count):
        author, recipient = world.rng.sample(list(people), 2)
        await author.say(recipient.name, f"private {number} from {author.name}", [recipient.name])
