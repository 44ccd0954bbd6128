"""A crowd of the spreading machines: one tree however many speak at once, and what goes wrong is made good."""

import hashlib
from random import Random

import pytest

from dhtchat.chat.broadcast import Push, Sent
from dhtchat.limits import (
    ANTI_ENTROPY_INTERVAL_S,
    KEEPALIVE_TIMEOUT_S,
    NEIGHBOUR_WASTE_BURST,
    NEIGHBOUR_WASTE_PER_S,
    SAY_BURST,
    SAY_PER_S,
)
from simulations.crowd import Crowd
from simulations.network import Latency

MEMBERS = 40


@pytest.fixture
def crowd(seed: int) -> Crowd:
    gathered = Crowd(Random(seed), MEMBERS, latency=Latency(0.010, 0.050), loss=0.0)
    gathered.run(until_s=20.0)
    return gathered


def speak(crowd: Crowd, messages: int, *, every_s: float) -> list[bytes]:
    """From members drawn by chance."""
    said = []
    for _ in range(messages):
        message = hashlib.sha256(crowd.random.randbytes(8)).digest()
        crowd.random.choice([member for member in crowd.members if member.alive]).say(message)
        said.append(message)
        crowd.run(until_s=crowd.now_s + every_s)
    return said


def links_of_the_tree(crowd: Crowd) -> float:
    """That are eager, each counted at both ends."""
    return sum(len(member.spreading.broadcast.eager()) for member in crowd.members) / 2


def copies(crowd: Crowd, said: list[bytes]) -> float:
    """Per message and member besides its author."""
    everything = sum(member.copies[message] for member in crowd.members for message in said)
    return everything / len(said) / (len(crowd.members) - 1)


def test_after_one_message_there_is_a_tree_and_it_stays_one_when_many_speak_at_once(crowd: Crowd) -> None:
    """The copies of two messages that are on their way at once meet at different places of one circle."""
    speak(crowd, 1, every_s=1.0)
    assert links_of_the_tree(crowd) == MEMBERS - 1
    said = speak(crowd, 100, every_s=0.02)
    crowd.run(until_s=crowd.now_s + 10.0)
    assert all(message in member.held for member in crowd.members for message in said)
    assert links_of_the_tree(crowd) == MEMBERS - 1
    assert copies(crowd, said) < 1.1


def test_what_was_lost_with_a_neighbour_comes_from_others(crowd: Crowd) -> None:
    """Nobody hears of the deaths before the keep-alive does: until then ids that were announced beside the tree help."""
    speak(crowd, 3, every_s=1.0)
    crowd.kill(crowd.random.sample(range(MEMBERS), MEMBERS // 4))
    said = speak(crowd, 20, every_s=0.2)
    crowd.run(until_s=crowd.now_s + 2 * ANTI_ENTROPY_INTERVAL_S + KEEPALIVE_TIMEOUT_S)
    alive = [member for member in crowd.members if member.alive]
    assert all(message in member.held for member in alive for message in said)
    mended = speak(crowd, 20, every_s=0.2)
    crowd.run(until_s=crowd.now_s + 1.0)
    assert all(message in member.held for member in alive for message in mended)


def test_who_wastes_our_time_is_a_neighbour_no_longer(crowd: Crowd) -> None:
    [message] = speak(crowd, 1, every_s=1.0)
    victim = crowd.members[0]
    mallory = victim.spreading.views.neighbours[0]
    for _ in range(NEIGHBOUR_WASTE_BURST):
        victim.on_push(mallory, message, None, None)
    assert mallory in victim.spreading.views
    for _ in range(int(NEIGHBOUR_WASTE_PER_S) + 1):
        victim.on_push(mallory, message, None, None)
    assert mallory not in victim.spreading.views
    assert mallory not in victim.spreading.broadcast.neighbours


def test_an_author_has_a_budget_that_our_own_client_stays_within(crowd: Crowd) -> None:
    spreading = crowd.members[0].spreading
    honest = [
        spreading.may_spread(b"honest", 100.0 + max(0, number - SAY_BURST) / SAY_PER_S) for number in range(1_000)
    ]
    assert all(honest)
    flood = [spreading.may_spread(b"flooder", 100.0) for _ in range(1_000)]
    assert sum(flood) == 2 * SAY_BURST


def test_what_a_comparison_brought_is_passed_on(crowd: Crowd) -> None:
    """Or it would stop there: whoever holds it does not pass it on when it is pushed."""
    speak(crowd, 1, every_s=1.0)
    member = crowd.members[0]
    member.held[b"found"] = (crowd.now_s, None)
    sent = member.spreading.on_new(b"found", None, crowd.now_s, survey=None)
    assert [each.to for each in sent if isinstance(each, Sent) and isinstance(each.frame, Push)] == (
        member.spreading.broadcast.eager()
    )
