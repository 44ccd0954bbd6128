"""Must-show 2 of issue 2: people talk."""

import asyncio
import itertools

import pytest

from tests.e2e.world import World, assert_each_once, delivered, enter_room, hears, sees_online, texts

pytestmark = pytest.mark.process

NAMES = ("alice", "bob", "carol", "dave", "erin")
LINES_EACH = 40


async def test_five_people_talk_in_a_room_and_in_private(world: World) -> None:
    """ "Five `join --plain --json` processes against one bootstrap process: everyone sees everyone in `/users` within 5 s
    of the last `ready`; 200 messages by five senders to one room arrive at all members exactly once, each sender's in
    order; private messages reach only their recipient." And statuses reach `delivered`."""
    await world.open_door()
    peers = await world.join_all(*NAMES)
    await asyncio.gather(*(sees_online(peer, NAMES, timeout_s=5.0) for peer in peers))

    await enter_room("#all", *peers)
    names = (await peers[-1].ask("/names", "names"))["members"]
    assert [(member["name"], member["online"]) for member in names] == [(name, True) for name in NAMES]
    said = {name: [f"{name} says {number}" for number in range(LINES_EACH)] for name in NAMES}
    for peer in peers:
        for line in said[peer.name]:
            peer.say(line)
    everything = list(itertools.chain(*said.values()))
    await asyncio.gather(*(hears(peer, everything, room="#all") for peer in peers))
    for peer in peers:
        assert_each_once(peer, everything, room="#all")
        for name, lines in said.items():
            assert texts(peer, room="#all", sender=name) == lines
        for line in said[peer.name]:
            await delivered(peer, line, delivered_to=4, members=4)

    secrets = {peer.name: f"between {peer.name} and the next" for peer in peers}
    for peer, following in zip(peers, peers[1:] + peers[:1], strict=True):
        peer.say(f"/msg {following.name} {secrets[peer.name]}")
    for peer, following in zip(peers, peers[1:] + peers[:1], strict=True):
        await hears(following, [secrets[peer.name]], kind="direct", sender=peer.name, recipient=following.name)
        await delivered(peer, secrets[peer.name])
    for peer, following in zip(peers, peers[1:] + peers[:1], strict=True):
        assert_each_once(following, [secrets[peer.name]], kind="direct", own=False)
        assert_each_once(peer, [secrets[peer.name]], kind="direct", own=True)
