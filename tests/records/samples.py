"""One of everything that is signed, from fixed seeds: small samples, and the largest that the limits allow."""

from dhtchat.crypto.identity import SigningKey
from dhtchat.crypto.password import Kdf
from dhtchat.ids import DeviceId, PeerId
from dhtchat.limits import (
    ADDRESSES_PER_DEVICE_MAX,
    DOOR_PROOF_BYTES_MAX,
    KDF_LANES_MAX,
    KDF_MEMORY_KIB_MAX,
    KDF_PASSES_MAX,
    MAIL_LIFE_S,
    MAIL_RECEIPT_ITEMS_MAX,
    MAIL_RECEIPT_SLOTS,
    MAIL_WELCOME_MAX,
    NAME_CHARACTERS_MAX,
    PARENTS_MAX,
    REASON_BYTES_MAX,
    REVISIONS_MAX,
    ROOM_NAME_CHARACTERS_MAX,
    RULING_HEADS_MAX,
    SAID_PER_MODE_MAX,
    SAID_PER_REMOVAL_MAX,
    SOFT_TTL_S_MAX,
    TEXT_CHARACTERS_MAX,
)
from dhtchat.parameters import SIM
from dhtchat.records.account import Account
from dhtchat.records.claims import NONCE_MAX
from dhtchat.records.device import Author, DeviceCertificate
from dhtchat.records.door import ClosedDoor
from dhtchat.records.envelope import Body, Signed, sign_body
from dhtchat.records.listing import RoomListing, UserListing
from dhtchat.records.mail import SEALED_PART_BYTES, TAG_BYTES, Mail, Mailbox, MailReceipt
from dhtchat.records.membership import Membership
from dhtchat.records.message import Content, Delete, Edit, Hand, Invite, Message, Place, React, Read, Say
from dhtchat.records.presence import Address, Presence
from dhtchat.records.room import RoomGenesis
from dhtchat.records.ruling import Act, Grant, Removal, RuleTopic, Ruling, Said, SetDoor, SetHands, SetMode

NETWORK = SIM.network_id
NOW_S = 1_800_000_000
"""Where the tests' time begins: Unix seconds, in January 2027."""

ALICE = SigningKey(b"a" * 32)
ALICES_LAPTOP = SigningKey(b"l" * 32)
BOB = SigningKey(b"b" * 32)
ROOM_ID = b"r" * 32
CHEAP = Kdf(SIM.kdf_memory_kib, SIM.kdf_passes, SIM.kdf_lanes)


def account(*, name: str = "alice", sequence: int = 1, nonce: int = 7, kdf: Kdf = CHEAP) -> Account:
    """What is sealed is made up: nothing here opens it."""
    return Account(name, b"m" * 32, kdf, b"s" * 16, b"v" * 32, b"x" * 48, nonce, NOW_S, sequence)


def genesis(*, name: str = "#lobby", nonce: int = 7, created_at_s: int = NOW_S) -> RoomGenesis:
    return RoomGenesis(name, "public", nonce, created_at_s)


def presence(
    *, sequence: int = 1, away: str = "", issued_at_s: int = NOW_S, ttl_s: int = 120, gone: bool = False
) -> Presence:
    addresses = [Address("192.0.2.7", 40_000), Address("2001:db8::7", 40_000)]
    return Presence("alice", ALICES_LAPTOP.public, addresses, away, NOW_S - 60, sequence, issued_at_s, ttl_s, gone)


def membership(*, sequence: int = 1) -> Membership:
    return Membership(ROOM_ID, "alice", ALICES_LAPTOP.public, sequence, NOW_S, 120, False)


def user_listing(*, sequence: int = 1) -> UserListing:
    return UserListing("alice", ALICES_LAPTOP.public, False, sequence, NOW_S, 120, False)


def room_listing(*, sequence: int = 1) -> RoomListing:
    return RoomListing("#lobby", ROOM_ID, "what this is about", 3, sequence, NOW_S, 120, False)


