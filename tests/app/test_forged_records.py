"""Forged writes to the DHT change nothing that anyone reads.

Issue 2, "What it must show", 4: by a raw stock kademlia client, and by a modified peer with its own valid key. design.md,
promise 2: nobody can change what somebody else signed, take a name that is owned, or roll a record back.
"""

import asyncio
import contextlib
import itertools
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kademlia.network import Server
from kademlia.node import Node

from dhtchat.app.accounts import change_password
from dhtchat.chat.events import MessageArrived, Parted, TopicChanged, Warned
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.announcer import Announcement
from dhtchat.dht.placing import Placer
from dhtchat.dht.storage import HeldEntry, Kept, Standing
from dhtchat.errors import NameTaken, WrongPassword
from dhtchat.ids import Endpoint, Login, PeerId, RecordKey, RoomId, fingerprint
from dhtchat.limits import LISTED_ROOMS_MAX, LISTINGS_PER_OWNER_MAX
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.account import account_key, create_account
from dhtchat.records.envelope import Signed
from dhtchat.records.listing import RoomListing, UserListing, room_directory_key, user_directory_key
from dhtchat.records.membership import Membership, membership_key
from dhtchat.records.presence import Presence, presence_key
from dhtchat.records.room import create_room, room_key
from tests.app.town import LOOPBACK, PASSWORD, Person, Town, until_async
from tests.app.villain import TTL_S, Villain, contacts_of, villain_in

ROOM = "#lobby"
TOPIC = "what everybody agreed on"
OTHER_PASSWORD = "zerabu-kimopa-tadulo-ginera"


async def settled_town(town: Town) -> list[Person]:
    """Alice and bob in a room with a topic; carol, who only looks."""
    alice, bob, carol = await town.newcomers("alice", "bob", "carol")
    await town.gather_in(ROOM, alice, bob)
    await alice.say(f"/topic {TOPIC}")
    await bob.expect(TopicChanged, topic=TOPIC)
    await alice.say("hello")
    await alice.expect_delivered("hello", to=1)

    async def is_listed() -> bool:
        rooms = await carol.rooms()
        return ROOM in rooms and rooms[ROOM].topic == TOPIC

    await until_async(is_listed, "the room does not get listed")
    return [alice, bob, carol]


async def picture(person: Person) -> dict[str, Any]:
    """Everything that one can read about alice, bob and the room, without what time alone changes."""
    users = {user.name: (user.fingerprint, user.away) for user in await person.users()}
    rooms = {name: (room.topic, room.members) for name, room in (await person.rooms()).items()}
    seen: dict[str, Any] = {"users": users, "rooms": rooms}
    if person.node._rooms.by_name(ROOM):  # who looks from outside knows nobody's devices, and has the directory alone
        seen["whois"] = {name: await person.whois(name) for name in ("alice", "bob")}
        seen["names"] = await person.members(ROOM)
        seen["topic"] = (await person.ask("/topic", TopicChanged)).topic
        seen["history"] = [(line.sender, line.text) for line in await person.history(ROOM)]
    return seen


async def pictures(people: list[Person]) -> list[dict[str, Any]]:
    return [await picture(person) for person in people]


async def talk_goes_on(alice: Person, bob: Person, text: str) -> None:
    for author, reader in ((alice, bob), (bob, alice)):
        await author.say(f"/switch {ROOM}")
        await author.say(f"{text}, {author.name}")
        await reader.expect(MessageArrived, text=f"{text}, {author.name}", sender=author.name, verified=True)
        await author.expect_delivered(f"{text}, {author.name}", to=1)


async def log_in_elsewhere(town: Town, name: str, password: str = PASSWORD) -> Person:
    """From a fresh folder."""
    person = town.resident(name, machine="-elsewhere", password=password)
    return await person.come_online()


# --- the stock library ------------------------------------------------------------------------------------------------


