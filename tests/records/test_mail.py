"""Letters: cut, sealed for one person, opened by that person, and by nobody else; and the work that they cost."""

import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhtchat.crypto.identity import SigningKey, mailbox_key_of
from dhtchat.crypto.sealing import SEAL_BYTES, Correspondence, open_sealed, seal_for
from dhtchat.errors import MalformedRecord
from dhtchat.ids import MessageId, PeerId
from dhtchat.limits import MAIL_PARTS_MAX, MAIL_PLAIN_BYTES, MAIL_WELCOME_MAX, RECORD_BYTES_MAX
from dhtchat.parameters import MAIN, SIM
from dhtchat.records.envelope import Signed, sign_body
from dhtchat.records.mail import (
    CHUNK_BYTES,
    TAG_BYTES,
    Mail,
    Mailbox,
    Part,
    cut_letter,
    find_mail_nonce,
    items_of,
    mail_work_bits,
    open_part,
    pack_part,
    seal_part,
    tag_of,
    unpack_part,
    welcome_tags,
)
from dhtchat.records.message import MESSAGE_BYTES_MAX
from tests.records.samples import ALICE, BOB, NETWORK, NOW_S

LETTER = MessageId(b"i" * 16)
MALLORY = SigningKey(b"m" * 32)
ALICES, BOBS, MALLORYS = (Correspondence(key, NETWORK) for key in (ALICE, BOB, MALLORY))


def mailbox_key(person: SigningKey) -> bytes:
    return mailbox_key_of(person.seed).public_key().public_bytes_raw()


def sealed(part: Part, *, sequence: int = 1, network_id: bytes = NETWORK) -> Signed[Mail]:
    """From Alice to Bob."""
    sender = ALICES.writes_as(BOB.public, mailbox_key(BOB))
    return seal_part(
        part,
        sender,
        PeerId(BOB.public),
        mailbox_key(BOB),
        nonce=0,
        sequence=sequence,
        issued_at_s=NOW_S,
        ttl_s=100,
        network_id=network_id,
    )


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=1, max_size=MESSAGE_BYTES_MAX))
def test_a_letter_comes_out_as_it_went_in(statement: bytes) -> None:
    """Any bytes, cut, packed, sealed, opened and joined."""
    parts = cut_letter(LETTER, statement)
    opened = [open_part(sealed(part), BOBS, NETWORK) for part in parts]
    assert opened == parts
    assert b"".join(part.chunk for part in opened) == statement
    assert [part.number for part in opened] == list(range(opened[0].total))


def test_the_longest_letter_has_the_most_parts() -> None:
    assert len(cut_letter(LETTER, bytes(MESSAGE_BYTES_MAX))) == MAIL_PARTS_MAX
    assert len(cut_letter(LETTER, bytes(CHUNK_BYTES))) == 1


def test_all_parts_have_one_size() -> None:
    """A replica sees how many there are, and not how long a line is."""
    parts = [*cut_letter(LETTER, b"x"), *cut_letter(LETTER, bytes(CHUNK_BYTES + 1))]
    records = [sealed(part) for part in parts]
    assert len({len(record.raw) for record in records}) == 1
    assert {len(record.body.sealed) for record in records} == {MAIL_PLAIN_BYTES + SEAL_BYTES}
    assert len(records[0].raw) <= RECORD_BYTES_MAX


def test_nobody_else_opens_it() -> None:
    """Not a third, not the author; and of what replicas see nothing is in it that was in the line, or names the author."""
    mail = sealed(Part(LETTER, 0, 1, b"psst, bob"))
    for other in (ALICES, MALLORYS):
        with pytest.raises(MalformedRecord):
            open_part(mail, other, NETWORK)
    for secret in (b"psst", LETTER, ALICE.public, mailbox_key(ALICE)):
        assert secret not in mail.raw


