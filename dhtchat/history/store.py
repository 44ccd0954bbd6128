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
from dhtchat.history.schema import MIGRATIONS, SCHEMA_VERSION

log = logging.getLogger(__name__)


class StoredStatement(NamedTuple):
    """One row of `statements`. `raw` is the signed message as it arrived."""

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


class StoredPlace(NamedTuple):
    id: bytes
    device: bytes
    counter: int
    depth: int
    shown: bool


class StoredConversation(NamedTuple):
    """`name`: the room's, or the other person's; `peer`: the other person's key, empty for a room."""

    id: bytes
    direct: bool
    name: str
    peer: bytes
    muted: bool


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
    return Write("INSERT OR IGNORE INTO statements VALUES (?,?,?,?,?,?,?,?,?,?,?)", tuple(row))


def mark_shown(statement_id: bytes, depth: int) -> Write:
    return Write("UPDATE statements SET shown=1, depth=? WHERE id=?", (depth, statement_id))


def keep_floor(conversation: bytes, device: bytes, floor: int) -> Write:
    return Write("INSERT OR REPLACE INTO floors VALUES (?,?,?)", (conversation, device, floor))


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
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if path is None:
                raise
            if _primary_code(error) in _NOT_THE_FILES_FAULT:
                raise DamagedFile(
                    f"cannot open {path}: {error}", hint="Check the disk and the permissions, and try again."
                ) from error
            self.moved_aside = _move_aside(path)
            log.warning("%s is damaged (%s); moved to %s and started anew", path, error, self.moved_aside.name)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        if self._path is not None and not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        db = sqlite3.connect(self._path or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
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
        for step in range(version + 1, SCHEMA_VERSION + 1):
            db.execute("BEGIN IMMEDIATE")
            for sql in MIGRATIONS[step]:
                db.execute(sql)
            db.execute(f"PRAGMA user_version={step}")
            db.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for a thread that still works on the file: SQLite does not survive being closed under it."""
        with self.lock:
            self._db.close()

    def commit(self, writes: Iterable[Write]) -> None:
        """All or nothing, on disk when this returns. Raises `sqlite3.Error` (disk full) with nothing written."""
        if self._db.in_transaction:  # not even the ROLLBACK of the last one worked
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in writes:
                self._db.execute(sql, values)
            self._db.execute("COMMIT")
        except BaseException:
            # After a failed COMMIT (disk full) SQLite may have rolled back by itself already.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def conversations(self) -> list[StoredConversation]:
        rows = self._db.execute("SELECT id, direct, name, peer, muted FROM conversations ORDER BY id")
        return [StoredConversation(i, bool(d), n, p, bool(m)) for i, d, n, p, m in rows]

    def floors(self, conversation: bytes) -> dict[bytes, int]:
        """Per device the first counter we will ever have, where that is not 1."""
        rows = self._db.execute(
            "SELECT device, floor FROM floors WHERE conversation=? ORDER BY device", (conversation,)
        )
        return dict(rows.fetchall())

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
        """Those of these that are held."""
        return [row for each in statement_ids for row in self._rows("WHERE id=?", (each,))]

    def written_to(self) -> list[bytes]:
        """The people to whom we have said something in private, the latest last."""
        rows = self._db.execute(
            """SELECT peer FROM conversations JOIN statements ON statements.conversation = conversations.id
               WHERE direct=1 AND own=1 GROUP BY peer ORDER BY MAX(received_at_ms), peer"""
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
            "SELECT id, device, counter, depth, shown FROM statements WHERE conversation=? ORDER BY device, counter",
            (conversation,),
        )
        return [StoredPlace(i, d, c, depth, bool(shown)) for i, d, c, depth, shown in rows]

    def unshown(self, conversation: bytes) -> list[StoredStatement]:
        """What still waits for what it follows."""
        return list(self._rows("WHERE conversation=? AND shown=0 ORDER BY depth, id", (conversation,)))

    def own_since(self, conversation: bytes, device: bytes, count: int) -> list[StoredStatement]:
        """The last `count` of one device's statements in a conversation, oldest first."""
        rows = self._rows(
            "WHERE conversation=? AND device=? ORDER BY counter DESC LIMIT ?", (conversation, device, count)
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
        """All of a conversation, held back or shown, in causal order."""
        return list(self._rows("WHERE conversation=? ORDER BY depth, id", (conversation,)))

    def last_statements(self, conversation: bytes, count: int) -> list[StoredStatement]:
        """The last `count` shown ones in causal order."""
        rows = list(
            self._rows("WHERE conversation=? AND shown=1 ORDER BY depth DESC, id DESC LIMIT ?", (conversation, count))
        )
        return rows[::-1]

    def chain_after(
        self, conversation: bytes, device: bytes, counter: int, upto: int, count: int
    ) -> list[StoredStatement]:
        """Up to `count` statements of one chain with `counter` < their counter <= `upto`, oldest first."""
        return list(
            self._rows(
                "WHERE conversation=? AND device=? AND counter>? AND counter<=? ORDER BY counter LIMIT ?",
                (conversation, device, counter, upto, count),
            )
        )

    def newcomer_floors(self, conversation: bytes, count: int, since_ms: int) -> Mapping[bytes, int]:
        """Per device the first counter a newcomer gets: of the last `count` statements, those received since.

        What was dug out from before a floor does not count: there is a gap behind it.
        """
        rows = self._db.execute(
            """SELECT device, MIN(counter) FROM (
                   SELECT device, counter, received_at_ms FROM statements LEFT JOIN floors USING (conversation, device)
                   WHERE conversation=? AND counter >= ifnull(floor, 1) ORDER BY depth DESC, id DESC LIMIT ?)
               WHERE received_at_ms >= ? GROUP BY device""",
            (conversation, count, since_ms),
        )
        return dict(rows.fetchall())

    def _rows(self, condition: str, values: tuple[Any, ...]) -> Iterator[StoredStatement]:
        columns = "id, conversation, device, counter, depth, raw, own, delayed, verified, shown, received_at_ms"
        for row in self._db.execute(f"SELECT {columns} FROM statements {condition}", values):
            own, delayed, verified, shown = map(bool, row[6:10])
            yield StoredStatement._make((*row[:6], own, delayed, verified, shown, row[10]))


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
