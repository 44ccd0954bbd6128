"""Mailboxes on replicas: who may leave how much, who makes way, what goes and stays gone, what a restart brings back."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.contact import Contact
from dhtchat.dht.mail import Contents, enough_copies
from dhtchat.dht.mail_shelf import Box
from dhtchat.dht.storage import RecordStorage
from dhtchat.ids import Endpoint, NodeId, PeerId, RecordKey
from dhtchat.limits import (
    CLOCK_SKEW_S,
    DEVICES_PER_OWNER_MAX,
    MAIL_FROM_STRANGERS_MAX,
    MAIL_ITEMS_PER_BOX_MAX,
    MAIL_ITEMS_PER_SENDER_MAX,
    MAIL_LIFE_S,
    MAIL_RECEIPT_ITEMS_MAX,
    MAIL_RECEIPT_SLOTS,
    MAIL_SAFE_ITEMS,
)
from dhtchat.parameters import SIM, NetworkParameters
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.mail import (
    SEALED_PART_BYTES,
    Mail,
    Mailbox,
    MailReceipt,
    find_mail_nonce,
    mailbox_place,
    tag_of,
)
from tests.dht.support import FixedClock, key_of, presence, room

BOB = key_of(1)
BOX = mailbox_place(PeerId(BOB.public))
LAPTOP, PHONE = b"l" * 32, b"p" * 32
CONTACT = key_of(2)
COSTLY = msgspec.structs.replace(SIM, name="costly", proof_of_work_bits=13)
"""Eight bits for an item."""


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def storage(clock: FixedClock) -> Iterator[RecordStorage]:
    shelf = RecordStorage(None, parameters=SIM, clock=clock)
    yield shelf
    shelf.close()


def mail(
    sender: SigningKey,
    number: int,
    clock: FixedClock,
    *,
    sequence: int = 1,
    box: bytes = BOB.public,
    ttl_s: int = MAIL_LIFE_S,
    parameters: NetworkParameters = SIM,
    work: bool = False,
) -> Signed[Mail]:
    label = number.to_bytes(16, "big")
    body = Mail(box, label, b"x" * SEALED_PART_BYTES, 0, sequence, int(clock.wall()), ttl_s)
    return _worked(body, sender, parameters, work=work)


def listing(
    *welcome: SigningKey,
    device: bytes = LAPTOP,
    owner: SigningKey = BOB,
    at: FixedClock,
    sequence: int = 1,
    parameters: NetworkParameters = SIM,
    work: bool = False,
) -> Signed[Mailbox]:
    tags = b"".join(tag_of(sender.public) for sender in welcome)
    return _worked(Mailbox(device, tags, 0, sequence, int(at.wall()), MAIL_LIFE_S), owner, parameters, work=work)


def receipt(
    *items: bytes,
    device: bytes = LAPTOP,
    slot: int = 0,
    owner: SigningKey = BOB,
    at: FixedClock,
    sequence: int = 1,
    parameters: NetworkParameters = SIM,
    work: bool = False,
) -> Signed[MailReceipt]:
    body = MailReceipt(device, slot, True, list(items), 0, sequence, int(at.wall()), MAIL_LIFE_S)
    return _worked(body, owner, parameters, work=work)


def _worked(body: object, key: SigningKey, parameters: NetworkParameters, *, work: bool) -> Signed:  # type: ignore[type-arg]
    if work:
        place, entry = body.place(key.public), body.entry_id(key.public)  # type: ignore[attr-defined]
        kind, bits = body.KIND, parameters.mail_work_bits  # type: ignore[attr-defined]
        nonce = find_mail_nonce(kind, place, entry, network_id=parameters.network_id, bits=bits)
        body = msgspec.structs.replace(body, nonce=nonce)  # type: ignore[type-var]
    return sign_body(body, key, parameters.network_id)  # type: ignore[type-var]


def id_of(record: Signed[Mail]) -> bytes:
    return record.body.entry_id(record.key)


def held(storage: RecordStorage, kind: str = "mail", key: RecordKey = BOX) -> set[bytes]:
    return {entry.record.body.entry_id(entry.record.key) for entry in storage.entries(key, kind)}


# --- what goes --------------------------------------------------------------------------------------------------------


def test_an_item_goes_when_every_device_listed_is_done_with_it(storage: RecordStorage, clock: FixedClock) -> None:
    """Fetching clears nothing. One device's receipt neither, while another wants the mail as well."""
    item = mail(CONTACT, 1, clock)
    for record in (item, listing(at=clock), listing(at=clock, device=PHONE)):
        storage.offer_entry(BOX, record)
    storage.offer_entry(BOX, receipt(id_of(item), at=clock))
    assert held(storage) == {id_of(item)}
    assert storage.offer_entry(BOX, mail(CONTACT, 1, clock, sequence=2)).verdict is Verdict.NEWER
    storage.offer_entry(BOX, receipt(id_of(item), at=clock, device=PHONE))
    assert held(storage) == set()
    assert len(list(storage.index(BOX))) == 4


