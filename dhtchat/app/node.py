"""`ChatNode`: one person's peer. Faces give it intents and read its events; everything else hangs below it."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterable
from math import inf
from typing import Any, NamedTuple, Self

from dhtchat import __version__
from dhtchat.app.accounts import LoggedIn, log_in, register
from dhtchat.app.alarm import Alarm
from dhtchat.app.core import Core, Me
from dhtchat.app.entry import Entry
from dhtchat.app.exchange import Exchange, Turn
from dhtchat.app.faces import Face, Faces
from dhtchat.app.inspection import Inspection
from dhtchat.app.journal import Journal
from dhtchat.app.large_rooms import LargeRooms
from dhtchat.app.lines import Lines
from dhtchat.app.links import LinkKeeper
from dhtchat.app.mail import PostOffice
from dhtchat.app.moderation import Moderation
from dhtchat.app.paths import DeviceFolder, claim_device_folder, remember_login, write_private
from dhtchat.app.people import People, Person, Standing
from dhtchat.app.retention import Retention
from dhtchat.app.rooms import JoinedRoom, Rooms, clean_topic
from dhtchat.app.settings import Settings
from dhtchat.app.talks import Talk, Talks
from dhtchat.chat import intents
from dhtchat.chat.broadcast import Announced, Graft, Prune, Wanted
from dhtchat.chat.commands import help_lines
from dhtchat.chat.connectivity import CameBack, Connectivity, WentOffline
from dhtchat.chat.events import (
    Bye,
    Disconnected,
    ErrorShown,
    Event,
    Found,
    Help,
    History,
    Invited,
    MemberEntry,
    Names,
    Notice,
    PeerStatus,
    PresenceChanged,
    Ready,
    Reconnected,
    Registered,
    TargetChanged,
    TopicChanged,
    UserEntry,
    Users,
    Warned,
    WhoIsAnswer,
)
from dhtchat.chat.events import Rooms as RoomsListed
from dhtchat.chat.markup import clean
from dhtchat.chat.noticing import NAMED_LEVELS, Level, in_words
from dhtchat.chat.operations import Outcome
from dhtchat.chat.pacing import Pacer
from dhtchat.chat.presence import Attendance, PresenceChange
from dhtchat.chat.room_graph import Right
from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.node import DhtNode
from dhtchat.dht.sets import NodeReading
from dhtchat.dht.storage import RecordStorage
from dhtchat.errors import (
    AddressInUse,
    BadCommand,
    DamagedFile,
    DhtChatError,
    DiskFull,
    LinkLost,
    NetworkTrouble,
    NoBootstrapAnswered,
    NoSuchAccount,
    NoSuchRoom,
    NoSuchUser,
    NotAllowed,
    RemoteMisbehaved,
    TooLong,
)
from dhtchat.history.store import HistoryStore, keep_fact
from dhtchat.ids import Endpoint, Login, PeerId, fingerprint, fold_name, fold_room, fold_room_meant, parse_login
from dhtchat.limits import (
    ANTI_ENTROPY_INTERVAL_S,
    CROWD_POLL_S,
    FIRST_COMPARISON_S,
    FLUSH_TIMEOUT_S,
    GOODBYE_TIMEOUT_S,
    LEAF_ENTRIES_MAX,
    LISTED_USERS_MAX,
    LOOKUPS_AT_ONCE,
    MATES_MAX,
    NOTICED_PEOPLE_MAX,
    PEOPLE_POLL_PER_ENTRY_S,
    PEOPLE_POLL_S,
    PRESENCE_REFRESH_S,
    PROBE_CONTACTS,
    PROBE_INTERVAL_S,
    READ_PAUSE_S,
    RETENTION_INTERVAL_S,
    SAY_BURST,
    SAY_PER_S,
    SCRUB_INTERVAL_S,
    SPLIT_KEPT_S,
    TEXT_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from dhtchat.peer import messages as wire
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Announce, Committed, Have, PeerMessage, Tell
from dhtchat.peer.messages import Lines as LinesMessage
from dhtchat.peer.messages import Rulings as RulingsMessage
from dhtchat.peer.pool import LinkPool
from dhtchat.records.acceptance import judge
from dhtchat.records.envelope import Signed
from dhtchat.records.kinds import SoftRecord, open_record
from dhtchat.records.listing import USERS, UserListing
from dhtchat.records.membership import Membership
from dhtchat.records.message import Content, Hand, Invite, Read, Say, SetTopic, Statement
from dhtchat.records.presence import Address, Presence
from dhtchat.records.ruling import RuleTopic
from dhtchat.records.tree import names_between
from dhtchat.runtime import Runtime
from dhtchat.timestamps import rfc3339

log = logging.getLogger(__name__)


class _Seen(NamedTuple):
    reading: NodeReading
    at_s: float


class ChatNode:
    """Use as an async context manager: on leaving, everything it started has ended.

    Order: `connect`, `log_in` (or `register`), `go_online`, then `perform` intents while `events` is being read, `leave`.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        *,
        folder: DeviceFolder | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        """`pacer`: how fast it speaks, if not at the pace that others grant."""
        self._settings = settings
        self._runtime = runtime
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self._tasks: _Owned
        self._faces = Faces()
        self._is_ready = False
        self._left = False
        self._pacer = pacer or Pacer(SAY_BURST, SAY_PER_S)
        self._people_alarm, self._rooms_alarm, self._compare_alarm = (Alarm(runtime.clock) for _ in range(3))
        self._away: str | None = None

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        self._faces.close()
        await self._stack.__aexit__(*exc_info)

    # --- coming up --------------------------------------------------------------------------------------------------

    async def connect(self, profile: str) -> None:
        """Take a device folder of `profile` and find the network. `entered` says how; None: nobody answered."""
        settings, runtime = self._settings, self._runtime
        if self._folder is None:
            self._folder = claim_device_folder(settings.data_dir, settings.parameters, profile)
            self._stack.callback(self._folder.close)
        storage = RecordStorage(
            path=self._folder.path / "records.db", parameters=settings.parameters, clock=runtime.clock
        )
        self._stack.callback(storage.close)
        self._dht = DhtNode(
            runtime=runtime,
            parameters=settings.parameters,
            node_key=self._folder.load_node_key(runtime.random, settings.parameters.id_puzzle_bits),
            storage=storage,
            client=True,  # until the login: whoever mistypes a password shall not be in everybody's tables
        )
        await self._stack.enter_async_context(self._dht)
        await self._listen()
        self._entry = Entry(self._dht, settings, runtime, self._folder.path / "nodes.json")
        self._nobody: NoBootstrapAnswered | None = None
        try:
            self._entered: str = await self._entry.enter()
        except NoBootstrapAnswered as error:
            # Not the end yet: what a login needs may lie on our own disk, and others come back as we do.
            self._entered, self._nobody = "alone", error

    async def _listen(self) -> None:
        """On the UDP port of last time if it is free, so that those who remember us find us again."""
        at = self._settings.listen_at()
        assert self._folder is not None
        memory = self._folder.path / "port"
        if self._settings.port is None:
            with contextlib.suppress(OSError, ValueError, AddressInUse):
                await self._dht.listen(Endpoint(at.host, int(memory.read_text("ascii"))))
                return
        address = await self._dht.listen(at)
        write_private(memory, str(address.port).encode("ascii"))

    async def register(self, name: str, password: str) -> None:
        """Create the account of `name`; emits `registered`. Raises as `accounts.register` does."""
        if self._nobody is not None:
            raise self._nobody
        account = await register(
            self._dht, fold_name(name), password, parameters=self._settings.parameters, runtime=self._runtime
        )
        self._faces.put(Registered(user=account.name, fingerprint=fingerprint(account.peer)))

    async def log_in(self, login: Login, password: str) -> None:
        """Open the account. Raises as `accounts.log_in` does, and `NoBootstrapAnswered` when alone without a copy."""
        if self._nobody is not None:
            await self._dht.take_part()  # nobody is there to be misled, and our own disk is all there is to ask
        try:
            account = await log_in(
                self._dht, login, password, parameters=self._settings.parameters, runtime=self._runtime
            )
        except (NetworkTrouble, NoSuchAccount):
            if self._nobody is not None:
                raise self._nobody from None
            raise
        await self._assemble(account)

    async def _assemble(self, account: LoggedIn) -> None:
        assert self._folder is not None
        settings, runtime, folder = self._settings, self._runtime, self._folder
        self.account = account
        store = HistoryStore(folder.path / "history.db")
        self._stack.callback(store.close)
        device = self._device_key(store)
        me = Me(account.name, account.identity, device, settings.parameters.network_id, runtime.clock.wall())
        journal = Journal(store, runtime)
        journal.on_trouble = self._tell_disk_trouble
        journal.on_damage = self._tell_damage
        if store.moved_aside is not None:
            self._tell_damage(
                DamagedFile(
                    f"the history of this device was damaged: it was moved to {store.moved_aside.name} and is begun anew",
                    hint="Rooms come back from their members, private talk from your other devices and those you talked with.",
                )
            )
        self._core = Core(runtime, settings.parameters, me, self._dht, store, journal, self._faces.put)
        self._people = People(self._core)
        self._talks = Talks(self._core)
        tls = await runtime.run_blocking(TlsIdentity, runtime.random)
        self._pool = LinkPool(
            runtime=runtime,
            parameters=settings.parameters,
            device=device,
            certificate=me.certificate,
            tls=tls,
            handler=self,
        )
        self._retention = Retention(self._core, self._talks, settings)
        self._rooms = Rooms(self._core, self._people, self._talks, self._pool)
        self._moderation = Moderation(
            self._core,
            self._people,
            self._rooms,
            neighbours=self._neighbours,
            links_of=self._pool.links_of,
            may_share=self._may_share,
            judge_again=self._judge_again,
            leave=self._leave_room,
        )
        self._rooms.on_roster = self._moderation.on_roster
        self._large = LargeRooms(self._core, self._rooms, self._pool, on_wanted=lambda: self._keeper.notice())
        self._exchange = Exchange(
            self._core,
            self._people,
            self._talks,
            self._pool,
            moderation=self._moderation,
            large=self._large,
            may_share=self._may_share,
            on_shown=self._on_shown,
        )
        self._mail = PostOffice(self._core, self._talks, self._exchange, self._pool, self._spawn)
        self._rooms.on_members_changed = self._on_members_changed
        self._exchange.on_owing_changed = self._on_owing_changed
        self._exchange.on_held = lambda: self._rooms_alarm.within(READ_PAUSE_S)
        self._lines = Lines(
            self._core,
            self._people,
            self._talks,
            self._exchange,
            recipients=self._recipients,
            has_other_device=lambda: bool(self._pool.links_of(me.peer)),
            tells_read=settings.tells_read,
        )
        self._attendance = Attendance()
        self._keeper = LinkKeeper(
            self._core,
            self._pool,
            wanted_devices=self._large.wanted_devices,
            wanted_people=self._wanted_people,
            on_presence=self._on_presence,
        )
        self._connectivity = Connectivity(self._core.now_s(), alone=self._entered == "alone")
        self._directory_read = False
        self._directory_seen: _Seen | None = None
        """The last whole reading, of a directory that has not split."""
        self._directory_size = 0
        self._directory_split = False

    def _device_key(self, store: HistoryStore) -> SigningKey:
        """The device's key belongs to its history: with a history lost, counters would start again, so it is another device."""
        assert self._folder is not None
        key = self._folder.load_key("device", self._runtime.random)
        if store.fact("device") != key.public:
            key = self._folder.replace_key("device", self._runtime.random)
            store.commit([keep_fact("device", key.public)])
        return key

    async def go_online(self) -> None:
        """Open the door for links, announce ourselves, and begin the upkeep. Emits `ready`."""
        core = self._core
        self._tasks = await self._stack.enter_async_context(_Owned())
        self._spawn(core.journal.run(), "journal")
        await self._dht.take_part()
        await self._people.load()
        await self._talks.load()
        for talk in self._talks:
            await self._exchange.restore_outbox(talk)
        await self._mail.load()
        with contextlib.suppress(sqlite3.Error):  # a full disk: the next hour may be better
            await self._retention.trim()
        await self._stack.enter_async_context(self._pool)
        at = self._settings.listen_at()
        try:  # one number for both is easier on firewalls, and the same again after a restart
            self._link_endpoint = await self._pool.listen(Endpoint(at.host, self._dht.address.port))
        except AddressInUse:
            self._link_endpoint = await self._pool.listen(Endpoint(at.host, 0))
        self.since_s = core.wall_s()
        self._dht.tell_of_refreshes(self._tell_neighbours)
        self._publish()
        assert self._folder is not None
        login = core.me.name if self.account.owns_name else f"{core.me.name}#{fingerprint(core.me.peer)}"
        remember_login(self._settings.data_dir, self._settings.parameters, self._folder.path.parent.name, login)
        core.emit(self._ready())
        self._is_ready = True
        if not self.account.owns_name or self.account.contested:
            core.emit(
                Warned(
                    code="name-conflict",
                    message=f"somebody else holds the name {core.me.name} too",
                    hint=f"You are {core.me.name}#{fingerprint(core.me.peer)}; others see that until it is settled.",
                )
            )
        if self._entered == "alone":
            core.emit(Disconnected(reason="no other node answered; waiting for one"))
        for body in (
            self._keeper.run(),
            self._entry.remember(),
            self._watch_connection(),
            self._watch_people(),
            self._watch_rooms(),
            self._watch_disk(),
            self._compare_histories(),
            self._large.run(),
            self._republish_account(),
            self._mail.run_sending(),
            self._mail.run_collecting(),
        ):
            self._spawn(body, getattr(body, "__qualname__", "task"))

    def _ready(self) -> Ready:
        return Ready(
            user=self._core.me.name,
            fingerprint=fingerprint(self._core.me.peer),
            address=str(self.address),
            peers=len(self._dht.contacts()),
            version=__version__,
            via=self._entered,
        )

    def _spawn(self, body: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.create_task(body, name)

    @property
    def address(self) -> Endpoint:
        """Our UDP socket as others reach it."""
        return Endpoint(self._reachable_host(), self._dht.address.port)

    def _reachable_host(self) -> str:
        bound = self._dht.address.host
        if bound not in ("0.0.0.0", "::"):
            return bound
        observed = self._entry.observed
        return observed.host if observed else ("127.0.0.1" if bound == "0.0.0.0" else "::1")

    def _publish(self) -> None:
        """Presence and directory entry, refreshed until we leave; called again when something in them changed."""
        core, me = self._core, self._core.me
        ttl_s = core.parameters.presence_ttl_s

        def presence(sequence: int, issued_at_s: int, gone: bool) -> Signed[Any]:
            addresses = [Address(self._reachable_host(), self._link_endpoint.port)]
            return core.sign_own(
                Presence(
                    me.name,
                    me.device,
                    addresses,
                    self._away or "",
                    int(self.since_s),
                    sequence,
                    issued_at_s,
                    ttl_s,
                    gone,
                )
            )

        def listing(sequence: int, issued_at_s: int, gone: bool) -> Signed[Any]:
            away = self._away is not None
            return core.sign_own(UserListing(me.name, me.device, away, sequence, issued_at_s, ttl_s, gone))

        core.dht.keep("presence", presence, refresh_s=core.parameters.presence_refresh_s)
        core.dht.keep("listing", listing, refresh_s=core.parameters.presence_refresh_s)

    # --- going down -------------------------------------------------------------------------------------------------

    async def leave(self, *, flush: bool = True) -> None:
        """Flush what was said, say goodbye to replicas and neighbours, emit `bye`. May be called once, in any state."""
        if self._left:
            return
        self._left = True
        if hasattr(self, "_tasks"):
            if flush:
                await self._flush()
            await self._say_goodbye()
            await self._entry.save()
        self._faces.put(Bye())
        self._faces.close()

    async def _flush(self) -> None:
        """Wait until everybody who has a link has what we said, and the mailboxes of the others, but not for ever."""
        with contextlib.suppress(TimeoutError, DamagedFile):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await self._core.journal.flush()
                await self._mail.hurry()
                while self._is_owing() or self._mail.hurrying:  # noqa: ASYNC110 - several things at once, and only at the end
                    await asyncio.sleep(0.05)
                await self._core.journal.flush()  # what was stored is said

    def _is_owing(self) -> bool:
        """Whether somebody lacks a line, here only, who has a link, or is online so that one may come up any moment."""
        online = self._attendance.online(self._core.now_s())
        return any(self._pool.links_of(peer) or peer in online for peer in self._exchange.outbox.only_here())

    async def _say_goodbye(self) -> None:
        self._announce_to_all(gone=True)
        await asyncio.gather(
            self._dht.drop_all(timeout_s=GOODBYE_TIMEOUT_S),
            self._pool.close_all("leaving", timeout_s=GOODBYE_TIMEOUT_S),
        )
        self._dht.say_goodbye()

    def _tell_neighbours(self, record: SoftRecord) -> None:
        """What we publish of ourselves, for those who would otherwise have to ask the replicas for it."""
        match record.body:
            case Presence():
                told = self._pool.links()
            case Membership(room=room):
                joined = self._rooms.get(room)
                told = self._neighbours(joined.talk) if joined is not None else []
            case _:
                return
        for link in told:
            link.send_soon(Announce([record.raw]))

    def _announce_to(self, links: Iterable[Link], *, gone: bool = False) -> None:
        """Presence and memberships, freshly signed; those in closed rooms for those only who may know of them."""
        presence = self._dht.make("presence", gone=gone)
        rooms = [(joined.room, self._rooms.own_membership(joined, gone=gone)) for joined in self._rooms.joined()]
        for link in links:
            may_know = [
                record for room, record in rooms if record and (not room.is_closed or room.lets_in(link.author.peer))
            ]
            records = [record.raw for record in (presence, *may_know) if record is not None]
            if records:
                link.send_soon(Announce(records[:32]))

    # --- upkeep -----------------------------------------------------------------------------------------------------

    async def _watch_connection(self) -> None:
        alarm = Alarm(self._runtime.clock)
        while True:
            await alarm.sleep(self._connectivity.next_s(self._heard_s(), self._core.now_s()))
            now_s = self._core.now_s()
            match self._connectivity.tick(self._heard_s(), now_s):
                case WentOffline(quiet_s):
                    self._core.emit(Disconnected(reason=f"no node has answered for {quiet_s:.0f} s; trying again"))
                    for link in self._pool.links():  # those that only look alive shall not take lines as sent
                        self._spawn(_check(link), "check-link")
                case CameBack(after_s):
                    self._core.emit(Reconnected(after_s=round(after_s, 1)))
                    await self._on_reconnected()
            if self._connectivity.wants_probe(now_s):
                await self._probe(doubtful=self._connectivity.is_doubtful(now_s))

    def _heard_s(self) -> float:
        """When a node has last answered, or a neighbour said anything, be it that it is still there."""
        return max(self._dht.heard_at_s, self._pool.heard_at_s)

    async def _probe(self, *, doubtful: bool) -> None:
        if await self._dht.probe(PROBE_CONTACTS if doubtful else 1) or self._connectivity.online:
            return
        with contextlib.suppress(NetworkTrouble):
            await self._entry.enter()

    async def _on_reconnected(self) -> None:
        """Everything may have moved, us included: announce again, drop links that only look alive, dial at once."""
        with contextlib.suppress(NetworkTrouble):
            await self._entry.enter()
        self._publish()
        for joined in self._rooms.joined():
            self._rooms.republish(joined)
        await asyncio.gather(*(link.check(PROBE_INTERVAL_S) for link in self._pool.links()))
        self._keeper.forget_addresses()
        self._pool.retry_now()
        with contextlib.suppress(DamagedFile):
            await self._mail.hurry()
        self._mail.collect_soon()

    async def _watch_people(self) -> None:
        """Read the directory now and then, and let what we know grow old. One that has split is read when the user asks:
        what a peer does for itself must not grow with the network."""
        read_s = self._core.now_s()
        while True:
            if self._core.now_s() >= read_s:
                began_s = self._core.now_s()
                with contextlib.suppress(NetworkTrouble):
                    if not await self._is_directory_unchanged():
                        await self._read_directory()
                read_s = began_s + self._runtime.jitter(self._directory_pause_s())
            await self._show_presence(self._attendance.tick(self._core.now_s()))
            await self._people_alarm.sleep(min(read_s, self._attendance.due_s))

    def _directory_pause_s(self) -> float:
        if self._directory_split:
            return SPLIT_KEPT_S
        if self._directory_size > NOTICED_PEOPLE_MAX:
            return CROWD_POLL_S
        return PEOPLE_POLL_S + PEOPLE_POLL_PER_ENTRY_S * self._directory_size

    async def _is_directory_unchanged(self) -> bool:
        """Whether one who holds it lists the same devices as all did a moment ago. A lie about it does not last long."""
        seen = self._directory_seen
        if seen is None or self._core.now_s() >= seen.at_s + PRESENCE_REFRESH_S:
            return False
        entries = await self._dht.glance(USERS, seen.reading)
        if entries is None or _devices(entries) != _devices(seen.reading.entries):
            return False
        listed = [(entry, self._core.life_s(entry)) for entry in entries]
        await self._show_presence(self._attendance.listed(listed, self._core.now_s()))  # type: ignore[arg-type]
        return True

    async def _read_directory(self) -> bool:
        """All of it while it is one leaf; of one that has split only that it has."""
        node = await self._dht.read_node(USERS)
        self._directory_seen = None
        if not node.reading.answered:
            return False
        self._directory_split = node.split
        if node.split:
            self._directory_size = LEAF_ENTRIES_MAX + 1
            return True
        listed = [(entry, self._core.life_s(entry)) for entry in node.entries]
        self._directory_size = len(listed)
        changes = self._attendance.listed(listed, self._core.now_s())  # type: ignore[arg-type]
        await self._show_presence(changes if self._directory_read else [])
        self._directory_read = True
        self._directory_seen = _Seen(node, self._core.now_s())
        return True

    async def _watch_rooms(self) -> None:
        """Rosters, lines that have waited long enough for what they follow, and what was read: when something is due."""
        while True:
            await self._rooms.upkeep()
            for talk in self._talks:
                self._exchange.release(talk)
            if self._away is None:
                with contextlib.suppress(DamagedFile):
                    await self._lines.tell_read()
            releases = (talk.timeline.next_release_s() for talk in self._talks)
            due_s = min((at_s for at_s in releases if at_s is not None), default=inf)
            await self._rooms_alarm.sleep(min(due_s, self._rooms.next_s()))

    async def _judge_again(self, talk: Talk, shown_too: bool) -> None:
        """There are new rulings about a room."""
        self._large.look_again()  # who was thrown out is told nothing more
        await self._exchange.judge_again(talk, shown_too)

    def _on_members_changed(self) -> None:
        self._large.look_again()
        self._rooms_alarm.within(READ_PAUSE_S)
        self._compare_alarm.within(ANTI_ENTROPY_INTERVAL_S)
        self._keeper.notice()

    def _on_owing_changed(self) -> None:
        """Who lacks a line of ours."""
        self._mail.notice()
        self._compare_alarm.within(ANTI_ENTROPY_INTERVAL_S)
        self._keeper.notice()

    async def _watch_disk(self) -> None:
        """Overwrite what was deleted, drop what is too old to be kept."""
        trimmed_s = self._core.now_s()
        alarm = Alarm(self._runtime.clock)
        self._core.journal.on_erased = lambda: alarm.within(SCRUB_INTERVAL_S)
        while True:
            await alarm.sleep(trimmed_s + RETENTION_INTERVAL_S)
            with contextlib.suppress(DamagedFile, sqlite3.Error):
                if self._core.store.needs_scrub:
                    await self._core.journal.read(self._core.store.scrub)
                if self._core.now_s() >= trimmed_s + RETENTION_INTERVAL_S:
                    trimmed_s = self._core.now_s()
                    await self._retention.trim()

    async def _compare_histories(self) -> None:
        """Anti-entropy: with one random neighbour of each conversation, so that no gap lasts."""
        while True:
            pause_s = self._runtime.jitter(ANTI_ENTROPY_INTERVAL_S)
            anybody = any(map(self._compared_with, self._talks))
            await self._compare_alarm.sleep(self._core.now_s() + pause_s if anybody else inf)
            for talk in self._talks:
                if links := self._compared_with(talk):
                    with contextlib.suppress(NetworkTrouble, DamagedFile):
                        await self._exchange.send_have(self._runtime.random.choice(links), talk, answer=True)

    def _compared_with(self, talk: Talk) -> list[Link]:
        """In private only while we owe them something."""
        if talk.direct and talk.peer not in self._exchange.outbox.lacking(direct_only=True):
            return []
        return self._neighbours(talk)

    def _neighbours(self, talk: Talk) -> list[Link]:
        if talk.direct:
            return self._pool.links_of(talk.peer)
        joined = self._rooms.get(talk.id)
        members = joined.room.devices() if joined else set()
        # Links of a time when the room was small are left alone, or they would never be idle.
        if (neighbours := self._large.neighbours(talk.id)) and not self._large.has_few_neighbours(talk.id):
            members = set(neighbours)
        return [link for link in self._pool.links() if link.author.who in members]

    async def _republish_account(self) -> None:
        """Owners republish: whoever holds less than the newest version gets it."""
        with contextlib.suppress(NetworkTrouble):
            await self._dht.put(self.account.account)

    def _wanted_people(self) -> list[PeerId]:
        return [*self._exchange.outbox.lacking(direct_only=True), *self._rooms.wanted_insiders()]

    # --- links (peer.pool.LinkHandler) ------------------------------------------------------------------------------

    async def link_up(self, link: Link) -> None:
        try:
            await self._link_up(link)
        except DamagedFile as error:  # told already: there is nothing to say to anybody any more
            raise LinkLost(str(error)) from error

    async def _link_up(self, link: Link) -> None:
        self._large.link_up(link)
        self._compare_alarm.within(ANTI_ENTROPY_INTERVAL_S)
        author, me = link.author, self._core.me
        standing = await self._people.check(author.name, author.peer)
        if author.peer != me.peer:
            name = author.name if standing is Standing.RIGHTFUL else self._people.shown(author.name, author.peer)
            await self._show_presence(self._attendance.link_up(author.who, name, self._core.now_s()))
        self._announce_to([link])
        own_device = author.peer == me.peer
        for talk in self._talks:
            # One side compares rooms. A private talk both do: the other side may not know of it, being new or having lost
            # its history.
            compares = link.dialled or talk.direct
            shares = own_device or await self._shares_already(talk, link)
            if shares and not talk.direct:
                self._moderation.tell_heads(link, talk, answer=True)
            if own_device or (compares and shares):
                await self._exchange.send_have(link, talk, answer=True)

    async def _shares_already(self, talk: Talk, link: Link) -> bool:
        if talk.direct:
            return talk.peer == link.author.peer
        joined = self._rooms.get(talk.id)
        if joined is None:
            return False
        # In a closed room it is for us to say that we are there: who may be in it hears that first.
        return (
            joined.room.lets_in(link.author.peer) if joined.room.is_closed else joined.room.is_member(link.author.peer)
        )

    async def link_down(self, link: Link, reason: str) -> None:
        on_purpose = reason in ("leaving", "duplicate", "full", "idle")
        await self._show_presence(
            self._attendance.link_down(link.author.who, self._core.now_s(), self._core.wall_s(), on_purpose=on_purpose)
        )
        self._keeper.poke()
        self._mail.notice()  # what is on its way to them waits less long without a link
        self._moderation.link_down(link)
        self._large.link_down(link)
        with contextlib.suppress(DamagedFile):
            await self._exchange.link_down(link)

    async def received(self, link: Link, message: PeerMessage) -> None:
        try:
            await self._take(link, message)
        except DamagedFile as error:
            raise LinkLost(str(error)) from error

    async def _take(self, link: Link, message: PeerMessage) -> None:
        match message:
            case Tell():
                await self._exchange.on_tell(link, message)
            case wire.Pushed():
                await self._exchange.on_pushed(link, message)
            case wire.Neighbour() | wire.Announced() | wire.Wanted() | wire.Branch():
                await self._on_neighbourly(link, message)
            case Committed():
                await self._exchange.on_committed(link, message)
            case Have():
                await self._exchange.on_have(link, message)
            case LinesMessage():
                await self._exchange.on_lines(link, message)
            case Announce():
                await self._on_announce(link, message)
            case RulingsMessage():
                await self._moderation.on_rulings(link, message)

    async def _on_neighbourly(
        self, link: Link, message: wire.Neighbour | wire.Announced | wire.Wanted | wire.Branch
    ) -> None:
        """What holds a large room together."""
        joined, who = self._rooms.get(message.room), link.author.who
        if joined is None or not await self._rooms.is_member(joined, who.peer):
            if not isinstance(message, wire.Neighbour) or message.word != "no":
                link.send_soon(wire.Neighbour(message.room, "no"))
            return
        match message:
            case wire.Neighbour():
                self._large.on_neighbour(joined, who, message)
            case wire.Announced(ids=ids):
                self._large.on_frame(joined.room.id, who, Announced(tuple(ids)))
            case wire.Wanted(ids=ids):
                self._large.on_frame(joined.room.id, who, Wanted(tuple(ids)))
            case wire.Branch(grafted=grafted):
                self._large.on_frame(joined.room.id, who, Graft() if grafted else Prune())

    async def _on_announce(self, link: Link, message: Announce) -> None:
        """A neighbour tells of itself; of others it may say nothing."""
        for raw in message.records:
            record = open_record(raw, self._core.parameters.network_id)
            if record.key != link.author.peer:
                raise RemoteMisbehaved("a neighbour announced somebody else")
            verdict = judge(
                record,
                None,
                key=record.body.place(record.key),
                now_s=self._core.wall_s(),
                parameters=self._core.parameters,
            )
            if not verdict.accepted:
                continue
            if isinstance(record.body, Membership):
                news = await self._rooms.learn_member(record)
                if news is not None and news.room.is_closed and news.room.is_member(link.author.peer):
                    await self._greet(news, [link])
            elif isinstance(record.body, Presence):
                self._keeper.announced(record)

    def _on_presence(self, record: Signed[Presence]) -> None:
        if record.key != self._core.me.peer:
            changes = self._attendance.announced(record, life_s=self._core.life_s(record), now_s=self._core.now_s())
            self._people_alarm.by(self._attendance.due_s)
            if changes:
                self._spawn(self._show_presence(changes), "show-presence")

    async def _may_share(self, talk: Talk, peer: PeerId) -> bool:
        """Whether a person may see a conversation, or speak in it."""
        if talk.direct:
            return peer in (talk.peer, self._core.me.peer)
        joined = self._rooms.get(talk.id)
        return joined is not None and await self._rooms.is_member(joined, peer)

    # --- what is shown ----------------------------------------------------------------------------------------------

    def _on_shown(self, talk: Talk, turn: Turn) -> None:
        statement = turn.item.statement
        match statement.body.content:
            case SetTopic():
                joined = self._rooms.get(talk.id)
                if joined is not None and joined.room.take_topic(statement, turn.item.depth):
                    by = self._people.shown(statement.author.name, statement.author.peer)
                    topic = clean_topic(joined.room.topic)
                    self._core.emit(TopicChanged(room=joined.room.name, user=by, by=by, topic=topic))
                    self._rooms.relist(joined)
            case Hand(up=up):
                joined = self._rooms.get(talk.id)
                if joined is not None and joined.room.take_hand(statement, turn.item.depth):
                    self._core.emit(self._moderation.hand_event(joined, statement, up=up))
            case Invite() as invite:
                self._show_invitation(talk, statement, invite)
            case Read():
                read = self._lines.on_read(talk, turn)
                if read is not None:
                    self._core.emit(read)
            case _:
                event = (
                    self._lines.event(talk, turn, quiet=self._away is not None)
                    if turn.outcome is Outcome.NEWS
                    else None
                )
                if turn.quiet and event is not None:
                    talk.passed += 1
                    return
                if talk.passed and not turn.quiet:
                    passed, talk.passed = talk.passed, 0
                    self._core.emit(Notice(message=f"{passed} older lines of {talk.name} are in /history"))
                if event is not None and not (self._people.is_ignored(statement.author.peer) and not event.own):
                    self._core.emit(event)

    async def _show_presence(self, changes: list[PresenceChange]) -> None:
        self._people_alarm.by(self._attendance.due_s)
        for change in changes:
            if change.peer == self._core.me.peer or not self._concerns_us(change):
                continue
            if await self._people.check(change.name, change.peer) is Standing.RIGHTFUL:
                away = clean(change.away, single_line=True) if change.away else change.away
                self._core.emit(PresenceChanged(user=change.name, online=change.online, away=away))

    def _concerns_us(self, change: PresenceChange) -> bool:
        """In a small network everybody does. In a large one those we know or share a room with: to look up the names of
        all who come and go would cost everybody something for everybody."""
        if self._directory_size <= NOTICED_PEOPLE_MAX or self._people.is_pinned(change.name, change.peer):
            return True
        return any(joined.room.is_member(change.peer) for joined in self._rooms.joined())

    def _tell_damage(self, error: DamagedFile) -> None:
        self._faces.put(ErrorShown(code=error.code, message=str(error), hint=error.hint))

    def _tell_disk_trouble(self, error: sqlite3.Error) -> None:
        self._faces.put(
            ErrorShown(
                code="disk",
                message=f"cannot write to {self._settings.data_dir}: {error}",
                hint="Make room on the disk: what was said is kept in memory and written as soon as there is.",
            )
        )

    # --- what faces call --------------------------------------------------------------------------------------------

    def events(self) -> AsyncIterator[Event]:
        """Everything to show, in order, until `bye`, on the face of whoever made this node. One reader."""
        return self._faces.own.events()

    @property
    def is_online(self) -> bool:
        """From `ready` to `leave`."""
        return self._is_ready and not self._left

    @property
    def inspection(self) -> Inspection:
        """What is inside, for those who check it. Only while online."""
        return Inspection(self._core, self._talks, self._rooms, self._exchange, self._pool)

    def close_events(self) -> None:
        """No more events: the reader ends once it has read what is there."""
        self._faces.close()

    def add_face(self, face: Face) -> None:
        """One more to show everything on from now on; it begins with `ready`. Only while online."""
        face.stream.put(self._ready())
        self._set_target(self._faces.own.target, face)
        self._faces.add(face)

    def remove_face(self, face: Face) -> None:
        self._faces.remove(face)

    async def perform(self, intent: intents.Intent, face: Face | None = None) -> None:
        """Do what the user wants who sits at `face`; default: at the first. A mistake of theirs or trouble with the network
        is emitted as `error`, nothing ends."""
        with self._faces.asked_by(face or self._faces.own):
            await self._perform_or_tell(intent)

    async def say(self, target: str, text: str, face: Face) -> str:
        """Say `text` to a room that exists, entering it if need be, or to a person; the id of the line, of which `message` and
        `status` tell. Raises as it goes wrong."""
        with self._faces.asked_by(face):
            if target.startswith("#") and self._rooms.by_name(fold_room(target)) is None:
                if not await self._rooms.exists(fold_room(target)):
                    raise NoSuchRoom(f"there is no room {fold_room(target)}")
                await self._join(target, None)
            return await self._speak(await self._talk_meant(target), Say(_checked_text(text), False))

    async def _perform_or_tell(self, intent: intents.Intent) -> None:
        try:
            await self._perform(intent)
        except RemoteMisbehaved as error:
            log.warning("another node misbehaved: %s", error)
            self._core.emit(ErrorShown(code="nobody-reachable", message=str(error), hint="Try again in a moment."))
        except NoSuchUser as error:
            # Without the network nobody can say that there is no such person.
            shown = error if self._connectivity.online else NetworkTrouble(f"cannot look it up now: {error}")
            self._core.emit(ErrorShown(code=shown.code, message=clean(str(shown)), hint=clean(shown.hint)))
        except DhtChatError as error:
            self._core.emit(ErrorShown(code=error.code, message=clean(str(error)), hint=clean(error.hint)))

    async def _perform(self, intent: intents.Intent) -> None:
        match intent:
            case intents.SayTo(text, target, action):
                await self._say(text, target, action=action)
            case intents.JoinRoom(room, topic):
                await self._join(room, topic)
            case intents.PartRoom(room):
                await self._part(room)
            case intents.OpenQuery(name):
                person = await self._other_person(name)
                await self._talks.open_direct(person.peer, person.name)
                self._set_target(person.name)
            case intents.SwitchTo(target):
                await self._switch(target)
            case intents.ListRooms(prefix):
                await self._core.journal.flush()
                found = await self._rooms.directory(_room_prefix(prefix))
                self._core.emit(RoomsListed(rooms=found))
            case intents.ListUsers(prefix, everyone):
                await self._list_users(prefix.lower(), everyone=everyone)
            case intents.ListNames(room):
                await self._list_names(room)
            case intents.WhoIs(name):
                await self._who_is(name)
            case intents.ChangeTopic(text, room):
                await self._change_topic(self._room_meant(room), text)
            case intents.Grant(name, given, room):
                joined = self._room_meant(room)
                await self._moderation.grant(joined, await self._people.find(name, contact=True), given)
            case intents.Remove(name, taken, why, room):
                joined = self._room_meant(room)
                await self._moderation.remove(joined, await self._people.find(name, contact=True), taken, why)
            case intents.Invite(name, room):
                await self._invite(self._room_meant(room), await self._other_person(name))
            case intents.ChangeMode(moderated, room, closed):
                await self._moderation.set_mode(self._room_meant(room), moderated, closed)
            case intents.MoveHand(room):
                await self._move_hand(self._room_meant(room))
            case intents.ShowHands(is_open, room):
                await self._moderation.show_hands(self._room_meant(room), is_open)
            case intents.ShowHistory(count, target):
                talk = await self._talk_meant(target)
                self._core.emit(History(target=talk.name, messages=await self._lines.history(talk, count)))
            case intents.Search(text, target):
                talk = await self._talk_meant(target)
                self._core.emit(Found(target=talk.name, messages=await self._lines.search(talk, text)))
            case intents.ReplyTo(line, text):
                talk, row = await self._lines.find(line, await self._current_talk())
                await self._speak(talk, self._lines.reply(row, _checked_text(text)))
            case intents.EditLine(line, text):
                talk, row = await self._lines.find(line, await self._current_talk(), own=True)
                await self._speak(talk, await self._lines.edit(talk, row, _checked_text(text)))
            case intents.DeleteLine(line):
                talk, row = await self._lines.find(line, await self._current_talk(), own=True)
                await self._speak(talk, await self._lines.delete(row))
            case intents.ReactTo(line, emoji):
                talk, row = await self._lines.find(line, await self._current_talk())
                await self._speak(talk, self._lines.react(talk, row, emoji))
            case intents.MarkRead(lines):
                self._lines.mark_read(lines)
                self._rooms_alarm.within(READ_PAUSE_S)
            case intents.SetAway(text):
                self._away = text
                self._rooms_alarm.within(READ_PAUSE_S)
                self._publish()
                self._announce_to_all()
                self._core.emit(Notice(message="you are back" if text is None else f"you are away: {clean(text)}"))
            case intents.Ignore(name, ignored):
                person = await self._other_person(name)
                self._people.set_ignored(person, ignored)
                verb = "ignore" if ignored else "no longer ignore"
                self._core.emit(Notice(message=f"you {verb} {person.name}"))
            case intents.Mute(target):
                talk = await self._talk_meant(target)
                self._talks.set_level(talk, Level.USUAL if talk.muted else Level.NONE)
                self._core.emit(Notice(message=f"{talk.name} is {'muted' if talk.muted else 'no longer muted'}"))
            case intents.Notify(level, target):
                talk = await self._talk_meant(target)
                if level is not None:
                    self._talks.set_level(talk, NAMED_LEVELS[level])
                heard = in_words(talk.level, direct=talk.direct)
                self._core.emit(Notice(message=f"of {talk.name} you hear {heard}"))
            case intents.ShowHelp(command):
                self._core.emit(Help(commands=help_lines(command)))
            case intents.ShowStatus():
                self._show_status()
            case intents.Quit():
                await self.leave()

    async def _say(self, text: str, target: str | None, *, action: bool) -> None:
        text = _checked_text(text.rstrip("\n"), may_be_empty=True)
        if text:
            await self._speak(await self._talk_meant(target), Say(text, action))

    async def _speak(self, talk: Talk, content: Content) -> str:
        """At the pace that others grant; the id of what was said. Raises `NoSuchRoom` in a room that was left."""
        joined = None if talk.direct else self._rooms.get(talk.id)
        if joined is not None:
            self._moderation.require(joined, content)
        wait_s = self._pacer.take(self._core.now_s())
        if wait_s:
            await asyncio.sleep(wait_s)
        if not self._core.journal.has_room:
            raise DiskFull("the disk takes nothing more, and too much is waiting for it already")
        if not talk.direct and self._rooms.get(talk.id) is None:
            raise NoSuchRoom(f"you are no longer in {talk.name}")
        line = self._exchange.say(talk, content, self._recipients(talk))
        if talk.direct and not self._pool.links_of(talk.peer):
            self._core.journal.after(self._keeper.poke)  # only then is it in the outbox, and its reader wanted
        return line.hex()

    def _recipients(self, talk: Talk) -> Iterable[PeerId]:
        """Who is entitled to what is said there."""
        if talk.direct:
            return [talk.peer]
        joined = self._rooms.get(talk.id)
        return joined.room.people() if joined is not None else []

    async def _current_talk(self) -> Talk | None:
        return await self._talk_meant(None) if self._faces.asking.target is not None else None

    async def _talk_meant(self, target: str | None) -> Talk:
        """The talk a user names, or the current one."""
        target = target or self._faces.asking.target
        if target is None:
            raise BadCommand("there is nobody to say it to yet", hint="Use /join #room, or /query NAME.")
        if target.startswith("#"):
            return self._room_meant(target).talk
        person = await self._other_person(target)
        return await self._talks.open_direct(person.peer, person.name)

    async def _other_person(self, name: str) -> Person:
        person = await self._people.find(name, contact=True)
        if person.peer == self._core.me.peer:
            raise NoSuchUser("that is you", hint="Name somebody else; see /users.")
        return person

    def _room_meant(self, room: str | None) -> JoinedRoom:
        name = room or self._faces.asking.target
        if name is None or not name.startswith("#"):
            raise NoSuchRoom("which room?", hint="Name it, or make it the current target with /switch #room.")
        name = fold_room(name)
        joined = self._rooms.by_name(name)
        if joined is None:
            raise NoSuchRoom(f"you are not in {name}", hint=f"Enter it with /join {name}.")
        return joined

    def _set_target(self, target: str | None, face: Face | None = None) -> None:
        face = face or self._faces.asking
        if target != face.target:
            face.target = target
            face.stream.put(TargetChanged(target=target))

    async def _switch(self, target: str) -> None:
        talk = await self._talk_meant(target)
        self._set_target(talk.name)

    async def _join(self, room: str, topic: str | None) -> None:
        name = fold_room_meant(room)
        if topic:
            _check_topic(topic)
        already = self._rooms.by_name(name) is not None
        joined, created = await self._rooms.join(name)
        if already or not joined.room.is_closed:
            self._set_target(name)
        if already:
            if topic and topic != joined.room.topic:
                await self._change_topic(joined, topic)
            return
        self._moderation.arrive(joined)
        self._exchange.show_parked(joined.talk)
        await self._take_stored_topic(joined)
        self._keeper.poke()
        await self._greet(joined, self._rooms.links_inside(joined))
        if joined.room.is_closed:
            await self._moderation.be_let_in(joined)
            self._set_target(name)
        await self._first_comparison(joined)
        await self._moderation.welcome(joined)
        if joined.room.topic and not topic:
            text = clean_topic(joined.room.topic)
            self._core.emit(TopicChanged(room=name, user=joined.room.topic_by, by=None, topic=text))
        await self._rooms.upkeep()
        if topic and (created or topic != joined.room.topic):
            await self._change_topic(joined, topic)

    async def _first_comparison(self, joined: JoinedRoom) -> None:
        """Hear what was said before we came, or our first line would stand before all of it; but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_COMPARISON_S):
                while joined.room.people().keys() - {self._core.me.peer}:
                    if await self._exchange.next_comparison(joined.talk):
                        return

    async def _take_stored_topic(self, joined: JoinedRoom) -> None:
        """What our own history knows of the topic."""
        found = await self._core.journal.read(self._core.store.last_topic, joined.talk.id)
        for row, statement in self._talks.opened_lines(joined.talk, [found] if found else []):
            joined.room.take_topic(statement, row.depth)

    async def _greet(self, joined: JoinedRoom, links: Iterable[Link]) -> None:
        """Those who have a link with us already learn at once that we are in."""
        record = self._rooms.own_membership(joined)
        for link in links:
            if record is not None:
                link.send_soon(Announce([record.raw]))
            self._moderation.tell_heads(link, joined.talk, answer=True)
            with contextlib.suppress(NetworkTrouble):
                await self._exchange.send_have(link, joined.talk, answer=True)

    async def _part(self, room: str | None) -> None:
        await self._leave_room(self._room_meant(room))

    async def _leave_room(self, joined: JoinedRoom, *, quietly: bool = False) -> None:
        """`quietly`: the user was never in."""
        neighbours = self._rooms.links_inside(joined)
        record = self._rooms.own_membership(joined, gone=True)
        await self._rooms.part(joined.room.name, quietly=quietly)
        self._large.look_again()
        self._moderation.left(joined)
        self._exchange.forget(joined.talk)
        for link in neighbours:
            if record is not None:
                link.send_soon(Announce([record.raw]))
        remaining = self._rooms.joined()
        for face in self._faces:
            if face.target == joined.room.name:
                self._set_target(remaining[-1].room.name if remaining else None, face)
        self._keeper.poke()

    def _announce_to_all(self, *, gone: bool = False) -> None:
        self._announce_to(self._pool.links(), gone=gone)

    async def _list_users(self, prefix: str, *, everyone: bool) -> None:
        with contextlib.suppress(NetworkTrouble):
            await self._read_directory()
        core = self._core
        online = self._attendance.online(core.now_s()) | {core.me.peer: core.me.name}
        listed: dict[PeerId, str] = {}
        more = False
        if self._directory_split:
            listed, more = await self._listed_under(prefix)
            online = listed | online
        wanted = {peer: name for peer, name in online.items() if name.startswith(prefix)}
        entries = []
        for peer in await self._rightful(wanted):
            away = self._away if peer == core.me.peer else self._attendance.away_of(peer)
            entries.append(
                UserEntry(
                    name=wanted[peer],
                    fingerprint=fingerprint(peer),
                    online=True,
                    away=clean(away, single_line=True) if away else away,
                )
            )
        if everyone:
            entries += [
                UserEntry(name=person.name, fingerprint=fingerprint(person.peer), online=False)
                for person in self._people.pinned()
                if person.peer not in online and person.name.startswith(prefix)
            ]
        core.emit(Users(users=sorted(entries, key=lambda entry: entry.name)))
        if more:
            core.emit(
                Notice(message=f"these are the first {len(listed)}: ask for more with the start of a name, /users al")
            )

    async def _listed_under(self, prefix: str) -> tuple[dict[PeerId, str], bool]:
        """The first of those listed under names that begin so, and whether there are more."""
        reading = await self._dht.trees.read_range(USERS, *names_between(prefix), LISTED_USERS_MAX)
        found = [entry for entry in reading.entries if entry.body.name.startswith(prefix)]
        return {PeerId(entry.key): entry.body.name for entry in found}, not reading.complete

    async def _rightful(self, people: dict[PeerId, str]) -> list[PeerId]:
        """Those whose name is theirs; some lookups at a time, because anybody can list as many as they like."""
        limit = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def check(peer: PeerId, name: str) -> bool:
            async with limit:
                return await self._people.check(name, peer) is Standing.RIGHTFUL

        rightful = await asyncio.gather(*(check(peer, name) for peer, name in people.items()))
        return [peer for peer, right in zip(people, rightful, strict=True) if right]

    async def _list_names(self, room: str | None) -> None:
        joined = self._room_meant(room)
        await self._rooms.read_members(joined)
        with contextlib.suppress(NetworkTrouble):
            await self._read_directory()  # who came in a moment ago is online, too
        core = self._core
        online = self._attendance.online(core.now_s()) | {core.me.peer: core.me.name}
        people = joined.room.people() | {core.me.peer: core.me.name}
        now, hands = joined.room.graph.now, joined.room.hands()
        if self._directory_split:
            online = people | online  # a membership dies with its device, and the directory is not read for this
        members = [
            MemberEntry(
                name=self._people.shown(name, peer),
                role=now.role(peer),
                online=peer in online,
                hand=peer in hands,
            )
            for peer, name in people.items()
        ]
        core.emit(Names(room=joined.room.name, members=sorted(members, key=lambda member: member.name)))

    async def _who_is(self, name: str) -> None:
        core = self._core
        login = parse_login(name)
        person = await self._people.find(name)
        reading = await self._people.account_of(login.name)
        await self._keeper.read_now(person.peer)
        mine = person.peer == core.me.peer
        since_s = self.since_s if mine else self._attendance.since_of(person.peer)
        if since_s is None and reading.owner is not None and reading.owner.key == person.peer:
            since_s = reading.owner.body.created_at_s
        away = self._away if mine else self._attendance.away_of(person.peer)
        rooms = [joined.room.name for joined in self._rooms.joined() if mine or joined.room.is_member(person.peer)]
        core.emit(
            WhoIsAnswer(
                name=person.name,
                fingerprint=fingerprint(person.peer),
                key_changed=self._people.key_changed(login.name, reading),
                online=mine or person.peer in self._attendance.online(core.now_s()),
                rooms=sorted(rooms),
                since=rfc3339(int(since_s * 1000)) if since_s is not None else None,
                away=clean(away, single_line=True) if away else away,
            )
        )

    async def _invite(self, joined: JoinedRoom, person: Person) -> None:
        """Raises `NotAllowed`."""
        room = joined.room
        if room.is_member(person.peer):
            raise NotAllowed(f"{person.name} is in {room.name} already", hint="See /names.")
        if room.graph.now.is_banned(person.peer):
            raise NotAllowed(f"{person.name} is banned from {room.name}", hint=f"First: /unban {person.name}.")
        mates: list[PeerId] = []
        if room.graph.now.closed:
            if person.peer not in room.graph.now.insiders():
                await self._moderation.grant(joined, person, "invite")
            mates = sorted(room.people().keys() - {self._core.me.peer})[:MATES_MAX]
        await self._speak(await self._talks.open_direct(person.peer, person.name), Invite(room.name, list(mates)))

    def _show_invitation(self, talk: Talk, statement: Statement, invite: Invite) -> None:
        author, me = statement.author, self._core.me
        if author.peer == me.peer:
            joined = self._rooms.by_name(invite.room)
            if joined is None or not joined.room.graph.now.closed:  # there it was shown to all who are in it
                self._core.emit(Invited(room=invite.room, user=talk.name, by=me.name))
        elif not self._people.is_ignored(author.peer):
            self._rooms.note_invitation(invite, author.peer)
            by = self._people.shown(author.name, author.peer)
            self._core.emit(Invited(room=invite.room, user=me.name, by=by))

    async def _move_hand(self, joined: JoinedRoom) -> None:
        me = self._core.me.peer
        if joined.room.graph.now.may(me, Right.SPEAK):
            raise NotAllowed(f"you have the floor in {joined.room.name}", hint="Just say it.")
        await self._speak(joined.talk, Hand(me not in joined.room.hands()))

    async def _change_topic(self, joined: JoinedRoom, text: str | None) -> None:
        if text is None:
            room = joined.room
            self._core.emit(TopicChanged(room=room.name, user=room.topic_by, by=None, topic=clean_topic(room.topic)))
            return
        _check_topic(text)
        if len(joined.room.graph):
            await self._moderation.rule(joined, RuleTopic(text))
        else:
            self._exchange.say(joined.talk, SetTopic(text), joined.room.people())

    def _show_status(self) -> None:
        self._core.emit(
            PeerStatus(
                user=self._core.me.name,
                address=str(self.address),
                peers=len(self._dht.contacts()),
                links=len(self._pool.links()),
                rooms=sorted(joined.room.name for joined in self._rooms.joined()),
                since=rfc3339(int(self.since_s * 1000)),
                away=clean(self._away, single_line=True) if self._away is not None else None,
            )
        )


def _devices(entries: Iterable[SoftRecord]) -> set[bytes]:
    return {entry.body.entry_id(entry.key) for entry in entries}


async def _check(link: Link) -> None:
    await link.check(PROBE_INTERVAL_S)


class _Owned:
    """A `TaskGroup` that ends its tasks when its block ends, instead of waiting for them."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: dict[asyncio.Task[None], None] = {}
        """(A dictionary: a set has no order, and a simulated end must be the same each time.)"""

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    def create_task(self, body: Coroutine[Any, Any, None], name: str) -> None:
        task = self._group.create_task(body, name=name)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def __aexit__(self, *exc_info: Any) -> None:
        for task in list(self._tasks):
            task.cancel()
        await self._group.__aexit__(*exc_info)


def _checked_text(text: str, *, may_be_empty: bool = False) -> str:
    """Raises `TooLong` or `BadCommand`. A lone surrogate cannot travel."""
    if len(text) > TEXT_CHARACTERS_MAX or len(text.encode("utf-8", "replace")) > TEXT_BYTES_MAX:
        raise TooLong(f"a line has at most {TEXT_CHARACTERS_MAX} characters and {TEXT_BYTES_MAX} bytes")
    if not text and not may_be_empty:
        raise BadCommand("there is nothing to say")
    return text.encode("utf-8", "replace").decode()


def _check_topic(text: str) -> None:
    if len(text) > TOPIC_CHARACTERS_MAX or len(text.encode("utf-8", "replace")) > TOPIC_BYTES_MAX:
        raise TooLong(
            f"a topic has at most {TOPIC_CHARACTERS_MAX} characters and {TOPIC_BYTES_MAX} bytes", hint="Shorten it."
        )


def _room_prefix(prefix: str) -> str:
    prefix = prefix.lower()
    return prefix if prefix.startswith("#") else f"#{prefix}"
