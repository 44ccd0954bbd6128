"""The room as a graph of rulings: design.md, "Rooms", sentence by sentence, and the same for every order of arrival."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhtchat.chat.room_graph import MODERATOR, NOBODY, Right, RoomGraph, Verdict, Voice
from dhtchat.ids import PeerId
from dhtchat.limits import RULING_HEADS_MAX, RULINGS_PARKED_MAX, RULINGS_PER_ISSUER_MAX
from dhtchat.records.ruling import Act, Given, OpenRuling, RuleTopic, RulingId, Said, SetDoor, SetHands, SetMode, Taken
from tests.chat.rulings import OWNER, device, grant, merge, person, picture, removal, rule, ruling

MODERATORS = "mnk"
OTHERS = "abc"
EVERYBODY = "o" + MODERATORS + OTHERS


def _room() -> RoomGraph:
    """With three moderators."""
    graph = RoomGraph(OWNER)
    for letter in MODERATORS:
        rule(graph, "o", grant(letter, "op"))
    return graph


def _copy(graph: RoomGraph) -> RoomGraph:
    copied = RoomGraph(OWNER)
    merge(copied, graph)
    return copied


def _speaks(graph: RoomGraph, letter: str, counter: int, heads: list[bytes], right: Right = Right.SPEAK) -> Verdict:
    return graph.judge(person(letter), device(letter), counter, heads, right)


# --- who may rule -----------------------------------------------------------------------------------------------------


def test_a_new_room_has_an_owner_and_speakers() -> None:
    graph = RoomGraph(OWNER)
    assert graph.now.role(OWNER) == "owner"
    assert graph.now.role(person("a")) == "speaker"
    assert graph.heads == []
    assert _speaks(graph, "a", 1, []) is Verdict.SHOWN


@pytest.mark.parametrize(
    ("issuer", "act"),
    [
        ("a", grant("b", "voice")),
        ("a", grant("a", "op")),
        ("a", removal("b", "kick")),
        ("a", SetMode(moderated=True)),
        ("a", RuleTopic("mine")),
        ("a", SetHands(open=False)),
        ("a", SetDoor(closed=True)),
        ("a", SetDoor(closed=False)),
        ("a", grant("b", "invite")),
        ("m", grant("o", "invite")),
        ("a", grant("a", "unban")),
        ("m", grant("a", "op")),
        ("m", grant("a", "owner")),
        ("m", grant("m", "owner")),
        ("m", removal("o", "ban")),
        ("m", removal("o", "deop")),
        ("m", removal("m", "kick")),
        ("o", removal("o", "deop")),
        ("o", removal("o", "kick")),
        ("o", grant("o", "op")),
        ("o", removal("m", "devoice")),
        ("m", removal("a", "deop")),
    ],
    ids=str,
)
def test_what_nobody_had_the_right_to_is_not_even_kept(issuer: str, act: Act) -> None:
    """So strangers cannot make a graph grow, and a forged `op` by a speaker is nothing."""
    graph = _room()
    before = picture(graph)
    rule(graph, issuer, act)
    assert picture(graph) == before
    assert len(graph) == len(MODERATORS)


def test_moderators_and_owner_do_what_they_are_for() -> None:
    graph = _room()
    rule(graph, "m", SetMode(moderated=True))
    assert graph.now.role(person("a")) == "listener"
    rule(graph, "n", grant("a", "voice"))
    assert graph.now.role(person("a")) == "speaker"
    rule(graph, "k", removal("a", "devoice"))
    rule(graph, "k", RuleTopic("gardens"))
    rule(graph, "k", SetHands(open=False))
    assert graph.now.role(person("a")) == "listener"
    assert (graph.now.topic, graph.now.hands_open) == ("gardens", False)
    rule(graph, "m", removal("n", "deop"))
    assert graph.now.role(person("n")) == "listener"
    rule(graph, "m", SetMode(moderated=False))
    assert graph.now.role(person("n")) == "speaker"
    assert graph.now.role(person("a")) == "listener", "who lost the floor by name does not get it by the mode"


def test_who_was_banned_comes_back_when_somebody_says_so() -> None:
    graph = _room()
    rule(graph, "m", removal("a", "ban"))
    assert graph.now.is_banned(person("a"))
    assert not graph.now.may(person("a"), Right.TAKE_PART)
    rule(graph, "n", grant("a", "voice"))  # not permitted: first let them in
    assert graph.now.is_banned(person("a"))
    rule(graph, "n", grant("a", "unban"))
    assert graph.now.role(person("a")) == "speaker"


@pytest.mark.parametrize("given", ["voice", "invite"])
def test_what_is_given_beside_a_ban_does_not_blur_it(given: Given) -> None:
    """By two moderators, whatever their hashes: who is banned was thrown out, and by whom is known."""
    for salt in range(8):
        one = _room()
        rule(one, "o", grant("n", "op"))
        two = _copy(one)
        ban = rule(one, "m", removal("s", "ban"), salt=salt)
        rule(two, "n", grant("s", given), salt=salt)
        merge(one, two)
        standing = one.now.people[person("s")]
        thrown_out = one.ruling(standing.kicked)
        assert standing.banned, salt
        assert thrown_out is not None, salt
        assert thrown_out.id == ban.id, salt
        rule(one, "o", grant("s", "unban"))
        standing = one.now.people[person("s")]
        assert (standing.voice, standing.invited) == (Voice.UNSET, False), salt


def test_who_was_kicked_listens_until_given_the_floor() -> None:
    graph = _room()
    rule(graph, "m", removal("a", "kick"))
    assert graph.now.role(person("a")) == "listener"
    assert graph.now.may(person("a"), Right.RAISE_HAND)
    rule(graph, "m", grant("a", "voice"))
    assert graph.now.role(person("a")) == "speaker"


# --- behind a closed door ---------------------------------------------------------------------------------------------


def _closed_room() -> RoomGraph:
    """With three moderators, and somebody who is invited."""
    graph = _room()
    rule(graph, "m", grant("a", "invite"))
    rule(graph, "m", SetDoor(closed=True))
    return graph


def test_a_closed_room_lets_in_who_is_invited_and_who_runs_it() -> None:
    graph = _closed_room()
    assert [who for who in EVERYBODY if graph.now.lets_in(person(who))] == ["o", *MODERATORS, "a"]
    assert set(graph.now.insiders()) == {person(who) for who in "o" + MODERATORS + "a"}
    assert not any(graph.now.may(person("b"), right) for right in (Right.SPEAK, Right.RAISE_HAND, Right.TAKE_PART))
    rule(graph, "n", grant("b", "invite"))
    assert graph.now.role(person("b")) == "speaker"
    rule(graph, "o", removal("n", "deop"))
    assert graph.now.lets_in(person("n")), "who was a moderator is still a member"
    rule(graph, "o", grant("a", "owner"))
    assert graph.now.lets_in(OWNER)
    rule(graph, "a", SetDoor(closed=False))
    assert graph.now.lets_in(person("c"))


@pytest.mark.parametrize("taken", ["kick", "ban"])
def test_throwing_out_takes_the_invitation_away(taken: Taken) -> None:
    graph = _closed_room()
    rule(graph, "m", removal("a", taken, said=2))
    assert not graph.now.lets_in(person("a"))
    rule(graph, "n", grant("a", "voice"))
    assert not graph.now.lets_in(person("a")), "the floor is no invitation"
    if taken == "ban":
        rule(graph, "n", grant("a", "invite"))  # not permitted: first let them in
        assert not graph.now.lets_in(person("a"))
        rule(graph, "n", grant("a", "unban"))
        assert not graph.now.lets_in(person("a"))
    rule(graph, "n", grant("a", "invite"))
    assert graph.now.role(person("a")) == "speaker"


def test_outside_a_closed_door_no_heads_help() -> None:
    """An outsider's lines count as far as the door says that they were heard before, and not a word more; nor do hands, marks and
    topics. Who closes a closed door once more takes nothing from anybody."""
    graph = _room()
    before = graph.heads
    rule(graph, "m", grant("a", "invite"))
    rule(graph, "m", SetDoor(closed=True, said=[Said(device("b")[:8], 2)]))
    for _ in range(2):
        for heads in ([], before, graph.heads):
            assert _speaks(graph, "b", 3, heads) is Verdict.VOID
            assert _speaks(graph, "c", 1, heads, Right.TAKE_PART) is Verdict.VOID
            assert _speaks(graph, "c", 1, heads, Right.RAISE_HAND) is Verdict.VOID
            assert _speaks(graph, "a", 9, heads) is Verdict.SHOWN
        assert _speaks(graph, "b", 2, before) is Verdict.SHOWN
        rule(graph, "m", SetDoor(closed=True))
    rule(graph, "m", removal("a", "kick", said=5))
    assert _speaks(graph, "a", 5, before) is Verdict.SHOWN
    assert _speaks(graph, "a", 6, before) is Verdict.VOID


def test_who_is_out_is_told_of_that_and_of_nothing_later() -> None:
    """What leads to one ruling, and what proves the right to it."""
    graph = _closed_room()
    kick = rule(graph, "m", removal("a", "kick"))
    rule(graph, "m", grant("b", "invite"))
    told = graph.leading_to(graph.now.people[person("a")].kicked, [])
    assert told[-1] == kick
    late = RoomGraph(OWNER)
    for each in told:
        late.offer(each)
    assert (len(late), late.heads) == (len(graph) - 1, [kick.id])
    assert [each.body.by for each in graph.basis_of(graph.now.door_by)] == ["ooo", "mmm"]
    rule(graph, "o", SetDoor(closed=True))
    assert [each.body.by for each in graph.basis_of(graph.now.door_by)] == ["ooo"]


# --- handing over -----------------------------------------------------------------------------------------------------


def test_a_room_can_be_handed_over() -> None:
    """The new owner makes and unmakes moderators, the old one is a moderator and no more."""
    graph = _room()
    rule(graph, "o", grant("a", "owner"))
    assert graph.now.role(person("a")) == "owner"
    assert graph.now.rank(OWNER) == MODERATOR
    rule(graph, "a", removal("o", "deop"))
    rule(graph, "o", grant("b", "op"))
    assert (graph.now.rank(OWNER), graph.now.rank(person("b"))) == (NOBODY, NOBODY)
    assert graph.now.rank(person("m")) == MODERATOR, "whom the old owner made one still is"


def test_an_old_owner_cannot_rule_as_if_it_had_not_happened() -> None:
    """What they back-date beside the handover does not count."""
    graph = _room()
    before = graph.heads
    rule(graph, "o", grant("a", "owner"))
    graph.offer(ruling("o", removal("a", "ban"), before))
    graph.offer(ruling("o", grant("b", "op"), before))
    assert graph.now.role(person("a")) == "owner"
    assert graph.now.rank(person("b")) == NOBODY


def test_of_two_handovers_one_counts_with_all_that_follows_from_it() -> None:
    """Two devices of one owner: whoever got the room by the other one is nobody, and so is whom they made moderator."""
    one, two = _room(), _room()
    rule(one, "o", grant("a", "owner"))
    rule(one, "a", grant("c", "op"))
    rule(two, "o", grant("b", "owner"))
    rule(two, "b", grant("d", "op"))
    merge(one, two)
    merge(two, one)
    assert picture(one) == picture(two)
    winner, loser = ("a", "b") if one.now.role(person("a")) == "owner" else ("b", "a")
    assert one.now.rank(person(loser)) == NOBODY
    made = {"a": "c", "b": "d"}
    assert one.now.rank(person(made[winner])) == MODERATOR
    assert one.now.rank(person(made[loser])) == NOBODY


# --- beside each other ------------------------------------------------------------------------------------------------


def test_what_a_moderator_does_beside_their_removal_by_the_owner_is_void() -> None:
    """design.md: "A statement concurrent with its author's removal by a higher rank is void"."""
    one = _room()
    two = _copy(one)
    rule(one, "o", removal("m", "deop"))
    rule(two, "m", removal("n", "ban"))
    rule(two, "m", SetMode(moderated=True))
    merge(one, two)
    assert not one.now.is_banned(person("n"))
    assert one.now.rank(person("n")) == MODERATOR
    assert not one.now.moderated


def test_two_equals_who_remove_each_other_both_go() -> None:
    """design.md, the same sentence."""
    one = _room()
    two = _copy(one)
    rule(one, "m", removal("n", "deop"))
    rule(two, "n", removal("m", "deop"))
    merge(one, two)
    assert (one.now.rank(person("m")), one.now.rank(person("n"))) == (NOBODY, NOBODY)


def test_what_else_an_equal_does_beside_their_removal_is_void() -> None:
    """Or who was removed could go on for ever, naming old heads."""
    one = _room()
    two = _copy(one)
    rule(one, "m", removal("n", "kick"))
    rule(two, "n", removal("a", "ban"))
    rule(two, "n", grant("b", "voice"))
    merge(one, two)
    assert not one.now.is_banned(person("a"))
    assert person("b") not in one.now.people


def test_the_owner_can_void_what_a_removed_moderator_back_dates() -> None:
    """Also when an equal removed them before: the owner says so once more."""
    graph = _room()
    old = graph.heads
    rule(graph, "m", removal("n", "deop"))
    graph.offer(ruling("n", removal("k", "ban"), old))
    assert graph.now.is_banned(person("k"))
    branch = ruling("o", removal("n", "deop"), [each for each in graph.heads if each != _id_of(graph, "k")])
    graph.offer(branch)
    assert not graph.now.is_banned(person("k"))


def _id_of(graph: RoomGraph, banned: str) -> bytes:
    return next(
        made.id
        for number in range(len(graph))
        if (made := graph.ruling(number)) and made.body.act == removal(banned, "ban")
    )


def test_the_owner_has_the_last_word() -> None:
    """Beside each other a moderator's mode and the owner's: the owner's, whatever their hashes."""
    for salt in range(8):
        one = _room()
        two = _copy(one)
        rule(one, "m", SetMode(moderated=True), salt=salt)
        rule(two, "o", SetMode(moderated=False), salt=salt)
        merge(one, two)
        assert not one.now.moderated


