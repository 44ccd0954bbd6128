"""A network of real processes on this machine: real UDP, real TLS, real signals. Leaving the block kills what is left."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from dhtchat.app.settings import BOOTSTRAP_VARIABLE
from dhtchat.cli.peer_process import EventFields, PeerProcess, StepFailed

T = TypeVar("T")
CHEAP_NETWORK = """\
name = "e2e"
kdf_memory_kib = 8
kdf_passes = 1
kdf_lanes = 1
proof_of_work_bits = 0
room_proof_of_work_bits = 0
"""
"""Accounts and rooms that cost nothing; all else as in `main`."""
LOCALLY = ("--host", "127.0.0.1")
READY_TIMEOUT_S = 90.0
TALK_TIMEOUT_S = 60.0
_ASK_AGAIN_S = 0.1
_LAST_LINES = 60
_SIGNS_OF_A_BUG = ("Traceback", "was never retrieved", "was destroyed but", "is not JSON", "an action after a commit")
"""What must not stand on standard error, whatever a test is about."""


def password_of(name: str) -> str:
    return f"{name} hums 9 violet tunes"


class Ended(NamedTuple):
    """A command that has come to its end."""

    arguments: tuple[str, ...]
    code: int
    events: list[EventFields]
    lines: list[str]
    errors: list[str]

    @property
    def error(self) -> EventFields:
        """The one error object it printed."""
        [error] = [event for event in self.events if event["event"] == "error"]
        return error


class World:
    """Starts processes below one folder. `address`: of the bootstrap process, once it is open."""

    def __init__(self, folder: Path, network: str | None = CHEAP_NETWORK) -> None:
        self.folder = folder
        self.address = ""
        self.door: PeerProcess
        self.network = "main"
        self._processes: list[PeerProcess] = []
        if network is not None:
            file = folder / "network.toml"
            file.write_text(network, encoding="utf-8")
            self.network = str(file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(process.kill() for process in self._processes))

    def assert_no_bug_was_met(self) -> None:
        """No traceback on anybody's standard error, none kept in a file."""
        said = [
            f"{process.name}: {line}"
            for process in self._processes
            for line in process.errors
            if any(sign in line for sign in _SIGNS_OF_A_BUG)
        ]
        kept = [report.read_text("utf-8") for report in self.folder.rglob("bug-*.txt")]
        assert not said + kept

    def last_words(self) -> list[tuple[str, str]]:
        """What each process said, the end of it, under a title."""
        return [
            (
                f"{process.name}, process {process.pid}",
                "\n".join(
                    [*process.lines[-_LAST_LINES:], *(f"stderr: {line}" for line in process.errors[-_LAST_LINES:])]
                ),
            )
            for process in self._processes
        ]

    # --- processes ---

    async def start(
        self,
        name: str,
        *arguments: str,
        folder: str | None = None,
        password: str | None = None,
        json: bool = True,
        module: str = "dhtchat",
        **environment: str,
    ) -> PeerProcess:
        """Any command with this network's options. `folder`: whose data folder; default: `name`'s own."""
        process = await PeerProcess.start(
            name,
            [*arguments, "--network", self.network],
            data_dir=self.folder / (folder or name),
            password=password,
            json=json,
            module=module,
            environment={BOOTSTRAP_VARIABLE: "", **environment},
        )
        self._processes.append(process)
        return process

    async def run(
        self,
        *arguments: str,
        folder: str = "visitor",
        password: str | None = None,
        json: bool = True,
        timeout_s: float = READY_TIMEOUT_S,
        **environment: str,
    ) -> Ended:
        """A command that ends by itself, on its end."""
        process = await self.start(
            " ".join(arguments[:2]), *arguments, folder=folder, password=password, json=json, **environment
        )
        process.end_input()
        code = await process.exit_code(timeout_s=timeout_s)
        return Ended(arguments, code, process.events, process.lines, process.errors)

    async def open_door(self, *options: str, port: int = 0, **environment: str) -> PeerProcess:
        """The bootstrap process."""
        arguments = ("bootstrap", *LOCALLY, "--port", str(port), *options)
        self.door = await self.start("bootstrap", *arguments, **environment)
        ready = await self.door.wait_for_event("ready", timeout_s=READY_TIMEOUT_S)
        self.address = ready["address"]
        return self.door

    @property
    def bootstrap(self) -> tuple[str, str]:
        """The option that names the bootstrap process."""
        return ("--bootstrap", self.address)

    async def join(
        self,
        name: str,
        *options: str,
        register: bool = True,
        bootstrap: bool = True,
        folder: str | None = None,
        password: str | None = None,
        json: bool = True,
        **environment: str,
    ) -> PeerProcess:
        """Somebody's chat, once it is ready; by default somebody new."""
        arguments = ["join", name, "--plain", *LOCALLY, *options]
        arguments += self.bootstrap if bootstrap else ()
        arguments += ["--register"] if register else ()
        peer = await self.start(
            name, *arguments, folder=folder, password=password or password_of(name), json=json, **environment
        )
        if json:
            await peer.wait_for_event("ready", timeout_s=READY_TIMEOUT_S)
        else:
            await wait_for_line(peer, f"-- online as {name}")
        return peer

    async def join_all(self, *names: str, options: Sequence[str] = ()) -> list[PeerProcess]:
        return list(await asyncio.gather(*(self.join(name, *options) for name in names)))


