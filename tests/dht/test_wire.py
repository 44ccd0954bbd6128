"""The bytes of the DHT: one way in, which returns or raises `MalformedMessage`, whatever the bytes."""

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht import wire
from dhtchat.dht.contact import Contact, is_callable, pack_contact, pack_endpoint, plain_endpoint, unpack_endpoint
from dhtchat.errors import MalformedMessage
from dhtchat.ids import Endpoint, NodeId
from dhtchat.limits import DATAGRAM_ID_BYTES, NODE_ID_BYTES, NONCE_BYTES, UDP_PAYLOAD_BYTES_MAX
from dhtchat.records.acceptance import Reason, Verdict

ID = bytes(range(DATAGRAM_ID_BYTES))
NODE = bytes(range(NODE_ID_BYTES))
TAG = b"netw"
V4, V6 = Endpoint("192.0.2.7", 8468), Endpoint("2001:db8::7", 8468)

REQUESTS: list[wire.Request] = [
    wire.Ping(TAG, NODE),
    wire.Ping(TAG, b""),
    wire.Hello(TAG, NODE, bytes(NONCE_BYTES)),
    wire.FindNode(TAG, NODE, NODE),
    wire.FindClaims(TAG, NODE, NODE, 3),
    wire.FindEntries(TAG, NODE, NODE, "presence", b"cursor"),
    wire.Store(TAG, NODE, NODE, b"record", None),
    wire.Store(TAG, NODE, NODE, b"record", 120_000),
]
ANSWERS: list[wire.Answer] = [
    wire.Pong(NODE),
    wire.Proof(NODE, bytes(32), bytes(32), pack_endpoint(V4), bytes(64)),
    wire.Nodes(NODE, [pack_contact(Contact(NodeId(NODE), V4)), pack_contact(Contact(NodeId(NODE), V6))]),
    wire.Claims(NODE, False, 2, [b"one", b"two"]),
    wire.Entries(NODE, [wire.Entry(b"one", 5)], b"next"),
    wire.Stored(NODE, Verdict.REFUSED, Reason.STALE, 7),
]


def expecting(answer: type[wire.Answer] | None) -> Callable[[bytes], type[wire.Answer] | None]:
    return lambda message_id: answer


@pytest.mark.parametrize("message", [*REQUESTS, *ANSWERS], ids=lambda message: type(message).__name__)
def test_what_is_encoded_is_decoded(message: wire.Message) -> None:
    kind = type(message) if isinstance(message, wire.Answer) else None
    assert wire.decode(wire.encode(ID, message), expecting(kind)) == wire.Frame(ID, message)


@pytest.mark.parametrize("expected", wire.ANSWER_TO.values())
def test_a_refusal_is_understood_in_place_of_any_answer(expected: type[wire.Answer]) -> None:
    refusal = wire.Refused(NODE, wire.Refusal.BUSY)
    assert wire.decode(wire.encode(ID, refusal), expecting(expected)).message == refusal


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("expected", wire.ANSWER_TO.values())
def test_an_answer_is_read_only_as_what_was_asked_for(answer: wire.Answer, expected: type[wire.Answer]) -> None:
    """`Nodes` may come instead of a value: who holds none says who is nearer."""
    finds_value = expected in (wire.Claims, wire.Entries)
    if not isinstance(answer, expected) and not (finds_value and isinstance(answer, wire.Nodes)):
        with pytest.raises(MalformedMessage):
            wire.decode(wire.encode(ID, answer), expecting(expected))


def test_the_payload_of_an_answer_nobody_waits_for_is_not_looked_at() -> None:
    assert wire.decode(b"\x01" + ID + b"anything", expecting(None)) == wire.Frame(ID, None)


def _raw(*fields: object) -> bytes:
    return b"\x00" + ID + msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x00" + ID,
        b"\x02" + ID + b"\x90",
        b"\x00" + ID + b"\xc1",
        b"\x00" + ID + bytes(UDP_PAYLOAD_BYTES_MAX),
        b"\x00" + ID + b"\x91" * 1_200,  # nested a thousand times
        b"\x00" + ID + b"\x93\xa4ping\xc4\x04netw\xdd\xff\xff\xff\xff",  # claims to go on for 4 GiB
        _raw("ping", TAG, NODE) + b"\x00",
        _raw("ping", TAG, NODE, 1),
        _raw("ping", TAG, NODE[:-1]),
        _raw("ping", TAG[:-1], NODE),
        _raw("ping", [NODE]),  # as the stock library asks
        _raw("pong", NODE),
        _raw("no_such_method", TAG, NODE),
        _raw("find_claims", TAG, NODE, NODE, 4),
        _raw("find_claims", TAG, NODE, NODE, -1),
        _raw("find_entries", TAG, NODE, NODE, "presence", bytes(65)),
        _raw("store", TAG, NODE, NODE, bytes(1_001), None),
        _raw("store", TAG, NODE, NODE, b"", None),
        _raw("store", TAG, NODE, NODE, b"record", -1),
        _raw("store", TAG, NODE, NODE, b"record", 2**40),
        _raw("store", TAG, NODE, NODE, b"record", float("nan")),
    ],
)
def test_bad_datagrams_are_malformed(datagram: bytes) -> None:
    with pytest.raises(MalformedMessage):
        wire.decode(datagram, expecting(None))


