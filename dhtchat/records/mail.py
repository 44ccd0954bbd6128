"""Mail for somebody who is not there: sealed parts in a set, and what its owner says of them. Soft, but for 14 days.

A letter is one statement, cut into parts that all have the same size. Everything about one mailbox lies under one key:

- `mail`: a part, signed by a key that only its two people know the meaning of (`crypto/sealing.py`);
- `mailbox`: one entry per device of the owner: this device will want the mail too, and these senders are welcome;
- `mail-receipt`: which items a device is done with. For the replicas: what every device listed is done with may go. For the
  author: it has arrived.

All three cost work, because they live long; a sender who is welcome is let off.
"""

import functools
import hashlib
import itertools
from collections.abc import Iterable
from typing import Annotated, ClassVar, Final, NamedTuple

from msgspec import Meta

from dhtchat.crypto.identity import SigningKey
from dhtchat.crypto.sealing import SEAL_BYTES, Correspondence, open_sealed, seal_for
from dhtchat.errors import MalformedRecord
from dhtchat.ids import MESSAGE_ID_BYTES, MessageId, PeerId, RecordKey, labelled_hash
from dhtchat.limits import (
    MAIL_ITEM_ID_BYTES,
    MAIL_LABEL_BYTES,
    MAIL_PARTS_MAX,
    MAIL_PLAIN_BYTES,
    MAIL_RECEIPT_ITEMS_MAX,
    MAIL_RECEIPT_SLOTS,
    MAIL_WELCOME_MAX,
    NODE_ID_BYTES,
    PLACES_CACHED,
)
from dhtchat.records.claims import NONCE_MAX
from dhtchat.records.envelope import Body, Key, Sequence, Signed, UnixSeconds, sign_body
from dhtchat.records.soft import TtlSeconds

SEALED_PART_BYTES: Final = MAIL_PLAIN_BYTES + SEAL_BYTES
TAG_BYTES: Final = 8
"""Of what a sender is recognised by: among MAIL_WELCOME_MAX tags, finding a key for one takes 2^58 tries."""
_PLACE_BYTES: Final = MESSAGE_ID_BYTES + 1 + 1 + 2
CHUNK_BYTES: Final = MAIL_PLAIN_BYTES - _PLACE_BYTES
"""Of a letter in one part."""

ItemId = Annotated[bytes, Meta(min_length=MAIL_ITEM_ID_BYTES, max_length=MAIL_ITEM_ID_BYTES)]
Nonce = Annotated[int, Meta(ge=0, le=NONCE_MAX)]


class _MailboxBody(Body, frozen=True):
    """What the three have in common: no name and no goodbye."""

    @property
    def name(self) -> str:
        return ""

    @property
    def gone(self) -> bool:
        return False


class Mail(_MailboxBody, frozen=True):
    """One part, in the mailbox of `box`. Nothing in it tells whose it is but to whoever can open it."""

    KIND: ClassVar[str] = "mail"

    box: Key
    label: Annotated[bytes, Meta(min_length=MAIL_LABEL_BYTES, max_length=MAIL_LABEL_BYTES)]
    sealed: Annotated[bytes, Meta(min_length=SEALED_PART_BYTES, max_length=SEALED_PART_BYTES)]
    nonce: Nonce
    sequence: Sequence
    issued_at_s: UnixSeconds
    ttl_s: TtlSeconds

    def place(self, key: bytes) -> RecordKey:
        return mailbox_place(PeerId(self.box))

    def entry_id(self, key: bytes) -> bytes:
        """MAIL_ITEM_ID_BYTES: what receipts name it by. The signer is in it, so nobody takes the place of another's."""
        return item_id_of(key, self.label)