def test_one_bit_or_another_place_and_it_does_not_open() -> None:
    """Copied under another signer, label, mailbox or network: the seal is bound to all of them."""
    mail = sealed(Part(LETTER, 0, 1, b"psst"))
    body = mail.body
    flipped = bytes([body.sealed[0] ^ 1]) + body.sealed[1:]
    torn = body.sealed[:-1] + bytes([body.sealed[-1] ^ 1])
    sender = ALICES.writes_as(BOB.public, mailbox_key(BOB))
    copies = [
        sign_body(body, MALLORY, NETWORK),
        sign_body(msgspec.structs.replace(body, label=b"o" * 16), sender, NETWORK),
        sign_body(msgspec.structs.replace(body, box=MALLORY.public), sender, NETWORK),
        sign_body(msgspec.structs.replace(body, sealed=flipped), sender, NETWORK),
        sign_body(msgspec.structs.replace(body, sealed=torn), sender, NETWORK),
    ]
    for copy in copies:
        with pytest.raises(MalformedRecord):
            open_part(copy, BOBS, NETWORK)
    with pytest.raises(MalformedRecord):
        open_part(mail, BOBS, MAIN.network_id)


def test_it_lies_under_the_mailbox_and_its_signer_is_in_its_name() -> None:
    """So nobody replaces or squats somebody else's item."""
    mail = sealed(Part(LETTER, 0, 1, b"psst"))
    copy = sign_body(mail.body, MALLORY, NETWORK)
    assert mail.body.place(mail.key) == copy.body.place(copy.key) == Mailbox.place(_listing(b""), BOB.public)
    assert mail.body.entry_id(mail.key) != copy.body.entry_id(copy.key)


def _listing(welcome: bytes) -> Mailbox:
    return Mailbox(b"d" * 32, welcome, 0, 1, NOW_S, 100)


def test_a_letter_sent_again_is_the_same_items() -> None:
    """From another device of the author as well: nothing is in the box twice. Sealed anew they differ in bytes only."""
    statement = bytes(2 * CHUNK_BYTES)
    sender = ALICES.writes_as(BOB.public, mailbox_key(BOB))
    first, again = ([sealed(part, sequence=sequence) for part in cut_letter(LETTER, statement)] for sequence in (1, 2))
    ids = [record.body.entry_id(record.key) for record in first]
    assert ids == [record.body.entry_id(record.key) for record in again] == items_of(sender, LETTER, statement)
    assert len(set(ids)) == 2
    assert first[0].body.sealed != again[0].body.sealed


def test_two_people_know_the_sender_and_to_others_it_is_nobody() -> None:
    """The recipient can name the key before the first letter; to each recipient it is another, and the way back too."""
    to_bob = ALICES.writes_as(BOB.public, mailbox_key(BOB)).public
    assert BOBS.is_written_by(ALICE.public, mailbox_key(ALICE)) == to_bob
    to_mallory = ALICES.writes_as(MALLORY.public, mailbox_key(MALLORY)).public
    back = BOBS.writes_as(ALICE.public, mailbox_key(ALICE)).public
    elsewhere = Correspondence(ALICE, MAIN.network_id).writes_as(BOB.public, mailbox_key(BOB)).public
    assert len({to_bob, to_mallory, back, elsewhere, ALICE.public}) == 5
    assert MALLORYS.is_written_by(ALICE.public, mailbox_key(ALICE)) != to_bob


@pytest.mark.parametrize("key", [bytes(32), b"\1" + bytes(31)])
def test_a_mailbox_key_that_nobody_has_is_refused(key: bytes) -> None:
    """Points of small order: what is sealed for them opens for everybody."""
    with pytest.raises(MalformedRecord):
        seal_for(key, b"x", context=b"")
    with pytest.raises(MalformedRecord):
        ALICES.writes_as(BOB.public, key)


@given(st.binary(max_size=MAIL_PLAIN_BYTES + 100))
def test_no_bytes_hurt_who_opens_them(rubbish: bytes) -> None:
    for opening in (lambda: open_sealed(BOBS.mailbox_secret, rubbish, context=b""), lambda: unpack_part(rubbish)):
        with pytest.raises(MalformedRecord):
            opening()


