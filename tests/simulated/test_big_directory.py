"""Goal: a directory of any size is listed whole and in order, in few lookups, and costs nobody anything who does not ask."""

import asyncio

import pytest

from dhtchat.chat.events import Users
from dhtchat.chat.intents import ListUsers
from dhtchat.dht import storage as storage_module
from dhtchat.dht.replicas import Replicas
from dhtchat.dht.sets import NodeReading
from dhtchat.limits import JUMP_LOOKUPS_MAX, LEAF_ENTRIES_MAX, PAGE_LOOKUPS_MAX
from dhtchat.records.listing import USERS
from simulations.runner import run_scenario
from simulations.scenarios import big_directory
from simulations.world import World


def promised(entries: int, seed: int) -> None:
    result = run_scenario(big_directory, nodes=entries, seed=seed)
    told = f"{result.figures}; again with: {result.repeat}"
    assert result.violations == [], told
    assert result.figures["entries"] == entries, told
    assert result.figures["lookups_per_jump_max"] <= JUMP_LOOKUPS_MAX, told
    assert result.figures["lookups_per_page_p99"] <= PAGE_LOOKUPS_MAX, told
    assert result.figures["largest_leaf"] <= LEAF_ENTRIES_MAX, told


def test_two_thousand_are_listed_in_few_lookups() -> None:
    promised(2_000, 1)


@pytest.mark.soak
def test_a_hundred_thousand_are_listed_in_few_lookups() -> None:
    promised(100_000, 1)


def test_nobody_polls_a_directory_that_has_split(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Promise 5. Leaves of four, ten people: for two minutes nobody reads the directory, and then `/users` has everybody."""
    monkeypatch.setattr(storage_module, "LEAF_ENTRIES_MAX", 4)
    reads: list[bytes] = []
    read_node = Replicas.read_node

    async def counted(self: Replicas, key: bytes, kind: str, *rest: object, **options: object) -> NodeReading:
        if kind == USERS.kind:
            reads.append(key)
        return await read_node(self, key, kind, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Replicas, "read_node", counted)
    world = World(seed)

    async def play() -> None:
        await world.start_bootstrap()
        people = await world.start_people(10, spread_s=5.0)
        await asyncio.sleep(90.0)
        reads.clear()
        await asyncio.sleep(120.0)
        assert reads == [], seed
        asker = people[0]
        await asker.perform(ListUsers())
        assert await asker.until(lambda: any(isinstance(s.event, Users) for s in asker.seen), within_s=20.0)
        listed = next(s.event for s in asker.seen if isinstance(s.event, Users))
        assert [user.name for user in listed.users] == sorted(person.name for person in people), seed

    world.run(play())
