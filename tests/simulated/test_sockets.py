"""The same scenarios with real UDP and TLS in several processes: held against virtual time, put under stress, cut off."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dhtchat.errors import BadUsage
from simulations.runner import run_scenario
from simulations.scenarios import SCENARIOS, WITH_SOCKETS, steady_chat, stress
from simulations.sockets import SocketWorld, WorkerFailed, play_with_sockets, run_with_sockets
from simulations.stage import Stage
from tests.e2e.proc import ONLY_LINUX, processes_that_mention

pytestmark = pytest.mark.process

WORKER = "simulations.socket_worker"
ROOT = Path(__file__).resolve().parents[2]


# --- held against virtual time ----------------------------------------------------------------------------------------


def agree(nodes: int, seed: int) -> None:
    """Both deliver everything; a lookup costs the same within a fifth."""
    virtual = run_scenario(steady_chat, nodes=nodes, seed=seed)
    real = run_with_sockets(steady_chat, nodes=nodes, seed=seed)
    for result in (virtual, real):
        assert result.violations == []
        assert result.messages.sent > 0
        assert result.messages.lost == result.messages.duplicates == 0
        assert result.messages.delivered == result.messages.expected
        assert result.lookups.success == 1.0
    assert real.lookups.datagrams_mean == pytest.approx(virtual.lookups.datagrams_mean, rel=0.20)
    # Who talks when depends on the clock, so the number of lines is not the same, but it is drawn alike.
    assert real.messages.sent == pytest.approx(virtual.messages.sent, rel=0.35)


@pytest.mark.timeout(300)  # real time on machines that may be busy
def test_sockets_and_virtual_time_agree(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(steady_chat, "TALK_S", 10.0)
    agree(24, seed)


@pytest.mark.soak
def test_sockets_and_virtual_time_agree_with_a_hundred_nodes(seed: int) -> None:
    agree(100, seed)


# --- under stress -----------------------------------------------------------------------------------------------------


def put_under_stress(nodes: int, seed: int) -> None:
    """Everybody gets every line, once, in order."""
    result = run_with_sockets(stress, nodes=nodes, seed=seed)
    assert result.violations == []
    assert result.figures["rooms"] == nodes / 10
    assert result.messages.sent > nodes / 10 * stress.TALK_S / stress.EVERY_S / 2
    assert result.messages.expected == 9 * result.messages.sent
    assert result.messages.delivered == result.messages.expected
    assert result.messages.lost == result.messages.duplicates == 0


@pytest.mark.timeout(300)
def test_sixty_nodes_under_stress_lose_nothing(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(stress, "TALK_S", 10.0)
    put_under_stress(60, seed)


@pytest.mark.soak
def test_three_hundred_nodes_under_stress_lose_nothing(seed: int) -> None:
    put_under_stress(300, seed)


# --- the other scenarios ----------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(set(WITH_SOCKETS) - {"steady-chat", "stress"}))
def test_every_scenario_that_applies_holds(name: str, seed: int) -> None:
    result = run_with_sockets(SCENARIOS[name], nodes=24, seed=seed)
    assert result.violations == []
    assert result.messages.lost == 0


def test_a_scenario_that_needs_faults_is_refused() -> None:
    with pytest.raises(BadUsage, match="partition-heal needs a network that can be disturbed") as refused:
        run_with_sockets(SCENARIOS["partition-heal"], nodes=4, seed=1)
    assert "steady-chat" in refused.value.hint


class Comings:
    """A play of seconds: somebody crashes, somebody leaves, both come back; nothing said meanwhile is lost."""

    NAME = "comings"

    async def play(self, world: Stage, nodes: int) -> None:
        await world.start_bootstrap()
        anna, bert, carla = await world.start_people(nodes, spread_s=0.5)
        names = [person.name for person in (anna, bert, carla)]
        for person in (anna, bert, carla):
            await person.join("#here")
        await anna.say("#here", "all are here", names)
        assert await world.until(lambda: len(carla.lines("#here")) == 1, within_s=30.0)
        await bert.crash()
        await carla.leave()
        assert not bert.running
        assert not carla.online
        await anna.say("#here", "hello?", names)
        await bert.restart()
        await carla.restart()
        assert bert.boot == carla.boot == 2
        await bert.say("#here", "back", names)
        for person in (anna, bert, carla):
            assert await person.until(lambda p=person: len(p.lines("#here")) == 3, within_s=60.0)  # type: ignore[misc]


def test_crashed_and_left_people_come_back_and_miss_nothing(seed: int) -> None:
    result = play_with_sockets(Comings(), nodes=3, seed=seed)
    assert result.violations == []
    assert (result.messages.expected, result.messages.lost) == (6, 0)
    assert result.trace == "sockets"


# --- it clears up -----------------------------------------------------------------------------------------------------


class Failure:
    """Fails while everybody is there."""

    NAME = "failure"

    async def play(self, world: Stage, nodes: int) -> None:
        await world.start_bootstrap()
        await world.start_people(nodes, spread_s=0.1)
        raise RuntimeError("the play failed")


def workers_of(parent: int) -> list[int]:
    """Worker processes with that parent."""
    found = []
    for pid in processes_that_mention(WORKER):
        with contextlib.suppress(OSError):
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(pid)
    return found


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the next play with sockets in this process has its disks."""
    folder = tmp_path / "disks"

    def make_disks() -> Path:
        folder.mkdir()
        return folder

    monkeypatch.setattr("simulations.sockets.make_disks", make_disks)
    return folder


