"""A room as a member sees it: who comes and goes, who keeps the listing, what the topic is."""

import random

import pytest

from dhtchat.chat.room import MemberChange, Room, right_of
from dhtchat.chat.room_graph import Right
from dhtchat.chat.timeline import Timeline
from dhtchat.limits import HANDS_MAX, LISTERS_PER_ROOM, RECONCILE_GRACE_S
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.membership import Membership
from dhtchat.records.message import Content, Delete, Edit, Hand, Place, React, Read, Say, SetTopic
from dhtchat.records.room import RoomGenesis
from dhtchat.records.ruling import Act, Grant, OpenRuling, Removal, RuleTopic, Ruling, SetDoor, SetHands, SetMode
from tests.chat.records import TTL_S, membership, who
from tests.chat.statements import NETWORK, NOW_S, ROOM, Speaker, random_history, speakers


def a_room(owner: Speaker) -> Room:
    return Room(sign_body(RoomGenesis("#lobby", "public", 7, NOW_S), owner.identity, NETWORK))


@pytest.fixture
def alice(rng: random.Random) -> Speaker:
    return Speaker("alice", rng)


@pytest.fixture
def bob(rng: random.Random) -> Speaker:
    return Speaker("bob", rng)


def learn(room: Room, record: Signed[Membership], now_s: float = 0.0) -> list[MemberChange]:
    return room.learn_member(record, life_s=TTL_S, now_s=now_s)


def read(
    room: Room, *records: Signed[Membership], now_s: float, linked: tuple[Speaker, ...] = ()
) -> list[MemberChange]:
    return room.reconcile([(record, TTL_S) for record in records], {who(voice) for voice in linked}, now_s)


# --- who is in it -----------------------------------------------------------------------------------------------------


def test_the_room_is_what_its_genesis_says(alice: Speaker) -> None:
    """Name, owner and id come from one signed record."""
    room = a_room(alice)
    assert (room.name, room.owner, len(room.id)) == ("#lobby", alice.peer, 32)
    assert (room.topic, room.people()) == ("", {})


def test_a_person_joins_and_parts_once(alice: Speaker, bob: Speaker) -> None:
    """However often, and from how many sides, the same is heard."""
    room = a_room(alice)
    assert learn(room, membership(bob, 1)) == [MemberChange(bob.peer, "bob", joined=True)]
    assert learn(room, membership(bob, 1)) == []
    assert learn(room, membership(bob, 2)) == []
    assert read(room, membership(bob, 2), now_s=1.0) == []
    assert room.is_member(bob.peer)
    assert learn(room, membership(bob, 3, gone=True)) == [MemberChange(bob.peer, "bob", joined=False)]
    assert learn(room, membership(bob, 3, gone=True)) == []
    assert read(room, membership(bob, 2), now_s=2.0) == []
    assert not room.is_member(bob.peer)


def test_a_person_parts_with_the_last_device(alice: Speaker, bob: Speaker, rng: random.Random) -> None:
    """Leaving with one of two devices is nothing that others notice."""
    other = Speaker("bob", rng, identity=bob.identity)
    room = a_room(alice)
    assert len(learn(room, membership(bob, 1))) == 1
    assert learn(room, membership(other, 2)) == []
    assert learn(room, membership(bob, 3, gone=True)) == []
    assert room.devices() == {who(other)}
    assert learn(room, membership(other, 4, gone=True)) == [MemberChange(bob.peer, "bob", joined=False)]


def test_nobody_parts_because_somebody_else_says_so(alice: Speaker, bob: Speaker) -> None:
    """A membership that names bob's device, signed by alice, is alice's."""
    room = a_room(alice)
    learn(room, membership(bob, 1))
    learn(room, membership(alice, 2**62, gone=True, device=bob.device))
    learn(room, membership(alice, 2**62 - 1, device=bob.device))
    assert room.is_member(bob.peer)
    assert who(bob) in room.devices()


def test_a_reading_of_the_replicas_adds_and_removes(alice: Speaker, bob: Speaker, rng: random.Random) -> None:
    """Who is no longer listed has parted, unless just announced or linked to us; changes come parted first, by name."""
    carol, dave = Speaker("carol", rng), Speaker("dave", rng)
    room = a_room(alice)
    for voice in (bob, carol):
        learn(room, membership(voice))
    later_s = RECONCILE_GRACE_S + 1
    learn(room, membership(alice), later_s)
    changes = read(room, membership(dave), now_s=later_s, linked=(carol,))
    assert changes == [MemberChange(bob.peer, "bob", joined=False), MemberChange(dave.peer, "dave", joined=True)]
    assert room.people() == {carol.peer: "carol", alice.peer: "alice", dave.peer: "dave"}


def test_a_member_who_crashed_is_gone_when_the_record_has_died(alice: Speaker, bob: Speaker) -> None:
    """No goodbye, no link: the ttl decides, also while replicas are slow to forget."""
    room = a_room(alice)
    learn(room, membership(bob))
    assert read(room, now_s=TTL_S + 1.0, linked=(bob,)) == [MemberChange(bob.peer, "bob", joined=False)]


