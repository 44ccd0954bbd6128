"""The tables of `history.db`, version by version. A newer program migrates; an older one refuses.

statements   everything said that this device holds; `depth` is 1 + the largest depth among what it follows, so that
             (depth, id) is a causal order; `shown` 0 while it waits for what it follows. `kind` is the tag of its content,
             `author` the identity key, `target` the line that an operation is about. Of what was deleted the place is left:
             `kind` is 'gone', `raw` empty, and `erased_by` the deletion, which takes its place when others lack it. `hidden`:
             by the rulings of the room it does not count; 1 when it was shown before that was known, 2 when it never was
rulings      what was ruled about rooms, in an order in which it can be taken in again
floors       per conversation and device the first counter held, where that is not 1; `told` what others are told instead
             because everything from there on was here once
conversations rooms and private talks, their heads and what the user set for them
receipts     which person has committed which of our own statements
readers      which person, oneself included, has read which line of others
people       pinned names: the key seen at first contact
words        the texts that hold now, for searching
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from dhtchat.errors import MalformedRecord
from dhtchat.records.message import content_text, kind_of, peek_author, peek_message, target_of

SCHEMA_VERSION: Final = 3


def words_row(statement_id: bytes) -> int:
    """Where the text of a line stands in `words`. Two lines that were made to share a place hide each other, no more."""
    return int.from_bytes(statement_id[:8], "big") >> 1


def _describe(db: sqlite3.Connection) -> None:
    """What version 1 did not write beside the signed bytes."""
    for statement_id, raw in db.execute("SELECT id, raw FROM statements").fetchall():
        try:
            content = peek_message(raw).content
            author = peek_author(raw)
        except MalformedRecord:
            continue  # a damaged row: found when it is opened
        db.execute(
            "UPDATE statements SET kind=?, author=?, target=? WHERE id=?",
            (kind_of(content), author, target_of(content), statement_id),
        )
        if text := content_text(content):
            db.execute(
                "INSERT OR REPLACE INTO words (rowid, text, id) VALUES (?,?,?)",
                (words_row(statement_id), text, statement_id),
            )


MIGRATIONS: Final[dict[int, tuple[str | Callable[[sqlite3.Connection], None], ...]]] = {
    1: (
        """CREATE TABLE statements (
            id BLOB PRIMARY KEY, conversation BLOB NOT NULL, device BLOB NOT NULL, counter INTEGER NOT NULL,
            depth INTEGER NOT NULL, raw BLOB NOT NULL, own INTEGER NOT NULL, delayed INTEGER NOT NULL,
            verified INTEGER NOT NULL, shown INTEGER NOT NULL, received_at_ms INTEGER NOT NULL,
            UNIQUE (conversation, device, counter)) WITHOUT ROWID""",
        "CREATE INDEX statements_in_order ON statements (conversation, depth, id)",
        """CREATE TABLE floors (
            conversation BLOB NOT NULL, device BLOB NOT NULL, floor INTEGER NOT NULL,
            PRIMARY KEY (conversation, device)) WITHOUT ROWID""",
        """CREATE TABLE conversations (
            id BLOB PRIMARY KEY, direct INTEGER NOT NULL, name TEXT NOT NULL, peer BLOB NOT NULL,
            muted INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
        "CREATE TABLE receipts (id BLOB NOT NULL, peer BLOB NOT NULL, PRIMARY KEY (id, peer)) WITHOUT ROWID",
        """CREATE TABLE people (
            name TEXT PRIMARY KEY, peer BLOB NOT NULL, first_seen_s INTEGER NOT NULL,
            ignored INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    ),
    2: (
        "ALTER TABLE statements ADD COLUMN kind TEXT NOT NULL DEFAULT 'say'",
        "ALTER TABLE statements ADD COLUMN author BLOB NOT NULL DEFAULT x''",
        "ALTER TABLE statements ADD COLUMN target BLOB NOT NULL DEFAULT x''",
        "ALTER TABLE statements ADD COLUMN erased_by BLOB NOT NULL DEFAULT x''",
        "CREATE INDEX statements_by_target ON statements (target) WHERE target != x''",
        "ALTER TABLE floors ADD COLUMN told INTEGER NOT NULL DEFAULT 0",
        "CREATE TABLE readers (id BLOB NOT NULL, peer BLOB NOT NULL, PRIMARY KEY (id, peer)) WITHOUT ROWID",
        "CREATE VIRTUAL TABLE words USING fts5 (text, id UNINDEXED, tokenize='unicode61 remove_diacritics 2')",
        _describe,
    ),
    3: (
        "ALTER TABLE statements ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0",
        "CREATE TABLE rulings (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, room BLOB NOT NULL, raw BLOB NOT NULL)",
        "CREATE INDEX rulings_by_room ON rulings (room, number)",
    ),
}
