"""Connected or not: told once each, only after silence to questions, with the right duration."""

import random
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate

import pytest

from dhtchat.chat.connectivity import CameBack, Connectivity, WentOffline
from dhtchat.limits import PROBE_INTERVAL_S, QUIET_LIMIT_S

STEP_S = PROBE_INTERVAL_S / 2
START_S = 1_000.0


def drive(
    connectivity: Connectivity, answered: Callable[[float], bool], seconds: int, *, start_s: float = START_S
) -> list[tuple[float, WentOffline | CameBack]]:
    """Tick as `ChatNode` does, every STEP_S; when it wants a probe at a time that is `answered`, somebody is heard then."""
    heard_s, now_s, told = start_s, start_s, []
    while now_s < start_s + seconds:
        now_s += STEP_S
        change = connectivity.tick(heard_s, now_s)
        if change is not None:
            told.append((now_s - start_s, change))
        if connectivity.wants_probe(now_s) and answered(now_s - start_s):
            heard_s = now_s
    return told


def test_who_is_answered_stays_online() -> None:
    """Silence counts only while somebody is asked, and a quiet network is asked in time."""
    connectivity = Connectivity(START_S)
    assert drive(connectivity, lambda at_s: True, 600) == []
    assert connectivity.online


def test_silence_is_told_once_and_soon() -> None:
    """`disconnected` within twice the limit, and not again while it lasts."""
    connectivity = Connectivity(START_S)
    told = drive(connectivity, lambda at_s: False, 600)
    assert len(told) == 1
    at_s, change = told[0]
    assert QUIET_LIMIT_S <= at_s <= QUIET_LIMIT_S + STEP_S
    assert change == WentOffline(at_s)
    assert not connectivity.online


def test_a_few_lost_answers_are_nothing() -> None:
    """One probe in three is answered."""
    connectivity = Connectivity(START_S)
    assert drive(connectivity, lambda at_s: at_s % 6 < STEP_S, 600) == []


def test_coming_back_is_told_once_with_how_long_it_took() -> None:
    """`after_s` counts from the last answer: that is how long nothing can have arrived."""
    connectivity = Connectivity(START_S)
    told = drive(connectivity, lambda at_s: not 60 <= at_s < 90, 300)
    assert [type(change) for _, change in told] == [WentOffline, CameBack]
    (_, went), (back_s, came) = told
    assert isinstance(went, WentOffline)
    assert isinstance(came, CameBack)
    last_answer_s = told[0][0] - went.quiet_s
    assert came.after_s == back_s - last_answer_s
    assert 30 <= came.after_s <= 30 + 3 * PROBE_INTERVAL_S


def test_each_outage_is_told() -> None:
    """In turn, however many."""
    told = drive(Connectivity(START_S), lambda at_s: at_s % 120 < 60, 510)
    assert [type(change) for _, change in told] == [WentOffline, CameBack] * 4


def test_alone_at_the_start_is_disconnected_until_somebody_answers() -> None:
    """Nobody answered on the way in: `ready` came, and the first answer is a reconnection."""
    connectivity = Connectivity(START_S, alone=True)
    assert not connectivity.online
    assert connectivity.wants_probe(START_S)
    told = drive(connectivity, lambda at_s: at_s > 30, 100)
    assert [type(change) for _, change in told] == [CameBack]
    assert told[0][1] == CameBack(told[0][0])


def test_what_was_heard_before_the_start_does_not_count() -> None:
    """An answer from before is no sign that we are connected now."""
    connectivity = Connectivity(START_S, alone=True)
    assert connectivity.tick(START_S - 5.0, START_S + 1.0) is None
    assert connectivity.tick(START_S, START_S + 2.0) is None
    assert not connectivity.online


def test_a_process_that_slept_is_not_offline_for_that() -> None:
    """Stopped or suspended for an hour, nobody could have answered: it asks first, and only then may say so."""
    connectivity = Connectivity(START_S)
    woke_s = START_S + 3600.0
    assert connectivity.tick(START_S, woke_s) is None
    assert connectivity.online
    assert drive(connectivity, lambda at_s: True, 60, start_s=woke_s) == []
    slept_again_s = woke_s + 60.0 + 3600.0
    assert connectivity.tick(woke_s + 60.0, slept_again_s) is None
    told = drive(connectivity, lambda at_s: False, 60, start_s=slept_again_s)
    assert [type(change) for _, change in told] == [WentOffline]
    assert told[0][0] <= QUIET_LIMIT_S + STEP_S


