"""Refreshing without sending the record again: who may keep an entry alive, and for how long."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from dhtchat.dht import wire
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import PeerId
from dhtchat.limits import CLOCK_SKEW_S, PRESENCE_REFRESH_S, PRESENCE_TTL_S
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.envelope import Signed
from dhtchat.records.presence import Presence, presence_key
from dhtchat.runtime import Runtime
from tests.dht.support import (
    FixedClock,
    Peer,
    key_of,
    presence,
    run_virtually,
    running_node,
    start_nodes,
    storage_of,
    until,
)

ALICE = key_of(1)
SET = presence_key(PeerId(ALICE.public))
OWNER, STRANGER = bytes(31) + b"o", bytes(31) + b"s"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def storage(clock: FixedClock) -> RecordStorage:
    return RecordStorage(None, parameters=SIM, clock=clock)


def touch(storage: RecordStorage, record: Signed[Presence], giver: bytes = OWNER) -> Reason:
    entry_id = record.body.entry_id(record.key)
    kept, _ = storage.touch(SET, entry_id, wire.gist_of([record.digest]), giver)
    return kept.reason


def is_held(storage: RecordStorage) -> bool:
    return bool(list(storage.entries(SET, Presence.KIND)))


def test_who_gave_an_entry_keeps_it_alive_but_not_for_ever(storage: RecordStorage, clock: FixedClock) -> None:
    record = presence(ALICE, 1, clock.wall())
    storage.offer_entry(SET, record, giver=OWNER)
    lived_s = 0.0
    while is_held(storage):
        assert touch(storage, record) is Reason.NONE
        clock.advance(PRESENCE_REFRESH_S)
        lived_s += PRESENCE_REFRESH_S
        assert lived_s <= PRESENCE_TTL_S + CLOCK_SKEW_S + PRESENCE_REFRESH_S
    assert lived_s >= PRESENCE_TTL_S + CLOCK_SKEW_S
    assert touch(storage, record) is Reason.NOT_HELD


def test_nobody_else_does(storage: RecordStorage, clock: FixedClock) -> None:
    record = presence(ALICE, 1, clock.wall())
    storage.offer_entry(SET, record, giver=OWNER)
    clock.advance(PRESENCE_TTL_S - 1)
    assert touch(storage, record, STRANGER) is Reason.NOT_HELD
    assert storage.offer_entry(SET, record, giver=STRANGER).verdict is Verdict.SAME
    assert touch(storage, record, STRANGER) is Reason.NOT_HELD, "the same bytes again make nobody its giver"
    clock.advance(2)
    assert not is_held(storage)


def test_nobody_does_for_what_was_handed_on(storage: RecordStorage, clock: FixedClock) -> None:
    record = presence(ALICE, 1, clock.wall())
    storage.offer_entry(SET, record, 50.0)
    assert touch(storage, record) is Reason.NOT_HELD


def test_another_version_is_not_meant(storage: RecordStorage, clock: FixedClock) -> None:
    old, new = presence(ALICE, 1, clock.wall()), presence(ALICE, 2, clock.wall())
    storage.offer_entry(SET, old, giver=OWNER)
    storage.offer_entry(SET, new, giver=OWNER)
    assert touch(storage, old) is Reason.NOT_HELD
    assert touch(storage, new) is Reason.NONE


async def told(peer: Peer, node: DhtNode, request: wire.Request) -> wire.Answer:
    """The answer, once this peer has a token."""
    before = len(peer.answers)
    peer.ask(node, request)
    await until(lambda: len(peer.answers) > before, "no answer")
    return peer.answers[-1]


def touch_of(record: Signed[Presence]) -> wire.Touch:
    place = record.body.place(record.key)
    return wire.Touch(place, record.body.entry_id(record.key), wire.gist_of([record.digest]))


async def test_over_the_wire_only_the_key_that_published_counts() -> None:
    """Goal: what was handed on is nobody's, and what somebody published is kept alive for nobody else.

    Method: a peer stores one entry as its own, another with the life that is left, and touches both; then somebody else
    touches the first; and the first peer without a token.
    """
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(1))
        peer, other = [await stack.enter_async_context(Peer(700 + number)) for number in range(2)]
        now_s = node._runtime.clock.wall()
        mine, handed = presence(key_of(2), 1, now_s), presence(key_of(3), 1, now_s)
        for one in (peer, other):
            assert isinstance(await told(one, node, wire.Ping()), wire.Pong)
        for record, remaining_ms in ((mine, None), (handed, 60_000)):
            stored = await told(peer, node, wire.Store(record.body.place(record.key), record.raw, remaining_ms))
            assert isinstance(stored, wire.Stored)
            assert stored.verdict is Verdict.NEW
        reasons = []
        for asker, record in ((peer, mine), (peer, handed), (other, mine)):
            answer = await told(asker, node, touch_of(record))
            assert isinstance(answer, wire.Stored)
            reasons.append(answer.reason)
        assert reasons == [Reason.NONE, Reason.NOT_HELD, Reason.NOT_HELD]
        peer.tokens.clear()
        assert await told(peer, node, touch_of(mine)) == wire.Refused(wire.Refusal.UNPROVED)


def test_a_kept_record_is_touched_every_second_time_and_never_dies() -> None:
    """Goal: refreshing by name keeps an entry at its replicas for as long as its owner is there, and no longer."""

    async def scene(runtime: Runtime) -> None:
        async with AsyncExitStack() as stack:
            nodes = await start_nodes(stack, 12, runtime=runtime)
            owner = nodes[0]
            owner.keep(
                "presence", lambda seq, at, gone: presence(ALICE, seq, at, gone=gone), refresh_s=PRESENCE_REFRESH_S
            )
            for _ in range(30):
                await asyncio.sleep(PRESENCE_REFRESH_S / 2)
                holders = [node for node in nodes if is_held(storage_of(node))]
                assert len(holders) >= 8
            touches, stores = (sum(node.statistics[f"request-{kind}"] for node in nodes) for kind in ("Touch", "Store"))
            assert touches > 0.4 * stores
            owner.forget("presence")
            await asyncio.sleep(PRESENCE_TTL_S + 1)
            assert not any(is_held(storage_of(node)) for node in nodes)

    run_virtually(scene, seed=1)