@ONLY_LINUX
def test_a_failing_play_leaves_nothing(disks: Path, seed: int) -> None:
    with pytest.raises(RuntimeError, match="the play failed"):
        play_with_sockets(Failure(), nodes=3, seed=seed, workers=2)
    assert workers_of(os.getpid()) == []
    assert not disks.exists()


class KilledWorker:
    """A worker is killed while the play waits for something that never comes."""

    NAME = "killed-worker"

    async def play(self, world: Stage, nodes: int) -> None:
        await world.start_bootstrap()
        os.kill(workers_of(os.getpid())[0], signal.SIGKILL)
        await asyncio.Event().wait()


@ONLY_LINUX
def test_a_worker_that_dies_fails_the_play(disks: Path, seed: int) -> None:
    with pytest.raises(WorkerFailed, match="ended by itself, with exit code -9"):
        play_with_sockets(KilledWorker(), nodes=0, seed=seed, workers=2)
    assert workers_of(os.getpid()) == []
    assert not disks.exists()


@ONLY_LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_coordinator_is_stopped(number: signal.Signals) -> None:
    """Not even when it is killed: the workers clear up behind it."""
    command = [sys.executable, "-m", "dhtchat", "simulate", "steady-chat", "--nodes", "8", "--sockets"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A shell ignores it for what it runs in the background, and the tests with all their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as coordinator:
        within_30_s(lambda: len(workers_of(coordinator.pid)) > 0)
        time.sleep(3.0)  # any moment will do: nodes are starting
        workers = workers_of(coordinator.pid)
        folders = [Path(command_of(pid).split("\0")[4]) for pid in workers]
        assert all(folder.is_dir() for folder in folders)
        coordinator.send_signal(number)
        coordinator.wait(60)
        within_30_s(lambda: not any(WORKER in command_of(pid) for pid in workers))
        within_30_s(lambda: not any(folder.exists() for folder in folders + [folder.parent for folder in folders]))


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def within_30_s(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30.0
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


async def test_hosts_have_addresses_of_their_own_where_the_system_has_them(seed: int) -> None:
    async with SocketWorld(seed, workers=1) as world:
        await world.start_bootstrap(2)
        hosts = {address.rpartition(":")[0] for address in world.bootstrap_addresses}
        assert len(hosts) == (2 if sys.platform == "linux" else 1)
        assert len({node.node_id for node in world.askers()}) == 2
        await world.kill_bare_node("bootstrap-1")
        assert [node.name for node in world.askers()] == ["bootstrap-0"]
        assert all(not words.complaints for words in await world.stop())
