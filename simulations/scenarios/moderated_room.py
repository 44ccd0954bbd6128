"""moderated-room: a stage whose moderators are cut off from each other, quarrel, and are gone for good in the end."""

import asyncio
from collections.abc import Sequence

from dhtchat.chat import intents

from ..measuring import settle
from ..world import Person, World

NAME = "moderated-room"
QUESTION = "Do all see the same roles after a split with moderators on both sides, and does talk go on when all of them are gone?"
NODES = 16
ROOM = "#stage"
TALK_S = 30.0
AGREE_S = 240.0
"""As long as two halves need to find each other again, and more."""


async def play(world: World, nodes: int) -> None:
    await world.start_bootstrap(2)
    people = await world.start_people(max(8, nodes), spread_s=max(5.0, nodes / 20))
    owner, left, right, speaker, other, kicked, *_, late = people
    members = people[:-1]
    for person in members:
        await person.join(ROOM)
    for name in (left.name, right.name):
        await owner.perform(intents.Grant(name, "op", ROOM))
    await _agree(world, members)
    await left.perform(intents.ChangeMode(moderated=True, room=ROOM))
    await speaker.perform(intents.MoveHand(ROOM))
    await _agree(world, members)
    for name in (speaker.name, other.name):
        await right.perform(intents.Grant(name, "voice", ROOM))
    await _agree(world, members)
    await _talk(world, [owner, left, right, speaker, other], members)

    halves = [owner, left, speaker, *members[6::2]], [right, other, kicked, *members[7::2]]
    doors = [node.address.host for node in world.nodes.values()]
    with world.faults.partition(
        [*(person.host.address for person in halves[0]), doors[0]],
        [*(person.host.address for person in halves[1]), doors[1]],
    ):
        await asyncio.sleep(TALK_S)
        await left.perform(intents.Remove(right.name, "deop", "", ROOM))
        await right.perform(intents.Remove(left.name, "deop", "", ROOM))  # two equals: both go
        await right.perform(intents.Remove(speaker.name, "devoice", "", ROOM))  # beside the removal of its author: void
        await owner.perform(intents.Grant(kicked.name, "voice", ROOM))
        await _talk(world, [owner, speaker], members)
    healed_s = world.loop.time()
    await _agree(world, members)
    world.recorder.figures["agreed_after_s"] = world.loop.time() - healed_s
    expected = {owner.name: "owner", left.name: "listener", right.name: "listener", speaker.name: "speaker"}
    _check(world, owner, {**expected, other.name: "speaker", kicked.name: "speaker"})
    await settle(world, within_s=AGREE_S)

    await owner.perform(intents.Remove(kicked.name, "kick", "", ROOM))
    await _agree(world, [person for person in members if person is not kicked])
    kicked.rooms.remove(ROOM)
    members = [person for person in members if person is not kicked]
    await other.crash()
    await other.restart()
    await late.join(ROOM)
    await _agree(world, [*members, late])
    await owner.perform(intents.Grant(other.name, "owner", ROOM))
    await _agree(world, [*members, late])
    await other.perform(intents.Remove(owner.name, "deop", "", ROOM))  # now nobody but `other` can decide anything
    await _agree(world, [*members, late])
    _check(world, late, {owner.name: "listener", other.name: "owner", kicked.name: "listener"})

    for person in (other, owner, left, right):
        await person.crash()
    remaining = [person for person in [*members, late] if person.running]
    await _talk(world, [speaker], remaining)
    await settle(world, within_s=AGREE_S)
    await _agree(world, remaining)


async def _talk(world: World, speakers: Sequence[Person], members: Sequence[Person]) -> None:
    ends_s = world.loop.time() + TALK_S
    number = 0
    while world.loop.time() < ends_s:
        await asyncio.sleep(world.rng.expovariate(1.0))
        number += 1
        speaker = world.rng.choice(speakers)
        text = f"line {number} of {speaker.name} at {world.loop.time():.3f}"
        await speaker.say(ROOM, text, (person.name for person in members))


def _pictures(people: Sequence[Person]) -> list[object]:
    return [person.node.inspection.roles().get(ROOM) if person.node is not None else None for person in people]


async def _agree(world: World, people: Sequence[Person]) -> None:
    """Wait until all evaluate the same rulings to the same roles."""

    def agreed() -> bool:
        first, *others = _pictures(people)
        return first is not None and all(each == first for each in others)

    if not await world.until(agreed, within_s=AGREE_S, step_s=0.5):
        world.recorder.violations.append(f"same-roles: not within {AGREE_S:.0f} s: {_pictures(people)}"[:500])


def _check(world: World, seen_by: Person, expected: dict[str, str]) -> None:
    assert seen_by.node is not None
    keys = {person.name: person.node.inspection.peer for person in world.people.values() if person.node is not None}
    _, roles = seen_by.node.inspection.roles()[ROOM]
    found = {name: roles.get(keys[name]) for name in expected}
    if found != expected:
        world.recorder.violations.append(f"right-roles: {found} and not {expected}")
