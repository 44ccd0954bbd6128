"""What the assistant asks the network: each question is a short visit, so that between them nothing runs while somebody types."""

import asyncio
import contextlib
import subprocess
import sys
from collections import defaultdict
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from dhtchat.app import accounts
from dhtchat.app.client import visit
from dhtchat.app.event_lines import decode_event
from dhtchat.app.neighbourhood import own_address
from dhtchat.app.paths import last_login, network_folder, profile_folder
from dhtchat.app.settings import Settings
from dhtchat.chat.events import ErrorShown, Ready
from dhtchat.cli.peer_process import die_with_parent
from dhtchat.cli.running import interrupts_held, loop_factory
from dhtchat.errors import NetworkTrouble, NoBootstrapAnswered, TooFewAnswered, error_of
from dhtchat.ids import Endpoint, NodeAddress, fingerprint, parse_endpoint
from dhtchat.limits import BOOTSTRAP_PORT, LISTINGS_READ_MAX, ROOMS_OFFERED_MAX
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
    """`settings` know the way in once it is found. Every method raises `NetworkTrouble` when nobody answers. Use as a context
    manager: a door that was opened is closed with it."""

    def __init__(self, settings: Settings, network: str, *, door_port: int = BOOTSTRAP_PORT) -> None:
        """`network`: as on the command line."""
        self.settings = settings
        self._network = network
        self._door_port = door_port
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open_door(self) -> Found:
        """Start a bootstrap node on this machine, and come in through it. It ends when we do. Raises what it says if it cannot."""
        settings = self.settings
        command = [sys.executable, "-m", "dhtchat", "bootstrap", "--json", "--port", str(self._door_port)]
        command += ["--data-dir", str(settings.data_dir), "--network", self._network]
        command += ["--host", settings.host] if settings.host else []
        command += ["--no-lan"] if settings.interfaces == () else []
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the Ctrl-C of a terminal is ours alone
            preexec_fn=die_with_parent,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        event = decode_event(process.stdout.readline())
        if isinstance(event, ErrorShown):
            raise error_of(event.code, event.message, event.hint)
        if not isinstance(event, Ready):
            raise NetworkTrouble("the node on this machine did not start", hint="See what 'dhtchat bootstrap' says.")
        # As in `find`, by the address that others use.
        port = parse_endpoint(event.address).port
        for host in dict.fromkeys([settings.host or own_address(), "127.0.0.1"]):
            with contextlib.suppress(NoBootstrapAnswered):
                return self.find(NodeAddress(Endpoint(host, port), None))
        raise NetworkTrouble("the node on this machine does not answer", hint="Is UDP allowed on this machine?")

    # The first node that answers tells us what our own address is, and that is what others are told. So a node on this machine
    # is asked by the address that others have for it, not as 127.0.0.1, where that works.

    def find(self, given: NodeAddress | None = None) -> Found:
        """Look for the network at an address, or without one where `join` would."""
        found = self._look(given)
        if found.via == "local" and self.settings.host is None:
            port = found.address.endpoint.port
            with contextlib.suppress(NoBootstrapAnswered):  # a node that listens at 127.0.0.1 alone
                return Found("local", self._look(NodeAddress(Endpoint(own_address(), port), None)).address)
        return found

    def _look(self, given: NodeAddress | None) -> Found:
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
