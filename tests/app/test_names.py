"""Names and keys: the key seen at first contact stays, a changed one is said loudly, and two owners are told apart."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dhtchat.chat.events import MessageArrived, Ready, Warned
from dhtchat.errors import WrongPassword
from dhtchat.ids import NodeAddress, fingerprint
from tests.app.town import Town, until_async

OTHER_PASSWORD = "zerabu-kimopa-tadulo-ginera"


async def test_after_a_split_the_pinned_key_stays_and_everybody_is_warned(tmp_path: Path, seed: int) -> None:
    """design.md, "Who owns a name": two halves of a split network both grant `bob`. After the heal the larger half's bob
    owns the name. Alice, who has met the other one, is warned that the key has changed and goes on talking to hers; a
    line of the new one is shown to her as `bob#fingerprint`. The loser is told, keeps key and history, and logs in as
    `bob#fingerprint`."""
    async with Town(tmp_path, seed) as town, AsyncExitStack() as large:
        alice, old_bob, carol = await town.newcomers("alice", "bob", "carol")
        await alice.say("/msg bob good to meet you")
        await alice.expect_delivered("good to meet you")
        assert (await alice.whois("bob")).key_changed is False
        other_half = await large.enter_async_context(town.dht_node(doors=[]))
        doors = [NodeAddress(other_half.address, None)]
        for _ in range(6):
            await large.enter_async_context(town.dht_node(doors=doors))
        new_bob = town.resident("bob", machine="-of-the-other-half", password=OTHER_PASSWORD)
        await new_bob.come_online(register=True, bootstrap=doors)
        assert new_bob.identity != old_bob.identity
        await other_half.bootstrap(town.doors())
        for person in (alice, old_bob, carol):
            await person.node._dht.bootstrap(doors)

        async def key_changed() -> bool:
            return (await alice.whois("bob")).key_changed

        await until_async(key_changed, "alice does not see that bob's key has changed", within_s=30)
        warning = await alice.expect(Warned, code="key-changed")
        assert fingerprint(new_bob.identity) in warning.hint
        await alice.expect(Warned, code="name-conflict")
        assert (await alice.whois("bob")).fingerprint == fingerprint(old_bob.identity)
        await alice.say("/msg bob to the one I know")
        await old_bob.expect(MessageArrived, text="to the one I know", sender="alice")

        await new_bob.say("/msg alice hello from the other one")
        line = await alice.expect(MessageArrived, text="hello from the other one")
        assert (line.sender, line.verified) == (f"bob#{fingerprint(new_bob.identity)}", False)
        await alice.say(f"/msg bob#{fingerprint(new_bob.identity)} who are you?")
        await new_bob.expect(MessageArrived, text="who are you?", sender="alice")
        # Carol has met neither: for her the owner is bob.
        await carol.say("/msg bob hello stranger")
        await new_bob.expect(MessageArrived, text="hello stranger", sender="carol")
        assert not new_bob.seen(MessageArrived, text="to the one I know")
        assert len(alice.seen(Warned, code="key-changed")) == 1

        await old_bob.leave()
        with pytest.raises(WrongPassword):
            await old_bob.come_online()
        old_bob.name = f"bob#{fingerprint(old_bob.identity)}"
        mark = old_bob.mark()
        await old_bob.come_online()
        assert old_bob.seen(Ready, after=mark)[0].fingerprint == fingerprint(old_bob.identity)
        await old_bob.expect(Warned, after=mark, code="name-conflict")
        texts = [line.text for line in await old_bob.history("alice")]
        assert texts == ["good to meet you", "to the one I know"]
        await alice.say("/msg bob still you")
        await old_bob.expect(MessageArrived, text="still you")
        await old_bob.say("/msg alice still me")
        line = await alice.expect(MessageArrived, text="still me")
        assert (line.sender, line.verified) == ("bob", True)
