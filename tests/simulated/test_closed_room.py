"""A room for those only who are invited, in a network of virtual time, with people whose clients are modified."""

import asyncio
from typing import Any

from dhtchat.chat import intents
from dhtchat.chat.events import ErrorShown, History, Joined, MessageArrived
from dhtchat.ids import PeerId
from simulations.world import Person, World

ROOM = "#parlour"


def heard(person: Person) -> list[str]:
    events = [seen.event for seen in person.messages()]
    return [e.text for e in events if isinstance(e, MessageArrived) and e.room == ROOM]


async def history(person: Person) -> list[str]:
    await person.perform(intents.ShowHistory(500, ROOM))
    events = [seen.event for seen in person.seen]
    return [line.text for line in [e for e in events if isinstance(e, History)][-1].messages]


def modify(person: Person, everybody: list[PeerId]) -> None:
    """A client that believes in no door, stays where it was thrown out, says whatever it is told to say to everybody it is linked
    to, and asks everybody."""
    node: Any = person.node

    async def looks_at_nothing(room: object) -> None:
        pass

    node._rooms._look_at_door = looks_at_nothing
    node._rooms.wanted_insiders = lambda: everybody
    node._moderation._is_thrown_out = lambda *_: False
    node._moderation.require = lambda *_: None
    node._recipients = lambda talk: everybody
    node._neighbours = lambda talk: node._pool.links()
    node._shares_already = shares


async def shares(talk: object, link: object) -> bool:
    return True


def test_an_outsider_and_a_kicked_one_read_nothing_and_are_read_by_nobody(seed: int) -> None:
    """Issue 6, must show 4. Kate is thrown out while Bob is beyond a cut; Otto was never in. Both go on with modified clients, linked
    to everybody. Nothing that is said once all know reaches them; nothing of theirs is shown, in nobody's history either; and
    all who are in evaluate the same."""
    world = World(seed)

    async def play() -> None:
        await world.start_bootstrap(2)
        people = await world.start_people(6, spread_s=5.0)
        alice, bob, carol, dave, kate, otto = people
        inside = [alice, bob, carol, dave]
        for person in [*inside, kate]:
            await person.join(ROOM)
        await asyncio.sleep(10.0)
        await alice.perform(intents.ChangeMode(closed=True, room=ROOM))
        await alice.perform(intents.Grant(carol.name, "op", ROOM))
        assert await world.until(lambda: agree([*inside, kate]), within_s=60.0)
        await asyncio.sleep(10.0)
        await otto.perform(intents.JoinRoom(ROOM))
        errors = [seen.event for seen in otto.seen if isinstance(seen.event, ErrorShown)]
        assert [error.code for error in errors] == ["not-allowed"]
        assert not [seen for seen in otto.seen if isinstance(seen.event, Joined)]

        peers = [person.node.inspection.peer for person in people if person.node is not None]
        for person in (kate, otto):
            modify(person, peers)
        await otto.perform(intents.JoinRoom(ROOM))
        doors = [node.address.host for node in world.nodes.values()]
        with world.faults.partition(
            [alice.host.address, carol.host.address, doors[0]],
            [bob.host.address, dave.host.address, kate.host.address, otto.host.address, doors[1]],
        ):
            await asyncio.sleep(30.0)
            await carol.perform(intents.Remove(kate.name, "kick", "", ROOM))
            for person in (kate, otto):
                await person.perform(intents.SayTo(f"{person.name} during the cut", ROOM))
            await asyncio.sleep(30.0)
        assert await world.until(lambda: agree(inside), within_s=240.0)
        await asyncio.sleep(60.0)
        for number in range(5):
            for person in people:
                await person.perform(intents.SayTo(f"{person.name} {number}", ROOM))
            await asyncio.sleep(5.0)
        await asyncio.sleep(60.0)
        wanted = {f"{person.name} {number}" for person in inside for number in range(5)}
        for person in inside:
            assert wanted <= set(heard(person)), person.name
            lines = await history(person)
            assert not [
                line for line in [*heard(person)[-20:], *lines] if line.startswith(("otto", kate.name, otto.name))
            ]
        for person in (kate, otto):
            own = {text for text in heard(person) if text.startswith(person.name)}
            assert not wanted & set(heard(person)), person.name
            assert not wanted & set(await history(person)), person.name
            assert own, "its own client shows what it says"
        await kate.leave()
        await kate.start()
        await kate.perform(intents.JoinRoom(ROOM))
        await asyncio.sleep(30.0)
        assert kate.node is not None
        assert ROOM not in kate.node.inspection.roles(), "an honest client learns that it is out"
        await alice.perform(intents.Invite(kate.name, ROOM))
        await asyncio.sleep(10.0)
        await kate.perform(intents.JoinRoom(ROOM))
        assert await kate.until(lambda: wanted <= set(heard(kate)), within_s=60.0)

    world.run(play())


def agree(people: list[Person]) -> bool:
    first, *others = [person.node.inspection.roles().get(ROOM) if person.node else None for person in people]
    return first is not None and all(each == first for each in others)
