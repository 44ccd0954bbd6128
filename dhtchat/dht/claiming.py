"""How this node votes on who owns a name, and how it counts the votes of others.

A replica's vote is the first claim it holds. Asked to store a claim for a name it knows nothing of, it first asks the
others (`Adoption`) and adopts what they hold: a node that is new in the neighbourhood must not vote for a thief. Stores
for the same name wait for the same adoption, in their order of arrival.

Two counts, both by `records.claims.decide`. A reader counts those who answered, and those who hold nothing abstain. A
racer, and a replica that may give its vote to another claim, count strictly: whoever is silent, was silent before or
holds nothing yet could still vote for anybody. Votes leave a claim only for one that is certain by the strict count, and there is at most
one such claim, so two racers cannot both see themselves as owner (docs/decisions/0003-votes.md).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

from dhtchat.dht.contact import Contact
from dhtchat.dht.diversity import Network
from dhtchat.dht.storage import Kept, RecordStorage, claim_of
from dhtchat.ids import RecordKey
from dhtchat.limits import ADOPTIONS_OPEN_MAX, REQUESTS_SERVED_MAX
from dhtchat.records.acceptance import Verdict
from dhtchat.records.claims import Decision, decide
from dhtchat.records.kinds import DurableRecord


class ClaimReading(NamedTuple):
    """What the replicas of a name say. `records`: the best version of each claim seen, the owner's first."""

    records: tuple[DurableRecord, ...]
    decision: Decision
    asked: int
    answered: int

    @property
    def owner(self) -> DurableRecord | None:
        """The record of who owns the name, if anybody does."""
        return self.records[0] if self.records and claim_of(self.records[0]) == self.decision.owner else None


class Tally:
    """The answers of the replicas of one name, and what follows from them. Pure."""

    def __init__(self, *, nodes_known: int) -> None:
        self.best: dict[bytes, DurableRecord] = {}
        """By claim id, the best version seen."""
        self.answers: dict[Contact, list[DurableRecord]] = {}
        self.silent = 0
        self.shunned = 0
        """Not asked because they were silent before: dead for a reader, possible voters for a racer."""
        self._nodes_known = nodes_known

    def on_answer(self, contact: Contact, held: Sequence[DurableRecord]) -> None:
        """`held` in order of arrival, verified and judged."""
        self.answers[contact] = list(held)
        self.learn(held)

    def on_silence(self, replicas: int = 1) -> None:
        self.silent += replicas

    def learn(self, held: Iterable[DurableRecord]) -> None:
        """Records that are no vote: what we hold ourselves although we are not among the nearest."""
        for record in held:
            claim = claim_of(record)
            if claim not in self.best or _is_better(record, self.best[claim]):
                self.best[claim] = record

    def decision(self) -> Decision:
        """As a reader counts."""
        return decide(self._votes(), self.silent, nodes_known=self._nodes_known)

    def strict_decision(self) -> Decision:
        """As a racer counts: who abstains could still vote, and who seems dead may be back."""
        holders = [held for held in self._votes() if held]
        silent = self.silent + self.shunned + len(self.answers) - len(holders)
        return decide(holders, silent, nodes_known=self._nodes_known)

    def reading(self, decision: Decision) -> ClaimReading:
        ranked = sorted(self.best, key=lambda claim: (claim != decision.owner, claim))
        records = tuple(self.best[claim] for claim in ranked)
        return ClaimReading(records, decision, len(self.answers) + self.silent, len(self.answers))

    def lacking(self, claim: bytes) -> list[Contact]:
        """Who answered and has no or an older version of this claim."""
        best = self.best[claim]
        return [contact for contact, held in self.answers.items() if best not in held]

    def adoptable(self) -> list[DurableRecord]:
        """All claims seen: the owner's, then those with more votes, then by claim id."""
        votes = Counter(held[0] for held in self._votes() if held)
        owner = self.decision().owner
        return [self.best[claim] for claim in sorted(self.best, key=lambda c: (c != owner, -votes[c], c))]

    def _votes(self) -> list[list[bytes]]:
        return [[claim_of(record) for record in held] for held in self.answers.values()]


