"""hostile-half: as many liars as honest nodes."""

from ..world import World
from .hostile_lookup import look_among_liars

NAME = "hostile-half"
QUESTION = "And when half of all nodes are hostile?"
NODES = 600
HOSTILE = 0.50
PROMISED = 0.95


async def play(world: World, nodes: int) -> None:
    """Bare DHT nodes, see `hostile_lookup`."""
    await look_among_liars(world, nodes, HOSTILE, PROMISED)
