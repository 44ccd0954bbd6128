"""Mail in whole networks: it survives its author, half of its replicas and the death of processes, and arrives once."""

import asyncio
import random
import sqlite3
from typing import cast

import msgspec
import pytest

from dhtchat.chat import intents
from dhtchat.chat.events import History, MessageArrived, StatusChanged
from dhtchat.crypto.identity import SigningKey
from dhtchat.crypto.sealing import Correspondence
from dhtchat.dht import wire
from dhtchat.dht.mail_shelf import Full
from dhtchat.dht.node import DhtNode
from dhtchat.ids import MessageId, PeerId, distance
from dhtchat.limits import HELD_WAIT_S, MAIL_FROM_STRANGERS_MAX, MAIL_ITEMS_PER_BOX_MAX, MAIL_LIFE_S, SOFT_REPLICAS
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.envelope import Signed, peek_envelope, sign_body
from dhtchat.records.mail import (
    SEALED_PART_BYTES,
    Mail,
    cut_letter,
    mail_work_bits,
    mailbox_place,
    seal_part,
)
from dhtchat.records.message import (
    Message,
    Say,
    direct_conversation,
    open_statement,
    peek_message_id,
    sign_statement,
)
from simulations.world import EPOCH_S, Person, World

LINES = 20


def elsewhere(world: World, name: str, number: int = 2) -> Person:
    """Somebody's account on another machine with an empty disk."""
    person = Person(world, name, world.new_host(f"{name}-{number}"))
    person._registered = True
    world.people[f"{name}-{number}"] = person
    return person


def told(person: Person) -> list[str]:
    """The private lines of others as they were shown."""
    events = [seen.event for seen in person.messages()]
    return [e.text for e in events if isinstance(e, MessageArrived) and e.kind == "direct" and not e.own]


def own(person: Person) -> dict[str, str]:
    """Own lines: id -> text."""
    events = [seen.event for seen in person.messages()]
    return {e.id: e.text for e in events if isinstance(e, MessageArrived) and e.own}


def in_state(person: Person, state: str) -> set[str]:
    """Texts of own lines that were ever in this state."""
    lines = own(person)
    events = [seen.event for seen in person.seen]
    return {lines[e.id] for e in events if isinstance(e, StatusChanged) and e.state == state and e.id in lines}


async def town(world: World, nodes: int) -> None:
    """A bootstrap node and so many others that nobody talks through."""
    await world.start_bootstrap()
    for number in range(nodes):
        await world.start_bare_node(f"n{number}")
    await asyncio.sleep(20.0)


async def start(world: World, name: str) -> Person:
    person = world.add_person(name)
    await person.start()
    assert person.online, person.errors
    return person


@pytest.mark.parametrize("number", range(2))
def test_lines_to_somebody_never_seen_arrive_after_their_author_and_many_replicas_are_gone(
    seed: int, number: int
) -> None:
    """Bob registers and leaves. Alice writes 20 lines and leaves; 8 of 20 nodes are killed. Bob logs in on an empty machine
    and has all of them, in order and delayed. Alice saw `stored`, and sees `delivered` when she is back."""
    world = World(seed + number)
    texts = [f"line {n}" for n in range(LINES)]

    async def play() -> None:
        await town(world, 20)
        assert await world.register_only("bob", "bobs-first-machine") == "registered"
        alice = await start(world, "alice")
        for text in texts:
            await alice.say("bob", text, ["bob"])
        await alice.leave()
        assert in_state(alice, "stored") == set(texts)
        assert in_state(alice, "delivered") == set()
        for name in world.rng.sample([f"n{n}" for n in range(20)], 8):
            await world.kill_bare_node(name)
        bob = elsewhere(world, "bob")
        await bob.start()
        assert await bob.until(lambda: len(told(bob)) >= LINES, within_s=60.0), told(bob)
        await asyncio.sleep(30.0)
        assert told(bob) == texts
        assert all(s.event.delayed for s in bob.messages() if isinstance(s.event, MessageArrived))
        await bob.leave()
        await alice.start()
        assert await alice.until(lambda: _delivered(alice) == set(texts), within_s=120.0), _delivered(alice)

    def _delivered(alice: Person) -> set[str]:
        return in_state(alice, "delivered")

    world.run(play())
    assert world.loop.complaints == []


