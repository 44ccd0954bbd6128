"""`dhtchat demo`: a bootstrap node and people as separate processes on this machine, every step checked and told."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from dhtchat.app.paths import make_folder
from dhtchat.chat.events import Event, MessageArrived, TopicChanged
from dhtchat.chat.markup import clean
from dhtchat.cli.peer_process import EventFields, PeerProcess, StepFailed
from dhtchat.cli.render import Renderer
from dhtchat.cli.running import run_until_done
from dhtchat.cli.terminal import BOLD, DIM, ERROR, Terminal, detect

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan")
_TIME_LIMIT_S = 60.0
_ROOM = "#lobby"
_GOOD = "\x1b[32m"


class _Person(NamedTuple):
    name: str
    password: str
    folder: Path


class _Story:
    """What the audience sees."""

    def __init__(self, terminal: Terminal, *, show_times: bool, quiet: bool) -> None:
        self._terminal = terminal
        self._show_times = show_times
        self._started_s = time.monotonic()
        self._quiet = quiet
        self._number = 0
        self.checked = 0

    def step(self, title: str) -> None:
        self._number += 1
        title += f"  ({time.monotonic() - self._started_s:.1f} s)" if self._show_times else ""
        self._print(f"\n{self._terminal.styled(f'{self._number}. {title}', BOLD)}")

    def checked_that(self, fact: str) -> None:
        self.checked += 1
        self._print(f"   {self._terminal.styled('ok', _GOOD)}  {fact}")

    def sees(self, who: str, event: EventFields) -> None:
        """A line as it stands on somebody's screen."""
        kinds: dict[str, type[Event]] = {"message": MessageArrived, "topic": TopicChanged}
        shown = msgspec.convert(
            {k: v for k, v in event.items() if k != "event"} | {"event": event["event"]}, kinds[event["event"]]
        )
        for line in Renderer(self._terminal, who).render(shown).splitlines():
            self._print(f"   {self._terminal.styled(f'{who:>6} sees |', DIM)} {line}")

    def failed(self, why: str) -> None:
        print(f"   {self._terminal.styled('FAILED', BOLD, ERROR)}  {clean(why)}", file=sys.stderr, flush=True)

    def told(self, text: str) -> None:
        self._print(text)

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)


def run_demo(peers: int, *, parent: Path | None, show_times: bool, quiet: bool) -> int:
    """Exit code 0 only if every step was seen to happen. Leaves no process and no file behind."""
    story = _Story(detect(sys.stdout), show_times=show_times, quiet=quiet)

    async def work() -> int:
        started_s = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="dhtchat-demo-", dir=make_folder(parent) if parent else None))
        demo = _Demo(story, folder, peers)
        try:
            async with asyncio.timeout(_TIME_LIMIT_S):
                await demo.play()
        except StepFailed as error:
            story.failed(str(error))
            return 1
        except TimeoutError:
            story.failed(f"not done within {_TIME_LIMIT_S:g} s")
            return 1
        finally:
            await demo.clear_away()
            shutil.rmtree(folder, ignore_errors=True)
        took_s = time.monotonic() - started_s
        story.told(f"\nAll {story.checked} checks passed in {took_s:.0f} s; nothing is left running.")
        program = _own_command()
        story.told(
            "Your turn. Type this in two terminals, answer what it asks, and talk with yourself: in the first one you"
        )
        story.told("begin a network (2), which the second one finds by itself; in each an account of its own.")
        story.told(f"    {program}")
        return 0

    return run_until_done(work())


def _own_command() -> str:
    """How the reader can start this program: the bare name only where the shell finds it."""
    if shutil.which("dhtchat"):
        return "dhtchat"
    started = Path(sys.argv[0]).absolute()
    return str(started.relative_to(Path.cwd())) if started.is_relative_to(Path.cwd()) else str(started)


