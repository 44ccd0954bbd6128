"""Sets of several pages: what is behind the first is fetched from one replica, and believed only as far as the others vouch
for it."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from dhtchat.dht import wire
from dhtchat.dht.node import DhtNode
from dhtchat.ids import RecordKey
from dhtchat.limits import PRESENCE_TTL_S, REPAIR_GRACE_S, SOFT_REPLICAS
from dhtchat.parameters import SIM
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.listing import USERS, UserListing
from dhtchat.runtime import Runtime
from tests.dht.support import key_of, run_virtually, start_nodes, storage_of

PEOPLE = 60
PAGES_MIN = 8
"""Pages that so many listings take at least."""


def listing(number: int, runtime: Runtime) -> Signed[UserListing]:
    key, now_s = key_of(number), int(runtime.clock.wall())
    body = UserListing(f"user{number:03}", key.public, False, 1, now_s, PRESENCE_TTL_S, False)
    return sign_body(body, key, SIM.network_id)


async def read_by_a_stranger(
    runtime: Runtime, disturb: Callable[[list[DhtNode], list[Signed[UserListing]]], None]
) -> tuple[set[str], int]:
    """Everybody is at the eight replicas, but for what `disturb` does to these. Whom a node that is none of them finds, and
    how many pages it asked for."""
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 14, runtime=runtime)
        target = int.from_bytes(USERS.key(), "big")
        nodes.sort(key=lambda node: int.from_bytes(node.node_id, "big") ^ target)
        records = [listing(number, runtime) for number in range(PEOPLE)]
        for node in nodes[:SOFT_REPLICAS]:
            for record in records:
                storage_of(node).offer_entry(USERS.key(), record)
        disturb(nodes[:SOFT_REPLICAS], records)
        await asyncio.sleep(REPAIR_GRACE_S)  # none of them is on its way any more
        before = sum(node.statistics["request-FindEntries"] for node in nodes)
        reading = await nodes[-1].read_node(USERS)
        asked = sum(node.statistics["request-FindEntries"] for node in nodes) - before
        await asyncio.sleep(2.0)  # what is repaired is repaired
        return {entry.body.name for entry in reading.entries}, asked


EVERYBODY = {f"user{number:03}" for number in range(PEOPLE)}


def test_what_all_have_is_fetched_once() -> None:
    async def scene(runtime: Runtime) -> None:
        found, asked = await read_by_a_stranger(runtime, lambda replicas, records: None)
        assert found == EVERYBODY
        assert PAGES_MIN + SOFT_REPLICAS // 2 < asked < 14 + 2 * PAGES_MIN, "once each, and the rest of one"

    run_virtually(scene, seed=1)


def test_who_gives_the_gist_of_the_others_and_then_leaves_people_out_is_found_out() -> None:
    async def scene(runtime: Runtime) -> None:
        def disturb(replicas: list[DhtNode], records: list[Signed[UserListing]]) -> None:
            for liar in replicas[:3]:  # the nearest: those who are asked for the rest first
                protocol = liar._protocol
                honest = protocol.rpc_find_entries

                def lie(
                    key: RecordKey,
                    kind: str,
                    after: bytes,
                    honest: Callable[[RecordKey, str, bytes], wire.Answer | None] = honest,
                ) -> wire.Answer | None:
                    return wire.Entries([], b"") if after else honest(key, kind, after)

                protocol.rpc_find_entries = lie  # type: ignore[method-assign]

        found, _ = await read_by_a_stranger(runtime, disturb)
        assert found == EVERYBODY

    run_virtually(scene, seed=1)


def test_where_replicas_differ_everything_is_put_together() -> None:
    """Three groups of which none is a majority: each lacks other people."""

    async def scene(runtime: Runtime) -> None:
        def disturb(replicas: list[DhtNode], records: list[Signed[UserListing]]) -> None:
            for number, node in enumerate(replicas):
                storage_of(node).discard(USERS.key())
                for place, record in enumerate(records):
                    if place % 3 != number % 3:
                        storage_of(node).offer_entry(USERS.key(), record)

        found, _ = await read_by_a_stranger(runtime, disturb)
        assert found == EVERYBODY

    run_virtually(scene, seed=1)


def test_what_is_not_on_the_page_that_was_fetched_is_not_taken_to_be_lacking() -> None:
    """One replica differs, and of it only the first page is known: it is given what it lacks there, and nothing else."""

    async def scene(runtime: Runtime) -> None:
        by_id: list[Signed[UserListing]] = []
        odd: list[DhtNode] = []

        def disturb(replicas: list[DhtNode], records: list[Signed[UserListing]]) -> None:
            by_id.extend(sorted(records, key=lambda record: record.body.entry_id(record.key)))
            odd.append(replicas[0])
            storage_of(odd[0]).discard(USERS.key())
            for record in by_id[1:]:
                storage_of(odd[0]).offer_entry(USERS.key(), record)

        found, asked = await read_by_a_stranger(runtime, disturb)
        assert found == EVERYBODY
        assert asked < 12 + 3 * PAGES_MIN // 2, "the majority agrees: nobody else is asked for the rest"
        assert odd[0].statistics["request-Store"] == 1

    run_virtually(scene, seed=1)
