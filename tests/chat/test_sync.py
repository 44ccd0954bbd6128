"""Two members compare and send what lacks: all converge, in pages that fit a frame, and nothing is sent for nothing."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import pytest

from dhtchat.app.talks import Talks
from dhtchat.chat.sync import CatchUp, Plan, Range, cut_end, cut_page, cut_vector, plan
from dhtchat.chat.timeline import Fate, Offered, Timeline
from dhtchat.history.store import HistoryStore, StoredStatement, keep_floor, keep_statement, mark_shown
from dhtchat.ids import DeviceId
from dhtchat.limits import (
    HELD_WAIT_S,
    SYNC_DEVICES_MAX,
    SYNC_PAGE_BYTES_MAX,
    SYNC_PAGE_STATEMENTS_MAX,
    SYNC_SOURCES_MAX,
    SYNC_TURN_S,
)
from dhtchat.records.message import MESSAGE_BYTES_MAX, Say, Statement, open_statement, sign_statement
from tests.chat.statements import NETWORK, ROOM, Speaker, speakers

ALICE, BOB, CAROL = (DeviceId(letter * 32) for letter in (b"a", b"b", b"c"))
PAGES_MAX = 50
"""More than any exchange here needs: a comparison that goes on and on fails instead."""


class Row(NamedTuple):
    id: bytes
    depth: int
    raw: bytes = b""
    counter: int = 0


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


def test_a_page_of_the_end_stops_at_a_gap_and_at_its_bound() -> None:
    """What moves a floor down must reach it without a gap."""
    chain = [Row(number.to_bytes(1, "big"), number, counter=number) for number in (2, 3, 5, 6, 7)]
    assert cut_end(chain, 7) == (chain[2:], False)
    assert cut_end(chain, 8) == ([], False)
    assert cut_end([], 8) == ([], False)
    large = [row._replace(raw=bytes(SYNC_PAGE_BYTES_MAX // 2)) for row in chain]
    assert cut_end(large, 7) == (large[3:], True)


def test_what_lies_before_somebodys_beginning_comes_last_and_within_the_window() -> None:
    """Whoever was given less than a newcomer gets, by a liar for instance, gets the rest; but no more than newcomers do."""
    mine = {ALICE: 20, BOB: 20}
    assert plan({ALICE: 20, BOB: 19}, mine, {ALICE: 11}, {ALICE: 15}) == Plan((Range(BOB, 19, 20),), {})
    assert plan(mine, mine, {ALICE: 11}, {ALICE: 15}) == Plan((), {}, Range(ALICE, 10, 14))
    for known in ({ALICE: 15}, {ALICE: 16}, {BOB: 1}, {}):
        assert plan(mine, mine, known, {ALICE: 15}) == Plan((), {})
    assert plan({ALICE: 40}, mine, {ALICE: 11}, {ALICE: 30}) == Plan((), {})  # begins where we have nothing yet


def test_a_comparison_of_many_devices_says_about_which_it_speaks(rng: random.Random) -> None:
    """Those a vector has no room for are not missing; in turn each is compared, known to the other side or not."""
    devices = [DeviceId(rng.randbytes(32)) for _ in range(SYNC_DEVICES_MAX + 300)]
    known = dict.fromkeys(devices[:-100], 5)
    mine = dict.fromkeys(devices, 5)
    asked: set[DeviceId] = set()
    for _ in range(40):
        vector = cut_vector(known, rng.randbytes(32))
        assert len(vector) == SYNC_DEVICES_MAX
        ranges = plan(vector, mine, None).ranges
        assert {r.device for r in ranges}.isdisjoint(known)
        asked |= {r.device for r in ranges}
    assert asked == set(devices[-100:])
    assert cut_vector({BOB: 2, ALICE: 1}, rng.randbytes(32)) == {ALICE: 1, BOB: 2}


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
        self.rng = random.Random(voice.device)

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

    def have(self) -> dict[DeviceId, int]:
        return cut_vector(self.timeline.vector(), self.rng.randbytes(32))

    def page_for(self, theirs: dict[DeviceId, int], their_floors: dict[DeviceId, int]) -> Lines | None:
        window = None if self.window is None else self.store.newcomer_floors(ROOM, self.window, 0)
        todo = plan(theirs, self.timeline.vector(), window, their_floors)
        if todo.ranges:
            chains = [self.store.chain_after(ROOM, r.device, r.after, r.upto, 1_000) for r in todo.ranges]
            rows, more = cut_page(chains)
        elif todo.earlier:
            _, after, upto = todo.earlier
            rows, more = cut_end(self.store.chain_after(ROOM, todo.earlier.device, after, upto, 1_000), upto)
        else:
            return None
        # Where the history of somebody begins: for a newcomer, and behind a gap that we cannot fill.
        after = {r.device: r.after for r in todo.ranges}
        floors: dict[DeviceId, int] = {}
        for row in rows if todo.ranges else []:
            device = DeviceId(row.device)
            if row.counter == todo.floors.get(device) or row.counter > after.get(device, 0) + 1:
                floors[device] = row.counter
            after[device] = row.counter
        # Pages are in causal order: a parent that is not in this one was in an earlier one, or will not come, unless we wait
        # for it ourselves.
        named = {parent for row in rows for parent in open_statement(row.raw, NETWORK).body.parents}
        absent = named - {row.id for row in rows} - self.timeline.awaited()
        return Lines([row.raw for row in rows], floors, sorted(absent), more)

    def on_lines(self, lines: Lines) -> bool:
        """Whether it told us anything new."""
        assert sum(map(len, lines.statements)) <= SYNC_PAGE_BYTES_MAX
        before = len(self.timeline) + self.timeline.waiting, self.timeline.vector()
        self.timeline.set_absent(lines.absent)
        for raw in lines.statements:
            self.take(open_statement(raw, NETWORK))
        self.show(Offered(Fate.KNOWN, 0, self.timeline.set_floors(lines.floors, self.now_s)))
        for device in self.timeline.vector():
            if self.timeline.floor_of(device) != self.store.floors(ROOM).get(device, 1):
                self.store.commit([keep_floor(ROOM, device, self.timeline.floor_of(device))])
        return before != (len(self.timeline) + self.timeline.waiting, self.timeline.vector())

    def ask(self, other: "Node") -> int:
        """Compare with `other` until it has nothing more for us; how many pages it took."""
        for pages in range(PAGES_MAX):
            floors = {device: self.timeline.floor_of(device) for device in self.timeline.vector()}
            page = other.page_for(self.have(), {device: floor for device, floor in floors.items() if floor > 1})
            if page is None:
                return pages
            if not self.on_lines(page) or not page.more:
                return pages + 1
        raise AssertionError("the comparison does not end")

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.show(Offered(Fate.KNOWN, 0, self.timeline.release(self.now_s)))


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


@pytest.mark.parametrize("window", [None, 30])
def test_what_somebody_waits_for_is_not_called_absent(rng: random.Random, window: int | None) -> None:
    """Who has an answer and not yet the line it answers passes on the answer alone; it is shown after the line all the same,
    and, when nobody has had the line for HELD_WAIT_S, without it and without another wait."""
    alice, bob, carol, dora, late = (Node(voice, window=window) for voice in speakers(5, rng))
    line = alice.say("line")
    bob.take(line)
    answer = bob.say("answer")
    carol.take(answer)
    dora.ask(carol)
    assert carol.shown == dora.shown == []
    dora.take(line)
    assert [one.id for one in dora.shown] == [line.id, answer.id]
    carol.wait(HELD_WAIT_S)
    late.ask(carol)
    assert [one.id for one in carol.shown] == [one.id for one in late.shown] == [answer.id]


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


def test_who_returns_to_newcomers_goes_on_behind_a_gap_that_nobody_can_fill(rng: random.Random) -> None:
    """Those who were there have left, and those who came meanwhile have only the end: after HELD_WAIT_S that is enough,
    page after page, and is not sent again. Who has the rest and comes back gives it, as far as a newcomer gets it."""
    alice, old, returning = (Node(voice, window=400) for voice in speakers(3, rng))
    alice.say()
    for node in (old, returning):
        node.ask(alice)
    for _ in range(300):
        alice.say("x" * 1_000)
    old.ask(alice)
    newcomer = Node(Speaker("newcomer", rng), window=200)
    alice.window = 200
    newcomer.ask(alice)
    assert newcomer.timeline.floor_of(alice.voice.device) == 102
    for _ in range(4):
        returning.ask(newcomer)
    assert returning.timeline.vector() == {alice.voice.device: 1}
    returning.wait(HELD_WAIT_S)
    while returning.ask(newcomer):
        returning.wait(HELD_WAIT_S)
    assert returning.timeline.vector() == newcomer.timeline.vector()
    assert len(returning.shown) == 201
    returning.heard_twice = 0
    while returning.ask(old):
        pass
    assert returning.heard_twice == 1  # the first of all, which it had: a floor does not tell
    assert returning.timeline.floor_of(alice.voice.device) == 1
    assert len(returning.shown) == 301


def test_what_was_dug_out_is_no_beginning_for_a_newcomer(rng: random.Random) -> None:
    """Somebody replays one old line to a member who began later: those who begin with that member get no gap from it."""
    alice = Node(Speaker("alice", rng), window=10)
    for _ in range(30):
        alice.say()
    member, newcomer = (Node(voice, window=50) for voice in speakers(2, rng))
    member.ask(alice)
    member.take(alice.shown[2])
    newcomer.ask(member)
    assert newcomer.timeline.waiting == 0
    assert newcomer.timeline.vector() == alice.timeline.vector()
    assert newcomer.ask(member) == 0


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
    for node in (alice, bob):
        node.wait(HELD_WAIT_S)
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


def test_a_deletion_in_the_place_of_a_line_says_nothing_of_its_own_parents(rng: random.Random) -> None:
    """It comes early there: what it follows is on the next pages, and nobody must be told that it never comes."""
    alice, bob = speakers(2, rng)
    early, late = alice.say(parents=[b"e" * 16]), bob.say(parents=[b"l" * 16])

    def row(statement: Statement, kind: str) -> StoredStatement:
        place = statement.id, ROOM, statement.author.device, statement.body.counter
        return StoredStatement(*place, 1, statement.raw, False, True, True, True, 0, kind)

    rows = [row(early, "say"), row(late, "gone")]
    assert Talks._absent_parents(cast(Talks, None), rows, frozenset()) == [b"e" * 16]


# --- catching up from several members ---------------------------------------------------------------------------------


def test_pages_come_from_one_after_the_other_until_nothing_lacks(rng: random.Random) -> None:
    """The issue: "ranges fetched from several members". Whatever each of them holds, all of it arrives, one page is asked for
    at a time, and the work is shared."""
    for _ in range(30):
        devices = [DeviceId(rng.randbytes(32)) for _ in range(4)]
        everything = {device: rng.randint(20, 60) for device in devices}
        sources = {name: {d: rng.randint(0, upto) for d, upto in everything.items()} for name in "abcd"}
        sources[rng.choice("abcd")] = dict(everything)
        mine = dict.fromkeys(devices, 0)
        catch_up: CatchUp[str] = CatchUp()
        for name, theirs in sources.items():
            catch_up.heard(name, theirs, mine)
        sent: Counter[str] = Counter()
        asked = next(name for name in rng.sample("abcd", 4) if catch_up.ask(name, 0.0))
        assert not any(catch_up.ask(name, 1.0) for name in "abcd" if name != asked)
        source: str | None = asked
        while source is not None:
            before = dict(mine)
            for device, upto in sources[source].items():
                mine[device] = max(mine[device], min(upto, mine[device] + 5))
            sent[source] += 1
            catch_up.on_page(source, news=mine != before)
            source = catch_up.next_source(mine)
            assert source is None or catch_up.ask(source, 2.0)
        assert mine == everything
        assert sum(sent.values()) <= 4 + sum(-(-upto // 5) for upto in everything.values())
        assert max(sent.values()) < sum(sent.values()), "one carried it all"


def test_who_does_not_send_its_page_loses_its_turn() -> None:
    catch_up: CatchUp[str] = CatchUp()
    catch_up.heard("silent", {ALICE: 9}, {})
    catch_up.heard("willing", {ALICE: 7}, {})
    assert catch_up.ask("silent", 0.0)
    assert catch_up.next_source({}) is None
    assert not catch_up.ask("willing", SYNC_TURN_S - 0.1)
    assert catch_up.ask("willing", SYNC_TURN_S)
    catch_up.on_page("willing", news=True)
    assert catch_up.missing("silent", {ALICE: 7}) == 2
    assert catch_up.next_source({ALICE: 7}) == "silent"
    catch_up.drop("silent")
    assert catch_up.next_source({ALICE: 7}) is None


def test_who_has_nothing_for_us_is_not_asked_and_the_memory_is_bounded() -> None:
    catch_up: CatchUp[int] = CatchUp()
    catch_up.heard(1, {ALICE: 3}, {ALICE: 3})
    assert catch_up.next_source({ALICE: 3}) is None
    for source in range(2 * SYNC_SOURCES_MAX):
        catch_up.heard(source, {ALICE: 5}, {})
    assert len(catch_up._ahead) == SYNC_SOURCES_MAX
    for source in range(SYNC_SOURCES_MAX):
        catch_up.on_page(source, news=False)
    assert catch_up.next_source({}) is None