async def test_a_stock_kademlia_client_changes_nothing(tmp_path: Path, seed: int) -> None:
    """The unmodified library sets the keys of an account, a room, a presence and the directories, by `set` and by
    calling `store` at every node, with garbage and with records it has seen; then the same by hand in our own wire
    format. Whoever reads sees what they saw before."""
    async with Town(tmp_path, seed) as town:
        people = alice, bob, _ = await settled_town(town)
        before = await pictures(people)
        keys = [
            account_key("alice"),
            account_key("nobody-yet"),
            room_key(ROOM),
            presence_key(PeerId(alice.identity)),
            membership_key(alice.room(ROOM).id),
            user_directory_key(),
            room_directory_key(),
        ]
        seen = await everything_readable(alice)
        values = [b"garbage", b"", os.urandom(900), b"\xff" * 1200, seen[0].raw, seen[-1].raw[:-1]]

        server = Server()
        await server.listen(0, LOOPBACK.host)
        server.protocol._waitTimeout = server.protocol._wait_timeout = 0.2  # rpcudp's; the rest is as it comes
        try:
            await server.bootstrap([tuple(contact.endpoint) for contact in contacts_of(town)])
            for contact in contacts_of(town):
                server.protocol.router.add_contact(Node(contact.node_id, *contact.endpoint))
            with contextlib.suppress(ValueError):  # what it raises when nobody answers: ours do not speak its language
                await server.set("alice", "taken over")
            nodes = [Node(contact.node_id, *contact.endpoint) for contact in contacts_of(town)]
            stores = [server.protocol.call_store(*store) for store in itertools.product(nodes, keys, values)]
            await asyncio.gather(*stores)
        finally:
            server.stop()
        assert await pictures(people) == before

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=tuple(LOOPBACK))
        try:
            for key in keys:
                for value in [*values[2:], *(record.raw for record in seen)]:
                    for contact in contacts_of(town):
                        transport.sendto(store_request(key, value), tuple(contact.endpoint))
                await asyncio.sleep(0)
        finally:
            transport.close()
        assert await pictures(people) == before
        await talk_goes_on(alice, bob, "after the stock client")
        assert "alice" in await (await log_in_elsewhere(town, "alice")).online()


def store_request(key: bytes, value: bytes) -> bytes:
    """A request of ours as somebody without our checks would write it."""
    payload = ["store", SIM.network_id[:4], b"", key, value, None]
    return b"\x00" + os.urandom(20) + msgspec.msgpack.encode(payload)


async def everything_readable(person: Person) -> list[Signed[Any]]:
    """All records anybody can get hold of: the account, the room, and every soft entry."""
    dht = person.node._dht
    claims = [*(await dht.read_claims(account_key("alice"))).records, *(await dht.read_claims(room_key(ROOM))).records]
    sets = [
        (presence_key(PeerId(person.identity)), Presence),
        (membership_key(person.room(ROOM).id), Membership),
        (user_directory_key(), UserListing),
        (room_directory_key(), RoomListing),
    ]
    readings = [await dht.read_set(key, kind) for key, kind in sets]
    return [*claims, *(entry for reading in readings for entry in reading.entries)]


# --- a modified peer --------------------------------------------------------------------------------------------------


