"""Mail as its author and its reader keep it in mind. No I/O, no clock, no chance: outcomes go in, what to do comes out.

`Postman` knows which of our lines lie where and what to do about each next. `Inbox` puts letters together. `ReceiptBook`
remembers which items this device is done with, in as many pages as its receipts have.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum
from math import inf
from typing import NamedTuple

from dhtchat.ids import MessageId, PeerId
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
    RECEIPT_POLL_FIRST_S,
    RECEIPT_POLL_MAX_S,
)
from dhtchat.records.mail import Part


class Lies(Enum):
    """Where a letter is."""

    HERE = "here"
    """Not with enough replicas."""
    STORED = "stored"
    GIVEN_UP = "given-up"


class _Letter:
    __slots__ = ("busy", "deadline_s", "due_s", "items", "lies", "peer", "retry_s", "since_s", "tried")

    def __init__(self, peer: PeerId, deadline_s: float, since_s: float, lies: Lies) -> None:
        self.peer = peer
        self.deadline_s = deadline_s
        """Unix seconds."""
        self.since_s = since_s
        self.lies = lies
        self.due_s = since_s
        self.retry_s = MAIL_RETRY_FIRST_S
        self.busy = False
        self.tried = lies is Lies.STORED
        self.items: frozenset[bytes] = frozenset()
        """Ids of its parts, once they are known."""


class Answered(NamedTuple):
    """What receipts say of our letters."""

    taken: list[MessageId]
    refused: list[MessageId]


class Postman:
    """The private lines of this device that somebody is not known to have. Times are monotonic seconds, but for deadlines."""

    def __init__(self, jitter: Callable[[float], float]) -> None:
        self._jitter = jitter
        self._letters: dict[MessageId, _Letter] = {}
        self._polls: dict[PeerId, tuple[float, float]] = {}
        """When to look for receipts of a person next, and the pause after that."""
        self._hurried: set[MessageId] = set()

    def unknown(self, lacking: Mapping[PeerId, Iterable[MessageId]]) -> dict[MessageId, PeerId]:
        """Of what the outbox follows, what is new to us."""
        return {line: peer for peer, lines in lacking.items() for line in lines if line not in self._letters}

    def take(self, line: MessageId, peer: PeerId, *, deadline_s: float, now_s: float, lies: Lies = Lies.HERE) -> None:
        """Follow a line; `lies`: as an earlier run left it."""
        letter = self._letters[line] = _Letter(peer, deadline_s, now_s, lies)
        if lies is Lies.STORED:
            letter.due_s = now_s + self._jitter(MAIL_RETRY_MAX_S)
            self._polls.setdefault(peer, (now_s, RECEIPT_POLL_FIRST_S))

    def keep_only(self, lacking: Mapping[PeerId, Collection[MessageId]]) -> list[MessageId]:
        """The outbox follows these; the others have arrived. Returns those."""
        followed = {line for lines in lacking.values() for line in lines}
        arrived = [line for line in self._letters if line not in followed]
        for line in arrived:
            del self._letters[line]
            self._hurried.discard(line)
        self._polls = {peer: poll for peer, poll in self._polls.items() if peer in lacking}
        return arrived

    def expire(self, wall_s: float) -> list[MessageId]:
        """What has waited for too long."""
        return [line for line, letter in self._letters.items() if letter.deadline_s <= wall_s and self.give_up(line)]

    def give_up(self, line: MessageId) -> bool:
        """Whether that is new."""
        letter = self._letters.get(line)
        self._hurried.discard(line)
        if letter is None or letter.lies is Lies.GIVEN_UP:
            return False
        letter.lies = Lies.GIVEN_UP
        return True

    # --- storing ---

    def due(self, now_s: float, is_linked: Callable[[PeerId], bool]) -> dict[PeerId, list[MessageId]]:
        """What to bring to which mailbox now. Report each with `deposited`."""
        found: dict[PeerId, list[MessageId]] = {}
        linked: dict[PeerId, bool] = {}
        for line, letter in self._first_of_each():
            if letter.busy or letter.due_s > now_s:
                continue
            if letter.peer not in linked:
                linked[letter.peer] = is_linked(letter.peer)
            if now_s >= self._grace_ends_s(line, letter, linked=linked[letter.peer]):
                letter.busy = True
                found.setdefault(letter.peer, []).append(line)
        return found

    def _grace_ends_s(self, line: MessageId, letter: _Letter, *, linked: bool) -> float:
        if letter.lies is not Lies.HERE or line in self._hurried:
            return -inf
        return letter.since_s + (MAIL_LINKED_GRACE_S if linked else MAIL_GRACE_S)

    def next_s(self, now_s: float, wall_s: float, is_linked: Callable[[PeerId], bool]) -> float:
        """When `due`, `polls` or `expire` has something, unless something happens before. Clocks that people set may jump, so
        that is never far off while something waits."""
        found = [at_s for at_s, _ in self._polls.values()]
        linked: dict[PeerId, bool] = {}
        for line, letter in self._first_of_each():
            if not letter.busy:
                if letter.peer not in linked:
                    linked[letter.peer] = is_linked(letter.peer)
                found.append(max(letter.due_s, self._grace_ends_s(line, letter, linked=linked[letter.peer])))
        deadlines = (x.deadline_s for x in self._letters.values() if x.lies is not Lies.GIVEN_UP)
        left_s = min(deadlines, default=inf) - wall_s
        if left_s < inf:
            found.append(now_s + min(left_s, MAIL_DEADLINES_S))
        return min(found, default=inf)

    def deposited(self, line: MessageId, *, enough: bool, now_s: float) -> bool:
        """The outcome: whether enough replicas hold all its parts. Whether that is news. What was stored once stays so: our
        own copy is still here, and it is brought again."""
        self._hurried.discard(line)
        letter = self._letters.get(line)
        if letter is None or letter.lies is Lies.GIVEN_UP:
            return False
        letter.busy = False
        letter.tried = True
        self._polls.setdefault(letter.peer, (now_s + RECEIPT_POLL_FIRST_S, RECEIPT_POLL_FIRST_S))
        if enough:
            letter.due_s = now_s + self._jitter(MAIL_TEND_S)
            letter.retry_s = MAIL_RETRY_FIRST_S
            news = letter.lies is Lies.HERE
            letter.lies = Lies.STORED
            return news
        letter.due_s = now_s + self._jitter(letter.retry_s)
        letter.retry_s = min(2 * letter.retry_s, MAIL_RETRY_MAX_S)
        return False

    def hurry(self, now_s: float) -> None:
        """Try everything that is only here at once: we are about to leave, or the network has come back."""
        for line, letter in self._first_of_each():
            if letter.lies is Lies.HERE:
                letter.due_s = min(letter.due_s, now_s)
                self._hurried.add(line)

    def _first_of_each(self) -> Iterator[tuple[MessageId, _Letter]]:
        """The oldest lines to each person that are not given up, as many as a mailbox can take: more would be refused."""
        counted: Counter[PeerId] = Counter()
        for line, letter in self._letters.items():
            if letter.lies is not Lies.GIVEN_UP and counted[letter.peer] < MAIL_ITEMS_PER_SENDER_MAX:
                counted[letter.peer] += 1
                yield line, letter

    @property
    def hurrying(self) -> bool:
        """Whether something has not been tried since `hurry`."""
        return bool(self._hurried)

    # --- receipts ---

    def polls(self, now_s: float) -> list[PeerId]:
        """Whose receipts to look for now."""
        due = [peer for peer, (at_s, _) in self._polls.items() if at_s <= now_s]
        for peer in due:
            pause_s = self._polls[peer][1]
            self._polls[peer] = now_s + self._jitter(pause_s), min(2 * pause_s, RECEIPT_POLL_MAX_S)
        return due

    def poll_soon(self, peer: PeerId, now_s: float) -> None:
        """Something says that they have been there."""
        if peer in self._polls:
            self._polls[peer] = now_s, RECEIPT_POLL_FIRST_S

    def without_items(self, peer: PeerId) -> list[MessageId]:
        """Letters to somebody that have been brought, and of which we have not worked out the items in this run."""
        return [line for line, x in self._letters.items() if x.peer == peer and x.tried and not x.items]

    def set_items(self, line: MessageId, items: Iterable[bytes]) -> None:
        if line in self._letters:
            self._letters[line].items = frozenset(items)

    def answered(self, peer: PeerId, taken: Collection[bytes], refused: Collection[bytes]) -> Answered:
        """Items that somebody's devices have, and that they have no use for. A letter has arrived with its last part; one
        part that is of no use spoils it, unless another device has all of it."""
        result = Answered([], [])
        for line, letter in self._letters.items():
            if letter.peer != peer or not letter.items:
                continue
            if letter.items <= set(taken):
                result.taken.append(line)
            elif not letter.items.isdisjoint(refused) and letter.lies is not Lies.GIVEN_UP:
                result.refused.append(line)
        return result


# --- the reader's side ------------------------------------------------------------------------------------------------


class Complete(NamedTuple):
    """All parts of a letter are here. `statement`: unverified bytes."""

    letter: MessageId
    statement: bytes
    items: tuple[bytes, ...]


class Inbox:
    """Parts that wait for others of the same letter, by the same sender: nobody can put anything into another's."""

    def __init__(self) -> None:
        self._letters: OrderedDict[tuple[bytes, MessageId], dict[int, tuple[bytes, Part]]] = OrderedDict()
        self._items: set[bytes] = set()

    def holds(self, item: bytes) -> bool:
        return item in self._items

    def put(self, sender: bytes, item: bytes, part: Part) -> Complete | None:
        """A part that opened. Returns the letter once it is complete."""
        slot = sender, part.letter
        parts = self._letters.setdefault(slot, {})
        if any(other.total != part.total for _, other in parts.values()):
            self._forget(slot)  # who cuts one letter in two ways gets it back: the next reading begins with this part
            parts = self._letters.setdefault(slot, {})
        parts[part.number] = item, part
        self._items.add(item)
        if len(parts) == part.total:
            self._forget(slot)
            ordered = [parts[number] for number in range(part.total)]
            return Complete(part.letter, b"".join(p.chunk for _, p in ordered), tuple(item for item, _ in ordered))
        while len(self._items) > MAIL_ITEMS_PER_BOX_MAX:
            self._forget(next(iter(self._letters)))
        return None

    def _forget(self, slot: tuple[bytes, MessageId]) -> None:
        for item, _ in self._letters.pop(slot).values():
            self._items.discard(item)


