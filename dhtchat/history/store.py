"""One SQLite file per device, `synchronous=FULL`: what `commit` has returned from survives a crash.

Synchronous and single-threaded on purpose: whoever uses it (`app/journal.py`) groups writes and keeps them off the loop.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from dhtchat.errors import DamagedFile
from dhtchat.history.schema import MIGRATIONS, SCHEMA_VERSION, words_row

log = logging.getLogger(__name__)


GONE: Final = "gone"
"""The kind of a statement that was deleted."""
LOST: Final = "lost"
"""The kind of one whose bytes were found damaged: its place is known, and others may still have it."""


class StoredStatement(NamedTuple):
    """One row of `statements`. `raw` is the signed message as it arrived; of one that is gone, empty or the deletion."""

    id: bytes
    conversation: bytes
    device: bytes
    counter: int
    depth: int
    raw: bytes
    own: bool
    delayed: bool
    verified: bool
    shown: bool
    received_at_ms: int
    kind: str = "say"
    author: bytes = b""
    target: bytes = b""
    hidden: int = 0


class StoredPlace(NamedTuple):
    id: bytes
    device: bytes
    counter: int
    depth: int
    shown: bool
    kind: str = "say"
    author: bytes = b""
    hidden: int = 0


class StoredConversation(NamedTuple):
    """`name`: the room's, or the other person's; `peer`: the other person's key, empty for a room. `level`: what of it makes
    itself heard, as `chat/noticing.py` numbers it."""

    id: bytes
    direct: bool
    name: str
    peer: bytes
    level: int


class StoredPerson(NamedTuple):
    name: str
    peer: bytes
    first_seen_s: int
    ignored: bool


class Write(NamedTuple):
    """One statement of SQL with its values, to be committed together with others. Made by the functions below."""

    sql: str
    values: tuple[Any, ...]


def keep_statement(row: StoredStatement) -> Write:
    """A new one, or one that was lost."""
    return Write(
        f"""INSERT OR IGNORE INTO statements ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
            ON CONFLICT (id) DO UPDATE SET raw=excluded.raw, kind=excluded.kind, author=excluded.author,
                target=excluded.target WHERE kind='{LOST}'""",
        tuple(row),
    )


def keep_text(statement_id: bytes, text: str) -> Write:
    """The text of a line that holds now, to be found by."""
    return Write(
        "INSERT OR REPLACE INTO words (rowid, text, id) VALUES (?,?,?)", (words_row(statement_id), text, statement_id)
    )


def erase(place: tuple[bytes, int, bytes], erased_by: bytes) -> tuple[Write, ...]:
    """Take a statement (device, counter, id) back: its place stays, nothing of what it said."""
    device, counter, statement_id = place
    return (
        Write(
            f"UPDATE statements SET kind='{GONE}', raw=x'', target=x'', shown=1, erased_by=?"
            " WHERE id=? AND device=? AND counter=?",
            (erased_by, statement_id, device, counter),
        ),
        Write("DELETE FROM words WHERE rowid=?", (words_row(statement_id),)),
    )


def fill_place(
    conversation: bytes, place: tuple[bytes, int, bytes], author: bytes, erased_by: bytes, *, own: bool, now_ms: int
) -> Write:
    """The place of a statement that was deleted before it came."""
    device, counter, statement_id = place
    return Write(
        f"""INSERT OR IGNORE INTO statements ({_COLUMNS}, erased_by)
            VALUES (?,?,?,?,0,x'',?,1,1,1,?,'{GONE}',?,x'',0,?)""",
        (statement_id, conversation, device, counter, own, now_ms, author, erased_by),
    )


def keep_reader(statement_id: bytes, peer: bytes) -> Write:
    return Write("INSERT OR IGNORE INTO readers VALUES (?,?)", (statement_id, peer))


def lose_statement(statement_id: bytes) -> Write:
    """Its bytes turned out to be damaged."""
    return Write(f"UPDATE statements SET kind='{LOST}', raw=x'', target=x'' WHERE id=?", (statement_id,))


def mark_shown(statement_id: bytes, depth: int) -> Write:
    return Write("UPDATE statements SET shown=1, depth=? WHERE id=?", (depth, statement_id))


HIDDEN_LATER: Final = 1
HIDDEN_UNSEEN: Final = 2
"""What `hidden` says: it does not count by the rulings of its room, which was known when it had been shown, or before."""


def hide(statement_id: bytes, hidden: int) -> Write:
    """Whether it counts (0) or how it does not."""
    return Write("UPDATE statements SET hidden=? WHERE id=?", (hidden, statement_id))


def keep_ruling(ruling_id: bytes, room: bytes, raw: bytes) -> Write:
    return Write("INSERT OR IGNORE INTO rulings (id, room, raw) VALUES (?,?,?)", (ruling_id, room, raw))


def keep_floor(conversation: bytes, device: bytes, floor: int, told: int | None = None) -> Write:
    """`floor`: the first counter held; `told`: the first that was here once, which is what others hear. None: the same."""
    return Write(
        "INSERT OR REPLACE INTO floors VALUES (?,?,?,?)", (conversation, device, floor, floor if told is None else told)
    )


def keep_conversation(row: StoredConversation) -> Write:
    return Write("INSERT OR REPLACE INTO conversations VALUES (?,?,?,?,?)", tuple(row))


def keep_receipt(statement_id: bytes, peer: bytes) -> Write:
    return Write("INSERT OR IGNORE INTO receipts VALUES (?,?)", (statement_id, peer))


def keep_person(row: StoredPerson) -> Write:
    return Write("INSERT OR REPLACE INTO people VALUES (?,?,?,?)", tuple(row))


def keep_fact(name: str, value: bytes) -> Write:
    return Write("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))


_MAILED: Final = "mailed/"
"""Before the id of a line of our own in `facts`: what became of it in the recipient's mailbox."""