def items_in(world: World, owner: bytes) -> dict[str, set[bytes]]:
    place = mailbox_place(PeerId(owner))
    found = {}
    for name, node in world.nodes.items():
        held = {entry.record.body.entry_id(entry.record.key) for entry in node.storage.entries(place, Mail.KIND)}
        if held:
            found[name] = held
    return found


async def identity_of(person: Person) -> SigningKey:
    assert person.node is not None
    return person.node.account.identity


async def befriend(alice: Person, bob: Person) -> None:
    """Each has written to the other: they are contacts."""
    await alice.say("bob", "hello bob", ["bob"])
    assert await bob.until(lambda: "hello bob" in told(bob), within_s=60.0)
    await bob.say("alice", "hello alice", ["alice"])
    assert await alice.until(lambda: "hello alice" in told(alice), within_s=60.0)


def junk(sender: SigningKey, box: bytes, number: int, now_s: float) -> Signed[Mail]:
    """An item like any other, as far as a replica can see."""
    sealed = random.Random(number).randbytes(SEALED_PART_BYTES)
    body = Mail(box, number.to_bytes(16, "big"), sealed, 0, 1, int(now_s), MAIL_LIFE_S)
    return sign_body(body, sender, SIM.network_id)


def test_a_flood_by_a_thousand_strangers_does_not_keep_a_contact_out(seed: int) -> None:
    """Bob is away, and a thousand identities fill his mailbox. What Alice writes is stored, kept and read; no replica holds
    more than its bounds; of the rubbish nothing is shown, and it is cleared away."""
    world = World(seed)
    texts = [f"in spite of it {n}" for n in range(10)]

    async def play() -> None:
        await town(world, 20)
        alice, bob = await start(world, "alice"), await start(world, "bob")
        await befriend(alice, bob)
        await asyncio.sleep(150.0)  # bob's next reading of his mailbox says that alice is welcome
        box = (await identity_of(bob)).public
        await bob.leave()
        flooder = world.nodes["n0"]
        now_s = alice.host.clock.wall()
        flood = [junk(SigningKey(number.to_bytes(32, "big")), box, number, now_s) for number in range(1_000)]
        deposits = await flooder.mail.deposit(mailbox_place(PeerId(box)), flood)
        assert 0.9 * MAIL_FROM_STRANGERS_MAX < sum(d.enough for d in deposits) <= MAIL_FROM_STRANGERS_MAX
        for text in texts:
            await alice.say("bob", text, ["bob"])
        assert await alice.until(lambda: in_state(alice, "stored") >= set(texts), within_s=60.0), in_state(
            alice, "stored"
        )
        await alice.leave()
        for name, node in world.nodes.items():
            held = node.storage.mail_held
            assert held[0] <= MAIL_ITEMS_PER_BOX_MAX + 10, name
            assert held[1] == node.storage.bytes_held - _other_bytes(node)
        await bob.start()
        assert await bob.until(lambda: told(bob)[1:] == texts, within_s=60.0), told(bob)
        assert await world.until(lambda: not items_in(world, box), within_s=600.0, step_s=5.0), items_in(world, box)
        assert told(bob)[1:] == texts

    world.run(play())
    assert world.loop.complaints == []


def _other_bytes(node: DhtNode) -> int:
    return sum(
        len(raw) for _, raw in node.storage if peek_envelope(raw).kind not in ("mail", "mailbox", "mail-receipt")
    )


def test_every_device_gets_the_mail_once_and_then_it_goes(seed: int) -> None:
    """Bob has two devices, both away. The first one that comes back gets the mail and leaves it there; the second gets it,
    too, without having met the first; then no replica holds it any more. Both together show nothing twice."""
    world = World(seed)
    texts = [f"line {n}" for n in range(5)]

    async def play() -> None:
        await town(world, 12)
        alice = await start(world, "alice")
        laptop = await start(world, "bob")
        box = (await identity_of(laptop)).public
        phone = elsewhere(world, "bob")
        await phone.start()
        await asyncio.sleep(20.0)
        await laptop.leave()
        await phone.leave()
        await asyncio.sleep(5.0)
        for text in texts:
            await alice.say("bob", text, ["bob"])
        await alice.leave()
        await laptop.start()
        assert await laptop.until(lambda: told(laptop) == texts, within_s=60.0)
        await asyncio.sleep(60.0)
        await laptop.leave()
        assert items_in(world, box)
        await phone.start()
        assert await phone.until(lambda: told(phone) == texts, within_s=60.0)
        assert await world.until(lambda: not items_in(world, box), within_s=1_200.0), items_in(world, box)
        await laptop.start()
        third = elsewhere(world, "bob", 3)
        await third.start()
        assert await third.until(lambda: told(third) == texts, within_s=120.0), told(third)
        await asyncio.sleep(120.0)
        assert told(laptop) == told(phone) == told(third) == texts
        await alice.start()
        assert await alice.until(lambda: in_state(alice, "delivered") == set(texts), within_s=120.0)

    world.run(play())
    assert world.loop.complaints == []


