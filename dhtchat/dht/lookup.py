"""A search for the nodes nearest to a key, as a value: outcomes go in, whom to ask next comes out.

Nothing here may open a socket, read a clock or start a task. Kademlia paper (2002) §2.3, without its rounds: a silent
contact costs its own slot until it is called slow, never the lookup. Disjoint paths are those of S/Kademlia (Baumgart and
Mies, 2007, §4.2): each believes only what its own contacts name, and no two ask the same contact.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from itertools import islice
from typing import Final

from dhtchat.dht.contact import Contact
from dhtchat.dht.diversity import Crowd, Limited, Network, network_of, spread
from dhtchat.ids import NodeId
from dhtchat.limits import (
    FIND_REPLY_CONTACTS_MAX,
    LOOKUP_ASKS_MAX,
    LOOKUP_MISLED_MAX,
    LOOKUP_PATH_ASKS_MAX,
    NETWORK_NODES_PER_REPLICA_SET,
)


class Progress(Enum):
    HEARD = auto()
    """Somebody named it."""
    WAITING = auto()
    """It was asked."""
    SLOW = auto()
    """It was asked, and takes longer than most: others are asked in its place, and it may still answer."""
    ANSWERED = auto()
    FAILED = auto()
    SHUNNED = auto()
    """Named, and not asked because it did not answer lately."""


_PROMISING: Final = frozenset({Progress.HEARD, Progress.WAITING, Progress.ANSWERED})
_ASKED: Final = frozenset({Progress.WAITING, Progress.SLOW})


class _Path:
    """What one of the paths believes."""

    def __init__(self, asks_max: int) -> None:
        self.ranked: list[Contact] = []
        """Those that may still be among the nearest, nearest first: heard of, asked or answered."""
        self.heard: set[Contact] = set()
        """All it ever heard of."""
        self.waiting = 0
        self.asks_left = asks_max


class Lookup:
    """Find the `k` live contacts nearest to `target`, few of one network. Whoever drives it asks each contact it returns and
    reports every outcome once, after `on_slow` or without; it is over when `finished` says so.

    `own_id` is never asked. A node id is asked at two addresses at most: the second for one that has moved. `alpha` are
    asked at a time, on each path.
    """

    def __init__(
        self, target: bytes, *, own_id: bytes, k: int, alpha: int, paths: int = 1, limited: Limited = "public"
    ) -> None:
        self.target = target
        self._own_id = own_id
        self._k = k
        self._alpha = alpha
        self._limited = limited
        self._progress: dict[Contact, Progress] = {}
        self._target_number = int.from_bytes(target, "big")
        self._distance: dict[Contact, int] = {}
        self._network: dict[Contact, Network | None] = {}
        self._crowd = Crowd(NETWORK_NODES_PER_REPLICA_SET)
        self._crowded = False
        """Whether more of some network were named than may be among the nearest: only then must they be counted."""
        self._paths = [_Path(LOOKUP_ASKS_MAX if paths == 1 else LOOKUP_PATH_ASKS_MAX) for _ in range(paths)]
        self._asked_by: dict[Contact, _Path] = {}
        self._addresses: Counter[NodeId] = Counter()
        """How many of each node id we know."""
        self._namer: dict[Contact, Contact] = {}
        """Who named it first."""
        self.asks_open_max: int | None = None
        """How many may be waited for at a time, on all paths together, who are slow not among them: fewer than `alpha` on each
        when a few more answers are all that is wanted. At least 1."""
        self._misled: Counter[Contact] = Counter()
        """Of each, how many that it named first keep silent, less those that answered."""

    def start(self, known: Iterable[Contact]) -> list[Contact]:
        """`known`: nearest first. Each path begins with its share of them."""
        contacts = list(known)
        for number, path in enumerate(self._paths):
            self._hear(path, contacts[number :: len(self._paths)], None)
        return self.next_asks()

    def on_reply(self, contact: Contact, closer: Iterable[Contact]) -> list[Contact]:
        return self.next_asks() if self.learn(contact, closer) else []

    def learn(self, contact: Contact, closer: Iterable[Contact]) -> bool:
        """The first half of `on_reply`, for who looks at the answer before asking on: whether it was one we wait for."""
        path = self._settle(contact, Progress.ANSWERED)
        if path is None:
            return False
        self._hear(path, closer, contact)
        return True

    def next_asks(self) -> list[Contact]:
        """The second half: whom to ask next. The paths take turns, so that none takes what all have heard of; those that have
        asked least come first, so that none starves where only few may be asked."""
        asked: list[Contact] = []
        ranked = sorted(self._paths, key=lambda path: -path.asks_left)
        takers = [(path, self._candidates(path)) for path in ranked]
        while takers:
            takers = [taker for taker in takers if self._ask_one(*taker, asked)]
        return asked

    def on_failure(self, contact: Contact) -> list[Contact]:
        return [] if self._settle(contact, Progress.FAILED) is None else self.next_asks()

    def on_slow(self, contact: Contact) -> list[Contact]:
        """Its outcome is still to come, but others are asked meanwhile."""
        return [] if self._settle(contact, Progress.SLOW) is None else self.next_asks()

    def shun(self, contacts: Iterable[Contact]) -> None:
        """Named by somebody, but known not to answer: not asked, only counted."""
        for contact in contacts:
            if contact not in self._progress and self._is_welcome(contact):
                self._note(contact, Progress.SHUNNED)

    @property
    def finished(self) -> bool:
        """Whether nobody is waited for, but those who are slow."""
        return not any(path.waiting for path in self._paths)

    def awaited(self) -> list[Contact]:
        """The slow ones that would be among the nearest."""
        return self._better(Progress.SLOW)

    def nearest(self) -> list[Contact]:
        """The nearest that answered, nearest first, each node once, few of one network."""
        answered = {contact.node_id: contact for contact in reversed(self._sorted(Progress.ANSWERED))}
        return spread(sorted(answered.values(), key=self._distance.__getitem__), self._k, self._limited)

    def settled(self) -> list[Contact]:
        """Those of the `k` best candidates that have answered: who comes later can push them out only by being nearer,
        never by being quicker."""
        candidates = self._sorted(Progress.ANSWERED, Progress.HEARD, Progress.WAITING, Progress.SLOW)
        nodes = {contact.node_id: contact for contact in reversed(candidates)}
        best = spread(sorted(nodes.values(), key=self._distance.__getitem__), self._k, self._limited)
        return [contact for contact in best if self._progress[contact] is Progress.ANSWERED]

    def silent(self) -> int:
        """Nodes that were asked and would be among the `k` nearest had they answered."""
        return self._missing(Progress.FAILED, Progress.SLOW)

    def shunned(self) -> int:
        """The same of those that were not asked."""
        return self._missing(Progress.SHUNNED)

    def agreement(self) -> float:
        """The share of the paths that have heard of most of the nearest. Honest paths end at the same nodes; one that was
        led astray has not heard of those that the others found."""
        nearest = self.nearest()
        begun = [path for path in self._paths if path.heard]
        agreeing = sum(2 * sum(contact in path.heard for contact in nearest) > len(nearest) for path in begun)
        return agreeing / len(begun) if begun else 1.0

    def is_dubious(self, contact: Contact) -> bool:
        """Whether it was named by somebody who named several that keep silent: each of those costs us time."""
        namer = self._namer.get(contact)
        return namer is not None and self._misled[namer] >= LOOKUP_MISLED_MAX

    # --- whom to ask --------------------------------------------------------------------------------------------------

    def _ask_one(self, path: _Path, candidates: Iterator[Contact], asked: list[Contact]) -> bool:
        if path.waiting >= self._alpha or not path.asks_left or self._is_enough():
            return False
        # Another path may have taken it since the list was made.
        contact = next((c for c in candidates if self._progress[c] is Progress.HEARD), None)
        if contact is None:
            return False
        self._progress[contact] = Progress.WAITING
        self._asked_by[contact] = path
        path.waiting += 1
        path.asks_left -= 1
        asked.append(contact)
        return True

    def _is_enough(self) -> bool:
        return self.asks_open_max is not None and sum(path.waiting for path in self._paths) >= self.asks_open_max

    def _candidates(self, path: _Path) -> Iterator[Contact]:
        """Those of the `k` nearest that a path believes in, nearest first, that nobody has asked."""
        if path.waiting >= self._alpha:
            return
        crowd = Crowd(NETWORK_NODES_PER_REPLICA_SET)
        places = self._k
        for contact in path.ranked:
            progress = self._progress[contact]
            if progress not in _PROMISING or (self._crowded and not crowd.admits(self._network[contact])):
                continue
            if progress is Progress.HEARD:
                if self.is_dubious(contact):
                    continue
                yield contact
            places -= 1
            if not places:
                return

    # --- what we know -------------------------------------------------------------------------------------------------

    def _settle(self, contact: Contact, outcome: Progress) -> _Path | None:
        """The path that asked, if it is an outcome we wait for: a second one for the same contact changes nothing."""
        before = self._progress.get(contact)
        if before not in _ASKED or before is outcome:
            return None
        path = self._asked_by[contact]
        self._progress[contact] = outcome
        if before is Progress.WAITING:
            path.waiting -= 1
            self._blame(contact, 1 if outcome is not Progress.ANSWERED else -1)
        elif outcome is Progress.ANSWERED:
            self._blame(contact, -2)  # what was held against its namer, and what speaks for it
        if outcome is Progress.FAILED:
            for other in self._paths:
                if contact in other.heard:
                    self._drop(other.ranked, contact)
        return path

    def _blame(self, contact: Contact, more: int) -> None:
        namer = self._namer.get(contact)
        if namer is not None:
            self._misled[namer] += more

    def _drop(self, ranked: list[Contact], contact: Contact) -> None:
        place = bisect_left(ranked, self._distance[contact], key=self._distance.__getitem__)
        del ranked[ranked.index(contact, place)]  # a node at two addresses stands there twice

    def _hear(self, path: _Path, named: Iterable[Contact], namer: Contact | None) -> None:
        for contact in islice(named, max(self._k, FIND_REPLY_CONTACTS_MAX)):  # a reply may name k, not thousands
            progress = self._progress.get(contact)
            if progress is None:
                if not self._is_welcome(contact):
                    continue
                self._note(contact, Progress.HEARD)
                progress = Progress.HEARD
                if namer is not None:
                    self._namer[contact] = namer
            elif progress is Progress.HEARD and namer is not None and self.is_dubious(contact):
                self._namer[contact] = namer  # somebody else vouches for it
            if contact not in path.heard:
                path.heard.add(contact)
                if progress is not Progress.FAILED and progress is not Progress.SHUNNED:
                    insort(path.ranked, contact, key=self._distance.__getitem__)

    def _note(self, contact: Contact, progress: Progress) -> None:
        self._progress[contact] = progress
        self._distance[contact] = int.from_bytes(contact.node_id, "big") ^ self._target_number
        self._network[contact] = network_of(contact.endpoint, self._limited)
        self._crowded |= not self._crowd.admits(self._network[contact])
        self._addresses[contact.node_id] += 1

    def _is_welcome(self, contact: Contact) -> bool:
        return contact.node_id != self._own_id and self._addresses[contact.node_id] < 2

    def _missing(self, *wanted: Progress) -> int:
        return len({contact.node_id for contact in self._better(*wanted)})

    def _better(self, *wanted: Progress) -> list[Contact]:
        """Those in one of these states that would be among the nearest had they answered."""
        answered = {contact.node_id for contact in self._sorted(Progress.ANSWERED)}
        rivals = [
            contact
            for contact in self._sorted(Progress.ANSWERED, *wanted)
            if self._progress[contact] is Progress.ANSWERED or contact.node_id not in answered
        ]
        return [c for c in spread(rivals, self._k, self._limited) if self._progress[c] in wanted]

    def _sorted(self, *wanted: Progress) -> list[Contact]:
        """Nearest first."""
        chosen = (contact for contact, progress in self._progress.items() if progress in wanted)
        return sorted(chosen, key=self._distance.__getitem__)
