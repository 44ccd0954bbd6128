"""The bytes of the DHT: one way in, which returns or raises `MalformedMessage`, whatever the bytes."""

import contextlib
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht import wire
from dhtchat.dht.contact import contact_at, is_callable, pack_contact, pack_endpoint, plain_endpoint, unpack_endpoint
from dhtchat.errors import MalformedMessage
from dhtchat.ids import Endpoint, puzzle_bits
from dhtchat.limits import DATAGRAM_ID_BYTES, HELLO_BYTES, NODE_ID_BYTES, TOKEN_BYTES
from dhtchat.records.acceptance import Reason, Verdict

ID = bytes(range(DATAGRAM_ID_BYTES))
NODE = bytes(range(NODE_ID_BYTES))
KEY = bytes(range(32))
TOKEN = b"a token."
HELLO = wire.Hello(KEY, b"netw", ID)
V4, V6 = Endpoint("192.0.2.7", 8468), Endpoint("2001:db8::7", 8468)

REQUESTS: list[wire.Request] = [
    wire.Ping(),
    wire.Leaving(),
    wire.FindNode(NODE),
    wire.FindClaims(NODE, 3),
    wire.FindEntries(NODE, "presence", b"cursor"),
    wire.Store(NODE, b"record", None),
    wire.Store(NODE, b"record", 120_000),
]
ANSWERS: list[wire.Answer] = [
    wire.Pong(),
    wire.Greeting(pack_endpoint(V4)),
    wire.Nodes([pack_contact(contact_at(KEY, V4)), pack_contact(contact_at(KEY, V6))]),
    wire.Claims(False, 2, [b"one", b"two"]),
    wire.Entries([wire.Entry(b"one", 5)], b"next"),
    wire.Stored(Verdict.REFUSED, Reason.STALE, 7),
]


EVERY_ANSWER = (*wire.ANSWER_TO.values(), wire.Greeting)


def decode(plaintext: bytes, expected: type[wire.Answer] | None) -> wire.Frame:
    """As a request, or as the answer that is waited for."""
    return wire.decode_request(plaintext) if expected is None else wire.decode_answer(plaintext, lambda _: expected)


def kind_of(message: wire.Message) -> type[wire.Answer] | None:
    return type(message) if isinstance(message, wire.Answer) else None


@pytest.mark.parametrize("bytes_min", [0, 18, 300])
@pytest.mark.parametrize("message", [*REQUESTS, *ANSWERS], ids=lambda message: type(message).__name__)
def test_what_is_encoded_is_decoded(message: wire.Message, bytes_min: int) -> None:
    plaintext = wire.encode(ID, TOKEN, message, bytes_min=bytes_min)
    assert len(plaintext) >= bytes_min
    assert decode(plaintext, kind_of(message)) == wire.Frame(ID, TOKEN, message)


@pytest.mark.parametrize("expected", EVERY_ANSWER)
def test_a_refusal_is_understood_in_place_of_any_answer(expected: type[wire.Answer]) -> None:
    refusal = wire.Refused(wire.Refusal.BUSY)
    assert decode(wire.encode(ID, TOKEN, refusal), expected).message == refusal


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("expected", EVERY_ANSWER)
def test_an_answer_is_read_only_as_what_was_asked_for(answer: wire.Answer, expected: type[wire.Answer]) -> None:
    """`Nodes` may come instead of a value: who holds none says who is nearer."""
    finds_value = expected in (wire.Claims, wire.Entries)
    if not isinstance(answer, expected) and not (finds_value and isinstance(answer, wire.Nodes)):
        with pytest.raises(MalformedMessage):
            decode(wire.encode(ID, TOKEN, answer), expected)


def test_an_answer_nobody_waits_for_is_not_looked_at() -> None:
    frame = wire.decode_answer(_framed(b"anything"), lambda message_id: None)
    assert frame == wire.Frame(ID, TOKEN, None)


def _framed(payload: bytes) -> bytes:
    return ID + TOKEN + len(payload).to_bytes(2, "big") + payload