def test_nothing_makes_way_for_what_the_disk_refuses(tmp_path: Path, clock: FixedClock) -> None:
    """Goal: in memory and on disk either the old is there or the new. Method: one device more than may be listed, on a disk
    that still deletes and no longer takes anything."""
    path = tmp_path / "records.db"
    storage = RecordStorage(path, parameters=SIM, clock=clock)
    devices = [bytes([number]) * 32 for number in range(DEVICES_PER_OWNER_MAX + 1)]
    listings = [listing(device=device, at=clock) for device in devices]
    for each in listings[:-1]:
        assert storage.offer_entry(BOX, each).verdict is Verdict.NEW
    assert storage._database is not None
    storage._database.execute("CREATE TRIGGER full BEFORE INSERT ON mail BEGIN SELECT RAISE(ABORT, 'full'); END")
    before, room_taken = held(storage, Mailbox.KIND), storage.mail_held
    assert storage.offer_entry(BOX, listings[-1]).reason is Reason.FULL
    assert (held(storage, Mailbox.KIND), storage.mail_held) == (before, room_taken)
    storage._database.execute("DROP TRIGGER full")
    storage.close()
    again = RecordStorage(path, parameters=SIM, clock=clock)
    assert held(again, Mailbox.KIND) == before
    assert again.offer_entry(BOX, listings[-1]).verdict is Verdict.NEW
    assert len(held(again, Mailbox.KIND)) == DEVICES_PER_OWNER_MAX
    again.close()


def test_what_was_fetched_does_not_come_back(storage: RecordStorage, clock: FixedClock) -> None:
    """Neither the same bytes from a replica that lags, nor sealed anew by an author who has not heard."""
    item = mail(CONTACT, 1, clock)
    storage.offer_entry(BOX, item)
    storage.offer_entry(BOX, receipt(id_of(item), at=clock))
    for again in (item, mail(CONTACT, 1, clock, sequence=2)):
        assert storage.offer_entry(BOX, again).reason is Reason.FETCHED
    assert held(storage) == set()


def test_a_device_that_is_listed_no_longer_is_not_waited_for(storage: RecordStorage, clock: FixedClock) -> None:
    """A laptop that never comes back holds nothing up for longer than its listing lives."""
    storage.offer_entry(BOX, listing(at=clock))
    clock.advance(MAIL_LIFE_S / 2)
    item = mail(CONTACT, 1, clock)
    storage.offer_entry(BOX, item)
    storage.offer_entry(BOX, receipt(id_of(item), at=clock, device=PHONE))
    assert held(storage) == {id_of(item)}
    clock.advance(MAIL_LIFE_S / 2 + 1)
    storage.sweep()
    assert held(storage) == set()


def test_only_the_owner_says_what_is_done_with(storage: RecordStorage, clock: FixedClock) -> None:
    """A receipt, and a welcome, belong into the mailbox of whoever signed them."""
    item = mail(CONTACT, 1, clock)
    storage.offer_entry(BOX, item)
    mallory = key_of(9)
    for forged in (receipt(id_of(item), at=clock, owner=mallory), listing(mallory, at=clock, owner=mallory)):
        assert storage.offer_entry(BOX, forged).reason is Reason.WRONG_PLACE
    assert held(storage) == {id_of(item)}


