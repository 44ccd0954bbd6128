"""Edits, deletions and reactions converge whatever the order of arrival, and only the author changes a line."""

import itertools
import random
from collections.abc import Iterable, Sequence

from dhtchat.chat.operations import Operations, Outcome
from dhtchat.ids import MessageId, PeerId
from dhtchat.limits import OPERATIONS_WAITING_MAX, REACTIONS_PER_PERSON_MAX
from dhtchat.records.message import Content, Delete, Edit, Place, React, Read, Say, SetTopic

ROUNDS = 40
ALICE, BOB, CAROL = (PeerId(bytes([number]) * 32) for number in (1, 2, 3))
EMOJIS = ("\U0001f44d", "\U0001f44e", "\u2764")

Said = tuple[MessageId, PeerId, Content]


def line_id(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


def operations_of(said: Iterable[Said]) -> Operations:
    operations = Operations()
    for each in said:
        operations.take(*each)
    return operations


def views(operations: Operations, lines: Sequence[MessageId]) -> list[object]:
    return [operations.view(line) for line in lines]


def some_talk(rng: random.Random, *, lines: int, count: int) -> tuple[list[MessageId], list[Said]]:
    """Lines by three people, and what they, liars among them, do to lines: with revisions that meet and ids that decide."""
    people = (ALICE, BOB, CAROL)
    said: list[Said] = [(line_id(number), rng.choice(people), Say(f"line {number}")) for number in range(lines)]
    for number in range(lines, lines + count):
        target, author = line_id(rng.randrange(lines)), rng.choice(people)
        kind = rng.choices(("edit", "delete", "react"), (4, 1, 4))[0]
        if kind == "edit":
            content: Content = Edit(target, rng.randint(1, 4), f"text {number}")
        elif kind == "delete":
            content = Delete([Place(target, 1)])
        else:
            content = React(target, rng.randint(1, 4), rng.choice(EMOJIS), rng.random() < 0.6)
        said.append((line_id(number), author, content))
    return [line for line, _, content in said if isinstance(content, Say)], said


def test_any_order_of_arrival_ends_with_the_same_lines(rng: random.Random) -> None:
    """The issue: "they converge whatever the order of arrival": random talk, many random orders of it, repeats and all."""
    for _ in range(ROUNDS):
        lines, said = some_talk(rng, lines=4, count=20)
        expected = views(operations_of(said), lines)
        for _ in range(20):
            shuffled = rng.sample(said, len(said))
            assert views(operations_of([*shuffled, *rng.choices(said, k=5)]), lines) == expected


def test_every_permutation_of_a_short_talk_ends_the_same() -> None:
    """Not by luck: all 5,040 orders of a line with what its author and another person did to it."""
    line = line_id(0)
    said: list[Said] = [
        (line, ALICE, Say("helo")),
        (line_id(1), ALICE, Edit(line, 1, "hello")),
        (line_id(2), ALICE, Edit(line, 1, "hello!")),
        (line_id(3), BOB, Edit(line, 9, "forged")),
        (line_id(4), BOB, React(line, 1, EMOJIS[0])),
        (line_id(5), BOB, React(line, 2, EMOJIS[0], False)),
        (line_id(6), BOB, Delete([Place(line, 1)])),
    ]
    for order in itertools.permutations(said):
        view = operations_of(order).view(line)
        assert view is not None
        assert (view.edit, view.deleted, view.reactions) == (line_id(2), False, {}), order


def test_a_deletion_wins_wherever_it_comes() -> None:
    line = line_id(0)
    said: list[Said] = [
        (line, ALICE, Say("oops")),
        (line_id(1), ALICE, Edit(line, 4, "oops!")),
        (line_id(2), ALICE, Delete([Place(line, 1)])),
        (line_id(3), BOB, React(line, 7, EMOJIS[0])),
    ]
    for order in itertools.permutations(said):
        view = operations_of(order).view(line)
        assert view is not None
        assert view.deleted
        assert view.reactions == {}


def test_what_comes_before_its_line_waits_for_it() -> None:
    """An edit that came first is what is shown when the line comes; a deletion that came first leaves nothing to show."""
    operations, edited, deleted = Operations(), line_id(0), line_id(1)
    assert operations.take(line_id(2), ALICE, Edit(edited, 1, "better")) is Outcome.WAITING
    assert operations.take(line_id(3), BOB, Edit(edited, 2, "forged")) is Outcome.WAITING
    assert operations.take(line_id(4), ALICE, Delete([Place(deleted, 2)])) is Outcome.WAITING
    assert operations.view(edited) is None
    assert operations.waiting_text(edited, ALICE) == "better"
    assert operations.waiting == 2
    assert operations.take(edited, ALICE, Say("good")) is Outcome.NEWS
    assert operations.take(deleted, ALICE, Say("bad")) is Outcome.NOTHING
    view = operations.view(edited)
    assert view is not None
    assert view.edit == line_id(2)
    assert operations.waiting == 0


def test_outcomes_say_what_there_is_to_show() -> None:
    operations, line = Operations(), line_id(0)
    operations.take(line, ALICE, Say("hello"))
    assert operations.take(line_id(1), ALICE, Edit(line, 2, "x")) is Outcome.NEWS
    assert operations.take(line_id(2), ALICE, Edit(line, 1, "y")) is Outcome.NOTHING
    assert operations.take(line_id(3), BOB, Edit(line, 3, "z")) is Outcome.REFUSED
    assert operations.take(line_id(4), BOB, Delete([Place(line, 1)])) is Outcome.REFUSED
    assert operations.take(line_id(5), BOB, React(line, 1, EMOJIS[0])) is Outcome.NEWS
    assert operations.take(line_id(6), BOB, React(line, 2, EMOJIS[0])) is Outcome.NOTHING
    assert operations.take(line_id(7), BOB, React(line, 3, EMOJIS[0], False)) is Outcome.NEWS
    assert operations.take(line_id(8), ALICE, Delete([Place(line, 1)])) is Outcome.NEWS
    assert operations.take(line_id(9), ALICE, Delete([Place(line, 1)])) is Outcome.NOTHING
    assert operations.take(line_id(10), BOB, React(line, 9, EMOJIS[1])) is Outcome.NOTHING
    assert operations.take(line_id(11), BOB, SetTopic("cats")) is Outcome.NOTHING
    assert operations.take(line_id(12), BOB, Read([line])) is Outcome.NOTHING


def test_the_next_revision_is_above_all_of_ones_own() -> None:
    operations, line = Operations(), line_id(0)
    assert operations.next_revision(line, ALICE) == 1
    operations.take(line, ALICE, Say("hello"))
    operations.take(line_id(1), ALICE, Edit(line, 3, "x"))
    operations.take(line_id(2), BOB, React(line, 8, EMOJIS[0]))
    assert operations.next_revision(line, ALICE) == 4
    assert operations.next_revision(line, BOB) == 9
    assert operations.has_reacted(line, BOB, EMOJIS[0])
    assert not operations.has_reacted(line, ALICE, EMOJIS[0])


def test_one_person_shows_so_many_reactions_and_everybody_shows_the_same(rng: random.Random) -> None:
    line = line_id(0)
    said: list[Said] = [(line, ALICE, Say("hello"))]
    said += [(line_id(1 + n), BOB, React(line, 1, chr(0x1F600 + n))) for n in range(3 * REACTIONS_PER_PERSON_MAX)]
    expected = operations_of(said).view(line)
    assert expected is not None
    assert len(expected.reactions) == REACTIONS_PER_PERSON_MAX
    for _ in range(10):
        assert operations_of(rng.sample(said, len(said))).view(line) == expected


def test_what_waits_for_lines_that_never_come_is_bounded() -> None:
    operations = Operations()
    for number in range(OPERATIONS_WAITING_MAX + 50):
        operations.take(line_id(10_000 + number), BOB, Edit(line_id(number), 1, "x" * 2_000))
    assert operations.waiting == OPERATIONS_WAITING_MAX
    assert operations.waiting_text(line_id(0), BOB) is None
    assert operations.waiting_text(line_id(60), BOB) is not None


def test_what_is_taken_back_is_as_if_never_taken() -> None:
    """By what was ruled about a room: a line, an edit and a reaction that no longer count, and those that still do."""
    line, other = line_id(1), line_id(2)
    said: list[Said] = [(line, ALICE, Say("one")), (other, BOB, Say("two"))]
    doing: list[Said] = [(line_id(3), ALICE, Edit(line, 1, "uno")), (line_id(4), BOB, React(line, 1, "+"))]
    operations = operations_of([*said, *doing])
    expected = views(operations_of(said), [line, other])
    for each in doing:
        operations.take_back(*each)
    assert views(operations, [line, other]) == expected
    operations.take_back(line_id(9), BOB, Edit(other, 1, "never taken"))
    operations.take_back(*said[0])
    assert operations.view(line) is None
    assert operations.take(*said[0]) is Outcome.NEWS
    assert operations.view(line) == expected[0]
