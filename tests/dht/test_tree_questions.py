"""What a node that has split answers, and what a refresh costs in a tree: over the virtual network, with small leaves."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from dhtchat.dht import storage as storage_module
from dhtchat.dht import wire
from dhtchat.dht.announcer import MakeRecord
from dhtchat.dht.node import DhtNode
from dhtchat.limits import PRESENCE_REFRESH_S, PRESENCE_TTL_S
from dhtchat.parameters import SIM
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.listing import USERS, UserListing
from dhtchat.runtime import Runtime
from tests.dht.support import key_of, run_virtually, start_nodes, storage_of

LEAF = 8
"""Entries of a leaf in these tests."""


@pytest.fixture(autouse=True)
def _small_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "LEAF_ENTRIES_MAX", LEAF)


def keep_listing(name: str, seed: int) -> MakeRecord:
    key = key_of(seed)

    def make(sequence: int, issued_at_s: int, gone: bool) -> Signed[UserListing]:
        body = UserListing(name, key.public, False, sequence, issued_at_s, PRESENCE_TTL_S, gone)
        return sign_body(body, key, SIM.network_id)

    return make


def served(nodes: list[DhtNode], request: str) -> int:
    return sum(node.statistics[f"request-{request}"] for node in nodes)


def test_a_node_that_has_split_and_holds_nothing_says_so() -> None:
    """`Nodes` in its place would send readers on as if nobody had ever been there."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            asked, asker = await start_nodes(stack, 2, runtime=runtime)
            contact = next(c for c in asker.contacts() if c.node_id == asked.node_id)
            found = await asker._protocol.call_find_entries(contact, USERS.key(), USERS.kind)
            assert not found.split
            assert found.closer == [] == found.held
            for number in range(LEAF + 1):
                make = keep_listing(f"user{number}", number)
                record = make(1, int(runtime.clock.wall()), False)
                storage_of(asked).offer_entry(USERS.key(), record)
            await asyncio.sleep(PRESENCE_TTL_S + 1)
            found = await asker._protocol.call_find_entries(contact, USERS.key(), USERS.kind)
            assert found.split
            assert found.held == []
            assert asked._protocol.rpc_find_entries(USERS.key(), USERS.kind, b"") == wire.Entries([], b"", True, ())

    run_virtually(scene, seed=1)


def test_refreshes_in_a_tree_go_to_the_holders_and_keep_every_node_alive() -> None:
    """Goal: below a split, too, most refreshes need no search, and after several times to live everybody is still found.

    Method: 30 people on 12 nodes with leaves of 8. With a search for every refresh the searches would ask more often than
    is stored.
    """

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 12, runtime=runtime)
            names = [f"{letter}ob{number}" for number in range(3) for letter in "abcdefghij"]
            for number, name in enumerate(names):
                node = nodes[number % len(nodes)]
                node.keep(f"listing {name}", keep_listing(name, number), refresh_s=PRESENCE_REFRESH_S)
            await asyncio.sleep(2 * PRESENCE_TTL_S)
            before = served(nodes, "Touch"), served(nodes, "Store"), served(nodes, "FindNode")
            await asyncio.sleep(2 * PRESENCE_TTL_S)
            touches = served(nodes, "Touch") - before[0]
            assert touches > 0
            assert served(nodes, "FindNode") - before[2] < touches + served(nodes, "Store") - before[1]
            nodes[0].trees.forget()
            reading = await nodes[0].trees.read_range(USERS, "0" * 32, "f" * 32, 2 * len(names))
            assert sorted(entry.body.name for entry in reading.entries) == sorted(names)
            announcements = [a for node in nodes for a in node._publisher._announcer._announcements.values()]
            assert all(a.depth for a in announcements), "the root has split"

    run_virtually(scene, seed=1)