@pytest.mark.parametrize(
    "answer",
    [
        ["nodes", NODE, [bytes(25)]],
        ["nodes", NODE, [bytes(26)] * 21],
        ["nodes", NODE, [7]],
        ["nodes", b"", []],
        ["nodes", 7],
        ["nodes", NODE, [[7]]],
        ["pong"],
        [[[[]]]],
        "text",
        None,
        7,
        {"x": 1},
    ],
)
def test_bad_answers_are_malformed(answer: object) -> None:
    with pytest.raises(MalformedMessage):
        wire.decode(b"\x01" + ID + msgspec.msgpack.encode(answer), expecting(wire.Nodes))


def test_a_proof_with_a_bad_address_is_malformed() -> None:
    bad = wire.encode(ID, ANSWERS[1]).replace(b"\xc4\x06" + pack_endpoint(V4), b"\xc4\x0512345")
    with pytest.raises(MalformedMessage):
        wire.decode(bad, expecting(wire.Proof))


@given(datagram=st.binary(max_size=1_300), expected=st.sampled_from([None, *wire.ANSWER_TO.values()]))
def test_any_bytes_decode_or_are_malformed(datagram: bytes, expected: type[wire.Answer] | None) -> None:
    _decodes_or_is_malformed(datagram, expected)


@given(seed=st.integers(0, 2**32), which=st.integers(0, len(REQUESTS) + len(ANSWERS) - 1))
def test_any_mutation_decodes_or_is_malformed(seed: int, which: int) -> None:
    message = [*REQUESTS, *ANSWERS][which]
    source = random.Random(seed)
    datagram = mutate(wire.encode(ID, message), source)
    _decodes_or_is_malformed(datagram, type(message) if isinstance(message, wire.Answer) else None)


def _decodes_or_is_malformed(datagram: bytes, expected: type[wire.Answer] | None) -> None:
    try:
        frame = wire.decode(datagram, expecting(expected))
    except MalformedMessage:
        return
    if isinstance(frame.message, wire.Nodes):
        assert all(is_callable(contact.endpoint) for contact in frame.message.contacts())


def mutate(datagram: bytes, source: random.Random) -> bytes:
    """Flips, cuts, repeats or inserts a few bytes."""
    changed = bytearray(datagram)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(changed) or 1)
        match source.randrange(4):
            case 0 if changed:
                changed[at] = source.randrange(256)
            case 1:
                del changed[at : at + source.randint(1, 8)]
            case 2:
                changed[at:at] = changed[at : at + source.randint(1, 8)]
            case _:
                changed[at:at] = source.randbytes(source.randint(1, 8))
    return bytes(changed)


@pytest.mark.parametrize("endpoint", [V4, V6, Endpoint("127.0.0.1", 0), Endpoint("::", 65_535)])
def test_an_endpoint_is_packed_and_unpacked(endpoint: Endpoint) -> None:
    assert unpack_endpoint(pack_endpoint(endpoint)) == endpoint


@pytest.mark.parametrize("host", ["localhost", "fe80::1%2", ""])
def test_what_means_nothing_elsewhere_is_not_packed(host: str) -> None:
    with pytest.raises(ValueError, match="address"):
        pack_endpoint(Endpoint(host, 1))


@pytest.mark.parametrize(
    "endpoint",
    [Endpoint("192.0.2.7", 0), Endpoint("0.0.0.0", 1), Endpoint("::", 1), Endpoint("224.0.0.1", 1), Endpoint("x", 1)],
)
def test_addresses_that_no_node_can_be_behind_are_not_called(endpoint: Endpoint) -> None:
    assert not is_callable(endpoint)


def test_a_mapped_address_is_shown_as_what_it_is() -> None:
    assert plain_endpoint("::ffff:192.0.2.7", 5) == Endpoint("192.0.2.7", 5)
    assert plain_endpoint("2001:db8::7", 5) == Endpoint("2001:db8::7", 5)
