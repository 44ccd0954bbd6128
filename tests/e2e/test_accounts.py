"""One person, one password, as many devices as wanted: `register`, `join`, `passwd`, and where they find the network."""

import os
import stat
from pathlib import Path

import pytest

from tests.e2e.world import (
    World,
    assert_each_once,
    delivered,
    enter_room,
    hears,
    password_of,
    sees_members,
    texts,
)

pytestmark = pytest.mark.process


async def test_a_new_password_opens_and_the_old_one_no_longer_does(world: World) -> None:
    """ "`dhtchat passwd NAME NET` | changes the password; prints `password-changed`": seen from a fresh folder, while the
    session that runs goes on."""
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    await enter_room("#lobby", alice, bob)
    old, new = password_of("alice"), password_of("other alice")

    changed = await world.run("passwd", "alice", *world.bootstrap, password=f"{old}\n{new}")
    assert changed.code == 0, changed
    fingerprint = (await alice.wait_for_event("ready"))["fingerprint"]
    assert [(e["event"], e["user"], e["fingerprint"]) for e in changed.events] == [
        ("password-changed", "alice", fingerprint)
    ]
    alice.say("I am still here")
    await hears(bob, ["I am still here"], room="#lobby")

    again = await world.join("alice", register=False, folder="fresh", password=new)
    assert (await again.wait_for_event("ready"))["fingerprint"] == fingerprint
    refused = await world.run("join", "alice", *world.bootstrap, folder="fresher", password=old)
    assert (refused.code, refused.error["code"]) == (4, "wrong-password")


async def test_passwords_come_from_a_file(world: World) -> None:
    """ "Passwords are ... read ... from `--password-file FILE` (`passwd` reads the old one, then the new one)." """
    await world.open_door()
    first, both, second = (world.folder / name for name in ("first", "both", "second"))
    _write_secret(first, f"{password_of('alice')}\n")
    _write_secret(both, f"{password_of('alice')}\r\n{password_of('other')}\r\n")
    _write_secret(second, password_of("other"))
    for command, file in (("register", first), ("passwd", both)):
        ended = await world.run(command, "alice", *world.bootstrap, "--password-file", str(file))
        assert (ended.code, ended.errors) == (0, [])
    ended = await world.run("join", "alice", "--plain", *world.bootstrap, "--password-file", str(second))
    assert (ended.code, ended.errors) == (0, [])
    assert [event["event"] for event in ended.events] == ["ready", "bye"]


def _write_secret(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="")
    file.chmod(0o600)


async def test_addresses_come_from_the_environment(world: World) -> None:
    """ "`DHTCHAT_BOOTSTRAP` may hold addresses." """
    await world.open_door()
    addresses = f"{world.address}, {world.address} {world.address}"
    ended = await world.run("register", "alice", password=password_of("alice"), DHTCHAT_BOOTSTRAP=addresses)
    assert ended.code == 0, ended


async def test_join_without_a_name_takes_the_last_one(world: World) -> None:
    """ "`dhtchat join [NAME]`", "`--profile NAME` (default: the user name; without a name the last one used)" """
    await world.open_door()
    for name in ("alice", "bob"):
        ended = await world.run(
            *("join", name, "--register", "--plain", *world.bootstrap), folder="shared", password=password_of(name)
        )
        assert ended.code == 0, ended
    ended = await world.run("join", "--plain", *world.bootstrap, folder="shared", password=password_of("bob"))
    assert [event.get("user") for event in ended.events if event["event"] == "ready"] == ["bob"]


async def test_two_logins_of_one_person_side_by_side(world: World) -> None:
    """ "`own` (one's own lines, also from one's other devices)": two chats of one person on one machine, in one folder."""
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    other = await world.join("alice", register=False)
    await enter_room("#lobby", bob, alice)
    other.say("/join #lobby")
    await sees_members(other, "#lobby", ["alice", "bob"])

    bob.say("hello alice, wherever you are")
    bob.say("/msg alice a secret")
    alice.say("here")
    other.say("and there")
    alice.say("/msg bob from my desk")
    other.say("/msg bob from my sofa")
    room_lines = ["hello alice, wherever you are", "here", "and there"]
    private_lines = ["a secret", "from my desk", "from my sofa"]
    for peer in (alice, other, bob):
        await hears(peer, room_lines, room="#lobby")
        await hears(peer, private_lines, kind="direct")
        assert_each_once(peer, [*room_lines, *private_lines])
    for peer in (alice, other):
        assert sorted(texts(peer, own=True)) == sorted(["here", "and there", "from my desk", "from my sofa"])
        assert {message["sender"] for message in peer.messages(own=True)} == {"alice"}
        assert {message["recipient"] for message in peer.messages(own=True, kind="direct")} == {"bob"}
    await delivered(bob, "a secret")
    await delivered(bob, "hello alice, wherever you are", delivered_to=1, members=1)
    # To bob they are one person, who is there until both have left.
    other.say("/quit")
    assert await other.exit_code() == 0
    users = await bob.ask("/users", "users")
    assert [user["name"] for user in users["users"]] == ["alice", "bob"]


async def test_what_is_kept_is_ours_alone(world: World) -> None:
    """ "Everything under the data folder is 0600, folders 0700." """
    await world.open_door()
    alice, bob = await world.join_all("alice", "bob")
    await enter_room("#lobby", alice, bob)
    alice.say("on the record")
    await hears(bob, ["on the record"])
    for folder in ("bootstrap", "alice", "bob"):
        for path in (world.folder / folder, *(world.folder / folder).rglob("*")):
            expected = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(os.stat(path).st_mode) == expected, path
