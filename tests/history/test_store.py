"""The history file: what `commit` returned from survives a crash, a damaged file never stops a start, queries are right."""

import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dhtchat.errors import DamagedFile
from dhtchat.history import store as store_module
from dhtchat.history.schema import MIGRATIONS, SCHEMA_VERSION
from dhtchat.history.store import (
    HIDDEN_LATER,
    HIDDEN_UNSEEN,
    HistoryStore,
    StoredConversation,
    StoredPerson,
    StoredPlace,
    StoredStatement,
    Write,
    erase,
    hide,
    keep_conversation,
    keep_fact,
    keep_floor,
    keep_person,
    keep_reader,
    keep_receipt,
    keep_ruling,
    keep_statement,
    keep_text,
    lose_statement,
    mark_shown,
)
from dhtchat.records.message import SetTopic
from tests.chat.statements import Speaker

ROOM, TALK = b"r" * 32, b"t" * 32
ALICE, BOB = b"a" * 32, b"b" * 32


def row(
    number: int,
    *,
    device: bytes = ALICE,
    conversation: bytes = ROOM,
    counter: int | None = None,
    depth: int | None = None,
    shown: bool = True,
    raw: bytes = b"signed bytes",
    received_at_ms: int = 1_000,
) -> StoredStatement:
    counter, depth = number if counter is None else counter, number if depth is None else depth
    statement_id = number.to_bytes(16, "big")
    return StoredStatement(
        statement_id, conversation, device, counter, depth, raw, False, True, True, shown, received_at_ms
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def store(path: Path) -> Iterator[HistoryStore]:
    with HistoryStore(path) as opened:
        yield opened


def keep(store: HistoryStore, *rows: StoredStatement) -> None:
    store.commit(map(keep_statement, rows))


def ids(store: HistoryStore, conversation: bytes = ROOM) -> list[int]:
    """The numbers of what is there, in causal order."""
    return [int.from_bytes(kept.id, "big") for kept in store.last_statements(conversation, 10_000)]


# --- the file ---------------------------------------------------------------------------------------------------------


def test_everything_is_the_owners_alone_whatever_the_umask(path: Path) -> None:
    """contract.md: "Everything under the data folder is 0600"."""
    before = os.umask(0)
    try:
        with HistoryStore(path) as store:
            keep(store, row(1))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"history.db": 0o600, "history.db-wal": 0o600, "history.db-shm": 0o600}


def test_durability_is_really_switched_on(store: HistoryStore) -> None:
    """design.md: "Committed (`synchronous=FULL`...)": the pragmas of the connection in use, not what was asked for."""
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_what_was_committed_survives_a_crash(path: Path, tmp_path: Path) -> None:
    """The files as they lie on disk at any moment, without a close, give everything that `commit` had returned from."""
    crashed = tmp_path / "crashed"
    with HistoryStore(path) as store:
        for number in range(1, 40):
            keep(store, row(number, raw=bytes(3_000)))
            shutil.rmtree(crashed, ignore_errors=True)
            crashed.mkdir()
            for file in path.parent.glob("history.db*"):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, crashed)
            if number % 13 == 0:
                with HistoryStore(crashed / path.name) as reopened:
                    assert ids(reopened) == list(range(1, number + 1))
                    assert reopened.moved_aside is None


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_a_crash_in_the_middle_of_a_write_loses_only_what_was_not_committed(
    path: Path, tmp_path: Path, kept: float
) -> None:
    """A torn end of the write-ahead log: the commits before it are there, the torn one is not, in part least of all."""
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    with HistoryStore(path) as store:
        keep(store, row(1), row(2))
        wal = path.with_name("history.db-wal")
        whole_bytes = wal.stat().st_size
        keep(store, *(row(number, raw=bytes(5_000)) for number in range(3, 20)))
        shutil.copy(path, crashed)
        torn = wal.read_bytes()
    torn_at = whole_bytes + int(kept * (len(torn) - whole_bytes))
    (crashed / wal.name).write_bytes(torn[:torn_at])
    with HistoryStore(crashed / path.name) as reopened:
        assert ids(reopened) == [1, 2]
        assert reopened.moved_aside is None


