"""Many want one name at the same moment: exactly one gets it, and everybody says the same one ever after."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from dhtchat.dht.node import ClaimReading, Contact, DhtNode
from dhtchat.dht.storage import claim_of
from dhtchat.errors import NetworkTrouble, NoBootstrapAnswered, TooFewAnswered
from dhtchat.limits import UPKEEP_INTERVAL_S
from dhtchat.parameters import SIM, NetworkParameters
from dhtchat.records.envelope import Signed
from dhtchat.records.room import RoomGenesis, room_key
from dhtchat.runtime import Runtime
from tests.dht.support import SMALL, room, run_virtually, running_node, start_nodes, until_async

LOBBY = room_key("#lobby")


async def race(claimants: list[DhtNode], records: list[Signed[RoomGenesis]]) -> list[ClaimReading | TooFewAnswered]:
    """All at once; giving up is a legal end, a second owner is not."""

    async def claim(node: DhtNode, record: Signed[RoomGenesis]) -> ClaimReading | TooFewAnswered:
        try:
            return await node.claim(record)
        except TooFewAnswered as error:
            return error

    return await asyncio.gather(*map(claim, claimants, records))


def the_one_owner(results: list[ClaimReading | TooFewAnswered], records: list[Signed[RoomGenesis]]) -> bytes:
    """Claim id of the only claimant who saw itself as owner; all others who saw an owner saw the same."""
    readings = [result for result in results if isinstance(result, ClaimReading)]
    owners = {claim_of(reading.owner) for reading in readings if reading.owner}
    assert len(owners) == 1, f"{len(owners)} different owners were seen"
    winners = [
        r for r, result in zip(records, results, strict=True) if isinstance(result, ClaimReading) and result.owner == r
    ]
    assert len(winners) == 1, f"{len(winners)} claimants saw themselves as owner"
    return claim_of(winners[0])


async def join(
    stack: AsyncExitStack, count: int, via: DhtNode, parameters: NetworkParameters, runtime: Runtime | None = None
) -> list[DhtNode]:
    """Clients, as `dhtchat register` is one."""
    joining = [
        stack.enter_async_context(
            running_node(10_000 + number, [via], parameters=parameters, runtime=runtime, client=True)
        )
        for number in range(count)
    ]
    return [await client for client in joining]


@pytest.mark.parametrize("seed", range(3))
async def test_ten_race_for_a_name_on_four_replicas(seed: int) -> None:
    """Over real UDP on loopback."""
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 4, seed=seed, parameters=SMALL)
        claimants = await join(stack, 10, nodes[0], SMALL)
        records = [room("#lobby", 100 * seed + number, SMALL) for number in range(10)]
        owner = the_one_owner(await race(claimants, records), records)

        async def everybody_agrees() -> bool:
            readings = [await node.read_claims(LOBBY) for node in nodes + claimants]
            return all(reading.owner and claim_of(reading.owner) == owner for reading in readings)

        assert await everybody_agrees()
        await until_async(
            lambda: _all_vote_for(nodes, owner), "the replicas have not given their votes to the owner", within_s=60
        )
        assert await everybody_agrees()


async def _all_vote_for(nodes: list[DhtNode], owner: bytes) -> bool:
    reading = await nodes[0].read_claims(LOBBY)
    return reading.decision.certain and not reading.decision.contested and reading.decision.owner == owner


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "replicas, claimants, loss, spread_s",
    [(4, 100, 0.1, 0.2), (4, 10, 0.2, 0.0), (4, 30, 0.1, 3.0), (7, 20, 0.1, 0.5)],
)
def test_racers_on_a_bad_network_never_both_win(
    seed: int, replicas: int, claimants: int, loss: float, spread_s: float
) -> None:
    """In virtual time: packets take 10 to 100 ms and get lost; claimants start within `spread_s`."""
    parameters = SMALL if replicas == SMALL.k else SIM

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, replicas, seed=seed, parameters=parameters, runtime=runtime, within_s=120)
            clients = await join(stack, claimants, nodes[0], parameters, runtime)
            records = [room("#lobby", number, parameters) for number in range(claimants)]

            async def claim_later(client: DhtNode, record: Signed[RoomGenesis]) -> ClaimReading | TooFewAnswered:
                await asyncio.sleep(runtime.random.uniform(0, spread_s))
                return (await race([client], [record]))[0]

            results = await asyncio.gather(*map(claim_later, clients, records))
            owner = the_one_owner(results, records)
            gave_up = sum(isinstance(result, TooFewAnswered) for result in results)
            assert gave_up <= claimants / 4
            for _ in range(3):
                for reader in [*nodes, *clients[:5]]:
                    reading = await reader.read_claims(LOBBY)
                    if reading.decision.certain:
                        assert reading.decision.owner == owner
                await asyncio.sleep(UPKEEP_INTERVAL_S)

    run_virtually(scene, seed=seed, loss=loss)


@pytest.mark.parametrize("seed", range(4))
def test_replicas_that_race_each_other_agree_too(seed: int) -> None:
    """Nodes are replicas of what they claim: each has voted for itself before it hears of the others."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 6, seed=seed, runtime=runtime)
            records = [room("#lobby", number) for number in range(6)]
            owner = the_one_owner(await race(nodes, records), records)
            for node in nodes:
                reading = await node.read_claims(LOBBY)
                assert reading.decision.owner == owner
                assert reading.decision.certain

    run_virtually(scene, seed=seed)