@pytest.mark.parametrize("after_s", [0.0, 0.1, 1.0, 2.2, 2.5, 3.0])
def test_a_killed_author_goes_on_where_it_was(seed: int, after_s: float) -> None:
    """SIGKILL at any moment between the key press and `stored`: after the restart every line is stored, once, and arrives
    once."""
    world = World(seed)
    texts = [f"line {n}" for n in range(8)]

    async def play() -> None:
        await town(world, 12)
        assert await world.register_only("bob", "bobs-first-machine") == "registered"
        alice = await start(world, "alice")
        for text in texts:
            await alice.say("bob", text, ["bob"])
        await asyncio.sleep(after_s)
        await alice.crash()
        shown = set(own(alice).values())
        stored = in_state(alice, "stored")
        await alice.restart()
        assert alice.node is not None
        if stored >= shown:
            assert not alice.node._exchange.outbox.only_here(), "what was stored is taken for queued"
        assert await alice.until(lambda: in_state(alice, "stored") >= shown, within_s=60.0)
        changes = [s.event for s in alice.seen if s.boot == 2 and isinstance(s.event, StatusChanged)]
        again = [own(alice)[change.id] for change in changes if change.state in ("queued", "stored")]
        assert len(again) == len(set(again))
        assert not stored & set(again), "what was stored is told again"
        await alice.leave()
        bob = elsewhere(world, "bob")
        await bob.start()
        assert await bob.until(lambda: len(told(bob)) >= len(shown), within_s=60.0)
        await asyncio.sleep(60.0)
        assert told(bob) == [text for text in texts if text in told(bob)]
        assert set(told(bob)) >= shown

    world.run(play())
    assert world.loop.complaints == []