async def test_a_modified_peer_changes_nothing_with_records_of_its_own(tmp_path: Path, seed: int) -> None:
    """Mallory has an account of her own and signs what she likes with it: claims to names that are owned, tombstones and
    entries that name alice's device, listings of rooms that she is not in. Every node is asked to keep each, also where
    it does not belong. Whoever reads sees what they saw before, and none of those who look has changed their mind."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        people = alice, bob, _ = await settled_town(town)
        before = await pictures(people)
        room, device = alice.room(ROOM).id, alice.device
        marks = [person.mark() for person in people]

        in_her_own_place = [
            *claims_to_owned_names(mallory),
            mallory.presence(name="alice"),
            mallory.presence(name="alice", device=device),
            mallory.presence(name="alice", device=device, gone=True),
            mallory.listing(name="alice"),
            mallory.listing(name="alice", device=device),
            mallory.listing(name="alice", device=device, gone=True),
            mallory.membership(room, name="alice", device=device, gone=True),
            room_listing(mallory, room, ROOM, topic="buy my coins", members=9_999),
            room_listing(mallory, RoomId(os.urandom(32)), ROOM, topic="buy my coins", members=9_999),
            room_listing(mallory, room, "#elsewhere", topic="buy my coins", members=9_999),
            room_listing(mallory, room, ROOM, topic="", members=0, gone=True),
        ]
        for forged in in_her_own_place:
            await mallory.store_everywhere(forged)
            assert await pictures(people) == before, f"after {forged}"
        in_the_place_of_others = [
            (mallory.presence(name="alice", device=device), presence_key(PeerId(alice.identity))),
            (mallory.presence(name="alice", device=device, gone=True), presence_key(PeerId(alice.identity))),
            (mallory.membership(RoomId(os.urandom(32)), name="alice"), membership_key(room)),
            (mallory.account, account_key("alice")),
            (await genesis_of(mallory, "#mine"), room_key(ROOM)),
        ]
        for forged, key in in_the_place_of_others:
            kept = await mallory.store_everywhere(forged, key)
            assert {answer.reason for answer in kept} == {Reason.WRONG_PLACE}
            assert await pictures(people) == before, f"after {forged}"

        for person, mark in zip(people, marks, strict=True):
            assert not person.seen(Parted, after=mark)
            warned = {warning.code for warning in person.seen(Warned, after=mark)}
            # Alice herself may be told that somebody goes by her name.
            assert warned <= ({"name-conflict"} if person is alice else set())
        await talk_goes_on(alice, bob, "after the records")
        assert (await log_in_elsewhere(town, "alice")).identity == alice.identity
        with pytest.raises(NameTaken):
            await town.resident("alice", machine="-of-a-thief").come_online(register=True)


async def test_a_member_who_names_somebody_elses_device_takes_nobodys_place(tmp_path: Path, seed: int) -> None:
    """Anybody may enter a public room. Mallory enters it under alice's name, with the devices of alice and bob, lives at
    an address where nobody is, and then leaves that way: she is shown as `alice#fingerprint`, and alice and bob stay,
    hear each other, and find each other when a link has to be made anew."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob, carol = await settled_town(town)
        room, devices = alice.room(ROOM).id, [person.device for person in (alice, bob)]
        impostor = f"alice#{fingerprint(mallory.peer)}"
        nowhere = Endpoint("127.0.0.1", 9)
        for gone in (False, True):
            for device in devices:
                await mallory.store_everywhere(mallory.membership(room, name="alice", device=device, gone=gone))
                await mallory.store_everywhere(
                    mallory.presence(name="alice", device=device, address=nowhere, gone=gone)
                )
                await mallory.store_everywhere(mallory.listing(name="alice", device=device, gone=gone))

            async def is_seen(gone: bool = gone) -> bool:
                return (impostor in await bob.members(ROOM)) is not gone

            await until_async(is_seen, "nobody sees mallory come or go")
            for person in (alice, bob):
                names = await person.members(ROOM)
                assert {"alice", "bob"} <= names.keys() <= {"alice", "bob", impostor}
                assert names["alice"].online
                assert names["alice"].role == "owner"
            assert {"alice", "bob", "carol"} <= set(await carol.online())
            assert impostor not in await carol.online()
            await talk_goes_on(alice, bob, f"an impostor, gone: {gone}")
            await bob.crash()
            await bob.come_online()
            await bob.say(f"/join {ROOM}")
            await talk_goes_on(alice, bob, f"an impostor, gone: {gone}, and a new link")


