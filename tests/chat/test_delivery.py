"""What we said and who has it: a state never goes back, and delivered means on a recipient's disk."""

import random

import pytest

from dhtchat.chat.delivery import Outbox, Receipt, StatusChange
from dhtchat.ids import DeviceId, MessageId, PeerId
from dhtchat.limits import OUTBOX_ENTRIES_MAX

DEVICE, OTHER_DEVICE = DeviceId(b"d" * 32), DeviceId(b"o" * 32)
ALICE, BOB, STRANGER = PeerId(b"a" * 32), PeerId(b"b" * 32), PeerId(b"s" * 32)
ROOM, TALK = b"r" * 32, b"t" * 32
RANKS = ["queued", "sent", "delivered"]


def an_id(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


LINE = an_id(1)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(DEVICE)


def test_a_private_line_is_queued_sent_and_delivered(outbox: Outbox) -> None:
    """Each state is told once; with the receipt of the one recipient there is nothing left to follow."""
    assert outbox.add(LINE, TALK, 1, [BOB], direct=True) == StatusChange(LINE, "queued", None, None)
    assert outbox.lacking() == outbox.lacking(direct_only=True) == {BOB: [LINE]}
    assert outbox.on_sent(LINE) == [StatusChange(LINE, "sent", None, None)]
    assert outbox.on_sent(LINE) == []
    delivered = [StatusChange(LINE, "delivered", None, None)]
    assert outbox.on_committed([LINE], BOB) == ([Receipt(LINE, BOB)], delivered)
    assert len(outbox) == 0
    assert outbox.lacking() == {}
    assert outbox.on_committed([LINE], BOB) == ([], [])
    assert outbox.on_sent(LINE) == []


def test_in_a_room_it_is_told_how_many_have_it(outbox: Outbox) -> None:
    """`delivered_to` counts persons, each once, of those who were in the room when it was said."""
    assert outbox.add(LINE, ROOM, 1, [ALICE, BOB, BOB], direct=False) == StatusChange(LINE, "queued", 0, 2)
    assert outbox.on_committed([LINE], BOB)[1] == [StatusChange(LINE, "delivered", 1, 2)]
    assert outbox.on_committed([LINE, LINE], BOB) == ([], [])
    assert outbox.lacking() == {ALICE: [LINE]}
    assert outbox.lacking(direct_only=True) == {}
    assert outbox.on_committed([LINE], ALICE)[1] == [StatusChange(LINE, "delivered", 2, 2)]
    assert len(outbox) == 0


def test_only_a_recipient_can_say_that_it_has_something(outbox: Outbox) -> None:
    """A stranger's word, or one about somebody else's statement, delivers nothing."""
    outbox.add(LINE, TALK, 1, [BOB], direct=True)
    assert outbox.on_committed([LINE], STRANGER) == ([], [])
    assert outbox.on_vector(TALK, {DEVICE: 2**62}, STRANGER) == ([], [])
    assert outbox.on_committed([an_id(99), b"", b"x" * 32], BOB) == ([], [])
    assert outbox.lacking() == {BOB: [LINE]}


def test_a_comparison_delivers_what_it_covers(outbox: Outbox) -> None:
    """Of this conversation and this device, up to the counter."""
    for counter in (1, 2, 3):
        outbox.add(an_id(counter), ROOM, counter, [BOB], direct=False)
    outbox.add(an_id(9), TALK, 1, [BOB], direct=True)
    assert outbox.on_vector(ROOM, {OTHER_DEVICE: 7}, BOB) == ([], [])
    receipts, changes = outbox.on_vector(ROOM, {DEVICE: 2, OTHER_DEVICE: 7}, BOB)
    assert [receipt.statement_id for receipt in receipts] == [an_id(1), an_id(2)]
    assert [change.state for change in changes] == ["delivered", "delivered"]
    assert outbox.on_vector(ROOM, {DEVICE: 2}, BOB) == ([], [])
    assert outbox.lacking() == {BOB: [an_id(3), an_id(9)]}


def test_a_comparison_does_not_deliver_what_lies_before_a_beginning(outbox: Outbox) -> None:
    """A newcomer's second device says where its history begins: what is older it never got."""
    for counter in (1, 2, 3):
        outbox.add(an_id(counter), ROOM, counter, [BOB], direct=False)
    receipts, _ = outbox.on_vector(ROOM, {DEVICE: 3}, BOB, floor=3)
    assert receipts == [Receipt(an_id(3), BOB)]
    assert outbox.lacking() == {BOB: [an_id(1), an_id(2)]}


def test_states_never_go_back_whatever_happens(rng: random.Random, outbox: Outbox) -> None:
    """Any mix of sends, receipts and comparisons, from anybody, in any order."""
    people = [ALICE, BOB, STRANGER]
    last: dict[MessageId, StatusChange] = {}
    for number in range(400):
        some = an_id(rng.randrange(1, number + 2))
        peer = rng.choice(people)
        match rng.randrange(4):
            case 0:
                line, direct = an_id(number + 1), rng.random() < 0.5
                recipients = [BOB] if direct else rng.sample(people, rng.randrange(3))
                changes = [outbox.add(line, TALK if direct else ROOM, number + 1, recipients, direct=direct)]
            case 1:
                changes = outbox.on_sent(some)
            case 2:
                changes = outbox.on_committed([some, LINE], peer)[1]
            case _:
                changes = outbox.on_vector(rng.choice([ROOM, TALK]), {DEVICE: rng.randrange(number + 2)}, peer)[1]
        for change in changes:
            before = last.get(change.statement_id)
            if before is not None:
                assert RANKS.index(change.state) >= RANKS.index(before.state)
                assert change.members == before.members
                assert change.delivered_to is None or change.delivered_to >= (before.delivered_to or 0)
                assert change != before
            last[change.statement_id] = change


def test_alone_in_a_room_there_is_nothing_to_follow(outbox: Outbox) -> None:
    """Nobody will ever acknowledge it."""
    assert outbox.add(LINE, ROOM, 1, [], direct=False) == StatusChange(LINE, "queued", 0, 0)
    assert len(outbox) == 0


def test_above_the_bound_the_oldest_room_line_is_no_longer_followed(outbox: Outbox) -> None:
    """A private line is owed to somebody: it goes last."""
    outbox.add(an_id(0), TALK, 1, [BOB], direct=True)
    for number in range(1, OUTBOX_ENTRIES_MAX + 3):
        outbox.add(an_id(number), ROOM, number, [BOB], direct=False)
    assert len(outbox) == OUTBOX_ENTRIES_MAX
    lacking = outbox.lacking()[BOB]
    assert lacking[0] == an_id(0)
    assert lacking[1:] == [an_id(number) for number in range(4, OUTBOX_ENTRIES_MAX + 3)]


def test_of_private_lines_alone_the_oldest_goes(outbox: Outbox) -> None:
    """The bound holds in any case."""
    for number in range(OUTBOX_ENTRIES_MAX + 2):
        outbox.add(an_id(number), TALK, number + 1, [BOB], direct=True)
    assert outbox.lacking()[BOB] == [an_id(number) for number in range(2, OUTBOX_ENTRIES_MAX + 2)]


def test_what_was_deleted_is_owed_to_nobody(outbox: Outbox) -> None:
    outbox.add(LINE, TALK, 1, [BOB], direct=True)
    outbox.add(an_id(2), TALK, 2, [BOB], direct=True)
    outbox.drop([LINE, an_id(3)])
    assert outbox.lacking() == {BOB: [an_id(2)]}
    assert outbox.on_committed([LINE], BOB) == ([], [])