# --- messages ---------------------------------------------------------------------------------------------------------


def test_rights_are_judged_where_a_message_stands() -> None:
    graph = _room()
    early = graph.heads
    rule(graph, "m", SetMode(moderated=True))
    moderated = graph.heads
    rule(graph, "m", grant("a", "voice"))
    assert _speaks(graph, "a", 1, graph.heads) is Verdict.SHOWN
    assert _speaks(graph, "a", 1, moderated) is Verdict.VOID, "nobody had given the floor yet"
    assert _speaks(graph, "b", 1, early) is Verdict.VOID, "older than the mode, and it does not say that it counts"
    assert _speaks(graph, "m", 1, early) is Verdict.SHOWN
    assert _speaks(graph, "b", 1, [b"?" * 16]) is Verdict.UNKNOWN


def test_old_heads_do_not_help_who_was_removed() -> None:
    """What they had said before counts for everybody, newcomers too; what they say now to nobody."""
    for taken in ("kick", "ban", "devoice"):
        graph = _room()
        old = graph.heads
        rule(graph, "m", removal("a", taken, said=3))  # type: ignore[arg-type]
        assert _speaks(graph, "a", 3, old) is Verdict.SHOWN
        assert _speaks(graph, "a", 4, old) is Verdict.VOID
        assert _speaks(graph, "a", 4, []) is Verdict.VOID
        assert _speaks(graph, "a", 4, graph.heads) is Verdict.VOID
        other = device("b")
        assert graph.judge(person("a"), other, 1, old, Right.SPEAK) is Verdict.VOID, "a device made up afterwards"