def test_what_is_stored_survives_less_than_half_of_its_replicas_and_is_made_whole_again(seed: int) -> None:
    """Three times three of its holders die at once, and each time the others make up for it. The author is long gone."""
    world = World(seed)
    texts = [f"line {n}" for n in range(6)] + ["x" * 2_000]

    async def play() -> None:
        await town(world, 30)
        assert await world.register_only("bob", "bobs-first-machine") == "registered"
        alice = await start(world, "alice")
        for text in texts:
            await alice.say("bob", text, ["bob"])
        assert await alice.until(lambda: in_state(alice, "stored") == set(texts), within_s=60.0)
        box = next(iter(alice.node.inspection.owed_privately())) if alice.node else b""
        await alice.leave()
        for _ in range(3):
            holders = items_in(world, box)
            everything = set().union(*holders.values())
            assert len(everything) == 6 + 4
            mortal = sorted(set(holders) - {"bootstrap-0"})  # bob shall still find the network
            victims = world.rng.sample(mortal, (len(holders) - 1) // 2)
            for name in victims:
                await world.kill_bare_node(name)
            left = items_in(world, box)
            assert set().union(*left.values()) == everything
            await asyncio.sleep(1_200.0)
            whole = [name for name, items in items_in(world, box).items() if items == everything]
            assert len(whole) >= SOFT_REPLICAS - 1, items_in(world, box)
        bob = elsewhere(world, "bob")
        await bob.start()
        assert await bob.until(lambda: told(bob) == texts, within_s=60.0), told(bob)

    world.run(play())
    assert world.loop.complaints == []


def test_after_14_days_a_line_has_failed_and_is_still_delivered_when_both_meet(seed: int) -> None:
    """Said with a reason, once, and not again after a restart."""
    world = World(seed)

    async def play() -> None:
        await town(world, 8)
        assert await world.register_only("bob", "bobs-first-machine") == "registered"
        alice = await start(world, "alice")
        await alice.say("bob", "too late", ["bob"])
        assert await alice.until(lambda: in_state(alice, "stored") == {"too late"}, within_s=60.0)
        await alice.leave()
        for node_host in world.people.values():
            node_host.host.clock.skew_s += MAIL_LIFE_S
        await alice.start()
        assert await alice.until(lambda: in_state(alice, "failed") == {"too late"}, within_s=60.0)
        [failed] = [s.event for s in alice.seen if isinstance(s.event, StatusChanged) and s.event.state == "failed"]
        assert failed.reason
        assert "14 days" in failed.reason
        await alice.leave()
        await alice.start()
        await asyncio.sleep(30.0)
        assert len([s for s in alice.seen if isinstance(s.event, StatusChanged) and s.event.state == "failed"]) == 1
        bob = elsewhere(world, "bob")
        bob.host.clock.skew_s = MAIL_LIFE_S
        await bob.start()
        assert await bob.until(lambda: told(bob) == ["too late"], within_s=60.0)
        assert await alice.until(lambda: in_state(alice, "delivered") == {"too late"}, within_s=60.0)

    world.run(play())
    assert world.loop.complaints == []


def _has_no_room(*anything: object) -> None:
    raise Full


def test_stored_is_not_said_while_too_few_hold_it(seed: int) -> None:
    """Replicas that answer `full` hold nothing: the line stays queued, is tried again, and is stored once there is room."""
    world = World(seed)

    async def play() -> None:
        await town(world, 6)
        assert await world.register_only("bob", "bobs-first-machine") == "registered"
        alice = await start(world, "alice")
        for node in world.nodes.values():
            node.storage._makes_way_for_mail = _has_no_room  # type: ignore[method-assign]
        await alice.say("bob", "is there room?", ["bob"])
        await asyncio.sleep(60.0)
        assert in_state(alice, "queued") == {"is there room?"}
        assert in_state(alice, "stored") == set()
        for node in world.nodes.values():
            del node.storage._makes_way_for_mail  # type: ignore[method-assign]
        assert await alice.until(lambda: in_state(alice, "stored") == {"is there room?"}, within_s=600.0)

    world.run(play())
    assert world.loop.complaints == []


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.6, 1.0, 5.0])
def test_a_killed_reader_shows_nothing_twice_and_loses_nothing(seed: int, after_s: float) -> None:
    """SIGKILL while the mail comes in: after the restart all of it is on his disk, what he saw he does not see again."""
    world = World(seed)
    texts = [f"line {n}" for n in range(10)]

    async def play() -> None:
        await town(world, 12)
        assert await world.register_only("bob", "bobs-first-machine") == "registered"
        alice = await start(world, "alice")
        for text in texts:
            await alice.say("bob", text, ["bob"])
        await alice.leave()
        bob = elsewhere(world, "bob")
        await bob.start()
        await asyncio.sleep(after_s)
        await bob.crash()
        await bob.restart()
        await asyncio.sleep(60.0)
        assert len(told(bob)) == len(set(told(bob)))
        assert bob.node is not None
        statements = [open_statement(row.raw, SIM.network_id) for row in bob.node.inspection.statements()]
        assert [s.body.content.text for s in statements if isinstance(s.body.content, Say)] == texts

    world.run(play())
    assert world.loop.complaints == []


def lie(node: DhtNode, rng: random.Random) -> None:
    """A replica that says it stores and does not, names items that are none, and gives others than were asked for."""
    protocol = node._protocol

    def stored(request: wire.Store, asked: object) -> wire.Answer:
        return wire.Stored(Verdict.NEW, Reason.NONE, 1)

    def listed(key: bytes, after: bytes) -> wire.Answer:
        ids = sorted(rng.randbytes(rng.choice([16, 64])) for _ in range(12))
        return wire.Listed([wire.ListedEntry(entry, 2**62) for entry in ids], b"\xff" * 64)

    def entries(key: bytes, kind: str, after: bytes) -> wire.Answer:
        forged = junk(SigningKey(rng.randbytes(32)), rng.randbytes(32), 1, EPOCH_S)
        return wire.Entries([wire.Entry(forged.raw, 1_000_000)], b"\xff" * 64)

    protocol.rpc_store = stored  # type: ignore[method-assign,assignment]
    protocol.rpc_list_entries = listed  # type: ignore[method-assign,assignment]
    protocol.rpc_find_entries = entries  # type: ignore[method-assign,assignment]