def test_a_commit_is_all_or_nothing(store: HistoryStore) -> None:
    """An error in the middle writes nothing, and the next commit works."""
    bad = Write("INSERT INTO no_such_table VALUES (?)", (1,))
    with pytest.raises(sqlite3.Error):
        store.commit([keep_statement(row(1)), bad, keep_statement(row(2))])
    assert ids(store) == []
    keep(store, row(3))
    assert ids(store) == [3]


def test_a_commit_that_dies_of_something_else_writes_nothing_either(store: HistoryStore) -> None:
    """Whatever is raised while the writes are made."""

    def writes() -> Iterator[Write]:
        yield keep_statement(row(1))
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        store.commit(writes())
    with pytest.raises(OverflowError):
        store.commit([keep_statement(row(1)), keep_floor(ROOM, ALICE, 2**63)])
    assert ids(store) == []
    keep(store, row(2))


def test_a_full_disk_is_an_error_that_passes(store: HistoryStore) -> None:
    """Nothing is written while there is no room; with room again the same writes go through."""
    keep(store, row(1))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages}")
    much = [keep_statement(row(number, raw=bytes(9_000))) for number in range(2, 10)]
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.commit(much)
        assert ids(store) == [1]
    store._db.execute("PRAGMA max_page_count=1000000")
    store.commit(much)
    assert ids(store) == list(range(1, 10))


def test_a_transaction_that_was_left_open_does_not_block_for_ever(store: HistoryStore) -> None:
    """A ROLLBACK that failed too is made up for by the next commit."""
    store._db.execute("BEGIN IMMEDIATE")
    store._db.execute(*keep_statement(row(1)))
    keep(store, row(2))
    assert ids(store) == [2]


# --- what cannot be read ----------------------------------------------------------------------------------------------


def damage_header(file: Path, rng: random.Random) -> None:
    file.write_bytes(rng.randbytes(64) + file.read_bytes()[64:])