def test_after_sleeping_it_asks_before_it_gives_up() -> None:
    """At least two probes fit between waking up and `disconnected`."""
    connectivity = Connectivity(START_S)
    now_s = START_S + 3600.0
    asked = 0
    connectivity.tick(START_S, now_s)
    while connectivity.online:
        now_s += STEP_S
        connectivity.tick(START_S, now_s)
        asked += connectivity.wants_probe(now_s) and connectivity.online
    assert asked >= 2


def test_an_answer_during_a_long_pause_is_heard() -> None:
    """Offline, and busy for a while with finding the way back in: the answer came during that, and counts at once."""
    connectivity = Connectivity(START_S)
    now_s = START_S
    while connectivity.online:
        now_s += STEP_S
        connectivity.tick(START_S, now_s)
    paused_s = now_s + QUIET_LIMIT_S + 2.0
    assert connectivity.tick(paused_s - 5.0, paused_s) == CameBack(paused_s - START_S)


def test_an_old_answer_does_not_bring_us_back() -> None:
    """Something that arrived late but is older than the limit says nothing about now."""
    connectivity = Connectivity(START_S, alone=True)
    assert connectivity.tick(START_S + 1.0, START_S + 1.0 + QUIET_LIMIT_S + 0.1) is None
    assert not connectivity.online


@pytest.mark.parametrize("case", range(50))
def test_looking_only_when_it_says_is_enough(case: int, seed: int) -> None:
    """Whoever calls `tick` at `next_s` and not before tells the same changes as one who looks all the time."""
    rng = random.Random(f"{seed}/{case}")
    watched, looked_at = Connectivity(START_S), Connectivity(START_S)
    outages = [*accumulate(rng.uniform(30.0, 150.0) for _ in range(4))]  # shorter ones may pass between two looks

    def is_answered(at_s: float) -> bool:
        return bisect(outages, at_s - START_S) % 2 == 0

    def changes(connectivity: Connectivity, next_s: Callable[[float, float], float]) -> list[tuple[float, type]]:
        heard_s, now_s, told = START_S, START_S, []
        while now_s < START_S + 600.0:
            now_s = next_s(heard_s, now_s)
            change = connectivity.tick(heard_s, now_s)
            if change is not None:
                told.append((now_s, type(change)))
            if connectivity.wants_probe(now_s) and is_answered(now_s):
                heard_s = now_s
        return told

    often = changes(looked_at, lambda heard_s, now_s: now_s + 0.1)
    rarely = changes(watched, watched.next_s)
    for (often_s, change), (rarely_s, same) in zip(often, rarely, strict=True):
        assert change is same
        assert abs(rarely_s - often_s) <= PROBE_INTERVAL_S, "each may have heard somebody just before the silence"


def test_while_all_is_well_it_looks_once_in_an_interval() -> None:
    connectivity, now_s = Connectivity(START_S), START_S
    for count in range(1, 100):
        heard_s = now_s
        now_s = connectivity.next_s(heard_s, now_s)
        assert connectivity.tick(heard_s, now_s) is None
        assert connectivity.wants_probe(now_s)
        assert not connectivity.is_doubtful(now_s), "it asks one, as long as that one answers"
        assert now_s == pytest.approx(START_S + count * PROBE_INTERVAL_S)


def test_after_a_probe_without_an_answer_it_is_doubtful_in_time() -> None:
    """Several are asked before anybody is told `disconnected`."""
    connectivity, now_s = Connectivity(START_S), START_S
    doubted_s = []
    while connectivity.online:
        now_s = connectivity.next_s(START_S, now_s)
        connectivity.tick(START_S, now_s)
        if connectivity.is_doubtful(now_s):
            doubted_s.append(now_s - START_S)
    assert doubted_s[0] < QUIET_LIMIT_S
