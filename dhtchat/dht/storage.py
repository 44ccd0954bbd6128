"""What this node keeps for others: bounded, judged before anything is kept, and nothing served after its time.

Two shelves, and mailboxes. Claims (durable records): up to CLAIMS_PER_NAME_MAX rivals per key in order of arrival, the first is this
replica's vote; in memory and in SQLite. Entries (soft records): sets in memory only, each with the time it dies, and the
sequence numbers of what has died, so that a copy somebody kept cannot come back. Mailboxes are such sets, with rules of
their own (`mail_shelf.py`); they live for days, so they are in SQLite as well.

What one network of addresses (a /24, a /48) has brought here has a bound of its own, so that it takes more than one to fill
a node. A network is counted with what it brought first; what was read from the disk after a restart is nobody's.

SQLite is written in small transactions on the loop. In WAL mode with `synchronous=NORMAL` a commit is one write without
fsync (tens of microseconds; the disk may lose the last moments, the other replicas do not), an answer never says "stored"
before it is written, and a simulation needs no threads to stay repeatable.
"""

import bisect
import itertools
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, cast

from kademlia.storage import IStorage

from dhtchat.dht.diversity import Network
from dhtchat.dht.mail_shelf import Box, Full, handing_order
from dhtchat.dht.wire import gist_of
from dhtchat.errors import BadSignature, DamagedFile, MalformedRecord
from dhtchat.ids import RecordKey
from dhtchat.limits import (
    CLAIMS_PER_NAME_MAX,
    DEVICES_PER_OWNER_MAX,
    INNER_ENTRIES_MAX,
    LEAF_ENTRIES_MAX,
    LISTINGS_PER_OWNER_MAX,
    MAIL_STORED_BYTES_MAX,
    MAIL_STORED_ENTRIES_MAX,
    SEQUENCES_REMEMBERED_MAX,
    SET_ENTRIES_MAX,
    SPLIT_KEPT_S,
    SPLITS_MAX,
    SPOKESMEN_PER_SIDE,
    STORAGE_BYTES_MAX,
    STORAGE_ENTRIES_MAX,
    STORAGE_NETWORK_BYTES_MAX,
    STORAGE_NETWORK_ENTRIES_MAX,
    STORAGE_SWEEP_S,
    TREE_DEPTH_MAX,
    TREE_NAME_DIGITS,
)
from dhtchat.parameters import NetworkParameters
from dhtchat.records.acceptance import Judgement, Reason, Verdict, judge
from dhtchat.records.kinds import MAIL_KINDS, TREE_KINDS, DurableRecord, Record, SoftRecord, is_durable, open_record
from dhtchat.records.listing import RoomListing
from dhtchat.records.mail import Mail, MailboxRecord, mail_work_bits
from dhtchat.records.soft import dies_at, forgotten_at
from dhtchat.runtime import Clock

log = logging.getLogger(__name__)

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS claims (
    network BLOB NOT NULL,      -- the whole network id: one file may serve several networks
    key BLOB NOT NULL,
    position INTEGER NOT NULL,  -- order of arrival; 0 is the vote
    raw BLOB NOT NULL,          -- the signed bytes
    PRIMARY KEY (network, key, position)
) WITHOUT ROWID
"""
_MAIL_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS mail (
    network BLOB NOT NULL,
    key BLOB NOT NULL,
    entry BLOB NOT NULL,
    raw BLOB NOT NULL,
    received_at_s REAL NOT NULL,
    dies_at_s REAL NOT NULL,
    PRIMARY KEY (network, key, entry)
) WITHOUT ROWID
"""
_MAIL_INDEX: Final = "CREATE INDEX IF NOT EXISTS mail_by_end ON mail (dies_at_s)"
_DELETE_MAIL: Final = "DELETE FROM mail WHERE network = ? AND key = ? AND entry = ?"
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Kept(NamedTuple):
    """What became of a record, and the highest sequence number known in its place."""

    verdict: Verdict
    reason: Reason
    sequence: int


class Standing(NamedTuple):
    """How a record stands in its tree. `split`: the node it was offered to has split. `edge`: it is among the first or the
    last there."""

    split: bool = False
    edge: bool = False


class Mortal(NamedTuple):
    """A record to be handed on, and the Unix time at which it dies (None for a durable one); its place in a tree."""

    record: DurableRecord | SoftRecord
    dies_at_s: float | None = None
    depth: int = 0
    lives: int = 0


class HeldEntry(NamedTuple):
    """A soft record and what is left of its life."""

    record: SoftRecord
    remaining_s: float


class _Entry:
    """A soft record on the shelf."""

    __slots__ = ("dies_at_s", "giver", "item", "lives", "network", "received_at_s", "record")

    def __init__(
        self,
        record: SoftRecord,
        received_at_s: float,
        dies_at_s: float,
        lives: int = 0,
        giver: bytes | None = None,
        network: Network | None = None,
    ) -> None:
        self.record = record
        self.received_at_s = received_at_s
        self.dies_at_s = dies_at_s
        self.lives = lives
        self.giver = giver
        """Node key of who published it here, and may keep it alive; None when it was handed on."""
        self.network = network
        """Whose bound it counts towards."""
        self.item = item_of(record)

    def is_from(self, giver: bytes | None) -> bool:
        return giver is not None and self.giver == giver