class Page(NamedTuple):
    """What one receipt says. `sequence`: of its latest version."""

    taken: bool
    items: tuple[bytes, ...]
    sequence: int


class ReceiptBook:
    """The items this device is done with, the latest of them: MAIL_RECEIPT_SLOTS pages of MAIL_RECEIPT_ITEMS_MAX."""

    def __init__(self) -> None:
        self._pages: OrderedDict[int, Page] = OrderedDict()
        """By slot, the one begun last at the end."""
        self._covered: set[bytes] = set()

    def load(self, pages: Mapping[int, Page]) -> None:
        """As an earlier run left it."""
        self._pages = OrderedDict(sorted(pages.items(), key=lambda page: page[1].sequence))
        self._covered = {item for page in self._pages.values() for item in page.items}

    def covers(self, item: bytes) -> bool:
        return item in self._covered

    def pages(self) -> dict[int, Page]:
        return dict(self._pages)

    def note(self, items: Iterable[bytes], *, taken: bool, sequence: int) -> dict[int, Page]:
        """Done with these. Returns the pages that changed, with sequence numbers above all earlier ones and `sequence`."""
        changed: dict[int, Page] = {}
        top = max([sequence - 1, *(page.sequence for page in self._pages.values())])
        for item in items:
            if item in self._covered:
                continue
            slot = self._open_slot(taken=taken)
            before = self._pages.get(slot, Page(taken, (), 0))
            if slot not in changed:
                top += 1
            changed[slot] = self._pages[slot] = Page(taken, (*before.items, item), top)
            self._covered.add(item)
        return changed

    def _open_slot(self, *, taken: bool) -> int:
        for slot, page in self._pages.items():
            if page.taken == taken and len(page.items) < MAIL_RECEIPT_ITEMS_MAX:
                return slot
        free = next((slot for slot in range(MAIL_RECEIPT_SLOTS) if slot not in self._pages), None)
        if free is None:  # what is of no use goes first: rubbish shall not push out what tells authors of their lines
            free = next((slot for slot, page in self._pages.items() if not page.taken), next(iter(self._pages)))
            self._covered.difference_update(self._pages.pop(free).items)
        return free