def test_an_old_receipt_or_listing_does_not_replace_a_newer_one(storage: RecordStorage, clock: FixedClock) -> None:
    for old, new in (
        (listing(CONTACT, at=clock), listing(at=clock, sequence=2)),
        (receipt(b"a" * 16, at=clock), receipt(b"b" * 16, at=clock, sequence=2)),
    ):
        storage.offer_entry(BOX, new)
        assert storage.offer_entry(BOX, old).reason is Reason.STALE


def test_mail_lives_for_14_days_and_not_longer(storage: RecordStorage, clock: FixedClock) -> None:
    item = mail(CONTACT, 1, clock)
    storage.offer_entry(BOX, item)
    clock.advance(MAIL_LIFE_S - 1)
    assert held(storage) == {id_of(item)}
    storage.offer_entry(BOX, item, MAIL_LIFE_S)
    clock.advance(CLOCK_SKEW_S + 1)
    storage.sweep()
    assert held(storage) == set()
    assert storage.mail_held == (0, 0)
    assert storage.offer_entry(BOX, item).reason is Reason.EXPIRED


# --- room -------------------------------------------------------------------------------------------------------------


def test_a_flood_of_strangers_takes_half_and_a_contact_always_finds_room(
    storage: RecordStorage, clock: FixedClock
) -> None:
    """A thousand identities, each with one item: no heaviest among them. What a contact leaves is taken and kept."""
    storage.offer_entry(BOX, listing(CONTACT, at=clock))
    first = mail(CONTACT, 0, clock)
    storage.offer_entry(BOX, first)
    verdicts = [storage.offer_entry(BOX, mail(key_of(100 + n), n, clock)).reason for n in range(1_000)]
    assert verdicts.count(Reason.NONE) == MAIL_FROM_STRANGERS_MAX
    assert verdicts.count(Reason.FULL) == 1_000 - MAIL_FROM_STRANGERS_MAX
    later = [mail(CONTACT, number, clock) for number in range(1, MAIL_ITEMS_PER_SENDER_MAX)]
    assert {storage.offer_entry(BOX, item).verdict for item in later} == {Verdict.NEW}
    assert held(storage) >= {id_of(item) for item in (first, *later)}
    assert len(held(storage)) <= MAIL_ITEMS_PER_BOX_MAX


def test_contacts_push_strangers_out_and_strangers_nobody(storage: RecordStorage, clock: FixedClock) -> None:
    """When all places are taken, the heaviest stranger gives up the last of its items, for a contact."""
    friends = [key_of(200 + n) for n in range(9)]
    storage.offer_entry(BOX, listing(*friends, at=clock))
    heavy, light = key_of(300), [key_of(400 + n) for n in range(450)]
    from_heavy = [mail(heavy, number, clock) for number in range(62)]
    for item in (*from_heavy, *(mail(key, 0, clock) for key in light)):
        assert storage.offer_entry(BOX, item).verdict is Verdict.NEW
    friendly = [mail(friend, number, clock) for friend in friends for number in range(60)]
    for item in friendly:
        assert storage.offer_entry(BOX, item).verdict is Verdict.NEW, "a contact was refused"
    kept = held(storage)
    assert len(kept) == MAIL_ITEMS_PER_BOX_MAX
    assert kept >= {id_of(item) for item in friendly}
    assert kept & {id_of(item) for item in from_heavy} == {id_of(item) for item in from_heavy[:34]}
    assert kept >= {id_of(mail(key, 0, clock)) for key in light}
    assert storage.offer_entry(BOX, mail(key_of(999), 0, clock)).reason in (Reason.FULL, Reason.NONE)
    assert held(storage) >= {id_of(item) for item in friendly}


