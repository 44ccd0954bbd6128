"""Bugs put in on purpose, to see that the search finds such bugs. Each is in force inside its `with` block.

They replace a few lines of the product, so they live beside the search and not in it: a search that finds none of these
would prove nothing by finding nothing.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from unittest import mock

from dhtchat.app.exchange import Exchange
from dhtchat.app.node import ChatNode
from dhtchat.app.talks import Talk
from dhtchat.chat.timeline import Offered, Timeline
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import MessageId, PeerId
from dhtchat.peer.link import Link
from dhtchat.records.acceptance import Judgement, Reason, Verdict
from dhtchat.records.message import Statement


@contextlib.contextmanager
def replica_ignores_sequence_numbers() -> Iterator[None]:
    """Whatever comes last is what a replica keeps."""
    honest = RecordStorage._judge

    def judge(storage: RecordStorage, *arguments: Any, **options: Any) -> Judgement:
        judgement = honest(storage, *arguments, **options)
        return Judgement(Verdict.NEWER) if judgement.reason is Reason.STALE else judgement

    with mock.patch.object(RecordStorage, "_judge", judge):
        yield


@contextlib.contextmanager
def acknowledged_before_the_commit() -> Iterator[None]:
    """ "I have it on disk" leaves while it still waits for the disk."""

    async def take(
        exchange: Exchange, talk: Talk, statements: list[Statement], *arguments: Any, **options: Any
    ) -> bool:
        mine = exchange._core.me.peer
        early: dict[PeerId, list[bytes]] = {}
        for statement in statements:
            if statement.author.peer != mine:
                early.setdefault(statement.author.peer, []).append(statement.id)
        exchange._acknowledge(early)
        return await honest(exchange, talk, statements, *arguments, **options)

    honest = Exchange._take
    with mock.patch.object(Exchange, "_take", take):
        yield


@contextlib.contextmanager
def duplicate_filter_forgets() -> Iterator[None]:
    """Of each author only the latest line is known to have been seen."""
    honest = Timeline.offer

    def offer(timeline: Timeline, statement: Statement, now_s: float) -> Offered:
        chain = timeline._chains.get(statement.author.device)
        counter = statement.body.counter
        old = chain is not None and chain.ids.get(counter) == statement.id and counter < chain.upto
        if chain is not None and old and statement.id in timeline._depths:
            del chain.ids[counter]
        return honest(timeline, statement, now_s)

    with mock.patch.object(Timeline, "offer", offer), mock.patch.object(Timeline, "holds", _holds_nothing):
        yield


def _holds_nothing(timeline: Timeline, statement_id: MessageId) -> bool:
    return False


@contextlib.contextmanager
def restart_loses_the_outbox() -> Iterator[None]:
    """Private lines that were not delivered before a restart are not followed up on after it."""

    async def restore_nothing(exchange: Exchange, talk: Talk) -> None:
        pass

    with mock.patch.object(Exchange, "restore_outbox", restore_nothing):
        yield


@contextlib.contextmanager
def partition_loses_the_outbox() -> Iterator[None]:
    """When a link breaks, what was not yet delivered is no longer followed up on."""
    honest = ChatNode.link_down

    async def link_down(node: ChatNode, link: Link, reason: str) -> None:
        outbox = node._exchange.outbox
        for statement_id in outbox.lacking(direct_only=True).get(link.author.peer, []):
            del outbox._entries[statement_id]
        await honest(node, link, reason)

    with mock.patch.object(ChatNode, "link_down", link_down):
        yield


@contextlib.contextmanager
def everybody_counts_as_a_member() -> Iterator[None]:
    """Whoever asks for a room's lines gets them, and whoever talks into it is shown."""

    async def may_share(node: ChatNode, talk: Talk, peer: PeerId) -> bool:
        return True

    with mock.patch.object(ChatNode, "_may_share", may_share):
        yield


PLANTED: Final[Mapping[str, Callable[[], contextlib.AbstractContextManager[None]]]] = {
    "replica-ignores-sequence-numbers": replica_ignores_sequence_numbers,
    "acknowledged-before-the-commit": acknowledged_before_the_commit,
    "duplicate-filter-forgets": duplicate_filter_forgets,
    "partition-loses-the-outbox": partition_loses_the_outbox,
    "restart-loses-the-outbox": restart_loses_the_outbox,
    "everybody-counts-as-a-member": everybody_counts_as_a_member,
}
