"""Whatever arrives in whatever order: shown once, causes first, nothing stalled for good, nothing unbounded."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from dhtchat.chat.timeline import Fate, Offered, Shown, Timeline
from dhtchat.history.store import (
    HistoryStore,
    StoredStatement,
    Write,
    keep_floor,
    keep_statement,
    mark_shown,
)
from dhtchat.ids import DeviceId, MessageId
from dhtchat.limits import ABSENT_PARENTS_MAX, HELD_MESSAGES_MAX, HELD_WAIT_S, PARENTS_MAX
from dhtchat.records.message import Delete, Place, Read, Say, Statement, kind_of, open_statement
from tests.chat.statements import NETWORK, ROOM, Speaker, followed_by, random_history, speakers

ROUNDS = 30


def shown_by(timeline: Timeline, statements: Iterable[Statement], now_s: float = 0.0) -> list[Statement]:
    """Offer all at one moment; everything that was shown, in order."""
    return [item.statement for one in statements for item in timeline.offer(one, now_s).shown]


def ids(statements: Iterable[Statement]) -> list[MessageId]:
    """To compare with what was read back from disk."""
    return [one.id for one in statements]


def assert_causal(shown: Sequence[Statement], *, absent: Iterable[bytes] = ()) -> None:
    """Each once, after the one before it in its chain and after its parents, apart from those that are `absent`."""
    before: set[bytes] = set(absent)
    upto: dict[DeviceId, int] = {}
    for one in shown:
        assert one.id not in before, "shown twice"
        assert before.issuperset(followed_by(one)), f"{one} came before what it follows"
        assert upto.get(one.author.device, one.body.counter - 1) == one.body.counter - 1, f"{one} is out of its chain"
        before.add(one.id)
        upto[one.author.device] = one.body.counter


def state_of(timeline: Timeline, stranger: Speaker) -> object:
    """What others and the next line see of a timeline."""
    return timeline.vector(), timeline.next_place(stranger.device), len(timeline), timeline.waiting


# --- order ------------------------------------------------------------------------------------------------------------


def test_any_order_of_arrival_is_shown_once_and_causes_first(rng: random.Random) -> None:
    """design.md: "Order shown is causal". Every permutation of a random graph, with repeats, shows all of it."""
    for _ in range(ROUNDS):
        said = random_history(speakers(5, rng), 60, rng)
        arrivals = [*said, *rng.choices(said, k=20)]
        rng.shuffle(arrivals)
        timeline = Timeline(ROOM)
        shown = shown_by(timeline, arrivals)
        assert_causal(shown)
        assert len(shown) == len(said) == len(timeline)
        assert timeline.waiting == 0


def test_nodes_given_the_same_end_in_the_same_state(rng: random.Random) -> None:
    """Convergence: heads (as the parents of the next line), vector and depths are those of the set, not of the order."""
    stranger = Speaker("stranger", rng)
    for _ in range(ROUNDS):
        said = random_history(speakers(5, rng), 60, rng, gossip=rng.uniform(0.0, 0.8))
        results = []
        for _ in range(3):
            rng.shuffle(said)
            timeline = Timeline(ROOM)
            depths = {item.statement.id: item.depth for one in said for item in timeline.offer(one, 0.0).shown}
            results.append((state_of(timeline, stranger), depths))
        assert results[0] == results[1] == results[2]


def test_depth_and_id_are_a_causal_order(rng: random.Random) -> None:
    """History is read back by (depth, id): that must be an order one could have shown it in."""
    for _ in range(ROUNDS):
        said = random_history(speakers(4, rng), 50, rng)
        rng.shuffle(said)
        timeline = Timeline(ROOM)
        shown = [item for one in said for item in timeline.offer(one, 0.0).shown]
        assert_causal([item.statement for item in sorted(shown, key=lambda item: (item.depth, item.statement.id))])


def test_what_comes_out_together_is_ordered_by_depth_and_id(rng: random.Random) -> None:
    """Ties by id, so that two people who catch up at once read the same."""
    voices = speakers(6, rng)
    root = voices[0].say()
    replies = [voice.say(parents=[root]) for voice in voices[1:]]
    timeline = Timeline(ROOM)
    assert shown_by(timeline, replies) == []
    shown = timeline.offer(root, 0.0).shown
    assert [item.statement for item in shown] == [root, *sorted(replies, key=lambda one: one.id)]
    assert [item.depth for item in shown] == [1, 2, 2, 2, 2, 2]


def test_the_depth_of_an_offer_is_the_one_it_is_shown_with(rng: random.Random) -> None:
    """The row on disk gets the depth of the offer when it is shown at once."""
    timeline = Timeline(ROOM)
    for one in random_history(speakers(3, rng), 30, rng):
        offered = timeline.offer(one, 0.0)
        assert [(item.statement, item.depth) for item in offered.shown] == [(one, offered.depth)]


def test_a_lie_about_the_previous_line_does_not_break_the_order_of_a_chain(rng: random.Random) -> None:
    """`previous` is only the author's word; by (depth, id) its lines must still be read back by counter."""
    liar = Speaker("liar", rng)
    lines = [liar.place(counter, b"" if counter == 1 else rng.randbytes(16)) for counter in range(1, 20)]
    timeline = Timeline(ROOM)
    shown = [item for one in lines for item in timeline.offer(one, 0.0).shown]
    assert [item.statement for item in sorted(shown, key=lambda item: (item.depth, item.statement.id))] == lines


