"""big-directory: many people online, and somebody asks who."""

import asyncio

from dhtchat.chat.events import Users
from dhtchat.chat.intents import ListUsers

from ..measuring import settle
from ..world import World

NAME = "big-directory"
QUESTION = "What does it cost to list everybody who is online, and is the list complete?"
NODES = 100


async def play(world: World, nodes: int) -> None:
    await world.start_bootstrap()
    people = await world.start_people(nodes, spread_s=max(5.0, nodes / 20))
    await asyncio.sleep(20.0)
    asker = people[-1]
    before, started_s = world.fabric.counts["datagrams"], world.loop.time()
    await asker.perform(ListUsers())
    await asker.until(lambda: any(isinstance(seen.event, Users) for seen in asker.seen), within_s=120.0)
    listed = [seen.event for seen in asker.seen if isinstance(seen.event, Users)]
    names = {user.name for user in listed[-1].users} if listed else set()
    present = {person.name for person in people if person.node is not None and person.node.is_online}
    world.recorder.figures |= {
        "listed": len(names),
        "online": len(present),
        "took_s": world.loop.time() - started_s,
        "datagrams_meanwhile": world.fabric.counts["datagrams"] - before,
    }
    missing = present - names
    if missing:
        world.recorder.violations.append(f"complete-list: {len(missing)} of {len(present)} are not listed")
    await settle(world)
