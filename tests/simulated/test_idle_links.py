"""Links that nobody needs any more are closed, and nobody notices."""

from dhtchat.chat import intents
from dhtchat.chat.events import MessageArrived, PresenceChanged
from dhtchat.limits import KEEPALIVE_TIMEOUT_S, LINK_IDLE_S
from simulations.world import Person, World

ROOM = "#lobby"


def test_a_link_made_for_a_private_line_ends_and_comes_back_for_the_next() -> None:
    """The issue: "idle links closed". Those of a room stay; nobody is shown as gone; the next line gets through as ever."""
    world = World(1)

    async def play() -> None:
        await world.start_bootstrap()
        alice, bob, carol = (world.add_person(name) for name in ("alice", "bob", "carol"))
        for person in (alice, bob, carol):
            await person.start()
        for person in (bob, carol):
            await person.join(ROOM)
        await alice.perform(intents.SayTo("hello", "bob"))
        assert await bob.until(lambda: "hello" in texts(bob), within_s=30.0)
        assert linked(alice, bob)
        assert await world.until(lambda: not linked(alice, bob), within_s=LINK_IDLE_S + 30.0)
        assert world.loop.time() > LINK_IDLE_S
        assert await world.until(lambda: linked(bob, carol), within_s=1.0), "a room's link was closed"
        await world.until(lambda: False, within_s=3.0 * KEEPALIVE_TIMEOUT_S)
        await bob.perform(intents.SayTo("hello again", "alice"))
        assert await alice.until(lambda: "hello again" in texts(alice), within_s=30.0)
        for person in (alice, bob, carol):
            gone = [s.event for s in person.seen if isinstance(s.event, PresenceChanged) and not s.event.online]
            assert gone == []

    world.run(play())
    assert world.loop.complaints == []


def texts(person: Person) -> list[str]:
    return [s.event.text for s in person.seen if isinstance(s.event, MessageArrived)]


def linked(one: Person, other: Person) -> bool:
    assert one.node is not None
    assert other.node is not None
    return bool(one.node._pool.links_of(other.node.inspection.peer))
