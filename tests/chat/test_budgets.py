"""Token buckets for what others ask of us."""

from hypothesis import given
from hypothesis import strategies as st

from dhtchat.chat.budgets import Budgets


def test_the_burst_then_so_many_a_second() -> None:
    budgets: Budgets[str] = Budgets(burst=3, per_s=2.0, keys_max=10)
    assert [budgets.take("mallory", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [budgets.take("mallory", 1.0) for _ in range(3)] == [True, True, False]
    assert budgets.take("alice", 1.0), "one does not spend what another has"
    assert not budgets.take("alice", 1.0, tokens=3)
    assert budgets.take("alice", 1.0, tokens=2), "what is refused costs nothing"


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.0, 5.0)), max_size=200))
def test_never_more_keys_than_allowed_nor_more_tokens_than_time_gives(calls: list[tuple[int, float]]) -> None:
    budgets: Budgets[int] = Budgets(burst=2, per_s=1.0, keys_max=60)
    now_s, taken = 0.0, 0
    for key, pause_s in calls:
        now_s += pause_s
        taken += budgets.take(key, now_s) if key == 0 else 0
        budgets.take(key + 1, now_s)
        assert len(budgets) <= 60
    assert taken <= 2 + now_s


def test_the_one_not_heard_of_for_longest_is_forgotten() -> None:
    budgets: Budgets[int] = Budgets(burst=1, per_s=0.0, keys_max=2)
    for key in (1, 2, 1, 3):
        budgets.take(key, 0.0)
    assert len(budgets) == 2
    assert not budgets.take(1, 0.0), "it was in use"
    assert budgets.take(2, 0.0)