def _is_better(record: DurableRecord, other: DurableRecord) -> bool:
    """Of two versions of one claim: the higher sequence number, then the larger digest (as `judge` has it)."""
    return (record.body.sequence, record.digest) > (other.body.sequence, other.digest)


class Waiting(NamedTuple):
    """A store whose answer waits for an adoption. `network`: from where it came, if that is limited."""

    record: DurableRecord
    network: Network | None
    answer: "asyncio.Future[Kept]"


class Adoption:
    """Under way for one name: the stores that wait for it, in order of arrival."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []


class VoteKeeper:
    """The claims of this node as a replica. `ask_others` reads what the nearest contacts hold, one quick try each."""

    def __init__(
        self,
        storage: RecordStorage,
        *,
        ask_others: Callable[[RecordKey], Awaitable[Tally]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None] | None],
        on_kept: Callable[[RecordKey], None],
    ) -> None:
        self._storage = storage
        self._ask_others = ask_others
        self._spawn = spawn
        self._on_kept = on_kept
        self._adoptions: dict[RecordKey, Adoption] = {}
        self._waiting = 0

    def claims(self, key: RecordKey) -> list[DurableRecord] | None:
        """What we hold, our vote first; None while the vote is not fixed."""
        return None if key in self._adoptions else self._storage.claims(key)

    def is_full(self, key: RecordKey) -> bool:
        """Whether a store would have to wait and nothing more may wait."""
        if key in self._adoptions:
            return self._waiting >= REQUESTS_SERVED_MAX
        return not self._storage.claims(key) and len(self._adoptions) >= ADOPTIONS_OPEN_MAX

    def offer(self, key: RecordKey, record: DurableRecord, *, network: Network | None = None) -> "asyncio.Future[Kept]":
        """Keep a claim, after an adoption where one is due; cancelled when this node ends before that. The record must
        have been judged for `key`: nobody makes us ask around for nothing. `spawn` returns None when it starts nothing any more."""
        answer: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        if key not in self._adoptions and self._storage.claims(key):
            answer.set_result(self._keep(key, record, network))
            return answer
        adoption = self._adoptions.get(key)
        if adoption is None:
            task = self._spawn(self._adopt(key))
            if task is None:
                answer.cancel()
                return answer
            adoption = self._adoptions[key] = Adoption()
            task.add_done_callback(lambda _: self._abandon(key, adoption))
        adoption.waiting.append(Waiting(record, network, answer))
        self._waiting += 1
        return answer

    async def _adopt(self, key: RecordKey) -> None:
        tally = await self._ask_others(key)
        # From here on nothing is awaited: the vote is fixed and the waiting are served before anybody else gets in.
        adoption = self._adoptions.pop(key)
        self._waiting -= len(adoption.waiting)
        for record in tally.adoptable():
            # Who made us ask around is charged, or everything after the first replica would be for nothing.
            self._keep(key, record, adoption.waiting[0].network)
        for record, network, answer in adoption.waiting:
            if not answer.done():
                answer.set_result(self._keep(key, record, network))

    def _abandon(self, key: RecordKey, adoption: Adoption) -> None:
        """The node ended in the middle of it: nobody may wait for ever. (No `finally` in the task would do: it does not
        run when a task is cancelled before its first step.)"""
        if self._adoptions.get(key) is adoption:
            del self._adoptions[key]
            self._waiting -= len(adoption.waiting)
            for *_, answer in adoption.waiting:
                answer.cancel()

    def settle(self, key: RecordKey, tally: Tally) -> None:
        """Give our vote to the owner if the others have agreed on one beyond doubt."""
        decision = tally.strict_decision()
        held = self._storage.claims(key)
        if held and decision.certain and decision.owner is not None and claim_of(held[0]) != decision.owner:
            self._storage.put_first(key, tally.best[decision.owner])

    def _keep(self, key: RecordKey, record: DurableRecord, network: Network | None = None) -> Kept:
        kept = self._storage.offer_claim(key, record, network=network)
        if kept.verdict in (Verdict.NEW, Verdict.NEWER):
            self._on_kept(key)
        return kept


def rivals(held: Iterable[DurableRecord]) -> bool:
    """Whether more than one claim is among them."""
    return len({claim_of(record) for record in held}) > 1
