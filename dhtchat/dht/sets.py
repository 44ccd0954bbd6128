"""What the replicas of a set say, put together. Pure: time is an argument."""

from typing import NamedTuple

from dhtchat.dht.contact import Contact
from dhtchat.dht.storage import HeldEntry
from dhtchat.records.kinds import SoftRecord


class SetReading(NamedTuple):
    """The living entries of a set, the highest sequence number of each."""

    entries: tuple[SoftRecord, ...]
    asked: int
    answered: int


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
        self._silent = 0

    def on_answer(self, contact: Contact, held: list[HeldEntry], now_s: float) -> None:
        """`held`: verified and judged."""
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
            if best.ends_at_s > now_s and _lags(held.get(entry_id), best.record)
        ]


def _lags(held: SoftRecord | None, best: SoftRecord) -> bool:
    """Whether a replica should be given the best version. Not when it has only missed a refresh or two: the next one
    comes by itself, and every reader would send it this one."""
    if held is None or held.body.gone != best.body.gone:
        return True
    return held.digest != best.digest and best.body.issued_at_s - held.body.issued_at_s >= best.body.ttl_s // 2


def _rank(best: _Best) -> tuple[int, bytes, float]:
    """As `judge` has it: sequence, then the larger digest; of the same version the longer life."""
    return best.record.body.sequence, best.record.digest, best.ends_at_s
