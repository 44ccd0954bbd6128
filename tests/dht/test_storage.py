"""What a replica keeps: judged, bounded, gone in time, and there again after a restart."""

import logging
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dhtchat.dht import storage as storage_module
from dhtchat.dht.storage import RecordStorage, claim_of
from dhtchat.errors import DamagedFile, MalformedRecord
from dhtchat.ids import PeerId, RecordKey, RoomId
from dhtchat.limits import CLAIMS_PER_NAME_MAX, CLOCK_SKEW_S, DEVICES_PER_OWNER_MAX, PRESENCE_TTL_S, STORAGE_SWEEP_S
from dhtchat.parameters import MAIN, SIM
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.account import Account, account_key, unlock_account
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.listing import RoomListing, room_directory_key
from dhtchat.records.membership import membership_key
from dhtchat.records.presence import presence_key
from dhtchat.records.room import room_key
from tests.dht.support import PASSWORD, FixedClock, account, key_of, membership, presence, room

ALICE = key_of(1)
HER_SET = presence_key(PeerId(ALICE.public))
LOBBY = room_key("#lobby")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def storage(clock: FixedClock) -> Iterator[RecordStorage]:
    shelf = RecordStorage(None, parameters=SIM, clock=clock)
    yield shelf
    shelf.close()


def raws(storage: RecordStorage, key: RecordKey) -> list[bytes]:
    return [record.raw for record in storage.claims(key)]


# --- claims -----------------------------------------------------------------------------------------------------------


def test_rivals_are_kept_in_order_of_arrival_up_to_the_limit(storage: RecordStorage) -> None:
    rivals = [room("#lobby", seed) for seed in range(CLAIMS_PER_NAME_MAX + 1)]
    verdicts = [storage.offer_claim(LOBBY, rival) for rival in rivals]
    assert [kept.verdict for kept in verdicts[:-1]] == [Verdict.NEW] * CLAIMS_PER_NAME_MAX
    assert verdicts[-1][:2] == (Verdict.REFUSED, Reason.FULL)
    assert raws(storage, LOBBY) == [rival.raw for rival in rivals[:-1]]
    assert storage.offer_claim(LOBBY, rivals[2]).verdict is Verdict.SAME


def test_a_newer_version_takes_the_place_of_the_older(storage: RecordStorage) -> None:
    first, rival = account("alice", 1), account("alice", 2)
    newer = _with_sequence(first, 5)
    key = account_key("alice")
    for record in (first, rival):
        storage.offer_claim(key, record)
    assert storage.offer_claim(key, newer).verdict is Verdict.NEWER
    assert raws(storage, key) == [newer.raw, rival.raw]
    assert storage.offer_claim(key, first) == (Verdict.REFUSED, Reason.STALE, 5)


def _with_sequence(record: Signed[Account], sequence: int) -> Signed[Account]:
    identity = unlock_account(record, PASSWORD, parameters=SIM)
    return sign_body(msgspec.structs.replace(record.body, sequence=sequence), identity, SIM.network_id)


def test_what_does_not_belong_is_refused(storage: RecordStorage) -> None:
    assert storage.offer_claim(account_key("bob"), account("alice", 1)).reason is Reason.WRONG_PLACE
    assert storage.offer_claim(LOBBY, account("alice", 1)).reason is Reason.WRONG_PLACE
    assert len(storage) == 0


def test_the_owner_the_others_agreed_on_is_put_first(storage: RecordStorage) -> None:
    rivals = [room("#lobby", seed) for seed in range(CLAIMS_PER_NAME_MAX)]
    for rival in rivals:
        storage.offer_claim(LOBBY, rival)
    storage.put_first(LOBBY, rivals[2])
    assert raws(storage, LOBBY) == [rivals[i].raw for i in (2, 0, 1, 3)]
    stranger = room("#lobby", 99)
    storage.put_first(LOBBY, stranger)
    assert raws(storage, LOBBY) == [record.raw for record in (stranger, rivals[2], rivals[0], rivals[1])]
    assert len(storage) == CLAIMS_PER_NAME_MAX


def test_putting_first_never_brings_an_older_version_back(storage: RecordStorage) -> None:
    first = account("alice", 1)
    newer = _with_sequence(first, 5)
    key = account_key("alice")
    storage.offer_claim(key, newer)
    storage.put_first(key, first)
    assert raws(storage, key) == [newer.raw]


# --- entries ----------------------------------------------------------------------------------------------------------


def sequences(storage: RecordStorage, key: RecordKey = HER_SET) -> list[int]:
    return [held.record.body.sequence for held in storage.entries(key, "presence")]


