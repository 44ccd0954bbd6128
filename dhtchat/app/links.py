"""Whom to be linked to, and where they are: members of our rooms, people we owe a line, our own other devices."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable

from dhtchat.app.alarm import Alarm
from dhtchat.app.core import Core
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import DeviceId, Endpoint, PeerDevice, PeerId
from dhtchat.limits import (
    ADDRESS_RECHECK_S,
    ADDRESS_REFRESH_S,
    DEVICES_PER_OWNER_MAX,
    KEEPER_PAUSE_S,
    LINK_IDLE_S,
    LOOKUPS_AT_ONCE,
)
from dhtchat.peer.pool import LinkPool
from dhtchat.records.envelope import Signed
from dhtchat.records.presence import Presence, presence_key

Addresses = tuple[Endpoint, ...]


class LinkKeeper:
    """Turns wishes into dialling. `on_presence` is told of every presence record read on the way."""

    def __init__(
        self,
        core: Core,
        pool: LinkPool,
        *,
        wanted_devices: Callable[[], set[PeerDevice]],
        wanted_people: Callable[[], Iterable[PeerId]],
        on_presence: Callable[[Signed[Presence]], None],
    ) -> None:
        self._core = core
        self._pool = pool
        self._wanted_devices = wanted_devices
        self._wanted_people = wanted_people
        self._on_presence = on_presence
        self._found: dict[PeerDevice, Addresses] = {}
        self._read_at_s: dict[PeerId, float] = {}
        self._in_vain: Counter[PeerId] = Counter()
        """How often in a row nothing was found of somebody."""
        self._dialling: set[PeerDevice] = set()
        self._alarm = Alarm(core.runtime.clock)

    def poke(self) -> None:
        """Something changed: look at once."""
        self._alarm.within()

    def notice(self) -> None:
        """Something changed that may wait for others of its kind: look in a moment."""
        self._alarm.within(KEEPER_PAUSE_S)

    def forget_addresses(self) -> None:
        """After the network came back, everything may have moved."""
        self._read_at_s.clear()
        self._in_vain.clear()
        self.poke()

    async def run(self) -> None:
        """Until cancelled: whenever something is due, and when told that something has changed."""
        while True:
            await self._round()
            await self._alarm.sleep(self._next_s())

    def _wanted(self) -> tuple[set[PeerDevice], set[PeerId]]:
        """Devices of our rooms, and everybody whose presence we follow: ourselves as well."""
        me = self._core.me
        members = self._wanted_devices() - {me.who}
        return members, {member.peer for member in members} | {*self._wanted_people(), me.peer}

    async def _round(self) -> None:
        me = self._core.me
        members, people = self._wanted()
        await self._read_due(people, members)
        # A private line and our own other devices want every device of a person, a room those that are in it.
        wanted = {who: at for who, at in self._found.items() if who.peer in people and who != me.who and at}
        for who in sorted(self._dialling - wanted.keys()):
            self._pool.unwant(who.device, who.peer)
        for who, addresses in wanted.items():
            self._pool.want(who.device, who.peer, addresses)
        self._dialling = set(wanted)
        self._close_idle(members, people)
        self._found = {who: at for who, at in self._found.items() if who.peer in people}
        self._read_at_s = {peer: at_s for peer, at_s in self._read_at_s.items() if peer in people}
        self._in_vain = Counter({peer: times for peer, times in self._in_vain.items() if peer in people})

    def _next_s(self) -> float:
        """When somebody's presence is to be read, or a link has been idle for long enough."""
        members, people = self._wanted()
        by_person, linked = _by_person(members), _by_person(link.author.who for link in self._pool.links())
        nobody: set[PeerDevice] = set()
        due_s = [self._due_s(peer, by_person.get(peer, nobody), linked.get(peer, nobody)) for peer in people]
        due_s += [
            link.talked_at + LINK_IDLE_S
            for link in self._pool.links()
            if link.author.who not in members and link.author.peer not in people
        ]
        return min(due_s)

    def _close_idle(self, members: set[PeerDevice], people: set[PeerId]) -> None:
        """A link that was made for one line need not be kept for ever. Who wants it at the other end dials again."""
        now_s = self._core.now_s()
        for link in self._pool.links():
            wanted = link.author.who in members or link.author.peer in people
            if not wanted and now_s >= link.talked_at + LINK_IDLE_S:
                self._pool.close(link.author.device, "idle")

    async def _read_due(self, people: set[PeerId], members: set[PeerDevice]) -> None:
        now_s = self._core.now_s()
        wanted, linked = _by_person(members), _by_person(link.author.who for link in self._pool.links())
        nobody: set[PeerDevice] = set()
        due = [
            peer
            for peer in sorted(people)
            if now_s >= self._due_s(peer, wanted.get(peer, nobody), linked.get(peer, nobody))
        ]
        limit = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def read(peer: PeerId) -> None:
            async with limit:
                await self._read(peer)

        async with asyncio.TaskGroup() as group:
            for peer in due:
                group.create_task(read(peer))

    def _due_s(self, peer: PeerId, wanted: set[PeerDevice], linked: set[PeerDevice]) -> float:
        """When the presence of a person is to be read again."""
        if peer == self._core.me.peer:
            pause_s = ADDRESS_RECHECK_S  # another device of ours dials us as well
        elif wanted - linked - self._found.keys():
            # Somebody new, whose address we do not have: at first often, then ever more rarely.
            pause_s = min(2.0 ** min(self._in_vain[peer], 32), ADDRESS_REFRESH_S)
        else:
            satisfied = bool(linked) and wanted <= linked
            pause_s = ADDRESS_RECHECK_S if satisfied else ADDRESS_REFRESH_S
        return self._read_at_s.get(peer, float("-inf")) + pause_s

    async def read_now(self, peer: PeerId) -> None:
        """Read somebody's presence because a user asks."""
        await self._read(peer)

    async def _read(self, peer: PeerId) -> None:
        self._read_at_s[peer] = self._core.now_s()
        try:
            reading = await self._core.dht.read_set(presence_key(peer), Presence)
        except NetworkTrouble:
            return
        if not reading.answered:
            return
        self._found = {who: at for who, at in self._found.items() if who.peer != peer}
        self._in_vain[peer] += 1
        for record in reading.entries:
            if isinstance(record.body, Presence):
                self.learn(record)

    def announced(self, record: Signed[Presence]) -> None:
        """Somebody we are linked to has told us: as good as read."""
        self._read_at_s[PeerId(record.key)] = self._core.now_s()
        self.learn(record)

    def learn(self, record: Signed[Presence]) -> None:
        """A presence record."""
        who = PeerDevice(PeerId(record.key), DeviceId(record.body.device))
        before = self._found.get(who)
        if record.body.gone:
            self._found.pop(who, None)
        else:
            endpoints = (address.endpoint for address in record.body.addresses)
            self._in_vain.pop(who.peer, None)
            self._found.pop(who, None)
            self._found[who] = tuple(endpoint for endpoint in endpoints if _may_be_dialled(endpoint))
            of_person = [each for each in self._found if each.peer == who.peer]
            if len(of_person) > DEVICES_PER_OWNER_MAX:
                del self._found[of_person[0]]
        if self._found.get(who) != before:
            self.notice()
        self._on_presence(record)


def _by_person(devices: Iterable[PeerDevice]) -> dict[PeerId, set[PeerDevice]]:
    found: dict[PeerId, set[PeerDevice]] = {}
    for device in devices:
        found.setdefault(device.peer, set()).add(device)
    return found


def _may_be_dialled(endpoint: Endpoint) -> bool:
    """Whether one machine can be behind it. Loopback may be ours: people on one machine talk, too."""
    address = ipaddress.ip_address(endpoint.host)
    return not (address.is_multicast or address.is_unspecified)
