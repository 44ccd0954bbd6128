"""A directory of thousands, laid down at once: what so many writers would have stored, without their datagrams.

Entries go to the nodes responsible by the writer's own rules (`dhtchat/dht/placing.py`), replicas judge, split and ask each
other as always; only the way from the writer to its replicas is a function call. To send it all would take most of an hour.
"""

import asyncio
import random
from collections.abc import Sequence
from functools import cache
from heapq import nsmallest
from typing import Any

from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.announcer import Announcement
from dhtchat.dht.contact import Contact
from dhtchat.dht.node import DhtNode
from dhtchat.dht.placing import Placer
from dhtchat.dht.replicas import Outcome, PutReport, report_of
from dhtchat.dht.sets import NodeMerge, NodeReading
from dhtchat.dht.storage import Kept
from dhtchat.dht.tree_reader import TreeReader
from dhtchat.ids import RecordKey
from dhtchat.limits import LEAF_ENTRIES_MAX, SOFT_REPLICAS
from dhtchat.parameters import NetworkParameters
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.kinds import Record, place_of
from dhtchat.records.listing import UserListing
from dhtchat.runtime import Runtime

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TOGETHER = LEAF_ENTRIES_MAX
"""Entries laid down before the replicas get their turn to ask each other: fewer than split a leaf twice."""


class _AtHand:
    """Stands where a writer has `Replicas`: all nodes are at hand."""

    def __init__(self, nodes: Sequence[DhtNode]) -> None:
        by_number = {int.from_bytes(node.node_id, "big"): node for node in nodes}

        @cache
        def nearest(key: RecordKey) -> tuple[DhtNode, ...]:
            number = int.from_bytes(key, "big")
            return tuple(by_number[n] for n in nsmallest(SOFT_REPLICAS, by_number, key=lambda n: n ^ number))

        self.nearest = nearest

    async def put(self, record: Record, *, depth: int = 0, lives: int = 0) -> tuple[PutReport, list[Outcome]]:
        key = place_of(record, depth)
        assert key is not None
        outcomes = []
        for node in self.nearest(key):
            kept = node.replica.offer(key, record.raw, None, depth=depth, lives=lives)
            assert isinstance(kept, Kept) or kept is None
            outcomes.append(Outcome(Contact(node.node_id, node.address), kept, node.replica.standing(key, record.raw)))
        return report_of(outcomes, 0), outcomes

    async def read_node(self, key: RecordKey, kind: str, prefix: str = "", *, whole: bool = True) -> NodeReading:
        merge = NodeMerge(prefix)
        for node in self.nearest(key):
            below = node.replica.below(key)
            held = list(node.replica.entries(key, kind))
            merge.on_node(Contact(node.node_id, node.address), held, below is not None, below or (), now_s=0.0)
        return merge.node(0.0)


def make_names(source: random.Random, count: int) -> list[str]:
    """Of all sorts: numbered, made of words, words with a year, by chance; each once."""
    words = ["".join(source.choices(_LETTERS, range(26, 0, -1), k=source.randint(3, 8))) for _ in range(1_500)]
    names: dict[str, None] = {}
    while len(names) < count:
        match source.choices(range(4), (2, 4, 3, 1))[0]:
            case 0:
                name = f"user{source.randrange(count):06}"
            case 1:
                name = source.choice(words) + source.choice(["", "_", "-"]) + source.choice(words)
            case 2:
                name = source.choice(words) + str(source.randrange(2_100))
            case _:
                name = "".join(source.choices(_LETTERS, k=source.randint(4, 12)))
        names[name[:24]] = None
    return list(names)


class Laying:
    """Everybody who is listed, each with a key of their own. `refresh` as often as they are to live on."""

    def __init__(self, nodes: Sequence[DhtNode], runtime: Runtime, parameters: NetworkParameters) -> None:
        self.listed: list[Signed[UserListing]] = []
        at_hand: Any = _AtHand(nodes)
        self._placer = Placer(at_hand, TreeReader(at_hand, runtime))
        self._runtime = runtime
        self._parameters = parameters
        self._writers: list[_Writer] = []
        self._at_hand = at_hand

    def add(self, names: Sequence[str]) -> None:
        """To be laid down with the next `refresh`."""
        self._writers += [_Writer(name, SigningKey.generate(self._runtime.random)) for name in names]

    async def refresh(self) -> None:
        """Store all once more, in another order, and then those again who were left over where a leaf has split since."""
        self.listed = []
        await self._store(self._runtime.random.sample(self._writers, len(self._writers)))
        while left_over := [writer for writer in self._writers if self._is_left_over(writer)]:
            await self._store(left_over)
        self.listed = [writer.record for writer in self._writers if writer.record is not None]

    async def _store(self, writers: "Sequence[_Writer]") -> None:
        """Virtual time passes as the replicas need it."""
        for number, writer in enumerate(writers, start=1):
            writer.sequence += 1
            issued_at_s, ttl_s = int(self._runtime.clock.wall()), self._parameters.presence_ttl_s
            name, device = writer.announcement.slot, writer.key.public
            body = UserListing(name, device, False, writer.sequence, issued_at_s, ttl_s, False)
            writer.record = sign_body(body, writer.key, self._parameters.network_id)
            while not await self._is_kept(writer.announcement, writer.record):  # noqa: ASYNC110 - a try each time
                await asyncio.sleep(2.0)
            if number % _TOGETHER == 0:
                await asyncio.sleep(0.5)

    async def _is_kept(self, announcement: Announcement, record: Signed[UserListing]) -> bool:
        _, outcomes = await self._placer.place(announcement, record)
        return sum(outcome.holds for outcome in outcomes) > SOFT_REPLICAS // 2

    def _is_left_over(self, writer: "_Writer") -> bool:
        assert writer.record is not None
        key = place_of(writer.record, writer.announcement.depth or 0)
        assert key is not None
        return any(node.storage.has_split(key) for node in self._at_hand.nearest(key)[:1])


class _Writer:
    def __init__(self, name: str, key: SigningKey) -> None:
        self.key = key
        self.sequence = 0
        self.record: Signed[UserListing] | None = None
        self.announcement = Announcement(name, _never, 1.0)


def _never(sequence: int, issued_at_s: int, gone: bool) -> Signed[UserListing]:
    raise AssertionError("records are made here, not by an announcement")