class _Holding(NamedTuple):
    """What one network has brought here, and what of it is left."""

    entries: int = 0
    size: int = 0
    """Bytes."""


_NOTHING: Final = _Holding()


class _Memory(NamedTuple):
    """The highest sequence number seen of an entry, and until when it matters."""

    sequence: int
    until_s: float


class _EntrySet:
    """All entries under one key. In a tree it is a node, `depth` digits below the root."""

    def __init__(self, depth: int, since_s: float) -> None:
        self.depth = depth
        self.since_s = since_s
        """When the first of them came (monotonic)."""
        self.split = False
        """For good, or until nobody was below it for SPLIT_KEPT_S."""
        self.touched_at_s = 0.0
        self.hidden = False
        """Not served until we know that the tree reaches down to here."""
        self.entries: dict[bytes, _Entry] = {}
        self.order: list[bytes] = []
        """Entry ids, sorted: what pages go by."""
        self.memories: dict[bytes, _Memory] = {}
        self.box: Box | None = None
        """When it is a mailbox."""

    def put(self, entry_id: bytes, entry: _Entry) -> None:
        if isinstance(entry.record.body, MAIL_KINDS):
            self.box = self.box or Box()
            self.box.put(entry_id, entry.record)
        if entry_id not in self.entries:
            bisect.insort(self.order, entry_id)
        self.entries[entry_id] = entry

    def remove(self, entry_id: bytes) -> _Entry:
        del self.order[bisect.bisect_left(self.order, entry_id)]
        if self.box is not None:
            self.box.remove(entry_id, self.entries[entry_id].record)
        return self.entries.pop(entry_id)


