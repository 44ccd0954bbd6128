"""spreading: one room of thousands, made of the machines that spread its messages and nothing else."""

import asyncio
import hashlib
from random import Random

from dhtchat.limits import GUEST_NEIGHBOURS, OWN_NEIGHBOURS

from ..crowd import Crowd
from ..network import RETRANSMIT_FIRST_S, Latency
from ..result import percentile
from ..world import World

NAME = "spreading"
QUESTION = (
    "Does a large room get every message, in time and without many copies, also when three in four vanish in mid-talk?"
)
NODES = 1000
LOSS = 0.05
LATENCY = Latency(0.010, 0.050)
GATHER_S = 20.0
EVERY_S = 0.2
SETTLING, MEASURED = 128, 128
"""Messages before it counts, and those that count."""
COPIES_MAX = 1.2
LATE_S = 1.0 + RETRANSMIT_FIRST_S
"""99 of 100 come within a second, or with these losses one retransmission later (issue 6)."""
AFTERMATH_S = 60.0


async def play(world: World, nodes: int) -> None:
    crowd = Crowd(Random(world.rng.randbytes(8)), nodes, latency=LATENCY, loss=LOSS)
    crowd.run(until_s=GATHER_S)
    _talk(crowd, SETTLING)
    said = _talk(crowd, MEASURED)
    crowd.run(until_s=crowd.now_s + 10.0)
    _judge(world, crowd, said)
    vanish = crowd.random.sample(range(nodes), 3 * nodes // 4)
    crowd.at(crowd.now_s + SETTLING * EVERY_S / 2, crowd.kill, vanish)
    in_between = _talk(crowd, SETTLING)
    crowd.run(until_s=crowd.now_s + AFTERMATH_S)
    _judge_survivors(world, crowd, in_between)
    world.fabric.counts["datagrams"] += sum(crowd.frames.values())
    for member in crowd.members:
        world.fabric.note_event(f"{member.number} {sorted(member.held.items())}")
    await asyncio.sleep(crowd.now_s)


def _talk(crowd: Crowd, messages: int) -> dict[bytes, tuple[float, int]]:
    """Random members speak one after the other; each message with its time and author."""
    said: dict[bytes, tuple[float, int]] = {}
    for _ in range(messages):
        author = crowd.random.choice([member for member in crowd.members if member.alive])
        message = hashlib.sha256(crowd.random.randbytes(8)).digest()
        said[message] = crowd.now_s, author.number
        author.say(message)
        crowd.run(until_s=crowd.now_s + EVERY_S)
    return said


def _judge(world: World, crowd: Crowd, said: dict[bytes, tuple[float, int]]) -> None:
    took_s: list[float] = []
    hops: list[float] = []
    copies = lacking = compared = 0
    for member in crowd.members:
        for message, (at_s, author) in said.items():
            copies += member.copies[message]
            if message not in member.held:
                lacking += 1
            elif author != member.number:
                came_s, over = member.held[message]
                took_s.append(came_s - at_s)
                compared += over is None
                hops += [] if over is None else [over]
    neighbours = [len(member.spreading.views) for member in crowd.members]
    late_s = percentile(took_s, 0.99)
    per_member = copies / max(1, len(took_s))
    world.recorder.figures |= {
        "lacking": lacking,
        "p50_ms": 1_000 * percentile(took_s, 0.5),
        "p99_ms": 1_000 * late_s,
        "copies_per_member": per_member,
        "by_comparison": compared,
        "hops_mean": sum(hops) / max(1, len(hops)),
        "hops_p99": percentile(hops, 0.99),
        "hops_max": max(hops, default=0),
        "neighbours_mean": sum(neighbours) / len(neighbours),
        "neighbours_max": max(neighbours),
    }
    _expect(world, lacking == 0, f"{lacking} messages are not where they belong")
    _expect(world, late_s <= LATE_S, f"one in a hundred took longer than {late_s:.3f} s")
    _expect(world, per_member <= COPIES_MAX, f"{per_member:.2f} copies per member")
    _expect(world, max(neighbours) <= OWN_NEIGHBOURS + GUEST_NEIGHBOURS, f"{max(neighbours)} neighbours")


def _judge_survivors(world: World, crowd: Crowd, said: dict[bytes, tuple[float, int]]) -> None:
    """What was said by those who are there in the end, and since the others vanished."""
    alive = [member for member in crowd.members if member.alive]
    numbers = {member.number for member in alive}
    owed = [message for message, (_, author) in said.items() if author in numbers]
    lacking = sum(message not in member.held for member in alive for message in owed)
    asymmetric = sum(
        member.number not in crowd.members[peer].spreading.views
        for member in alive
        for peer in member.spreading.views.neighbours
    )
    world.recorder.figures |= {
        "survivors": len(alive),
        "survivors_lacking": lacking,
        "one_sided_neighbours": asymmetric,
    }
    _expect(world, lacking == 0, f"{lacking} messages are not with those who are left")


def _expect(world: World, holds: bool, otherwise: str) -> None:
    if not holds:
        world.recorder.violations.append(f"promised: {otherwise}")
