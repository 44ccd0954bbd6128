"""Must-show 5 of issue 2: a name has one owner."""

import asyncio

import pytest

from tests.e2e.world import READY_TIMEOUT_S, World, password_of

pytestmark = pytest.mark.process

RACERS = 10
LOSERS_TRIED = 3
"""Of those who lost, how many try their password all the same: each costs as much as a login does."""


async def test_of_ten_registrations_of_one_name_at_the_same_time_one_succeeds(main_world: World) -> None:
    """ "Ten registrations of one name at the same time in a network of a bootstrap node and three peers: exactly one
    succeeds, nine get exit 5, and the winner can log in from a fresh folder." And the losers cannot."""
    world = main_world
    await world.open_door()
    await world.join_all("alice", "bob", "carol")

    passwords = [password_of(f"racer {number}") for number in range(RACERS)]
    ends = await asyncio.gather(
        *(
            world.run("register", "zoe", *world.bootstrap, folder=f"racer-{number}", password=password, timeout_s=90)
            for number, password in enumerate(passwords)
        )
    )
    assert sorted(ended.code for ended in ends) == [0] + [5] * (RACERS - 1)
    winner = next(number for number, ended in enumerate(ends) if ended.code == 0)
    for number, ended in enumerate(ends):
        if number == winner:
            assert [event["event"] for event in ended.events] == ["registered"]
        else:
            assert ended.error["code"] == "name-taken"

    zoe = await world.join("zoe", register=False, password=passwords[winner], folder="fresh")
    assert zoe.events[0]["fingerprint"] == ends[winner].events[0]["fingerprint"]
    assert not [event for event in zoe.events if event["event"] == "warning"]
    losers = [number for number in range(RACERS) if number != winner][:LOSERS_TRIED]
    refused = await asyncio.gather(
        *(
            world.run(
                *("join", "zoe", "--plain", *world.bootstrap),
                folder=f"loser-{number}",
                password=passwords[number],
                timeout_s=READY_TIMEOUT_S,
            )
            for number in losers
        )
    )
    assert {(ended.code, ended.error["code"]) for ended in refused} == {(4, "wrong-password")}