# --- duplicates and forks ---------------------------------------------------------------------------------------------


def test_a_duplicate_is_known_whether_shown_or_held(rng: random.Random) -> None:
    """A statement is accepted once, and a second copy changes nothing."""
    voice = Speaker("alice", rng)
    first, second, third = voice.chain(3)
    timeline = Timeline(ROOM)
    timeline.offer(first, 0.0)
    timeline.offer(third, 0.0)
    assert [timeline.offer(one, 0.0) for one in (first, third)] == [Offered(Fate.KNOWN), Offered(Fate.KNOWN)]
    assert [item.statement for item in timeline.offer(second, 0.0).shown] == [second, third]
    assert timeline.offer(second, 0.0).fate is Fate.KNOWN


@pytest.mark.parametrize("first_is_held", [False, True])
def test_a_second_statement_at_a_place_is_a_fork_and_never_shown(rng: random.Random, first_is_held: bool) -> None:
    """The first with its (device, counter) wins; the other is neither new nor known, so nobody acknowledges it."""
    voice, other = speakers(2, rng)
    opening = other.say()
    one = voice.place(1, b"", [opening])
    fork = voice.place(1, b"", [opening], content=open_statement(other.say("fork").raw, NETWORK).body.content)
    timeline = Timeline(ROOM)
    if not first_is_held:
        timeline.offer(opening, 0.0)
    timeline.offer(one, 0.0)
    assert timeline.offer(fork, 0.0) == Offered(Fate.FORKED)
    assert timeline.forks_seen == 1
    rest = [*timeline.offer(opening, 0.0).shown, *timeline.release(1000.0)]
    assert fork not in [item.statement for item in rest]
    assert not timeline.holds(fork.id)


def test_nothing_waits_for_the_other_half_of_a_fork(rng: random.Random) -> None:
    """Somebody who was shown the other half names it as a parent: we know it will never be shown here."""
    liar, honest = speakers(2, rng)
    ours, theirs = liar.place(1, b""), liar.place(1, b"", [rng.randbytes(16)])
    reply = honest.say(parents=[theirs])
    timeline = Timeline(ROOM)
    timeline.offer(ours, 0.0)
    assert timeline.offer(reply, 0.0).shown == ()
    assert timeline.offer(theirs, 0.1).fate is Fate.FORKED
    assert [item.statement for item in timeline.release(0.1)] == [reply]


# --- gaps -------------------------------------------------------------------------------------------------------------


def test_a_gap_holds_back_what_follows_and_the_vector(rng: random.Random) -> None:
    """`vector` names only what is contiguous, so that others know what to send."""
    voice = Speaker("alice", rng)
    first, second, third, fourth = voice.chain(4)
    timeline = Timeline(ROOM)
    assert shown_by(timeline, [first, fourth, third]) == [first]
    assert timeline.vector() == {voice.device: 1}
    assert timeline.waiting == 2
    assert shown_by(timeline, [second]) == [second, third, fourth]
    assert timeline.vector() == {voice.device: 4}


def test_a_reply_waits_for_what_it_replies_to(rng: random.Random) -> None:
    """A parent that is itself held back holds back what follows it."""
    alice, bob = speakers(2, rng)
    first, second = alice.chain(2)
    reply = bob.say(parents=[second])
    timeline = Timeline(ROOM)
    assert shown_by(timeline, [reply, second]) == []
    assert timeline.vector() == {bob.device: 1}
    assert shown_by(timeline, [first]) == [first, second, reply]


def test_what_nobody_supplies_is_waited_for_and_then_done_without(rng: random.Random) -> None:
    """HELD_WAIT_S after its arrival a statement comes out, not before; `next_release_s` says when."""
    voice = Speaker("alice", rng)
    orphan = voice.say(parents=[rng.randbytes(16)])
    timeline = Timeline(ROOM)
    assert timeline.next_release_s() is None
    assert timeline.offer(orphan, 100.0).shown == ()
    assert timeline.next_release_s() == 100.0 + HELD_WAIT_S
    assert timeline.release(100.0 + HELD_WAIT_S - 0.001) == ()
    assert timeline.release(100.0 + HELD_WAIT_S) == (Shown(orphan, 1),)
    assert timeline.next_release_s() is None


def test_of_a_chain_with_a_gap_the_first_comes_out_first(rng: random.Random) -> None:
    """Author order holds among what is here, however it arrived."""
    voice = Speaker("alice", rng)
    lines = voice.chain(10)
    timeline = Timeline(ROOM)
    arrivals = lines[1:]
    rng.shuffle(arrivals)
    assert shown_by(timeline, arrivals) == []
    assert [item.statement for item in timeline.release(HELD_WAIT_S)] == lines[1:]
    assert timeline.vector() == {}
    assert shown_by(timeline, [lines[0]], HELD_WAIT_S + 1) == [lines[0]]
    assert timeline.vector() == {voice.device: 10}


