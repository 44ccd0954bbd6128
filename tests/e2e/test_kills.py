"""Must-show 3 of issue 5: processes die at any moment, and nothing that was acknowledged dies with them."""

import asyncio
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from dhtchat.cli.peer_process import EventFields, PeerProcess, StepFailed
from tests.e2e.world import LOCALLY, READY_TIMEOUT_S, World, delivered, enter_room, hears, password_of

pytestmark = pytest.mark.process

NAMES = ("alice", "bob", "carol", "dave", "erin")
ROOM = "#r"
MEAN_PAUSE_S = 0.05
"""Between two lines, whoever says them: below what each author may say in the long run."""
BETWEEN_KILLS_S = (0.2, 2.0)
"""A start takes about a second, so that some die while they still come in, and sometimes several are away at once."""
PRIVATE_SHARE = 0.3
SETTLE_S = 60.0
HISTORY_LINES = 10_000
LOOK_AGAIN_S = 0.2


class Statement(NamedTuple):
    """One line on a disk, by its place in its author's chain and by its id."""

    conversation: bytes
    device: bytes
    counter: int
    id: bytes


class Talker:
    """Somebody with one data folder, and all lives of their process on it; the last one runs."""

    def __init__(self, first: PeerProcess) -> None:
        self.name = first.name
        self.lives = [first]

    @property
    def life(self) -> PeerProcess:
        return self.lives[-1]

    async def come_back(self, world: World) -> None:
        """Start again; returns while the process is still on its way in."""
        command = ("join", self.name, "--plain", *LOCALLY, *world.bootstrap, "--room", ROOM)
        self.lives.append(await world.start(self.name, *command, password=password_of(self.name)))

    def events(self, kind: str) -> list[EventFields]:
        """Of all lives."""
        return [event for life in self.lives for event in life.events if event["event"] == kind]

    def acknowledged(self) -> set[str]:
        """Lines of which a process of theirs has said that others have them, or keep them."""
        return {event["id"] for event in self.events("status") if event["state"] in ("delivered", "stored")}

    async def history(self, target: str) -> set[str]:
        """The lines of a talk as `/history` shows them."""
        self.life.say(f"/switch {target}" if target.startswith("#") else f"/query {target}")
        answer = await self.life.ask(f"/history {HISTORY_LINES}", "history")
        assert answer["target"] == target
        return {message["id"] for message in answer["messages"]}


async def test_ten_processes_die_while_people_talk(world: World, seed: int) -> None:
    """ "`kill -9` of random processes during talk, [...] real sockets and disk (10 in `make test`): no acknowledged
    message missing, none shown twice." """
    await die_while_people_talk(world, seed, kills=10)


@pytest.mark.soak
async def test_a_hundred_processes_die_while_people_talk(world: World, seed: int) -> None:
    """ "`kill -9` of random processes during talk, 100 times, real sockets and disk (`soak`): no acknowledged message
    missing, none shown twice." """
    await die_while_people_talk(world, seed, kills=100)


async def die_while_people_talk(world: World, seed: int, *, kills: int) -> None:
    """Method: everybody talks in a room and in private; a random process, the bootstrap node among them, gets SIGKILL at
    a random moment and starts again on the same data folder. Once nobody dies any more, all must agree."""
    rng = random.Random(seed)
    door = await world.open_door()
    port = int(world.address.rpartition(":")[2])
    peers = await world.join_all(*NAMES)
    await enter_room(ROOM, *peers)
    talkers = [Talker(peer) for peer in peers]

    talk = asyncio.create_task(talk_on(talkers, random.Random(f"{seed}/talk")))
    killed: list[str] = []
    try:
        for _ in range(kills):
            await asyncio.sleep(rng.uniform(*BETWEEN_KILLS_S))
            victim = rng.choice([None, *talkers])
            process = victim.life if victim else door
            assert process.running, f"{process.name} ended by itself: {process.lines[-3:]} {process.errors[-6:]}"
            await process.kill()
            killed.append(process.name)
            if victim:
                assert_word_was_kept(victim, talkers, world.folder)
                await victim.come_back(world)
            else:
                door = await world.open_door(port=port)
    finally:
        talk.cancel()
        await asyncio.wait([talk])
    said = sum(event["own"] for talker in talkers for event in talker.events("message"))
    print(f"seed {seed}: {said} lines said while these died: {', '.join(killed)}")

    for talker in talkers:
        await talker.life.wait_for_event("ready", timeout_s=READY_TIMEOUT_S)
        await talker.life.wait_for_event("joined", room=ROOM, user=talker.name, timeout_s=READY_TIMEOUT_S)
    await say_last_words(talkers)
    agreed = {talker.name: set[str]() for talker in talkers}
    for parties in [talkers, *([one, two] for n, one in enumerate(talkers) for two in talkers[n + 1 :])]:
        lines = await agree(parties)
        for talker in parties:
            agreed[talker.name] |= lines

    for talker in talkers:
        # All who are entitled to a line have the same lines of its talk, so that what its author has, they have.
        assert talker.acknowledged() - agreed[talker.name] == set(), f"{talker.name}: acknowledged and lost"
        shown = Counter(event["id"] for event in talker.events("message"))
        assert shown.keys() - agreed[talker.name] == set(), f"{talker.name}: shown and forgotten"
        assert [each for each, times in shown.items() if times > 1] == [], f"{talker.name}: shown twice"
        texts = Counter(event["text"] for event in talker.events("message"))
        assert [text for text, times in texts.items() if times > 1] == [], f"{talker.name}: said twice"
        assert talker.acknowledged(), "nothing was at stake"
    await asyncio.gather(*(talker.life.kill() for talker in talkers))
    assert_no_chain_forks(world.folder)