class Mailbox(_MailboxBody, frozen=True):
    """Signed by the owner. `welcome`: tags of those who need no work and whose mail goes before that of strangers."""

    KIND: ClassVar[str] = "mailbox"

    device: Key
    welcome: Annotated[bytes, Meta(max_length=MAIL_WELCOME_MAX * TAG_BYTES)]
    nonce: Nonce
    sequence: Sequence
    issued_at_s: UnixSeconds
    ttl_s: TtlSeconds

    def __post_init__(self) -> None:
        if len(self.welcome) % TAG_BYTES:
            raise ValueError("half a tag")

    def tags(self) -> frozenset[bytes]:
        return frozenset(self.welcome[at : at + TAG_BYTES] for at in range(0, len(self.welcome), TAG_BYTES))

    def place(self, key: bytes) -> RecordKey:
        return mailbox_place(PeerId(key))

    def entry_id(self, key: bytes) -> bytes:
        return key + self.device


class MailReceipt(_MailboxBody, frozen=True):
    """Signed by the owner. `taken`: the items are parts of letters on that device's disk; else they are of no use to it."""

    KIND: ClassVar[str] = "mail-receipt"

    device: Key
    slot: Annotated[int, Meta(ge=0, lt=MAIL_RECEIPT_SLOTS)]
    taken: bool
    items: Annotated[list[ItemId], Meta(max_length=MAIL_RECEIPT_ITEMS_MAX)]
    nonce: Nonce
    sequence: Sequence
    issued_at_s: UnixSeconds
    ttl_s: TtlSeconds

    def place(self, key: bytes) -> RecordKey:
        return mailbox_place(PeerId(key))

    def entry_id(self, key: bytes) -> bytes:
        return key + labelled_hash("mail-slot", self.device, bytes((self.slot,)))


MailboxRecord = Signed[Mail] | Signed[Mailbox] | Signed[MailReceipt]


@functools.lru_cache(maxsize=PLACES_CACHED)
def mailbox_place(owner: PeerId) -> RecordKey:
    """Where the mail of a person lies."""
    return RecordKey(labelled_hash("key", b"mail", owner)[:NODE_ID_BYTES])


@functools.lru_cache(maxsize=PLACES_CACHED)
def item_id_of(sender: bytes, label: bytes) -> bytes:
    return labelled_hash("mail-item", sender, label)[:MAIL_ITEM_ID_BYTES]


@functools.lru_cache(maxsize=PLACES_CACHED)
def tag_of(sender: bytes) -> bytes:
    """By which the owner of a mailbox names a sender's key to its replicas."""
    return labelled_hash("mail-tag", sender)[:TAG_BYTES]


# --- work -------------------------------------------------------------------------------------------------------------


def _work_subject(kind: str, place: RecordKey, entry_id: bytes, network_id: bytes) -> bytes:
    """The same for later versions of one entry: they take no more room."""
    return labelled_hash("mail-work", network_id, kind.encode(), place, entry_id)


def mail_work_bits(record: MailboxRecord, network_id: bytes) -> int:
    """Leading zero bits of the work that was done for a record."""
    body = record.body
    subject = _work_subject(body.KIND, body.place(record.key), body.entry_id(record.key), network_id)
    work = hashlib.sha256(subject + body.nonce.to_bytes(8, "big")).digest()
    return 256 - int.from_bytes(work, "big").bit_length()


def find_mail_nonce(kind: str, place: RecordKey, entry_id: bytes, *, network_id: bytes, bits: int) -> int:
    """About 2^bits hashes: off the loop."""
    if not bits:
        return 0
    subject = _work_subject(kind, place, entry_id, network_id)
    too_large = 1 << (256 - bits)
    for nonce in itertools.count():
        if int.from_bytes(hashlib.sha256(subject + nonce.to_bytes(8, "big")).digest(), "big") < too_large:
            return nonce
    raise AssertionError("count() does not end")


# --- letters ----------------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """A piece of a letter. `letter`: the id of the statement that the letter is."""

    letter: MessageId
    number: int
    """From 0."""
    total: int
    chunk: bytes