def closed_door(*, sequence: int = 1) -> ClosedDoor:
    proof = [signed(ruling(SetDoor(True))).raw]
    return ClosedDoor(ROOM_ID, proof, sequence, NOW_S, 120, False)


def mail(*, sequence: int = 1, label: bytes = b"l" * 16) -> Mail:
    """What is sealed is made up here as well."""
    return Mail(BOB.public, label, b"x" * SEALED_PART_BYTES, 7, sequence, NOW_S, MAIL_LIFE_S)


def mailbox(*, sequence: int = 1, device: bytes = ALICES_LAPTOP.public, welcome: bytes = b"t" * 16) -> Mailbox:
    return Mailbox(device, welcome, 7, sequence, NOW_S, MAIL_LIFE_S)


def mail_receipt(
    *, sequence: int = 1, device: bytes = ALICES_LAPTOP.public, slot: int = 0, items: tuple[bytes, ...] = (b"i" * 16,)
) -> MailReceipt:
    return MailReceipt(device, slot, True, list(items), 7, sequence, NOW_S, MAIL_LIFE_S)


def stored() -> list[Body]:
    """One small body of each kind that the DHT stores."""
    soft = [presence(), membership(), user_listing(), room_listing(), closed_door(), mail(), mailbox(), mail_receipt()]
    return [account(), genesis(), *soft]


def certificate(*, identity: SigningKey = ALICE, device: SigningKey = ALICES_LAPTOP, name: str = "alice") -> bytes:
    return sign_body(DeviceCertificate(name, device.public, NOW_S), identity, NETWORK).raw


def author() -> Author:
    return Author(PeerId(ALICE.public), DeviceId(ALICES_LAPTOP.public), "alice")


LINE = b"l" * 16
"""The id of some line."""
OPERATIONS: list[Content] = [
    Say("so do I", False, LINE),
    Edit(LINE, 2, "hello, all"),
    Delete([Place(LINE, 1), Place(b"e" * 16, 2)]),
    React(LINE, 1, "\U0001f44d"),
    Read([LINE, b"m" * 16]),
    Hand(True),
]
"""What can be done to a line: a reply and the rest; and a hand raised."""


def room_message(*, counter: int = 1, text: str = "hello") -> Message:
    previous = b"" if counter == 1 else b"p" * 16
    parents = [b"q" * 16]
    return Message(certificate(), False, ROOM_ID, "", counter, previous, parents, NOW_S * 1000, Say(text))


ACTS: list[Act] = [
    Grant(BOB.public, "bob", "op"),
    Removal(BOB.public, "bob", "kick", "too loud", [Said(b"d" * 8, 7)]),
    SetMode(True, [Said(b"d" * 8, 7), Said(b"e" * 8, 1)]),
    RuleTopic("what this is about"),
    SetHands(False),
    Grant(BOB.public, "bob", "invite"),
    SetDoor(True, [Said(b"d" * 8, 7)]),
]
"""What can be ruled about a room."""


def ruling(act: Act = ACTS[0]) -> Ruling:
    return Ruling(ROOM_ID, "alice", [b"p" * 16, b"q" * 16], NOW_S, act)


def invitation() -> Message:
    return Message(certificate(), True, BOB.public, "bob", 1, b"", [], NOW_S * 1000, Invite("#lobby"))


def private_message() -> Message:
    return Message(certificate(), True, BOB.public, "bob", 1, b"", [], NOW_S * 1000, Say("psst"))


def signed(body: Body, key: SigningKey = ALICE) -> Signed[Body]:
    return sign_body(body, key, NETWORK)


# --- the largest of each kind -----------------------------------------------------------------------------------------

_NAME = "n" * NAME_CHARACTERS_MAX
_ROOM = "#" + "r" * ROOM_NAME_CHARACTERS_MAX
_KEY = b"k" * 32
_TIME_S = 253_402_300_799
_SEQUENCE = 2**62
_GRIN = "\U0001f600"
"""Four bytes of UTF-8 in one character, the most there is."""
_LONGEST_HOST = "0000:0000:0000:0000:0000:ffff:255.255.255.255"