def test_what_was_said_in_silence_stays_void() -> None:
    """Getting the floor back does not bring out what was said meanwhile."""
    graph = _room()
    old = graph.heads
    rule(graph, "m", removal("a", "kick", said=3))
    rule(graph, "m", grant("a", "voice"))
    assert _speaks(graph, "a", 4, old) is Verdict.VOID
    assert _speaks(graph, "a", 5, graph.heads) is Verdict.SHOWN


def test_a_removal_that_does_not_count_silences_nobody() -> None:
    one = _room()
    two = _copy(one)
    old = one.heads
    rule(two, "m", removal("a", "ban"))
    rule(one, "o", removal("m", "deop"))
    assert _speaks(two, "a", 1, old) is Verdict.VOID
    merge(two, one)
    assert _speaks(two, "a", 1, old) is Verdict.SHOWN


def test_a_right_by_a_ruling_that_does_not_count_is_none() -> None:
    """An old owner cannot give somebody the floor by a back-dated `op`, nor a removed moderator by a `voice`."""
    graph = _room()
    rule(graph, "m", SetMode(moderated=True))
    old = graph.heads
    rule(graph, "o", removal("n", "deop"))
    assert graph.offer(given := ruling("n", grant("a", "voice"), old))
    assert graph.state_at([given.id]).role(person("a")) == "speaker"  # type: ignore[union-attr]
    assert _speaks(graph, "a", 1, [given.id]) is Verdict.VOID