# --- who lists it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 2, LISTERS_PER_ROOM, LISTERS_PER_ROOM + 1, 12])
def test_exactly_a_few_members_keep_the_listing(rng: random.Random, members: int) -> None:
    """LISTERS_PER_ROOM when all see the same roster, whether or not one finds oneself in it; all of a smaller room."""
    for _ in range(5):
        crowd = speakers(members, rng)
        listers = set()
        for me in crowd:
            room = a_room(crowd[0])
            for other in crowd:
                if other is not me or rng.random() < 0.5:
                    learn(room, membership(other))
            if room.lists(who(me)):
                listers.add(me.device)
        assert len(listers) == min(members, LISTERS_PER_ROOM)


def test_another_member_takes_over_when_a_lister_leaves(rng: random.Random) -> None:
    """No listing dies because those who kept it are gone."""
    crowd = speakers(8, rng)
    room = a_room(crowd[0])
    for voice in crowd:
        learn(room, membership(voice))
    for left in range(8, LISTERS_PER_ROOM, -1):
        present = [voice for voice in crowd if room.is_member(voice.peer)]
        listers = [voice for voice in present if room.lists(who(voice))]
        assert len(listers) == LISTERS_PER_ROOM
        assert len(present) == left
        learn(room, membership(listers[0], 2, gone=True))


# --- the topic --------------------------------------------------------------------------------------------------------


def test_the_causally_latest_topic_wins_in_any_order(rng: random.Random) -> None:
    """A topic that follows another beats it; of two at once the same one wins everywhere."""
    for _ in range(20):
        voices = speakers(4, rng)
        history = random_history(voices, 30, rng)
        topics = {
            voice.device: voice.state(SetTopic(f"by {voice.name}"), parents=[history[-1]]) for voice in voices[:2]
        }
        last = voices[2].state(SetTopic("the end"), parents=list(topics.values()))
        for statements, expected in (
            ([*history, *topics.values(), last], {"the end"}),
            ([*history, *topics.values()], {"by user0", "by user1"}),
        ):
            results = set()
            for _ in range(4):
                rng.shuffle(statements)
                room, timeline = a_room(voices[0]), Timeline(ROOM)
                shown = [item for one in statements for item in timeline.offer(one, 0.0).shown]
                rng.shuffle(shown)
                changed = [item for item in shown if room.take_topic(item.statement, item.depth)]
                assert changed[-1].statement.body.content == SetTopic(room.topic)
                assert room.topic_by == changed[-1].statement.author.name
                results.add(room.topic)
            assert len(results) == 1
            assert results <= expected


def test_a_topic_is_taken_once_and_a_line_is_none(alice: Speaker) -> None:
    """Whether it is now the room's: the screen tells it once. An empty topic takes the old one away."""
    room = a_room(alice)
    line, topic, none = alice.state(Say("hello")), alice.state(SetTopic("cats")), alice.state(SetTopic(""))
    assert not room.take_topic(line, 1)
    assert room.take_topic(topic, 2)
    assert not room.take_topic(topic, 2)
    assert (room.topic, room.topic_by) == ("cats", "alice")
    assert room.take_topic(none, 3)
    assert room.topic == ""
    assert not room.take_topic(topic, 2)


# --- who is what ------------------------------------------------------------------------------------------------------


def rule(room: Room, issuer: Speaker, act: Act) -> None:
    body = Ruling(room.id, issuer.name, room.graph.heads, NOW_S, act)
    assert room.graph.offer(OpenRuling(sign_body(body, issuer.identity, NETWORK)))


def test_who_is_banned_is_not_in_it_whatever_they_publish(alice: Speaker, bob: Speaker) -> None:
    room = a_room(alice)
    learn(room, membership(bob, 1))
    rule(room, alice, Removal(bob.peer, "bob", "ban"))
    assert (room.people(), room.devices(), room.is_member(bob.peer)) == ({}, set(), False)
    learn(room, membership(bob, 2))
    assert not room.is_member(bob.peer)
    rule(room, alice, Grant(bob.peer, "bob", "unban"))
    assert room.is_member(bob.peer)


def test_who_is_thrown_out_is_back_when_they_say_so_anew(alice: Speaker, bob: Speaker) -> None:
    """What they had published before does not count any more, from whichever side it comes again."""
    room = a_room(alice)
    learn(room, membership(bob, 5))
    room.expel(bob.peer, 0.0)
    assert not room.is_member(bob.peer)
    learn(room, membership(bob, 5))
    read(room, membership(bob, 4), now_s=1.0)
    assert not room.is_member(bob.peer)
    learn(room, membership(bob, 6))
    assert room.is_member(bob.peer)