def cut_letter(letter: MessageId, statement: bytes) -> list[Part]:
    """In as many parts as it takes."""
    chunks = [statement[at : at + CHUNK_BYTES] for at in range(0, len(statement), CHUNK_BYTES)]
    return [Part(letter, number, len(chunks), chunk) for number, chunk in enumerate(chunks)]


def pack_part(part: Part) -> bytes:
    """MAIL_PLAIN_BYTES, whatever is in it: id 16, number 1, total 1, length 2, piece, zeros."""
    head = part.letter + bytes((part.number, part.total)) + len(part.chunk).to_bytes(2, "big")
    return (head + part.chunk).ljust(MAIL_PLAIN_BYTES, b"\0")


def unpack_part(plain: bytes) -> Part:
    """Raises `MalformedRecord` and nothing else."""
    if len(plain) != MAIL_PLAIN_BYTES:
        raise MalformedRecord("a part of a letter that has not the size of all")
    letter, number, total = MessageId(plain[:MESSAGE_ID_BYTES]), plain[MESSAGE_ID_BYTES], plain[MESSAGE_ID_BYTES + 1]
    chunk_bytes = int.from_bytes(plain[MESSAGE_ID_BYTES + 2 : _PLACE_BYTES], "big")
    fits = chunk_bytes == CHUNK_BYTES or (number == total - 1 and 1 <= chunk_bytes < CHUNK_BYTES)
    if not (number < total <= MAIL_PARTS_MAX and fits):
        raise MalformedRecord("a part of a letter that cannot be")
    return Part(letter, number, total, plain[_PLACE_BYTES : _PLACE_BYTES + chunk_bytes])


def label_of(sender: SigningKey, letter: MessageId, number: int) -> bytes:
    """Follows from what only the two know: whoever sends a letter again sends the same items."""
    return labelled_hash("mail-label", sender.seed, letter, bytes((number,)))[:MAIL_LABEL_BYTES]


def items_of(sender: SigningKey, letter: MessageId, statement: bytes) -> list[bytes]:
    """The ids of a letter's items."""
    return [item_id_of(sender.public, label_of(sender, *part[:2])) for part in cut_letter(letter, statement)]


def _context(network_id: bytes, box: bytes, item_id: bytes) -> bytes:
    """What a seal is bound to: cut out and signed by somebody else, it does not open."""
    return network_id + box + item_id


def seal_part(
    part: Part,
    sender: SigningKey,
    box: PeerId,
    mailbox_key: bytes,
    *,
    nonce: int,
    sequence: int,
    issued_at_s: int,
    ttl_s: int,
    network_id: bytes,
) -> Signed[Mail]:
    """Raises `MalformedRecord` for a mailbox key that nobody can have."""
    label = label_of(sender, part.letter, part.number)
    context = _context(network_id, box, item_id_of(sender.public, label))
    sealed = seal_for(mailbox_key, pack_part(part), context=context)
    return sign_body(Mail(box, label, sealed, nonce, sequence, issued_at_s, ttl_s), sender, network_id)


def open_part(mail: Signed[Mail], correspondence: Correspondence, network_id: bytes) -> Part:
    """Raises `MalformedRecord` and nothing else."""
    context = _context(network_id, mail.body.box, mail.body.entry_id(mail.key))
    return unpack_part(open_sealed(correspondence.mailbox_secret, mail.body.sealed, context=context))


def welcome_tags(senders: Iterable[bytes], correspondence: Correspondence) -> bytes:
    """Always MAIL_WELCOME_MAX tags, sorted: those of nobody fill it up, so that they do not tell how many people one knows."""
    tags = {tag_of(sender) for sender in itertools.islice(senders, MAIL_WELCOME_MAX)}
    filler = correspondence.private_bytes(b"welcome", MAIL_WELCOME_MAX * TAG_BYTES)
    nobody = (filler[at : at + TAG_BYTES] for at in range(0, len(filler), TAG_BYTES))
    tags |= set(itertools.islice(nobody, MAIL_WELCOME_MAX - len(tags)))
    return b"".join(sorted(tags))
