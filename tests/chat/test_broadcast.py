"""Who sends what to whom in a large room: bounded whatever arrives, one tree however many speak, nobody asked in vain for ever."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.chat import broadcast
from dhtchat.chat.broadcast import Announced, Broadcast, Graft, Prune, Push, Sent, Wanted
from dhtchat.limits import (
    ANNOUNCED_IDS_MAX,
    ANNOUNCEMENT_DELAY_S,
    DOUBT_S,
    GRAFT_DELAY_S,
    GRAFT_SOURCES,
    MISSING_PER_NEIGHBOUR_MAX,
    NEIGHBOUR_SCORE_MAX,
    PROMISE_S,
    SURVEY_MESSAGES,
)

PEERS = ["anna", "bert", "carl", "dora"]
PEER = st.sampled_from(PEERS)
IDS = [bytes([number]) for number in range(40)]
ID = st.sampled_from(IDS)
STEPS = st.one_of(
    st.tuples(st.just("push"), PEER, st.tuples(ID, st.none() | st.integers(0, 255))),
    st.tuples(st.just("compared"), PEER, ID),
    st.tuples(st.just("frame"), PEER, st.sampled_from([Prune(), Graft()])),
    st.tuples(st.just("frame"), PEER, st.lists(ID, max_size=20).map(tuple).map(Announced)),
    st.tuples(st.just("frame"), PEER, st.lists(ID, max_size=20).map(tuple).map(Wanted)),
    st.tuples(st.sampled_from(["up", "down"]), PEER, st.none()),
    st.tuples(st.just("tick"), PEER, st.floats(0.0, 3.0)),
)


class Member:
    """One member among neighbours who are only names."""

    def __init__(self, *, neighbours: list[str] = PEERS, settled: bool = True) -> None:
        self.held: set[bytes] = set()
        self.machine: Broadcast[str] = Broadcast(self.held.__contains__, random.Random(1))
        for peer in neighbours:
            self.machine.neighbour_up(peer)
        if settled:  # a survey is over: anna is above, bert below
            self.said(b"survey")
            for peer in neighbours:
                if peer not in ("anna", "bert"):
                    self.machine.on_frame(peer, Prune(), 0.0)
            self.machine.tick(DOUBT_S)

    def said(self, message: bytes) -> list[Sent[str]]:
        self.held.add(message)
        return self.machine.say(message, 0.0)

    def pushed(self, message: bytes, source: str, now_s: float = 0.0, survey: int | None = None) -> list[Sent[str]]:
        if message in self.held:
            return self.machine.on_known(message, source, survey=survey)
        self.held.add(message)
        return self.machine.on_new(message, source, now_s, survey=survey)


@given(st.lists(STEPS, max_size=200))
def test_whatever_arrives_what_is_kept_is_bounded(steps: list[tuple[str, str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"MISSING_MAX": 12, "MISSING_PER_NEIGHBOUR_MAX": 5, "ANNOUNCED_IDS_MAX": 6}.items():
            patched.setattr(broadcast, name, value)
        member, now_s = Member(settled=False), 0.0
        machine = member.machine
        for kind, peer, value in steps:
            sent: list[Sent[str]] = []
            match kind:
                case "push":
                    new = value[0] not in member.held
                    sent = member.pushed(value[0], peer, now_s, value[1])
                    assert new or not any(isinstance(each.frame, Push) for each in sent), "passed on twice"
                    assert all(each.to != peer for each in sent if isinstance(each.frame, Push))
                case "compared":
                    member.held.add(value)
                case "frame":
                    sent = machine.on_frame(peer, value, now_s)
                case "up":
                    machine.neighbour_up(peer)
                case "down":
                    machine.neighbour_down(peer)
                case _:
                    now_s += value
                    sent = machine.tick(now_s)
                    assert machine.next_s() > now_s, "the same tick again"
            assert all(each.to in machine.neighbours for each in sent)
            assert len(sent) == len(set(sent))
            assert machine.missing <= 12
            assert len(machine._doubts) <= 12
            for each in machine._neighbours.values():
                assert len(each.to_announce) <= 6
                assert 0 <= each.missing <= 5
                assert abs(each.score) <= NEIGHBOUR_SCORE_MAX
            for name in machine.neighbours:
                waited = sum(name in missing.sources or name in missing.asked for missing in machine._missing.values())
                assert waited == machine._neighbours[name].missing


def test_a_message_goes_along_the_tree_and_is_announced_beside_it() -> None:
    member = Member()
    assert member.pushed(b"hi", "anna") == [Sent("bert", Push(b"hi", None))]
    assert member.machine.tick(ANNOUNCEMENT_DELAY_S) == [
        Sent("carl", Announced((b"hi",))),
        Sent("dora", Announced((b"hi",))),
    ]


def test_a_second_copy_alone_prunes_nothing() -> None:
    """Two who speak at once would cut one circle at two places (Plumtree prunes by every copy)."""
    member = Member()
    member.pushed(b"hi", "anna")
    assert member.pushed(b"hi", "bert") == []
    assert member.machine.eager() == ["anna", "bert"]


def test_a_survey_goes_to_all_and_leaves_the_way_with_the_fewest_links() -> None:
    member = Member(settled=False)
    everywhere = member.pushed(b"survey", "anna", survey=4)
    assert everywhere == [Sent(peer, Push(b"survey", 5)) for peer in ("bert", "carl", "dora")]
    assert member.pushed(b"survey", "bert", survey=4) == [Sent("bert", Prune())]
    assert member.pushed(b"survey", "carl", survey=2) == [Sent("anna", Prune())], "carl is nearer"
    assert member.machine.on_frame("carl", Prune(), 0.0) == [Sent("carl", Graft())], (
        "he had our copy before we chose him"
    )
    assert member.machine.eager() == ["carl", "dora"]


def test_surveys_are_rare_whoever_asks_for_them() -> None:
    member = Member()
    for number in range(SURVEY_MESSAGES // 2):
        sent = member.pushed(f"{number}".encode(), "anna", survey=1)
        assert len(sent) == 1, number
    assert len(member.pushed(b"now", "anna", survey=1)) == len(PEERS) - 1
    own = [member.said(f"own {number}".encode())[0].frame for number in range(SURVEY_MESSAGES + 1)]
    assert [isinstance(frame, Push) and frame.survey is not None for frame in own] == [False] * SURVEY_MESSAGES + [True]


def test_what_is_announced_and_does_not_come_is_asked_of_two_and_then_of_the_next() -> None:
    member = Member(neighbours=[*PEERS, "emil"])
    machine = member.machine
    for peer in ("carl", "dora", "emil"):
        machine.on_frame(peer, Announced((b"hi",)), 10.0)
    assert machine.tick(10.0 + 0.4 * GRAFT_DELAY_S) == []
    asked = machine.tick(10.0 + 1.5 * GRAFT_DELAY_S)
    assert asked == [Sent("carl", Wanted((b"hi",))), Sent("dora", Wanted((b"hi",)))]
    assert len(asked) == GRAFT_SOURCES
    later_s = 10.0 + 1.5 * GRAFT_DELAY_S + PROMISE_S
    assert machine.tick(later_s) == [Sent("emil", Wanted((b"hi",)))]
    assert machine.take_broken() == ["carl", "dora"]
    assert machine.tick(later_s + PROMISE_S) == []
    assert machine.missing == 0, "left to a comparison of histories"


def test_the_tree_is_mended_where_it_is_broken_and_not_where_it_is_late() -> None:
    member = Member()
    machine, now_s = member.machine, 10.0

    def asked_for(message: bytes) -> None:
        nonlocal now_s
        machine.on_frame("carl", Announced((message,)), now_s)
        now_s += 2 * GRAFT_DELAY_S
        assert Sent("carl", Wanted((message,))) in machine.tick(now_s)
        member.pushed(message, "carl", now_s)

    asked_for(b"late")
    member.pushed(b"late", "anna", now_s)
    now_s += DOUBT_S
    assert Sent("carl", Graft()) not in machine.tick(now_s)
    asked_for(b"lost")
    now_s += DOUBT_S
    assert Sent("carl", Graft()) not in machine.tick(now_s), "once may be a delay further up"
    asked_for(b"lost again")
    now_s += DOUBT_S
    assert Sent("carl", Graft()) in machine.tick(now_s)
    assert machine.eager() == ["anna", "bert", "carl"]


def test_who_promises_and_does_not_keep_it_is_missed_least() -> None:
    member = Member()
    machine = member.machine
    member.pushed(b"hi", "anna")
    for number in range(10):
        machine.on_frame("carl", Announced((b"never %d" % number,)), 10.0)
    machine.tick(12.0)
    machine.tick(14.0)
    assert machine.worst(PEERS) == "carl"
    assert machine.worst(["anna", "bert"]) == "bert", "she brought nothing"


def test_ids_beyond_a_bound_are_left_to_a_comparison() -> None:
    member = Member()
    for number in range(2 * MISSING_PER_NEIGHBOUR_MAX // ANNOUNCED_IDS_MAX + 1):
        ids = tuple(b"%d.%d" % (number, each) for each in range(ANNOUNCED_IDS_MAX))
        member.machine.on_frame("carl", Announced(ids), 10.0)
    assert member.machine.missing == MISSING_PER_NEIGHBOUR_MAX


def test_nothing_is_taken_from_strangers() -> None:
    member = Member()
    for frame in (Announced((b"x",)), Wanted((b"survey",)), Graft(), Prune()):
        assert member.machine.on_frame("mallory", frame, 0.0) == []
    assert member.machine.missing == 0