def test_liars_among_the_replicas_neither_lose_nor_forge_nor_hold_up(seed: int) -> None:
    """Three of the eight say "stored" and keep nothing, and fill their indexes with nonsense."""
    world = World(seed)
    texts = [f"line {n}" for n in range(5)]

    async def play() -> None:
        await town(world, 16)
        alice, bob = await start(world, "alice"), await start(world, "bob")
        await befriend(alice, bob)
        box = (await identity_of(bob)).public
        await bob.leave()
        nearest = sorted(world.nodes, key=lambda name: distance(world.nodes[name].node_id, mailbox_place(PeerId(box))))
        for name in nearest[1:7:2]:
            lie(world.nodes[name], random.Random(seed))
        for text in texts:
            await alice.say("bob", text, ["bob"])
        assert await alice.until(lambda: in_state(alice, "stored") >= set(texts), within_s=60.0)
        await alice.leave()
        await bob.start()
        assert await bob.until(lambda: told(bob)[1:] == texts, within_s=60.0), told(bob)
        await asyncio.sleep(300.0)
        assert told(bob)[1:] == texts

    world.run(play())
    assert world.loop.complaints == []


def test_what_others_put_into_a_mailbox_is_not_shown_as_anybodys(seed: int) -> None:
    """Mallory, with a valid account and all that is public, seals what he likes for Bob: a room's line as a private one, a
    line of Alice to himself, a line to somebody else, rubbish, half a letter. Nothing is shown but what he said himself."""
    world = World(seed)

    async def play() -> None:
        await town(world, 12)
        alice, bob, mallory = await start(world, "alice"), await start(world, "bob"), await start(world, "mallory")
        await befriend(alice, bob)
        await alice.say("mallory", "from alice to mallory", ["mallory"])
        assert await mallory.until(lambda: told(mallory) == ["from alice to mallory"], within_s=60.0)
        assert bob.node is not None
        assert mallory.node is not None
        bobs = bob.node.account
        box, key = PeerId(bobs.identity.public), bobs.account.body.mailbox_key
        await bob.leave()
        core = mallory.node._core
        sender = Correspondence(core.me.identity, SIM.network_id).writes_as(box, key)

        def said(text: str, *, direct: bool = True, target: bytes = box, counter: int = 1) -> bytes:
            message = Message(
                core.me.certificate,
                direct,
                target,
                "bob" if direct else "",
                counter,
                b"" if counter == 1 else b"p" * 16,
                [],
                core.wall_ms(),
                Say(text),
            )
            return sign_statement(message, core.me.device_key, core.me.author, SIM.network_id).raw

        [row] = mallory.node.inspection.statements()
        fork = said("the other first line")
        letters = [
            said("hello from mallory"),
            fork,
            said("in a room", direct=False, target=direct_conversation(core.me.peer, box)),
            said("to somebody else", target=alice.node.account.identity.public if alice.node else b""),
            row.raw,
            b"rubbish",
            said("x" * 2_000, counter=2),
        ]
        records: list[Signed[Mail]] = []
        for raw in letters:
            letter = MessageId(peek_message_id(raw) if raw != b"rubbish" else b"r" * 16)
            parts = cut_letter(letter, raw)
            for part in parts[: 1 if len(parts) > 1 else None]:  # of the long one the first part only
                records.append(
                    seal_part(
                        part,
                        sender,
                        box,
                        key,
                        nonce=0,
                        sequence=core.wall_ms(),
                        issued_at_s=int(core.wall_s()),
                        ttl_s=1_000,
                        network_id=SIM.network_id,
                    )
                )
        deposits = await core.dht.mail.deposit(mailbox_place(box), records)
        assert all(deposit.enough for deposit in deposits)
        await bob.start()
        await asyncio.sleep(60.0)
        shown = told(bob)[1:]
        assert len(shown) == 1
        assert shown[0] in ("hello from mallory", "the other first line")
        assert items_in(world, box), "half a letter waits for its other half"
        assert {len(items) for items in items_in(world, box).values()} == {1}
        await bob.join("#lobby")
        assert bob.node is not None
        [lobby] = bob.node.inspection.room_conversations().values()
        smuggled = open_statement(said("in the lobby", direct=False, target=lobby), SIM.network_id)
        assert await bob.node._exchange.take_mail([smuggled]) == set(), "mail is no way into a room"

    world.run(play())
    assert world.loop.complaints == []


