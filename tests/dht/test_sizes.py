"""Every datagram fits, at its largest and sealed, and what strangers are sent is small beside what they sent."""

import pytest

from dhtchat.dht import wire
from dhtchat.dht.contact import contact_at, pack_contact, pack_endpoint
from dhtchat.ids import KEY_BYTES, Endpoint
from dhtchat.limits import (
    AMPLIFICATION_MAX,
    BELOW_MAX,
    DATAGRAM_ID_BYTES,
    ENTRY_ID_BYTES_MAX,
    FIND_REPLY_CONTACTS_MAX,
    HELLO_BYTES,
    NETWORK_TAG_BYTES,
    NODE_ID_BYTES,
    PAGE_BYTES_MAX,
    RECORD_BYTES_MAX,
    SEALED_HEADER_BYTES,
    SOFT_TTL_S_MAX,
    STORE_OVERHEAD_BYTES,
    TREE_DEPTH_MAX,
    TREE_NAME_DIGITS,
    UDP_PAYLOAD_BYTES_MAX,
)
from dhtchat.records.acceptance import Reason, Verdict

ID = bytes(DATAGRAM_ID_BYTES)
TAG = bytes(NETWORK_TAG_BYTES)
KEY = bytes(KEY_BYTES)
NODE = bytes(NODE_ID_BYTES)
RECORD = bytes(RECORD_BYTES_MAX)
LONGEST_MS = SOFT_TTL_S_MAX * wire.MS_PER_S
V6 = Endpoint("2001:db8:1234:5678:9abc:def0:1234:5678", 65_535)

LARGEST: list[wire.Message] = [
    wire.Ping(),
    wire.Leaving(),
    wire.FindNode(NODE),
    wire.FindClaims(NODE, 3),
    wire.FindEntries(NODE, "x" * 16, bytes(ENTRY_ID_BYTES_MAX)),
    wire.Store(NODE, RECORD, LONGEST_MS, TREE_DEPTH_MAX, TREE_DEPTH_MAX),
    wire.Pong(),
    wire.Greeting(pack_endpoint(V6)),
    wire.Nodes([pack_contact(contact_at(KEY, V6))] * FIND_REPLY_CONTACTS_MAX),
    wire.Claims(False, 4, [bytes(PAGE_BYTES_MAX // 2 - 3)] * 2),
    wire.Entries([wire.Entry(bytes(PAGE_BYTES_MAX // 8 - 8), LONGEST_MS)] * 8, bytes(ENTRY_ID_BYTES_MAX), True),
    wire.Entries([], bytes(ENTRY_ID_BYTES_MAX), True, ("f" * TREE_NAME_DIGITS,) * BELOW_MAX),
    wire.Stored(Verdict.REFUSED, Reason.FROM_THE_FUTURE, 2**62, True, True),
    wire.Refused(wire.Refusal.UNPROVED),
]


@pytest.mark.parametrize("message", LARGEST, ids=lambda message: type(message).__name__)
def test_the_largest_of_each_message_fits_with_its_seal(message: wire.Message) -> None:
    assert len(wire.encode(ID, wire.NO_TOKEN, message)) + SEALED_HEADER_BYTES <= UDP_PAYLOAD_BYTES_MAX


def test_what_answers_a_hello_is_not_much_longer() -> None:
    greeting = len(wire.encode(ID, wire.NO_TOKEN, wire.Greeting(pack_endpoint(V6)))) + SEALED_HEADER_BYTES
    hello = len(wire.encode_hello(wire.Hello(KEY, TAG, ID)))
    assert hello == HELLO_BYTES
    assert greeting <= AMPLIFICATION_MAX * hello
    assert len(wire.encode_foreign(ID)) <= hello


def test_the_overhead_of_a_store_is_what_limits_says() -> None:
    largest = wire.encode(ID, wire.NO_TOKEN, wire.Store(NODE, RECORD, LONGEST_MS, TREE_DEPTH_MAX, TREE_DEPTH_MAX))
    assert len(largest) - len(RECORD) + SEALED_HEADER_BYTES == STORE_OVERHEAD_BYTES


def test_one_record_of_the_largest_size_fits_a_page() -> None:
    assert wire.encoded_size(wire.Entry(RECORD, LONGEST_MS)) <= PAGE_BYTES_MAX
    assert wire.encoded_size(RECORD) <= PAGE_BYTES_MAX


def test_the_leaves_a_split_node_names_leave_room_for_some_entries() -> None:
    """At their largest, with what is around them, they are less than a page: the reader always gets on."""
    assert wire.encoded_size(("f" * TREE_NAME_DIGITS,) * BELOW_MAX) < PAGE_BYTES_MAX


def test_pages_are_as_full_as_the_list_above_assumes() -> None:
    """Otherwise the sizes of `Claims` and `Entries` would be checked with pages that are never that large."""
    assert 2 * wire.encoded_size(bytes(PAGE_BYTES_MAX // 2 - 3)) == PAGE_BYTES_MAX
    assert 8 * wire.encoded_size(wire.Entry(bytes(PAGE_BYTES_MAX // 8 - 8), LONGEST_MS)) == PAGE_BYTES_MAX