def test_of_two_strangers_the_heavier_makes_way(storage: RecordStorage, clock: FixedClock) -> None:
    """Eight senders take all strangers' places; a ninth still gets in, and none of the others loses more than its surplus."""
    heavy = [key_of(10 + n) for n in range(8)]
    for sender in heavy:
        for number in range(MAIL_ITEMS_PER_SENDER_MAX):
            storage.offer_entry(BOX, mail(sender, number, clock))
    newcomer = key_of(30)
    verdicts = [storage.offer_entry(BOX, mail(newcomer, n, clock)).verdict for n in range(MAIL_ITEMS_PER_SENDER_MAX)]
    taken = verdicts.count(Verdict.NEW)
    assert taken == verdicts.index(Verdict.REFUSED) >= MAIL_FROM_STRANGERS_MAX // 9
    assert len(held(storage)) == MAIL_FROM_STRANGERS_MAX


def test_many_with_one_item_each_push_nobodys_few_lines_out(storage: RecordStorage, clock: FixedClock) -> None:
    """What an honest stranger has left, and was told is stored, stays: being the heaviest of a crowd is no fault."""
    honest = key_of(10)
    items = [mail(honest, number, clock) for number in range(MAIL_SAFE_ITEMS + 5)]
    for item in items:
        storage.offer_entry(BOX, item)
    for number in range(1_000):
        storage.offer_entry(BOX, mail(key_of(1_000 + number), 0, clock))
    assert held(storage) >= {id_of(item) for item in items[:MAIL_SAFE_ITEMS]}
    assert len(held(storage)) == MAIL_FROM_STRANGERS_MAX


def test_a_sender_has_so_many_items(storage: RecordStorage, clock: FixedClock) -> None:
    """And loses none of those that were acknowledged for one more."""
    storage.offer_entry(BOX, listing(CONTACT, at=clock))
    items = [mail(CONTACT, number, clock) for number in range(MAIL_ITEMS_PER_SENDER_MAX + 1)]
    assert [storage.offer_entry(BOX, item).reason for item in items[-2:]] == [Reason.NONE, Reason.NONE]
    for item in items[:-2]:
        storage.offer_entry(BOX, item)
    assert len(held(storage)) == MAIL_ITEMS_PER_SENDER_MAX
    assert storage.offer_entry(BOX, mail(CONTACT, 99, clock)).reason is Reason.FULL


def test_an_owner_has_so_many_devices_and_receipts(storage: RecordStorage, clock: FixedClock) -> None:
    """The oldest goes."""
    for number in range(DEVICES_PER_OWNER_MAX + 3):
        device = bytes([number]) * 32
        storage.offer_entry(BOX, listing(at=clock, device=device))
        for slot in range(MAIL_RECEIPT_SLOTS):
            storage.offer_entry(BOX, receipt(bytes([number, slot]) * 8, at=clock, device=device, slot=slot))
    assert len(held(storage, "mailbox")) == DEVICES_PER_OWNER_MAX
    assert len(held(storage, "mail-receipt")) == DEVICES_PER_OWNER_MAX * MAIL_RECEIPT_SLOTS
    assert BOB.public + bytes([DEVICES_PER_OWNER_MAX + 2]) * 32 in held(storage, "mailbox")


