"""What of a talk makes itself heard, as `/notify`, `/mute` and `/away` say, also after a new start."""

from pathlib import Path

from dhtchat.chat.events import MessageArrived, Notice, PeerStatus
from tests.app.town import Person, Town

ROOM = "#lobby"


async def test_each_talk_is_as_loud_as_one_says(tmp_path: Path, seed: int) -> None:
    async with Town(tmp_path, seed) as town:
        alice, bob = await town.newcomers("alice", "bob")
        await town.gather_in(ROOM, alice, bob)
        number = 0

        async def is_heard(says: str) -> bool:
            nonlocal number
            number += 1
            line = f"{says} {number}" if says.startswith("/") else f"{says} ({number})"
            await bob.say(line)
            text = line.removeprefix("/msg alice ")
            message = await alice.expect(MessageArrived, text=text)
            assert (await bob.expect(MessageArrived, text=text)).notify is False, "one's own line never"
            return message.notify

        assert not await is_heard("anybody?")
        assert await is_heard("alice?")
        assert await is_heard("/msg alice psst")
        await alice.ask(f"/notify {ROOM} all", Notice, message=f"of {ROOM} you hear every line")
        assert await is_heard("anybody?")
        await alice.ask("/notify bob none", Notice, message="of bob you hear nothing")
        assert not await is_heard("/msg alice psst")
        await alice.ask("/away", Notice)
        assert not await is_heard("alice?")
        assert (await alice.ask("/status", PeerStatus)).away == "away"
        await alice.ask("/back", Notice)
        assert await is_heard("alice?")
        await _restart(alice)
        await alice.say(f"/join {ROOM}")
        await town.gather_in(ROOM, alice, bob)
        assert await is_heard("still every line?")
        assert not await is_heard("/msg alice still nothing")
        await alice.ask("/mute bob", Notice, message="bob is no longer muted")
        assert await is_heard("/msg alice psst")
        await alice.ask(f"/mute {ROOM}", Notice)
        assert not await is_heard("alice?")
        await alice.ask(f"/notify {ROOM}", Notice, message=f"of {ROOM} you hear nothing")


async def _restart(person: Person) -> None:
    await person.leave()
    await person.come_online()
