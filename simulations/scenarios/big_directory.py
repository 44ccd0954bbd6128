"""big-directory: many people online, and somebody asks who. From THOUSANDS on, the directory itself is what is measured."""

import asyncio
from bisect import bisect_left
from contextlib import aclosing
from statistics import median

import msgspec

from dhtchat.chat.events import Users
from dhtchat.chat.intents import ListUsers
from dhtchat.dht.node import DhtNode
from dhtchat.limits import INNER_ENTRIES_MAX, LEAF_ENTRIES_MAX
from dhtchat.records.listing import USERS
from dhtchat.records.tree import names_between

from ..laying import Laying, make_names
from ..measuring import settle
from ..result import percentile
from ..world import World

NAME = "big-directory"
QUESTION = "What does it cost to list everybody who is online, and is the list complete?"
NODES = 100
THOUSANDS = 1_000
"""From here on so many entries lie on bare nodes that nobody talks through; below, everybody is a person."""
NODES_MAX = 300
JUMPS = 100
PAGES_PER_JUMP = 5
LISTED_WHOLE_MAX = 20_000
"""Up to so many entries the whole list is read and compared."""


async def play(world: World, nodes: int) -> None:
    await (_play_directory(world, nodes) if nodes >= THOUSANDS else _play_people(world, nodes))


async def _play_people(world: World, nodes: int) -> None:
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


async def _play_directory(world: World, entries: int) -> None:
    """Lists so many, lets them refresh once, so that nobody is left over where a leaf has split, and reads."""
    ttl_s = min(3_600, 1_200 + entries // 20)
    world.parameters = msgspec.structs.replace(
        world.parameters, name="big-directory", presence_ttl_s=ttl_s, presence_refresh_s=ttl_s // 3
    )
    await world.start_bootstrap()
    bare = [await world.start_bare_node(f"node-{n:05}") for n in range(max(40, min(NODES_MAX, entries // 50)))]
    await asyncio.sleep(60.0)  # until they know each other
    everybody = [*world.nodes.values()]
    laying = Laying(everybody, world.new_host("writers").boot(), world.parameters)
    laying.add(make_names(world.rng, entries))
    await laying.refresh()
    laid_at_s = world.loop.time()
    await asyncio.sleep(0.8 * ttl_s)
    await laying.refresh()
    await asyncio.sleep(max(0.0, laid_at_s + ttl_s + 1.0 - world.loop.time()))
    names = sorted(record.body.name for record in laying.listed)
    held = _entries_held(everybody)
    asked_before = {node.node_id: node.statistics["request-FindEntries"] for node in everybody}
    await _jump_about(world, bare, names)
    if entries <= LISTED_WHOLE_MAX:
        await _list_all(world, world.rng.choice(bare), names)
    asked = [node.statistics["request-FindEntries"] - asked_before[node.node_id] for node in everybody]
    world.recorder.figures |= {
        "entries": len(names),
        "nodes": len(everybody),
        "largest_leaf": max(_sizes(everybody, split=False), default=0),
        "largest_inner": max(_sizes(everybody, split=True), default=0),
        "leaves": len(
            {key for node in everybody for key in node.storage.entry_keys() if not node.storage.has_split(key)}
        ),
        "entries_per_node_median": median(held),
        "entries_per_node_max": max(held),
        "reads_per_node_median": median(asked),
        "reads_per_node_max": max(asked),
    }
    if max(_sizes(everybody, split=False), default=0) > LEAF_ENTRIES_MAX:
        world.recorder.violations.append("bounds-kept: a leaf has more entries than it may")
    if max(_sizes(everybody, split=True), default=0) > INNER_ENTRIES_MAX:
        world.recorder.violations.append("bounds-kept: a node that has split has more entries than it may")


async def _jump_about(world: World, nodes: list[DhtNode], names: list[str]) -> None:
    """Jumps from nodes that know nothing yet, half of them to names and half to what people type, and pages behind them."""
    jumps: list[float] = []
    following: list[float] = []
    took_s: list[float] = []
    wrong = 0
    for number in range(JUMPS):
        name = world.rng.choice(names)
        typed = name if number % 2 else name[: world.rng.randint(1, 4)]
        node = nodes[number % len(nodes)]
        node.trees.forget()
        started_s = world.loop.time()
        found: list[str] = []
        read = 0
        async with aclosing(node.trees.pages(USERS, names_between(typed)[0])) as pages:  # type: ignore[type-var]
            async for page in pages:
                found += sorted(entry.body.name for entry in page.entries)
                (following if read else jumps).append(page.lookups)
                if not read:
                    took_s.append(world.loop.time() - started_s)
                read += 1
                if read > PAGES_PER_JUMP:
                    break
        behind = [each for each in found if each >= typed]
        begin = bisect_left(names, typed)
        if behind != names[begin : begin + len(behind)]:
            wrong += 1
    world.recorder.figures |= {
        "lookups_per_jump_mean": sum(jumps) / len(jumps),
        "lookups_per_jump_max": max(jumps),
        "lookups_per_page_mean": sum(following) / max(1, len(following)),
        "lookups_per_page_p99": percentile(following, 0.99),
        "lookups_per_page_max": max(following, default=0),
        "jump_p50_s": percentile(took_s, 0.5),
        "jump_p99_s": percentile(took_s, 0.99),
    }
    if wrong:
        world.recorder.violations.append(f"complete-list: {wrong} of {JUMPS} places were read with gaps")


async def _list_all(world: World, node: DhtNode, names: list[str]) -> None:
    before, started_s = node.trees.lookups, world.loop.time()
    reading = await node.trees.read_range(USERS, *names_between(""), len(names) + 1)
    listed = [entry.body.name for entry in reading.entries]
    world.recorder.figures |= {
        "lookups_whole_list": node.trees.lookups - before,
        "whole_list_s": world.loop.time() - started_s,
    }
    if sorted(listed) != names or not reading.complete:
        world.recorder.violations.append(
            f"complete-list: {len(set(names) - set(listed))} of {len(names)} are not listed"
        )


def _entries_held(nodes: list[DhtNode]) -> list[int]:
    return [len(node.storage) for node in nodes]


def _sizes(nodes: list[DhtNode], *, split: bool) -> list[int]:
    """Of all sets, or of the nodes of trees that have split."""
    return [
        len(node.storage.mortal_entries(key))
        for node in nodes
        for key in node.storage.entry_keys()
        if node.storage.has_split(key) is split
    ]