def test_what_waited_out_comes_after_those_it_follows_that_are_here(rng: random.Random) -> None:
    """Two that waited for something missing, one a reply to the other: the reply must not come out first."""
    for _ in range(10):
        alice, bob, carol = speakers(3, rng)
        root = alice.say(parents=[rng.randbytes(16)])
        reply = bob.say(parents=[root])
        answer = carol.say(parents=[reply, rng.randbytes(16)])
        timeline = Timeline(ROOM)
        arrivals = [root, reply, answer]
        rng.shuffle(arrivals)
        assert shown_by(timeline, arrivals) == []
        assert [item.statement for item in timeline.release(HELD_WAIT_S)] == [root, reply, answer]


def test_nobody_is_held_back_longer_than_the_wait(rng: random.Random) -> None:
    """Whoever supplies a missing parent at the last moment, itself with a missing parent, cannot prolong it for others."""
    honest = Speaker("honest", rng)
    liars = speakers(5, rng)
    deepest = liars[0].say(parents=[rng.randbytes(16)])
    links = [deepest]
    for liar in liars[1:]:
        links.append(liar.say(parents=[links[-1]]))
    line = honest.say(parents=[links[-1]])
    timeline = Timeline(ROOM)
    timeline.offer(line, 0.0)
    for number, late in enumerate(reversed(links[1:]), start=1):
        assert timeline.offer(late, number * HELD_WAIT_S / 6).shown == ()
    shown = [item.statement for item in timeline.release(HELD_WAIT_S)]
    assert shown == [*links[1:], line]


def test_a_late_parent_is_shown_late_and_is_no_head(rng: random.Random) -> None:
    """What came out too early already follows it: naming it again as a head would be wrong, here and after a restart."""
    alice, bob, stranger = speakers(3, rng)
    root = alice.say()
    reply = bob.say(parents=[root])
    timeline = Timeline(ROOM)
    timeline.offer(reply, 0.0)
    timeline.release(HELD_WAIT_S)
    assert [item.statement for item in timeline.offer(root, HELD_WAIT_S).shown] == [root]
    assert timeline.next_place(stranger.device) == (1, b"", [reply.id])


def test_after_any_timing_everything_is_shown_once_and_in_author_order(rng: random.Random) -> None:
    """Losses, repeats and long pauses: what waits out breaks causal order at most towards what was not there."""
    for _ in range(ROUNDS):
        said = random_history(speakers(4, rng), 40, rng)
        arrivals = [*said, *said]
        rng.shuffle(arrivals)
        timeline, now_s, shown = Timeline(ROOM), 0.0, []
        here: set[MessageId] = set()
        for one in arrivals:
            now_s += rng.choice([0.0, 0.1, HELD_WAIT_S / 3])
            for step in (timeline.release(now_s), timeline.offer(one, now_s).shown):
                for item in step:
                    earlier = {former.id for former in shown}
                    missing = [cause for cause in followed_by(item.statement) if cause not in earlier]
                    assert not here.intersection(missing), "something that was here came out after its reply"
                    shown.append(item.statement)
                here.add(one.id)
        assert sorted(one.id for one in shown) == sorted(one.id for one in said)
        assert timeline.waiting == 0


# --- newcomers --------------------------------------------------------------------------------------------------------


def test_a_floor_is_where_a_newcomer_begins(rng: random.Random) -> None:
    """With the statement and the word that nothing before it will come, the rest is shown at once and is contiguous."""
    voice = Speaker("alice", rng)
    lines = voice.chain(20)
    timeline = Timeline(ROOM)
    assert shown_by(timeline, lines[10:]) == []
    assert [item.statement for item in timeline.set_floor(voice.device, 11, 0.0)] == lines[10:]
    assert (timeline.floor_of(voice.device), timeline.vector()) == (11, {voice.device: 20})


def test_the_floors_of_several_devices_release_what_they_said_in_one_order(rng: random.Random) -> None:
    """By depth and id, and not one device after the other."""
    voices = speakers(3, rng)
    lines = [line for voice in voices for line in voice.chain(8)[3:]]
    timeline = Timeline(ROOM)
    assert shown_by(timeline, lines) == []
    shown = timeline.set_floors({voice.device: 4 for voice in voices}, 0.0)
    assert [item.statement for item in shown] == sorted(lines, key=lambda one: (one.body.counter, one.id))


@pytest.mark.parametrize("floor", [0, 1, 2, 5, 2**62])
def test_a_floor_without_its_statement_is_not_believed(rng: random.Random, floor: int) -> None:
    """Somebody claims that a device that has not spoken begins far ahead: its first line must still be shown."""
    voice, me = speakers(2, rng)
    timeline = Timeline(ROOM)
    for device in (voice.device, me.device):
        assert timeline.set_floor(device, floor, 0.0) == ()
    assert timeline.vector() == {}
    first = voice.say()
    assert shown_by(timeline, [first]) == [first]
    assert timeline.next_place(me.device) == (1, b"", [first.id])


