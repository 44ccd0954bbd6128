"""A search for the nodes nearest to a key, as a value: outcomes go in, whom to ask next comes out.

Nothing here may open a socket, read a clock or start a task. Kademlia paper (2002) §2.3, without its rounds: a silent
contact costs its own slot until the transport gives it up, never the lookup.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from enum import Enum, auto
from itertools import islice

from dhtchat.dht.contact import Contact
from dhtchat.ids import NodeId
from dhtchat.limits import FIND_REPLY_CONTACTS_MAX, LOOKUP_ASKS_MAX


class Progress(Enum):
    HEARD = auto()
    """Somebody named it."""
    WAITING = auto()
    """It was asked."""
    ANSWERED = auto()
    FAILED = auto()
    SHUNNED = auto()
    """Named, and not asked because it did not answer lately."""


class Lookup:
    """Find the `k` live contacts nearest to `target`. Whoever drives it asks each contact it returns and reports every
    outcome once; it is over when nobody is being asked.

    `own_id` is never asked. A node id is asked at two addresses at most: the second for one that has moved.
    """

    def __init__(self, target: bytes, *, own_id: bytes, k: int, alpha: int) -> None:
        self.target = target
        self._own_id = own_id
        self._k = k
        self._alpha = alpha
        self._progress: dict[Contact, Progress] = {}
        self._target_number = int.from_bytes(target, "big")
        self._distance: dict[Contact, int] = {}
        self._ranked: list[Contact] = []
        """Those that may still be among the nearest, nearest first: heard of, asked or answered."""
        self._waiting = 0
        self._addresses: dict[NodeId, int] = {}
        """How many of each node id we know."""
        self._asked = 0

    def start(self, known: Iterable[Contact]) -> list[Contact]:
        return self._hear(known)

    def on_reply(self, contact: Contact, closer: Iterable[Contact]) -> list[Contact]:
        return self._hear(closer) if self._settle(contact, Progress.ANSWERED) else []

    def on_failure(self, contact: Contact) -> list[Contact]:
        return self._hear(()) if self._settle(contact, Progress.FAILED) else []

    def shun(self, contacts: Iterable[Contact]) -> None:
        """Named by somebody, but known not to answer: not asked, only counted."""
        for contact in contacts:
            if contact not in self._progress and self._is_welcome(contact):
                self._note(contact, Progress.SHUNNED)

    @property
    def finished(self) -> bool:
        return self._waiting == 0

    def nearest(self) -> list[Contact]:
        """The nearest that answered, nearest first, each node once."""
        answered = {contact.node_id: contact for contact in reversed(self._sorted(Progress.ANSWERED))}
        return sorted(answered.values(), key=self._distance.__getitem__)[: self._k]

    def settled(self) -> list[Contact]:
        """Those of the `k` best we have heard of that have answered: what comes later can push them out only by being
        nearer, never by being quicker."""
        return [contact for contact in self._ranked[: self._k] if self._progress[contact] is Progress.ANSWERED]

    def silent(self) -> int:
        """Nodes that were asked and would be among the `k` nearest had they answered."""
        return self._missing(Progress.FAILED)

    def shunned(self) -> int:
        """The same of those that were not asked."""
        return self._missing(Progress.SHUNNED)

    def _missing(self, progress: Progress) -> int:
        nearest = self.nearest()
        within = self._distance[nearest[-1]] if len(nearest) == self._k else None
        answered = {contact.node_id for contact in self._sorted(Progress.ANSWERED)}
        missing = {c.node_id for c in self._sorted(progress) if within is None or self._distance[c] < within}
        return min(self._k, len(missing - answered))

    def _settle(self, contact: Contact, outcome: Progress) -> bool:
        """Whether it is an outcome we wait for: a second one for the same contact changes nothing."""
        if self._progress.get(contact) is not Progress.WAITING:
            return False
        self._progress[contact] = outcome
        self._waiting -= 1
        if outcome is Progress.FAILED:
            distance = self._distance[contact]
            place = bisect_left(self._ranked, distance, key=self._distance.__getitem__)
            del self._ranked[self._ranked.index(contact, place)]  # a node at two addresses stands there twice
        return True

    def _hear(self, named: Iterable[Contact]) -> list[Contact]:
        for contact in islice(named, max(self._k, FIND_REPLY_CONTACTS_MAX)):  # a reply may name k, not thousands
            if contact not in self._progress and self._is_welcome(contact):
                self._note(contact, Progress.HEARD)
        slots = min(self._alpha - self._waiting, LOOKUP_ASKS_MAX - self._asked)
        ask = [c for c in self._ranked[: self._k] if self._progress[c] is Progress.HEARD][: max(0, slots)]
        self._progress |= dict.fromkeys(ask, Progress.WAITING)
        self._asked += len(ask)
        self._waiting += len(ask)
        return ask

    def _note(self, contact: Contact, progress: Progress) -> None:
        self._progress[contact] = progress
        self._distance[contact] = int.from_bytes(contact.node_id, "big") ^ self._target_number
        self._addresses[contact.node_id] = 1 + self._addresses.get(contact.node_id, 0)
        if progress is Progress.HEARD:
            insort(self._ranked, contact, key=self._distance.__getitem__)

    def _is_welcome(self, contact: Contact) -> bool:
        return contact.node_id != self._own_id and self._addresses.get(contact.node_id, 0) < 2

    def _sorted(self, *wanted: Progress) -> list[Contact]:
        """Nearest first."""
        chosen = (contact for contact, progress in self._progress.items() if progress in wanted)
        return sorted(chosen, key=self._distance.__getitem__)
