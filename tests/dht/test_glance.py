"""A glance at a directory that was read a moment ago: one is asked who holds it, or nobody where we hold it ourselves."""

import asyncio
from contextlib import AsyncExitStack
from unittest import mock

from dhtchat.dht.node import DhtNode
from dhtchat.limits import PRESENCE_REFRESH_S, RPC_TIMEOUT_S, RPC_TRIES
from dhtchat.records.listing import USERS
from dhtchat.runtime import Runtime
from tests.dht.support import run_virtually, start_nodes
from tests.dht.test_tree_questions import keep_listing

NODES = 16
"""Half of them hold the directory."""


def names(entries: object) -> set[str]:
    return {entry.body.name for entry in entries}  # type: ignore[attr-defined]


def test_a_glance_costs_at_most_one_question_and_sees_who_is_there() -> None:
    """Readers from all nodes, holders and others; after somebody has come all of them see that something has changed."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, NODES, runtime=runtime)
            for number, name in enumerate(("alice", "bob", "carol")):
                nodes[number].keep(name, keep_listing(name, number), refresh_s=PRESENCE_REFRESH_S)
            await asyncio.sleep(60.0)
            holders = 0
            for node in nodes:
                reading = await node.read_node(USERS)
                assert names(reading.entries) == {"alice", "bob", "carol"}
                await asyncio.sleep(5.0)  # who is told of a tree that it does not know looks into it once
                with mock.patch.object(
                    node._protocol, "call_find_entries", wraps=node._protocol.call_find_entries
                ) as asked:
                    glanced = await node.glance(USERS, reading)
                assert glanced is not None
                assert names(glanced) == names(reading.entries)
                ours = any(contact.node_id == node.node_id for contact in reading.replicas[:-1])
                assert asked.call_count == (not ours)
                holders += ours
            assert 0 < holders < NODES, "some hold it, some ask"
            readings = [await node.read_node(USERS) for node in nodes]
            nodes[3].keep("dave", keep_listing("dave", 3), refresh_s=PRESENCE_REFRESH_S)
            await asyncio.sleep(5.0)
            for node, reading in zip(nodes, readings, strict=True):
                assert "dave" in names(await node.glance(USERS, reading))

    run_virtually(scene, seed=1)


def test_who_does_not_answer_tells_nothing_and_costs_little_time() -> None:
    """None, so that all are asked; and not after as many tries as a whole search would give them."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, NODES, runtime=runtime)
            nodes[0].keep("alice", keep_listing("alice", 0), refresh_s=PRESENCE_REFRESH_S)
            await asyncio.sleep(10.0)
            reader, reading = await _a_reader_who_holds_nothing(nodes)
            for node in nodes:
                if node is not reader:
                    node._protocol.transport.close()
            began_s = runtime.clock.monotonic()
            assert await reader.glance(USERS, reading) is None
            assert runtime.clock.monotonic() - began_s < RPC_TRIES * RPC_TIMEOUT_S

    run_virtually(scene, seed=1)


async def _a_reader_who_holds_nothing(nodes: list[DhtNode]) -> tuple[DhtNode, object]:
    for node in nodes:
        reading = await node.read_node(USERS)
        if all(contact.node_id != node.node_id for contact in reading.replicas):
            return node, reading
    raise AssertionError("all nodes hold the directory")