def largest() -> dict[str, Body]:
    """By kind: every field at its upper bound. tests/records/test_sizes.py checks that none can be larger."""
    address = Address(_LONGEST_HOST, 65_535)
    largest_certificate = DeviceCertificate(_NAME, _KEY, _TIME_S)
    bodies: list[Body] = [
        Account(
            _NAME,
            _KEY,
            Kdf(KDF_MEMORY_KIB_MAX, KDF_PASSES_MAX, KDF_LANES_MAX),
            b"s" * 16,
            b"v" * 32,
            b"x" * 48,
            NONCE_MAX,
            _TIME_S,
            _SEQUENCE,
        ),
        RoomGenesis(_ROOM, "public", NONCE_MAX, _TIME_S),
        Presence(
            _NAME,
            _KEY,
            [address] * ADDRESSES_PER_DEVICE_MAX,
            _GRIN * 30,
            _TIME_S,
            _SEQUENCE,
            _TIME_S,
            SOFT_TTL_S_MAX,
            True,
        ),
        Membership(_KEY, _NAME, _KEY, _SEQUENCE, _TIME_S, SOFT_TTL_S_MAX, True),
        UserListing(_NAME, _KEY, True, _SEQUENCE, _TIME_S, SOFT_TTL_S_MAX, True),
        RoomListing(_ROOM, _KEY, _GRIN * 100, 2**31, _SEQUENCE, _TIME_S, SOFT_TTL_S_MAX, True, "m"),
        ClosedDoor(_KEY, [b"p" * (DOOR_PROOF_BYTES_MAX // 3)] * 3, _SEQUENCE, _TIME_S, SOFT_TTL_S_MAX, True),
        Mail(_KEY, b"l" * 16, b"s" * SEALED_PART_BYTES, NONCE_MAX, _SEQUENCE, _TIME_S, SOFT_TTL_S_MAX),
        Mailbox(_KEY, b"t" * MAIL_WELCOME_MAX * TAG_BYTES, NONCE_MAX, _SEQUENCE, _TIME_S, SOFT_TTL_S_MAX),
        MailReceipt(
            _KEY,
            MAIL_RECEIPT_SLOTS - 1,
            True,
            [b"i" * 16] * MAIL_RECEIPT_ITEMS_MAX,
            NONCE_MAX,
            _SEQUENCE,
            _TIME_S,
            SOFT_TTL_S_MAX,
        ),
        largest_certificate,
        Message(
            signed(largest_certificate).raw,
            False,
            _KEY,
            "",
            2**62,
            b"p" * 16,
            [b"q" * 16] * PARENTS_MAX,
            253_402_300_799_999,
            Edit(b"t" * 16, REVISIONS_MAX, _GRIN * TEXT_CHARACTERS_MAX),
            2**62 - 1,
            [b"h" * 15 + bytes([number]) for number in range(RULING_HEADS_MAX)],
        ),
    ]
    bodies.append(largest_ruling(SetMode(False, [Said(b"d" * 8, 2**62)] * SAID_PER_MODE_MAX)))
    return {body.KIND: body for body in bodies}


def largest_ruling(act: Act) -> Ruling:
    parents = [b"p" * 15 + bytes([number]) for number in range(RULING_HEADS_MAX)]
    return Ruling(_KEY, _NAME, parents, _TIME_S, act)


LARGEST_ACTS: list[Act] = [
    Grant(_KEY, _NAME, "unban"),
    Removal(_KEY, _NAME, "devoice", _GRIN * (REASON_BYTES_MAX // 4), [Said(b"d" * 8, 2**62)] * SAID_PER_REMOVAL_MAX),
    RuleTopic(_GRIN * 100),
    SetHands(False),
    SetDoor(False, [Said(b"d" * 8, 2**62)] * SAID_PER_MODE_MAX),
]
"""Beside a `SetMode`, which is the largest of all."""
