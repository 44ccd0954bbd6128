"""Two members compare and send what lacks: all converge, in pages that fit a frame, and nothing is sent for nothing."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest

from dhtchat.chat.sync import Plan, Range, cut_page, plan
from dhtchat.chat.timeline import Fate, Offered, Timeline
from dhtchat.history.store import HistoryStore, StoredStatement, keep_statement, mark_shown
from dhtchat.ids import DeviceId
from dhtchat.limits import SYNC_PAGE_BYTES_MAX, SYNC_PAGE_STATEMENTS_MAX
from dhtchat.records.message import MESSAGE_BYTES_MAX, Say, Statement, open_statement, sign_statement
from tests.chat.statements import NETWORK, ROOM, Speaker, speakers

ALICE, BOB, CAROL = (DeviceId(letter * 32) for letter in (b"a", b"b", b"c"))
PAGES_MAX = 50
"""More than any exchange here needs: a comparison that goes on and on fails instead."""


class Row(NamedTuple):
    id: bytes
    depth: int
    raw: bytes = b""


# --- what to send -----------------------------------------------------------------------------------------------------


def test_a_plan_names_what_is_missing_and_nothing_else() -> None:
    """Per device what lies above their counter; nothing of those who are level or ahead."""
    theirs, mine = {ALICE: 3, BOB: 5, CAROL: 9}, {ALICE: 5, BOB: 5, CAROL: 7}
    assert plan(theirs, mine, None) == Plan((Range(ALICE, 3, 5),), {})
    assert plan(theirs, mine, {}) == Plan((Range(ALICE, 3, 5),), {})


def test_in_a_private_talk_a_newcomer_gets_everything() -> None:
    """No floors: a second device of the same person has the whole talk."""
    assert plan({}, {BOB: 2, ALICE: 1}, None) == Plan((Range(ALICE, 0, 1), Range(BOB, 0, 2)), {})


def test_a_newcomer_gets_the_end_and_is_told_where_it_begins() -> None:
    """Of who has said nothing recent nothing is sent nor said; of who has begun within the window all of it, with no floor."""
    newcomer_floors = {ALICE: 11, BOB: 1}
    planned = plan({}, {ALICE: 20, BOB: 4, CAROL: 9}, newcomer_floors)
    assert planned == Plan((Range(ALICE, 10, 20), Range(BOB, 0, 4)), {ALICE: 11})


def test_who_has_something_of_a_device_is_no_newcomer_to_it() -> None:
    """Whoever was here before gets what is missing, however old."""
    assert plan({ALICE: 3}, {ALICE: 20}, {ALICE: 11}) == Plan((Range(ALICE, 3, 20),), {})


def test_a_beginning_behind_a_gap_of_ours_is_not_told() -> None:
    """What the gap lacks will still come, and would then lie before their beginning."""
    assert plan({}, {ALICE: 5}, {ALICE: 8}) == Plan((), {})


def test_pages_are_in_causal_order_and_lose_nothing(rng: random.Random) -> None:
    """Merged by (depth, id); page after page gives every row once, none of them too large."""
    for _ in range(20):
        chains = [
            sorted(Row(rng.randbytes(16), rng.randrange(100), bytes(rng.randrange(1, 9_000))) for _ in range(40))
            for _ in range(4)
        ]
        chains = [sorted(chain, key=lambda row: row.depth) for chain in chains]
        got: list[Row] = []
        more = True
        while more:
            page, more = cut_page([[row for row in chain if row not in got] for chain in chains])
            assert page
            assert sum(len(row.raw) for row in page) <= SYNC_PAGE_BYTES_MAX
            got += page
        assert sorted(got) == sorted(row for chain in chains for row in chain)
        assert all(one.depth <= other.depth for one, other in pairwise(got))


def test_a_page_is_bounded_in_number_and_never_empty() -> None:
    """The longest line there is still makes a page; tiny ones do not make an endless one."""
    assert MESSAGE_BYTES_MAX <= SYNC_PAGE_BYTES_MAX
    huge = [Row(b"1", 1, bytes(SYNC_PAGE_BYTES_MAX + 1)), Row(b"2", 2)]
    assert cut_page([huge]) == (huge[:1], True)
    tiny = [Row(number.to_bytes(2, "big"), number) for number in range(SYNC_PAGE_STATEMENTS_MAX + 1)]
    assert cut_page([tiny]) == (tiny[:-1], True)
    assert cut_page([tiny[:-1]]) == (tiny[:-1], False)
    assert cut_page([]) == ([], False)


# --- nodes that compare -----------------------------------------------------------------------------------------------


class Lines(NamedTuple):
    """As the message of the same name."""

    statements: list[bytes]
    floors: dict[DeviceId, int]
    absent: list[bytes]
    more: bool


class Node:
    """A device with a timeline and a history, and the glue of `app/exchange.py` and `app/talks.py` between them."""

    def __init__(self, voice: Speaker, *, window: int | None = None) -> None:
        """`window`: how many statements a newcomer to a room gets; None is a private talk."""
        self.voice = voice
        self.window = window
        self.timeline = Timeline(ROOM)
        self.store = HistoryStore(None)
        self.shown: list[Statement] = []
        self.heard_twice = 0
        self.now_s = 0.0

    def say(self, text: str = "hello") -> Statement:
        counter, previous, parents = self.timeline.next_place(self.voice.device)
        statement = self.voice.place(counter, previous, parents, content=Say(text))
        self.take(statement)
        return statement

    def take(self, statement: Statement) -> Offered:
        offered = self.timeline.offer(statement, self.now_s)
        if offered.fate is Fate.NEW:
            visible = statement.id in [item.statement.id for item in offered.shown]
            place = (statement.author.device, statement.body.counter, offered.depth)
            row = StoredStatement(statement.id, ROOM, *place, statement.raw, False, False, True, visible, 1)
            self.store.commit([keep_statement(row)])
        else:
            self.heard_twice += 1
        self.show(offered)
        return offered

    def show(self, offered: Offered) -> None:
        self.store.commit(mark_shown(item.statement.id, item.depth) for item in offered.shown)
        self.shown += [item.statement for item in offered.shown]

    def page_for(self, theirs: dict[DeviceId, int]) -> Lines | None:
        floors = None if self.window is None else self.store.newcomer_floors(ROOM, self.window, 0)
        todo = plan(theirs, self.timeline.vector(), floors)
        if not todo.ranges:
            return None
        rows, more = cut_page([self.store.chain_after(ROOM, r.device, r.after, r.upto, 1_000) for r in todo.ranges])
        begun = [DeviceId(row.device) for row in rows if row.counter == todo.floors.get(DeviceId(row.device))]
        named = {parent for row in rows for parent in open_statement(row.raw, NETWORK).body.parents}
        named -= {row.id for row in rows}
        coming = {
            row.id
            for r in todo.ranges
            for row in self.store.chain_after(ROOM, r.device, r.after, r.upto, 1_000)  # parents of a later page
        }
        return Lines(
            [row.raw for row in rows], {device: todo.floors[device] for device in begun}, sorted(named - coming), more
        )

    def on_lines(self, lines: Lines) -> None:
        assert sum(map(len, lines.statements)) <= SYNC_PAGE_BYTES_MAX
        self.timeline.set_absent(lines.absent)
        for raw in lines.statements:
            self.take(open_statement(raw, NETWORK))
        for device, floor in lines.floors.items():
            self.show(Offered(Fate.KNOWN, 0, self.timeline.set_floor(device, floor, self.now_s)))

    def ask(self, other: "Node") -> int:
        """Compare with `other` until it has nothing more for us; how many pages it took."""
        for pages in range(PAGES_MAX):
            page = other.page_for(self.timeline.vector())
            if page is None:
                return pages
            self.on_lines(page)
            if not page.more:
                return pages + 1
        raise AssertionError("the comparison does not end")


def exchange(a: Node, b: Node) -> None:
    a.ask(b)
    b.ask(a)


def settle(nodes: Sequence[Node], rng: random.Random) -> None:
    """Random pairs compare until nobody has anything to learn."""
    for _ in range(40 * len(nodes)):
        exchange(*rng.sample(nodes, 2))
        if all(node.timeline.vector() == nodes[0].timeline.vector() for node in nodes):
            return
    raise AssertionError("the vectors do not agree")


def assert_same_state(nodes: Sequence[Node], stranger: Speaker) -> None:
    assert len({frozenset(node.timeline.vector().items()) for node in nodes}) == 1
    assert len({str(node.timeline.next_place(stranger.device)) for node in nodes}) == 1
    assert len({tuple(sorted(one.id for one in node.shown)) for node in nodes}) == 1
    assert all(node.timeline.waiting == 0 for node in nodes)


@pytest.mark.parametrize("members", [2, 3, 4])
def test_random_exchanges_end_with_the_same_history_everywhere(rng: random.Random, members: int) -> None:
    """Everybody talks and compares at random; in the end all have shown the same, and nothing came twice to anybody."""
    for _ in range(5):
        nodes = [Node(voice) for voice in speakers(members, rng)]
        for _ in range(60):
            if rng.random() < 0.7:
                rng.choice(nodes).say("x" * rng.choice([1, 50, 2_000]))
            else:
                exchange(*rng.sample(nodes, 2))
        settle(nodes, rng)
        assert_same_state(nodes, Speaker("stranger", rng))
        assert [node.heard_twice for node in nodes] == [0] * members


@pytest.mark.parametrize("members", [2, 4])
def test_lines_lost_on_the_way_come_with_a_comparison(rng: random.Random, members: int) -> None:
    """Told at once to some and not to others, so that gaps and forgotten parents are everywhere; comparing heals all."""
    for _ in range(5):
        nodes = [Node(voice) for voice in speakers(members, rng)]
        for _ in range(60):
            speaker = rng.choice(nodes)
            line = speaker.say()
            for other in nodes:
                if other is not speaker and rng.random() < 0.5:
                    other.take(line)
            if rng.random() < 0.1:
                exchange(*rng.sample(nodes, 2))
        settle(nodes, rng)
        assert_same_state(nodes, Speaker("stranger", rng))


def test_a_long_absence_is_made_up_for_page_by_page(rng: random.Random) -> None:
    """Every page but the last is nearly full, each advances the vector, and all is shown in order with the last."""
    alice, bob, carol = (Node(voice) for voice in speakers(3, rng))
    for _ in range(150):
        alice.say("x" * 900)
        exchange(alice, bob)
        bob.say("y" * 300)
        exchange(alice, bob)
    expected = sum(len(one.raw) for one in alice.shown)
    pages = carol.ask(alice)
    assert expected / SYNC_PAGE_BYTES_MAX <= pages <= expected / (SYNC_PAGE_BYTES_MAX - 2_000) + 1
    assert [one.id for one in carol.shown] == [one.id for one in alice.shown]
    assert carol.heard_twice == 0


def test_a_newcomer_gets_the_window_and_then_nothing_more(rng: random.Random) -> None:
    """HISTORY_NEWCOMER_MESSAGES: the last ones, shown at once though their parents never come, and no more with the next."""
    for _ in range(5):
        members = [Node(voice, window=30) for voice in speakers(3, rng)]
        newcomer, late = (Node(voice, window=30) for voice in speakers(2, rng))
        for _ in range(100):
            rng.choice(members).say()
            exchange(*rng.sample(members, 2))
        settle(members, rng)
        newcomer.ask(members[0])
        assert newcomer.timeline.waiting == 0
        assert len(newcomer.shown) >= 30
        for member in members:
            assert newcomer.ask(member) == 0
            assert member.ask(newcomer) == 0
        line = newcomer.say()
        settle([*members, newcomer], rng)
        late.ask(newcomer)
        assert line.id in [one.id for one in late.shown]
        assert late.timeline.waiting == 0
        assert all(node.heard_twice == 0 for node in (*members, newcomer, late))


def test_a_newcomer_waits_for_no_parent_that_lies_before_the_window(rng: random.Random) -> None:
    """Of somebody silent, or before somebody's beginning that was told pages ago: whatever will not come is said with the
    page that names it, also when that page tells of no beginning."""
    old, busy = (Node(voice, window=120) for voice in speakers(2, rng))
    for _ in range(10):
        old.say()
    first, seventh = (old.shown[number].id for number in (0, 6))
    exchange(old, busy)
    for _ in range(119):
        busy.say("x" * 1_000)
    sleeper = Speaker("sleeper", rng)  # was away, and replies to what is long past
    busy.take(sleeper.place(1, b"", [first, seventh, busy.shown[-1].id]))
    newcomer = Node(Speaker("newcomer", rng), window=120)
    assert newcomer.ask(busy) > 1
    assert newcomer.timeline.waiting == 0
    assert len(newcomer.shown) == 120


def test_who_was_silent_before_a_newcomer_came_is_heard_with_the_next_comparison(rng: random.Random) -> None:
    """Nothing of an old device is sent; its next line waits for a word on where it begins, and then all is level."""
    old, busy = (Node(voice, window=5) for voice in speakers(2, rng))
    for _ in range(10):
        old.say()
    exchange(old, busy)
    for _ in range(10):
        busy.say()
    exchange(old, busy)
    newcomer = Node(Speaker("newcomer", rng), window=5)
    newcomer.ask(busy)
    assert newcomer.timeline.vector() == {busy.voice.device: 10}
    line = old.say()
    exchange(old, busy)
    newcomer.take(line)
    assert newcomer.timeline.waiting == 1
    newcomer.ask(busy)
    assert newcomer.shown[-1] is line
    assert newcomer.timeline.vector() == busy.timeline.vector()
    assert newcomer.ask(busy) == 0


def test_a_liars_line_does_not_make_a_comparison_endless(rng: random.Random) -> None:
    """Unknown parents and forks: who catches up still gets everything in a bounded number of pages."""
    alice, bob = (Node(voice) for voice in speakers(2, rng))
    liar = Speaker("liar", rng)
    for counter in range(1, 6):
        one, other = (
            liar.place(counter, b"" if counter == 1 else rng.randbytes(16), [rng.randbytes(16) for _ in range(8)])
            for _ in range(2)
        )
        alice.take(one)
        bob.take(other)
    alice.now_s = bob.now_s = 100.0
    for node in (alice, bob):
        node.show(Offered(Fate.KNOWN, 0, node.timeline.release(node.now_s)))
    for _ in range(300):
        alice.say("x" * 500)
    assert bob.ask(alice) <= 6
    assert bob.timeline.vector() == alice.timeline.vector()
    assert bob.ask(alice) == alice.ask(bob) == 0


def test_the_same_bytes_are_sent_whoever_sends_them(rng: random.Random) -> None:
    """What travels on is what the author signed."""
    alice, bob, carol = (Node(voice) for voice in speakers(3, rng))
    line = alice.say()
    bob.ask(alice)
    carol.ask(bob)
    assert carol.shown[0].raw == line.raw
    again = sign_statement(line.body, alice.voice.key, alice.voice.author, NETWORK)
    assert carol.take(again).fate is Fate.KNOWN
