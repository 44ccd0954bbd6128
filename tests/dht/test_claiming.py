"""Votes: how they are cast, counted and, rarely, given to somebody else."""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht.claiming import Tally, VoteKeeper
from dhtchat.dht.contact import Contact
from dhtchat.dht.storage import RecordStorage, claim_of
from dhtchat.ids import Endpoint, NodeId, RecordKey
from dhtchat.limits import ADOPTIONS_OPEN_MAX, CLAIMS_PER_NAME_MAX
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.envelope import Signed
from dhtchat.records.room import RoomGenesis, room_key
from tests.dht.support import FixedClock, room

LOBBY = room_key("#lobby")
RIVALS = sorted((room("#lobby", seed) for seed in range(6)), key=claim_of)
"""By claim id: the first wins when the votes do not decide."""


def replica(number: int) -> Contact:
    return Contact(NodeId(number.to_bytes(20, "big")), Endpoint("127.0.0.1", number + 1))


def tally_of(*held: list[Signed[RoomGenesis]], silent: int = 0, shunned: int = 0) -> Tally:
    tally = Tally(nodes_known=20)
    for number, records in enumerate(held):
        tally.on_answer(replica(number), records)
    tally.on_silence(silent)
    tally.shunned = shunned
    return tally


# --- counting ---------------------------------------------------------------------------------------------------------


def test_who_holds_nothing_abstains_for_a_reader_and_counts_for_a_racer() -> None:
    tally = tally_of([RIVALS[1]], [RIVALS[1]], [], [])
    assert tally.decision().certain
    assert tally.decision().owner == claim_of(RIVALS[1])
    assert not tally.strict_decision().certain, "the other two could still vote for somebody else"


def test_who_was_silent_before_counts_for_a_racer_only() -> None:
    tally = tally_of([RIVALS[1]], [RIVALS[1]], shunned=2)
    assert tally.decision().certain
    assert not tally.strict_decision().certain


def test_without_a_majority_the_smallest_claim_wins_once_all_have_voted() -> None:
    everybody = tally_of([RIVALS[2]], [RIVALS[1]], [RIVALS[1]], [RIVALS[0]])
    assert everybody.strict_decision().owner == claim_of(RIVALS[0])
    assert everybody.strict_decision().certain
    assert not tally_of([RIVALS[2]], [RIVALS[1]], [RIVALS[1]], silent=1).strict_decision().certain


@given(seed=st.integers(0, 2**32))
def test_two_racers_never_both_see_themselves_as_owner(seed: int) -> None:
    """Goal: votes never support two certain owners, however stores, readings and losses interleave.

    Method: replicas cast their votes in a random order, for anybody. In between some of them count, hearing a random
    part of the others as of that moment, and later act on what they counted. Every strictly certain owner is the same.
    """
    source = random.Random(seed)
    replicas = source.randint(2, 7)
    votes: list[Signed[RoomGenesis] | None] = [None] * replicas
    counted: list[tuple[int, bytes]] = []
    owners = set()
    for _ in range(60):
        who = source.randrange(replicas)
        match source.randrange(3):
            case 0 if votes[who] is None:
                votes[who] = source.choice(RIVALS[:3])
            case 1:
                heard = [other == who or source.random() < 0.8 for other in range(replicas)]
                held = [[vote] if vote else [] for vote, is_heard in zip(votes, heard, strict=True) if is_heard]
                decision = tally_of(*held, silent=replicas - sum(heard)).strict_decision()
                if decision.certain and decision.owner is not None:
                    owners.add(decision.owner)
                    counted.append((who, decision.owner))
            case _ if counted:
                voter, owner = counted.pop(source.randrange(len(counted)))
                if votes[voter] is not None:
                    votes[voter] = next(rival for rival in RIVALS if claim_of(rival) == owner)
    assert len(owners) <= 1


def test_of_several_versions_the_best_is_read_and_given_to_who_lacks_it() -> None:
    tally = tally_of([RIVALS[0]], [RIVALS[1], RIVALS[0]], [])
    assert tally.lacking(claim_of(RIVALS[0])) == [replica(2)]
    reading = tally.reading(tally_of([RIVALS[0]], [RIVALS[0]]).decision())
    assert reading.owner == RIVALS[0]
    assert (reading.asked, reading.answered) == (3, 3)
    assert reading.records == (RIVALS[0], RIVALS[1])


# --- voting -----------------------------------------------------------------------------------------------------------