def test_a_moderator_with_a_lost_rank_speaks_where_everybody_does() -> None:
    graph = _room()
    old = graph.heads
    rule(graph, "o", removal("m", "deop"))
    assert _speaks(graph, "m", 1, old) is Verdict.SHOWN
    rule(graph, "o", SetMode(moderated=True))
    assert _speaks(graph, "m", 2, old) is Verdict.VOID


def test_a_hand_is_raised_where_the_queue_is_open() -> None:
    graph = _room()
    rule(graph, "m", SetMode(moderated=True))
    open_heads = graph.heads
    assert _speaks(graph, "a", 1, open_heads, Right.RAISE_HAND) is Verdict.SHOWN
    rule(graph, "m", SetHands(open=False))
    assert _speaks(graph, "a", 1, open_heads, Right.RAISE_HAND) is Verdict.VOID, "closing the queue empties it"
    assert _speaks(graph, "a", 2, graph.heads, Right.RAISE_HAND) is Verdict.VOID
    rule(graph, "m", SetHands(open=True))
    assert _speaks(graph, "a", 3, graph.heads, Right.RAISE_HAND) is Verdict.SHOWN


def test_who_was_given_the_floor_needs_no_hand() -> None:
    graph = _room()
    heads = graph.heads
    assert not graph.has_floor_since(person("a"), heads)
    rule(graph, "m", grant("a", "voice"))
    assert graph.has_floor_since(person("a"), heads)
    assert not graph.has_floor_since(person("a"), graph.heads)


