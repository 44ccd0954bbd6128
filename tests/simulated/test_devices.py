"""One person on several hosts: everything reaches all of them, also what only one of them can hear."""

import pytest

from dhtchat.chat import intents
from dhtchat.chat.events import MessageArrived, StatusChanged
from simulations.world import Person, World


@pytest.mark.parametrize("seed", [1, 2])
def test_a_private_line_reaches_a_device_that_its_author_cannot_reach(seed: int) -> None:
    """The path between alice and bob's laptop is cut, and stays so: bob's desk has what she says and does, and tells the laptop. It
    counts as delivered meanwhile, so alice would not say it again."""
    print("seed", seed)
    world = World(seed)

    async def play() -> None:
        await world.start_bootstrap()
        alice, desk = await world.start_people(2, spread_s=2.0)
        laptop = world.add_person("laptop", account=desk.name)
        await laptop.start()
        assert await world.until(lambda: _links(desk) == _links(laptop) == 1, within_s=120.0)
        with world.faults.partition([alice.host.address], [laptop.host.address]):
            await alice.say(desk.name, "hello", [desk.name, "laptop"])
            assert await laptop.until(lambda: _texts(laptop) == ["hello"], within_s=30.0)
            await desk.say(alice.name, "hello yourself", [alice.name, "laptop"])
            assert await laptop.until(lambda: len(_texts(laptop)) == 2, within_s=30.0)
            assert await alice.until(lambda: len(_texts(alice)) == 2, within_s=30.0), (
                "what she does below is done to it"
            )
            assert _texts(desk) == _texts(laptop) == ["hello", "hello yourself"]
            hello, yourself = (s.event.id for s in desk.seen if isinstance(s.event, MessageArrived))
            for intent in (
                intents.EditLine(hello, "hello, bob"),
                intents.ReactTo(yourself, "+1"),
                intents.MarkRead((yourself,)),
                intents.DeleteLine(hello),
            ):
                await alice.perform(intent)
            assert await laptop.until(lambda: len(_texts(laptop)) == 5 and _read(laptop) == [yourself], within_s=30.0)
        assert _texts(desk) == _texts(laptop) == ["hello", "hello yourself", "hello, bob", "+1", ""]
        assert _read(desk) == _read(laptop)

    world.run(play())
    assert world.loop.complaints == []


def _texts(person: Person) -> list[str]:
    return [seen.event.text for seen in person.seen if isinstance(seen.event, MessageArrived)]


def _read(person: Person) -> list[str]:
    return [s.event.id for s in person.seen if isinstance(s.event, StatusChanged) and s.event.state == "read"]


def _links(person: Person) -> int:
    return person.node.inspection.sizes().links if person.node is not None and person.node.is_online else 0