class Neighbourhood:
    """A vote keeper whose questions to the others are answered when the test says so."""

    def __init__(self) -> None:
        self.storage = RecordStorage(None, parameters=SIM, clock=FixedClock())
        self.asked: list[asyncio.Future[Tally]] = []
        self.kept: list[RecordKey] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.votes = VoteKeeper(self.storage, ask_others=self._ask, spawn=self._spawn, on_kept=self.kept.append)

    async def _ask(self, key: RecordKey) -> Tally:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))
        return self.tasks[-1]

    async def settle_down(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def neighbourhood() -> Iterator[Neighbourhood]:
    scene = Neighbourhood()
    yield scene
    scene.storage.close()


async def test_a_replica_that_knows_nothing_asks_before_it_votes(neighbourhood: Neighbourhood) -> None:
    answer = neighbourhood.votes.offer(LOBBY, RIVALS[3])
    await neighbourhood.settle_down()
    assert neighbourhood.votes.claims(LOBBY) is None, "pending"
    assert not answer.done()
    neighbourhood.asked[0].set_result(tally_of([RIVALS[5]], [RIVALS[5]], [RIVALS[2]]))
    assert (await answer).verdict is Verdict.NEW
    assert neighbourhood.votes.claims(LOBBY) == [RIVALS[5], RIVALS[2], RIVALS[3]], "the owner first, the newcomer last"


async def test_stores_that_wait_are_kept_in_order_of_arrival(neighbourhood: Neighbourhood) -> None:
    answers = [neighbourhood.votes.offer(LOBBY, rival) for rival in RIVALS[::-1]]
    await neighbourhood.settle_down()
    assert len(neighbourhood.asked) == 1, "one adoption for all"
    neighbourhood.asked[0].set_result(tally_of([]))
    kept = [await answer for answer in answers]
    assert neighbourhood.storage.claims(LOBBY) == RIVALS[::-1][:CLAIMS_PER_NAME_MAX]
    assert [one.reason for one in kept[CLAIMS_PER_NAME_MAX:]] == [Reason.FULL] * 2


async def test_who_already_holds_a_claim_asks_nobody(neighbourhood: Neighbourhood) -> None:
    neighbourhood.storage.offer_claim(LOBBY, RIVALS[0])
    assert neighbourhood.votes.offer(LOBBY, RIVALS[1]).done()
    assert not neighbourhood.tasks


async def test_adoptions_are_bounded(neighbourhood: Neighbourhood) -> None:
    for number in range(ADOPTIONS_OPEN_MAX):
        assert not neighbourhood.votes.is_full(room_key(f"#r{number}"))
        neighbourhood.votes.offer(room_key(f"#r{number}"), room(f"#r{number}", 1))
    assert neighbourhood.votes.is_full(LOBBY)
    assert not neighbourhood.votes.is_full(room_key("#r0")), "one that waits for an adoption under way costs little"
    for task in neighbourhood.tasks:
        task.cancel()


@pytest.mark.parametrize("begun", [True, False])
async def test_when_the_node_ends_nobody_waits_for_an_adoption(neighbourhood: Neighbourhood, begun: bool) -> None:
    answer = neighbourhood.votes.offer(LOBBY, RIVALS[0])
    if begun:
        await neighbourhood.settle_down()
    neighbourhood.tasks[0].cancel()
    await neighbourhood.settle_down()
    assert answer.cancelled()
    assert neighbourhood.votes.claims(LOBBY) == []


async def test_a_vote_moves_only_to_whom_the_others_agreed_on(neighbourhood: Neighbourhood) -> None:
    for rival in (RIVALS[2], RIVALS[1]):
        neighbourhood.storage.offer_claim(LOBBY, rival)
    neighbourhood.votes.settle(LOBBY, tally_of([RIVALS[2]], [RIVALS[1]], [RIVALS[1]], []))
    assert neighbourhood.storage.claims(LOBBY)[0] == RIVALS[2], "one has not voted"
    neighbourhood.votes.settle(LOBBY, tally_of([RIVALS[2]], [RIVALS[1]], [RIVALS[1]]))
    assert neighbourhood.storage.claims(LOBBY) == [RIVALS[1], RIVALS[2]]


async def test_who_holds_nothing_is_given_no_vote_by_counting(neighbourhood: Neighbourhood) -> None:
    neighbourhood.votes.settle(LOBBY, tally_of([RIVALS[1]], [RIVALS[1]]))
    assert neighbourhood.storage.claims(LOBBY) == []
