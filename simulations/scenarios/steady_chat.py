"""steady-chat: rooms of eight and private talk on a quiet network."""

from ..measuring import measure_lookups, settle
from ..stage import Stage
from .talk import chatter, fill_rooms, private_lines

NAME = "steady-chat"
QUESTION = "Does everybody get every line, how quickly, and what does it cost, when nothing goes wrong?"
NODES = 100
TALK_S = 60.0


async def play(world: Stage, nodes: int) -> None:
    await world.start_bootstrap()
    people = await world.start_people(nodes, spread_s=max(5.0, nodes / 20))
    rooms = await fill_rooms(world, people)
    await chatter(world, rooms, for_s=TALK_S, every_s=5.0)
    await private_lines(world, people, min(50, nodes))
    await measure_lookups(world, 50)
    await settle(world)
