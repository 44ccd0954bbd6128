"""How long a soft record lives: nobody between its owner and the reader can make it live longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.limits import CLOCK_SKEW_S
from dhtchat.records.soft import dies_at, forgotten_at
from tests.records import samples

ISSUED_S = 1_000_000
TTL_S = 120


@pytest.mark.parametrize(
    ("received_s", "remaining_s", "expected"),
    [
        (ISSUED_S, None, ISSUED_S + TTL_S),
        (ISSUED_S + 30, None, ISSUED_S + 30 + TTL_S),  # "receipt + ttl"
        (
            ISSUED_S + 700,
            None,
            ISSUED_S + TTL_S + CLOCK_SKEW_S,
        ),  # "the earlier of receipt + ttl and issued + ttl + skew"
        (ISSUED_S - 500, None, ISSUED_S - 500 + TTL_S),  # its owner's clock is ahead of ours
        (ISSUED_S, 40.0, ISSUED_S + 40),  # "hand-off carries the remaining life ..."
        (ISSUED_S, 9_999.0, ISSUED_S + TTL_S),  # "... and never extends it"
        (ISSUED_S, 0.0, ISSUED_S),
        (ISSUED_S, -5.0, ISSUED_S),
        (ISSUED_S, float("inf"), ISSUED_S + TTL_S),
        (ISSUED_S, float("nan"), ISSUED_S),
    ],
)
def test_when_a_soft_record_dies(received_s: float, remaining_s: float | None, expected: float) -> None:
    """design.md, "Records": the table of soft lives, and what a stranger may put into a hand-off."""
    assert dies_at(ISSUED_S, TTL_S, received_s, remaining_s) == expected


seconds = st.floats(0, 2**33)


@given(ttl_s=st.integers(1, 10_000), hops=st.lists(st.tuples(st.floats(0, 500), seconds), max_size=6))
def test_no_chain_of_hand_offs_extends_a_life(ttl_s: int, hops: list[tuple[float, float]]) -> None:
    """However often it is handed on, honestly or with a lie: it dies by issued + ttl + skew, and a hop that tells the
    truth about what is left does not add to it."""
    now_s = float(ISSUED_S)
    ends_s = dies_at(ISSUED_S, ttl_s, now_s)
    for waited_s, lie_s in hops:
        now_s += waited_s
        assert dies_at(ISSUED_S, ttl_s, now_s, lie_s) <= forgotten_at(ISSUED_S, ttl_s)
        handed_on_s = dies_at(ISSUED_S, ttl_s, now_s, ends_s - now_s)
        assert handed_on_s <= max(ends_s, now_s) + 1e-6
        ends_s = handed_on_s


def test_entries_of_one_set_do_not_collide() -> None:
    """One entry per device of each owner: another device, and another owner with the same device, are other entries."""
    for body in samples.stored()[2:]:
        mine, other = body.entry_id(samples.ALICE.public), body.entry_id(samples.BOB.public)  # type: ignore[attr-defined]
        assert mine != other
        assert len(mine) == len(other) == {"mail": 16, "door": 32}.get(body.KIND, 64)