async def test_nothing_can_be_rolled_back(tmp_path: Path, seed: int) -> None:
    """Whoever keeps what others once signed can offer it to every node again: alice's account with her old password, her
    away text, her presence, listing and membership from before she left. The old password opens nothing, and she is
    neither away again nor back in the lists and the room."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        alice, bob, carol = await settled_town(town)
        await alice.say("/away at lunch")

        async def is_away(expected: bool = True) -> bool:
            away = {user.name: user.away for user in await carol.users()}["alice"]
            return (away is not None) is expected

        await until_async(is_away, "nobody sees that alice is away")
        kept = await everything_readable(alice)
        await alice.say("/back")
        await until_async(lambda: is_away(False), "nobody sees that alice is back")
        async with town.dht_node(client=True) as client:
            await change_password(
                client, Login("alice", None), PASSWORD, OTHER_PASSWORD, parameters=SIM, runtime=mallory.runtime
            )
        alice.password = OTHER_PASSWORD
        for record in kept:
            await mallory.store_everywhere(record)
        assert await is_away(False)
        with pytest.raises(WrongPassword):
            await log_in_elsewhere(town, "alice")
        elsewhere = await log_in_elsewhere(town, "alice", OTHER_PASSWORD)
        await elsewhere.leave()

        kept += await everything_readable(alice)
        await alice.leave()
        await bob.expect(Parted, user="alice")
        assert await carol.online() == ["bob", "carol"]
        for record in kept:
            await mallory.store_everywhere(record)
        assert await carol.online() == ["bob", "carol"]
        assert set(await bob.members(ROOM)) == {"bob"}
        assert not (await bob.whois("alice")).online
        newcomer = await town.newcomer("dave")
        assert await newcomer.online() == ["bob", "carol", "dave"]
        assert (await newcomer.rooms())[ROOM].members == 1
        assert not (await newcomer.whois("alice")).online


class LyingReplica:
    """What a hostile node answers: for alice's name its own claims, for sets what is long over and never what is there."""

    def __init__(self, mallory: Villain, claims: list[Signed[Any]], entries: list[Signed[Any]]) -> None:
        self._honest = mallory.dht._protocol.replica
        self._claims = claims
        self._entries = entries
        self.lies = 0

    def claims(self, key: RecordKey) -> list[Any] | None:
        forged = [record for record in self._claims if record.body.place(record.key) == key]
        self.lies += bool(forged)
        return forged or self._honest.claims(key)

    def entries(self, key: RecordKey, kind: str, after: bytes = b"") -> list[HeldEntry]:
        forged = [record for record in self._entries if record.body.place(record.key) == key]
        self.lies += bool(forged)
        found = [HeldEntry(record, TTL_S) for record in forged if kind == record.body.KIND]
        found.sort(key=lambda held: held.record.body.entry_id(held.record.key))
        return [held for held in found if held.record.body.entry_id(held.record.key) > after]

    def index(self, key: RecordKey, after: bytes = b"") -> list[tuple[bytes, int]]:
        return [(bytes([number]) * 16, 2**62) for number in range(20) if bytes([number]) * 16 > after]

    def below(self, key: RecordKey) -> tuple[str, ...]:
        return ("00", "ff")

    def offer(
        self,
        key: RecordKey,
        raw: bytes,
        remaining_s: float | None = None,
        *,
        depth: int = 0,
        lives: int = 0,
        giver: bytes | None = None,
        network: str | None = None,
    ) -> Kept:
        return Kept(Verdict.NEW, Reason.NONE, 2**60)

    def touch(self, key: RecordKey, entry_id: bytes, gist: bytes, giver: bytes) -> tuple[Kept, Standing]:
        return Kept(Verdict.SAME, Reason.NONE, 2**60), Standing(split=True, edge=True)

    def standing(self, key: RecordKey, raw: bytes) -> Standing:
        return Standing(split=True, edge=True)