def keep_mailed(statement_id: bytes, state: str) -> Write:
    return keep_fact(_MAILED + statement_id.hex(), state.encode())


def forget_fact(name: str) -> Write:
    return Write("DELETE FROM facts WHERE name=?", (name,))


def forget_mailed(statement_id: bytes) -> Write:
    return forget_fact(_MAILED + statement_id.hex())


class HistoryStore:
    """The file. `path` None keeps everything in memory."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.lock = threading.Lock()
        """Held by a thread that works on the file: who was waiting for it may have been cancelled, the thread goes on."""
        self.moved_aside: Path | None = None
        """Where a damaged file went, when there was one."""
        self.needs_scrub = False
        """Whether something was deleted that may still stand on the disk."""
        try:
            if path is not None and _condemned(path).exists():
                raise sqlite3.DatabaseError("found damaged while it was used")
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if path is None:
                raise
            if _primary_code(error) in _NOT_THE_FILES_FAULT:
                raise DamagedFile(
                    f"cannot open {path}: {error}", hint="Check the disk and the permissions, and try again."
                ) from error
            self.moved_aside = _move_aside(path)
            _condemned(path).unlink(missing_ok=True)
            log.warning("%s is damaged (%s); moved to %s and started anew", path, error, self.moved_aside.name)
            self._db = self._open()

    @classmethod
    def reading(cls, path: Path) -> "HistoryStore":
        """A file that somebody else may be using: nothing is changed, nothing moved. Raises `sqlite3.Error`, or
        `DamagedFile` for one that this program has not brought up to date yet."""
        store = cls.__new__(cls)
        store._path, store.lock, store.moved_aside, store.needs_scrub = path, threading.Lock(), None, False
        store._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        version = store._db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            store._db.close()
            raise DamagedFile(
                f"{path} was written by another version of dhtchat", hint="Start dhtchat once, then try again."
            )
        return store

    def _open(self) -> sqlite3.Connection:
        if self._path is not None and not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        db = sqlite3.connect(self._path or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA secure_delete=ON")
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")
            self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise DamagedFile(
                f"{self._path} was written by a newer version of dhtchat",
                hint="Use that version, or another --data-dir.",
            )
        if version == SCHEMA_VERSION:
            return
        db.execute("BEGIN IMMEDIATE")
        for step in range(version + 1, SCHEMA_VERSION + 1):
            for change in MIGRATIONS[step]:
                if isinstance(change, str):
                    db.execute(change)
                else:
                    change(db)
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for a thread that still works on the file: SQLite does not survive being closed under it."""
        with self.lock:
            if self.needs_scrub:
                with contextlib.suppress(sqlite3.Error):
                    self.scrub()
            self._db.close()

    def condemn(self) -> None:
        """Damage was found while the file was in use: the next one who opens it moves it aside."""
        if self._path is not None:
            _condemned(self._path).touch(mode=0o600)

    def commit(self, writes: Iterable[Write]) -> None:
        """All or nothing, on disk when this returns. Raises `sqlite3.Error` (disk full) with nothing written."""
        if self._db.in_transaction:  # not even the ROLLBACK of the last one worked
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in writes:
                self._db.execute(sql, values)
                self.needs_scrub = self.needs_scrub or sql.startswith("DELETE FROM words")
            self._db.execute("COMMIT")
        except BaseException:
            # After a failed COMMIT (disk full) SQLite may have rolled back by itself already.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def conversations(self) -> list[StoredConversation]:
        rows = self._db.execute("SELECT id, direct, name, peer, muted FROM conversations ORDER BY id")
        return [StoredConversation(i, bool(d), n, p, level) for i, d, n, p, level in rows]

    def floors(self, conversation: bytes) -> dict[bytes, int]:
        """Per device the first counter held, where that is not 1."""
        rows = self._db.execute(
            "SELECT device, floor FROM floors WHERE conversation=? ORDER BY device", (conversation,)
        )
        return dict(rows.fetchall())

    def told_floors(self, conversation: bytes) -> dict[bytes, int]:
        """Where others are told that it begins, for the same devices: what was too old to be kept was here once."""
        rows = self._db.execute("SELECT device, floor, told FROM floors WHERE conversation=?", (conversation,))
        return {device: told or floor for device, floor, told in rows}

    def people(self) -> list[StoredPerson]:
        rows = self._db.execute("SELECT name, peer, first_seen_s, ignored FROM people ORDER BY name")
        return [StoredPerson(n, p, s, bool(i)) for n, p, s, i in rows]

    def fact(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return None if row is None else row[0]

    def facts(self, prefix: str) -> dict[str, bytes]:
        """All whose names begin so, without that beginning. `prefix` ends with a slash."""
        rows = self._db.execute(
            "SELECT name, value FROM facts WHERE name > ? AND name < ? ORDER BY name", (prefix, prefix[:-1] + "0")
        )
        return {name.removeprefix(prefix): value for name, value in rows}

    def mailed(self) -> dict[bytes, str]:
        """Own lines that lie in somebody's mailbox, or were given up: `stored` or `failed`."""
        return {bytes.fromhex(name): value.decode() for name, value in self.facts(_MAILED).items()}

    def by_ids(self, statement_ids: Iterable[bytes]) -> list[StoredStatement]:
        """Those of these whose bytes are here."""
        return [row for each in statement_ids for row in self._rows("WHERE id=? AND raw!=x''", (each,))]

    def written_to(self) -> list[bytes]:
        """The people to whom we have said something in private, the latest last. That we have read what somebody said is
        nothing said, and what we tell ourselves neither."""
        rows = self._db.execute(
            """SELECT peer FROM conversations JOIN statements ON statements.conversation = conversations.id
               WHERE direct=1 AND own=1 AND kind!='read' AND author!=peer
               GROUP BY peer ORDER BY MAX(received_at_ms), peer"""
        )
        return [peer for (peer,) in rows]

    def receipts(self, statement_ids: Iterable[bytes]) -> dict[bytes, set[bytes]]:
        """Per statement id the people who have committed it."""
        found: dict[bytes, set[bytes]] = {}
        for statement_id in statement_ids:
            rows = self._db.execute("SELECT peer FROM receipts WHERE id=?", (statement_id,))
            found[statement_id] = {peer for (peer,) in rows}
        return found

    def places(self, conversation: bytes) -> list[StoredPlace]:
        """Where every statement of a conversation stands, chain by chain, without its bytes."""
        rows = self._db.execute(
            "SELECT id, device, counter, depth, shown, kind, author, hidden FROM statements"
            " WHERE conversation=? ORDER BY device, counter",
            (conversation,),
        )
        authors: dict[bytes, bytes] = {}  # thousands of rows, a few authors
        return [
            StoredPlace(i, d, c, depth, bool(s), k, authors.setdefault(a, a), h) for i, d, c, depth, s, k, a, h in rows
        ]

    def unshown(self, conversation: bytes) -> list[StoredStatement]:
        """What still waits for what it follows."""
        return list(self._rows("WHERE conversation=? AND shown=0 AND raw!=x'' ORDER BY depth, id", (conversation,)))

    def operations(self, conversation: bytes) -> list[StoredStatement]:
        """What was done to lines and is shown, in causal order."""
        return list(
            self._rows(
                "WHERE conversation=? AND shown=1 AND hidden=0 AND kind IN ('edit', 'delete', 'react') ORDER BY depth, id",
                (conversation,),
            )
        )

    def last_topic(self, conversation: bytes) -> StoredStatement | None:
        """The causally latest."""
        rows = self._rows(
            "WHERE conversation=? AND shown=1 AND hidden=0 AND kind='topic' ORDER BY depth DESC, id DESC LIMIT 1",
            (conversation,),
        )
        return next(rows, None)

    def own_edits(self, line: bytes) -> list[StoredStatement]:
        """One's own of a line, the newest first."""
        return list(self._rows("WHERE target=? AND kind='edit' AND own=1 ORDER BY depth DESC, id", (line,)))

    def by_id(self, statement_ids: Iterable[bytes]) -> dict[bytes, StoredStatement]:
        """Those that are here."""
        found = {}
        for statement_id in statement_ids:
            for row in self._rows("WHERE id=?", (statement_id,)):
                found[row.id] = row
        return found

    def lines_like(self, first: bytes, last: bytes, count: int) -> list[StoredStatement]:
        """Up to `count` shown lines, of whatever conversation, with `first` <= id <= `last`."""
        return list(
            self._rows(
                "WHERE id BETWEEN ? AND ? AND kind='say' AND shown=1 AND hidden=0 ORDER BY id LIMIT ?",
                (first, last, count),
            )
        )

    def last_lines(self, conversation: bytes, count: int, *, own: bool = False) -> list[StoredStatement]:
        """The last `count` shown lines in causal order, or of one's own."""
        rows = list(
            self._rows(
                f"WHERE conversation=? AND shown=1 AND hidden=0 AND kind='say' {'AND own=1' if own else ''}"
                " ORDER BY depth DESC, id DESC LIMIT ?",
                (conversation, count),
            )
        )
        return rows[::-1]

    def find_lines(self, conversation: bytes, query: str, count: int) -> list[StoredStatement]:
        """The last `count` lines with all words of `query`, the last of which may be the beginning of one; causal order."""
        words = [word.replace('"', '""') for word in query.replace("\0", " ").split()]
        if not words:
            return []
        match = " ".join(f'"{word}"' for word in words) + "*"
        rows = list(
            self._rows(
                "WHERE id IN (SELECT id FROM words WHERE words MATCH ?)"
                " AND conversation=? AND shown=1 AND hidden=0 AND kind='say'"
                " ORDER BY depth DESC, id DESC LIMIT ?",
                (match, conversation, count),
            )
        )
        return rows[::-1]

    def readers(self, statement_ids: Iterable[bytes]) -> dict[bytes, set[bytes]]:
        """Per line the people who have read it, oneself included."""
        found: dict[bytes, set[bytes]] = {}
        for statement_id in statement_ids:
            rows = self._db.execute("SELECT peer FROM readers WHERE id=?", (statement_id,))
            found[statement_id] = {peer for (peer,) in rows}
        return found

    def own_since(self, conversation: bytes, device: bytes, count: int) -> list[StoredStatement]:
        """The last `count` of one device's statements in a conversation that somebody else is to get, oldest first."""
        rows = self._rows(
            f"WHERE conversation=? AND device=? AND kind NOT IN ('{GONE}', '{LOST}', 'read') ORDER BY counter DESC LIMIT ?",
            (conversation, device, count),
        )
        return list(rows)[::-1]

    def holds_from(self, statement_ids: Iterable[bytes], floors: Mapping[bytes, int]) -> set[bytes]:
        """Those ids that are held here and not below the floor of their device."""
        held: set[bytes] = set()
        for statement_id in statement_ids:
            row = self._db.execute("SELECT device, counter FROM statements WHERE id=?", (statement_id,)).fetchone()
            if row is not None and row[1] >= floors.get(row[0], 1):
                held.add(statement_id)
        return held

    def statements(self, conversation: bytes) -> list[StoredStatement]:
        """All of a conversation, held back or shown, in causal order; not those that are gone or lost."""
        return list(self._rows("WHERE conversation=? AND raw!=x'' ORDER BY depth, id", (conversation,)))

    def last_statements(self, conversation: bytes, count: int) -> list[StoredStatement]:
        """The last `count` shown ones in causal order, but for `read`."""
        rows = list(
            self._rows(
                "WHERE conversation=? AND shown=1 AND raw!=x'' AND kind!='read' ORDER BY depth DESC, id DESC LIMIT ?",
                (conversation, count),
            )
        )
        return rows[::-1]

    def chain_after(
        self, conversation: bytes, device: bytes, counter: int, upto: int, count: int
    ) -> list[StoredStatement]:
        """Up to `count` statements of one chain with `counter` < their counter <= `upto`, oldest first. In the place of one
        that is gone stands the deletion; one whose deletion is not here any more is left out."""
        rows = self._rows(
            "WHERE conversation=? AND device=? AND counter>? AND counter<=? ORDER BY counter LIMIT ?",
            (conversation, device, counter, upto, count),
        )
        return [row for row in map(self._with_deletion, rows) if row.raw]

    def _with_deletion(self, row: StoredStatement) -> StoredStatement:
        if row.kind != GONE:
            return row
        deletion = self._db.execute(
            "SELECT raw FROM statements WHERE id = (SELECT erased_by FROM statements WHERE id=?)", (row.id,)
        ).fetchone()
        return row._replace(raw=deletion[0] if deletion else b"")

    def received_ms(self, conversation: bytes, vector: Mapping[bytes, int]) -> int | None:
        """When the newest of these statements (device, counter) came here."""
        times = [
            time_ms
            for place in vector.items()
            for (time_ms,) in self._db.execute(
                "SELECT received_at_ms FROM statements WHERE conversation=? AND device=? AND counter=?",
                (conversation, *place),
            )
        ]
        return max(times, default=None)

    def newcomer_floors(
        self, conversation: bytes, count: int, since_ms: int, known_ms: int | None = None
    ) -> Mapping[bytes, int]:
        """Per device the first counter a newcomer gets: of what begins with the last `count` lines (or with the last of
        four times as many statements), those received since; and, for who was here before, all that came after `known_ms`.

        What was dug out from before a floor does not count: there is a gap behind it.
        """
        rows = self._db.execute(
            """WITH kept AS (
                   SELECT device, counter, depth, id, kind, hidden, received_at_ms
                   FROM statements LEFT JOIN floors USING (conversation, device)
                   WHERE conversation=? AND counter >= ifnull(floor, 1))
               SELECT device, MIN(counter) FROM kept
               WHERE received_at_ms > ? OR (received_at_ms >= ?
                 AND (depth, id) >= (SELECT ifnull(max(depth), -1), ifnull(max(id), x'') FROM (
                     SELECT depth, id FROM kept WHERE kind='say' AND hidden=0 ORDER BY depth DESC, id DESC LIMIT 1 OFFSET ?))
                 AND (depth, id) >= (SELECT ifnull(max(depth), -1), ifnull(max(id), x'') FROM (
                     SELECT depth, id FROM kept WHERE hidden=0 ORDER BY depth DESC, id DESC LIMIT 1 OFFSET ?)))
               GROUP BY device""",
            (conversation, NEVER_MS if known_ms is None else known_ms, since_ms, count - 1, 4 * count - 1),
        )
        return dict(rows.fetchall())

    # --- rooms that are ruled ---

    def rulings(self, room: bytes) -> list[bytes]:
        """As they were signed, in an order in which they can be taken in."""
        return [raw for (raw,) in self._db.execute("SELECT raw FROM rulings WHERE room=? ORDER BY number", (room,))]

    def last_judged(self, conversation: bytes, count: int) -> list[StoredStatement]:
        """The last `count` shown ones that count or not by what is ruled, in causal order, hidden ones too."""
        rows = list(
            self._rows(
                "WHERE conversation=? AND shown=1 AND raw!=x'' AND kind IN ('say', 'edit', 'react')"
                " ORDER BY depth DESC, id DESC LIMIT ?",
                (conversation, count),
            )
        )
        return rows[::-1]

    def invitations(self, count: int) -> list[StoredStatement]:
        """The last `count` times that somebody asked us into a room, the oldest first."""
        rows = list(
            self._rows(
                "WHERE own=0 AND shown=1 AND hidden=0 AND raw!=x'' AND kind='invite' ORDER BY received_at_ms DESC, id LIMIT ?",
                (count,),
            )
        )
        return rows[::-1]

    def last_hands(self, conversation: bytes, count: int) -> list[StoredStatement]:
        """The last `count` times that somebody raised or lowered a hand, in causal order."""
        rows = list(
            self._rows(
                "WHERE conversation=? AND shown=1 AND hidden=0 AND raw!=x'' AND kind='hand'"
                " ORDER BY depth DESC, id DESC LIMIT ?",
                (conversation, count),
            )
        )
        return rows[::-1]

    def devices_heard(self, conversation: bytes) -> list[tuple[bytes, bytes]]:
        """Everybody who said something here and on what device: (person, device), those heard last first."""
        rows = self._db.execute(
            "SELECT author, device FROM statements WHERE conversation=? AND shown=1"
            " GROUP BY author, device ORDER BY MAX(depth) DESC, device",
            (conversation,),
        )
        return rows.fetchall()

    # --- what is not kept for ever ---

    def expired(self, conversation: bytes, before_ms: int) -> dict[bytes, int]:
        """Per device up to which counter everything was received before that time, and something is there."""
        rows = self._db.execute(
            """SELECT device, MIN(counter),
                      ifnull(MIN(CASE WHEN received_at_ms >= ? OR shown=0 THEN counter END) - 1, MAX(counter))
               FROM statements WHERE conversation=? GROUP BY device""",
            (before_ms, conversation),
        )
        return {device: upto for device, first, upto in rows if first <= upto}

    def forget(self, conversation: bytes, device: bytes, upto: int, told: int) -> list[bytes]:
        """Drop one chain up to a counter, all that was known of it included, and say which ids. Its last statement leaves
        its place, so that the chain can go on."""
        last = self._db.execute(
            "SELECT MAX(counter) FROM statements WHERE conversation=? AND device=?", (conversation, device)
        ).fetchone()[0]
        where = "conversation=? AND device=? AND counter<=?"
        which = (conversation, device, upto)
        ids = [row[0] for row in self._db.execute(f"SELECT id FROM statements WHERE {where}", which)]
        writes = [Write("DELETE FROM words WHERE rowid=?", (words_row(each),)) for each in ids]
        for table in ("receipts", "readers"):
            writes += [Write(f"DELETE FROM {table} WHERE id=?", (each,)) for each in ids]
        writes.append(Write(f"DELETE FROM statements WHERE {where} AND counter<?", (*which, last)))
        writes.append(
            Write(f"UPDATE statements SET kind='{GONE}', raw=x'', target=x'', erased_by=x'' WHERE {where}", which)
        )
        writes.append(keep_floor(conversation, device, min(upto + 1, last), told))
        self.commit(writes)
        return ids

    def size_cut_ms(self, bytes_max: int) -> int:
        """Statements received before this time are too many: what came since is at most `bytes_max` long."""
        row = self._db.execute(
            """SELECT ifnull(MAX(received_at_ms) + 1, 0) FROM (
                   SELECT received_at_ms, SUM(length(raw) + ?) OVER (ORDER BY received_at_ms DESC, id) AS so_far
                   FROM statements)
               WHERE so_far > ?""",
            (ROW_BYTES, bytes_max),
        ).fetchone()
        return int(row[0])

    def scrub(self) -> None:
        """Overwrite what was deleted wherever SQLite still keeps it: in the index of words and in the log."""
        self.needs_scrub = False
        self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def shrink(self) -> None:
        """Give room back to the disk. Needs as much as is kept."""
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _rows(self, condition: str, values: tuple[Any, ...]) -> Iterator[StoredStatement]:
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM statements {condition}", values):
            own, delayed, verified, shown = map(bool, row[6:10])
            yield StoredStatement._make((*row[:6], own, delayed, verified, shown, *row[10:]))


_COLUMNS: Final = (
    "id, conversation, device, counter, depth, raw, own, delayed, verified, shown, received_at_ms, kind, author, target,"
    " hidden"
)
NEVER_MS: Final = 2**62
"""Later than anything."""
ROW_BYTES: Final = 250
"""What a statement takes on the disk beside its own bytes, about: keys twice over, indexes, its text once more."""

_NOT_THE_FILES_FAULT = frozenset(
    {
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""https://sqlite.org/rescode.html: a full disk or another process is no reason to give up a history."""


def _primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's result code without what extends it; None for an error that is ours or Python's."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken."""
    return _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _condemned(path: Path) -> Path:
    """Exists when damage was found while the file was in use."""
    return path.with_name(f"{path.name}.condemned")


def _move_aside(path: Path) -> Path:
    """Rename a damaged file and what SQLite keeps beside it, to a name that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return aside
