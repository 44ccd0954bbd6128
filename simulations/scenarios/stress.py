"""stress: every room talks all the time. Meant for real sockets: `dhtchat simulate stress --sockets --nodes 300`."""

from ..measuring import settle
from ..stage import Player, Stage
from .talk import chatter, fill_rooms

NAME = "stress"
QUESTION = "Is anything lost when rooms of ten talk without a pause, a line a second in each?"
NODES = 60
ROOM_SIZE = 10
TALK_S = 30.0
EVERY_S = 1.0
COMING_AT_ONCE = 8
"""The next so many come when these are in. Each costs everybody something, real machines differ in what they can bear, and
this is about talk: join-storm is about coming."""


async def play(world: Stage, nodes: int) -> None:
    await world.start_bootstrap()
    started_s = world.loop.time()
    people: list[Player] = []
    while len(people) < nodes:
        people += await world.start_people(min(COMING_AT_ONCE, nodes - len(people)), spread_s=1.0)
    failed = [person.name for person in people if not person.online]
    world.recorder.violations += [f"all-in: {name}: {world.people[name].errors}" for name in failed]
    rooms = await fill_rooms(world, people, size=ROOM_SIZE)
    world.recorder.figures["all_in_after_s"] = world.loop.time() - started_s
    world.recorder.figures["rooms"] = len(rooms)
    await chatter(world, rooms, for_s=TALK_S, every_s=EVERY_S)
    talked_s = world.loop.time()
    await settle(world, within_s=300.0)
    world.recorder.figures["complete_after_s"] = world.loop.time() - talked_s
