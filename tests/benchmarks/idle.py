"""What a peer costs that does nothing, with one link and with eight, beside a process that wakes up once a second and does nothing."""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dhtchat.chat.intents import SayTo
from tests.benchmarks.figures import Figure
from tests.benchmarks.talking.ends import START_BOUND_S, FarEnd
from tests.benchmarks.talking.ours import come_online, peer_at, read_all

SETTLE_S = 75.0
"""What who has just come does more often: look for neighbours, read a mailbox."""
IDLE_S = 90.0
LINKS = (1, 8)


def measure() -> Iterator[Figure]:
    percent, bare_percent = asyncio.run(idle_percent(LINKS, SETTLE_S, IDLE_S))
    for links, found in zip(LINKS, percent, strict=True):
        words = f"CPU of an idle peer, {links} {'link' if links == 1 else 'links'}"
        yield Figure(words, found, "% of a core", "a bare process that wakes up once a second", bare_percent)


async def idle_percent(links: tuple[int, ...], settle_s: float, idle_s: float) -> tuple[list[float], float]:
    """Of peers with so many links, each in a network of its own, and of the bare process: all at the same time."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dhtchat-idle-")))
        ends = [await _linked(stack, folder / str(number), count) for number, count in enumerate(links)]
        ends.append(await _started(stack, "bare"))
        await asyncio.sleep(settle_s)
        before = [await end.cpu_s() for end in ends]
        began_s = time.perf_counter()
        await asyncio.sleep(idle_s)
        took_s = time.perf_counter() - began_s
        after = [await end.cpu_s() for end in ends]
    *peers, bare = [100 * (end_s - begin_s) / took_s for begin_s, end_s in zip(before, after, strict=True)]
    return peers, bare


async def _started(stack: contextlib.AsyncExitStack, system: str, **told: str) -> FarEnd:
    end = await FarEnd.start(system, **told)
    stack.push_async_callback(end.stop)
    return end


async def _linked(stack: contextlib.AsyncExitStack, folder: Path, count: int) -> FarEnd:
    """A peer in a process of its own, with a link from each of so many others, who live in this process."""
    door = (await _started(stack, "ours", role="door")).hello["address"]
    peer = await _started(stack, "ours", role="peer", door=door, folder=str(folder / "far"))
    for number in range(count):
        node = await stack.enter_async_context(peer_at(folder / str(number), door))
        reader = asyncio.create_task(read_all(node))
        stack.callback(reader.cancel)
        await come_online(node, f"near{number}")
        await node.perform(SayTo("hello", "far"))
        async with asyncio.timeout(START_BOUND_S):
            while not node.inspection.sizes().links:  # noqa: ASYNC110 - only at the start
                await asyncio.sleep(0.05)
    return peer


if __name__ == "__main__":
    print(json.dumps(asyncio.run(idle_percent(LINKS, *map(float, sys.argv[1:3])))))