class _Demo:
    """The play, scene by scene."""

    def __init__(self, story: _Story, folder: Path, peers: int) -> None:
        self._story = story
        self._folder = folder
        self._people = [_Person(name, f"{name}-sings-7-quiet-songs", folder / name) for name in NAMES[:peers]]
        self._running: list[PeerProcess] = []
        self._address = ""

    async def play(self) -> None:
        scenes: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("A bootstrap node opens the door", self._bootstrap),
            (f"{len(self._people)} people register and log in", self._register),
            ("What must be refused is refused", self._refusals),
            ("Everybody sees who is online", self._users),
            ("A room with a topic", self._room),
            ("Talk in the room", self._room_talk),
            ("Private talk", self._private_talk),
            ("One peer is killed, the others go on", self._kill),
            ("It comes back and has missed nothing", self._return),
            ("The bootstrap node is killed, nobody minds", self._without_bootstrap),
            ("Everybody leaves", self._leave),
        ]
        for title, scene in scenes:
            self._story.step(title)
            await scene()

    async def clear_away(self) -> None:
        await asyncio.gather(*(process.kill() for process in self._running))

    # --- scenes ---

    async def _bootstrap(self) -> None:
        arguments = ["bootstrap", "--host", "127.0.0.1", "--port", "0"]
        self._door = await self._start("bootstrap", arguments, self._folder / "bootstrap", None)
        ready = await self._door.wait_for_event("ready")
        self._address = ready["address"]
        self._story.checked_that(f"it listens on {self._address} (UDP), process {self._door.pid}")

    async def _register(self) -> None:
        self._peers = dict(
            zip(
                (person.name for person in self._people),
                await asyncio.gather(*(self._join(person, "--register") for person in self._people)),
                strict=True,
            )
        )
        for name, peer in self._peers.items():
            registered = await peer.wait_for_event("registered", timeout_s=40)
            await peer.wait_for_event("ready", timeout_s=40)
            self._story.checked_that(f"{name} is registered and online, fingerprint {registered['fingerprint']}")

    async def _refusals(self) -> None:
        first = self._people[0]
        other = "somebody-else-7-passwords"
        refusals = (
            ("a name that is taken", ["register", first.name], other, 5, "name-taken"),
            ("a weak password", ["register", "zoe"], "password123", 6, "weak-password"),
            ("a wrong password", ["join", first.name, "--plain"], other, 4, "wrong-password"),
            ("a name that nobody has", ["join", "nobody-here", "--plain"], other, 4, "no-such-account"),
        )
        for number, (what, arguments, password, code, word) in enumerate(refusals):
            folder = self._folder / f"refused-{number}"
            process = await self._start(what, [*arguments, "--bootstrap", self._address], folder, password)
            seen = await process.exit_code()
            error = next((event for event in process.events if event["event"] == "error"), None)
            if seen != code or error is None or error["code"] != word:
                raise StepFailed(f"{what}: exit code {seen} and {error}, expected {code} and {word}")
            self._story.checked_that(f'{what}: exit code {code}, "{clean(error["message"])}"')

    async def _users(self) -> None:
        everybody = sorted(self._peers)
        for name, peer in self._peers.items():
            await self._until_users(peer, everybody)
            self._story.checked_that(f"{name} sees {', '.join(everybody)}")

    async def _room(self) -> None:
        first, *others = self._peers.values()
        first.say(f"/join {_ROOM} drop in and say **hello**")
        await first.wait_for_event("joined", room=_ROOM, user=first.name)
        await first.wait_for_event("topic", room=_ROOM)
        for peer in others:
            peer.say(f"/join {_ROOM}")
            await peer.wait_for_event("joined", room=_ROOM, user=peer.name)
            await first.wait_for_event("joined", room=_ROOM, user=peer.name)
            topic = await peer.wait_for_event("topic", room=_ROOM, topic="drop in and say **hello**")
            self._story.checked_that(f"{peer.name} came in, {first.name} noticed")
            self._story.sees(peer.name, topic)
        rooms = await others[0].ask("/rooms", "rooms")
        if [room["name"] for room in rooms["rooms"]] != [_ROOM]:
            raise StepFailed(f"/rooms shows {rooms['rooms']}")
        self._story.checked_that(f"/rooms lists {_ROOM} with {rooms['rooms'][0]['members']} members")

    async def _room_talk(self) -> None:
        lines = {name: f"hello from {name}, in **bold** and *italics*" for name in self._peers}
        for name, text in lines.items():
            self._peers[name].say(text)
        for peer in self._peers.values():
            for name, text in lines.items():
                await peer.wait_for_event("message", room=_ROOM, sender=name, text=text)
        audience = next(iter(self._peers.values()))
        for message in audience.messages(room=_ROOM):
            self._story.sees(audience.name, message)
        for peer in self._peers.values():
            mine = peer.messages(room=_ROOM, own=True)[0]
            await peer.wait_for_event("status", id=mine["id"], state="delivered", delivered_to=len(self._peers) - 1)
            self._exactly_once(peer, [*lines.values()])
        self._story.checked_that("every line reached everybody exactly once and is acknowledged by all")

    async def _private_talk(self) -> None:
        alice, bob, *others = self._peers.values()
        secret = "just between us: https://example.org/~bob"
        alice.say(f"/msg {bob.name} {secret}")
        seen = await bob.wait_for_event("message", kind="direct", sender=alice.name, text=secret)
        await alice.wait_for_event("status", id=seen["id"], state="delivered")
        self._story.sees(bob.name, seen)
        answer = "got it"
        bob.say(f"/msg {alice.name} {answer}")
        self._story.sees(alice.name, await alice.wait_for_event("message", kind="direct", text=answer, own=False))
        if any(other.messages(kind="direct") for other in others):
            raise StepFailed("a private line reached somebody else")
        self._story.checked_that("both lines arrived, and nobody else has seen them")

    async def _kill(self) -> None:
        alice, bob, carol, *_ = self._peers.values()
        await bob.kill()
        await alice.wait_for_event("presence", user=bob.name, online=False, timeout_s=30)
        self._story.checked_that(f"{bob.name} got SIGKILL; {alice.name} sees that {bob.name} is gone")
        self._missed = [f"line {number}, while {bob.name} is away" for number in range(1, 6)]
        for text in self._missed:
            carol.say(text)
        for text in self._missed:
            await alice.wait_for_event("message", sender=carol.name, text=text)
        self._private = f"for {bob.name}, for later"
        alice.say(f"/msg {bob.name} {self._private}")
        waiting = await alice.wait_for_event("message", kind="direct", text=self._private)
        await alice.wait_for_event("status", id=waiting["id"], state="queued")
        self._story.checked_that(f"{len(self._missed)} lines in the room and a private one wait for {bob.name}")

    async def _return(self) -> None:
        alice, bob, *_ = self._peers.values()
        person = next(person for person in self._people if person.name == bob.name)
        again = self._peers[bob.name] = await self._join(person, "--room", _ROOM)
        await again.wait_for_event("ready")
        for text in self._missed:
            await again.wait_for_event("message", room=_ROOM, text=text, timeout_s=30)
        private = await again.wait_for_event("message", kind="direct", text=self._private, timeout_s=30)
        await alice.wait_for_event("status", id=private["id"], state="delivered")
        self._exactly_once(again, [*self._missed, self._private])
        order = [m["text"] for m in again.messages(room=_ROOM) if m["text"] in self._missed]
        if order != self._missed:
            raise StepFailed(f"{bob.name} got the missed lines in another order: {order}")
        for message in again.messages():
            self._story.sees(bob.name, message)
        self._story.checked_that(f"{bob.name} has every line once and in order; {alice.name} sees hers delivered")

    async def _without_bootstrap(self) -> None:
        await self._door.kill()
        first, *others = self._peers.values()
        text = "the door is gone and we are still here"
        first.say(text)
        for peer in others:
            await peer.wait_for_event("message", room=_ROOM, text=text)
        self._story.sees(others[0].name, others[0].messages(room=_ROOM, text=text)[0])
        self._story.checked_that("talk goes on without any bootstrap node")

    async def _leave(self) -> None:
        *leaving, last = self._peers.values()
        for peer in leaving:
            peer.say("/quit")
            if await peer.exit_code() != 0:
                raise StepFailed(f"{peer.name} did not leave in good order: {peer.errors[-3:]}")
            await last.wait_for_event("presence", user=peer.name, online=False)
        await self._until_users(last, [last.name])
        self._story.checked_that(f"{last.name} saw the others go")
        last.end_input()
        if await last.exit_code() != 0:
            raise StepFailed(f"{last.name} did not leave in good order: {last.errors[-3:]}")
        self._story.checked_that("all processes have ended with exit code 0")

    # --- helpers ---

    async def _start(self, name: str, arguments: list[str], folder: Path, password: str | None) -> PeerProcess:
        process = await PeerProcess.start(name, arguments, data_dir=folder, password=password)
        self._running.append(process)
        return process

    async def _join(self, person: _Person, *options: str) -> PeerProcess:
        arguments = ["join", person.name, "--plain", "--host", "127.0.0.1", "--bootstrap", self._address, *options]
        return await self._start(person.name, arguments, person.folder, person.password)

    @staticmethod
    async def _until_users(peer: PeerProcess, expected: list[str]) -> None:
        """Ask until the list is as expected: a directory takes a moment to hear of everybody."""
        names: list[str] = []
        for _ in range(20):
            answer = await peer.ask("/users", "users")
            names = [user["name"] for user in answer["users"]]
            if names == expected:
                return
            await asyncio.sleep(0.25)
        raise StepFailed(f"{peer.name} sees {names} online, expected {expected}")

    @staticmethod
    def _exactly_once(peer: PeerProcess, texts: list[str]) -> None:
        for text in texts:
            count = len(peer.messages(text=text))
            if count != 1:
                raise StepFailed(f"{peer.name} was shown {text!r} {count} times")
