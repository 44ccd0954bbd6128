"""What a peer does while nothing happens: it sleeps until something is due, and nothing looks around in between."""

import asyncio
from contextvars import ContextVar

import pytest

from dhtchat.limits import PRESENCE_TTL_S
from dhtchat.peer.link import Link
from simulations.network import Stream
from simulations.world import Person, World

ROOM = "#lobby"
PROCESS: ContextVar[str] = ContextVar("PROCESS", default="")
"""In whose process a timer was set."""
IDLE_S = 600.0


class Wakings:
    """The moments at which a timer went off in the process of somebody; what goes off together wakes it up once."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self._moments: set[tuple[object, float]] = set()
        run = asyncio.TimerHandle._run  # type: ignore[attr-defined]

        def noted(handle: asyncio.TimerHandle) -> None:
            by = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
            # A link sets its timers when something arrives, on the time of whoever sent it.
            process = by._runtime if isinstance(by, Link) else handle._context.get(PROCESS)  # type: ignore[attr-defined]
            if process and not isinstance(by, Stream):
                self._moments.add((process, round(world.loop.time(), 6)))
            run(handle)

        monkeypatch.setattr(asyncio.TimerHandle, "_run", noted, raising=False)

    def clear(self) -> None:
        self._moments.clear()

    def __len__(self) -> int:
        return len(self._moments)


async def come(world: World, number: int) -> Person:
    person = world.add_person(f"peer{number}")
    token = PROCESS.set(person.name)
    await person.start()
    PROCESS.reset(token)
    return person


@pytest.mark.parametrize(
    ("people", "in_room", "wakings_per_s", "datagrams_per_s"),
    [
        pytest.param(2, False, 0.7, 1.6, id="two-who-do-not-know-each-other"),
        pytest.param(2, True, 1.35, 2.2, id="a-room-of-two"),
        pytest.param(9, True, 2.0, 6.0, id="a-room-of-nine"),
    ],
)
def test_an_idle_peer_sleeps(
    monkeypatch: pytest.MonkeyPatch, people: int, in_room: bool, wakings_per_s: float, datagrams_per_s: float
) -> None:
    """Must-show 7, as far as a simulator can show it. Four tasks that looked around once or twice a second woke a peer up
    five times a second and more; what a link's keep-alive costs is shared by all links. Each bound is a quarter above what
    it was when this was written."""
    world = World(1)
    wakings = Wakings(world, monkeypatch)
    counted: list[float] = []

    async def play() -> None:
        await world.start_bootstrap()
        everybody = [await come(world, number) for number in range(people)]
        if in_room:
            for person in everybody:
                await person.join(ROOM)
        await asyncio.sleep(2 * PRESENCE_TTL_S)
        wakings.clear()
        datagrams = world.fabric.counts["datagrams"]
        await asyncio.sleep(IDLE_S)
        counted.extend((len(wakings), world.fabric.counts["datagrams"] - datagrams))

    world.run(play())
    assert world.loop.complaints == []
    found = [count / people / IDLE_S for count in counted]
    print(f"{found[0]:.2f} wakings and {found[1]:.2f} datagrams a second and person")
    assert found[0] < wakings_per_s
    assert found[1] < datagrams_per_s
