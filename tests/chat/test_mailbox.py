"""What to do about a line next, how letters come together, and what receipts say: as values, without a network."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.chat.delivery import Outbox
from dhtchat.chat.mailbox import Inbox, Lies, Page, Postman, ReceiptBook
from dhtchat.ids import DeviceId, MessageId, PeerId
from dhtchat.limits import (
    MAIL_DEADLINES_S,
    MAIL_GRACE_S,
    MAIL_ITEMS_PER_BOX_MAX,
    MAIL_ITEMS_PER_SENDER_MAX,
    MAIL_LINKED_GRACE_S,
    MAIL_RECEIPT_ITEMS_MAX,
    MAIL_RECEIPT_SLOTS,
    MAIL_RETRY_FIRST_S,
    MAIL_RETRY_MAX_S,
    MAIL_TEND_S,
    RECEIPT_POLL_MAX_S,
)
from dhtchat.records.mail import Part, cut_letter

BOB, CAROL = PeerId(b"b" * 32), PeerId(b"c" * 32)
FAR_S = 1e12


def line(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


def alone(peer: PeerId) -> bool:
    return False


def linked(peer: PeerId) -> bool:
    return True


@pytest.fixture
def postman() -> Postman:
    return Postman(lambda interval_s: interval_s)


def follow(postman: Postman, *numbers: int, peer: PeerId = BOB, now_s: float = 0.0, lies: Lies = Lies.HERE) -> None:
    for number in numbers:
        postman.take(line(number), peer, deadline_s=FAR_S, now_s=now_s, lies=lies)


# --- sending ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_linked", "grace_s"), [(alone, MAIL_GRACE_S), (linked, MAIL_LINKED_GRACE_S)])
def test_a_line_waits_a_moment_for_its_link(
    postman: Postman, is_linked: Callable[[PeerId], bool], grace_s: float
) -> None:
    follow(postman, 1)
    assert postman.due(grace_s - 0.1, is_linked) == {}
    assert postman.due(grace_s, is_linked) == {BOB: [line(1)]}
    assert postman.due(grace_s + 99, is_linked) == {}, "it is on its way already"


def test_what_is_not_stored_is_tried_again_ever_more_rarely(postman: Postman) -> None:
    follow(postman, 1)
    now_s, pause_s = MAIL_GRACE_S, MAIL_RETRY_FIRST_S
    for _ in range(10):
        assert postman.due(now_s, alone) == {BOB: [line(1)]}
        assert not postman.deposited(line(1), enough=False, now_s=now_s)
        assert postman.due(now_s + pause_s - 0.1, alone) == {}
        now_s, pause_s = now_s + pause_s, min(2 * pause_s, MAIL_RETRY_MAX_S)


def test_stored_is_said_once_and_looked_after(postman: Postman) -> None:
    """A later deposit that finds fewer copies takes nothing back, and is repeated soon."""
    follow(postman, 1)
    postman.due(MAIL_GRACE_S, alone)
    assert postman.deposited(line(1), enough=True, now_s=5.0)
    assert postman.due(5.0 + MAIL_TEND_S - 1, alone) == {}
    assert postman.due(5.0 + MAIL_TEND_S, alone) == {BOB: [line(1)]}
    now_s = 5.0 + MAIL_TEND_S
    assert not postman.deposited(line(1), enough=False, now_s=now_s)
    assert postman.due(now_s + MAIL_RETRY_FIRST_S, alone) == {BOB: [line(1)]}
    assert not postman.deposited(line(1), enough=True, now_s=now_s)


def test_leaving_brings_everything_at_once(postman: Postman) -> None:
    """Nothing waits for a grace; the wait is over when each was tried, whatever came of it."""
    follow(postman, 1, 2)
    follow(postman, 3, peer=CAROL, lies=Lies.STORED)
    postman.hurry(0.0)
    assert postman.hurrying
    assert postman.due(0.0, linked) == {BOB: [line(1), line(2)]}
    postman.deposited(line(1), enough=True, now_s=0.0)
    assert postman.hurrying
    postman.deposited(line(2), enough=False, now_s=0.0)
    assert not postman.hurrying


def test_more_than_a_mailbox_takes_is_not_brought(postman: Postman) -> None:
    """The oldest go; the others wait here until some have arrived, and a departure does not wait for them."""
    follow(postman, *range(MAIL_ITEMS_PER_SENDER_MAX + 10))
    follow(postman, 1_000, peer=CAROL)
    postman.hurry(0.0)
    first = [line(number) for number in range(MAIL_ITEMS_PER_SENDER_MAX)]
    assert postman.due(0.0, alone) == {BOB: first, CAROL: [line(1_000)]}
    for each in (*first, line(1_000)):
        postman.deposited(each, enough=True, now_s=0.0)
    assert not postman.hurrying
    assert postman.due(MAIL_GRACE_S, alone) == {}
    left = [line(number) for number in range(3, MAIL_ITEMS_PER_SENDER_MAX + 10)]
    postman.keep_only({BOB: left})
    assert postman.due(MAIL_GRACE_S, alone) == {BOB: [line(MAIL_ITEMS_PER_SENDER_MAX + n) for n in range(3)]}


def test_who_arrives_by_the_link_is_followed_no_longer(postman: Postman) -> None:
    follow(postman, 1, 2)
    postman.hurry(0.0)
    assert postman.keep_only({BOB: [line(2)]}) == [line(1)]
    assert postman.due(0.0, alone) == {BOB: [line(2)]}
    assert not postman.deposited(line(1), enough=True, now_s=0.0)
    assert postman.keep_only({}) == [line(2)]
    assert not postman.hurrying
    assert postman.polls(1e9) == []


def test_after_its_time_a_line_is_given_up_once(postman: Postman) -> None:
    postman.take(line(1), BOB, deadline_s=1_000.0, now_s=0.0)
    postman.take(line(2), BOB, deadline_s=2_000.0, now_s=0.0, lies=Lies.STORED)
    assert postman.expire(999.0) == []
    assert postman.expire(1_000.0) == [line(1)]
    assert postman.expire(2_000.0) == [line(2)]
    assert postman.expire(9_000.0) == []
    assert postman.due(1e9, alone) == {}
    assert not postman.deposited(line(1), enough=True, now_s=0.0)


def test_what_an_earlier_run_left_is_not_told_again(postman: Postman) -> None:
    """Stored: looked after and looked for. Given up: neither."""
    follow(postman, 1, lies=Lies.STORED)
    follow(postman, 2, peer=CAROL, lies=Lies.GIVEN_UP)
    assert postman.polls(0.0) == [BOB]
    assert postman.without_items(BOB) == [line(1)]
    assert postman.due(1e9, alone) == {BOB: [line(1)]}
    assert not postman.deposited(line(1), enough=True, now_s=0.0)


# --- receipts ---------------------------------------------------------------------------------------------------------


def test_a_letter_has_arrived_with_its_last_part(postman: Postman) -> None:
    follow(postman, 1)
    postman.set_items(line(1), [b"one", b"two"])
    assert postman.answered(BOB, {b"one", b"other"}, set()) == ([], [])
    assert postman.answered(CAROL, {b"one", b"two"}, set()) == ([], []), "Carol's word is none about Bob's mail"
    assert postman.answered(BOB, {b"one", b"two"}, {b"one"}) == ([line(1)], []), "another device has all of it"
    assert postman.answered(BOB, {b"one"}, {b"two"}) == ([], [line(1)])


def test_a_letter_whose_parts_are_not_known_never_has(postman: Postman) -> None:
    follow(postman, 1)
    assert postman.answered(BOB, {b"x"}, {b"y"}) == ([], [])


def test_receipts_are_looked_for_ever_more_rarely(postman: Postman) -> None:
    """As long as something lies there."""
    follow(postman, 1)
    postman.due(MAIL_GRACE_S, alone)
    postman.deposited(line(1), enough=True, now_s=0.0)
    times = [now_s for now_s in range(0, 10_000, 5) if postman.polls(float(now_s))]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == RECEIPT_POLL_MAX_S
    postman.poll_soon(BOB, 10_001.0)
    assert postman.polls(10_001.0) == [BOB]


# --- putting letters together -----------------------------------------------------------------------------------------


def parts(letter: int, statement: bytes) -> list[tuple[bytes, Part]]:
    cut = cut_letter(line(letter), statement)
    return [(b"%d/%d" % (letter, part.number), part) for part in cut]


@given(st.integers(0, 2**32))
def test_letters_come_together_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    statements = {number: rng.randbytes(rng.randrange(1, 4_000)) for number in range(4)}
    arriving = [(number, *piece) for number, text in statements.items() for piece in parts(number, text)]
    rng.shuffle(arriving)
    inbox, found = Inbox(), {}
    for _, item, part in arriving:
        complete = inbox.put(b"sender", item, part)
        if complete is not None:
            found[complete.letter] = complete
            assert not any(inbox.holds(each) for each in complete.items)
        else:
            assert inbox.holds(item)
    assert {letter: each.statement for letter, each in found.items()} == {line(n): t for n, t in statements.items()}
    for number, text in statements.items():
        assert found[line(number)].items == tuple(item for item, _ in parts(number, text))


def test_nobody_puts_a_part_into_somebody_elses_letter() -> None:
    """The same letter id under another sender is another letter."""
    inbox = Inbox()
    (first, one), (second, two) = parts(1, bytes(1_000))
    assert inbox.put(b"alice", first, one) is None
    assert inbox.put(b"mallory", b"m", two) is None
    complete = inbox.put(b"alice", second, two)
    assert complete is not None
    assert complete.items == (first, second)


def test_a_letter_cut_in_two_ways_begins_anew() -> None:
    inbox = Inbox()
    [(item, short)] = parts(1, b"short")
    (first, one), (second, two) = parts(1, bytes(1_000))
    assert inbox.put(b"mallory", first, one) is None
    complete = inbox.put(b"mallory", item, short)
    assert complete is not None
    assert complete.statement == b"short"
    assert not inbox.holds(first)
    assert inbox.put(b"mallory", second, two) is None


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    inbox = Inbox()
    for number in range(MAIL_ITEMS_PER_BOX_MAX + 10):
        item, part = parts(number, bytes(1_000))[0]
        inbox.put(b"mallory", item, part)
    assert sum(inbox.holds(b"%d/0" % number) for number in range(MAIL_ITEMS_PER_BOX_MAX + 10)) == MAIL_ITEMS_PER_BOX_MAX
    assert not inbox.holds(b"0/0")


# --- what we are done with --------------------------------------------------------------------------------------------


def item(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_pages_fill_up_and_say_what_is_taken_and_what_is_not() -> None:
    book = ReceiptBook()
    assert set(book.note(map(item, range(3)), taken=True, sequence=100)) == {0}
    assert set(book.note([item(3)], taken=False, sequence=100)) == {1}
    changed = book.note(map(item, range(2, 60)), taken=True, sequence=50)
    assert set(changed) == {0, 2}
    pages = book.pages()
    assert [len(pages[slot].items) for slot in (0, 1, 2)] == [
        MAIL_RECEIPT_ITEMS_MAX,
        1,
        60 - 1 - MAIL_RECEIPT_ITEMS_MAX,
    ]
    assert [pages[slot].taken for slot in (0, 1, 2)] == [True, False, True]
    assert all(book.covers(item(number)) for number in range(60))
    assert not book.covers(item(60))
    assert book.note(map(item, range(60)), taken=True, sequence=1) == {}


def test_sequence_numbers_of_a_page_only_grow() -> None:
    """Even when the clock goes back."""
    book = ReceiptBook()
    last: dict[int, int] = {}
    for number in range(200):
        for slot, page in book.note([item(number)], taken=bool(number % 3), sequence=1_000 - number).items():
            assert page.sequence > last.get(slot, 0)
            last[slot] = page.sequence


def test_a_book_that_is_full_forgets_its_oldest_page() -> None:
    book = ReceiptBook()
    everything = MAIL_RECEIPT_SLOTS * MAIL_RECEIPT_ITEMS_MAX
    book.note(map(item, range(everything + 1)), taken=True, sequence=1)
    assert len(book.pages()) == MAIL_RECEIPT_SLOTS
    assert not book.covers(item(0))
    assert book.covers(item(MAIL_RECEIPT_ITEMS_MAX))
    assert book.covers(item(everything))
    again = ReceiptBook()
    again.load(book.pages())
    assert again.pages() == book.pages()
    assert again.covers(item(everything))
    assert not again.covers(item(0))
    assert set(again.note([item(everything + 1)], taken=True, sequence=1)) == {0}


def test_rubbish_pushes_out_rubbish() -> None:
    """However much of it comes, the authors of real lines can still read that these have arrived."""
    book = ReceiptBook()
    real = [item(number) for number in range(3 * MAIL_RECEIPT_ITEMS_MAX)]
    book.note(real, taken=True, sequence=1)
    rubbish = range(1_000_000, 1_000_000 + 2 * MAIL_RECEIPT_SLOTS * MAIL_RECEIPT_ITEMS_MAX)
    book.note(map(item, rubbish), taken=False, sequence=1)
    assert all(book.covers(each) for each in real)
    assert len(book.pages()) == MAIL_RECEIPT_SLOTS
    assert book.covers(item(rubbish[-1]))


def test_a_page_of_an_earlier_run_is_filled_on() -> None:
    book = ReceiptBook()
    book.load({5: Page(True, (item(1),), 77)})
    assert book.note([item(2)], taken=True, sequence=1) == {5: Page(True, (item(1), item(2)), 78)}


# --- states -----------------------------------------------------------------------------------------------------------


def test_stored_and_failed_never_take_anything_back() -> None:
    """queued, sent, stored, delivered. What failed may still be delivered, when both meet, and is followed so long."""
    outbox = Outbox(DeviceId(b"d" * 32))
    for number in (1, 2, 3):
        outbox.add(line(number), b"t" * 32, number, [BOB], direct=True)
    assert outbox.only_here() == [BOB]
    assert [change.state for change in outbox.on_stored(line(1))] == ["stored"]
    assert outbox.on_stored(line(1)) == outbox.on_sent(line(1)) == []
    outbox.on_sent(line(2))
    assert [change.state for change in outbox.on_stored(line(2))] == ["stored"]
    [failed] = outbox.on_failed(line(3), "too late")
    assert (failed.state, failed.reason) == ("failed", "too late")
    assert outbox.on_failed(line(3), "again") == outbox.on_stored(line(3)) == outbox.on_sent(line(3)) == []
    assert outbox.only_here() == []
    assert outbox.lacking() == {BOB: [line(1), line(2), line(3)]}
    _, changes = outbox.on_committed([line(1), line(3)], BOB)
    assert [change.state for change in changes] == ["delivered", "delivered"]
    assert outbox.on_failed(line(1), "late") == []


def test_what_an_earlier_run_stored_is_not_queued_again() -> None:
    outbox = Outbox(DeviceId(b"d" * 32))
    assert outbox.add(line(1), b"t" * 32, 1, [BOB], direct=True, state="stored").state == "stored"
    assert outbox.on_sent(line(1)) == outbox.on_stored(line(1)) == []


@pytest.mark.parametrize("case", range(40))
def test_the_next_time_is_when_something_is_due_and_never_later(case: int, seed: int) -> None:
    """Looking only then brings, polls and gives up the same lines at the same times as looking all the time."""
    rng = random.Random(f"{seed}/{case}")
    lines = [(rng.randint(0, 400), number, rng.choice((BOB, CAROL))) for number in range(12)]
    life_s = rng.choice((300.0, 5_000.0))
    links = {peer: rng.randint(0, 400) for peer in (BOB, CAROL)}
    """Until when they have one."""
    outcomes = {line(number): [rng.random() < 0.4 for _ in range(100)] for _, number, _ in lines}

    def course(*, only_when_due: bool) -> list[tuple[float, object]]:
        postman, done, now_s, next_s = Postman(lambda interval_s: interval_s), [], 0.0, 0.0
        tries: Counter[MessageId] = Counter()
        for now_s in (half / 2 for half in range(2 * 1_000)):
            changed = False
            for at_s, number, peer in lines:
                if at_s == now_s:
                    postman.take(line(number), peer, deadline_s=FAR_S + at_s + life_s, now_s=now_s)
                    changed = True
            changed |= now_s in links.values()
            if only_when_due and now_s < next_s and not changed:
                continue

            def has_link(peer: PeerId, now_s: float = now_s) -> bool:
                return now_s < links[peer]

            done += [(now_s, ("given up", each)) for each in postman.expire(FAR_S + now_s)]
            for peer, brought in postman.due(now_s, has_link).items():
                done.append((now_s, (peer, brought)))
                for each in brought:
                    postman.deposited(each, enough=outcomes[each][tries[each]], now_s=now_s)
                    tries[each] += 1
            done += [(now_s, ("look", peer)) for peer in postman.polls(now_s)]
            next_s = postman.next_s(now_s, FAR_S + now_s, has_link)
        return done

    assert course(only_when_due=True) == course(only_when_due=False)


def test_who_has_nothing_under_way_has_nothing_to_wait_for(postman: Postman) -> None:
    """And a clock that people set may be set: a deadline is never far off."""
    assert postman.next_s(0.0, 0.0, alone) == math.inf
    follow(postman, 1, lies=Lies.STORED)
    postman.polls(0.0)
    assert postman.next_s(0.0, 0.0, alone) <= MAIL_DEADLINES_S
    postman.give_up(line(1))
    postman.keep_only({})
    assert postman.next_s(0.0, 0.0, alone) == math.inf