def test_a_message_sets_the_topic_while_there_are_no_rulings() -> None:
    graph = RoomGraph(OWNER)
    assert _speaks(graph, "a", 1, [], Right.SET_TOPIC) is Verdict.SHOWN
    rule(graph, "o", grant("m", "op"))
    assert _speaks(graph, "a", 1, [], Right.SET_TOPIC) is Verdict.VOID


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_ruling_waits_for_what_it_follows() -> None:
    full = _room()
    rulings = full.after([])
    graph = RoomGraph(OWNER)
    for each in reversed(rulings[1:]):
        assert graph.offer(each) == []
    assert (len(graph), graph.parked) == (0, len(rulings) - 1)
    assert [each.id for each in graph.offer(rulings[0])] == [each.id for each in rulings]
    assert graph.parked == 0
    assert graph.offer(rulings[0]) == []
    assert picture(graph) == picture(full)


def test_nobody_fills_the_place_of_those_that_wait() -> None:
    """Of whom most wait loses the oldest: a flood of orphans pushes out no honest one."""
    full = _room()
    honest = rule(full, "m", SetMode(moderated=True))
    graph = RoomGraph(OWNER)
    graph.offer(honest)
    for number in range(2 * RULINGS_PARKED_MAX):
        graph.offer(ruling("v", SetMode(moderated=True), [number.to_bytes(16, "big")]))
    assert graph.parked == RULINGS_PARKED_MAX
    assert not graph._waiting.keys() - {RulingId(p) for each in graph._parked.values() for p in each.body.parents}
    merge(graph, full)
    assert graph.now.moderated


def test_one_moderator_cannot_fill_the_graph() -> None:
    graph = _room()
    for number in range(RULINGS_PER_ISSUER_MAX + 10):
        rule(graph, "m", SetHands(open=bool(number % 2)), salt=number)
    assert len(graph) == len(MODERATORS) + RULINGS_PER_ISSUER_MAX
    rule(graph, "o", removal("m", "deop"))
    assert graph.now.rank(person("m")) == NOBODY


def test_a_long_story_costs_a_step_a_ruling() -> None:
    """Evaluated a ruling at a time, each looks at itself only; and beside each other only at what is beside it."""
    graph = _room()
    looked = 0
    apply = graph._apply

    def counting(since: list, base):  # type: ignore[no-untyped-def,type-arg]
        nonlocal looked
        looked += len(since)
        return apply(since, base)

    graph._apply = counting  # type: ignore[method-assign]
    for number in range(300):
        if number % 10 == 0:  # two at once, and then somebody who has seen both
            heads = graph.heads
            graph.offer(ruling("m", removal("a", "devoice"), heads, salt=number))
            graph.offer(ruling("n", grant("a", "voice"), heads, salt=number))
        rule(graph, "k", SetHands(open=bool(number % 2)), salt=number)
        assert graph.now.rank(person("k")) == MODERATOR
    assert looked < 3 * len(graph)


def test_at_most_so_many_heads_are_named() -> None:
    graph = _room()
    heads = graph.heads
    for number in range(RULING_HEADS_MAX + 3):
        graph.offer(ruling("m", SetHands(open=False), heads, salt=number))
    assert len(graph.heads) == RULING_HEADS_MAX
    rule(graph, "m", SetHands(open=True))
    assert graph.state_at(graph.heads) is not None


