"""Several devices of one person that come and go in any order: in the end all of them have the same talk."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dhtchat.chat import intents
from dhtchat.chat.events import History, MessageArrived, PresenceChanged, to_dict
from simulations.world import Person, World

ROOM = "#lobby"
STEPS = 50
DEVICES = {"alice": ["alice", "alice-2"], "bob": ["bob", "bob-2", "bob-3"]}


async def settle(world: World, condition: Callable[[], Awaitable[bool]], *, within_s: float) -> bool:
    deadline_s = world.loop.time() + within_s
    while world.loop.time() < deadline_s:
        if await condition():
            return True
        await world.until(lambda: False, within_s=2.0)
    return await condition()


async def talk_of(person: Person, target: str) -> list[dict[str, Any]]:
    """The history as this device shows it, without what differs between two people by nature."""
    before = len(person.seen)
    await person.perform(intents.ShowHistory(10_000, target))
    if not await person.until(lambda: any(isinstance(s.event, History) for s in person.seen[before:]), within_s=5.0):
        return [{"text": f"{person.name} is not in {target} yet"}]
    history = next(s.event for s in person.seen[before:] if isinstance(s.event, History))
    return [
        {key: value for key, value in to_dict(line).items() if key not in ("own", "delayed", "mentioned", "read")}
        for line in history.messages
    ]


async def act(world: World, rng: random.Random, device: Person, number: int) -> None:
    """Say something, or do something to what was said."""
    other = "bob" if device.account == "alice" else "alice"
    target = rng.choice((ROOM, other))
    lines = [s.event for s in device.seen if isinstance(s.event, MessageArrived) and not s.event.deletes]
    mine = [line for line in lines if line.own and not line.edits and not line.reacts_to]
    kind = rng.choice(("say", "say", "say", "edit", "delete", "react", "read"))
    if kind == "edit" and mine:
        await device.perform(intents.EditLine(rng.choice(mine).id, f"changed {number}"))
    elif kind == "delete" and mine:
        await device.perform(intents.DeleteLine(rng.choice(mine).id))
    elif kind == "react" and lines:
        await device.perform(intents.ReactTo(rng.choice(lines).id, rng.choice(("+1", "-1"))))
    elif kind == "read":
        await device.perform(intents.MarkRead(tuple(line.id for line in lines if not line.own)))
    else:
        await device.perform(intents.SayTo(f"{device.name} {number}", target))


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
def test_devices_that_come_and_go_in_any_order_end_with_the_same_talk(seed: int) -> None:
    """The issue: two devices of one person and three of another, in any order of leaving and coming back. Lines of others,
    one's own, changes, reactions and what was read: all get everything. While one device is there its person is online."""
    world = World(seed)
    rng = random.Random(f"{seed}/devices")
    wrong: list[str] = []

    async def play() -> None:
        await world.start_bootstrap()
        carol = world.add_person("carol")
        carol.rooms = [ROOM]
        await carol.start()
        devices: dict[str, list[Person]] = {}
        for login, names in DEVICES.items():
            devices[login] = [
                world.add_person(names[0]),
                *(world.add_person(name, account=login) for name in names[1:]),
            ]
            for device in devices[login]:
                device.rooms = [ROOM]
                await device.start()
        everybody = [device for group in devices.values() for device in group]
        for device in everybody:
            other = "bob" if device.account == "alice" else "alice"
            await device.perform(intents.OpenQuery(other))
        await world.until(lambda: False, within_s=20.0)
        for number in range(STEPS):
            device = rng.choice(everybody)
            away = [each for each in everybody if not each.running]
            step = rng.random()
            if step < 0.25 and device.online:
                await (device.crash() if rng.random() < 0.5 else device.leave())
                others = [each for each in devices[device.account] if each.online]
                seen = len(carol.seen)
                await world.until(lambda: False, within_s=rng.uniform(1.0, 20.0))
                gone = [s.event for s in carol.seen[seen:] if isinstance(s.event, PresenceChanged)]
                if others and any(e.user == device.account and not e.online for e in gone):
                    wrong.append(f"{device.account} was taken offline by {device.name} alone")
            elif step < 0.5 and away:
                await rng.choice(away).start()
            elif device.online:
                await act(world, rng, device, number)
            await world.until(lambda: False, within_s=rng.uniform(0.1, 4.0))
        for device in everybody:
            if not device.running:
                await device.start()

        async def same() -> bool:
            rooms = [await talk_of(each, ROOM) for each in (*everybody, carol)]
            private = [await talk_of(d, "bob" if d.account == "alice" else "alice") for d in everybody]
            return rooms.count(rooms[0]) == len(rooms) and private.count(private[0]) == len(private)

        if not await settle(world, same, within_s=120.0):
            for each in everybody:
                wrong.append(f"{each.name}: {[line['text'] for line in await talk_of(each, ROOM)]}")
                other = "bob" if each.account == "alice" else "alice"
                wrong.append(f"{each.name}: {[line['text'] for line in await talk_of(each, other)]}")
        for group in devices.values():
            read = [each.node._core.store.readers(ids_of(each)) for each in group if each.node is not None]
            me = group[0].node.inspection.peer if group[0].node is not None else b""
            mine = [{line for line, peers in found.items() if me in peers} for found in read]
            if mine.count(mine[0]) != len(mine):
                wrong.append(f"{group[0].account}: what was read differs: {[len(each) for each in mine]}")
        for each in everybody:
            shown = [s.event.id for s in each.seen if isinstance(s.event, MessageArrived)]
            if len(shown) != len(set(shown)):
                wrong.append(f"{each.name}: something was shown twice")
            assert len(await talk_of(each, ROOM)) > 1

    world.run(play())
    assert wrong == []
    assert world.loop.complaints == []


def ids_of(person: Person) -> list[bytes]:
    assert person.node is not None
    return [row.id for row in person.node.inspection.statements()]