async def test_a_name_that_is_owned_stays_owned() -> None:
    async with AsyncExitStack() as stack:
        nodes = await start_nodes(stack, 4)
        first, second = room("#lobby", 1), room("#lobby", 2)
        assert (await nodes[0].claim(first)).owner == first
        (client,) = await join(stack, 1, nodes[1], SIM)
        assert (await client.claim(second)).owner == first
        assert (await client.claim(first)).owner == first, "one's own claim again is no race"


async def test_a_lone_node_and_a_pair_grant_names() -> None:
    async with AsyncExitStack() as stack:
        (lone,) = await start_nodes(stack, 1)
        assert (await lone.claim(room("#lobby", 1))).owner == room("#lobby", 1)
        (client,) = await join(stack, 1, lone, SIM)
        assert (await client.claim(room("#games", 2))).owner == room("#games", 2)
        assert (await client.claim(room("#lobby", 2))).owner == room("#lobby", 1)


async def test_a_client_that_knows_nobody_says_so() -> None:
    async with running_node(1, client=True) as client:
        with pytest.raises(NoBootstrapAnswered):
            await client.claim(room("#lobby", 1))


def test_all_votes_so_far_are_not_enough_while_others_have_none() -> None:
    """Goal: nobody is told that a name is theirs while somebody else could still get most votes.

    Method: of four replicas only two get the claimant's stores; all four answer its questions.
    """

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 4, parameters=SMALL, runtime=runtime)
            (client,) = await join(stack, 1, nodes[0], SMALL, runtime)
            reached = {node.address for node in nodes[:2]}
            store = client._protocol.call_store_in_tree

            async def lose_some(contact: Contact, *what: Any, **more: Any) -> Any:
                if contact.endpoint in reached:
                    return await store(contact, *what, **more)
                raise NetworkTrouble("lost on the way")

            client._protocol.call_store_in_tree = lose_some  # type: ignore[method-assign]
            with pytest.raises(TooFewAnswered, match="4 of the 4 nodes"):
                await client.claim(room("#lobby", 1, SMALL))

    run_virtually(scene, seed=1)


def test_with_most_of_the_replicas_dead_nobody_is_told_that_a_name_is_theirs() -> None:
    """Three of five die; the two that are left cannot know whom the three voted for. Once the dead are known as such,
    by everybody, the name can be had."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 2, runtime=runtime)
            async with AsyncExitStack() as doomed:
                for seed in (500, 501, 502):
                    await doomed.enter_async_context(running_node(seed, nodes[:1], runtime=runtime))
                (client,) = await join(stack, 1, nodes[0], SIM, runtime)
                assert len(client.contacts()) == 5
            tally = await client._replicas.tally(LOBBY, await client._replicas.nearest(LOBBY, SIM.k))
            assert not tally.strict_decision().certain
            for node in nodes:
                while len(node.contacts()) > 1:
                    await node.probe()
            record = room("#lobby", 1)
            assert (await client.claim(record)).owner == record

    run_virtually(scene, seed=1)