# --- the same for everybody -------------------------------------------------------------------------------------------

ACTS: list[Act] = [
    *(grant(who, given) for who in MODERATORS + OTHERS for given in ("op", "voice", "unban", "invite")),  # type: ignore[arg-type]
    *(grant(who, "owner") for who in "ma"),
    *(removal(who, taken, said=2) for who in MODERATORS + OTHERS for taken in ("deop", "devoice", "kick", "ban")),  # type: ignore[arg-type]
    SetMode(moderated=True),
    SetMode(moderated=False),
    SetDoor(closed=True),
    SetDoor(closed=False),
    SetHands(open=False),
    RuleTopic("one"),
    RuleTopic("two"),
]

steps = st.lists(
    st.tuples(
        st.integers(0, 3),  # at which member
        st.sampled_from(EVERYBODY),  # who
        st.integers(0, len(ACTS) - 1),  # does what
        st.sampled_from(["rule"] * 4 + ["back-date", "meet", "meet"]),
        st.integers(0, 2**16),
    ),
    min_size=5,
    max_size=60,
)


def _play(story: list[tuple[int, str, int, str, int]]) -> list[RoomGraph]:
    """Four members, each in a part of the network of their own until they meet; all meet at the end."""
    members = [_room() for _ in range(4)]
    for at, who, act, how, number in story:
        graph = members[at]
        if how == "meet":
            merge(graph, members[number % 4])
            merge(members[number % 4], graph)
        elif how == "rule":
            rule(graph, who, ACTS[act], salt=number)
        else:
            known = graph.after([])
            parents = {known[number % len(known)].id, known[number // 7 % len(known)].id}
            graph.offer(ruling(who, ACTS[act], parents, salt=number))
    for graph in members:
        for other in members:
            for each in other.after([]):
                graph.offer(each)
    return members


def _verdicts(graph: RoomGraph, heads: list[list[bytes]]) -> list[object]:
    return [
        (graph.judge(person(who), device(who), counter, named, right))
        for who in EVERYBODY
        for counter in (1, 3)
        for named in heads
        for right in (Right.SPEAK, Right.RAISE_HAND)
    ]


@settings(max_examples=1_000, deadline=None)
@given(story=steps, shuffle=st.integers(0, 2**32))
def test_everybody_evaluates_the_same(story: list[tuple[int, str, int, str, int]], shuffle: int) -> None:
    """Issue 6, must show 4: 1,000 random graphs with partitions, moderators at once and old heads named on purpose.

    Every member after the heal, whoever hears all of it in any order, and an evaluation of the whole without any shortcut.
    """
    members = _play(story)
    source = random.Random(shuffle)
    rulings: list[OpenRuling] = members[0].after([])
    source.shuffle(rulings)
    late = RoomGraph(OWNER)
    for each in rulings:
        late.offer(each)
        if source.random() < 0.2:
            assert late.now is not None  # asked in between, which fills what it remembers
    assert late.parked == 0
    named = [[], late.heads, *([each.id] for each in rulings[:3])]
    expected, verdicts = picture(members[0]), _verdicts(members[0], named)
    for graph in (*members[1:], late):
        assert picture(graph) == expected
        assert _verdicts(graph, named) == verdicts
    assert late.now == late._apply(list(late._nodes), late._genesis)


@settings(max_examples=200, deadline=None)
@given(story=steps)
def test_who_is_out_stays_out_whatever_they_name(story: list[tuple[int, str, int, str, int]]) -> None:
    """Whoever may not speak now is heard with no choice of heads, but for what a removal says still counts."""
    graph = _play(story)[0]
    now = graph.now
    heads = [[], graph.heads, *([each.id] for each in graph.after([]))]
    for who in EVERYBODY:
        standing = now.people.get(person(who))
        out = not now.lets_in(person(who)) or (standing is not None and standing.kicked >= 0)
        if now.may(person(who), Right.SPEAK) or not out:
            continue
        for named in heads:
            assert _speaks(graph, who, 9, named) is not Verdict.SHOWN, (who, named)


def test_people_are_told_apart() -> None:
    """(The letters make different keys and device heads.)"""
    assert len({device(letter)[:8] for letter in EVERYBODY} | {device("v")[:8]}) == len(EVERYBODY) + 1
    assert person("a") == PeerId(b"a" * 32)
