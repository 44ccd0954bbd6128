"""The tables of `history.db`, version by version. A newer program migrates; an older one refuses.

statements   everything said that this device holds; `depth` is 1 + the largest depth among what it follows, so that
             (depth, id) is a causal order; `shown` 0 while it waits for what it follows
floors       per conversation and device the first counter we will ever have, where that is not 1
conversations rooms and private talks, their heads and what the user set for them
receipts     which person has committed which of our own statements
people       pinned names: the key seen at first contact
"""

from typing import Final

SCHEMA_VERSION: Final = 1

MIGRATIONS: Final[dict[int, tuple[str, ...]]] = {
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
}