async def test_a_node_that_lies_is_outvoted(tmp_path: Path, seed: int) -> None:
    """Mallory's node, one of the replicas of everything here, says that it stores and does not, votes for claims of its
    own, hides who is there and shows who left. Readers see what they saw, and new people and rooms come to be."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        people = alice, bob, carol = await settled_town(town)
        await alice.say("/away at lunch")
        await bob.say(f"/topic {TOPIC}!")
        await alice.expect(TopicChanged, topic=f"{TOPIC}!")
        over = await everything_readable(alice)
        await alice.say("/back")
        await bob.say(f"/topic {TOPIC}")
        await alice.expect(TopicChanged, topic=TOPIC, by="bob")

        async def is_back() -> bool:
            away = {user.name: user.away for user in await carol.users()}["alice"]
            return away is None and (await carol.rooms())[ROOM].topic == TOPIC

        await until_async(is_back, "nobody sees that alice is back")
        before = await pictures(people)
        soft = [record for record in over if record.body.KIND not in ("account", "room")]
        replica = LyingReplica(mallory, claims_to_owned_names(mallory), soft)
        mallory.dht._protocol.replica = replica  # type: ignore[assignment]
        assert await pictures(people) == before
        assert replica.lies > 0
        dave = await town.newcomer("dave")
        await town.gather_in("#new", dave, carol)
        await talk_goes_on(alice, bob, "with a liar")
        assert (await log_in_elsewhere(town, "alice")).identity == alice.identity


async def test_the_directory_of_rooms_cannot_be_crowded_out(tmp_path: Path, seed: int) -> None:
    """Four keys list as many rooms as each may, with names that sort before all others, and the real one under other
    names: more than one `/rooms` looks at. The room that exists is still listed, under its name and with its topic."""
    async with Town(tmp_path, seed) as town, villain_in(town, "mallory") as mallory:
        _, _, carol = await settled_town(town)
        before = await carol.rooms()
        room = town.people[0].room(ROOM).id
        keys = [mallory.identity, *(SigningKey.generate(mallory.runtime.random) for _ in range(3))]
        for number, key in enumerate(keys):
            made_up = [
                (f"#-{number}-{count:02}", RoomId(os.urandom(32))) for count in range(LISTINGS_PER_OWNER_MAX - 1)
            ]
            listings = [
                room_listing(mallory, room, name, topic="buy my coins", members=9_999, key=key)
                for name, room in [(f"#zzz-{number}", room), *made_up]
            ]
            placer = Placer(mallory.dht._replicas, mallory.dht.trees)
            placed = [
                placer.place(Announcement(listing.body.name, dht_keeps_none, 1.0), listing) for listing in listings
            ]
            assert all(report.stored for report, _ in await asyncio.gather(*placed))
        assert len(keys) * LISTINGS_PER_OWNER_MAX > LISTED_ROOMS_MAX
        assert await carol.rooms() == before


def dht_keeps_none(sequence: int, issued_at_s: int, gone: bool) -> Signed[Any]:
    raise AssertionError("placed once, never again")


def claims_to_owned_names(mallory: Villain) -> list[Signed[Any]]:
    """Accounts called alice and rooms called #lobby: one in passing, one whose claim id is ground to be very small, and
    alice's own record with mallory's key in it."""
    source, now_s = mallory.runtime.random, mallory.runtime.clock.wall()
    account, _ = create_account("alice", OTHER_PASSWORD, parameters=SIM, source=source, now_s=0)
    ground = min(
        (mallory.sign(msgspec.structs.replace(account.body, nonce=nonce)) for nonce in range(2_000)),
        key=lambda record: record.body.claim_id(record.key),
    )
    newest = mallory.sign(msgspec.structs.replace(account.body, sequence=2**61))
    rooms = [
        create_room(ROOM, SigningKey.generate(source), parameters=SIM, source=source, now_s=now_s) for _ in range(200)
    ]
    return [ground, account, newest, min(rooms, key=lambda record: record.body.claim_id(record.key))]


async def genesis_of(mallory: Villain, name: str) -> Signed[Any]:
    return create_room(name, mallory.identity, parameters=SIM, source=mallory.runtime.random, now_s=0)


def room_listing(
    mallory: Villain,
    room: RoomId,
    name: str,
    *,
    topic: str,
    members: int,
    gone: bool = False,
    key: SigningKey | None = None,
) -> Signed[RoomListing]:
    now_s = int(mallory.runtime.clock.wall())
    return mallory.sign(RoomListing(name, room, topic, members, mallory.next_sequence(), now_s, TTL_S, gone), key)
