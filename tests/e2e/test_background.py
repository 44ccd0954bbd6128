"""A peer in the background, and the commands that ask it: "the peer in the background; stops it; its events as they come"."""

import asyncio
import contextlib
import os
import signal
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from dhtchat import connect
from dhtchat.app.meeting_point import ADDRESS_FILE, read_meeting
from dhtchat.chat.events import Names
from dhtchat.cli.peer_process import EventFields, PeerProcess
from dhtchat.errors import NoSuchUser, NotRunning
from tests.e2e.test_exit_codes import assert_refused
from tests.e2e.world import LOCALLY, Ended, World, delivered, hears, leaves, password_of, sees_members

pytestmark = [pytest.mark.process, pytest.mark.skipif(os.name != "posix", reason="ends peers by their process id")]


@pytest.fixture
async def town(world: World) -> AsyncGenerator[World, None]:
    """A world with its door open; peers that are left in the background are killed at the end."""
    await world.open_door()
    try:
        yield world
    finally:
        for file in world.folder.rglob("control.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


async def up(town: World, name: str, *options: str, register: bool = True) -> Ended:
    arguments = ["up", name, *LOCALLY, *town.bootstrap, *options, *(["--register"] if register else [])]
    return await town.run(*arguments, folder=name, password=password_of(name))


async def asked(town: World, name: str, *arguments: str) -> EventFields:
    """The one event that a command prints."""
    ended = await town.run(*arguments, folder=name)
    assert (ended.code, ended.errors) == (0, []), ended
    [event] = ended.events
    return event


def pid_of(town: World, name: str) -> int:
    [file] = (town.folder / name).rglob("control.pid")
    return int(file.read_text())


async def is_gone(pid: int) -> None:
    """Until the kernel has forgotten the process, or only waits for somebody to ask how it ended."""
    async with asyncio.timeout(20.0):
        while True:
            try:
                os.kill(pid, 0)
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    return
            except (ProcessLookupError, FileNotFoundError):
                return
            await asyncio.sleep(0.02)


async def test_up_stays_online_answers_and_goes_down(town: World) -> None:
    """ "the peer in the background; stops it", "ask the running peer of this profile"."""
    started = await up(town, "alice", "--room", "#garden")
    assert (started.code, started.errors) == (0, [])
    assert [event["event"] for event in started.events] == ["registered", "ready"]
    pid = pid_of(town, "alice")
    assert os.getsid(pid) == pid, "it has left the terminal"

    bob = await town.join("bob", "--room", "#garden")
    await sees_members(bob, "#garden", ["alice", "bob"])
    users = await asked(town, "alice", "users")
    assert [user["name"] for user in users["users"]] == ["alice", "bob"]
    assert [user["name"] for user in (await asked(town, "alice", "users", "b"))["users"]] == ["bob"]
    assert [room["name"] for room in (await asked(town, "alice", "rooms", "gar"))["rooms"]] == ["#garden"]
    assert (await asked(town, "alice", "names", "garden"))["room"] == "#garden"
    assert (await asked(town, "alice", "whois", "bob"))["online"] is True
    assert (await asked(town, "alice", "status"))["rooms"] == ["#garden"]
    bob.say("it rains")
    await delivered(bob, "it rains")
    history = await asked(town, "alice", "history", "#garden", "5")
    assert [(line["sender"], line["text"]) for line in history["messages"]] == [("bob", "it rains")]
    text = await town.run("names", "#garden", folder="alice", json=False)
    assert [line.split()[0] for line in text.lines] == ["--", "alice", "bob"]

    ended = await town.run("down", folder="alice")
    assert (ended.code, [event["event"] for event in ended.events]) == (0, ["bye"])
    await is_gone(pid)
    await bob.wait_for_event("parted", room="#garden", user="alice")
    assert [file.name for file in (town.folder / "alice").rglob("control.*") if file.suffix != ".lock"] == []
    for command in (["down"], ["users"], ["status"], ["listen"], ["send", "bob", "hello"]):
        assert_refused(await town.run(*command, folder="alice"), 7, "not-running")


async def test_what_goes_wrong_is_said_by_up(town: World) -> None:
    """With the exit code of the contract, and nothing is left running."""
    assert (await town.run("register", "alice", *town.bootstrap, password=password_of("alice"))).code == 0
    at = (*LOCALLY, *town.bootstrap)
    wrong = await town.run("up", "alice", *at, folder="alice", password=password_of("other"))
    assert_refused(wrong, 4, "wrong-password")
    assert_refused(await town.run("up", "carol", *at, folder="alice", password="x"), 4, "no-such-account")
    assert_refused(await town.run("up", "carol", "--register", *at, folder="alice", password="x"), 6, "weak-password")
    assert list((town.folder / "alice").rglob("control.pid")) == []


def door_of(town: World, name: str) -> Path:
    """The control socket, which lies elsewhere when the path to the profile is too long for one."""
    [address] = (town.folder / name).rglob(ADDRESS_FILE)
    meeting = read_meeting(address.parent)
    assert meeting is not None
    assert meeting.path is not None
    return Path(meeting.path)


async def test_of_two_at_once_one_wins(town: World) -> None:
    assert (await town.run("register", "alice", *town.bootstrap, password=password_of("alice"))).code == 0
    ends = await asyncio.gather(*(up(town, "alice", register=False) for _ in range(2)))
    lost, won = sorted(ends, key=lambda ended: ended.code == 0)
    assert won.code == 0
    assert_refused(lost, 2, "busy")
    assert "is running already" in lost.errors[0]
    assert_refused(await up(town, "alice", register=False), 2, "busy")
    assert (await town.run("down", folder="alice")).code == 0


async def test_after_a_kill_it_comes_up_again(town: World) -> None:
    """A socket that nobody listens on any more is recognised, and removed by the next one."""
    await up(town, "alice")
    pid = pid_of(town, "alice")
    os.kill(pid, signal.SIGKILL)
    await is_gone(pid)
    assert door_of(town, "alice").exists()
    assert_refused(await town.run("status", folder="alice"), 7, "not-running")
    assert (await up(town, "alice", register=False)).code == 0
    assert (await asked(town, "alice", "status"))["user"] == "alice"


async def test_send_waits_until_it_is_delivered_or_stored(town: World) -> None:
    """ "says TEXT to `#room` or a person through the running peer, waits until delivered or stored"; 8 otherwise."""
    await up(town, "alice")
    bob = await town.join("bob")
    ended = await town.run("send", "bob", "hello **bob**", folder="alice")
    assert ended.code == 0, ended
    assert ended.events[0]["event"] == "message"
    assert ended.events[-1]["state"] in ("delivered", "read", "stored")
    await hears(bob, ["hello **bob**"], sender="alice", kind="direct")

    bob.say("/join #garden")
    await bob.wait_for_event("joined", room="#garden", user="bob")
    ended = await town.run("send", "#garden", "anybody here?", folder="alice")
    assert (ended.code, ended.events[-1]["state"]) == (0, "delivered"), ended
    await hears(bob, ["anybody here?"], room="#garden")
    assert_refused(await town.run("send", "#nowhere", "hello", folder="alice"), 7, "no-such-room")
    assert_refused(await town.run("send", "nobody", "hello", folder="alice"), 7, "no-such-user")
    await leaves(bob)
    ended = await town.run("send", "#garden", "still there?", "--wait", "0.5", folder="alice")
    assert (ended.code, ended.error["code"]) == (8, "not-delivered")


async def test_listen_prints_events_as_they_come(town: World) -> None:
    """ "its events as they come": also those of what other faces say, until the peer ends."""
    await up(town, "alice", "--room", "#garden")
    listener = await town.start("alice-listens", "listen", folder="alice")
    await listener.wait_for_event("ready", user="alice")
    bob = await town.join("bob", "--room", "#garden")
    await sees_members(bob, "#garden", ["alice", "bob"])
    bob.say("it rains")
    await listener.wait_for_event("message", room="#garden", sender="bob", text="it rains")
    assert (await town.run("send", "#garden", "so it does", folder="alice")).code == 0
    await listener.wait_for_event("message", room="#garden", text="so it does", own=True)
    assert (await asked(town, "alice", "users"))["event"] == "users"
    assert (await town.run("down", folder="alice")).code == 0
    assert await listener.exit_code() == 0
    assert listener.events[-1]["event"] == "bye"
    assert [event for event in listener.events if event["event"] == "users"] == [], "an answer goes to who asked"


async def attached(town: World, name: str, *options: str, label: str) -> PeerProcess:
    face = await town.start(label, "join", name, "--plain", *options, folder=name)
    await face.wait_for_event("ready", user=name)
    return face


async def test_join_attaches_and_quit_detaches(town: World) -> None:
    """ "`join` attaches to it; several faces at once"."""
    await up(town, "alice")
    first = await attached(town, "alice", "--room", "#garden", label="first face")
    await first.wait_for_event("joined", room="#garden", user="alice")
    second = await attached(town, "alice", "--room", "#garden", label="second face")
    await second.wait_for_event("target", target="#garden")
    bob = await town.join("bob", "--room", "#garden")
    await sees_members(bob, "#garden", ["alice", "bob"])
    first.say("from the first")
    await hears(bob, ["from the first"], sender="alice")
    await second.wait_for_event("message", text="from the first", own=True)
    second.say("/switch bob")
    await second.wait_for_event("target", target="bob")
    second.say("only you")
    await hears(bob, ["only you"], kind="direct")
    first.say("still in the garden")
    await hears(bob, ["still in the garden"], room="#garden")
    bob.say("welcome")
    await asyncio.gather(*(hears(face, ["welcome"], sender="bob") for face in (first, second)))
    first.say("/nonsense")
    await first.wait_for_event("error", code="bad-command")

    await leaves(first)
    assert [event["event"] for event in first.events[-2:]] == ["notice", "bye"]
    assert "goes on" in first.events[-2]["message"]
    assert (await asked(town, "alice", "status"))["rooms"] == ["#garden"]
    assert (await town.run("down", folder="alice")).code == 0
    assert await second.exit_code() == 0
    assert second.events[-1]["event"] == "bye"


async def test_a_password_for_an_attached_face_is_not_said(town: World) -> None:
    """A script that always gives one must not give it to the room."""
    await up(town, "alice", "--room", "#garden")
    face = await town.join("alice", "--room", "#garden", register=False)
    face.say("after the password")
    await face.wait_for_event("message", text="after the password", own=True)
    assert [line["text"] for line in face.messages()] == ["after the password"]


async def test_a_chat_in_a_terminal_answers_and_goes_down_as_well(town: World) -> None:
    """ "ask the running peer of this profile": whichever it is."""
    alice = await town.join("alice")
    assert (await asked(town, "alice", "status"))["user"] == "alice"
    assert_refused(await up(town, "alice", register=False), 2, "busy")
    assert (await town.run("down", folder="alice")).code == 0
    assert await alice.exit_code() == 0
    assert alice.events[-1]["event"] == "bye"


async def test_only_the_user_gets_to_the_socket(town: World) -> None:
    """ "Everything under the data folder is 0600, folders 0700"."""
    await up(town, "alice")
    door = door_of(town, "alice")
    assert (stat.S_IMODE(door.stat().st_mode), stat.S_IMODE(door.parent.stat().st_mode)) == (0o600, 0o700)


async def test_the_python_client(town: World) -> None:
    await up(town, "alice")
    bob = await town.join("bob", "--room", "#garden")
    async with connect("alice", data_dir=town.folder / "alice", network=town.network) as client:
        assert client.ready.user == "alice"
        await client.perform("/join #garden")
        await sees_members(bob, "#garden", ["alice", "bob"])
        names = await client.perform("/names #garden")
        assert [member.name for event in names if isinstance(event, Names) for member in event.members] == [
            "alice",
            "bob",
        ]
        with pytest.raises(NoSuchUser):
            await client.send("nobody", "hello")
        assert await client.send("#garden", "from Python") == "delivered"
        await hears(bob, ["from Python"], room="#garden", sender="alice")
        await client.stop()
    with pytest.raises(NotRunning):
        async with connect("alice", data_dir=town.folder / "alice", network=town.network):
            pass
