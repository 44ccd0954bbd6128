"""Joining, leaving and a crash show up in the lists of everyone else; and what one can ask about people and rooms."""

import pytest

from dhtchat.cli.peer_process import EventFields
from tests.e2e.world import (
    World,
    answers,
    delivered,
    enter_room,
    hears,
    leaves,
    listed_names,
    sees_members,
    sees_online,
    texts,
)

pytestmark = pytest.mark.process


async def test_coming_and_going(world: World) -> None:
    """ "Joining, leaving and a crash show up in the lists of everyone else." Without a room in common, too."""
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    await enter_room("#lobby", alice, bob)
    carol = await world.join("carol", "--room", "#lobby")
    for peer in (alice, bob):
        await peer.wait_for_event("joined", user="carol", room="#lobby", timeout_s=5.0)
        await peer.wait_for_event("presence", user="carol", online=True, timeout_s=5.0)
        await sees_members(peer, "#lobby", ["alice", "bob", "carol"])

    await leaves(carol)
    for peer in (alice, bob):
        await peer.wait_for_event("presence", user="carol", online=False, timeout_s=2.0)
        await peer.wait_for_event("parted", user="carol", room="#lobby", timeout_s=2.0)
    for peer in (alice, bob):
        assert listed_names("users")(await peer.ask("/users", "users")) == ["alice", "bob"]
        assert listed_names("members")(await peer.ask("/names", "names")) == ["alice", "bob"]

    await bob.kill()
    await alice.wait_for_event("presence", user="bob", online=False, timeout_s=10.0)
    assert listed_names("users")(await alice.ask("/users", "users")) == ["alice"]


async def test_people_without_a_room_in_common_see_each_other(world: World) -> None:
    """ "list of online users kept current, on request and by notice of joining and leaving" """
    await world.open_door()
    alice = await world.join("alice")
    await sees_online(alice, ["alice"])
    bob = await world.join("bob")
    await sees_online(alice, ["alice", "bob"], timeout_s=5.0)
    await alice.wait_for_event("presence", user="bob", online=True)
    prefix = await alice.ask("/users bo", "users")
    assert [user["name"] for user in prefix["users"]] == ["bob"]
    await leaves(bob)
    await sees_online(alice, ["alice"], timeout_s=5.0)
    await alice.wait_for_event("presence", user="bob", online=False)


async def test_rooms(world: World) -> None:
    """ "Rooms: create, join several at once, leave, list, members, topic" """
    await world.open_door()
    alice, bob, carol = await world.join_all("alice", "bob", "carol")
    alice.say("/join #garden growing things")
    await alice.wait_for_event("topic", room="#garden", topic="growing things")
    await enter_room("#garden", alice, bob)
    await bob.wait_for_event("topic", room="#garden", topic="growing things")
    await enter_room("#kitchen", bob, carol)
    await enter_room("#cellar", carol)

    for peer in (alice, bob, carol):
        answer = await answers(peer, "/rooms", "rooms", sizes, {"#cellar": 1, "#garden": 2, "#kitchen": 2})
        assert [room["topic"] for room in answer["rooms"]] == ["", "growing things", ""]
    assert sizes(await alice.ask("/rooms #ki", "rooms")) == {"#kitchen": 2}
    assert sizes(await alice.ask("/list ga", "rooms")) == {"#garden": 2}

    # In several at once, a line goes to one of them.
    bob.say("/switch #garden")
    bob.say("the roses are late")
    await hears(alice, ["the roses are late"], room="#garden")
    bob.say("/switch #kitchen")
    bob.say("soup is ready")
    await hears(carol, ["soup is ready"], room="#kitchen")
    assert texts(alice) == ["the roses are late"]
    assert texts(carol) == ["soup is ready"]

    members = {member["name"]: member for member in (await bob.ask("/names #garden", "names"))["members"]}
    assert {name: (member["role"], member["online"]) for name, member in members.items()} == {
        "alice": ("owner", True),
        "bob": ("speaker", True),
    }

    bob.say("/topic #soup and *bread*")
    for peer in (bob, carol):
        changed = await peer.wait_for_event("topic", room="#kitchen", topic="#soup and *bread*")
        assert changed["by"] == "bob"

    bob.say("/part #garden")
    await bob.wait_for_event("parted", room="#garden", user="bob")
    await alice.wait_for_event("parted", room="#garden", user="bob", timeout_s=2.0)
    await sees_members(alice, "#garden", ["alice"], timeout_s=2.0)
    alice.say("weeds everywhere")
    await alice.wait_for_event("message", text="weeds everywhere")
    bob.say("still cooking")
    await hears(carol, ["still cooking"], room="#kitchen")
    assert texts(bob, room="#garden", sender="alice") == []
    # Who comes back is told what was said meanwhile.
    bob.say("/join #garden")
    await hears(bob, ["weeds everywhere"], room="#garden")

    carol.say("/switch #cellar")
    carol.say("/part")
    await carol.wait_for_event("parted", room="#cellar", user="carol")
    await answers(alice, "/rooms", "rooms", sizes, {"#garden": 2, "#kitchen": 2})


