"""Whom to be linked to, and where they are: members of our rooms, people we owe a line, our own other devices."""

import asyncio
from collections.abc import Callable, Iterable

from dhtchat.app.core import Core
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import DeviceId, Endpoint, PeerId
from dhtchat.limits import ADDRESS_REFRESH_S, LOOKUPS_AT_ONCE
from dhtchat.peer.pool import LinkPool
from dhtchat.records.envelope import Signed
from dhtchat.records.presence import Presence, presence_key


class LinkKeeper:
    """Turns wishes into dialling. `on_presence` is told of every presence record read on the way."""

    def __init__(
        self,
        core: Core,
        pool: LinkPool,
        *,
        wanted_devices: Callable[[], dict[DeviceId, PeerId]],
        wanted_people: Callable[[], Iterable[PeerId]],
        on_presence: Callable[[Signed[Presence]], None],
    ) -> None:
        self._core = core
        self._pool = pool
        self._wanted_devices = wanted_devices
        self._wanted_people = wanted_people
        self._on_presence = on_presence
        self._found: dict[PeerId, dict[DeviceId, tuple[Endpoint, ...]]] = {}
        self._read_at_s: dict[PeerId, float] = {}
        self._dialling: set[DeviceId] = set()
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Something changed: look at once."""
        self._poked.set()

    def forget_addresses(self) -> None:
        """After the network came back, everything may have moved."""
        self._read_at_s.clear()
        self.poke()

    async def run(self) -> None:
        """Until cancelled: about once a second, or as soon as poked."""
        while True:
            self._poked.clear()
            await self._round()
            try:
                async with asyncio.timeout(1.0):
                    await self._poked.wait()
            except TimeoutError:
                pass

    async def _round(self) -> None:
        me = self._core.me
        devices = {device: peer for device, peer in self._wanted_devices().items() if device != me.device}
        people = {*devices.values(), *self._wanted_people(), me.peer}
        await self._read_due(people, devices)
        wanted: dict[DeviceId, tuple[PeerId, tuple[Endpoint, ...]]] = {}
        for peer in people:
            for device, endpoints in self._found.get(peer, {}).items():
                # A room wants its members' devices; a private line and our own other devices want all of them.
                if device != me.device and endpoints:
                    wanted[device] = (peer, endpoints)
        for device in self._dialling - wanted.keys():
            self._pool.unwant(device)
        for device, (peer, endpoints) in wanted.items():
            self._pool.want(device, peer, endpoints)
        self._dialling = set(wanted)
        self._found = {peer: found for peer, found in self._found.items() if peer in people}
        self._read_at_s = {peer: at_s for peer, at_s in self._read_at_s.items() if peer in people}

    async def _read_due(self, people: set[PeerId], devices: dict[DeviceId, PeerId]) -> None:
        now_s = self._core.now_s()
        due = [peer for peer in sorted(people) if self._is_due(peer, devices, now_s)]
        limit = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def read(peer: PeerId) -> None:
            async with limit:
                await self._read(peer)

        async with asyncio.TaskGroup() as group:
            for peer in due:
                group.create_task(read(peer))

    def _is_due(self, peer: PeerId, devices: dict[DeviceId, PeerId], now_s: float) -> bool:
        age_s = now_s - self._read_at_s.get(peer, float("-inf"))
        linked = {link.author.device for link in self._pool.links_of(peer)}
        wanted = {device for device, owner in devices.items() if owner == peer}
        if wanted - linked - self._found.get(peer, {}).keys():
            return age_s >= 1.0  # somebody new, whose address we do not have
        satisfied = bool(linked) and wanted <= linked
        return age_s >= (6 * ADDRESS_REFRESH_S if satisfied else ADDRESS_REFRESH_S)

    async def _read(self, peer: PeerId) -> None:
        self._read_at_s[peer] = self._core.now_s()
        try:
            reading = await self._core.dht.read_set(presence_key(peer), Presence)
        except NetworkTrouble:
            return
        if not reading.answered:
            return
        found: dict[DeviceId, tuple[Endpoint, ...]] = {}
        for record in reading.entries:
            body = record.body
            if isinstance(body, Presence):
                self.learn(record)  # type: ignore[arg-type]
                found[DeviceId(body.device)] = tuple(address.endpoint for address in body.addresses)
        self._found[peer] = found

    async def read_now(self, peer: PeerId) -> None:
        """Read somebody's presence because a user asks."""
        await self._read(peer)

    def learn(self, record: Signed[Presence]) -> None:
        """A presence record, read or announced."""
        peer, device = PeerId(record.key), DeviceId(record.body.device)
        found = self._found.setdefault(peer, {})
        if record.body.gone:
            found.pop(device, None)
        else:
            found[device] = tuple(address.endpoint for address in record.body.addresses)
        self._on_presence(record)