@pytest.mark.parametrize("floor", [1, 2, 4, 6, 2**62])
def test_a_floor_beside_another_statement_is_not_believed_either(rng: random.Random, floor: int) -> None:
    """Something later is here, but not the very one: what lies before it may still come."""
    voice = Speaker("alice", rng)
    lines = voice.chain(7)
    timeline = Timeline(ROOM)
    timeline.offer(lines[4], 0.0)
    assert timeline.set_floor(voice.device, floor, 0.0) == ()
    assert timeline.vector() == {}
    assert shown_by(timeline, lines[:4]) == lines[:5]


def test_a_floor_is_not_believed_where_something_is_held_from_the_beginning(rng: random.Random) -> None:
    """A gap is to be filled, whoever says that it will not: others may have it."""
    voice = Speaker("alice", rng)
    lines = voice.chain(6)
    timeline = Timeline(ROOM)
    shown_by(timeline, [lines[0], *lines[3:]])
    assert timeline.set_floor(voice.device, 4, 0.0) == ()
    assert timeline.vector() == {voice.device: 1}
    assert shown_by(timeline, lines[1:3]) == lines[1:]


def test_behind_a_gap_that_nobody_fills_there_is_a_new_beginning(rng: random.Random) -> None:
    """Only after HELD_WAIT_S, and only where a statement stands: until then the gap may still be filled."""
    voice = Speaker("alice", rng)
    lines = voice.chain(20)
    timeline = Timeline(ROOM)
    shown_by(timeline, [*lines[:3], *lines[10:]])
    timeline.set_floor(voice.device, 11, HELD_WAIT_S / 2)
    assert timeline.vector() == {voice.device: 3}
    timeline.release(HELD_WAIT_S)
    for floor in (1, 2, 3, 4, 10, 21, 2**62):
        timeline.set_floor(voice.device, floor, HELD_WAIT_S)
        assert timeline.vector() == {voice.device: 3}
    timeline.set_floor(voice.device, 11, HELD_WAIT_S)
    assert (timeline.floor_of(voice.device), timeline.vector()) == (11, {voice.device: 20})
    assert shown_by(timeline, lines[3:10]) == lines[3:10]
    assert timeline.floor_of(voice.device) == 1


def test_an_old_line_that_somebody_dug_out_does_not_spoil_the_beginning(rng: random.Random) -> None:
    """Otherwise everything after the gap would be sent to us again with every comparison."""
    voice = Speaker("alice", rng)
    lines = voice.chain(20)
    timeline = Timeline(ROOM)
    shown_by(timeline, [lines[2], *lines[10:]])
    shown = [item.statement for item in timeline.set_floor(voice.device, 11, 0.0)]
    assert shown == [lines[2], *lines[10:]]
    assert timeline.vector() == {voice.device: 20}


def test_what_lies_before_the_floor_is_taken_when_it_comes(rng: random.Random) -> None:
    """More history is no harm; it does not move the vector."""
    voice = Speaker("alice", rng)
    lines = voice.chain(6)
    timeline = Timeline(ROOM)
    shown_by(timeline, lines[3:])
    timeline.set_floor(voice.device, 4, 0.0)
    assert shown_by(timeline, [lines[1]]) == [lines[1]]
    assert timeline.offer(lines[1], 0.0).fate is Fate.KNOWN
    assert timeline.vector() == {voice.device: 6}
    assert timeline.next_place(voice.device)[:2] == (7, lines[5].id)


def test_a_floor_after_the_wait_was_over_does_not_make_anybody_wait_again(rng: random.Random) -> None:
    """What came out without its beginning stays shown, and the next line follows at once."""
    voice = Speaker("alice", rng)
    lines = voice.chain(6)
    timeline = Timeline(ROOM)
    shown_by(timeline, lines[3:5])
    assert len(timeline.release(HELD_WAIT_S)) == 2
    assert timeline.set_floor(voice.device, 4, HELD_WAIT_S) == ()
    assert shown_by(timeline, [lines[5]], HELD_WAIT_S) == [lines[5]]


def test_absent_parents_are_not_waited_for(rng: random.Random) -> None:
    """What lies before a newcomer's history will not come, whether it is said before or after what names it."""
    alice, bob = speakers(2, rng)
    before, after = rng.randbytes(16), rng.randbytes(16)
    timeline = Timeline(ROOM)
    timeline.set_absent([before])
    early, late = alice.say(parents=[before]), bob.say(parents=[after])
    assert shown_by(timeline, [early, late]) == [early]
    timeline.set_absent([after])
    assert [item.statement for item in timeline.release(0.0)] == [late]


def test_what_is_here_is_not_absent_whoever_says_so(rng: random.Random) -> None:
    """A liar must not make a reply come before a line that only waits for its turn."""
    alice, bob = speakers(2, rng)
    first, second = alice.chain(2)
    reply = bob.say(parents=[second])
    timeline = Timeline(ROOM)
    shown_by(timeline, [second, reply])
    timeline.set_absent([second.id])
    assert timeline.release(0.0) == ()
    assert shown_by(timeline, [first]) == [first, second, reply]


