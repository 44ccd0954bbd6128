"""Lines by their ids: answered, changed, deleted, reacted to, read, found, exported; and deleted really means deleted."""

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

from dhtchat.app.archive import Archive
from dhtchat.app.settings import Settings
from dhtchat.chat.events import ErrorShown, Found, History, LinesRead, MessageArrived, StatusChanged, to_dict
from dhtchat.chat.intents import MarkRead
from dhtchat.cli.export import export
from dhtchat.errors import NoSuchRoom, NoSuchUser
from dhtchat.parameters import SIM
from tests.app.town import Person, Town, until, until_async

ROOM = "#lobby"


def mentions(path: Path, words: str) -> list[str]:
    """The files of a folder in whose bytes these words stand."""
    return [file.name for file in path.iterdir() if words.encode() in file.read_bytes()]


async def line_of(person: Person, text: str) -> MessageArrived:
    return await person.expect(MessageArrived, text=text)


async def history(person: Person, count: int = 20) -> list[MessageArrived]:
    return (await person.ask(f"/history {count}", History)).messages


async def test_what_is_done_to_a_line_reaches_everybody(tmp_path: Path, seed: int) -> None:
    """contract.md: `reply_to`, `edits`, `deletes`, `reacts_to` where they apply; the history shows lines as they are now."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, *people)
        await alice.say("helo, everybody")
        first = await line_of(carol, "helo, everybody")
        for person in people:
            await line_of(person, "helo, everybody")
        await bob.say(f"/reply {first.id[:8]} hello alice")
        await alice.say("/edit -1 hello, everybody")
        await carol.say(f"/react {first.id} \N{WAVING HAND SIGN}")
        for person in people:
            reply = await line_of(person, "hello alice")
            assert reply.reply_to == first.id
            assert reply.mentioned is (person is alice)
            edit = await line_of(person, "hello, everybody")
            assert (edit.edits, edit.sender, edit.own) == (first.id, "alice", person is alice)
            reaction = await line_of(person, "\N{WAVING HAND SIGN}")
            assert (reaction.reacts_to, reaction.removed, reaction.sender) == (first.id, False, "carol")
            lines = await history(person)
            assert [(line.text, line.edited) for line in lines] == [("hello, everybody", True), ("hello alice", False)]
            assert to_dict(lines[0])["reactions"] == [{"emoji": "\N{WAVING HAND SIGN}", "users": ["carol"]}]
            assert "edits" not in to_dict(lines[0])
        await bob.say("/delete -1")
        await carol.say(f"/react {first.id} \N{WAVING HAND SIGN}")
        for person in people:
            deletion = await person.expect(MessageArrived, deletes=reply.id)
            assert deletion.text == ""
            await person.expect(MessageArrived, reacts_to=first.id, removed=True)
            assert [line.text for line in await history(person)] == ["hello, everybody"]
        await alice.expect_delivered("hello, everybody", to=2)


async def test_only_the_author_changes_a_line_and_a_wrong_id_is_told(tmp_path: Path, seed: int) -> None:
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        for number in range(20):
            await alice.say(f"line {number}")
        line = await line_of(bob, "line 19")
        for command, code in (
            (f"/edit {line.id} mine now", "not-allowed"),
            (f"/delete {line.id}", "not-allowed"),
            ("/delete -1", "no-such-message"),
            ("/reply -21 what?", "no-such-message"),
            (f"/reply {'0' * 32} what?", "no-such-message"),
            ("/reply xyz what?", "bad-command"),
            ("/react -0 :)", "bad-command"),
            (f"/react -1 {'x' * 17}", "too-long"),
        ):
            mark = bob.mark()
            try:
                await bob.say(command)
            except Exception as error:  # noqa: BLE001 - what the parser refuses
                assert getattr(error, "code", None) == code, command  # noqa: PT017
            else:
                await bob.expect(ErrorShown, after=mark, code=code)
        starts = {line.id[0] for line in alice.seen(MessageArrived)}
        shared = next(s for s in starts if sum(line.id[0] == s for line in alice.seen(MessageArrived)) > 1)
        mark = bob.mark()
        await bob.say(f"/reply {shared} which?")
        assert "several lines" in (await bob.expect(ErrorShown, after=mark, code="bad-command")).message
        assert [line.text for line in await history(bob)] == [f"line {number}" for number in range(20)]


async def test_a_deleted_line_is_gone_from_every_disk(tmp_path: Path, seed: int) -> None:
    """The issue: "deletes really delete, FTS too": of those who had it, who were away, and who come later. Nobody waits for
    it, and what came after it is there."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = people = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, *people)
        await alice.say("before")
        await line_of(carol, "before")
        await carol.leave()
        await alice.say("the xylophone is under the mat")
        await alice.say("/edit -1 the xylophone is under the blue mat")
        edited = await line_of(bob, "the xylophone is under the blue mat")
        assert (await bob.ask("/search xylo", Found)).messages[0].text == edited.text
        await bob.leave()
        await alice.say("/delete -1")
        await alice.say("after")
        await bob.come_online()
        await carol.come_online()
        dave = await town.newcomer("dave")
        for person in (bob, carol, dave):
            await person.say(f"/join {ROOM}")
            await person.expect(MessageArrived, text="after")
            assert [line.text for line in await history(person)] == ["before", "after"]
            assert (await person.ask("/search xylophone", Found)).messages == []
        await bob.expect(MessageArrived, deletes=lambda line: line == edited.edits)
        for person in (carol, dave):
            assert not any("xylophone" in text for text in person.texts())
        assert not any(talk.timeline.waiting for person in (alice, bob, carol, dave) for talk in person.node._talks)
        for person in (alice, bob, carol, dave):
            await person.say("goodbye")
            await person.leave()
            assert mentions(person.device_folder, "xylophone") == [], person.name


