"""Who is a neighbour of whom: bounded whatever is said, agreed by both sides in the end, and not for those who ask most to choose."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.chat.views import Spoken, Views, Word
from dhtchat.limits import (
    GUEST_NEIGHBOURS,
    NEIGHBOUR_ANSWER_S,
    NEIGHBOUR_PAUSE_S,
    NEIGHBOUR_ROTATION_S,
    OWN_NEIGHBOURS,
    REFUSALS_REMEMBERED_MAX,
)

MEMBERS = st.integers(1, 30)
STEPS = st.one_of(
    st.tuples(st.just("word"), MEMBERS, st.sampled_from(["please", "urgent", "yes", "no"])),
    st.tuples(st.just("down"), MEMBERS, st.just("")),
    st.tuples(st.just("tick"), st.integers(0, 60), st.just("")),
)


def first(members: list[int]) -> int:
    return members[0]


class Town:
    """Members whose words arrive in order unless they are lost."""

    def __init__(self, seed: int, members: int) -> None:
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.loss = 0.0
        self.views = {member: Views[int](self.rng) for member in range(members)}
        self.worst: Callable[[list[int]], int] = first
        for member, views in self.views.items():
            views.on_roster([other for other in self.views if other != member])

    def send(self, sender: int, said: list[Spoken[int]]) -> None:
        for to, word in said:
            if self.rng.random() >= self.loss and to in self.views:
                self.send(to, self.views[to].on_word(sender, word, self.now_s))

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now_s += 1.0
            for member, views in self.views.items():
                self.send(member, views.tick(self.now_s, self.worst))
                for other in views.neighbours:  # they talk to each other
                    self.send(other, self.views[other].stray(member))

    def one_sided(self) -> list[tuple[int, int]]:
        return [
            (member, other)
            for member, views in self.views.items()
            for other in views.neighbours
            if member not in self.views[other]
        ]

    def parts(self) -> int:
        """Into how many parts that do not hear of each other they fall."""
        left, parts = set(self.views), 0
        while left:
            parts += 1
            reached = [left.pop()]
            for member in reached:
                new = left & set(self.views[member].neighbours)
                left -= new
                reached += sorted(new)
        return parts


@given(st.lists(STEPS, max_size=300), st.integers(0, 2**32))
def test_whatever_is_said_there_are_only_so_many_neighbours(steps: list[tuple[str, int, str]], seed: int) -> None:
    views: Views[int] = Views(random.Random(seed))
    views.on_roster(range(1, 31))
    now_s = 0.0
    for kind, number, word in steps:
        if kind == "word":
            said = views.on_word(number, word, now_s)  # type: ignore[arg-type]
        elif kind == "down":
            views.on_link_down(number, now_s)
            said = []
        else:
            now_s += number
            said = views.tick(now_s, first)
        assert len(said) <= OWN_NEIGHBOURS + 2
        assert len(views) <= OWN_NEIGHBOURS + 1 + GUEST_NEIGHBOURS
        assert len(views.wanted) <= OWN_NEIGHBOURS + 1 + GUEST_NEIGHBOURS
        assert len(set(views.wanted)) == len(views.wanted)
        assert len(views._refused) <= REFUSALS_REMEMBERED_MAX
        assert views.next_s(now_s) >= now_s or kind != "tick"


@pytest.mark.parametrize("members", [9, 24, 100])
def test_both_sides_agree_and_all_are_in_one_part(seed: int, members: int) -> None:
    town = Town(seed, members)
    town.loss = 0.3
    town.pass_time(60)
    town.loss = 0.0
    town.pass_time(3 * NEIGHBOUR_PAUSE_S)
    assert town.one_sided() == []
    assert town.parts() == 1
    assert all(len(views._own) >= OWN_NEIGHBOURS for views in town.views.values())


def test_after_most_have_vanished_the_others_find_each_other(seed: int) -> None:
    town = Town(seed, 80)
    town.pass_time(30)
    for member in town.rng.sample(range(80), 60):
        del town.views[member]
    for member, views in town.views.items():
        for gone in [other for other in views.wanted if other not in town.views]:
            views.on_link_down(gone, town.now_s)
        views.on_roster([other for other in town.views if other != member])
    town.pass_time(NEIGHBOUR_ANSWER_S + 2 * NEIGHBOUR_PAUSE_S)
    assert town.parts() == 1
    assert town.one_sided() == []


def test_two_halves_that_learn_of_each_other_grow_together(seed: int) -> None:
    """All places are taken when the others appear: only because neighbours change now and then does anybody ask them."""
    town = Town(seed, 24)
    for member, views in town.views.items():
        views.on_roster([other for other in town.views if other != member and other // 12 == member // 12])
    town.pass_time(60)
    assert town.parts() == 2
    for member, views in town.views.items():
        views.on_roster([other for other in town.views if other != member])
    town.pass_time(2 * NEIGHBOUR_ROTATION_S)
    assert town.parts() == 1


def test_those_who_ask_most_do_not_get_all_places(seed: int) -> None:
    views: Views[int] = Views(random.Random(seed))
    views.on_roster(range(100))
    mine = [to for to, _ in views.tick(0.0, first)]
    for liar in range(1_000, 2_000):
        views.on_word(liar, "urgent", 0.1)
    for member in mine:
        views.on_word(member, "yes", 0.2)
    assert set(mine) <= set(views.neighbours)
    assert len(views) == OWN_NEIGHBOURS + GUEST_NEIGHBOURS


def test_an_answer_that_comes_too_late_is_taken_back() -> None:
    views: Views[int] = Views(random.Random(0))
    views.on_roster([7])
    assert views.tick(0.0, first) == [Spoken(7, "urgent")]
    assert views.tick(NEIGHBOUR_ANSWER_S, first) == []
    assert views.on_word(7, "yes", NEIGHBOUR_ANSWER_S) == [Spoken(7, "no")]
    assert 7 not in views


@pytest.mark.parametrize("word", ["please", "urgent"])
def test_two_who_ask_each_other_are_neighbours(word: Word) -> None:
    views: Views[int] = Views(random.Random(0))
    views.on_roster([7])
    views.tick(0.0, first)
    assert views.on_word(7, word, 0.1) == [Spoken(7, "yes")]
    assert views.on_word(7, "yes", 0.2) == []
    assert views.neighbours == [7]


def test_what_was_asked_before_there_was_a_link_is_asked_again() -> None:
    views: Views[int] = Views(random.Random(0))
    views.on_roster([7])
    views.tick(0.0, first)
    assert views.on_link_up(7) == [Spoken(7, "urgent")]
    assert views.on_link_up(8) == []