def test_a_run_with_mail_is_the_same_each_time(seed: int) -> None:
    """Seals are drawn from elsewhere and differ; nothing is ordered by them."""

    def trace() -> str:
        world = World(seed)

        async def play() -> None:
            await town(world, 10)
            assert await world.register_only("bob", "bobs-first-machine") == "registered"
            alice = await start(world, "alice")
            for number in range(5):
                await alice.say("bob", f"line {number}", ["bob"])
            await alice.leave()
            bob = elsewhere(world, "bob")
            await bob.start()
            await asyncio.sleep(600.0)
            assert len(told(bob)) == 5

        world.run(play())
        return world.fabric.trace()

    assert trace() == trace()


def test_a_stranger_works_for_each_item_and_a_contact_does_not(seed: int) -> None:
    """On a network where items cost work: the first line to somebody is stored with it, and once they have written back none
    is done any more. The owner's own records bear it."""
    parameters = msgspec.structs.replace(SIM, name="costly", proof_of_work_bits=5 + 6)
    world = World(seed, parameters=parameters)

    def works(box: bytes) -> dict[bytes, bool]:
        """By sender: whether all its items bear work."""
        found: dict[bytes, bool] = {}
        for node in world.nodes.values():
            for entry in node.storage.entries(mailbox_place(PeerId(box)), Mail.KIND):
                done = (
                    mail_work_bits(cast(Signed[Mail], entry.record), parameters.network_id) >= parameters.mail_work_bits
                )
                found[entry.record.key] = found.get(entry.record.key, True) and done
        return found

    async def play() -> None:
        await town(world, 12)
        alice, bob = await start(world, "alice"), await start(world, "bob")
        box = (await identity_of(bob)).public
        await bob.leave()
        for number in range(6):
            await alice.say("bob", f"stranger {number}", ["bob"])
        assert await alice.until(lambda: len(in_state(alice, "stored")) == 6, within_s=60.0)
        assert list(works(box).values()) == [True]
        await bob.start()
        assert await bob.until(lambda: len(told(bob)) == 6, within_s=60.0)
        await bob.say("alice", "hello alice", ["alice"])
        assert await alice.until(lambda: told(alice) == ["hello alice"], within_s=60.0)
        await asyncio.sleep(300.0)
        await bob.leave()
        await alice.leave()
        await alice.start()
        for number in range(6):
            await alice.say("bob", f"friend {number}", ["bob"])
        assert await alice.until(lambda: len(in_state(alice, "stored")) == 12, within_s=60.0)
        assert list(works(box).values()) == [False]

    world.run(play())
    assert world.loop.complaints == []


# --- what is done to lines that wait in a mailbox ---------------------------------------------------------------------


def states(person: Person) -> list[StatusChanged]:
    return [seen.event for seen in person.seen if isinstance(seen.event, StatusChanged)]


def line_with(person: Person, text: str) -> str:
    """The id of the line that said this."""
    events = [seen.event for seen in person.messages()]
    return next(e.id for e in events if isinstance(e, MessageArrived) and e.text == text)


async def lines_now(person: Person, name: str) -> list[str]:
    """The talk as `/history` shows it."""
    before = len(person.seen)
    await person.perform(intents.ShowHistory(100, name))
    return [line.text for s in person.seen[before:] if isinstance(s.event, History) for line in s.event.messages]


def test_what_was_done_to_a_line_before_its_mail_was_fetched_is_done(seed: int) -> None:
    """Of three lines in bob's mailbox one is deleted and one changed. That comes by mail, too: no device of his ever shows the
    deleted line, and all have the new text. In the end alice follows nothing any more, on disk neither."""
    world = World(seed)

    async def play() -> None:
        await town(world, 12)
        alice = await start(world, "alice")
        laptop = await start(world, "bob")
        phone = elsewhere(world, "bob")
        await phone.start()
        await asyncio.sleep(20.0)
        await laptop.leave()
        await phone.leave()
        for text in ("first", "secret", "helo"):
            await alice.say("bob", text, ["bob"])
        assert await world.until(lambda: in_state(alice, "stored") == {"first", "secret", "helo"}, within_s=60.0)
        await alice.perform(intents.DeleteLine(line_with(alice, "secret")))
        await alice.perform(intents.EditLine(line_with(alice, "helo"), "hello"))
        await alice.leave()
        await laptop.start()
        assert await laptop.until(lambda: "hello" in told(laptop), within_s=HELD_WAIT_S / 2), told(laptop)
        assert await lines_now(laptop, "alice") == ["first", "hello"]
        await laptop.leave()
        await phone.start()
        assert await phone.until(lambda: "hello" in told(phone), within_s=60.0), told(phone)
        await laptop.start()
        await asyncio.sleep(60.0)
        for device in (laptop, phone):
            assert "secret" not in told(device)
            assert await lines_now(device, "alice") == ["first", "hello"]
        await alice.start()
        assert alice.node is not None
        core, outbox = alice.node._core, alice.node._exchange.outbox
        assert await alice.until(lambda: not outbox and not core.store.mailed(), within_s=120.0), core.store.mailed()
        assert in_state(alice, "delivered") >= {"first", "helo"}
        assert await lines_now(alice, "bob") == ["first", "hello"]

    world.run(play())
    assert world.loop.complaints == []


