"""Must-show 3 of issue 2: the bootstrap node is only a door."""

import asyncio

import pytest

from tests.e2e.world import World, assert_each_once, delivered, enter_room, hears, texts

pytestmark = pytest.mark.process


async def test_who_was_killed_comes_back_without_the_bootstrap_node_and_misses_nothing(world: World) -> None:
    """ "`kill -9` of the bootstrap process: running peers go on talking; a peer that was online before comes back without
    it and misses nothing." And nothing comes twice; with the old `--bootstrap` flag and with none."""
    await world.open_door()
    alice, bob, carol = peers = await world.join_all("alice", "bob", "carol")
    await enter_room("#lobby", *peers)
    alice.say("everybody is here")
    await asyncio.gather(*(hears(peer, ["everybody is here"], room="#lobby") for peer in peers))

    await world.door.kill()
    bob.say("the door is gone")
    alice.say("/msg bob still there?")
    await asyncio.gather(*(hears(peer, ["the door is gone"], room="#lobby") for peer in peers))
    await hears(bob, ["still there?"], kind="direct", sender="alice")
    await delivered(alice, "still there?")

    for round_number, with_flag in enumerate((True, False)):
        await carol.kill()
        missed = [f"round {round_number}: line {number}" for number in range(10)]
        secret = f"round {round_number}: for carol"
        for number, line in enumerate(missed):
            (alice if number % 2 else bob).say(line)
        alice.say(f"/msg carol {secret}")
        await asyncio.gather(*(hears(peer, missed, room="#lobby") for peer in (alice, bob)))

        carol = await world.join("carol", "--room", "#lobby", register=False, bootstrap=with_flag)
        await hears(carol, missed, room="#lobby", timeout_s=30)
        await hears(carol, [secret], kind="direct", sender="alice", timeout_s=30)
        await delivered(alice, secret)
        for line in missed:
            author = alice if line in texts(alice, own=True) else bob
            await delivered(author, line, delivered_to=2)
        carol.say(f"round {round_number}: I am back")
        await asyncio.gather(*(hears(peer, [f"round {round_number}: I am back"]) for peer in (alice, bob)))
        # All of it once, in each author's order, and nothing of what she had been shown before.
        assert_each_once(carol, [*missed, secret, f"round {round_number}: I am back"])
        for author in ("alice", "bob"):
            lines = texts(carol, room="#lobby", sender=author)
            assert lines == [line for line in missed if line in lines]
        assert all(message["delayed"] for message in carol.messages(own=False, kind="room"))


async def test_a_room_is_made_without_the_bootstrap_node(world: World) -> None:
    """ "`kill -9` of the bootstrap process: running peers go on talking": in rooms made afterwards, too."""
    await world.open_door()
    alice, bob, carol = peers = await world.join_all("alice", "bob", "carol")
    await world.door.kill()
    await enter_room("#later", *peers)
    alice.say("we need no door")
    await asyncio.gather(*(hears(peer, ["we need no door"], room="#later") for peer in (bob, carol)))
    await delivered(alice, "we need no door", delivered_to=2)
    listed = await bob.ask("/rooms", "rooms")
    assert [room["name"] for room in listed["rooms"]] == ["#later"]