async def talk_on(talkers: list[Talker], rng: random.Random) -> None:
    """Until cancelled. What somebody types who is just being killed was never said."""
    number = 0
    while True:
        await asyncio.sleep(rng.expovariate(1 / MEAN_PAUSE_S))
        author, other = rng.sample(talkers, 2)
        number += 1
        line = f"line {number} of {author.name}"
        if author.life.running:
            author.life.say(f"/msg {other.name} {line}" if rng.random() < PRIVATE_SHARE else line)


async def say_last_words(talkers: list[Talker]) -> None:
    """One line each to everybody in each talk, heard and acknowledged. They follow all that their authors had seen."""
    for talker in talkers:
        talker.life.say(f"/switch {ROOM}")
        talker.life.say(f"last words of {talker.name}")
        for other in talkers:
            if other is not talker:
                talker.life.say(f"/msg {other.name} last words of {talker.name} to {other.name}")
    for talker in talkers:
        others = [other for other in talkers if other is not talker]
        public = [f"last words of {other.name}" for other in others]
        private = [f"last words of {other.name} to {talker.name}" for other in others]
        await hears(talker.life, public, kind="room", timeout_s=SETTLE_S)
        await hears(talker.life, private, kind="direct", timeout_s=SETTLE_S)
    for talker in talkers:
        await delivered(talker.life, f"last words of {talker.name}", delivered_to=len(talkers) - 1)


async def agree(parties: list[Talker]) -> set[str]:
    """Until all show the same history of what they say to each other: two people in private, all in the room."""

    def target(talker: Talker) -> str:
        return ROOM if len(parties) > 2 else next(other.name for other in parties if other is not talker)

    views: list[set[str]] = []
    try:
        async with asyncio.timeout(SETTLE_S):
            while True:
                views = [await talker.history(target(talker)) for talker in parties]
                if all(view == views[0] for view in views):
                    return views[0]
                await asyncio.sleep(LOOK_AGAIN_S)
    except TimeoutError:
        union = set().union(*views)
        lacking = {talker.name: len(union - view) for talker, view in zip(parties, views, strict=True)}
        raise StepFailed(f"of {len(union)} lines they lack: {lacking}") from None


def assert_word_was_kept(victim: Talker, talkers: list[Talker], folder: Path) -> None:
    """Right after a death: what they had shown, and what anybody had been told that they have, is on their disk."""
    told = {event["id"] for event in victim.events("message")}
    for author in talkers:
        private = {event["id"] for event in author.events("message") if event["recipient"] == victim.name}
        for event in author.events("status"):
            everybody = event.get("delivered_to") == len(talkers) - 1
            if event["state"] == "delivered" and (everybody or event["id"] in private):
                told.add(event["id"])
    # A copy: a connection that closes tidies up what the process will find when it starts again.
    scene = folder / f"{victim.name}.found"
    # Where the path is short, the control socket lies in the folder: the dead leave it behind, and no copy can be made.
    shutil.copytree(folder / victim.name, scene, ignore=shutil.ignore_patterns("*-shm", "*.sock"))
    missing = told - {statement.id.hex() for statement in statements_below(scene)}
    shutil.rmtree(scene)
    assert missing == set(), f"{victim.name} died and lacks {len(missing)} of {len(told)} lines"


def assert_no_chain_forks(folder: Path) -> None:
    """On all disks together, each place in each chain of statements is one statement's."""
    places: dict[tuple[bytes, bytes, int], set[bytes]] = {}
    for statement in statements_below(folder):
        places.setdefault(statement[:3], set()).add(statement.id)
    assert places
    assert [(device.hex()[:8], counter) for (_, device, counter), ids in places.items() if len(ids) > 1] == []


def statements_below(folder: Path) -> Iterable[Statement]:
    for path in sorted(folder.glob("**/history.db")):
        with closing(sqlite3.connect(path)) as database:
            yield from map(
                Statement._make, database.execute("SELECT conversation, device, counter, id FROM statements")
            )