class RecordStorage(IStorage):
    """`path` None keeps everything in memory. Close it when the node that uses it has ended.

    Opening reads and verifies all that is on disk, about 0.2 ms a record. `statistics` counts what was refused and why.
    """

    def __init__(self, path: Path | None, *, parameters: NetworkParameters, clock: Clock) -> None:
        self.statistics: Counter[str] = Counter()
        self._parameters = parameters
        self._clock = clock
        self._claims: dict[RecordKey, list[DurableRecord]] = {}
        self._claims_of: dict[tuple[RecordKey, bytes], Network] = {}
        """By key and claim id: which network brought a claim, where that counts."""
        self._held_for: dict[Network, _Holding] = {}
        self._sets: dict[RecordKey, _EntrySet] = {}
        self._count = 0
        self._bytes = 0
        self._memories = 0
        self._mail_count = 0
        self._mail_bytes = 0
        self._splits = 0
        self._swept_at_s = clock.wall()
        self._database: sqlite3.Connection | None = None
        if path is not None:
            database = _open_database(path)
            self._load(database)
            self._database = database  # from now on: what is loaded is not written again

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def __len__(self) -> int:
        """Records on both shelves."""
        return self._count

    def __bool__(self) -> bool:
        """Always: the library takes a storage that is false, which an empty one with a length is, for none at all."""
        return True

    @property
    def bytes_held(self) -> int:
        return self._bytes

    # --- claims -------------------------------------------------------------------------------------------------------

    def claims(self, key: RecordKey) -> list[DurableRecord]:
        """In order of arrival; the first is our vote."""
        return list(self._claims.get(key, ()))

    def claim_keys(self) -> list[RecordKey]:
        return list(self._claims)

    def offer_claim(self, key: RecordKey, record: DurableRecord, *, network: Network | None = None) -> Kept:
        """Keep it if it may be kept: a newer version in place of its older one, a rival behind those that came first.
        `network`: from where it comes, if that is limited."""
        held = self._claims.get(key, [])
        place = _place_of(record, held)
        judgement = self._judge(record, None if place is None else held[place], key)
        if not judgement.accepted:
            return self._refused(judgement.reason, held[place].body.sequence if place is not None else 0)
        if judgement.verdict is Verdict.SAME:
            return Kept(Verdict.SAME, Reason.NONE, record.body.sequence)
        size = len(record.raw)
        if place is None and not (
            len(held) < CLAIMS_PER_NAME_MAX
            and self._has_room_for(network, size)
            and self._make_room(size, durable=True)
        ):
            return self._refused(Reason.FULL, 0)
        records = [*held, record] if place is None else [*held[:place], record, *held[place + 1 :]]
        if not self._keep_claims(key, records, network):
            return self._refused(Reason.FULL, 0 if place is None else held[place].body.sequence)
        return Kept(judgement.verdict, Reason.NONE, record.body.sequence)

    def put_first(self, key: RecordKey, record: DurableRecord) -> None:
        """Make it our vote: the others have agreed on it. When all places are taken the last of its rivals goes."""
        held = self._claims.get(key, [])
        place = _place_of(record, held)
        best = record if place is None or self._judge(record, held[place], key).accepted else held[place]
        rivals = held if place is None else [*held[:place], *held[place + 1 :]]
        self._keep_claims(key, [best, *rivals[: CLAIMS_PER_NAME_MAX - 1]])

    def _keep_claims(self, key: RecordKey, records: list[DurableRecord], network: Network | None = None) -> bool:
        """On disk first: what is not there would be gone after a restart, whatever we had answered. False when it cannot be
        written; then everything is as it was. `network`: of the claim that is new among them."""
        network_id = self._parameters.network_id
        try:
            if self._database is not None:
                with self._database:
                    self._database.execute("DELETE FROM claims WHERE network = ? AND key = ?", (network_id, key))
                    self._database.executemany(
                        "INSERT INTO claims VALUES (?, ?, ?, ?)",
                        [(network_id, key, position, record.raw) for position, record in enumerate(records)],
                    )
        except sqlite3.Error as error:  # a full disk must not take the node down: it serves what it has
            self._tell_of_disk(error)
            return False
        known = {
            claim_of(record): self._claims_of.pop((key, claim_of(record)), None) for record in self._claims.get(key, ())
        }
        for record in self._claims.get(key, ()):
            self._account_for(record, known[claim_of(record)], -1)
        for record in records:
            whose = known.get(claim_of(record), network)
            self._account_for(record, whose, +1)
            if whose is not None:
                self._claims_of[key, claim_of(record)] = whose
        self._claims[key] = records
        return True

    def _tell_of_disk(self, error: sqlite3.Error) -> None:
        self.statistics["disk-failed"] += 1
        log.warning("cannot write a record to disk: %s", error)

    # --- entries ------------------------------------------------------------------------------------------------------

    def offer_entry(
        self,
        key: RecordKey,
        record: SoftRecord,
        remaining_s: float | None = None,
        *,
        depth: int = 0,
        lives: int = 0,
        hidden: bool = False,
        giver: bytes | None = None,
        network: Network | None = None,
    ) -> Kept:
        """Keep it if it may be kept. `remaining_s`: the life that was left where it comes from. `depth`, `lives`: see
        `wire.Store`. `hidden`: a set that is new with it is not served until `reveal`. `giver`: the node that publishes it.
        `network`: from where it comes, if that is limited."""
        if isinstance(record.body, MAIL_KINDS):
            return self._offer_mail(key, record, remaining_s, network)
        now_s = self._clock.wall()
        self._sweep_now_and_then(now_s)
        shelf = self._sets.get(key) or _EntrySet(depth, self._clock.monotonic())
        shelf.hidden |= hidden and key not in self._sets
        entry_id = record.body.entry_id(record.key)
        existing = self._alive(shelf, entry_id, now_s)
        memory = shelf.memories.get(entry_id, _Memory(0, 0))
        judgement = self._judge(
            record, existing.record if existing else None, key, remembered_sequence=memory.sequence, depth=depth
        )
        if not judgement.accepted:
            return self._refused(
                judgement.reason, max(memory.sequence, existing.record.body.sequence if existing else 0)
            )
        body = record.body
        shelf.touched_at_s = now_s
        dies_at_s = dies_at(body.issued_at_s, body.ttl_s, now_s, remaining_s)
        if existing and judgement.verdict is Verdict.SAME and existing.is_from(giver):
            if not shelf.split or lives > shelf.depth:  # what is left over from before the split shall end
                existing.lives = lives
                self._prolong(existing, now_s)
                if shelf.split:
                    self._dismiss_spokesmen(shelf, now_s)
            return Kept(Verdict.SAME, Reason.NONE, body.sequence)
        if existing and judgement.verdict is Verdict.SAME:
            # The same bytes again, perhaps from their owner after a hand-off: no longer than from the first receipt.
            first_s = dies_at(body.issued_at_s, body.ttl_s, existing.received_at_s)
            existing.dies_at_s = max(existing.dies_at_s, min(first_s, dies_at_s))
            return Kept(Verdict.SAME, Reason.NONE, body.sequence)
        if existing and shelf.split and lives <= shelf.depth:
            # Left over from before the split. Its owner has gone further down, and this copy shall end.
            dies_at_s, lives = min(dies_at_s, existing.dies_at_s), existing.lives
        if existing is None:
            if entry_id not in shelf.memories and self._memories >= SEQUENCES_REMEMBERED_MAX:
                return self._refused(Reason.FULL, memory.sequence)
            if shelf.split and not self._may_speak(shelf, record, lives, now_s):
                return self._refused(Reason.SPLIT, memory.sequence)
            refusal = self._make_place(shelf, record, network)
            if refusal is not Reason.NONE:
                return self._refused(refusal, memory.sequence)
        elif existing.network != network and not self._has_room_for(network, len(record.raw)):
            network = existing.network  # or two networks could hand theirs to and fro, and each begin anew
        self._sets[key] = shelf
        self._place(shelf, entry_id, _Entry(record, now_s, dies_at_s, lives, giver, network), existing)
        until_s = max(memory.until_s, forgotten_at(body.issued_at_s, body.ttl_s))
        self._memories += entry_id not in shelf.memories
        shelf.memories[entry_id] = _Memory(body.sequence, until_s)
        if shelf.split:
            self._dismiss_spokesmen(shelf, now_s)
        return Kept(judgement.verdict, Reason.NONE, body.sequence)

    def touch(self, key: RecordKey, entry_id: bytes, gist: bytes, giver: bytes) -> tuple[Kept, Standing]:
        """Keep an entry alive as if it had been stored anew, for the node that published it here; not beyond issued + ttl
        + skew. `gist`: of this version. What is left over from before a split shall end."""
        now_s = self._clock.wall()
        shelf = self._sets.get(key)
        entry = self._alive(shelf, entry_id, now_s) if shelf else None
        sequence = entry.record.body.sequence if entry else 0
        left_over = shelf is not None and entry is not None and shelf.split and entry.lives <= shelf.depth
        if (
            shelf is None
            or entry is None
            or left_over
            or not entry.is_from(giver)
            or gist_of([entry.record.digest]) != gist
        ):
            return self._refused(Reason.NOT_HELD, sequence), Standing()
        shelf.touched_at_s = now_s
        self._prolong(entry, now_s)
        return Kept(Verdict.SAME, Reason.NONE, sequence), self.standing(key, entry.record)

    def _prolong(self, entry: _Entry, now_s: float) -> None:
        body = entry.record.body
        entry.received_at_s = now_s
        entry.dies_at_s = dies_at(body.issued_at_s, body.ttl_s, now_s)

    def entries(self, key: RecordKey, kind: str, after: bytes = b"") -> Iterator[HeldEntry]:
        """Those alive behind the entry id `after`, by entry id. Tombstones too: readers hide older copies with them. Of a
        node that has split, those that were there before."""
        now_s = self._clock.wall()
        shelf = self._sets.get(key)
        if shelf is None or shelf.hidden:
            return
        for entry_id in shelf.order[bisect.bisect_right(shelf.order, after) :]:
            entry = shelf.entries[entry_id]
            if shelf.split and entry.lives > shelf.depth:
                continue
            if entry.dies_at_s > now_s and kind == entry.record.body.KIND:
                yield HeldEntry(entry.record, entry.dies_at_s - now_s)

    def index(self, key: RecordKey, after: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Id and sequence number of those alive behind an entry id, of every kind; nothing of a node of a tree that is not
        served."""
        now_s = self._clock.wall()
        shelf = self._sets.get(key)
        if shelf is None or shelf.hidden:
            return
        for entry_id in shelf.order[bisect.bisect_right(shelf.order, after) :]:
            entry = shelf.entries[entry_id]
            if entry.dies_at_s > now_s:
                yield entry_id, entry.record.body.sequence

    # --- mailboxes ----------------------------------------------------------------------------------------------------

    @property
    def mail_held(self) -> tuple[int, int]:
        """Entries of all mailboxes, and their bytes."""
        return self._mail_count, self._mail_bytes

    def mail_keys(self) -> list[RecordKey]:
        """The mailboxes of which something is held."""
        return [key for key, shelf in self._sets.items() if shelf.box]

    def _offer_mail(
        self, key: RecordKey, record: MailboxRecord, remaining_s: float | None, network: Network | None
    ) -> Kept:
        """Unlike other entries: work is asked for, `mail_shelf.py` says who makes way, it is kept on disk, and nothing is
        remembered of what has gone. (An item that comes back is covered by the receipts, which live longer; an old version
        of one can come back only once the newer has died.)"""
        now_s = self._clock.wall()
        self._sweep_now_and_then(now_s)
        shelf = self._sets.get(key) or _EntrySet(0, self._clock.monotonic())
        body = record.body
        entry_id = body.entry_id(record.key)
        existing = self._alive(shelf, entry_id, now_s)
        held = existing.record.body.sequence if existing else 0
        judgement = self._judge(record, existing.record if existing else None, key)
        if not judgement.accepted:
            return self._refused(judgement.reason, held)
        dies_at_s = dies_at(body.issued_at_s, body.ttl_s, now_s, remaining_s)
        if existing and judgement.verdict is Verdict.SAME:
            first_s = dies_at(body.issued_at_s, body.ttl_s, existing.received_at_s)
            if existing.dies_at_s < min(first_s, dies_at_s):
                existing.dies_at_s = min(first_s, dies_at_s)
                self._write_mail(key, entry_id, existing)
            return Kept(Verdict.SAME, Reason.NONE, body.sequence)
        box = shelf.box or Box()
        if isinstance(body, Mail) and box.is_fetched(entry_id):
            return self._refused(Reason.FETCHED, held)
        excused = isinstance(body, Mail) and box.is_welcome(record.key)
        if not excused and mail_work_bits(record, self._parameters.network_id) < self._parameters.mail_work_bits:
            return self._refused(Reason.NO_WORK, held)
        try:
            goes = self._makes_way_for_mail(shelf, record, network) if existing is None else None
        except Full:
            return self._refused(Reason.FULL, 0)
        if existing is not None and existing.network != network and not self._has_room_for(network, len(record.raw)):
            network = existing.network
        entry = _Entry(record, now_s, dies_at_s, network=network)
        if not self._write_mail(key, entry_id, entry, goes):
            return self._refused(Reason.FULL, held)
        if goes is not None:
            self._remove(shelf, goes)
        self._sets[key] = shelf
        self._place(shelf, entry_id, entry, existing)
        if not isinstance(body, Mail):
            self._clear_fetched(key, shelf)
        return Kept(judgement.verdict, Reason.NONE, body.sequence)

    def _makes_way_for_mail(self, shelf: _EntrySet, record: SoftRecord, network: Network | None) -> bytes | None:
        """Which entry of its box goes for a new one, if any; nothing has gone yet. Raises `Full`, also when this node has no
        room. Of another box nothing goes: to make many small ones is as cheap as a large one."""
        goes = (shelf.box or Box()).makes_way_for(record)
        freed = 0 if goes is None else len(shelf.entries[goes].record.raw)
        more, more_bytes = int(goes is None), len(record.raw) - freed
        fits = (
            self._mail_count + more <= MAIL_STORED_ENTRIES_MAX
            and self._mail_bytes + more_bytes <= MAIL_STORED_BYTES_MAX
            and self._count + more <= STORAGE_ENTRIES_MAX
            and self._bytes + more_bytes <= STORAGE_BYTES_MAX
            and self._has_room_for(network, len(record.raw))
        )
        if not fits:
            raise Full
        return goes

    def _clear_fetched(self, key: RecordKey, shelf: _EntrySet) -> None:
        for item in shelf.box.fetched() if shelf.box else ():
            self.statistics["mail-fetched"] += 1
            self._drop_mail(key, shelf, item)

    def _drop_mail(self, key: RecordKey, shelf: _EntrySet, entry_id: bytes) -> None:
        self._remove(shelf, entry_id)
        self._write((_DELETE_MAIL, (self._parameters.network_id, key, entry_id)))

    def _write_mail(self, key: RecordKey, entry_id: bytes, entry: _Entry, goes: bytes | None = None) -> bool:
        """Both or neither: what makes way is not lost for something that cannot be written."""
        network = self._parameters.network_id
        values = (network, key, entry_id, entry.record.raw, entry.received_at_s, entry.dies_at_s)
        insert = ("INSERT OR REPLACE INTO mail VALUES (?, ?, ?, ?, ?, ?)", values)
        return self._write(insert) if goes is None else self._write((_DELETE_MAIL, (network, key, goes)), insert)

    def _write(self, *statements: tuple[str, tuple[object, ...]]) -> bool:
        """In one transaction. False when the disk refuses; then nothing is written."""
        if self._database is None:
            return True
        try:
            with self._database:
                for sql, values in statements:
                    self._database.execute(sql, values)
        except sqlite3.Error as error:
            self._tell_of_disk(error)
            return False
        return True

    def _load_mail(self, database: sqlite3.Connection) -> None:
        """What was there when we ended, in order of arrival; the bounds hold for it as for what comes in."""
        now_s, network = self._clock.wall(), self._parameters.network_id
        rows = database.execute(
            "SELECT key, raw, received_at_s, dies_at_s FROM mail WHERE network = ? ORDER BY received_at_s, entry",
            (network,),
        ).fetchall()
        found: list[tuple[RecordKey, SoftRecord, float, float]] = []
        for key, raw, received_at_s, dies_at_s in rows:
            try:
                record = open_record(raw, network)
            except (MalformedRecord, BadSignature) as error:
                log.warning("dropped mail that does not hold from the disk: %s", error)
                continue
            if dies_at_s > now_s and isinstance(record.body, MAIL_KINDS):
                found.append((RecordKey(key), cast(SoftRecord, record), received_at_s, dies_at_s))
        for key, record, received_at_s, dies_at_s in sorted(found, key=lambda row: handing_order(row[1])):
            if self.offer_entry(key, record, dies_at_s - now_s).verdict is Verdict.NEW:
                self._sets[key].entries[record.body.entry_id(record.key)].received_at_s = received_at_s

    # --- trees --------------------------------------------------------------------------------------------------------

    def knows(self, key: RecordKey) -> bool:
        """Whether there is a set, or was until a moment ago."""
        return key in self._sets

    def reveal(self, key: RecordKey) -> None:
        """The tree does reach down to here."""
        if key in self._sets:
            self._sets[key].hidden = False

    def discard(self, key: RecordKey) -> None:
        """It does not."""
        shelf = self._sets.pop(key, None)
        if shelf is not None:
            for entry in shelf.entries.values():
                self._account_for(entry.record, entry.network, -1)
            self._memories -= len(shelf.memories)
            self._splits -= shelf.split

    def has_split(self, key: RecordKey) -> bool:
        shelf = self._sets.get(key)
        return shelf is not None and shelf.split

    def mark_split(self, key: RecordKey) -> None:
        """The others say that it has; nothing for a set of which we hold nothing."""
        shelf = self._sets.get(key)
        if shelf is not None and not shelf.split and shelf.depth < TREE_DEPTH_MAX and self._splits < SPLITS_MAX:
            shelf.split = True
            self._splits += 1
            self._dismiss_spokesmen(shelf, self._clock.wall())

    def below(self, key: RecordKey) -> tuple[str, ...] | None:
        """Leaves below a node that has split, where somebody is: the first and the last of each child, sorted. None for
        any other set. Who is left over here is on the way to a leaf one deeper."""
        shelf = self._sets.get(key)
        if shelf is None or not shelf.split or shelf.hidden:
            return None
        found: dict[str, list[str]] = {}
        for entry in self._living(shelf, self._clock.wall()):
            leaf = entry.item[: max(shelf.depth + 1, min(entry.lives, TREE_NAME_DIGITS))]  # so all fit one page
            found.setdefault(entry.item[shelf.depth], []).append(leaf)
        return tuple(sorted(leaf for leaves in found.values() for leaf in {min(leaves), max(leaves)}))

    def standing(self, key: RecordKey, record: SoftRecord) -> Standing:
        """Of a record in its tree, as this replica sees it."""
        shelf = self._sets.get(key)
        entry = shelf.entries.get(record.body.entry_id(record.key)) if shelf else None
        if shelf is None or not item_of(record):
            return Standing()
        # What is left over speaks for nobody: it will be back as a spokesman.
        here = entry is not None and (not shelf.split or entry.lives > shelf.depth)
        return Standing(shelf.split, here and entry in _edges(self._speakers(shelf, self._clock.wall())))

    def _living(self, shelf: _EntrySet, now_s: float) -> list[_Entry]:
        return [e for e in shelf.entries.values() if e.dies_at_s > now_s and not e.record.body.gone]

    def _speakers(self, shelf: _EntrySet, now_s: float) -> list[_Entry]:
        """Those among whom the first and the last are to be found: all of a leaf, the spokesmen of a node that has split."""
        return [e for e in self._living(shelf, now_s) if not shelf.split or e.lives > shelf.depth]

    def _may_speak(self, shelf: _EntrySet, record: SoftRecord, lives: int, now_s: float) -> bool:
        """Whether it would be among the first or the last of its child."""
        if lives <= shelf.depth or record.body.gone:
            return False
        newcomer = _Entry(record, now_s, now_s, lives)
        same = [e for e in self._speakers(shelf, now_s) if e.item[shelf.depth] == newcomer.item[shelf.depth]]
        return newcomer in _edges([*same, newcomer])

    def _dismiss_spokesmen(self, shelf: _EntrySet, now_s: float) -> None:
        """Those whose place another has taken."""
        by_child: dict[str, list[_Entry]] = {}
        for entry in self._speakers(shelf, now_s):
            by_child.setdefault(entry.item[shelf.depth], []).append(entry)
        for entries in by_child.values():
            if len(entries) > 2 * SPOKESMEN_PER_SIDE:
                for entry in set(entries) - set(_edges(entries)):
                    self._remove(shelf, entry.record.body.entry_id(entry.record.key))

    def entry_keys(self) -> list[RecordKey]:
        """The sets of which something is held."""
        return [key for key, shelf in self._sets.items() if shelf.entries]

    def entries_since_s(self, key: RecordKey) -> float | None:
        """Since when something of a set is held (monotonic); None when nothing is."""
        shelf = self._sets.get(key)
        return None if shelf is None else shelf.since_s

    def mortal_entries(self, key: RecordKey) -> list[Mortal]:
        """Those alive of one set."""
        now_s = self._clock.wall()
        shelf = self._sets.get(key)
        if shelf is None:
            return []
        mortals = [
            Mortal(entry.record, entry.dies_at_s, shelf.depth, entry.lives)
            for entry in shelf.entries.values()
            if entry.dies_at_s > now_s
        ]
        return sorted(mortals, key=lambda mortal: handing_order(cast(SoftRecord, mortal.record)))

    def sweep(self) -> None:
        """Remove what has died and forget what need not be remembered."""
        now_s = self._swept_at_s = self._clock.wall()
        for key, shelf in list(self._sets.items()):
            for entry_id, entry in list(shelf.entries.items()):
                if entry.dies_at_s <= now_s:
                    self._remove(shelf, entry_id)
            if shelf.box is not None:
                self._clear_fetched(key, shelf)  # perhaps a device that was waited for is listed no longer
            for entry_id, memory in list(shelf.memories.items()):
                if memory.until_s <= now_s and entry_id not in shelf.entries:
                    del shelf.memories[entry_id]
                    self._memories -= 1
            kept_split = shelf.split and now_s - shelf.touched_at_s < SPLIT_KEPT_S
            if not shelf.entries and not shelf.memories and not kept_split:
                self._splits -= shelf.split
                del self._sets[key]
        self._write(("DELETE FROM mail WHERE dies_at_s <= ?", (now_s,)))

    def _sweep_now_and_then(self, now_s: float) -> None:
        if abs(now_s - self._swept_at_s) >= STORAGE_SWEEP_S:  # abs: the wall clock may be set back
            self.sweep()

    def _alive(self, shelf: _EntrySet, entry_id: bytes, now_s: float) -> _Entry | None:
        """An entry that has died is removed here, whenever the next sweep is due."""
        entry = shelf.entries.get(entry_id)
        if entry is not None and entry.dies_at_s <= now_s:
            self._remove(shelf, entry_id)
            return None
        return entry

    def _make_place(self, shelf: _EntrySet, record: SoftRecord, network: Network | None) -> Reason:
        """Room for one more entry within all bounds, or why there is none. Per owner the oldest goes, a full set gives up a
        tombstone, a full leaf of a tree splits."""
        of_owner = [other for other, entry in shelf.entries.items() if entry.record.key == record.key]
        per_owner = LISTINGS_PER_OWNER_MAX if isinstance(record.body, RoomListing) else DEVICES_PER_OWNER_MAX
        in_tree = bool(item_of(record))
        entries_max = (INNER_ENTRIES_MAX if shelf.split else LEAF_ENTRIES_MAX) if in_tree else SET_ENTRIES_MAX
        given_up: bytes | None = None
        if not self._has_room_for(network, len(record.raw)):
            return Reason.FULL
        if len(of_owner) >= per_owner:
            given_up = min(of_owner, key=lambda other: _age(shelf.entries[other].record))
            if _age(record) < _age(shelf.entries[given_up].record):
                return Reason.FULL  # or old entries could be replayed to push out the living
        elif len(shelf.entries) >= entries_max:
            now_s = self._clock.wall()
            dispensable = (
                o for o, e in shelf.entries.items() if e.record.body.gone or (in_tree and e.dies_at_s <= now_s)
            )
            given_up = next(dispensable, None)
            if given_up is None and in_tree and not shelf.split and shelf.depth < TREE_DEPTH_MAX:
                if self._splits >= SPLITS_MAX:
                    return Reason.FULL
                shelf.split = True
                self._splits += 1
                return Reason.SPLIT
            if given_up is None:
                return Reason.FULL
        if given_up is not None:
            self._remove(shelf, given_up)
        return Reason.NONE if self._make_room(len(record.raw), durable=False) else Reason.FULL

    # --- both ---------------------------------------------------------------------------------------------------------

    def _make_room(self, size: int, *, durable: bool) -> bool:
        """Whether one more record of `size` bytes fits. For a durable one, soft ones go if they must: theirs cost
        nothing to make and come back by themselves. Mail does not, and stays."""
        while self._count >= STORAGE_ENTRIES_MAX or self._bytes + size > STORAGE_BYTES_MAX:
            others = (shelf for shelf in self._sets.values() if shelf.entries and shelf.box is None)
            shelf = next(others, None) if durable else None
            if shelf is None:
                return False
            self._remove(shelf, shelf.order[0])
        return True

    def _has_room_for(self, network: Network | None, size: int) -> bool:
        """Whether a network may have one more record of `size` bytes here."""
        held = _NOTHING if network is None else self._held_for.get(network, _NOTHING)
        return held.entries < STORAGE_NETWORK_ENTRIES_MAX and held.size + size <= STORAGE_NETWORK_BYTES_MAX

    def _place(self, shelf: _EntrySet, entry_id: bytes, entry: _Entry, existing: _Entry | None) -> None:
        if existing is not None:
            self._account_for(existing.record, existing.network, -1)
        self._account_for(entry.record, entry.network, +1)
        shelf.put(entry_id, entry)

    def _remove(self, shelf: _EntrySet, entry_id: bytes) -> None:
        entry = shelf.remove(entry_id)
        self._account_for(entry.record, entry.network, -1)

    def _account_for(self, record: DurableRecord | SoftRecord, network: Network | None, sign: int) -> None:
        size = sign * len(record.raw)
        self._count += sign
        self._bytes += size
        if isinstance(record.body, MAIL_KINDS):
            self._mail_count += sign
            self._mail_bytes += size
        if network is not None:
            held = self._held_for.get(network, _NOTHING)
            if held.entries + sign:
                self._held_for[network] = _Holding(held.entries + sign, held.size + size)
            else:
                del self._held_for[network]

    def _judge(
        self, record: Record, existing: Record | None, key: RecordKey, *, remembered_sequence: int = 0, depth: int = 0
    ) -> Judgement:
        judgement = judge(
            record,
            existing,
            key=key,
            now_s=self._clock.wall(),
            parameters=self._parameters,
            remembered_sequence=remembered_sequence,
            depth=depth,
        )
        if judgement.reused_sequence:
            self.statistics["reused-sequence"] += 1
        return judgement

    def _refused(self, reason: Reason, sequence: int) -> Kept:
        self.statistics[f"refused-{reason}"] += 1
        return Kept(Verdict.REFUSED, reason, sequence)

    def _load(self, database: sqlite3.Connection) -> None:
        """Believe the disk no more than the network."""
        network = self._parameters.network_id
        rows = database.execute(
            "SELECT key, raw FROM claims WHERE network = ? ORDER BY key, position", (network,)
        ).fetchall()
        for key, raw in rows:
            try:
                record = open_record(raw, network)
            except (MalformedRecord, BadSignature) as error:
                log.warning("dropped a record that does not hold from the disk: %s", error)
                continue
            if is_durable(record) and self._judge(record, None, RecordKey(key)).accepted:
                self._claims.setdefault(RecordKey(key), []).append(cast(DurableRecord, record))
        for record in itertools.chain.from_iterable(self._claims.values()):
            self._account_for(record, None, +1)
        self._load_mail(database)

    # --- the library's storage interface ------------------------------------------------------------------------------

    def __setitem__(self, key: bytes, value: bytes) -> None:
        """Raises `MalformedRecord` or `BadSignature` for what is no record; what is refused is counted and not kept."""
        record = open_record(value, self._parameters.network_id)
        if is_durable(record):
            self.offer_claim(RecordKey(key), cast(DurableRecord, record))
        else:
            self.offer_entry(RecordKey(key), cast(SoftRecord, record))

    def __getitem__(self, key: bytes) -> bytes:
        """The signed bytes of our vote."""
        return self._claims[RecordKey(key)][0].raw

    def get(self, key: bytes, default: bytes | None = None) -> bytes | None:
        return self[key] if RecordKey(key) in self._claims else default

    def iter_older_than(self, seconds_old: float) -> Iterator[tuple[RecordKey, bytes]]:
        """Nothing: what must be published again is for `announcer.py` to say."""
        return iter(())

    def __iter__(self) -> Iterator[tuple[RecordKey, bytes]]:
        for key, records in self._claims.items():
            yield from ((key, record.raw) for record in records)
        for key in self.entry_keys():
            yield from ((key, mortal.record.raw) for mortal in self.mortal_entries(key))


def _place_of(record: DurableRecord, held: list[DurableRecord]) -> int | None:
    """Where an earlier version of the same claim stands."""
    claim = claim_of(record)
    return next((place for place, other in enumerate(held) if claim_of(other) == claim), None)


def claim_of(record: DurableRecord) -> bytes:
    """Claim id of a durable record."""
    return record.body.claim_id(record.key)


def item_of(record: SoftRecord) -> str:
    """Where it stands in its tree; empty for what lies in a plain set."""
    return record.body.item(record.key) if isinstance(record.body, TREE_KINDS) else ""


def _edges(entries: list[_Entry]) -> list[_Entry]:
    """The first and the last, in the order of the tree."""
    ordered = sorted(entries, key=lambda entry: entry.item)
    return [*ordered[:SPOKESMEN_PER_SIDE], *ordered[SPOKESMEN_PER_SIDE:][-SPOKESMEN_PER_SIDE:]]


def _age(record: SoftRecord) -> tuple[bool, int, int]:
    """Sorts tombstones first, then the oldest."""
    return not record.body.gone, record.body.issued_at_s, record.body.sequence


# --- the file ---------------------------------------------------------------------------------------------------------


def _open_database(path: Path) -> sqlite3.Connection:
    """A damaged file is moved aside and made anew: the other replicas have what was in it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # before SQLite does, whose files inherit the mode
    path.chmod(0o600)
    try:
        return _connect(str(path))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in _DAMAGE:
            raise
        aside = next(
            free for n in itertools.count(1) if not (free := path.with_name(f"{path.name}.damaged-{n}")).exists()
        )
        path.rename(aside)
        for companion in ("-wal", "-shm"):
            path.with_name(path.name + companion).unlink(missing_ok=True)
        log.warning("%s is damaged (%s): moved to %s and started anew", path, error, aside.name)
        return _open_database(path)


def _connect(name: str) -> sqlite3.Connection:
    database = sqlite3.connect(name)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        found = database.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            damage = sqlite3.DatabaseError(found)
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA_VERSION:
            raise DamagedFile(f"{name} was written by a newer version of dhtchat")
        with database:
            database.execute(_SCHEMA)
            database.execute(_MAIL_SCHEMA)
            database.execute(_MAIL_INDEX)
            database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    except BaseException:
        database.close()
        raise
    return database