def sizes(answer: EventFields) -> dict[str, int]:
    """Each room's number of members."""
    return {room["name"]: room["members"] for room in answer["rooms"]}


async def test_people(world: World) -> None:
    """ "`/whois NAME`", "`/away [text]` · `/back`", "`/ignore NAME` · `/unignore NAME`" """
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    await enter_room("#lobby", alice, bob)
    fingerprint = (await bob.wait_for_event("ready"))["fingerprint"]

    about = await alice.ask("/whois bob", "whois")
    assert {key: about[key] for key in ("name", "fingerprint", "key_changed", "online", "rooms", "away")} == {
        "name": "bob",
        "fingerprint": fingerprint,
        "key_changed": False,
        "online": True,
        "rooms": ["#lobby"],
        "away": None,
    }
    assert about["since"].endswith("Z")
    assert (await alice.ask(f"/whois bob#{fingerprint}", "whois"))["name"] == "bob"
    assert (await alice.ask("/whois bob#aaaa-aaaa-aaaa-aaaa", "error"))["code"] == "no-such-user"
    assert (await alice.ask("/whois alice", "whois"))["online"] is True

    def away(users: EventFields) -> list[str | None]:
        return [user["away"] for user in users["users"]]

    bob.say("/away making tea")
    await answers(alice, "/users bob", "users", away, ["making tea"])
    assert (await alice.ask("/whois bob", "whois"))["away"] == "making tea"
    bob.say("/back")
    await answers(alice, "/users bob", "users", away, [None])

    await alice.ask("/ignore bob", "notice")
    bob.say("alice cannot see this")
    bob.say("/msg alice nor this")
    await delivered(bob, "alice cannot see this")
    await delivered(bob, "nor this")
    await alice.ask("/unignore bob", "notice")
    bob.say("but this")
    await hears(alice, ["but this"], room="#lobby")
    assert texts(alice) == ["but this"]


async def test_history(world: World) -> None:
    """ "At start only lines that this device has not shown before come as `message`; the rest is in `/history`." """
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    await enter_room("#lobby", alice, bob)
    lines = [f"line {number}" for number in range(5)]
    for line in lines:
        bob.say(line)
    bob.say("/msg alice by the way")
    await hears(alice, [*lines, "by the way"])
    await leaves(alice)
    bob.say("while you were out")
    await bob.wait_for_event("message", text="while you were out")

    alice = await world.join("alice", "--room", "#lobby", register=False)
    await hears(alice, ["while you were out"], room="#lobby")
    assert texts(alice) == ["while you were out"]
    history = await alice.ask("/history", "history")
    assert history["target"] == "#lobby"
    assert [message["text"] for message in history["messages"]] == [*lines, "while you were out"]
    history = await alice.ask("/history 2", "history")
    assert [message["text"] for message in history["messages"]] == ["line 4", "while you were out"]
    alice.say("/query bob")
    history = await alice.ask("/history", "history")
    assert (history["target"], [message["text"] for message in history["messages"]]) == ("bob", ["by the way"])
    # Somebody new gets what the others have.
    carol = await world.join("carol", "--room", "#lobby")
    await hears(carol, [*lines, "while you were out"], room="#lobby")
