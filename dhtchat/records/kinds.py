"""The kinds of record the DHT stores, and the one way in for their bytes."""

import functools

from dhtchat.errors import MalformedRecord
from dhtchat.ids import RecordKey
from dhtchat.limits import RECORD_BYTES_MAX, RECORDS_OPENED_CACHED_MAX
from dhtchat.records.account import Account
from dhtchat.records.door import ClosedDoor
from dhtchat.records.envelope import Signed, open_signed, peek_envelope
from dhtchat.records.listing import RoomListing, UserListing
from dhtchat.records.mail import Mail, Mailbox, MailReceipt
from dhtchat.records.membership import Membership
from dhtchat.records.presence import Presence
from dhtchat.records.room import RoomGenesis

DurableRecord = Signed[Account] | Signed[RoomGenesis]
"""Never expires; claimed by whoever came first."""
SoftRecord = (
    Signed[Presence]
    | Signed[Membership]
    | Signed[UserListing]
    | Signed[RoomListing]
    | Signed[ClosedDoor]
    | Signed[Mail]
    | Signed[Mailbox]
    | Signed[MailReceipt]
)
"""An entry of a set; dies unless refreshed."""
Record = DurableRecord | SoftRecord

DURABLE_KINDS = (Account, RoomGenesis)
MAIL_KINDS = (Mail, Mailbox, MailReceipt)
"""Soft kinds that make up a mailbox and live for days."""
SOFT_KINDS = (Presence, Membership, UserListing, RoomListing, ClosedDoor, *MAIL_KINDS)
TREE_KINDS = (Membership, UserListing, RoomListing)
"""Soft kinds of which the entries lie in trees, not in one set."""
_BY_NAME = {kind.KIND: kind for kind in (*DURABLE_KINDS, *SOFT_KINDS)}


@functools.lru_cache(maxsize=RECORDS_OPENED_CACHED_MAX)
def open_record(raw: bytes, network_id: bytes) -> Record:
    """Verify and decode what the DHT holds. Raises `MalformedRecord` or `BadSignature` and nothing else.

    Remembers what holds, because the same bytes come from every replica and by every way; what does not hold is not
    remembered: bad bytes are free to make, good ones are not.
    """
    if len(raw) > RECORD_BYTES_MAX:  # before anything is copied out of it
        raise MalformedRecord(f"a record of {len(raw)} bytes, at most {RECORD_BYTES_MAX} allowed")
    kind = _BY_NAME.get(peek_envelope(raw).kind)
    if kind is None:
        raise MalformedRecord("a record of a kind that the DHT does not store")
    return open_signed(raw, kind, network_id, bytes_max=RECORD_BYTES_MAX)  # type: ignore[return-value]


def is_durable(record: Record) -> bool:
    return isinstance(record.body, DURABLE_KINDS)


def place_of(record: Record, depth: int = 0) -> RecordKey | None:
    """Where a record lies; in a tree, `depth` digits below the root. None when there is no such place."""
    if isinstance(record.body, TREE_KINDS):
        return record.body.place(record.key, depth)
    return None if depth else record.body.place(record.key)