def test_what_was_read_between_two_lines_in_a_mailbox_holds_nothing_back(seed: int) -> None:
    """Alice has read bob's line, says so to nobody (he is gone), restarts and goes on talking, and takes a line back. What he finds in
    his mailbox is shown at once. What she read he learns when they meet."""
    world = World(seed)

    async def play() -> None:
        await town(world, 12)
        alice = await start(world, "alice")
        bob = await start(world, "bob")
        await alice.say("bob", "one", ["bob"])
        assert await bob.until(lambda: told(bob) == ["one"], within_s=60.0)
        for text in ("two", "and"):
            await bob.say("alice", text, ["alice"])
        assert await alice.until(lambda: told(alice) == ["two", "and"], within_s=60.0)
        await bob.leave()
        await asyncio.sleep(5.0)
        await alice.perform(intents.MarkRead((line_with(alice, "two"),)))
        await asyncio.sleep(5.0)
        await alice.leave()
        await alice.start()
        await alice.say("bob", "three", ["bob"])
        await alice.perform(intents.MarkRead((line_with(alice, "and"),)))
        await asyncio.sleep(5.0)
        await alice.say("bob", "tree", ["bob"])
        await alice.perform(intents.ReactTo(line_with(alice, "and"), "+1"))
        await alice.perform(intents.DeleteLine(line_with(alice, "tree")))
        await alice.say("bob", "four", ["bob"])
        await alice.leave()
        assert "read" not in [e.state for e in states(bob)]
        await bob.start()
        assert await bob.until(lambda: "four" in told(bob), within_s=HELD_WAIT_S / 2), told(bob)
        assert await lines_now(bob, "alice") == ["one", "two", "and", "three", "four"]
        await alice.start()
        await bob.say("alice", "five", ["alice"])
        two = line_with(bob, "two")
        assert await bob.until(lambda: two in [e.id for e in states(bob) if e.state == "read"], within_s=60.0)

    world.run(play())
    assert world.loop.complaints == []


@pytest.mark.parametrize("fresh", [False, True])
def test_a_reader_whose_history_breaks_gives_no_receipt_and_its_peer_lives_on(seed: int, fresh: bool) -> None:
    """What cannot be kept is not taken: the line stays in the mailbox, for when bob starts again and begins his history anew.
    Alice's own history breaks as well, with a line still to be brought (`fresh`: and one said that moment): her peer says so, and stays."""
    world = World(seed)

    async def play() -> None:
        await town(world, 12)
        alice = await start(world, "alice")
        bob = await start(world, "bob")
        await asyncio.sleep(20.0)
        with world.faults.partition([alice.host.address], [bob.host.address]):
            break_history(bob)
            await alice.say("bob", "hello", ["bob"])
            assert await alice.until(lambda: in_state(alice, "stored") == {"hello"}, within_s=60.0)
            await asyncio.sleep(300.0)
            assert told(bob) == []
            assert in_state(alice, "delivered") == set()
            await bob.crash()
            await bob.start()
            assert await bob.until(lambda: told(bob) == ["hello"], within_s=60.0)
            await alice.say("bob", "and", ["bob"])
            await asyncio.sleep(1.0)  # it is followed, and not brought yet
            if fresh:
                await alice.say("bob", "more", ["bob"])
            break_history(alice)
            await asyncio.sleep(300.0)
        assert alice.online
        assert bob.online

    world.run(play())
    assert world.loop.complaints == []


def break_history(person: Person) -> None:
    """As if SQLite had just found the file damaged."""
    assert person.node is not None
    person.node._core.journal._condemn(sqlite3.DatabaseError("database disk image is malformed"))
