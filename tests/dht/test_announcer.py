"""When something is due, and under which sequence number."""

import random

from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht.announcer import Announcement, Announcer, Schedule
from dhtchat.dht.contact import Contact
from dhtchat.ids import Endpoint, NodeId
from dhtchat.limits import ANNOUNCE_RETRY_S, SEQUENCE_LEAD_S_MAX
from dhtchat.records.kinds import SoftRecord
from tests.dht.support import key_of, presence

RECORD = presence(key_of(1), 1, 100)
HOLDER = Contact(NodeId(bytes(20)), Endpoint("127.0.0.1", 1))


def make(sequence: int, issued_at_s: int, gone: bool) -> SoftRecord:
    return presence(key_of(1), sequence, issued_at_s, gone=gone)


def announcer() -> Announcer:
    return Announcer(lambda interval_s: interval_s)


@given(seed=st.integers(0, 2**32))
def test_a_schedule_gives_each_thing_once_at_its_latest_time(seed: int) -> None:
    source = random.Random(seed)
    schedule: Schedule[int] = Schedule()
    expected: dict[int, float] = {}
    for _ in range(source.randrange(60)):
        thing, due_s = source.randrange(10), float(source.randrange(20))
        match source.randrange(3):
            case 0:
                schedule.put(thing, due_s)
                expected[thing] = due_s
            case 1:
                schedule.hasten(thing, due_s)
                expected[thing] = min(due_s, expected.get(thing, due_s))
            case _:
                schedule.drop(thing)
                expected.pop(thing, None)
        assert schedule.next_s() == min(expected.values(), default=None)
    for now_s in range(20):
        due = {thing for thing, due_s in expected.items() if due_s <= now_s}
        given_out = set()
        while (thing := schedule.pop_due(now_s)) is not None:
            given_out.add(thing)
            del expected[thing]
        assert given_out == due
    assert schedule.next_s() is None


def test_what_is_kept_is_due_at_once_and_after_each_refresh() -> None:
    machine = announcer()
    machine.keep("presence", make, 40.0, now_s=100.0)
    first = machine.pop_due(100.0)
    assert first is not None
    assert machine.pop_due(139.9) is None
    assert machine.next_s() == 140.0
    assert machine.pop_due(140.0) is first


def test_what_reached_nobody_is_tried_again_soon() -> None:
    machine = announcer()
    machine.keep("presence", make, 40.0, now_s=0.0)
    first = machine.pop_due(0.0)
    assert first is not None
    machine.published(first, RECORD, (), 1.0)
    assert machine.next_s() == 1.0 + ANNOUNCE_RETRY_S
    machine.published(first, RECORD, (HOLDER,), 1.0)
    assert first.holders == (HOLDER,)


def test_the_same_slot_again_replaces_and_remembers_who_holds_it() -> None:
    machine = announcer()
    machine.keep("presence", make, 40.0, now_s=0.0)
    first = machine.pop_due(0.0)
    assert first is not None
    machine.published(first, RECORD, (HOLDER,), 0.0)
    machine.keep("presence", make, 40.0, now_s=5.0)
    second = machine.pop_due(5.0)
    assert second is not None
    assert not machine.is_current(first)
    assert machine.is_current(second)
    assert second.holders == (HOLDER,)
    machine.published(first, RECORD, (), 5.0)  # a late report on what was replaced
    assert machine.next_s() == 45.0


def test_what_is_dropped_is_never_due_again() -> None:
    machine = announcer()
    machine.keep("presence", make, 40.0, now_s=0.0)
    dropped = machine.drop("presence")
    assert isinstance(dropped, Announcement)
    assert machine.drop("presence") is None
    machine.published(dropped, RECORD, (), 0.0)
    machine.hurry(0.0)
    assert machine.next_s() is None


def test_sequence_numbers_grow_with_the_clock_and_without_it() -> None:
    machine = announcer()
    first = machine.next_sequence(1_000.0)
    assert first == 1_000_000
    assert machine.next_sequence(1_000.0) == first + 1
    assert machine.next_sequence(500.0) == first + 2
    assert machine.next_sequence(2_000.0) == 2_000_000


def test_a_sequence_number_of_ours_that_others_hold_is_surpassed_within_reason() -> None:
    machine = announcer()
    own = machine.next_sequence(1_000.0)
    assert not machine.learn_sequence(own, 1_000.0)
    assert machine.learn_sequence(own + 50, 1_000.0)
    assert machine.next_sequence(1_000.0) == own + 51
    too_far = int((1_000 + SEQUENCE_LEAD_S_MAX) * 1_000) + 1
    assert not machine.learn_sequence(too_far, 1_000.0), "a lie could push us to the end of all numbers"
    assert machine.next_sequence(1_000.0) == own + 52
