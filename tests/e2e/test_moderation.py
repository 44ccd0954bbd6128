"""A stage by real processes: what a script sees of roles, hands, kicks and refusals, and what the commands say."""

import pytest

from tests.e2e.world import World, delivered, enter_room, hears, texts

pytestmark = pytest.mark.process

ROOM = "#stage"


async def test_a_stage_is_run_by_its_people(world: World) -> None:
    """contract.md: `role`, `hand`, `kicked` and `mode` with `room`, `user`, `by` and the value; roles and hands in `names`; the
    mode in `rooms`; `not-allowed` for who has no right."""
    await world.open_door()
    alice, bob, carol = peers = await world.join_all("alice", "bob", "carol")
    await enter_room(ROOM, *peers)
    alice.say("/op bob")
    for peer in peers:
        event = await peer.wait_for_event("role", user="bob")
        assert (event["room"], event["by"], event["role"]) == (ROOM, "alice", "moderator")
    bob.say("/mode +m")
    for peer in peers:
        event = await peer.wait_for_event("mode", mode="+m")
        assert (event["room"], event["by"]) == (ROOM, "bob")
    carol.say("unasked")
    refused = await carol.wait_for_event("error", code="not-allowed")
    assert refused["hint"]
    carol.say("/hand")
    for peer in peers:
        event = await peer.wait_for_event("hand", user="carol")
        assert (event["room"], event["by"], event["up"]) == (ROOM, "carol", True)
    members = {member["name"]: member for member in (await bob.ask("/names", "names"))["members"]}
    assert {name: member["role"] for name, member in members.items()} == {
        "alice": "owner",
        "bob": "moderator",
        "carol": "listener",
    }
    assert members["carol"]["hand"]
    assert (await bob.ask("/hands", "hands"))["hands"] == ["carol"]
    assert [room["mode"] for room in (await bob.ask("/rooms", "rooms"))["rooms"]] == ["+m"]
    bob.say("/voice carol")
    await carol.wait_for_event("role", user="carol", role="speaker")
    carol.say("thank you")
    await hears(alice, ["thank you"], room=ROOM)
    await delivered(carol, "thank you", delivered_to=2, members=2)
    bob.say("/kick carol that will do")
    for peer in peers:
        event = await peer.wait_for_event("kicked", user="carol")
        assert (event["room"], event["by"], event["reason"], event["banned"]) == (ROOM, "bob", "that will do", False)
    await carol.wait_for_event("parted", room=ROOM, user="carol")
    assert "unasked" not in [*texts(alice, room=ROOM), *texts(bob, room=ROOM)]


async def test_somebody_is_asked_into_a_room(world: World) -> None:
    """contract.md: `/invite NAME`; `invited` has `room`, `user` and `by`."""
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    await enter_room(ROOM, alice)
    alice.say("/invite bob")
    for peer in (alice, bob):
        event = await peer.wait_for_event("invited")
        assert (event["room"], event["user"], event["by"]) == (ROOM, "bob", "alice")


async def test_a_closed_room_opens_by_invitation(world: World) -> None:
    """contract.md: `/mode +i`; an outsider is told what and what now, in two lines; `invited` opens the door."""
    await world.open_door()
    alice, bob, carol = await world.join_all("alice", "bob", "carol")
    await enter_room(ROOM, alice, bob)
    alice.say("/mode +i")
    for peer in (alice, bob):
        event = await peer.wait_for_event("mode", mode="+i")
        assert (event["room"], event["by"]) == (ROOM, "alice")
    alice.say("between us")
    await hears(bob, ["between us"], room=ROOM)
    assert [room["mode"] for room in (await bob.ask("/rooms", "rooms"))["rooms"]] == ["+i"]
    alice.say("/invite carol")
    event = await carol.wait_for_event("invited")
    assert (event["room"], event["user"], event["by"]) == (ROOM, "carol", "alice")
    carol.say(f"/join {ROOM}")
    await hears(carol, ["between us"], room=ROOM)
    alice.say("/kick carol")
    await carol.wait_for_event("parted", room=ROOM, user="carol")
    carol.say(f"/join {ROOM}")
    refused = await carol.wait_for_event("error", code="not-allowed")
    assert "invited" in str(refused["message"])
    assert "alice" in str(refused["hint"])