def test_an_entry_dies_with_its_time_to_live(storage: RecordStorage, clock: FixedClock) -> None:
    storage.offer_entry(HER_SET, presence(ALICE, 1, clock.wall()))
    clock.advance(PRESENCE_TTL_S - 1)
    assert sequences(storage) == [1]
    clock.advance(1)
    assert sequences(storage) == []
    clock.advance(STORAGE_SWEEP_S)
    storage.sweep()
    assert len(storage) == 0
    assert storage.bytes_held == 0


def test_an_entry_that_was_handed_on_dies_when_the_original_does(storage: RecordStorage, clock: FixedClock) -> None:
    storage.offer_entry(HER_SET, presence(ALICE, 1, clock.wall()), remaining_s=10.0)
    (held,) = storage.entries(HER_SET, "presence")
    assert held.remaining_s == pytest.approx(10.0)
    clock.advance(10)
    assert sequences(storage) == []


def test_the_same_bytes_again_live_no_longer_than_from_their_first_receipt(
    storage: RecordStorage, clock: FixedClock
) -> None:
    record = presence(ALICE, 1, clock.wall())
    storage.offer_entry(HER_SET, record)
    for _ in range(PRESENCE_TTL_S // 10):
        clock.advance(10)
        storage.offer_entry(HER_SET, record)
        storage.offer_entry(HER_SET, record, remaining_s=PRESENCE_TTL_S)
    assert sequences(storage) == []


def test_a_hand_off_with_a_short_life_does_not_kill_what_its_owner_sends(
    storage: RecordStorage, clock: FixedClock
) -> None:
    """Attack: hand a fresh record on with a moment of life before its owner gets here."""
    record = presence(ALICE, 1, clock.wall())
    storage.offer_entry(HER_SET, record, remaining_s=1.0)
    assert storage.offer_entry(HER_SET, record).verdict is Verdict.SAME
    clock.advance(PRESENCE_TTL_S - 1)
    assert sequences(storage) == [1]


def test_what_has_died_does_not_come_back_while_its_bytes_could_be_replayed(
    storage: RecordStorage, clock: FixedClock
) -> None:
    record = presence(ALICE, 7, clock.wall())
    storage.offer_entry(HER_SET, record)
    clock.advance(PRESENCE_TTL_S + STORAGE_SWEEP_S)
    storage.sweep()
    assert storage.offer_entry(HER_SET, record) == (Verdict.REFUSED, Reason.STALE, 7)
    clock.advance(CLOCK_SKEW_S)
    assert storage.offer_entry(HER_SET, record).reason is Reason.EXPIRED
    storage.sweep()
    assert storage._memories == 0, "and what cannot be replayed any more is forgotten"


def test_a_tombstone_hides_older_versions_and_is_served(storage: RecordStorage, clock: FixedClock) -> None:
    old = presence(ALICE, 1, clock.wall())
    storage.offer_entry(HER_SET, old)
    storage.offer_entry(HER_SET, presence(ALICE, 2, clock.wall(), gone=True))
    assert storage.offer_entry(HER_SET, old) == (Verdict.REFUSED, Reason.STALE, 2)
    (held,) = storage.entries(HER_SET, "presence")
    assert held.record.body.gone


def test_of_one_owner_the_oldest_device_goes(storage: RecordStorage, clock: FixedClock) -> None:
    for device in range(DEVICES_PER_OWNER_MAX + 2):
        clock.advance(1)
        storage.offer_entry(HER_SET, presence(ALICE, 100 + device, clock.wall(), device=device))
    assert sorted(sequences(storage)) == list(range(102, 100 + DEVICES_PER_OWNER_MAX + 2))
    ancient = presence(ALICE, 1, clock.wall() - 60, device=77)
    assert storage.offer_entry(HER_SET, ancient).reason is Reason.FULL, "an older one pushes nobody out"


def test_tombstones_are_the_first_to_go(storage: RecordStorage, clock: FixedClock) -> None:
    storage.offer_entry(HER_SET, presence(ALICE, 50, clock.wall() + 5, device=0, gone=True))
    for device in range(1, DEVICES_PER_OWNER_MAX + 1):
        storage.offer_entry(HER_SET, presence(ALICE, device, clock.wall(), device=device))
    assert 50 not in sequences(storage)
    left_behind = presence(ALICE, 49, clock.wall(), device=0)
    assert storage.offer_entry(HER_SET, left_behind).reason is Reason.STALE, "its sequence number stays"


def test_a_person_may_keep_more_rooms_listed_than_devices(storage: RecordStorage, clock: FixedClock) -> None:
    for number in range(3 * DEVICES_PER_OWNER_MAX):
        listing = RoomListing(f"#r{number}", number.to_bytes(32, "big"), "", 1, 1, int(clock.wall()), 60, False)
        storage.offer_entry(room_directory_key(), sign_body(listing, ALICE, SIM.network_id))
    assert len(list(storage.entries(room_directory_key(), "room-listing"))) == 3 * DEVICES_PER_OWNER_MAX


def test_a_full_leaf_splits_and_takes_no_more(
    storage: RecordStorage, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "LEAF_ENTRIES_MAX", 3)
    lobby = RoomId(bytes(32))
    kept = [
        storage.offer_entry(membership_key(lobby), membership(key_of(seed), lobby, 1, clock.wall()))
        for seed in range(5)
    ]
    assert [one.reason for one in kept] == [Reason.NONE] * 3 + [Reason.SPLIT] * 2


def test_pages_go_by_entry_id_and_leave_nothing_out(storage: RecordStorage, clock: FixedClock) -> None:
    lobby = RoomId(bytes(32))
    for seed in range(20):
        storage.offer_entry(membership_key(lobby), membership(key_of(seed), lobby, 1, clock.wall()))
    everything = [
        held.record.body.entry_id(held.record.key) for held in storage.entries(membership_key(lobby), "membership")
    ]
    assert everything == sorted(everything)
    after = everything[7]
    rest = storage.entries(membership_key(lobby), "membership", after)
    assert [held.record.body.entry_id(held.record.key) for held in rest] == everything[8:]
    assert list(storage.entries(membership_key(lobby), "presence")) == []


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_full_shelf_refuses_what_is_soft_and_makes_room_for_what_is_durable(
    storage: RecordStorage, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "STORAGE_ENTRIES_MAX", 6)
    lobby = RoomId(bytes(32))
    soft = [
        storage.offer_entry(membership_key(lobby), membership(key_of(seed), lobby, 1, clock.wall()))
        for seed in range(8)
    ]
    assert [one.reason for one in soft].count(Reason.FULL) == 2
    durable = [storage.offer_claim(room_key(f"#r{seed}"), room(f"#r{seed}", seed)) for seed in range(8)]
    assert [one.reason for one in durable].count(Reason.FULL) == 2
    assert len(storage) == 6


def test_bytes_are_bounded_too(storage: RecordStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(room("#r0", 0).raw)
    monkeypatch.setattr(storage_module, "STORAGE_BYTES_MAX", 3 * size)
    for seed in range(8):
        storage.offer_claim(room_key(f"#r{seed}"), room(f"#r{seed}", seed))
    assert storage.bytes_held == 3 * size


def test_remembered_sequence_numbers_are_bounded(
    storage: RecordStorage, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "SEQUENCES_REMEMBERED_MAX", 5)
    lobby = RoomId(bytes(32))
    for seed in range(10):
        storage.offer_entry(membership_key(lobby), membership(key_of(seed), lobby, 1, clock.wall()))
    assert storage._memories == 5


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_claims_are_there_after_a_restart_in_their_order(tmp_path: Path, clock: FixedClock) -> None:
    file = tmp_path / "records.sqlite"
    before = RecordStorage(file, parameters=SIM, clock=clock)
    rivals = [room("#lobby", seed) for seed in range(3)]
    for rival in rivals:
        before.offer_claim(LOBBY, rival)
    before.put_first(LOBBY, rivals[1])
    before.close()
    after = RecordStorage(file, parameters=SIM, clock=clock)
    assert raws(after, LOBBY) == [rivals[i].raw for i in (1, 0, 2)]
    assert len(after) == 3
    assert after.bytes_held == before.bytes_held
    after.close()


def test_files_are_for_their_owner_only(tmp_path: Path, clock: FixedClock) -> None:
    storage = RecordStorage(tmp_path / "records.sqlite", parameters=SIM, clock=clock)
    storage.offer_claim(LOBBY, room("#lobby", 1))
    files = list(tmp_path.iterdir())
    assert len(files) == 3, "the file, its log and its index"
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    storage.close()


@pytest.mark.parametrize("damage", [b"no database at all" * 100, None], ids=["overwritten", "torn"])
def test_a_damaged_file_is_moved_aside_and_made_anew(
    tmp_path: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    file = tmp_path / "records.sqlite"
    for expected in ("records.sqlite.damaged-1", "records.sqlite.damaged-2"):
        storage = RecordStorage(file, parameters=SIM, clock=clock)
        for seed in range(50):
            storage.offer_claim(room_key(f"#r{seed}"), room(f"#r{seed}", seed))
        storage.close()
        whole = file.read_bytes()
        file.write_bytes(damage or whole[: len(whole) // 2] + bytes(len(whole) // 2))
        with caplog.at_level(logging.WARNING):
            anew = RecordStorage(file, parameters=SIM, clock=clock)
        assert len(anew) == 0
        anew.offer_claim(LOBBY, room("#lobby", 1))
        anew.close()
        assert (tmp_path / expected).exists()
        assert expected in caplog.text


def test_what_does_not_verify_on_disk_is_not_believed(
    tmp_path: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "records.sqlite"
    storage = RecordStorage(file, parameters=SIM, clock=clock)
    storage.offer_claim(LOBBY, room("#lobby", 1))
    storage.close()
    with sqlite3.connect(file) as database:
        (raw,) = database.execute("SELECT raw FROM claims").fetchone()
        database.execute("UPDATE claims SET raw = ?", (raw[:-1] + bytes([raw[-1] ^ 1]),))
    database.close()
    again = RecordStorage(file, parameters=SIM, clock=clock)
    assert again.claims(LOBBY) == []
    assert "does not hold" in caplog.text
    again.close()


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path, clock: FixedClock) -> None:
    file = tmp_path / "records.sqlite"
    RecordStorage(file, parameters=SIM, clock=clock).close()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(DamagedFile, match="newer version"):
        RecordStorage(file, parameters=SIM, clock=clock)
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


def test_two_networks_may_share_a_file(tmp_path: Path, clock: FixedClock) -> None:
    file = tmp_path / "records.sqlite"
    storage = RecordStorage(file, parameters=SIM, clock=clock)
    storage.offer_claim(LOBBY, room("#lobby", 1))
    storage.close()
    other = RecordStorage(file, parameters=MAIN, clock=clock)
    assert other.claims(LOBBY) == []
    other.close()
    again = RecordStorage(file, parameters=SIM, clock=clock)
    assert len(again.claims(LOBBY)) == 1
    again.close()


def test_a_full_disk_refuses_what_is_durable_and_serves_what_it_has(
    tmp_path: Path, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is told "stored" of what a restart would lose; and the node goes on."""
    storage = RecordStorage(tmp_path / "records.sqlite", parameters=SIM, clock=clock)
    assert storage._database is not None
    first, rival = room("#lobby", 1), room("#lobby", 2)
    assert storage.offer_claim(LOBBY, first).verdict is Verdict.NEW
    (pages,) = storage._database.execute("PRAGMA page_count").fetchone()
    storage._database.execute(f"PRAGMA max_page_count = {pages}")
    refused = [storage.offer_claim(room_key(f"#r{n}"), room(f"#r{n}", n)) for n in range(40)][-1]
    assert (refused.verdict, refused.reason) == (Verdict.REFUSED, Reason.FULL)
    before = storage.bytes_held
    assert storage.offer_claim(LOBBY, rival).reason in (Reason.FULL, Reason.NONE)
    assert storage.claims(LOBBY)[0] == first
    assert storage.offer_claim(room_key("#r39"), room("#r39", 39)).reason is Reason.FULL
    assert storage.bytes_held <= before + len(rival.raw)
    assert storage.statistics["disk-failed"] > 1
    assert "cannot write" in caplog.text
    kept = {key for key in storage.claim_keys() if storage.claims(key)}
    storage.close()
    again = RecordStorage(tmp_path / "records.sqlite", parameters=SIM, clock=clock)
    assert {key for key in again.claim_keys() if again.claims(key)} == kept, "what was said to be stored is there"
    again.close()


# --- the library's interface ------------------------------------------------------------------------------------------


def test_the_library_s_own_way_in_applies_the_same_rules(storage: RecordStorage, clock: FixedClock) -> None:
    storage[LOBBY] = room("#lobby", 1).raw
    storage[HER_SET] = presence(ALICE, 1, clock.wall()).raw
    storage[account_key("bob")] = account("alice", 1).raw
    with pytest.raises(MalformedRecord):
        storage[LOBBY] = b"garbage"
    assert storage.get(LOBBY) == room("#lobby", 1).raw
    assert storage.get(account_key("bob")) is None
    assert sorted(storage) == sorted([(LOBBY, room("#lobby", 1).raw), (HER_SET, presence(ALICE, 1, clock.wall()).raw)])
    assert claim_of(storage.claims(LOBBY)[0]) == claim_of(room("#lobby", 1))
