"""Rooms on the network: find or create, membership kept fresh, rosters read, directory listings."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from dhtchat.app.core import Core
from dhtchat.app.people import People
from dhtchat.app.talks import Talk, Talks
from dhtchat.chat.events import Joined, Parted, RoomEntry
from dhtchat.chat.markup import clean
from dhtchat.chat.room import MemberChange, Room
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.announcer import MakeRecord
from dhtchat.errors import NetworkTrouble, NoSuchRoom, RemoteMisbehaved, TooFewAnswered
from dhtchat.ids import PeerId, RoomId
from dhtchat.limits import (
    HANDS_MAX,
    INVITATIONS_MAX,
    LISTED_ROOMS_MAX,
    LISTINGS_READ_MAX,
    LOOKUPS_AT_ONCE,
    MEMBER_CHECK_INTERVAL_S,
    MEMBER_FOUND_IN_VAIN_S,
    MEMBERS_FOUND_IN_VAIN_MAX,
    MEMBERS_SAMPLE,
    NAMES_TRIED_PER_ROOM,
    PEOPLE_POLL_PER_ENTRY_S,
    PEOPLE_POLL_S,
    VERIFY_BATCH,
)
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Announce
from dhtchat.peer.pool import LinkPool
from dhtchat.records.door import ClosedDoor, door_key, fits_a_door, proved_rulings
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.kinds import SoftRecord
from dhtchat.records.listing import ROOMS, RoomListing
from dhtchat.records.membership import Membership, members_of
from dhtchat.records.message import Invite, peek_author, peek_message
from dhtchat.records.room import RoomGenesis, create_room, room_key
from dhtchat.records.ruling import open_ruling
from dhtchat.records.tree import item_by_owner, names_between

_ALONE_HINT = "Enter it again when somebody is reachable, or start a node with 'dhtchat bootstrap'."


class JoinedRoom(NamedTuple):
    room: Room
    talk: Talk


class Rooms:
    """The rooms this device is in, and the directory of all."""

    def __init__(self, core: Core, people: People, talks: Talks, pool: LinkPool) -> None:
        self._core = core
        self._people = people
        self._talks = talks
        self._pool = pool
        self._joined: dict[RoomId, JoinedRoom] = {}
        self._listing: set[RoomId] = set()
        self._read_at_s: dict[RoomId, float] = {}
        self._due_s: dict[RoomId, float] = {}
        """When the roster is read next."""
        self._turns_at: dict[RoomId, int] = {}
        """For which version of the roster it was looked whose turn it is to list the room."""
        self._estimates: dict[RoomId, int] = {}
        """How many entries there are in those of our rooms that are too large to be read whole."""
        self._found_in_vain: dict[tuple[RoomId, PeerId], float] = {}
        """When somebody was last looked for among the members of a room that is not read whole."""
        self._public: set[RoomId] = set()
        """Those in which the DHT says that we are."""
        self._doors: set[RoomId] = set()
        """Those of which we keep fresh that they are closed."""
        self._door_key = SigningKey.generate(core.runtime.random)
        """Signs that, and nothing else."""
        self._invitations: dict[str, tuple[PeerId, ...]] = {}
        """Whom to ask in a room that we were asked into, by its name, the oldest first."""
        self._known_genesis: dict[RoomId, str] = {}
        """Rooms whose genesis was checked against the votes, by name."""
        self.on_members_changed: Callable[[], None] = lambda: None
        """Told when a device has come or gone in one of them: `upkeep` is due."""
        self.on_roster: Callable[[JoinedRoom], None] = lambda joined: None
        """Told when somebody came or went."""

    # --- those we are in ---

    def joined(self) -> list[JoinedRoom]:
        return list(self._joined.values())

    def get(self, room_id: bytes) -> JoinedRoom | None:
        return self._joined.get(RoomId(room_id))

    def by_name(self, name: str) -> JoinedRoom | None:
        return next((joined for joined in self._joined.values() if joined.room.name == name), None)

    async def join(self, name: str) -> tuple[JoinedRoom, bool]:
        """Enter a room, creating it if it is free; whether it was created. `name` is folded. Raises `NetworkTrouble`."""
        existing = self.by_name(name)
        if existing is not None:
            return existing, False
        genesis, created = await self._find_or_create(name)
        room = Room(genesis)
        if not created:
            await self._look_at_door(room)
        talk = await self._talks.open_room(room.id, name)
        await self._restore(room, talk)
        if (meanwhile := self._joined.get(room.id)) is not None:  # asked for on two faces at once
            return meanwhile, False
        joined = self._joined[room.id] = JoinedRoom(room, talk)
        if room.is_closed:
            await self._load_invitations()
            insiders = room.graph.now.insiders()  # as far as our disk knows
            room.mates |= {self._core.me.peer, *insiders, *self._invitations.get(name, ())}
            self.announce(joined)
        else:
            self._publish(joined)
            self._core.emit(Joined(room=name, user=self._core.me.name))
        await self.read_members(joined, quietly=True)
        return joined, created

    def _publish(self, joined: JoinedRoom) -> None:
        """Let the DHT say that we are in."""
        self._public.add(joined.room.id)
        refresh_s = self._core.parameters.presence_refresh_s
        self._core.dht.keep(f"member:{joined.room.name}", self._membership(joined.room), refresh_s=refresh_s)

    async def _restore(self, room: Room, talk: Talk) -> None:
        """What our disk knows of what was ruled, and of raised hands."""
        store, journal = self._core.store, self._core.journal
        for number, raw in enumerate(await journal.read(store.rulings, room.id), start=1):
            with contextlib.suppress(RemoteMisbehaved):  # damaged on the disk: others still have it
                room.graph.offer(open_ruling(raw, room.id, self._core.parameters.network_id))
            if number % VERIFY_BATCH == 0:
                await asyncio.sleep(0)
        rows = await journal.read(store.last_hands, room.id, HANDS_MAX)
        for row, statement in self._talks.opened_lines(talk, rows):
            room.take_hand(statement, row.depth)

    async def exists(self, name: str) -> bool:
        """Whether anybody has made a room of that name. Raises `NetworkTrouble` where nobody can be sure."""
        reading = await self._core.dht.read_claims(room_key(name))
        if reading.owner is None and not reading.decision.certain:
            raise TooFewAnswered(f"too few nodes answered to find {name}")
        return reading.owner is not None

    async def _find_or_create(self, name: str) -> tuple[Signed[RoomGenesis], bool]:
        core = self._core
        reading = await core.dht.read_claims(room_key(name))
        if reading.owner is None:
            if not reading.decision.certain:
                raise TooFewAnswered(f"too few nodes answered to find {name}")
            if not core.dht.contacts():
                # Others may be in a room of this name, beyond a cable that is out: ours would be a second one for good.
                raise NetworkTrouble(f"nobody answers who could say whether {name} exists", hint=_ALONE_HINT)

            def make() -> Signed[RoomGenesis]:
                return create_room(
                    name,
                    core.me.identity,
                    parameters=core.parameters,
                    source=core.runtime.random,
                    now_s=core.wall_s(),
                )

            genesis = await core.runtime.run_blocking(make)
            reading = await core.dht.claim(genesis)
            if reading.owner == genesis:
                return genesis, True
        if reading.owner is None or not isinstance(reading.owner.body, RoomGenesis):
            raise TooFewAnswered(f"too few nodes answered to create {name}")
        return reading.owner, False

    def _membership(self, room: Room) -> MakeRecord:
        core = self._core

        def make(sequence: int, issued_at_s: int, gone: bool) -> SoftRecord:
            ttl_s = core.parameters.presence_ttl_s
            return core.sign_own(Membership(room.id, core.me.name, core.me.device, sequence, issued_at_s, ttl_s, gone))

        return make

    # --- closed rooms ---

    async def _look_at_door(self, room: Room) -> None:
        """Whether the DHT says, and proves, that it is closed."""
        with contextlib.suppress(NetworkTrouble):
            reading = await self._core.dht.read_set(door_key(room.id), ClosedDoor)
            for entry in reading.entries:
                if isinstance(entry.body, ClosedDoor) and not entry.body.gone:
                    with contextlib.suppress(RemoteMisbehaved):
                        proof = proved_rulings(entry.body.proof, room.genesis, self._core.parameters.network_id)
                        room.door = proof[-1].id
                        room.mates = frozenset(ruling.issuer for ruling in proof)
                        return

    async def _load_invitations(self) -> None:
        """Those of earlier runs."""
        found: dict[str, tuple[PeerId, ...]] = {}
        for row in await self._core.journal.read(self._core.store.invitations, INVITATIONS_MAX):
            with contextlib.suppress(RemoteMisbehaved):  # damaged on the disk
                content = peek_message(row.raw).content
                if isinstance(content, Invite):
                    found[content.room] = (peek_author(row.raw), *map(PeerId, content.mates))
        self._invitations = found | self._invitations

    def note_invitation(self, invite: Invite, author: PeerId) -> None:
        """Somebody asks us into a room: they and those they name can let us in."""
        self._invitations.pop(invite.room, None)
        self._invitations[invite.room] = (author, *map(PeerId, invite.mates))
        if len(self._invitations) > INVITATIONS_MAX:
            del self._invitations[next(iter(self._invitations))]

    def links_inside(self, joined: JoinedRoom) -> list[Link]:
        """To those who may know that we are in it."""
        if not joined.room.is_closed:
            members = joined.room.devices()
            return [link for link in self._pool.links() if link.author.who in members]
        return [link for link in self._pool.links() if joined.room.lets_in(link.author.peer)]

    def own_membership(self, joined: JoinedRoom, *, gone: bool = False) -> SoftRecord | None:
        """That we are in it, freshly signed, for neighbours."""
        if joined.room.is_closed:
            return self._core.dht.sign_once(self._membership(joined.room), gone=gone)
        return self._core.dht.make(f"member:{joined.room.name}", gone=gone)

    def announce(self, joined: JoinedRoom) -> None:
        """Say in a closed room that we are there, to those who may know: nobody else says it."""
        if joined.room.is_closed and (record := self.own_membership(joined)) is not None:
            for link in self.links_inside(joined):
                link.send_soon(Announce([record.raw]))

    def wanted_insiders(self) -> list[PeerId]:
        """Who may be in our closed rooms: the DHT does not say who is."""
        return [
            peer
            for joined in self.joined()
            if joined.room.is_closed
            for peer in joined.room.insiders()
            if peer != self._core.me.peer
        ]

    def door_moved(self, joined: JoinedRoom) -> None:
        """It lets in others than before."""
        self.announce(joined)
        self._turns_at.pop(joined.room.id, None)
        self.on_members_changed()

    async def _move_entries(self, joined: JoinedRoom) -> None:
        """What the DHT says of us and the room is what it may: nothing of who is in a closed one."""
        room = joined.room
        if room.is_closed and room.id in self._public:
            self._public.discard(room.id)
            await self._core.dht.drop(f"member:{room.name}")
        elif not room.is_closed and room.id not in self._public:
            self._publish(joined)
        if room.is_closed and room.id in self._listing:
            self._listing.discard(room.id)
            await self._core.dht.drop(f"listing:{room.name}")
        if room.id in self._doors and not room.is_closed:
            self._doors.discard(room.id)
            await self._core.dht.drop(f"door:{room.name}")

    def _keep_door(self, joined: JoinedRoom) -> None:
        """Tell outsiders that it is closed, if that is ours to do and the proof is short enough."""
        room, core = joined.room, self._core
        proof = [ruling.raw for ruling in room.graph.basis_of(room.graph.now.door_by)] if room.graph.now.closed else []
        mine = bool(proof) and fits_a_door(proof) and room.lists(core.me.who)
        if mine and room.id not in self._doors:
            self._doors.add(room.id)

            def make(sequence: int, issued_at_s: int, gone: bool) -> SoftRecord:
                body = ClosedDoor(room.id, proof, sequence, issued_at_s, core.parameters.presence_ttl_s, gone)
                return sign_body(body, self._door_key, core.parameters.network_id)

            core.dht.keep(f"door:{room.name}", make, refresh_s=core.parameters.presence_refresh_s)
        elif not mine and room.id in self._doors:
            self._doors.discard(room.id)
            core.dht.forget(f"door:{room.name}")

    # --- leaving, and who is there ---

    async def part(self, name: str, *, quietly: bool = False) -> JoinedRoom:
        """Leave, and say so; `quietly`: not to the user, who was never in. Raises `NoSuchRoom`."""
        joined = self.by_name(name)
        if joined is None:
            raise NoSuchRoom(f"you are not in {name}")
        del self._joined[joined.room.id]
        self._estimates.pop(joined.room.id, None)
        self._talks.close(joined.room.id)
        if not quietly:
            self._core.emit(Parted(room=name, user=self._core.me.name))
        self._public.discard(joined.room.id)
        self._doors.discard(joined.room.id)
        if joined.room.id in self._listing:
            self._listing.discard(joined.room.id)
            await self._core.dht.drop(f"listing:{name}")
        await self._core.dht.drop(f"member:{name}")
        self._core.dht.forget(f"door:{name}")  # others keep it
        return joined

    async def read_members(self, joined: JoinedRoom, *, quietly: bool = False) -> bool:
        """Ask the replicas who is in; whether any answered. `quietly`: those found are no news (we just came in)."""
        room = joined.room
        poll_s = PEOPLE_POLL_S + PEOPLE_POLL_PER_ENTRY_S * len(room.people())
        self._read_at_s[room.id] = now_s = self._core.now_s()
        self._due_s[room.id] = now_s + self._core.runtime.jitter(poll_s)
        if room.is_closed:
            return await self._count_links(joined, quietly=quietly)
        try:
            reading = await self._core.dht.trees.sample(members_of(room.id), MEMBERS_SAMPLE)
        except NetworkTrouble:
            return False
        if not reading.answered:
            return False
        linked = {link.author.who for link in self._pool.links()}
        listed = [(entry, self._core.life_s(entry)) for entry in reading.entries]
        changes: list[MemberChange] = []
        if reading.complete:
            self._estimates.pop(room.id, None)
            changes = room.reconcile(listed, linked, self._core.now_s())  # type: ignore[arg-type]
        else:  # who is not in a sample may well be in the room
            self._estimates[room.id] = reading.estimate
            for entry, life_s in listed:
                changes += room.learn_member(entry, life_s=life_s, now_s=self._core.now_s())  # type: ignore[arg-type]
        self._tell_members_changed(joined)
        await self._announce(joined, [] if quietly else changes)
        if quietly:
            for peer, name in room.people().items():
                await self._people.check(name, peer)
        return True

    async def _count_links(self, joined: JoinedRoom, *, quietly: bool) -> bool:
        """Who is in a closed room is what its members tell each other."""
        self.announce(joined)
        self._estimates.pop(joined.room.id, None)
        linked = {link.author.who for link in self._pool.links()}
        changes = joined.room.reconcile([], linked, self._core.now_s())
        self._tell_members_changed(joined)
        await self._announce(joined, [] if quietly else changes)
        return True

    async def learn_member(self, record: Signed[Membership]) -> JoinedRoom | None:
        """A neighbour says that it came or went; the room, if that is news."""
        joined = self.get(record.body.room)
        if joined is not None and self._may_come_in(joined.room, PeerId(record.key)):
            before = joined.room.version
            changes = joined.room.learn_member(record, life_s=self._core.life_s(record), now_s=self._core.now_s())
            self._tell_members_changed(joined)
            await self._announce(joined, changes)
            if joined.room.version != before:
                return joined
        return None

    def _may_come_in(self, room: Room, peer: PeerId) -> bool:
        """Whether it is remembered that somebody says they are in it: outsiders shall not fill the roster of a closed room."""
        return not room.is_closed or room.is_arriving or room.lets_in(peer)

    def _tell_members_changed(self, joined: JoinedRoom) -> None:
        if self._turns_at.get(joined.room.id) != joined.room.version:
            self.on_members_changed()

    async def _announce(self, joined: JoinedRoom, changes: list[MemberChange]) -> None:
        for change in changes:
            if change.peer == self._core.me.peer:
                continue
            await self._people.check(change.name, change.peer)
            kind = Joined if change.joined else Parted
            self._core.emit(kind(room=joined.room.name, user=self._people.shown(change.name, change.peer)))
        if changes:
            self.on_roster(joined)

    async def is_member(self, joined: JoinedRoom, peer: PeerId) -> bool:
        """Asks the replicas once more, at most every few seconds, before it says no."""
        if peer == self._core.me.peer or joined.room.is_member(peer):
            return True
        if joined.room.id in self._estimates:
            return await self._find_member(joined, peer)
        last = self._read_at_s.get(joined.room.id, float("-inf"))
        if self._core.now_s() - last < MEMBER_CHECK_INTERVAL_S:
            return False
        await self.read_members(joined)
        return joined.room.is_member(peer)

    async def _find_member(self, joined: JoinedRoom, peer: PeerId) -> bool:
        """Of a room that is not read whole: whoever is not in our sample may be in it all the same."""
        room, now_s = joined.room, self._core.now_s()
        asked = (room.id, peer)
        if now_s - self._found_in_vain.get(asked, float("-inf")) < MEMBER_FOUND_IN_VAIN_S:
            return False
        self._found_in_vain[asked] = now_s
        if len(self._found_in_vain) > MEMBERS_FOUND_IN_VAIN_MAX:
            del self._found_in_vain[next(iter(self._found_in_vain))]
        with contextlib.suppress(NetworkTrouble):
            page = await self._core.dht.trees.find(members_of(room.id), item_by_owner(peer, b""))
            for entry in page.entries:
                if entry.key == peer and isinstance(entry.body, Membership):
                    await self.learn_member(entry)
        if room.is_member(peer):
            self._found_in_vain.pop(asked, None)
        return room.is_member(peer)

    async def upkeep(self) -> None:
        """Read rosters that are due, and keep or leave the directory entries as the roster says whose turn it is."""
        for joined in self.joined():
            room = joined.room
            if self._core.now_s() >= self._due_s.get(room.id, 0.0):
                await self.read_members(joined)
            if room.id in self._joined and self._turns_at.get(room.id) != room.version:
                self._turns_at[room.id] = room.version
                await self._move_entries(joined)
                if room.is_closed:
                    self._keep_door(joined)
                else:
                    await self._keep_listing(joined)

    def next_s(self) -> float:
        """When the next roster is to be read."""
        return min((self._due_s.get(room_id, 0.0) for room_id in self._joined), default=inf)

    async def _keep_listing(self, joined: JoinedRoom) -> None:
        room, slot = joined.room, f"listing:{joined.room.name}"
        mine = room.lists(self._core.me.who)
        if mine and room.id not in self._listing:
            self._listing.add(room.id)
            self._core.dht.keep(slot, self._room_listing(room), refresh_s=self._core.parameters.presence_refresh_s)
        elif not mine and room.id in self._listing:
            # Left to die by itself: the entry of those whose turn it is now may not be everywhere yet.
            self._listing.discard(room.id)
            self._core.dht.forget(slot)

    def _room_listing(self, room: Room) -> MakeRecord:
        core = self._core

        def make(sequence: int, issued_at_s: int, gone: bool) -> SoftRecord:
            ttl_s = core.parameters.presence_ttl_s
            members = self._count(room)
            return core.sign_own(
                RoomListing(
                    room.name,
                    room.id,
                    room.topic,
                    members,
                    sequence,
                    issued_at_s,
                    ttl_s,
                    gone,
                    "m" if room.graph.now.moderated else "",
                )
            )

        return make

    def _count(self, room: Room) -> int:
        """How many people are in a room of ours, as far as we know."""
        me = self._core.me
        return max(len(room.people() | {me.peer: me.name}), self._estimates.get(room.id, 0))

    def republish(self, joined: JoinedRoom) -> None:
        """The network came back: say at once that we are in, and list the room if that is ours to do."""
        if joined.room.is_closed:
            self.announce(joined)
        else:
            self._publish(joined)
        self.relist(joined)

    def relist(self, joined: JoinedRoom) -> None:
        """The topic changed: tell the directory now, if the listing is ours to keep."""
        if joined.room.id in self._listing:
            self._core.dht.keep(
                f"listing:{joined.room.name}",
                self._room_listing(joined.room),
                refresh_s=self._core.parameters.presence_refresh_s,
            )

    def estimate(self, room_id: RoomId) -> int:
        """How many entries there are in one of our rooms that is too large to be read whole; else 0."""
        return self._estimates.get(room_id, 0)

    # --- all of them ---

    async def directory(self, prefix: str) -> list[RoomEntry]:
        """Public rooms whose name starts with `prefix`, sorted by name, each checked before it is believed.

        A listing is anybody's word: the room must be the one that owns its name, and only listings signed by people who
        are in it count.
        """
        reading = await self._core.dht.trees.read_range(ROOMS, *names_between(prefix), LISTINGS_READ_MAX)
        listings: dict[RoomId, list[Signed[RoomListing]]] = {}
        for entry in reading.entries:
            if isinstance(entry.body, RoomListing) and entry.body.name.startswith(prefix):
                listings.setdefault(RoomId(entry.body.room), []).append(entry)
        chosen = _worth_checking(listings)
        limit = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def checked(room: RoomId, found: list[Signed[RoomListing]]) -> RoomEntry | None:
            async with limit:
                return await self._checked_entry(room, found)

        entries = await asyncio.gather(*(checked(room, listings[room]) for room in chosen))
        entries += [  # nobody lists them
            self._own_entry(joined)
            for joined in self.joined()
            if joined.room.is_closed and joined.room.id not in chosen and joined.room.name.startswith(prefix)
        ]
        return sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.name)

    def _own_entry(self, joined: JoinedRoom) -> RoomEntry:
        room = joined.room
        return RoomEntry(
            name=room.name,
            topic=clean_topic(room.topic),
            members=self._count(room),
            mode=_shown_mode(_modes(room)),
            joined=True,
        )

    async def _checked_entry(self, room_id: RoomId, listings: list[Signed[RoomListing]]) -> RoomEntry | None:
        joined = self.get(room_id)
        if joined is not None:
            return self._own_entry(joined)
        named = Counter(listing.body.name for listing in listings)
        name = self._known_genesis.get(room_id)
        if name is None:
            for candidate, _ in named.most_common(NAMES_TRIED_PER_ROOM):
                reading = await self._core.dht.read_claims(room_key(candidate))
                if reading.owner is not None and reading.owner.digest == room_id:
                    name = self._known_genesis[room_id] = candidate
        if name is None:
            return None
        trees, tree = self._core.dht.trees, members_of(room_id)
        members = await trees.sample(tree, MEMBERS_SAMPLE)
        present = {entry.key for entry in members.entries}
        if not members.complete:  # those whose word counts need not be in the sample
            for listing in listings[:NAMES_TRIED_PER_ROOM]:
                page = await trees.find(tree, item_by_owner(listing.key, b""))
                present |= {entry.key for entry in page.entries}
        believed = [entry.body for entry in listings if entry.key in present and entry.body.name == name]
        if not present:
            return None
        topics = Counter(body.topic for body in believed)
        newest = {body.topic: body.sequence for body in sorted(believed, key=lambda body: body.sequence)}
        topic = max(topics, key=lambda text: (topics[text], newest[text]), default="")
        modes = Counter(body.mode for body in believed)
        mode = max(modes, key=lambda each: (modes[each], each), default="")
        count = len(present) if members.complete else members.estimate
        return RoomEntry(name=name, topic=clean_topic(topic), members=count, mode=_shown_mode(mode))


def _modes(room: Room) -> str:
    now = room.graph.now
    return "i" * now.closed + "m" * now.moderated


def _shown_mode(mode: str) -> str:
    return f"+{mode}" if mode else ""


def _worth_checking(listings: dict[RoomId, list[Signed[RoomListing]]]) -> list[RoomId]:
    """As many rooms as one answer looks at. First those that come first among what somebody lists: who lists hundreds, each
    of them made up perhaps, takes no place from others."""
    everything = sorted((entry.body.name, entry.key, room) for room, found in listings.items() for entry in found)
    listed_by: Counter[bytes] = Counter()
    ranks: dict[RoomId, int] = {}
    for _, key, room in everything:
        listed_by[key] += 1
        ranks[room] = min(ranks.get(room, listed_by[key]), listed_by[key])
    return sorted(ranks, key=lambda room: (ranks[room], room))[:LISTED_ROOMS_MAX]


def clean_topic(topic: str) -> str:
    """No topic is shown as no topic, not as something unprintable."""
    return clean(topic, single_line=True) if topic else ""
