"""What the assistant asks the network: each question is a short visit, so that between them nothing runs while somebody types."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from dhtchat.app import accounts
from dhtchat.app.client import visit
from dhtchat.app.paths import last_login, network_folder, profile_folder
from dhtchat.app.settings import Settings
from dhtchat.cli.running import interrupts_held, loop_factory
from dhtchat.errors import TooFewAnswered
from dhtchat.ids import NodeAddress, fingerprint
from dhtchat.limits import LISTINGS_READ_MAX, ROOMS_OFFERED_MAX
from dhtchat.records.account import account_key
from dhtchat.records.listing import ROOMS, RoomListing
from dhtchat.records.tree import names_between
from dhtchat.runtime import real_runtime

T = TypeVar("T")


class Found(NamedTuple):
    """`via`: as in the event `ready`; `address`: of one node that answered."""

    via: str
    address: NodeAddress


class FirstSteps:
    """`settings` know the way in once it is found. Every method raises `NetworkTrouble` when nobody answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def find(self, given: NodeAddress | None = None) -> Found:
        """Look for the network at an address, or without one where `join` would."""
        settings = self.settings
        if given is not None:
            settings = msgspec.structs.replace(settings, bootstrap=(given,))

        async def work() -> Found:
            async with visit(settings, real_runtime(), memory=_memory(settings)) as visited:
                self.settings = msgspec.structs.replace(settings, bootstrap=tuple(visited.through))
                return Found(visited.via, visited.through[0])

        return _run(work())

    def is_taken(self, name: str) -> bool:
        """Whether somebody owns a folded name."""

        async def work() -> bool:
            async with visit(self.settings, real_runtime()) as visited:
                reading = await visited.dht.read_claims(account_key(name))
            if reading.owner is None and not reading.decision.certain:
                raise TooFewAnswered(f"too few nodes answered to find out whose name {name} is")
            return reading.owner is not None

        return _run(work())

    def register(self, name: str, password: str) -> str:
        """Create the account; returns its fingerprint. Raises `NameTaken` too: somebody may have been quicker."""
        runtime = real_runtime()

        async def work() -> str:
            async with visit(self.settings, runtime) as visited:
                account = await accounts.register(
                    visited.dht, name, password, parameters=self.settings.parameters, runtime=runtime
                )
            return fingerprint(account.peer)

        return _run(work())

    def rooms(self) -> list[str]:
        """Names of rooms that are listed, those that most people list first. Only a hint: who enters one asks whose it is."""

        async def work() -> list[str]:
            async with visit(self.settings, real_runtime()) as visited:
                reading = await visited.dht.trees.read_range(ROOMS, *names_between(""), LISTINGS_READ_MAX)
            listed_by: defaultdict[str, set[bytes]] = defaultdict(set)
            for entry in reading.entries:
                if isinstance(entry.body, RoomListing) and not entry.body.gone:
                    listed_by[entry.body.name].add(entry.key)
            return sorted(listed_by, key=lambda name: (-len(listed_by[name]), name))[:ROOMS_OFFERED_MAX]

        return _run(work())


def _memory(settings: Settings) -> Path | None:
    """Of whoever was here last: the network is the same for everybody."""
    last = last_login(settings.data_dir, settings.parameters)
    if last is None:
        return None
    return profile_folder(network_folder(settings.data_dir, settings.parameters), last[0]) / "device-1" / "nodes.json"


def _run(body: Coroutine[Any, Any, T]) -> T:
    """To its end. Ctrl-C cancels it, and is raised as `KeyboardInterrupt` when all is cleared away."""
    with interrupts_held() as release, asyncio.Runner(loop_factory=loop_factory()) as runner:

        async def started() -> T:
            release()
            return await body

        return runner.run(started())