def test_mail_leaves_room_for_everything_else(
    storage: RecordStorage, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all mailboxes together a node keeps so much, and pushes no mail out of one for another: whoever makes many small
    ones gains nothing. Presence is kept, and what is durable pushes no mail out."""
    monkeypatch.setattr("dhtchat.dht.storage.MAIL_STORED_ENTRIES_MAX", 100)
    monkeypatch.setattr("dhtchat.dht.storage.STORAGE_ENTRIES_MAX", 120)
    items = [mail(CONTACT, number, clock) for number in range(20)]
    for item in items:
        storage.offer_entry(BOX, item)
    small = [key_of(700 + number) for number in range(200)]
    reasons = [
        storage.offer_entry(mailbox_place(PeerId(owner.public)), mail(CONTACT, 1, clock, box=owner.public)).reason
        for owner in small
    ]
    assert reasons == [Reason.NONE] * 80 + [Reason.FULL] * 120
    assert held(storage) == {id_of(item) for item in items}
    assert storage.mail_held[0] == 100
    for seed in range(40):
        owner = key_of(600 + seed)
        storage.offer_entry(_presence_place(owner), presence(owner, 1, clock.wall()))
    claims = [room(f"#r{number}", number) for number in range(40)]
    refusals = [storage.offer_claim(record.body.place(record.key), record).reason for record in claims]
    assert refusals.count(Reason.NONE) == 20
    assert storage.mail_held[0] == 100
    assert len(storage) == 120


def _presence_place(owner: SigningKey) -> RecordKey:
    return presence(owner, 1, 0).body.place(owner.public)


class _Model:
    """What a box should say, worked out anew each time."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Signed] = {}  # type: ignore[type-arg]

    def fetched(self) -> set[bytes]:
        bodies = [record.body for record in self.entries.values()]
        listed = {body.device for body in bodies if isinstance(body, Mailbox)}
        done: dict[bytes, set[bytes]] = {}
        for body in bodies:
            if isinstance(body, MailReceipt):
                done.setdefault(body.device, set()).update(body.items)
        items = {entry for entry, record in self.entries.items() if isinstance(record.body, Mail)}
        somebody = set().union(*done.values())
        return {item for item in items & somebody if all(item in done.get(device, ()) for device in listed)}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_a_box_says_what_its_entries_say(seed: int) -> None:
    """Whatever comes and goes in whatever order, what may go is what every listed device is done with."""
    rng, clock, box, model = random.Random(seed), FixedClock(), Box(), _Model()
    senders, devices = [key_of(n) for n in range(3)], [bytes([n]) * 32 for n in range(3)]
    items = [mail(sender, number, clock) for sender in senders for number in range(3)]
    for _ in range(60):
        done = rng.sample([id_of(item) for item in items], rng.randrange(len(items)))
        record = rng.choice(
            [
                rng.choice(items),
                listing(*rng.sample(senders, rng.randrange(3)), device=rng.choice(devices), at=clock),
                receipt(*done, device=rng.choice(devices), slot=rng.randrange(2), at=clock),
            ]
        )
        entry = record.body.entry_id(record.key)
        if entry in model.entries and rng.random() < 0.5:
            box.remove(entry, model.entries.pop(entry))
        else:
            box.put(entry, record)
            model.entries[entry] = record
        assert set(box.fetched()) == model.fetched()
        assert all(box.is_fetched(item) for item in model.fetched())
        assert box.items == sum(isinstance(r.body, Mail) for r in model.entries.values())
        assert len(box) == len(model.entries)


# --- work -------------------------------------------------------------------------------------------------------------


def test_strangers_work_and_those_who_are_welcome_do_not(clock: FixedClock) -> None:
    storage = RecordStorage(None, parameters=COSTLY, clock=clock)
    idle = mail(key_of(7), 257, clock, parameters=COSTLY)
    assert storage.offer_entry(BOX, idle).reason is Reason.NO_WORK
    assert storage.offer_entry(BOX, mail(key_of(7), 257, clock, parameters=COSTLY, work=True)).verdict is Verdict.NEW
    lazy = listing(CONTACT, at=clock, parameters=COSTLY)
    assert storage.offer_entry(BOX, lazy).reason is Reason.NO_WORK
    assert storage.offer_entry(BOX, receipt(b"i" * 16, at=clock, parameters=COSTLY)).reason is Reason.NO_WORK
    storage.offer_entry(BOX, listing(CONTACT, at=clock, parameters=COSTLY, work=True))
    assert storage.offer_entry(BOX, mail(CONTACT, 1, clock, parameters=COSTLY)).verdict is Verdict.NEW
    assert storage.offer_entry(BOX, receipt(b"i" * 16, at=clock, parameters=COSTLY, work=True)).verdict is Verdict.NEW


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_a_restart_brings_mail_back_but_not_what_was_fetched_or_has_died(tmp_path: Path, clock: FixedClock) -> None:
    """Mail lives for days, and a small network goes to bed at night."""
    path = tmp_path / "records.db"
    storage = RecordStorage(path, parameters=COSTLY, clock=clock)
    storage.offer_entry(BOX, listing(CONTACT, at=clock, parameters=COSTLY, work=True))
    items = [mail(CONTACT, number, clock, parameters=COSTLY) for number in range(5)]
    dying = mail(CONTACT, 9, clock, ttl_s=50, parameters=COSTLY)
    for item in (*items, dying):
        assert storage.offer_entry(BOX, item).verdict is Verdict.NEW
    storage.offer_entry(BOX, receipt(id_of(items[0]), at=clock, parameters=COSTLY, work=True))
    storage.close()
    clock.advance(60)
    storage = RecordStorage(path, parameters=COSTLY, clock=clock)
    assert held(storage) == {id_of(item) for item in items[1:]}
    assert len(held(storage, "mailbox")) == len(held(storage, "mail-receipt")) == 1
    assert storage.mail_held[0] == len(storage) == 6
    assert storage.offer_entry(BOX, items[0]).reason is Reason.FETCHED
    storage.close()
    other_network = RecordStorage(path, parameters=SIM, clock=clock)
    assert len(other_network) == 0
    other_network.close()


def test_changed_mail_on_the_disk_is_not_believed(tmp_path: Path, clock: FixedClock) -> None:
    path = tmp_path / "records.db"
    storage = RecordStorage(path, parameters=SIM, clock=clock)
    item = mail(CONTACT, 1, clock)
    storage.offer_entry(BOX, item)
    storage.close()
    database = path.read_bytes()
    wal = path.with_name("records.db-wal")
    for file in (path, wal):
        if file.exists():
            file.write_bytes(file.read_bytes().replace(b"x" * 100, b"y" * 100))
    assert path.read_bytes() != database or wal.exists()
    storage = RecordStorage(path, parameters=SIM, clock=clock)
    assert held(storage) == set()
    storage.close()


# --- what replicas say ------------------------------------------------------------------------------------------------


def contact(number: int) -> Contact:
    return Contact(NodeId(bytes([number]) * 20), Endpoint("192.0.2.7", number))


def test_a_liar_crowds_nothing_out() -> None:
    """It names as many items as it likes, sorting first: what most replicas have is fetched first all the same."""
    real = [bytes([255, number]) * 8 for number in range(10)]
    fakes = [number.to_bytes(16, "big") for number in range(2_000)]
    honest = dict.fromkeys(real, 1)
    contents = Contents({contact(1): honest, contact(2): honest, contact(3): dict.fromkeys(fakes, 2**62)})
    assert contents.items()[:10] == sorted(real)
    assert len(contents.items()) == MAIL_ITEMS_PER_BOX_MAX
    assert contents.holders(real[0]) == [contact(1), contact(2)]


def test_who_lacks_what_is_told_by_our_own_version() -> None:
    contents = Contents({contact(1): {b"e" * 64: 5}, contact(2): {}, contact(3): {b"e" * 64: 2**62}})
    assert contents.lacking(b"e" * 64, 7) == [contact(1), contact(2)]
    assert contents.items() == []


@pytest.mark.parametrize(
    ("copies", "asked", "nodes", "enough"),
    [
        (0, 0, 1, False),
        (1, 1, 2, True),
        (1, 2, 3, False),
        (2, 2, 3, True),
        (2, 4, 5, False),
        (4, 8, 30, False),
        (5, 8, 30, True),
    ],
)
def test_stored_is_said_when_most_of_the_others_hold_it(copies: int, asked: int, nodes: int, enough: bool) -> None:
    """And never of a single copy, while there are more nodes than one other."""
    assert enough_copies(copies, asked, nodes_known=nodes) is enough


def test_a_receipt_can_name_all_that_a_box_can_hold() -> None:
    assert MAIL_RECEIPT_SLOTS * MAIL_RECEIPT_ITEMS_MAX >= MAIL_ITEMS_PER_BOX_MAX