def damage_middle(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    page_bytes = 4096
    for page in range(1, len(content) // page_bytes):
        content[page * page_bytes : page * page_bytes + 200] = rng.randbytes(200)
    file.write_bytes(content)


def cut(file: Path, rng: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 100])


def something_else(file: Path, rng: random.Random) -> None:
    file.write_bytes(b"Dear diary, today I lost my history.\n" * 300)


def somebody_elses_database(file: Path, rng: random.Random) -> None:
    file.unlink()
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE statements (unlike TEXT, ours INTEGER)")
    db.close()


@pytest.mark.parametrize("harm", [damage_header, damage_middle, cut, something_else, somebody_elses_database])
def test_a_damaged_file_is_moved_aside_and_a_new_one_works(path: Path, rng: random.Random, harm) -> None:  # type: ignore[no-untyped-def]
    """Nobody is locked out by a bad disk, nothing is thrown away, and a second accident does not overwrite the first."""
    for accident in (1, 2):
        with HistoryStore(path) as store:
            keep(store, *(row(number, raw=bytes(500)) for number in range(1, 60)))
        harm(path, rng)
        damaged = path.read_bytes()
        with HistoryStore(path) as store:
            assert store.moved_aside == path.with_name(f"history.db.damaged-{accident}")
            assert store.moved_aside.read_bytes()[100:] == damaged[100:]  # opening it may touch its header
            assert ids(store) == []
            keep(store, row(1))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with HistoryStore(path) as store:
            assert (store.moved_aside, ids(store)) == (None, [1])


def test_what_lies_beside_a_damaged_file_is_not_played_into_the_new_one(path: Path, rng: random.Random) -> None:
    """A write-ahead log belongs to the file it was written for: the whole of it brings the file back, a rest of it goes."""
    with HistoryStore(path) as store:
        keep(store, row(1))
        wal = path.with_name("history.db-wal")
        whole = wal.read_bytes()
    something_else(path, rng)
    wal.write_bytes(whole)
    with HistoryStore(path) as store:
        assert ids(store) == [1]
    something_else(path, rng)
    wal.write_bytes(whole[: len(whole) // 2])
    with HistoryStore(path) as store:
        assert store.moved_aside is not None
        assert ids(store) == []
        keep(store, row(2))
    with HistoryStore(path) as store:
        assert ids(store) == [2]


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    """A crash right after its creation."""
    path.touch()
    with HistoryStore(path) as store:
        assert store.moved_aside is None
        keep(store, row(1))


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    """A newer version wrote it: using it would lose what this one does not know of."""
    with HistoryStore(path) as store:
        keep(store, row(1))
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(DamagedFile, match="newer version"):
        HistoryStore(path)
    assert [file.name for file in path.parent.iterdir() if "damaged" in file.name] == []
    assert sqlite3.connect(path).execute("SELECT count(*) FROM statements").fetchone() == (1,)


def test_a_busy_or_forbidden_file_is_no_damaged_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that holds it, a full disk, missing rights: said, and the history stays where it is."""
    with HistoryStore(path) as store:
        keep(store, row(1))
    real = sqlite3.connect

    def impatient(*arguments: object, **options: object) -> sqlite3.Connection:
        return real(*arguments, **{**options, "timeout": 0.0})  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(store_module.sqlite3, "connect", impatient)
    other = real(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DamagedFile, match=r"cannot open .*locked"):
        HistoryStore(path)
    other.close()
    with HistoryStore(path) as store:
        assert (store.moved_aside, ids(store)) == (None, [1])
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedFile, match="cannot open"):
        HistoryStore(path)


def test_a_migration_that_fails_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version is one transaction: the next start begins where the last one ended."""
    monkeypatch.setitem(MIGRATIONS, 1, (*MIGRATIONS[1], "CREATE TABLE statements (again INTEGER)"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        HistoryStore(path)
    monkeypatch.undo()
    with HistoryStore(path) as store:
        keep(store, row(1))
        assert store._db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


# --- queries ----------------------------------------------------------------------------------------------------------


def test_a_statement_comes_back_as_it_was_kept_and_only_once(store: HistoryStore) -> None:
    """Kept twice it stays the first; another one at the same place of a chain does not replace it."""
    first = row(1)
    keep(store, first, first._replace(raw=b"other"), row(2, counter=1))
    assert store.last_statements(ROOM, 10) == [first]
    keep(store, row(1, conversation=TALK))
    assert store.last_statements(TALK, 10) == []


def test_the_last_ones_are_in_causal_order(store: HistoryStore, rng: random.Random) -> None:
    """By (depth, id), only what was shown, only of this conversation."""
    rows = [row(number, depth=number // 3, device=rng.choice([ALICE, BOB])) for number in range(1, 40)]
    rng.shuffle(rows)
    keep(store, *rows, row(50, shown=False), row(60, conversation=TALK))
    assert ids(store) == list(range(1, 40))
    assert [int.from_bytes(kept.id, "big") for kept in store.last_statements(ROOM, 5)] == [35, 36, 37, 38, 39]
    assert store.last_statements(ROOM, 0) == []


def test_what_waits_is_marked_shown_with_its_final_depth(store: HistoryStore) -> None:
    """`unshown` gives it back after a restart; the mark moves it into the order."""
    keep(store, row(1), row(2, shown=False, depth=1))
    assert [kept.counter for kept in store.unshown(ROOM)] == [2]
    assert store.places(ROOM)[1] == StoredPlace(row(2).id, ALICE, 2, 1, False)
    store.commit([mark_shown(row(2).id, 7)])
    assert store.unshown(ROOM) == store.unshown(TALK) == []
    assert store.places(ROOM)[1] == StoredPlace(row(2).id, ALICE, 2, 7, True)


def test_places_are_chain_by_chain_and_by_counter(store: HistoryStore, rng: random.Random) -> None:
    """As `Timeline.restore_place` needs them."""
    rows = [
        row(number, device=device)
        for device, numbers in ((ALICE, range(1, 9)), (BOB, range(11, 19)))
        for number in numbers
    ]
    rng.shuffle(rows)
    keep(store, *rows, row(90, conversation=TALK))
    places = [(place.device, place.counter) for place in store.places(ROOM)]
    assert places == sorted((kept.device, kept.counter) for kept in rows)


def test_a_part_of_a_chain(store: HistoryStore) -> None:
    """`chain_after` is what a page is made of: above one counter, up to another, no more than asked for."""
    keep(store, *(row(number) for number in range(1, 11)), *(row(20 + n, device=BOB, counter=n) for n in (1, 2, 3)))

    def counters(*arguments: int) -> list[int]:
        return [kept.counter for kept in store.chain_after(ROOM, ALICE, *arguments)]

    assert counters(0, 10, 100) == list(range(1, 11))
    assert counters(3, 7, 100) == [4, 5, 6, 7]
    assert counters(3, 7, 2) == [4, 5]
    assert counters(10, 2**62, 5) == []
    assert store.chain_after(TALK, ALICE, 0, 10, 10) == []


def test_own_lines_since(store: HistoryStore) -> None:
    """The last ones of one device, oldest first, shown or not."""
    keep(store, *(row(number) for number in range(1, 6)), row(6, shown=False), row(9, device=BOB))
    assert [kept.counter for kept in store.own_since(ROOM, ALICE, 3)] == [4, 5, 6]


def test_where_a_newcomer_begins(store: HistoryStore) -> None:
    """Of the last so many in causal order, those received since: per device the first counter among them."""
    keep(store, *(row(n, depth=n) for n in range(1, 11)))
    keep(store, *(row(20 + n, device=BOB, counter=n, depth=8 + n, received_at_ms=500) for n in range(1, 3)))
    assert store.newcomer_floors(ROOM, 100, 0) == {ALICE: 1, BOB: 1}
    assert store.newcomer_floors(ROOM, 4, 0) == {ALICE: 9, BOB: 1}
    assert store.newcomer_floors(ROOM, 4, 600) == {ALICE: 9}
    assert store.newcomer_floors(ROOM, 100, 2_000) == {}
    assert store.newcomer_floors(TALK, 100, 0) == {}
    store.commit([keep_floor(ROOM, ALICE, 3), keep_floor(TALK, ALICE, 9)])
    assert store.newcomer_floors(ROOM, 100, 0) == {ALICE: 3, BOB: 1}


def test_which_of_some_ids_are_held_from_a_floor_on(store: HistoryStore) -> None:
    """Not the unknown ones, nor those below the floor of their device."""
    keep(store, row(1), row(2), row(3, device=BOB))
    asked = [row(number).id for number in (1, 2, 3, 4)]
    assert store.holds_from(asked, {}) == set(asked[:3])
    assert store.holds_from(asked, {ALICE: 2}) == set(asked[1:3])


def test_floors_people_talks_facts_and_receipts(store: HistoryStore) -> None:
    """Small tables: the last word counts, a receipt is kept once."""
    store.commit(
        [keep_floor(ROOM, BOB, 5), keep_floor(ROOM, ALICE, 3), keep_floor(ROOM, BOB, 7), keep_floor(TALK, BOB, 2)]
    )
    assert store.floors(ROOM) == {ALICE: 3, BOB: 7}
    person = StoredPerson("bob", BOB, 17, False)
    store.commit(
        [
            keep_person(person),
            keep_person(person._replace(ignored=True)),
            keep_person(StoredPerson("alice", ALICE, 1, False)),
        ]
    )
    assert store.people() == [StoredPerson("alice", ALICE, 1, False), person._replace(ignored=True)]
    room = StoredConversation(ROOM, False, "#lobby", b"", False)
    talk = StoredConversation(TALK, True, "bob", BOB, False)
    store.commit([keep_conversation(talk), keep_conversation(room), keep_conversation(room._replace(level=1))])
    assert store.conversations() == [room._replace(level=1), talk]
    assert store.fact("device") is None
    store.commit([keep_fact("device", b"1"), keep_fact("device", b"2")])
    assert store.fact("device") == b"2"
    store.commit(
        [keep_receipt(b"1", ALICE), keep_receipt(b"1", ALICE), keep_receipt(b"1", BOB), keep_receipt(b"2", BOB)]
    )
    assert store.receipts([b"1", b"3"]) == {b"1": {ALICE, BOB}, b"3": set()}


def test_in_memory_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`path` None: for tests and those who want no history."""
    monkeypatch.chdir(tmp_path)
    with HistoryStore(None) as store:
        keep(store, row(1))
        assert ids(store) == [1]
    assert list(tmp_path.iterdir()) == []


def test_the_largest_counter_fits(store: HistoryStore) -> None:
    """2^62 is what a message may claim."""
    keep(store, row(1, counter=2**62, depth=1))
    store.commit([keep_floor(ROOM, ALICE, 2**62)])
    assert store.places(ROOM)[0].counter == store.floors(ROOM)[ALICE] == 2**62


# --- lines that are found, deleted, lost, and too old to be kept --------------------------------------------------------


WIDE = 2**65
"""Ids of lines differ in their first half, as hashes do."""


def line_row(number: int, text: str, **changes: object) -> tuple[StoredStatement, Write]:
    changes = {"counter": number // WIDE, "depth": number // WIDE, **changes}
    kept = row(number, **changes)._replace(raw=text.encode())  # type: ignore[arg-type]
    return kept, keep_text(kept.id, text)


def keep_lines(store: HistoryStore, *lines: tuple[StoredStatement, Write]) -> None:
    for kept, text in lines:
        store.commit([keep_statement(kept), text])


def found(store: HistoryStore, query: str, conversation: bytes = ROOM) -> list[int]:
    return [int.from_bytes(kept.id, "big") for kept in store.find_lines(conversation, query, 100)]


def test_lines_are_found_by_their_words(store: HistoryStore) -> None:
    keep_lines(
        store,
        line_row(1 * WIDE, "The quick brown fox"),
        line_row(2 * WIDE, "a QUICK answer: café"),
        line_row(3 * WIDE, "quicksand", conversation=TALK),
    )
    assert found(store, "quick") == [1 * WIDE, 2 * WIDE]
    assert found(store, "qui") == [1 * WIDE, 2 * WIDE]
    assert found(store, "fox quick") == [1 * WIDE]
    assert found(store, "cafe") == [2 * WIDE]
    assert found(store, "quick", TALK) == [3 * WIDE]
    assert found(store, "slow") == []


@pytest.mark.parametrize(
    "query", ['"', '""', "AND", "NOT quick", "quick*", "^quick", "text:quick", "a\0b", "(", "-", "NEAR(a b)", "*", " "]
)
def test_no_query_is_a_syntax_error(store: HistoryStore, query: str) -> None:
    """What a user types are words, and nothing else."""
    keep_lines(store, line_row(1 * WIDE, "quick"))
    assert found(store, query) in ([], [1 * WIDE])


def test_whom_we_have_written_to_are_those_we_said_something_to(store: HistoryStore) -> None:
    """The latest last: not oneself, not those who only wrote to us, not those of whom we have only read something. And of what
    was deleted nothing is left to be brought to anybody."""
    me = b"m" * 32
    said = [("say", BOB), ("read", b"c" * 32), ("react", b"d" * 32), ("say", me), ("say", b"e" * 32)]
    for number, (kind, peer) in enumerate(said):
        talk = bytes([number]) * 32
        store.commit([keep_conversation(StoredConversation(talk, True, "name", peer, False))])
        own = row(number, conversation=talk, received_at_ms=100 - number)
        author = peer if peer == b"e" * 32 else me
        keep(store, own._replace(own=author == me, kind=kind, author=author))
    assert store.written_to() == [b"d" * 32, BOB]
    both = [row(0).id, row(2).id]
    assert [found.id for found in store.by_ids(both)] == both
    store.commit(erase((ALICE, 0, row(0).id), row(9).id))
    assert [found.id for found in store.by_ids(both)] == both[1:]


@pytest.mark.parametrize("lines", [1, 2, 3, 5, 9, 30])
def test_what_is_erased_is_in_no_file_and_its_place_stays(path: Path, lines: int) -> None:
    """The issue: "deletes really delete, FTS too". The deletion stands in for it when others are sent the chain."""
    with HistoryStore(path) as store:
        keep_lines(store, *(line_row(n * WIDE, f"filler {n} " * 40, counter=n) for n in range(31 - lines, 30)))
        keep_lines(store, line_row(30 * WIDE, "the xylophone is under the mat", counter=30))
        keep(store, row(31 * WIDE, counter=31, depth=31, raw=b"deletion")._replace(kind="delete"))
        store.commit(erase((ALICE, 30, (30 * WIDE).to_bytes(16, "big")), (31 * WIDE).to_bytes(16, "big")))
        assert store.needs_scrub
        store.scrub()
        assert found(store, "xylophone") == []
        assert [kept.raw for kept in store.chain_after(ROOM, ALICE, 29, 31, 10)] == [b"deletion", b"deletion"]
        assert [place.kind for place in store.places(ROOM)][-2:] == ["gone", "delete"]
        assert not any(b"xylophone" in file.read_bytes() for file in path.parent.iterdir())
        store.commit(erase((ALICE, 31, b"?" * 16), b"!" * 16))
        assert store.places(ROOM)[-1].kind == "delete", "another id, or another place, erases nothing"


def test_a_lost_one_comes_back_and_everything_else_stays_as_it_was_first(store: HistoryStore) -> None:
    keep(store, row(1, raw=b"first"), row(2, raw=b"second"))
    store.commit([lose_statement(row(1).id)])
    keep(store, row(1, raw=b"again"), row(2, raw=b"other"))
    assert [kept.raw for kept in store.statements(ROOM)] == [b"again", b"second"]


def test_what_is_too_old_is_dropped_from_the_beginning_of_each_chain(path: Path) -> None:
    """Never a hole in the middle, never the last place of a chain; receipts, readers and words go along; the file shrinks."""
    day_ms = 24 * 3600 * 1000
    with HistoryStore(path) as store:
        for number in range(1, 101):
            kept, text = line_row(number * WIDE, f"word{number} " * 100, counter=number, received_at_ms=number * day_ms)
            store.commit([keep_statement(kept), text, keep_receipt(kept.id, BOB), keep_reader(kept.id, BOB)])
        keep_lines(store, line_row(999 * WIDE, "bob's", device=BOB, counter=1, received_at_ms=1))
        assert store.expired(ROOM, 90 * day_ms) == {ALICE: 89, BOB: 1}
        assert store.expired(ROOM, 1) == {}
        size = path.stat().st_size
        dropped = store.forget(ROOM, ALICE, 89, 1)
        assert len(dropped) == 89
        store.forget(ROOM, BOB, 1, 1)
        store.shrink()
        assert path.stat().st_size < size / 2
        assert [(place.device, place.counter) for place in store.places(ROOM)] == [
            *((ALICE, number) for number in range(90, 101)),
            (BOB, 1),
        ]
        assert store.floors(ROOM) == {ALICE: 90, BOB: 1}
        assert store.told_floors(ROOM) == {ALICE: 1, BOB: 1}
        assert found(store, "word89") == []
        assert found(store, "word90") == [90 * WIDE]
        assert store.receipts([dropped[0]]) == store.readers([dropped[0]]) == {dropped[0]: set()}
        assert not any(
            b"word89 " in file.read_bytes() or b"bob's" in file.read_bytes() for file in path.parent.iterdir()
        )
        assert store.size_cut_ms(10**9) == 0
        cut_ms = store.size_cut_ms(5 * 1_200)
        assert 94 * day_ms < cut_ms < 99 * day_ms


def test_a_returning_member_gets_what_new_devices_said_since(store: HistoryStore) -> None:
    """A newcomer gets the last lines of a device; who was here before, all since."""
    for number in range(1, 21):
        keep(store, row(number, device=BOB, counter=number, depth=number, received_at_ms=1_000 + number))
    assert store.newcomer_floors(ROOM, 5, 0) == {BOB: 16}
    known_ms = store.received_ms(ROOM, {BOB: 3, ALICE: 9})
    assert known_ms == 1_003
    assert store.newcomer_floors(ROOM, 5, 0, known_ms) == {BOB: 4}
    assert store.received_ms(ROOM, {ALICE: 9}) is None


def test_what_was_done_to_lines_does_not_use_up_a_newcomers_lines(store: HistoryStore) -> None:
    keep(store, row(1, counter=1), row(2, counter=2))
    keep(store, *(row(number, counter=number)._replace(kind="react") for number in range(3, 9)))
    assert store.newcomer_floors(ROOM, 2, 0) == {ALICE: 1}
    keep(store, *(row(number, counter=number)._replace(kind="react") for number in range(9, 13)))
    assert store.newcomer_floors(ROOM, 2, 0) == {ALICE: 5}, "but four times as many are the end of it"


def test_a_file_of_the_first_version_is_brought_up_to_date(path: Path, rng: random.Random) -> None:
    """Kinds, authors and words are taken from the signed bytes; a damaged row does not stop it."""
    alice = Speaker("alice", rng)
    said = [alice.say("find me"), alice.state(SetTopic("a topic"))]
    db = sqlite3.connect(path)
    for sql in MIGRATIONS[1]:
        assert isinstance(sql, str)
        db.execute(sql)
    for one in said:
        values = (one.id, ROOM, alice.device, one.body.counter, one.body.counter, one.raw, 0, 0, 1, 1, 5)
        db.execute(f"INSERT INTO statements VALUES ({','.join('?' * 11)})", values)
    db.execute(
        f"INSERT INTO statements VALUES ({','.join('?' * 11)})", (b"x" * 16, ROOM, BOB, 1, 1, b"?", 0, 0, 1, 1, 5)
    )
    db.execute("PRAGMA user_version=1")
    db.commit()
    db.close()
    with HistoryStore(path) as store:
        assert store.moved_aside is None
        assert {place.kind: place.author for place in store.places(ROOM) if place.author} == {
            "say": alice.peer,
            "topic": alice.peer,
        }
        assert [kept.id for kept in store.find_lines(ROOM, "find", 5)] == [said[0].id]


def test_a_file_found_damaged_while_in_use_is_moved_aside_at_the_next_start(path: Path) -> None:
    with HistoryStore(path) as store:
        keep(store, row(1))
        store.condemn()
    with HistoryStore(path) as store:
        assert store.moved_aside == path.with_name("history.db.damaged-1")
        assert ids(store) == []
    with HistoryStore(path) as store:
        assert store.moved_aside is None


# --- rooms that are ruled ---------------------------------------------------------------------------------------------


def test_rulings_come_back_in_the_order_in_which_they_were_kept(store: HistoryStore) -> None:
    """Whatever their ids: those that others follow come first. One that is here already is kept once."""
    for number in (3, 1, 2, 1):
        store.commit([keep_ruling(bytes([number]) * 16, ROOM, b"ruling %d" % number)])
    store.commit([keep_ruling(b"o" * 16, TALK, b"of another room")])
    assert store.rulings(ROOM) == [b"ruling 3", b"ruling 1", b"ruling 2"]


def test_what_does_not_count_is_in_no_answer_and_keeps_its_place(store: HistoryStore) -> None:
    """Neither the history nor a search nor an id finds it; the chain goes on, and others can be given it to judge."""
    keep(store, *map(row, (1, 2, 3)))
    store.commit([keep_text(row(2).id, "find me"), keep_text(row(3).id, "find me too")])
    store.commit([hide(row(2).id, HIDDEN_UNSEEN)])
    last, first = row(3), row(1)
    assert [line.id for line in store.last_lines(ROOM, 5)] == [first.id, last.id]
    assert [line.id for line in store.find_lines(ROOM, "find", 5)] == [last.id]
    assert store.lines_like(row(2).id, row(2).id, 5) == []
    assert [place.hidden for place in store.places(ROOM)] == [0, HIDDEN_UNSEEN, 0]
    assert [each.counter for each in store.chain_after(ROOM, ALICE, 0, 3, 9)] == [1, 2, 3]
    assert [(each.id, each.hidden) for each in store.last_judged(ROOM, 2)] == [(row(2).id, HIDDEN_UNSEEN), (last.id, 0)]
    store.commit([hide(row(2).id, 0), hide(first.id, HIDDEN_LATER)])
    assert [line.id for line in store.last_lines(ROOM, 5)] == [row(2).id, last.id]


def test_a_newcomer_gets_as_many_lines_that_count(store: HistoryStore) -> None:
    """Who was silenced and goes on talking pushes nobody's lines out of what newcomers get."""
    keep(store, row(1), *(row(number, device=BOB, counter=number) for number in range(2, 10)))
    store.commit([hide(row(number).id, HIDDEN_UNSEEN) for number in range(3, 10)])
    assert store.newcomer_floors(ROOM, 2, 0)[ALICE] == 1


def test_hands_and_who_was_heard(store: HistoryStore) -> None:
    keep(store, row(1)._replace(author=b"p" * 32), row(2, device=BOB, counter=1)._replace(author=b"q" * 32))
    keep(store, *(row(number, counter=number)._replace(kind="hand", author=b"p" * 32) for number in (3, 4, 5)))
    assert [each.counter for each in store.last_hands(ROOM, 2)] == [4, 5]
    assert store.devices_heard(ROOM) == [(b"p" * 32, ALICE), (b"q" * 32, BOB)]
    store.commit([hide(row(5).id, HIDDEN_UNSEEN)])
    assert [each.counter for each in store.last_hands(ROOM, 2)] == [3, 4]