def test_absent_parents_are_bounded_and_the_newest_count(rng: random.Random) -> None:
    """Somebody who names thousands fills no memory, and does not lock out what is said after that."""
    voice = Speaker("alice", rng)
    timeline = Timeline(ROOM)
    timeline.set_absent(number.to_bytes(16, "big") for number in range(3 * ABSENT_PARENTS_MAX))
    assert len(timeline._absent) == ABSENT_PARENTS_MAX
    missing = rng.randbytes(16)
    timeline.set_absent([missing])
    line = voice.say(parents=[missing])
    assert shown_by(timeline, [line]) == [line]


# --- bounds and liars -------------------------------------------------------------------------------------------------


def test_no_more_than_the_bound_are_held_back(rng: random.Random) -> None:
    """The rest is not refused: those go early of whom most wait, and somebody else's reply keeps its turn."""
    flood, alice, bob = speakers(3, rng)
    first = alice.say()
    reply = bob.say(parents=[first])
    timeline = Timeline(ROOM)
    assert timeline.offer(reply, 0.0).shown == ()
    lines = [flood.say(parents=[rng.randbytes(16)]) for _ in range(HELD_MESSAGES_MAX + 50)]
    shown = shown_by(timeline, lines)
    assert timeline.waiting == HELD_MESSAGES_MAX
    assert shown == lines[: len(shown)]
    assert len(shown) == 51
    assert shown_by(timeline, [first]) == [first, reply]
    assert timeline.vector()[flood.device] == len(lines)