@pytest.mark.parametrize(
    ("number", "total", "size"),
    [(0, 0, 1), (1, 1, 1), (0, MAIL_PARTS_MAX + 1, CHUNK_BYTES), (0, 1, 0), (0, 2, CHUNK_BYTES - 1), (0, 1, 60_000)],
)
def test_a_part_that_cannot_be_is_refused(number: int, total: int, size: int) -> None:
    plain = LETTER + bytes((number, total)) + size.to_bytes(2, "big")
    with pytest.raises(MalformedRecord):
        unpack_part(plain.ljust(MAIL_PLAIN_BYTES, b"x"))


def test_sealed_bytes_of_yesterday_open() -> None:
    """RFC 9180 base mode with suite 0x0020, 0x0001, 0x0003: fixed here, because sealing draws its own key each time."""
    assert open_sealed(BOBS.mailbox_secret, bytes.fromhex(SEALED_YESTERDAY), context=b"context") == b"good morning"


SEALED_YESTERDAY = "635eb1a7dbdabe44b449d0bba4d9a2f6058718c97a0eba216f34cf76a10d4f7ab786a4dde60ad85c5297565d0c5af8544c54cc07358ce047f4061f40"


# --- welcome ----------------------------------------------------------------------------------------------------------


def test_a_welcome_does_not_tell_how_many_are() -> None:
    """Always as many tags, those of nobody the same each time; everybody named is among them."""
    senders = [random.Random(number).randbytes(32) for number in range(MAIL_WELCOME_MAX + 5)]
    lists = [welcome_tags(senders[:count], BOBS) for count in (0, 3, MAIL_WELCOME_MAX, MAIL_WELCOME_MAX + 5)]
    assert {len(tags) for tags in lists} == {MAIL_WELCOME_MAX * TAG_BYTES}
    for count, tags in zip((0, 3, MAIL_WELCOME_MAX), lists, strict=False):
        named = _listing(tags).tags()
        assert {tag_of(sender) for sender in senders[:count]} <= named
        assert tag_of(senders[-1]) not in named
    assert lists[0] == welcome_tags([], BOBS)
    assert len(_listing(lists[0]).tags() & _listing(lists[1]).tags()) == MAIL_WELCOME_MAX - 3
    for tags in lists:
        assert all(a < b for a, b in pairwise(tags[at : at + TAG_BYTES] for at in range(0, len(tags), TAG_BYTES)))


def test_half_a_tag_is_malformed() -> None:
    with pytest.raises(ValueError, match="tag"):
        _listing(b"t" * 9)


# --- work -------------------------------------------------------------------------------------------------------------


def test_work_is_for_one_item_of_one_mailbox_and_counts_for_its_later_versions() -> None:
    part = Part(LETTER, 0, 1, b"psst")
    mail = sealed(part)
    place, entry = mail.body.place(mail.key), mail.body.entry_id(mail.key)
    nonce = find_mail_nonce(Mail.KIND, place, entry, network_id=NETWORK, bits=10)
    sender = ALICES.writes_as(BOB.public, mailbox_key(BOB))

    def bits(**changed: object) -> int:
        body = msgspec.structs.replace(mail.body, nonce=nonce, **changed)
        return mail_work_bits(sign_body(body, sender, NETWORK), NETWORK)

    assert bits() >= 10
    assert bits(sequence=9, sealed=b"y" * len(mail.body.sealed)) == bits()
    others = [bits(label=bytes([n]) * 16) for n in range(20)] + [bits(box=bytes([n]) * 32) for n in range(20)]
    assert sum(other >= 10 for other in others) <= 2
    assert find_mail_nonce(Mail.KIND, place, entry, network_id=NETWORK, bits=0) == 0


def test_work_is_a_32nd_of_an_accounts_and_nothing_in_the_simulator() -> None:
    assert (MAIN.mail_work_bits, SIM.mail_work_bits) == (15, 0)


def test_pack_and_unpack_fit() -> None:
    part = Part(LETTER, 3, 5, bytes(CHUNK_BYTES))
    assert unpack_part(pack_part(part)) == part