async def test_what_was_read_is_told_and_shared(tmp_path: Path, seed: int) -> None:
    """`read` follows `delivered`; the other device of the reader learns it too; nobody has read what was not shown."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        laptop = await town.resident("bob", machine="-laptop").come_online()
        await until(lambda: bob.node._pool.links_of(bob.identity), "bob's devices are not linked")
        await alice.say("/msg bob are you there?")
        line = await line_of(bob, "are you there?")
        await laptop.expect(MessageArrived, text="are you there?")
        await alice.expect_delivered("are you there?")
        assert "read" not in alice.states(line)
        await bob.say("/away")
        await bob.node.perform(MarkRead((line.id,)))
        await bob.say("/query alice")
        assert [each.read for each in await history(bob)] == [False]
        await bob.say("/back")
        await alice.expect(StatusChanged, id=line.id, state="read", read_by="bob")
        assert alice.states(line)[-2:] == ["delivered", "read"]
        await laptop.expect(LinesRead, target="alice", ids=[line.id])
        await laptop.say("/query alice")
        assert [each.read for each in await history(laptop)] == [True]
        mark = alice.mark()
        await laptop.node.perform(MarkRead((line.id,)))
        await laptop.node._lines.tell_read()
        await alice.say("/query bob")
        assert [each.read for each in await history(alice)] == [True]
        assert not alice.seen(StatusChanged, after=mark, state="read"), "read twice"


async def test_who_does_not_tell_is_not_told_of(tmp_path: Path, seed: int) -> None:
    """--no-receipts: others hear nothing, one's own history knows."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        bob.node._lines._tells_read = False
        await alice.say("/msg bob secret reader?")
        line = await line_of(bob, "secret reader?")
        await bob.node.perform(MarkRead((line.id,)))
        await bob.say("/query alice")
        await bob.node._lines.tell_read()
        assert [each.read for each in await history(bob)] == [True]
        await bob.say("no")
        await line_of(alice, "no")
        assert not alice.seen(StatusChanged, state="read")