def test_a_closed_room_has_in_it_whom_it_lets_in(alice: Speaker, bob: Speaker, rng: random.Random) -> None:
    room = a_room(alice)
    carol = speakers(1, rng)[0]
    learn(room, membership(bob, 5))
    learn(room, membership(carol, 5))
    rule(room, alice, Grant(bob.peer, "bob", "invite"))
    rule(room, alice, SetDoor(True))
    assert room.is_closed
    assert list(room.people()) == [bob.peer]
    assert [each.peer for each in room.devices()] == [bob.peer]
    assert not room.is_member(carol.peer)
    assert room.insiders() == sorted([alice.peer, bob.peer])


def test_in_front_of_a_closed_door_nobody_else_is_trusted(alice: Speaker, bob: Speaker, rng: random.Random) -> None:
    """Whoever gives us only what was ruled while the room was open shall not make us believe that it is."""
    room, whole = a_room(alice), a_room(alice)
    carol = speakers(1, rng)[0]
    rule(whole, alice, Grant(bob.peer, "bob", "invite"))
    rule(whole, alice, SetDoor(True))
    *early, door = whole.graph.after([])
    room.door, room.mates = door.id, frozenset({alice.peer})
    for ruling in early:
        room.graph.offer(ruling)
    assert not room.graph.now.closed
    assert room.is_arriving
    assert room.is_closed
    assert [room.lets_in(each.peer) for each in (alice, bob, carol)] == [True, False, False]
    room.graph.offer(door)
    assert not room.is_arriving
    assert [room.lets_in(each.peer) for each in (alice, bob, carol)] == [True, True, False]


def test_those_who_can_rule_and_are_here(alice: Speaker, bob: Speaker) -> None:
    room = a_room(alice)
    learn(room, membership(bob, 1))
    assert room.rulers() == []
    rule(room, alice, Grant(bob.peer, "bob", "op"))
    assert room.rulers() == [bob.peer]
    learn(room, membership(bob, 2, gone=True))
    assert room.rulers() == []


def test_a_ruling_on_the_topic_holds_whatever_was_said(alice: Speaker, bob: Speaker) -> None:
    room = a_room(alice)
    room.take_topic(bob.state(SetTopic("cats")), 1)
    assert (room.topic, room.topic_by) == ("cats", "bob")
    rule(room, alice, Grant(bob.peer, "bob", "op"))
    assert (room.topic, room.topic_by) == ("", None), "as for those who heard of the ruling first"
    rule(room, alice, RuleTopic("dogs"))
    room.take_topic(bob.state(SetTopic("cats again")), 9)
    assert (room.topic, room.topic_by) == ("dogs", "alice")


def test_hands_stand_in_order_until_they_are_answered_or_taken_down(rng: random.Random) -> None:
    alice, bob, carol, dave = speakers(4, rng)
    room = a_room(alice)
    rule(room, alice, SetMode(True))
    early = room.graph.heads
    assert room.take_hand(carol.state(Hand(True), heads=early), 1)
    assert room.take_hand(bob.state(Hand(True), heads=early), 2)
    assert room.take_hand(dave.state(Hand(True), heads=early), 3)
    assert not room.take_hand(dave.state(Hand(True), heads=early), 4), "it is up"
    assert list(room.hands()) == [carol.peer, bob.peer, dave.peer]
    assert room.take_hand(bob.state(Hand(False), heads=early), 5)
    assert not room.take_hand(bob.place(1, b"", content=Hand(True), heads=early), 2), "older than what holds"
    rule(room, alice, Grant(carol.peer, carol.name, "voice"))
    assert list(room.hands()) == [dave.peer]
    rule(room, alice, Removal(carol.peer, carol.name, "devoice"))
    assert list(room.hands()) == [dave.peer], "the hand of before was answered"
    assert room.take_hand(carol.state(Hand(True), heads=room.graph.heads), 9)
    assert list(room.hands()) == [dave.peer, carol.peer]
    rule(room, alice, SetHands(False))
    assert room.hands() == {}


def test_so_many_hands_are_remembered(alice: Speaker, rng: random.Random) -> None:
    """Those that are down go first."""
    room = a_room(alice)
    rule(room, alice, SetMode(True))
    heads = room.graph.heads
    lowered, *raised = speakers(HANDS_MAX + 1, rng)
    room.take_hand(lowered.state(Hand(False), heads=heads), 10**6)
    for depth, voice in enumerate(raised, start=1):
        room.take_hand(voice.state(Hand(True), heads=heads), depth)
    assert list(room.hands()) == [voice.peer for voice in raised]


@pytest.mark.parametrize(
    ("content", "right"),
    [
        (Say("x"), Right.SPEAK),
        (Edit(b"l" * 16, 1, "x"), Right.SPEAK),
        (React(b"l" * 16, 1, "x"), Right.SPEAK),
        (SetTopic("x"), Right.SET_TOPIC),
        (Hand(True), Right.RAISE_HAND),
        (Hand(False), Right.TAKE_PART),
        (Delete([Place(b"l" * 16, 1)]), Right.TAKE_PART),
        (Read([b"l" * 16]), Right.TAKE_PART),
    ],
    ids=str,
)
def test_everything_said_needs_a_right(content: Content, right: Right) -> None:
    assert right_of(content) is right
