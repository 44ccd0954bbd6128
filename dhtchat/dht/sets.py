"""What the replicas of a set say, put together. Pure: time is an argument."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from dhtchat.dht.contact import Contact
from dhtchat.dht.storage import HeldEntry
from dhtchat.limits import REPAIR_GRACE_S, TREE_WITNESSES
from dhtchat.records.kinds import SoftRecord


class SetReading(NamedTuple):
    """The living entries of a set, the highest sequence number of each."""

    entries: tuple[SoftRecord, ...]
    asked: int
    answered: int


class Span(NamedTuple):
    """The first and the last leaf below one child of a node that has split, where somebody is: prefixes of items."""

    first: str
    last: str


class NodeReading(NamedTuple):
    """What the replicas of a node of a tree say. `reading`: its entries; those left over, when it has split. `below`: the
    living children, in order; only of a node that has split."""

    reading: SetReading
    split: bool
    below: tuple[Span, ...] = ()
    replicas: tuple[Contact, ...] = ()
    """Those who have all of these entries, the reader itself perhaps among them."""

    @property
    def entries(self) -> tuple[SoftRecord, ...]:
        return self.reading.entries


class Lack(NamedTuple):
    """A replica that answered without an entry, or with an older version of it."""

    contact: Contact
    record: SoftRecord
    remaining_s: float


class _Best(NamedTuple):
    record: SoftRecord
    ends_at_s: float


class SetMerge:
    """Highest sequence number per entry wins, tombstones included: they hide what a lagging replica still shows."""

    def __init__(self) -> None:
        self._best: dict[bytes, _Best] = {}
        self._answers: dict[Contact, dict[bytes, SoftRecord]] = {}
        self._through: dict[Contact, bytes] = {}
        """Of whom we know only a part: up to which entry id."""
        self._silent = 0

    def on_answer(self, contact: Contact, held: list[HeldEntry], now_s: float, *, through: bytes | None = None) -> None:
        """`held`: verified and judged. `through`: that is not all, but all up to this entry id."""
        if through is not None:
            self._through[contact] = through
        self._answers[contact] = {entry.record.body.entry_id(entry.record.key): entry.record for entry in held}
        for record, remaining_s in held:
            entry_id = record.body.entry_id(record.key)
            offered = _Best(record, now_s + remaining_s)
            if entry_id not in self._best or _rank(offered) > _rank(self._best[entry_id]):
                self._best[entry_id] = offered

    def on_silence(self, replicas: int = 1) -> None:
        self._silent += replicas

    def reading(self, now_s: float) -> SetReading:
        living = tuple(
            best.record
            for _, best in sorted(self._best.items())
            if best.ends_at_s > now_s and not best.record.body.gone
        )
        return SetReading(living, len(self._answers) + self._silent, len(self._answers))

    def lacks(self, now_s: float) -> list[Lack]:
        """What to give to whom; never with more life than is left where it was found."""
        return [
            Lack(contact, best.record, best.ends_at_s - now_s)
            for contact, held in self._answers.items()
            for entry_id, best in self._best.items()
            if best.ends_at_s > now_s
            and not _is_under_way(best, now_s)
            and _lags(held.get(entry_id), best.record)
            and (contact not in self._through or entry_id <= self._through[contact])
        ]


class NodeMerge(SetMerge):
    """Besides, for the node of a tree with this prefix: whether it has split, by the majority of those who hold anything of
    it, and what is below."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self._prefix = prefix
        self._split_votes = 0
        self._leaf_votes = 0
        self._spans: dict[str, list[Span]] = {}
        """What the replicas say of each child."""

    def on_node(
        self,
        contact: Contact,
        held: list[HeldEntry],
        split: bool,
        below: tuple[str, ...],
        *,
        now_s: float,
        through: bytes | None = None,
    ) -> None:
        """An answer. `below` is as the replica names it: what cannot be below this node is passed over."""
        self.on_answer(contact, held, now_s, through=through)
        self._split_votes += split
        self._leaf_votes += not split and bool(held)
        depth = len(self._prefix)
        children: dict[str, list[str]] = {}
        for leaf in below if split else ():
            if leaf.startswith(self._prefix) and len(leaf) > depth:
                children.setdefault(leaf[: depth + 1], []).append(leaf)
        for child, leaves in children.items():
            self._spans.setdefault(child, []).append(Span(min(leaves), max(leaves)))

    def node(self, now_s: float) -> NodeReading:
        """All answers put together. One that says alone that somebody is below a child is not believed, or a single liar
        could send readers from one empty place to the next."""
        split = self._split_votes > self._leaf_votes
        witnesses = min(TREE_WITNESSES, self._split_votes)
        below = tuple(
            Span(_most_said([span.first for span in spans], min), _most_said([span.last for span in spans], max))
            for _, spans in sorted(self._spans.items())
            if split and len(spans) >= witnesses
        )
        reading = self.reading(now_s)
        living = {record.body.entry_id(record.key) for record in reading.entries}
        complete = tuple(contact for contact, held in self._answers.items() if living <= held.keys())
        return NodeReading(reading, split, below, complete)


def _most_said(leaves: list[str], choose: Callable[[list[str]], str]) -> str:
    counted = Counter(leaves)
    most = max(counted.values())
    return choose([leaf for leaf, count in counted.items() if count == most])


def _is_under_way(best: _Best, now_s: float) -> bool:
    """Whether it was said so lately that it may still be on its way to the others. A goodbye is not waited for: it is what
    makes lists right."""
    body = best.record.body
    return not body.gone and best.ends_at_s - now_s > body.ttl_s - REPAIR_GRACE_S


def _lags(held: SoftRecord | None, best: SoftRecord) -> bool:
    """Whether a replica should be given the best version. Not when it has only missed a refresh or two: the next one
    comes by itself, and every reader would send it this one."""
    if held is None or held.body.gone != best.body.gone:
        return True
    return held.digest != best.digest and best.body.issued_at_s - held.body.issued_at_s >= best.body.ttl_s // 2


def _rank(best: _Best) -> tuple[int, bytes, float]:
    """As `judge` has it: sequence, then the larger digest; of the same version the longer life."""
    return best.record.body.sequence, best.record.digest, best.ends_at_s
