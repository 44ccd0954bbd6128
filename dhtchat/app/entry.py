"""Getting into a network: which nodes are tried, in which order, and what is remembered of those that answered."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from dhtchat.app import neighbourhood
from dhtchat.app.remembered import load_remembered, save_remembered
from dhtchat.app.settings import LOCAL_NODE, Settings
from dhtchat.dht.node import BootstrapReport, DhtNode
from dhtchat.errors import NoBootstrapAnswered
from dhtchat.ids import Endpoint, NodeAddress, is_ip_address
from dhtchat.limits import BOOTSTRAP_ADDRESSES_MAX, CONTACTS_FEW, CONTACTS_SAVE_AGAIN_S, CONTACTS_SAVE_DELAY_S
from dhtchat.runtime import Runtime

log = logging.getLogger(__name__)


class Entry:
    """The way in and its memory. `path`: the file with remembered nodes, or None to remember nothing."""

    def __init__(self, dht: DhtNode, settings: Settings, runtime: Runtime, path: Path | None) -> None:
        self._dht = dht
        self._settings = settings
        self._runtime = runtime
        self._path = path
        self._remembered = _load_all(path) if path else []
        self._dirty = asyncio.Event()
        self.observed: Endpoint | None = None
        """Our own address as others see it."""
        self.answered: Sequence[NodeAddress] = ()
        """Through whom we came in."""
        dht.on_contacts_changed = self._dirty.set

    def known(self) -> Sequence[NodeAddress]:
        """Given ones and remembered ones."""
        return tuple(dict.fromkeys([*self._settings.bootstrap, *self._remembered]))

    def candidates(self) -> Sequence[NodeAddress]:
        """Those given; else those remembered, and this machine: who we remember may all be gone."""
        if self._settings.bootstrap:
            return self.known()
        return (*self.known()[: BOOTSTRAP_ADDRESSES_MAX - 1], LOCAL_NODE)

    async def enter(self) -> str:
        """Join the network; how: `bootstrap`, `remembered`, `local` or `lan`. Raises `NoBootstrapAnswered`."""
        around = False
        try:
            report = await self._dht.bootstrap(self.candidates())
        except NoBootstrapAnswered as error:
            if self._settings.bootstrap:
                raise
            around, report = True, await self._look_around(error)
        self.observed = report.observed or self.observed
        self.answered = report.answered
        if around:
            return "lan"
        if any(address in self._settings.bootstrap for address in report.answered):
            return "bootstrap"
        return "remembered" if any(address in self._remembered for address in report.answered) else "local"

    async def _look_around(self, silence: NoBootstrapAnswered) -> BootstrapReport:
        """Ask in the local network. Raises `silence`, or a fuller one, if nobody is there either."""
        settings = self._settings
        silence.hint = "Name a node with --bootstrap HOST:PORT, or start one with 'dhtchat bootstrap'."
        announced = await neighbourhood.search(settings.parameters.network_id, settings.interfaces)
        if not announced:
            raise silence
        try:
            return await self._dht.bootstrap(announced)
        except NoBootstrapAnswered as error:
            raise NoBootstrapAnswered([*silence.tried, *announced], why=error.why, hint=silence.hint) from None

    async def remember(self) -> None:
        """Until cancelled: keep the file as fresh as the contacts are, while they are few; later there is no hurry."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            few = len(self._remembered) < CONTACTS_FEW
            await asyncio.sleep(CONTACTS_SAVE_DELAY_S if few else CONTACTS_SAVE_AGAIN_S)
            await self.save()

    async def save(self) -> None:
        if self._path is None:
            return
        # The addresses a user gave are worth more than those of people who come and go.
        given = [address.endpoint for address in self._settings.bootstrap if is_ip_address(address.endpoint.host)]
        endpoints = list(dict.fromkeys([*(contact.endpoint for contact in self._dht.contacts()), *given]))
        with contextlib.suppress(OSError):  # only a memory; the disk being full is told by the journal
            await self._runtime.run_blocking(save_remembered, self._path, endpoints)
        if endpoints:
            self._remembered = [NodeAddress(endpoint, None) for endpoint in endpoints]


def _load_all(path: Path) -> list[NodeAddress]:
    """What this device remembers, and then what the other devices of the same profile do."""
    others = sorted(other for other in path.parent.parent.glob(f"device-*/{path.name}") if other != path)
    return list(dict.fromkeys(address for each in (path, *others) for address in load_remembered(each)))
