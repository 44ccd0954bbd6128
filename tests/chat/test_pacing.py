"""Our own client paces itself: a burst at once, then a steady rate, and nothing is dropped."""

import random
from itertools import pairwise

from dhtchat.chat.pacing import Pacer
from dhtchat.limits import SAY_BURST, SAY_PER_S


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    """design.md: "burst 100, 10 a second"."""
    pacer = Pacer(SAY_BURST, SAY_PER_S)
    waits = [pacer.take(1_000.0) for _ in range(SAY_BURST + 50)]
    assert waits[:SAY_BURST] == [0.0] * SAY_BURST
    assert waits[SAY_BURST:] == [number / SAY_PER_S for number in range(1, 51)]


def test_a_pause_gives_back_the_burst_and_no_more() -> None:
    """However long the pause."""
    pacer = Pacer(5, 2.0)
    for _ in range(5):
        pacer.take(0.0)
    assert pacer.take(0.5) == 0.0
    assert [pacer.take(1_000_000.0) for _ in range(6)] == [0.0] * 5 + [0.5]


def test_no_window_of_time_sees_more_than_burst_and_rate(rng: random.Random) -> None:
    """What a neighbour's budget grants an author, whenever lines are typed; and lines keep their order."""
    for _ in range(20):
        burst, per_s = rng.randrange(1, 20), rng.uniform(0.5, 20.0)
        pacer, now_s, leaving = Pacer(burst, per_s), 0.0, []
        for _ in range(200):
            now_s += rng.choice([0.0, 0.0, 0.01, rng.uniform(0.0, 3.0)])
            wait_s = pacer.take(now_s)
            assert wait_s >= 0.0
            leaving.append(now_s + wait_s)
        assert all(later >= earlier - 1e-9 for earlier, later in pairwise(leaving))
        for first in range(len(leaving)):
            for last in range(first, len(leaving)):
                allowed = burst + per_s * (leaving[last] - leaving[first])
                assert last - first + 1 <= allowed + 1e-6
