"""Every datagram fits, at its largest, seal included; and no first answer is a weapon."""

import pytest

from dhtchat.crypto.datagram import Sealer
from dhtchat.dht import wire
from dhtchat.dht.contact import contact_at, pack_contact, pack_endpoint
from dhtchat.ids import Endpoint
from dhtchat.limits import (
    AMPLIFICATION_MAX,
    BELOW_MAX,
    BOOT_ID_BYTES,
    DATAGRAM_ID_BYTES,
    ENTRY_ID_BYTES_MAX,
    FIND_REPLY_CONTACTS_MAX,
    GIST_BYTES,
    HELLO_BYTES,
    NODE_ID_BYTES,
    PADDED_QUESTION_BYTES,
    PAGE_BYTES_MAX,
    PING_BYTES,
    RECORD_BYTES_MAX,
    SEALED_HEADER_BYTES,
    SOFT_TTL_S_MAX,
    STORE_OVERHEAD_BYTES,
    TOKEN_BYTES,
    TREE_DEPTH_MAX,
    TREE_NAME_DIGITS,
    UDP_PAYLOAD_BYTES_MAX,
)
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Reason, Verdict
from tests.dht.support import node_key_of

ID, TOKEN, NODE = bytes(DATAGRAM_ID_BYTES), bytes(TOKEN_BYTES), bytes(NODE_ID_BYTES)
RECORD = bytes(RECORD_BYTES_MAX)
LONGEST_MS = SOFT_TTL_S_MAX * wire.MS_PER_S
V6 = Endpoint("2001:db8:1234:5678:9abc:def0:1234:5678", 65_535)
ALICE, BOB = node_key_of(1), node_key_of(2)

REQUESTS: list[wire.Request] = [
    wire.Ping(),
    wire.FindNode(NODE),
    wire.FindClaims(NODE, 3),
    wire.FindEntries(NODE, "x" * 16, bytes(ENTRY_ID_BYTES_MAX)),
    wire.Store(NODE, RECORD, LONGEST_MS, TREE_DEPTH_MAX, TREE_DEPTH_MAX),
    wire.Touch(NODE, bytes(ENTRY_ID_BYTES_MAX), bytes(GIST_BYTES)),
    wire.ListEntries(NODE, bytes(ENTRY_ID_BYTES_MAX)),
    wire.Leaving(),
]
ANSWERS: list[wire.Answer] = [
    wire.Pong(),
    wire.Greeting(pack_endpoint(V6)),
    wire.Nodes([pack_contact(contact_at(ALICE.public, V6))] * FIND_REPLY_CONTACTS_MAX),
    wire.Claims(False, 4, [bytes(PAGE_BYTES_MAX // 2 - 3)] * 2),
    wire.Entries([wire.Entry(bytes(PAGE_BYTES_MAX // 8 - 8), LONGEST_MS)] * 8, bytes(ENTRY_ID_BYTES_MAX), True),
    wire.Entries(
        [wire.Entry(bytes((PAGE_BYTES_MAX - GIST_BYTES - 2) // 8 - 8), LONGEST_MS)] * 8,
        bytes(ENTRY_ID_BYTES_MAX),
        True,
        (),
        bytes(GIST_BYTES),
    ),
    wire.Entries([], bytes(ENTRY_ID_BYTES_MAX), True, ("f" * TREE_NAME_DIGITS,) * BELOW_MAX),
    wire.Stored(Verdict.REFUSED, Reason.FROM_THE_FUTURE, 2**62, True, True),
    wire.Listed(
        [wire.ListedEntry(bytes(ENTRY_ID_BYTES_MAX), 2**62)] * (PAGE_BYTES_MAX // 76), bytes(ENTRY_ID_BYTES_MAX)
    ),
    *map(wire.Refused, wire.Refusal),
]


def sealed(message: wire.Message) -> bytes:
    """The whole datagram."""
    sealer = Sealer(ALICE, bytes(BOOT_ID_BYTES), SIM.network_id)
    kind = wire.Kind.ANSWER if isinstance(message, wire.Answer) else wire.Kind.REQUEST
    return sealer.seal(BOB.public, kind, wire.encode(ID, TOKEN, message))


@pytest.mark.parametrize("message", [*REQUESTS, *ANSWERS], ids=lambda message: type(message).__name__)
def test_the_largest_of_each_message_fits_with_its_seal(message: wire.Message) -> None:
    """Twenty IPv6 contacts as well."""
    assert len(sealed(message)) <= UDP_PAYLOAD_BYTES_MAX


def test_a_seal_takes_what_limits_says() -> None:
    for message in (*REQUESTS, *ANSWERS):
        assert len(sealed(message)) - len(wire.encode(ID, TOKEN, message)) == SEALED_HEADER_BYTES


def test_the_overhead_of_a_store_is_what_limits_says() -> None:
    assert (
        len(sealed(wire.Store(NODE, RECORD, LONGEST_MS, TREE_DEPTH_MAX, TREE_DEPTH_MAX))) - len(RECORD)
        == STORE_OVERHEAD_BYTES
    )


def test_one_record_of_the_largest_size_fits_a_page() -> None:
    assert wire.encoded_size(wire.Entry(RECORD, LONGEST_MS)) <= PAGE_BYTES_MAX
    assert wire.encoded_size(RECORD) <= PAGE_BYTES_MAX


def test_pages_are_as_full_as_the_list_above_assumes() -> None:
    """Otherwise the sizes of `Claims` and `Entries` would be checked with pages that are never that large."""
    assert 2 * wire.encoded_size(bytes(PAGE_BYTES_MAX // 2 - 3)) == PAGE_BYTES_MAX
    assert 8 * wire.encoded_size(wire.Entry(bytes(PAGE_BYTES_MAX // 8 - 8), LONGEST_MS)) == PAGE_BYTES_MAX


def test_a_page_is_as_large_as_it_can_be() -> None:
    """Eight more bytes a page, and `Entries` would not fit."""
    largest = max(len(sealed(message)) for message in ANSWERS)
    assert UDP_PAYLOAD_BYTES_MAX - largest < 8


# --- the first answer to an address that may be forged ----------------------------------------------------------------


def test_a_hello_is_longer_than_its_answer() -> None:
    """So it is not worth while to send one in somebody else's name."""
    assert len(sealed(wire.Greeting(pack_endpoint(V6)))) <= HELLO_BYTES
    assert len(wire.encode_foreign(ID)) < HELLO_BYTES


def test_the_shortest_question_can_be_told_that_it_lacks_a_token() -> None:
    shortest = min(len(sealed(request)) for request in REQUESTS)
    assert max(len(sealed(wire.Refused(reason))) for reason in wire.Refusal) <= AMPLIFICATION_MAX * shortest


def test_a_ping_is_answered_and_followed_by_one_ping_of_ours() -> None:
    assert len(sealed(wire.Ping())) == PING_BYTES
    assert len(sealed(wire.Pong())) + PING_BYTES <= AMPLIFICATION_MAX * PING_BYTES


def test_a_padded_question_can_be_answered_with_anything_and_by_twenty_contacts_and_a_ping() -> None:
    assert AMPLIFICATION_MAX * PADDED_QUESTION_BYTES >= UDP_PAYLOAD_BYTES_MAX
    [nodes] = [len(sealed(answer)) for answer in ANSWERS if isinstance(answer, wire.Nodes)]
    assert nodes + PING_BYTES <= AMPLIFICATION_MAX * PADDED_QUESTION_BYTES
