"""What happened to what we said: one entry per own statement, until everybody entitled has it. No I/O, no clock.

`queued` is on our disk, `sent` was written to a link, `stored` lies sealed with enough peers, `delivered` is on a recipient's
disk. A state never goes back; what has `failed` may still be delivered, when both meet. That others have a statement is
learnt from `Committed`, from any later comparison of histories (`Have`), and from receipts in their mailbox.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from dhtchat.ids import DeviceId, MessageId, PeerId
from dhtchat.limits import OUTBOX_ENTRIES_MAX

State = Literal["queued", "sent", "stored", "delivered", "failed"]


class StatusChange(NamedTuple):
    """To be shown. The last two are None in a private talk."""

    statement_id: MessageId
    state: State
    delivered_to: int | None
    members: int | None
    reason: str | None = None
    """Why it failed."""


class Receipt(NamedTuple):
    """To be kept: this person has this statement."""

    statement_id: MessageId
    peer: PeerId


class _Outgoing:
    __slots__ = ("committed", "conversation", "counter", "direct", "recipients", "relayed", "state")

    def __init__(
        self, conversation: bytes, counter: int, recipients: frozenset[PeerId], *, direct: bool, relayed: bool
    ) -> None:
        self.conversation = conversation
        self.counter = counter
        self.recipients = recipients
        self.direct = direct
        self.relayed = relayed
        self.committed: set[PeerId] = set()
        self.state: State = "queued"

    @property
    def missing(self) -> frozenset[PeerId]:
        return self.recipients - self.committed


class Outbox:
    """Own statements of this device that somebody entitled still lacks, as far as we know."""

    def __init__(self, device: DeviceId) -> None:
        self._device = device
        self._entries: dict[MessageId, _Outgoing] = {}

    def add(
        self,
        statement_id: MessageId,
        conversation: bytes,
        counter: int,
        recipients: Iterable[PeerId],
        *,
        direct: bool,
        relayed: bool = False,
        state: State = "queued",
    ) -> StatusChange:
        """After the commit. `relayed`: members pass it on to each other, and most never tell us that they have it. Above its bound the oldest room statement is no longer followed (it still spreads)."""
        entry = _Outgoing(conversation, counter, frozenset(recipients), direct=direct, relayed=relayed)
        entry.state = state
        if entry.recipients:  # alone in a room, there is nobody whose having it could be told
            self._entries[statement_id] = entry
        if len(self._entries) > OUTBOX_ENTRIES_MAX:
            oldest = next(iter(self._entries))
            del self._entries[next((key for key, followed in self._entries.items() if not followed.direct), oldest)]
        return self._status(statement_id, entry)

    def on_sent(self, statement_id: MessageId) -> list[StatusChange]:
        """Written to the link of somebody entitled."""
        entry = self._entries.get(statement_id)
        if entry is None or entry.state != "queued":
            return []
        entry.state = "sent"
        return [self._status(statement_id, entry)]

    def on_stored(self, statement_id: MessageId) -> list[StatusChange]:
        """All its parts lie with enough replicas of the recipient's mailbox."""
        entry = self._entries.get(statement_id)
        if entry is None or entry.state not in ("queued", "sent"):
            return []
        entry.state = "stored"
        return [self._status(statement_id, entry)]

    def on_failed(self, statement_id: MessageId, reason: str) -> list[StatusChange]:
        """Given up. It is still followed: when both meet it goes by the link."""
        entry = self._entries.get(statement_id)
        if entry is None or entry.state in ("delivered", "failed"):
            return []
        entry.state = "failed"
        return [self._status(statement_id, entry)._replace(reason=reason)]

    def on_committed(self, ids: Iterable[bytes], peer: PeerId) -> tuple[list[Receipt], list[StatusChange]]:
        """`peer` says that these statements are on a disk of theirs."""
        receipts: list[Receipt] = []
        changes: list[StatusChange] = []
        for statement_id in map(MessageId, ids):
            entry = self._entries.get(statement_id)
            if entry is None or peer not in entry.missing:
                continue
            entry.committed.add(peer)
            entry.state = "delivered"
            receipts.append(Receipt(statement_id, peer))
            changes.append(self._status(statement_id, entry))
            if not entry.missing:
                del self._entries[statement_id]
        return receipts, changes

    def on_vector(
        self, conversation: bytes, vector: Mapping[DeviceId, int], peer: PeerId, *, floor: int = 1
    ) -> tuple[list[Receipt], list[StatusChange]]:
        """`peer` has everything of ours in this conversation up to a counter, but for what lies before `floor`."""
        upto = vector.get(self._device, 0)
        ids = [
            statement_id
            for statement_id, entry in self._entries.items()
            if entry.conversation == conversation and floor <= entry.counter <= upto
        ]
        return self.on_committed(ids, peer)

    def drop(self, ids: Iterable[bytes]) -> None:
        """Deleted by ourselves: nobody is to get these any more."""
        for statement_id in map(MessageId, ids):
            self._entries.pop(statement_id, None)

    def lacking(self, *, direct_only: bool = False) -> dict[PeerId, list[MessageId]]:
        """Person -> what they are not known to have."""
        found: dict[PeerId, list[MessageId]] = {}
        for statement_id, entry in self._entries.items():
            if entry.direct or not direct_only:
                for peer in sorted(entry.missing):
                    found.setdefault(peer, []).append(statement_id)
        return found

    def only_here(self) -> list[PeerId]:
        """People for whom we have a line that is neither with them nor stored for them."""
        return sorted(
            {
                peer
                for entry in self._entries.values()
                if (entry.state in ("queued", "sent") if entry.direct or entry.relayed else True)
                for peer in entry.missing
            }
        )

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def _status(statement_id: MessageId, entry: _Outgoing) -> StatusChange:
        if entry.direct:
            return StatusChange(statement_id, entry.state, None, None)
        return StatusChange(statement_id, entry.state, len(entry.committed), len(entry.recipients))
