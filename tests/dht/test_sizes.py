"""Every datagram fits, at its largest, and leaves room for the sealed header of a later version."""

import pytest

from dhtchat.dht import wire
from dhtchat.dht.contact import Contact, pack_contact, pack_endpoint
from dhtchat.ids import Endpoint, NodeId
from dhtchat.limits import (
    BELOW_MAX,
    DATAGRAM_ID_BYTES,
    ENTRY_ID_BYTES_MAX,
    FIND_REPLY_CONTACTS_MAX,
    NETWORK_TAG_BYTES,
    NODE_ID_BYTES,
    NONCE_BYTES,
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
NODE = bytes(NODE_ID_BYTES)
RECORD = bytes(RECORD_BYTES_MAX)
LONGEST_MS = SOFT_TTL_S_MAX * wire.MS_PER_S
V6 = Endpoint("2001:db8:1234:5678:9abc:def0:1234:5678", 65_535)

LARGEST: list[wire.Message] = [
    wire.Ping(TAG, NODE),
    wire.Hello(TAG, NODE, bytes(NONCE_BYTES)),
    wire.FindNode(TAG, NODE, NODE),
    wire.FindClaims(TAG, NODE, NODE, 3),
    wire.FindEntries(TAG, NODE, NODE, "x" * 16, bytes(ENTRY_ID_BYTES_MAX)),
    wire.Store(TAG, NODE, NODE, RECORD, LONGEST_MS, TREE_DEPTH_MAX, TREE_DEPTH_MAX),
    wire.Pong(NODE),
    wire.Proof(NODE, bytes(32), bytes(32), pack_endpoint(V6), bytes(64)),
    wire.Nodes(NODE, [pack_contact(Contact(NodeId(NODE), V6))] * FIND_REPLY_CONTACTS_MAX),
    wire.Claims(NODE, False, 4, [bytes(PAGE_BYTES_MAX // 2 - 3)] * 2),
    wire.Entries(NODE, [wire.Entry(bytes(PAGE_BYTES_MAX // 8 - 8), LONGEST_MS)] * 8, bytes(ENTRY_ID_BYTES_MAX), True),
    wire.Entries(NODE, [], bytes(ENTRY_ID_BYTES_MAX), True, ("f" * TREE_NAME_DIGITS,) * BELOW_MAX),
    wire.Stored(NODE, Verdict.REFUSED, Reason.FROM_THE_FUTURE, 2**62, True, True),
    wire.Refused(NODE, wire.Refusal.OTHER_NETWORK),
]


@pytest.mark.parametrize("message", LARGEST, ids=lambda message: type(message).__name__)
def test_the_largest_of_each_message_fits_with_its_seal(message: wire.Message) -> None:
    assert len(wire.encode(ID, message)) + SEALED_HEADER_BYTES <= UDP_PAYLOAD_BYTES_MAX


def test_the_overhead_of_a_store_is_what_limits_says() -> None:
    largest = wire.encode(ID, wire.Store(TAG, NODE, NODE, RECORD, LONGEST_MS, TREE_DEPTH_MAX, TREE_DEPTH_MAX))
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
