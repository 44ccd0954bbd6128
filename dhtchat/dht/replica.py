"""This node as one of the replicas: what it answers to others, and to itself when it is near enough to a key."""

import asyncio
from collections.abc import Iterator
from typing import cast

from dhtchat.dht.claiming import VoteKeeper
from dhtchat.dht.diversity import Network
from dhtchat.dht.opener import RecordOpener
from dhtchat.dht.storage import HeldEntry, Kept, RecordStorage, Standing
from dhtchat.dht.tending import TreeKeeper
from dhtchat.ids import RecordKey
from dhtchat.parameters import NetworkParameters
from dhtchat.records.acceptance import Reason, Verdict, judge
from dhtchat.records.kinds import DurableRecord, SoftRecord, is_durable
from dhtchat.runtime import Clock


class OwnReplica:
    """Whatever comes in is verified and judged first, whoever it comes from."""

    def __init__(
        self,
        storage: RecordStorage,
        votes: VoteKeeper,
        trees: TreeKeeper,
        opener: RecordOpener,
        *,
        parameters: NetworkParameters,
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._votes = votes
        self._trees = trees
        self._opener = opener
        self._parameters = parameters
        self._clock = clock

    def claims(self, key: RecordKey) -> list[DurableRecord] | None:
        """In order of arrival, the vote first; None while the vote is not fixed."""
        return self._votes.claims(key)

    def entries(self, key: RecordKey, kind: str, after: bytes = b"") -> Iterator[HeldEntry]:
        """Those alive behind the entry id `after`, by entry id."""
        return self._storage.entries(key, kind, after)

    def index(self, key: RecordKey, after: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Id and sequence number of all that lives of a set, behind the entry id `after`."""
        return self._storage.index(key, after)

    def below(self, key: RecordKey) -> tuple[str, ...] | None:
        """Leaves below a node of a tree that has split; None when it has not, or is none."""
        return self._storage.below(key)

    def standing(self, key: RecordKey, raw: bytes) -> Standing:
        """How a record that was just offered stands in its tree."""
        record = self._opener.open(raw)
        return (
            Standing()
            if record is None or is_durable(record)
            else self._storage.standing(key, cast(SoftRecord, record))
        )

    def touch(self, key: RecordKey, entry_id: bytes, gist: bytes, giver: bytes) -> tuple[Kept, Standing]:
        """Keep an entry alive for the node that published it here."""
        return self._storage.touch(key, entry_id, gist, giver)

    def offer(
        self,
        key: RecordKey,
        raw: bytes,
        remaining_s: float | None = None,
        *,
        depth: int = 0,
        lives: int = 0,
        giver: bytes | None = None,
        network: Network | None = None,
    ) -> "Kept | asyncio.Future[Kept] | None":
        """What becomes of a record: known at once, once the vote is fixed, or None when too many stores wait for that.
        `depth`, `lives`: see `wire.Store`. `giver`: node key of who asks, be it to publish or to hand on. `network`: that
        of its address, if such are limited."""
        record = self._opener.open(raw)
        if record is None:
            return Kept(Verdict.REFUSED, Reason.MALFORMED, 0)
        if not is_durable(record):
            publisher = giver if remaining_s is None else None
            soft, lives = cast(SoftRecord, record), max(depth, lives)
            return self._offer_entry(key, soft, remaining_s, depth=depth, lives=lives, giver=publisher, network=network)
        judgement = judge(record, None, key=key, now_s=self._clock.wall(), parameters=self._parameters)
        if not judgement.accepted:
            return Kept(Verdict.REFUSED, judgement.reason, 0)
        if self._votes.is_full(key):
            return None
        answer = self._votes.offer(key, cast(DurableRecord, record), network=network)
        return answer.result() if answer.done() and not answer.cancelled() else answer

    def _offer_entry(
        self,
        key: RecordKey,
        record: SoftRecord,
        remaining_s: float | None,
        *,
        depth: int,
        lives: int,
        giver: bytes | None,
        network: Network | None,
    ) -> Kept | None:
        new = not self._storage.knows(key)
        if new and depth:
            if self._trees.is_misplaced(key):
                return Kept(Verdict.REFUSED, Reason.NO_NODE, 0)
            if self._trees.is_busy():
                return None
        hidden = new and depth > 0
        kept = self._storage.offer_entry(
            key, record, remaining_s, depth=depth, lives=lives, hidden=hidden, giver=giver, network=network
        )
        self._trees.look_into(key, record, depth, lives, new=new)
        return kept
