"""The full screen on a real terminal: how soon a key is on it, beside a screen on which nothing stands; then a whole peer with the
screen of a long talk: its memory, and what it costs when nothing happens. Goals: p95 50 ms, 120 MiB, 0.5 % of a core.

A terminal stands for nothing here: what is measured ends when the bytes have left for it.
"""

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dhtchat.chat import events
from dhtchat.chat.events import MessageArrived, StatusChanged
from dhtchat.chat.intents import OpenQuery, SayTo
from tests.benchmarks.figures import Figure
from tests.benchmarks.talking.ends import FarEnd
from tests.benchmarks.talking.ours import come_online, peer_at
from tests.e2e.pseudo_terminal import PseudoTerminal
from tests.tui.playing import playing
from tests.tui.screens import line

LINES = 10_000
MEMBERS = 500
PRESSES = 200
PAGES = 60
IDLE_S = 60.0
_ROWS, _COLUMNS = 40, 120
_PAUSE_S = 0.03
"""Between two keys: somebody who types fast."""
_SETTLE_S = 12.0
_IN_FLIGHT = 64
_PASSWORD = "mokita-luberi-sapodu-venika"
_WORDS = [
    "who",
    "keeps",
    "what",
    "was",
    "said",
    "keeps",
    "it",
    "for",
    "all",
    "and",
    "nobody",
    "has",
    "to",
    "ask",
    "a",
    "machine",
    "that",
    "is",
    "not",
    "theirs",
    "for",
    "it",
]


def measure() -> Iterator[Figure]:
    return iter(asyncio.run(_measured()))


async def _measured() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        small, _ = await _keys(Path(folder), 5, 3)
        keys, pages = await _keys(Path(folder), LINES, MEMBERS)
        whole = await _whole_peer(Path(folder))
    of = f"{LINES:,} lines, {MEMBERS} members"
    return [
        Figure(f"a key until it is on the screen, p50 ({of})", _at(keys, 0.5), "ms", "5 lines", _at(small, 0.5)),
        Figure(f"a key until it is on the screen, p95 ({of})", _at(keys, 0.95), "ms", "5 lines", _at(small, 0.95)),
        Figure(f"a page back, p50 ({of})", _at(pages, 0.5), "ms"),
        Figure(f"a page back, p95 ({of})", _at(pages, 0.95), "ms"),
        *whole,
    ]


def _at(times_s: list[float], share: float) -> float:
    return 1000 * sorted(times_s)[int(share * len(times_s))]


async def _keys(folder: Path, lines: int, members: int) -> tuple[list[float], list[float]]:
    """In seconds, of letters and of pages."""
    source = random.Random(1)
    names = [f"member{number:03}" for number in range(members)]
    told = [
        events.TargetChanged(target="#lobby"),
        events.Names(
            room="#lobby",
            members=[
                events.MemberEntry(name=name, role="speaker", online=bool(at % 3)) for at, name in enumerate(names)
            ],
        ),
        *(
            line(" ".join(source.choices(_WORDS, k=source.randint(2, 30))), source.choice(names), number=n, minute=1)
            for n in range(1, lines)
        ),
        line("this is the last line", number=lines, minute=2),
    ]
    async with playing(folder, told, rows=_ROWS, columns=_COLUMNS) as terminal:
        await terminal.shows("this is the last line", timeout_s=120)
        await asyncio.sleep(_SETTLE_S)
        keys = [await _press(terminal, "abcdefghij"[n % 10], "abcdefghij"[n % 10]) for n in range(PRESSES)]
        pages = [await _press(terminal, "\x1b[5~", "") for _ in range(PAGES)] if lines > _ROWS else []
    return keys, pages


async def _press(terminal: PseudoTerminal, key: str, shows: str) -> float:
    """Seconds until that, or anything, is written."""
    before = len(terminal.shown)
    began = time.perf_counter()
    terminal.type(key)
    async with asyncio.timeout(10):
        while len(terminal.shown) == before or shows not in terminal.shown[before:]:
            terminal.news.clear()
            await terminal.news.wait()
    took_s = time.perf_counter() - began
    await asyncio.sleep(_PAUSE_S)
    return took_s


async def _whole_peer(folder: Path) -> list[Figure]:
    """`dhtchat join` as people run it, to whom LINES lines were said in private."""
    door = await FarEnd.start("ours", role="door")
    network = ("--network", "sim", "--bootstrap", door.hello["address"], "--host", "127.0.0.1")
    arguments = ("join", "alice", "--register", *network)
    async with (
        PseudoTerminal(*arguments, data_dir=folder / "alice", rows=_ROWS, columns=_COLUMNS) as terminal,
        peer_at(folder / "bob", door.hello["address"]) as bob,
    ):
        for question in ("New password: ", "The same again: "):
            await terminal.shows(question)
            terminal.type(f"{_PASSWORD}\n")
        await terminal.shows("online as alice", timeout_s=60)
        empty_mib = _memory_mib(terminal.pid)
        delivered = asyncio.Semaphore(_IN_FLIGHT)
        done = asyncio.Event()
        reader = asyncio.create_task(_count(bob.events(), delivered, done))
        await come_online(bob, "bob")
        await bob.perform(OpenQuery("alice"))
        for number in range(LINES):
            await delivered.acquire()
            await bob.perform(SayTo(f"line {number} {' '.join(_WORDS[: number % 20])}"))
        await done.wait()
        terminal.type("/query bob\r")
        await terminal.shows(f"line {LINES - 1}")
        await asyncio.sleep(_SETTLE_S)
        keys = [await _press(terminal, "abcdefghij"[n % 10], "abcdefghij"[n % 10]) for n in range(PRESSES)]
        await asyncio.sleep(_SETTLE_S)
        memory_mib, before_s = _memory_mib(terminal.pid), _cpu_s(terminal.pid)
        await asyncio.sleep(IDLE_S)
        idle_percent = 100 * (_cpu_s(terminal.pid) - before_s) / IDLE_S
        reader.cancel()
    await door.stop()
    return [
        Figure(f"a key until it is on the screen, whole peer, {LINES:,} private lines, p95", _at(keys, 0.95), "ms"),
        Figure(f"memory of a peer with the screen, {LINES:,} private lines", memory_mib, "MiB", "none yet", empty_mib),
        Figure("CPU of it when nothing happens", idle_percent, "% of a core"),
    ]


async def _count(told: object, delivered: asyncio.Semaphore, done: asyncio.Event) -> None:
    left = LINES
    async for event in told:  # type: ignore[attr-defined]
        if isinstance(event, StatusChanged) and event.state == "delivered":
            delivered.release()
            left -= 1
            if not left:
                done.set()
        assert not isinstance(event, MessageArrived) or event.own


def _memory_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