async def test_the_archive_is_what_the_history_shows(tmp_path: Path, seed: int) -> None:
    """Of all talks, without a network, while the peer runs and after it; every line as JSON can be read back."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        for text in ("one", "two", "three"):
            await alice.say(text)
        await line_of(bob, "three")
        await bob.say("/react -1 +1")
        await bob.say("/reply -1 why?")
        await alice.expect(MessageArrived, text="why?")
        await alice.say("/delete -2")
        await alice.say("/edit -1 3")
        await alice.say("/msg bob psst")
        await line_of(bob, "psst")
        for person in (alice, bob):
            await person.say(f"/switch {ROOM}")
            shown = await history(person)
            settings = Settings(data_dir=person.folder, parameters=SIM, profile=person.name)
            talks = {talk.name: talk.lines for talk in Archive(settings).conversations(None)}
            other = "bob" if person is alice else "alice"
            assert [line.text for line in talks[ROOM]] == [line.text for line in shown] == ["one", "3", "why?"]
            assert [line.text for line in talks[other]] == ["psst"]
            for kept, line in zip(talks[ROOM], shown, strict=True):
                assert msgspec.structs.replace(kept, read=line.read, notify=line.notify) == line
            for target in ("#nowhere", "nobody"):
                with pytest.raises((NoSuchRoom, NoSuchUser)):
                    list(Archive(settings).conversations(target))
            await person.leave()
            assert [line.text for line in next(iter(Archive(settings).conversations(ROOM))).lines] == [
                "one",
                "3",
                "why?",
            ]
            file = tmp_path / f"{person.name}.jsonl"
            assert export(settings, ROOM, file, json=True) == 0
            lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
            assert [(line["event"], line["text"]) for line in lines] == [("message", t) for t in ("one", "3", "why?")]
            assert file.stat().st_mode & 0o777 == 0o600
            assert export(settings, None, file, json=False) == 0
            assert "(to: 3) why?" in file.read_text("utf-8")


async def test_damaged_lines_come_back_from_the_others_and_are_not_shown_again(tmp_path: Path, seed: int) -> None:
    """One's own, too: and no counter is used twice. The start does not fail, nobody loses a link over it."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        for number in range(4):
            await alice.say(f"alice {number}")
            await line_of(bob, f"alice {number}")
            await bob.say(f"bob {number}")
            await line_of(alice, f"bob {number}")
        said = alice.texts(ROOM)
        await bob.leave()
        with sqlite3.connect(bob.device_folder / "history.db") as db:
            for text in ("bob 3", "bob 1", "alice 2"):
                [(statement_id, raw)] = db.execute(
                    "SELECT s.id, raw FROM words JOIN statements s ON s.id=words.id WHERE text=?", (text,)
                ).fetchall()
                db.execute("UPDATE statements SET raw=? WHERE id=?", (raw[:-3] + b"\xff\xff\xff", statement_id))
        db.close()
        mark = bob.mark()
        await bob.come_online()
        await bob.say(f"/join {ROOM}")
        await bob.say("still here")
        await alice.expect(MessageArrived, text="still here")

        async def whole() -> bool:
            return [line.text for line in await history(bob)] == [*said, "still here"]

        await until_async(whole, lambda: f"bob has {bob.events[-1]}", within_s=20.0)
        assert bob.texts(after=mark) == ["still here"]
        assert not any(talk.timeline.forks_seen for person in (alice, bob) for talk in person.node._talks)


async def test_a_history_found_damaged_while_in_use_is_told_and_begun_anew(tmp_path: Path, seed: int) -> None:
    """Told in plain words once, nothing more is acknowledged, and the next start moves it aside and gets talk back."""
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        for number in range(60):
            await alice.say(f"{number} " + "lorem ipsum " * 50)
        last = "59 " + "lorem ipsum " * 50
        await line_of(bob, last)
        await alice.expect_delivered(last, to=1)
        await bob.leave()
        path = bob.device_folder / "history.db"
        await bob.come_online()
        assert not (path.parent / "history.db.damaged-1").exists()
        with path.open("r+b") as file:
            size = path.stat().st_size
            file.seek(4_096)
            file.write(b"\xa5" * (size - 4_096))
        path.with_name("history.db-wal").write_bytes(b"")
        bob.node._core.store._db.execute("PRAGMA cache_size=0")
        mark = bob.mark()
        await bob.say(f"/join {ROOM}")
        error = await bob.expect(ErrorShown, after=mark, code="damaged-file")
        assert "start again" in error.hint
        await bob.leave()
        town._errors.texts.clear()  # it was logged, too
        mark = bob.mark()
        await bob.come_online()
        assert (path.parent / "history.db.damaged-1").exists()
        await bob.expect(ErrorShown, after=mark, code="damaged-file")
        await bob.say(f"/join {ROOM}")
        await until(lambda: bob.texts(ROOM, after=mark) == alice.texts(ROOM), "the talk does not come back")