# --- what tests wait for ----------------------------------------------------------------------------------------------


async def wait_for_line(peer: PeerProcess, text: str, *, timeout_s: float = TALK_TIMEOUT_S, after: int = 0) -> str:
    """The first line of text mode that contains `text`."""

    def found() -> list[str]:
        return [line for line in peer.lines[after:] if text in line]

    await peer.wait_until(f"a line with {text!r}", lambda: bool(found()), timeout_s=timeout_s)
    return found()[0]


async def answers(
    peer: PeerProcess,
    question: str,
    event: str,
    read: Callable[[EventFields], T],
    expected: T,
    *,
    timeout_s: float = TALK_TIMEOUT_S,
) -> EventFields:
    """Ask again and again until what `read` takes from the answer is as expected; returns that answer."""
    seen: T | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                answer = await peer.ask(question, event, timeout_s=timeout_s)
                seen = read(answer)
                if seen == expected:
                    return answer
                await asyncio.sleep(_ASK_AGAIN_S)
    except TimeoutError:
        raise StepFailed(f"{peer.name}: {question} shows {seen} after {timeout_s:g} s, not {expected}") from None


async def sees_online(peer: PeerProcess, names: Iterable[str], *, timeout_s: float = TALK_TIMEOUT_S) -> None:
    """Until `/users` shows exactly these."""
    await answers(peer, "/users", "users", listed_names("users"), sorted(names), timeout_s=timeout_s)


async def sees_members(
    peer: PeerProcess, room: str, names: Iterable[str], *, timeout_s: float = TALK_TIMEOUT_S
) -> None:
    """The same with `/names`."""
    await answers(peer, f"/names {room}", "names", listed_names("members"), sorted(names), timeout_s=timeout_s)


def listed_names(field: str) -> Callable[[EventFields], list[str]]:
    """Reads the names from a list of people or rooms."""
    return lambda answer: [entry["name"] for entry in answer[field]]


async def enter_room(room: str, *peers: PeerProcess) -> None:
    """All of them, the first creates it; done when everybody sees everybody in it."""
    first, *others = peers
    first.say(f"/join {room}")
    await first.wait_for_event("joined", room=room, user=first.name)
    for peer in others:
        peer.say(f"/join {room}")
    await asyncio.gather(*(sees_members(peer, room, {p.name for p in peers}) for peer in peers))


async def hears(peer: PeerProcess, texts: Iterable[str], *, timeout_s: float = TALK_TIMEOUT_S, **fields: str) -> None:
    """Until each of these texts has been shown at least once, in messages with these fields."""
    missing = set(texts)
    looked_at = 0

    def heard_all() -> bool:
        nonlocal looked_at
        for event in peer.events[looked_at:]:
            if event["event"] == "message" and all(event[key] == value for key, value in fields.items()):
                missing.discard(event["text"])
        looked_at = len(peer.events)
        return not missing

    try:
        await peer.wait_until("all lines", heard_all, timeout_s=timeout_s)
    except StepFailed as failure:
        raise StepFailed(
            f"{peer.name} has not heard {sorted(missing)[:5]} ({len(missing)} in all); {failure}"
        ) from None


async def delivered(peer: PeerProcess, text: str, **fields: int) -> None:
    """Until a line of one's own has the status `delivered` with these fields."""
    line = await peer.wait_for_event("message", own=True, text=text)
    await peer.wait_for_event("status", id=line["id"], state="delivered", **fields)


def texts(peer: PeerProcess, **fields: str | bool | None) -> list[str]:
    return [message["text"] for message in peer.messages(**fields)]


def assert_each_once(peer: PeerProcess, expected: Iterable[str], **fields: str | bool | None) -> None:
    """Exactly these lines were shown, each once, in any order."""
    assert Counter(texts(peer, **fields)) == Counter(dict.fromkeys(expected, 1)), peer.name


async def leaves(peer: PeerProcess, *, by: str = "/quit") -> None:
    """Says goodbye and ends with 0."""
    peer.say(by)
    assert await peer.exit_code() == 0, peer.errors


def free_tcp_port() -> int:
    """One that nobody listens on right now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_ipv6() -> bool:
    """Whether this machine has a loopback of that family."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def silent_udp_socket() -> socket.socket:
    """Somebody who is there and never answers: close it after use."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    return silent


def address_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()
    return f"{host}:{port}"
