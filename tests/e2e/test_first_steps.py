"""What the assistant asks the network, over real sockets: a door that is opened, an account, rooms; and the door closes with it."""

import asyncio
import contextlib

import pytest

from dhtchat.app.settings import Settings
from dhtchat.cli.first_steps import FirstSteps, Found
from dhtchat.errors import AddressInUse, DhtChatError, NameTaken, NoBootstrapAnswered
from dhtchat.ids import parse_node_address
from dhtchat.parameters import load_parameters
from tests.e2e.world import World, address_of, password_of, silent_udp_socket

pytestmark = pytest.mark.process


def steps(world: World, folder: str, *, port: int = 0) -> FirstSteps:
    settings = Settings(data_dir=world.folder / folder, parameters=load_parameters(world.network), host="127.0.0.1")
    return FirstSteps(settings, world.network, door_port=port)


async def test_the_first_one_opens_a_door_and_it_closes_with_the_chat(world: World) -> None:
    """In threads, as nothing runs there between the questions."""

    def first_one() -> Found:
        with steps(world, "alice") as alice:
            found = alice.open_door()
            assert not alice.is_taken("alice")
            shown = alice.register("alice", password_of("alice"))
            assert len(shown) == 19
            assert alice.is_taken("alice")
            assert alice.rooms() == []
            with steps(world, "bob") as bob:
                assert bob.find(found.address).via == "bootstrap"
                with pytest.raises(NameTaken):
                    bob.register("alice", password_of("bob"))
        return found

    found = await asyncio.to_thread(first_one)
    with steps(world, "bob") as bob, pytest.raises(NoBootstrapAnswered):
        await asyncio.to_thread(bob.find, found.address)


async def test_a_door_that_cannot_be_opened_says_why(world: World) -> None:
    with contextlib.closing(silent_udp_socket()) as taken, steps(world, "alice", port=taken.getsockname()[1]) as alice:
        with pytest.raises(DhtChatError, match=address_of(taken)) as raised:
            await asyncio.to_thread(alice.open_door)
        assert raised.value.exit_code == AddressInUse.exit_code


async def test_rooms_are_those_with_people_in_them_most_first(world: World) -> None:
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    for peer, room in ((alice, "#tea"), (alice, "#garden"), (bob, "#tea")):
        peer.say(f"/join {room}")
        await peer.wait_for_event("joined", room=room, user=peer.name)
    with steps(world, "carol") as carol:
        await asyncio.to_thread(carol.find, parse_node_address(world.address))
        async with asyncio.timeout(30.0):
            while await asyncio.to_thread(carol.rooms) != ["#tea", "#garden"]:  # noqa: ASYNC110 - a directory has no event
                await asyncio.sleep(0.1)
