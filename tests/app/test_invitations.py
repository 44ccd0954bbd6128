"""Asking others into rooms, over real links."""

from pathlib import Path

from dhtchat.chat.events import ErrorShown, Invited, Notice
from tests.app.town import Town

ROOM = "#garden"


async def test_who_is_invited_is_told_and_so_is_who_invites(tmp_path: Path, seed: int) -> None:
    """contract.md: `/invite NAME`; `invited` with `room`, `user` and `by`. Nobody else hears of it, and it is no line of talk."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, alice, carol)
        await alice.say("/invite bob")
        for person in (alice, bob):
            await person.expect(Invited, room=ROOM, user="bob", by="alice")
        await bob.say(f"/join {ROOM}")
        await bob.say("here I am")
        await alice.expect_texts(["here I am"])
        assert bob.texts() == ["here I am"]
        assert not carol.seen(Invited)
        assert await bob.history("alice") == []


async def test_an_invitation_that_makes_no_sense_is_refused_with_a_reason(tmp_path: Path, seed: int) -> None:
    """Who is in already, who is banned, oneself, nobody, no room: two lines each. Who is ignored is not heard."""
    async with Town(tmp_path, seed) as town:
        alice, bob, carol = await town.newcomers("alice", "bob", "carol")
        await town.gather_in(ROOM, alice, bob)

        async def refused(line: str) -> tuple[str, str]:
            error = await alice.ask(line, ErrorShown)
            return error.code, error.hint

        assert await refused("/invite bob") == ("not-allowed", "See /names.")
        await alice.say("/ban carol")
        assert await refused("/invite carol") == ("not-allowed", "First: /unban carol.")
        assert (await refused("/invite alice"))[0] == "no-such-user"
        assert (await refused("/invite nobody-here"))[0] == "no-such-user"
        await alice.say("/query bob")
        assert (await refused("/invite carol"))[0] == "no-such-room"
        assert not carol.seen(Invited)
        await carol.say("/ignore bob")
        await carol.expect(Notice, message="you ignore bob")
        await bob.say("/join #other")
        await bob.say("/invite carol")
        await bob.expect(Invited, user="carol", by="bob")
        await bob.say("/msg carol psst")
        await bob.expect_delivered("psst")
        assert not carol.seen(Invited)
