"""May this record replace that one? One pure function: storing nodes ask before they keep, readers before they believe.

By the time a record gets here its signature holds: there is no `Signed` without. What is judged: does it belong here,
is the work done, is it alive, is it newer.
"""

from enum import StrEnum
from typing import NamedTuple

from dhtchat.ids import RecordKey
from dhtchat.limits import CLOCK_SKEW_S, SOFT_TTL_S_MAX
from dhtchat.parameters import NetworkParameters
from dhtchat.records.account import Account
from dhtchat.records.claims import work_bits
from dhtchat.records.kinds import MAIL_KINDS, Record, place_of
from dhtchat.records.room import RoomGenesis
from dhtchat.records.soft import forgotten_at


class Verdict(StrEnum):
    NEW = "new"
    """Nothing was there."""
    NEWER = "newer"
    """Replaces what is there."""
    SAME = "same"
    """This very version is there already: the same signed body, whatever envelope it came in."""
    REFUSED = "refused"


class Reason(StrEnum):
    NONE = ""
    WRONG_PLACE = "wrong-place"
    NO_WORK = "no-work"
    WEAK_KDF = "weak-kdf"
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from-the-future"
    TOO_LONG_LIVED = "too-long-lived"
    """A soft record that asks for more than the network grants: it costs nothing to make and would fill the set."""
    STALE = "stale"
    """Older than what is there, or no newer than what was there and died."""
    OTHER_CLAIM = "other-claim"
    """Compared with a record of another claim or entry: those do not replace each other."""
    SPLIT = "split"
    """Said by the storage: this node of a tree has split, the record lives further down."""
    NO_NODE = "no-node"
    """Said by the storage: the tree does not reach down to here, the record lives further up."""
    NOT_HELD = "not-held"
    """Said by the storage: what is to be kept alive is not there, or did not come from who asks."""
    FETCHED = "fetched"
    """Said by the storage: every device of the mailbox's owner is done with this item."""
    FULL = "full"
    """Said by the storage, not by `judge`: no room for this owner, key or network."""
    MALFORMED = "malformed"
    """Said by whoever opened the bytes: unreadable, or the signature does not hold."""


class Judgement(NamedTuple):
    verdict: Verdict
    reason: Reason = Reason.NONE
    reused_sequence: bool = False
    """Same key, same sequence, other bytes: the larger digest wins everywhere, and the owner is to be warned."""

    @property
    def accepted(self) -> bool:
        return self.verdict is not Verdict.REFUSED


def _refuse(reason: Reason) -> Judgement:
    return Judgement(Verdict.REFUSED, reason)


def judge(
    incoming: Record,
    existing: Record | None,
    *,
    key: RecordKey,
    now_s: float,
    parameters: NetworkParameters,
    remembered_sequence: int = 0,
    depth: int = 0,
) -> Judgement:
    """Judge `incoming` for storage or belief under `key` at Unix time `now_s`.

    `depth`: how far below the root of its tree `key` lies. `existing`: what the same claim or entry holds now. `remembered_sequence`: the highest sequence seen of it, when the
    record itself has died since.
    """
    body = incoming.body
    if place_of(incoming, depth) != key:
        return _refuse(Reason.WRONG_PLACE)
    if isinstance(body, Account | RoomGenesis):
        needed = parameters.proof_of_work_bits if isinstance(body, Account) else parameters.room_proof_of_work_bits
        if work_bits(body.KIND, body.name, incoming.key, body.nonce, parameters.network_id) < needed:
            return _refuse(Reason.NO_WORK)
        if isinstance(body, Account) and (
            body.kdf.memory_kib < parameters.kdf_memory_kib or body.kdf.passes < parameters.kdf_passes
        ):
            return _refuse(Reason.WEAK_KDF)
    else:
        if body.issued_at_s > now_s + CLOCK_SKEW_S:
            return _refuse(Reason.FROM_THE_FUTURE)
        if now_s >= forgotten_at(body.issued_at_s, body.ttl_s):
            return _refuse(Reason.EXPIRED)
        if body.ttl_s > (SOFT_TTL_S_MAX if isinstance(body, MAIL_KINDS) else parameters.presence_ttl_s):
            return _refuse(Reason.TOO_LONG_LIVED)
    if existing is None:
        return _refuse(Reason.STALE) if body.sequence <= remembered_sequence else Judgement(Verdict.NEW)
    if _slot(incoming) != _slot(existing):
        return _refuse(Reason.OTHER_CLAIM)
    if incoming.digest == existing.digest:
        return Judgement(Verdict.SAME)
    if body.sequence != existing.body.sequence:
        newer = body.sequence > existing.body.sequence
        return Judgement(Verdict.NEWER) if newer else _refuse(Reason.STALE)
    if incoming.digest > existing.digest:
        return Judgement(Verdict.NEWER, reused_sequence=True)
    return Judgement(Verdict.REFUSED, Reason.STALE, reused_sequence=True)


def _slot(record: Record) -> tuple[str, bytes]:
    """What a later version of the same record shares with it."""
    body = record.body
    if isinstance(body, Account | RoomGenesis):
        return body.KIND, body.claim_id(record.key)
    return body.KIND, body.entry_id(record.key)