def _raw(*fields: object) -> bytes:
    return _framed(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        ID,
        ID + TOKEN + b"\0",
        ID + TOKEN + b"\0\0",
        ID + TOKEN + b"\xff\xff" + msgspec.msgpack.encode(["ping"]),
        _framed(b"\xc1"),
        _framed(b"\x91" * 1_100),  # nested a thousand times
        _framed(b"\x92\xa4ping\xdd\xff\xff\xff\xff"),  # claims to go on for 4 GiB
        _framed(msgspec.msgpack.encode(["ping"]) + b"\0"),
        _raw("ping", 1),
        _raw("ping", NODE),  # as the stock library asks
        _raw("pong"),
        _raw("greeting", pack_endpoint(V4)),
        _raw("no_such_method"),
        _raw("find_node", NODE[:-1]),
        _raw("find_claims", NODE, 4),
        _raw("find_claims", NODE, -1),
        _raw("find_entries", NODE, "presence", bytes(65)),
        _raw("store", NODE, bytes(1_001), None),
        _raw("store", NODE, b"", None),
        _raw("store", NODE, b"record", -1),
        _raw("store", NODE, b"record", 2**40),
        _raw("store", NODE, b"record", float("nan")),
    ],
)
def test_bad_requests_are_malformed(plaintext: bytes) -> None:
    with pytest.raises(MalformedMessage):
        wire.decode_request(plaintext)


@pytest.mark.parametrize(
    "answer",
    [
        ["nodes", [bytes(37)]],
        ["nodes", [bytes(38)] * 21],
        ["nodes", [7]],
        ["nodes", 7],
        ["nodes", [[7]]],
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
        decode(_framed(msgspec.msgpack.encode(answer)), wire.Nodes)


def test_a_greeting_with_a_bad_address_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        decode(_raw("greeting", b"12345"), wire.Greeting)


def test_what_is_named_without_solving_the_puzzle_is_left_out() -> None:
    bits = puzzle_bits(KEY)
    nodes = wire.Nodes([pack_contact(contact_at(KEY, V4))])
    assert nodes.contacts(bits) == [contact_at(KEY, V4)]
    assert nodes.contacts(bits + 1) == []


# --- before keys are known --------------------------------------------------------------------------------------------


def test_a_hello_and_the_answer_of_another_network_are_read() -> None:
    datagram = wire.encode_hello(HELLO)
    assert len(datagram) == HELLO_BYTES
    assert wire.decode_hello(datagram) == HELLO
    assert wire.decode_foreign(wire.encode_foreign(ID)) == ID


@pytest.mark.parametrize(
    "datagram",
    [b"", wire.encode_hello(HELLO)[:-1], wire.encode_hello(HELLO) + b"\0", b"\0" + wire.encode_hello(HELLO)[1:]],
)
def test_bad_hellos_are_malformed(datagram: bytes) -> None:
    """A shorter one could make us send more than was sent to us."""
    with pytest.raises(MalformedMessage):
        wire.decode_hello(datagram)
    with pytest.raises(MalformedMessage):
        wire.decode_foreign(datagram)


# --- any bytes --------------------------------------------------------------------------------------------------------


@given(plaintext=st.binary(max_size=1_300), expected=st.sampled_from([None, *EVERY_ANSWER]))
def test_any_bytes_decode_or_are_malformed(plaintext: bytes, expected: type[wire.Answer] | None) -> None:
    _decodes_or_is_malformed(plaintext, expected)
    for decoder in (wire.decode_hello, wire.decode_foreign):
        with contextlib.suppress(MalformedMessage):
            decoder(plaintext)


@given(seed=st.integers(0, 2**32), which=st.integers(0, len(REQUESTS) + len(ANSWERS) - 1))
def test_any_mutation_decodes_or_is_malformed(seed: int, which: int) -> None:
    message = [*REQUESTS, *ANSWERS][which]
    source = random.Random(seed)
    plaintext = mutate(wire.encode(ID, TOKEN, message), source)
    _decodes_or_is_malformed(plaintext, kind_of(message))


def _decodes_or_is_malformed(plaintext: bytes, expected: type[wire.Answer] | None) -> None:
    try:
        frame = decode(plaintext, expected)
    except MalformedMessage:
        return
    assert len(frame.message_id) == DATAGRAM_ID_BYTES
    assert len(frame.token) == TOKEN_BYTES
    if isinstance(frame.message, wire.Nodes):
        assert all(is_callable(contact.endpoint) for contact in frame.message.contacts(0))


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