def test_one_missing_parent_does_not_stop_somebody_who_catches_up(rng: random.Random) -> None:
    """A long history behind a line that nobody can complete: the vector advances with every page, and order holds."""
    liar, alice, bob = speakers(3, rng)
    bad = liar.say(parents=[rng.randbytes(16)])
    alice_first = alice.say(parents=[bad])
    said = [bad, alice_first]
    for _ in range(HELD_MESSAGES_MAX // 2 + 10):
        said += [bob.say(parents=[said[-1]]), alice.say(parents=[said[-1]])]
    timeline = Timeline(ROOM)
    shown = shown_by(timeline, said)
    assert timeline.vector() == {liar.device: 1, alice.device: alice.counter, bob.device: bob.counter}
    assert timeline.waiting == 0
    assert_causal(shown, absent=bad.body.parents)


def test_a_huge_counter_is_held_back_and_then_shown_alone(rng: random.Random) -> None:
    """A counter far ahead costs one entry, moves no vector and is nobody's parent: others could not ask for it."""
    liar, alice, stranger = speakers(3, rng)
    far = liar.place(2**62, rng.randbytes(16))
    timeline = Timeline(ROOM)
    line = alice.say()
    assert shown_by(timeline, [far, line]) == [line]
    assert timeline.release(HELD_WAIT_S) == (Shown(far, 1),)
    assert timeline.vector() == {alice.device: 1}
    assert timeline.next_place(stranger.device) == (1, b"", [line.id])


def test_a_statement_that_names_itself_waits_out_and_stalls_nobody(rng: random.Random) -> None:
    """Impossible by hash, but nothing here may depend on that."""
    liar, alice = speakers(2, rng)
    own = rng.randbytes(16)
    snake = liar.say(parents=[own])
    snake.id = MessageId(own)
    timeline = Timeline(ROOM)
    line = alice.say()
    assert shown_by(timeline, [snake, line]) == [line]
    assert [item.statement for item in timeline.release(HELD_WAIT_S)] == [snake]


def test_parents_in_a_circle_wait_out_and_are_shown_once(rng: random.Random) -> None:
    """The same for circles of any length."""
    for length in (2, 3, 7):
        liars = speakers(length, rng)
        ids = [rng.randbytes(16) for _ in liars]
        circle = [liar.say(parents=[ids[number - 1]]) for number, liar in enumerate(liars)]
        for one, own in zip(circle, ids, strict=True):
            one.id = MessageId(own)
        reply = Speaker("reply", rng).say(parents=[circle[0]])
        timeline = Timeline(ROOM)
        assert shown_by(timeline, [*circle, reply]) == []
        out = [item.statement for item in timeline.release(HELD_WAIT_S)]
        assert sorted(one.id for one in out) == sorted(one.id for one in [*circle, reply])
        assert out.index(reply) > out.index(circle[0])


def test_a_circle_through_a_chain_is_cut_without_breaking_the_chain(rng: random.Random) -> None:
    """A liar signs its fifth line first, gets a reply to it, and then signs its fourth as a reply to that: no hash is broken."""
    for _ in range(20):
        liar, honest = speakers(2, rng)
        opening = liar.chain(3)
        fifth = liar.place(5, rng.randbytes(16))
        reply = honest.say(parents=[fifth])
        fourth = liar.place(4, opening[-1].id, [reply])
        sixth = liar.place(6, fifth.id)
        timeline = Timeline(ROOM)
        assert shown_by(timeline, opening) == opening
        arrivals = [fifth, reply, fourth, sixth]
        rng.shuffle(arrivals)
        assert shown_by(timeline, arrivals) == []
        out = [item.statement for item in timeline.release(HELD_WAIT_S)]
        assert sorted(one.id for one in out) == sorted(one.id for one in arrivals)
        assert [one for one in out if one.author is liar.author] == [fourth, fifth, sixth]


def test_liars_do_not_stall_others(rng: random.Random) -> None:
    """Eight unknown parents, forks, gaps and huge counters from one device: the others' lines come at once and in order."""
    voices = speakers(3, rng)
    said = random_history(voices, 60, rng)
    liar = Speaker("liar", rng)
    noise = [
        *(liar.place(counter, rng.randbytes(16), [rng.randbytes(16) for _ in range(8)]) for counter in range(2, 12)),
        *(liar.place(3, rng.randbytes(16)) for _ in range(10)),
        liar.place(2**62, rng.randbytes(16)),
    ]
    arrivals = [*said, *noise]
    rng.shuffle(arrivals)
    timeline = Timeline(ROOM)
    shown = shown_by(timeline, arrivals)
    assert_causal(shown)
    assert len(shown) == len(said)
    assert all(one.author is liar.author for one in (item.statement for item in timeline.release(HELD_WAIT_S)))
    assert timeline.waiting == 0


def test_a_line_names_at_most_its_bound_of_parents_the_deepest_first(rng: random.Random) -> None:
    """PARENTS_MAX heads; its own previous line is not named twice."""
    crowd = speakers(PARENTS_MAX + 4, rng)
    me = crowd[0]
    timeline = Timeline(ROOM)
    shown_by(timeline, [voice.say() for voice in crowd])
    deep = crowd[1].say()
    timeline.offer(deep, 0.0)
    counter, previous, parents = timeline.next_place(me.device)
    assert (counter, previous) == (2, me.last.id if me.last else None)
    assert len(parents) == PARENTS_MAX
    assert parents[0] == deep.id
    assert previous not in parents


# --- what nobody waits for ---------------------------------------------------------------------------------------------


def test_a_line_passes_over_what_was_only_read_and_over_nothing_else(rng: random.Random) -> None:
    """`read` goes to no mailbox: a line from there after two of them does not wait for what will not come."""
    alice, bob = speakers(2, rng)
    first = alice.say()
    reads = [alice.state(Read([b"r" * 16])) for _ in range(2)]
    third = alice.state(Say("third"), passes_over=2)
    fourth = alice.say("fourth")
    timeline = Timeline(ROOM)
    assert shown_by(timeline, [third, fourth]) == []
    assert shown_by(timeline, [first]) == [first, third, fourth]
    assert timeline.vector() == {alice.device: 1}
    assert shown_by(timeline, reads) == reads
    assert timeline.vector() == {alice.device: 5}
    lone = bob.place(4, b"p" * 16, passes_over=1)
    assert shown_by(timeline, [lone, bob.say()]) == [bob.last]
    assert timeline.waiting == 1


def test_what_the_next_line_passes_over(rng: random.Random, disk: "Disk") -> None:
    """The reads right before it, and of those what it deletes: the same after a restart."""
    alice = Speaker("alice", rng)
    timeline = Timeline(ROOM)
    for content, expected in (
        (Say("one"), 0),
        (Read([b"r" * 16]), 1),
        (Read([b"r" * 16]), 2),
        (Say("four"), 0),
        (Read([b"r" * 16]), 1),
        (Delete([Place(b"f" * 16, 4)]), 0),
    ):
        disk.offer(timeline, alice.state(content))
        for each in (timeline, disk.load()):
            assert each.next_passes_over(alice.device) == expected
        if alice.counter == 5:
            assert timeline.next_passes_over(alice.device, [4]) == 4
            assert timeline.next_passes_over(alice.device, [1]) == 1
    timeline.forget(alice.device, 7)
    assert timeline.next_passes_over(alice.device, [6]) == 1


def test_what_was_only_read_is_no_head_and_what_it_follows_stays_one(rng: random.Random, disk: "Disk") -> None:
    """So that nobody names it, and waits for it who can have the rest from a mailbox only."""
    alice, bob, stranger = speakers(3, rng)
    line = alice.say()
    read = bob.state(Read([line.id]), parents=[line])
    reply = bob.state(Say("reply"), parents=[line], passes_over=1)
    timeline = Timeline(ROOM)
    for one in (line, read):
        disk.offer(timeline, one)
        for each in (timeline, disk.load()):
            assert each.next_place(stranger.device) == (1, b"", [line.id])
            assert each.next_place(alice.device) == (2, line.id, [])
    assert timeline.next_place(bob.device) == (2, read.id, [line.id])
    disk.offer(timeline, reply)
    assert timeline.next_place(stranger.device) == disk.load().next_place(stranger.device) == (1, b"", [reply.id])


# --- on disk ----------------------------------------------------------------------------------------------------------


class Disk:
    """Keeps what a timeline says in a history file as `app/exchange.py` does, and reads it back as `app/talks.py` does."""

    def __init__(self, store: HistoryStore) -> None:
        self.store = store

    def offer(self, timeline: Timeline, statement: Statement, now_s: float = 0.0) -> None:
        offered = timeline.offer(statement, now_s)
        writes: list[Write] = []
        if offered.fate is Fate.NEW:
            visible = any(item.statement.id == statement.id for item in offered.shown)
            place = (statement.author.device, statement.body.counter, offered.depth)
            kind = kind_of(statement.body.content)
            row = StoredStatement(statement.id, ROOM, *place, statement.raw, False, False, True, visible, 0, kind)
            writes.append(keep_statement(row))
        self.show(offered.shown, writes)

    def show(self, shown: Iterable[Shown], writes: list[Write]) -> None:
        self.store.commit([*writes, *(mark_shown(item.statement.id, item.depth) for item in shown)])

    def load(self, *, recent: int = 64) -> Timeline:
        timeline = Timeline(ROOM)
        for device, floor in self.store.floors(ROOM).items():
            timeline.restore_chain(DeviceId(device), floor)
        for place in self.store.places(ROOM):
            device, statement_id = DeviceId(place.device), MessageId(place.id)
            is_read = place.kind == "read"
            timeline.restore_place(device, place.counter, statement_id, place.depth, shown=place.shown, is_read=is_read)
        for row in self.store.last_statements(ROOM, recent):
            timeline.restore_recent(open_statement(row.raw, NETWORK))
        for row in self.store.unshown(ROOM):
            timeline.restore_held(open_statement(row.raw, NETWORK), 0.0)
        return timeline


@pytest.fixture
def disk(tmp_path: Path) -> Iterable[Disk]:
    with HistoryStore(tmp_path / "history.db") as store:
        yield Disk(store)


def test_a_restart_changes_nothing(rng: random.Random, disk: Disk) -> None:
    """Vector, heads, next place and what waits are the same after every step, and the rest arrives as if nothing had been."""
    voices = speakers(4, rng)
    said = random_history(voices, 60, rng)
    stranger = Speaker("stranger", rng)
    rng.shuffle(said)
    timeline, shown = Timeline(ROOM), 0
    for one in said:
        disk.offer(timeline, one)
        loaded = disk.load()
        for voice in (*voices, stranger):
            assert state_of(loaded, voice) == state_of(timeline, voice)
        shown = len(loaded)
        timeline = loaded
    assert shown == len(said)


def test_a_restart_keeps_a_newcomers_beginning(rng: random.Random, disk: Disk) -> None:
    """Floors, gaps and what was shown late."""
    alice, bob = speakers(2, rng)
    lines = alice.chain(20)
    timeline = Timeline(ROOM)
    for one in lines[10:15]:
        disk.offer(timeline, one)
    disk.show(timeline.set_floor(alice.device, 11, 0.0), [keep_floor(ROOM, alice.device, 11)])
    disk.offer(timeline, lines[1])
    disk.offer(timeline, lines[17])
    loaded = disk.load()
    for voice in (alice, bob):
        assert state_of(loaded, voice) == state_of(timeline, voice)
    assert loaded.vector() == {alice.device: 15}
    assert loaded.waiting == 1
    assert ids(shown_by(loaded, lines[15:17])) == ids(lines[15:18])


def test_a_restart_gives_what_waits_its_time_again_and_releases_what_is_ready(rng: random.Random, disk: Disk) -> None:
    """Held back on disk: a crash between a parent and the line that waited for it leaves that line ready."""
    alice, bob = speakers(2, rng)
    first = alice.say()
    reply, orphan = bob.say(parents=[first]), alice.say(parents=[b"u" * 16])
    timeline = Timeline(ROOM)
    for one in (reply, orphan, first):
        disk.offer(timeline, one)
    disk.store.commit([Write("UPDATE statements SET shown=0 WHERE id=?", (reply.id,))])
    loaded = disk.load()
    assert loaded.waiting == 2
    assert ids(item.statement for item in loaded.release(0.0)) == [reply.id]
    assert ids(item.statement for item in loaded.release(HELD_WAIT_S)) == [orphan.id]


def test_after_a_restart_a_chain_goes_on_below_what_was_shown_of_it(rng: random.Random, disk: Disk) -> None:
    """Whatever `previous` says: by (depth, id) the lines of before and after are read back by counter."""
    liar = Speaker("liar", rng)
    lines = [liar.place(counter, b"" if counter == 1 else rng.randbytes(16)) for counter in range(1, 9)]
    timeline = Timeline(ROOM)
    for one in lines:
        disk.offer(timeline, one)
        timeline = disk.load()
    assert [row.id for row in disk.store.last_statements(ROOM, 100)] == ids(lines)


def test_a_late_parent_is_no_head_after_a_restart_either(rng: random.Random, disk: Disk) -> None:
    """Its depth may be above that of what follows it."""
    alice, bob, stranger = speakers(3, rng)
    early = alice.chain(5)
    root = alice.say()
    reply = bob.say(parents=[root])
    timeline = Timeline(ROOM)
    disk.offer(timeline, reply)
    disk.show(timeline.release(HELD_WAIT_S), [])
    for one in (*early, root):
        disk.offer(timeline, one, HELD_WAIT_S)
    assert timeline.next_place(stranger.device) == (1, b"", [reply.id])
    assert state_of(disk.load(), stranger) == state_of(timeline, stranger)


# --- what was deleted, lost, and too old to be kept ---------------------------------------------------------------------


def test_places_of_what_was_deleted_hold_nothing_up(rng: random.Random) -> None:
    """Some lines never come, because their author deleted them: whatever the order, all others are shown, causes first."""
    for _ in range(ROUNDS):
        said = random_history(speakers(4, rng), 50, rng)
        deleted = set(rng.sample(said, 12))
        arrivals: list[Statement] = rng.sample(said, len(said))
        timeline = Timeline(ROOM)
        shown: list[Statement] = []
        for one in arrivals:
            if one in deleted:
                items = timeline.fill(one.author.device, one.body.counter, one.id, 0.0)
            else:
                items = timeline.offer(one, 0.0).shown
            shown += [item.statement for item in items]
        assert timeline.waiting == 0
        assert {one.id for one in shown} == {one.id for one in said} - {one.id for one in deleted}
        assert_causal_between(shown, said, deleted)
        assert timeline.vector() == {one.author.device: one.body.counter for one in said}
        late = rng.choice(sorted(deleted, key=lambda one: one.id))
        assert timeline.offer(late, 0.0) == Offered(Fate.KNOWN)


def assert_causal_between(shown: Sequence[Statement], said: Sequence[Statement], gone: set[Statement]) -> None:
    """Directly: nothing comes before what it names."""
    position = {one.id: number for number, one in enumerate(shown)}
    absent = {one.id for one in gone}
    for number, one in enumerate(shown):
        for earlier in followed_by(one):
            assert earlier in absent or position[earlier] < number


def test_a_place_is_filled_once_and_by_nothing_that_is_here(rng: random.Random) -> None:
    alice, bob = speakers(2, rng)
    first, second = alice.chain(2)
    timeline = Timeline(ROOM)
    timeline.offer(first, 0.0)
    assert timeline.fill(alice.device, 1, MessageId(b"x" * 16), 0.0) == ()
    assert timeline.offer(second, 0.0).shown
    answer = bob.say(parents=[MessageId(b"y" * 16)])
    assert timeline.offer(answer, 0.0).shown == ()
    assert [item.statement for item in timeline.fill(alice.device, 3, MessageId(b"y" * 16), 0.0)] == [answer]
    assert timeline.next_place(alice.device)[:2] == (4, b"y" * 16)
    assert not timeline.forks_seen


def test_what_was_lost_is_asked_for_again_and_not_shown_again(rng: random.Random) -> None:
    """Its counter is not used again either; and who has a gap there, too, ends the asking."""
    alice, stranger = speakers(2, rng)
    said = alice.chain(5)
    timeline = Timeline(ROOM)
    shown_by(timeline, said)
    timeline.lose(alice.device, 3)
    assert timeline.vector() == {alice.device: 2}
    assert not timeline.holds(said[2].id)
    assert timeline.next_place(alice.device)[0] == 6
    assert timeline.offer(said[2], 0.0) == Offered(Fate.RESTORED)
    assert timeline.vector() == {alice.device: 5}
    timeline.lose(alice.device, 2)
    timeline.set_floor(alice.device, 4, 0.0)
    assert timeline.vector() == {alice.device: 5}
    assert state_of(timeline, stranger) == state_of(timeline_of(said), stranger)


def timeline_of(said: Iterable[Statement]) -> Timeline:
    timeline = Timeline(ROOM)
    shown_by(timeline, said)
    return timeline


def test_what_was_too_old_to_be_kept_does_not_come_back(rng: random.Random) -> None:
    """Nor is it asked for, nor given again to others as if it was missing here."""
    alice, bob = speakers(2, rng)
    said = alice.chain(9)
    timeline = timeline_of(said)
    timeline.forget(alice.device, 6)
    assert timeline.vector() == {alice.device: 9}
    assert (timeline.floor_of(alice.device), timeline.told_floor_of(alice.device)) == (6, 1)
    assert timeline.offer(said[2], 0.0) == Offered(Fate.KNOWN)
    assert len(timeline) == 4
    timeline.forget(alice.device, 99)
    assert timeline.next_place(alice.device)[:2] == (10, said[8].id)
    assert timeline.offer(alice.say(), 0.0).shown
    restored = Timeline(ROOM)
    restored.restore_chain(alice.device, 9, told=1)
    restored.restore_place(alice.device, 9, said[8].id, 9, shown=True)
    assert restored.offer(said[7], 0.0) == Offered(Fate.KNOWN)
    assert restored.vector() == {alice.device: 9}
    assert restored.told_floor_of(alice.device) == 1
    assert restored.offer(bob.say(parents=[said[8]]), 0.0).shown
