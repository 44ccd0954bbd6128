"""The bytes of the DHT: few ways in, which return or raise `MalformedMessage`, whatever the bytes."""

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht import wire
from dhtchat.dht.contact import (
    callable_contact,
    contact_at,
    is_callable,
    pack_contact,
    pack_endpoint,
    plain_endpoint,
    unpack_contact,
    unpack_endpoint,
)
from dhtchat.errors import MalformedMessage
from dhtchat.ids import Endpoint, puzzle_bits
from dhtchat.limits import DATAGRAM_ID_BYTES, HELLO_BYTES, NETWORK_TAG_BYTES, NODE_ID_BYTES, TOKEN_BYTES
from dhtchat.parameters import MAIN
from dhtchat.records.acceptance import Reason, Verdict
from tests.dht.support import node_key_of

ID = bytes(range(DATAGRAM_ID_BYTES))
TOKEN = bytes(range(100, 100 + TOKEN_BYTES))
NODE = bytes(range(NODE_ID_BYTES))
V4, V6 = Endpoint("192.0.2.7", 8468), Endpoint("2001:db8::7", 8468)
KEY = node_key_of(1).public

REQUESTS: list[wire.Request] = [
    wire.Ping(),
    wire.FindNode(NODE),
    wire.FindClaims(NODE, 3),
    wire.FindEntries(NODE, "presence", b"cursor"),
    wire.Store(NODE, b"record", None),
    wire.Store(NODE, b"record", 120_000),
    wire.Store(NODE, b"record", None, 3, 5),
    wire.Touch(NODE, b"entry", bytes(16)),
    wire.ListEntries(NODE, b"cursor"),
    wire.Leaving(),
]
ANSWERS: list[wire.Answer] = [
    wire.Pong(),
    wire.Greeting(pack_endpoint(V4)),
    wire.Nodes([pack_contact(contact_at(KEY, V4)), pack_contact(contact_at(KEY, V6))]),
    wire.Claims(False, 2, [b"one", b"two"]),
    wire.Entries([wire.Entry(b"one", 5)], b"next"),
    wire.Stored(Verdict.REFUSED, Reason.STALE, 7),
    wire.Entries([], b"", True, ("0a", "0b")),
    wire.Entries([wire.Entry(b"one", 5)], b"next", False, (), bytes(16)),
    wire.Listed([wire.ListedEntry(b"one", 5)], b"next"),
    wire.Stored(Verdict.REFUSED, Reason.SPLIT, 0, True, True),
]
EXPECTED: list[type[wire.Answer]] = [*wire.ANSWER_TO.values(), wire.Greeting]
HELLO = wire.Hello(KEY, b"netw", ID)


def expecting(answer: type[wire.Answer] | None) -> Callable[[bytes], type[wire.Answer] | None]:
    return lambda message_id: answer


@pytest.mark.parametrize("bytes_min", [0, 300])
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda message: type(message).__name__)
def test_a_request_is_encoded_and_decoded(request_: wire.Request, bytes_min: int) -> None:
    plaintext = wire.encode(ID, TOKEN, request_, bytes_min=bytes_min)
    assert len(plaintext) >= bytes_min
    assert wire.decode_request(plaintext) == wire.Frame(ID, TOKEN, request_)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda message: type(message).__name__)
def test_an_answer_is_encoded_and_decoded(answer: wire.Answer) -> None:
    plaintext = wire.encode(ID, TOKEN, answer)
    assert wire.decode_answer(plaintext, expecting(type(answer))) == wire.Frame(ID, TOKEN, answer)


@pytest.mark.parametrize("reason", wire.Refusal)
@pytest.mark.parametrize("expected", EXPECTED)
def test_a_refusal_is_understood_in_place_of_any_answer(expected: type[wire.Answer], reason: wire.Refusal) -> None:
    refusal = wire.Refused(reason)
    assert wire.decode_answer(wire.encode(ID, TOKEN, refusal), expecting(expected)).message == refusal


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("expected", EXPECTED)
def test_an_answer_is_read_only_as_what_was_asked_for(answer: wire.Answer, expected: type[wire.Answer]) -> None:
    """`Nodes` may come instead of a value: who holds none says who is nearer."""
    finds_value = expected in (wire.Claims, wire.Entries)
    if not isinstance(answer, expected) and not (finds_value and isinstance(answer, wire.Nodes)):
        with pytest.raises(MalformedMessage):
            wire.decode_answer(wire.encode(ID, TOKEN, answer), expecting(expected))


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("expected", EXPECTED)
def test_a_request_is_no_answer_and_an_answer_no_request(request_: wire.Request, expected: type[wire.Answer]) -> None:
    with pytest.raises(MalformedMessage):
        wire.decode_answer(wire.encode(ID, TOKEN, request_), expecting(expected))
    for answer in ANSWERS:
        with pytest.raises(MalformedMessage):
            wire.decode_request(wire.encode(ID, TOKEN, answer))


def _frame(payload: bytes) -> bytes:
    return ID + TOKEN + len(payload).to_bytes(2, "big") + payload


def test_the_payload_of_an_answer_nobody_waits_for_is_not_looked_at() -> None:
    assert wire.decode_answer(_frame(b"anything"), expecting(None)) == wire.Frame(ID, TOKEN, None)


def _raw(*fields: object) -> bytes:
    return _frame(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        ID + TOKEN,
        ID + TOKEN + b"\0",
        _frame(b""),
        _frame(b"\x91\xa4ping")[:-1],
        ID + TOKEN + b"\xff\xff\x91\xa4ping",
        _frame(b"\xc1"),
        _frame(b"\x91" * 1_200),  # nested a thousand times
        _frame(b"\x92\xa9find_node\xdd\xff\xff\xff\xff"),  # claims to go on for 4 GiB
        _frame(b"\x91\xa4ping\x00"),
        _raw("ping", 1),
        _raw("ping", [NODE]),  # as the stock library asks
        _raw("pong"),
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
        ["nodes", [bytes(26)]],
        ["nodes", [bytes(38)] * 21],
        ["nodes", [7]],
        ["nodes", [], 1],
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
        wire.decode_answer(_frame(msgspec.msgpack.encode(answer)), expecting(wire.Nodes))


def test_a_greeting_with_a_bad_address_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        wire.decode_answer(_raw("greeting", b"12345"), expecting(wire.Greeting))


# --- not sealed -------------------------------------------------------------------------------------------------------


def test_a_hello_is_encoded_and_decoded() -> None:
    assert wire.decode_hello(wire.encode_hello(HELLO)) == HELLO
    assert len(wire.encode_hello(HELLO)) == HELLO_BYTES


def test_a_hello_must_be_as_long_as_it_should() -> None:
    """Shorter, and it would be worth sending in somebody else's name."""
    datagram = wire.encode_hello(HELLO)
    for bad in (datagram[:-1], datagram + b"\0", datagram[:45], b"", b"\0" + datagram[1:]):
        with pytest.raises(MalformedMessage):
            wire.decode_hello(bad)


def test_the_answer_of_another_network_is_encoded_and_decoded() -> None:
    datagram = wire.encode_foreign(ID)
    assert wire.decode_foreign(datagram) == ID
    for bad in (datagram[:-1], datagram + b"\0", b"\0" + datagram[1:]):
        with pytest.raises(MalformedMessage):
            wire.decode_foreign(bad)


# --- any bytes --------------------------------------------------------------------------------------------------------


@given(plaintext=st.binary(max_size=1_300), expected=st.sampled_from([None, *EXPECTED]))
def test_any_bytes_decode_or_are_malformed(plaintext: bytes, expected: type[wire.Answer] | None) -> None:
    _decodes_or_is_malformed(plaintext, expected)
    _decodes_or_is_malformed(_frame(plaintext), expected)


@given(seed=st.integers(0, 2**32), which=st.integers(0, len(REQUESTS) + len(ANSWERS) - 1))
def test_any_mutation_decodes_or_is_malformed(seed: int, which: int) -> None:
    message = [*REQUESTS, *ANSWERS][which]
    plaintext = mutate(wire.encode(ID, TOKEN, message), random.Random(seed))
    _decodes_or_is_malformed(plaintext, type(message) if isinstance(message, wire.Answer) else None)


def _decodes_or_is_malformed(plaintext: bytes, expected: type[wire.Answer] | None) -> None:
    for decode in (wire.decode_request, lambda plain: wire.decode_answer(plain, expecting(expected))):
        try:
            frame = decode(plaintext)
        except MalformedMessage:
            continue
        assert (frame.message_id, frame.token) == (plaintext[:8], plaintext[8:16])
        if isinstance(frame.message, wire.Nodes):
            assert all(is_callable(contact.endpoint) for contact in frame.message.contacts(0))


@given(st.one_of(st.binary(max_size=200), st.binary(min_size=127, max_size=127).map(lambda tail: b"\x13" + tail)))
def test_any_bytes_are_a_hello_or_malformed(datagram: bytes) -> None:
    for decode in (wire.decode_hello, wire.decode_foreign):
        try:
            decoded = decode(datagram)
        except MalformedMessage:
            continue
        if isinstance(decoded, wire.Hello):
            assert [len(part) for part in decoded] == [32, NETWORK_TAG_BYTES, DATAGRAM_ID_BYTES]


@given(st.one_of(st.binary(max_size=60), st.binary(min_size=38, max_size=38), st.binary(min_size=50, max_size=50)))
def test_any_bytes_are_a_contact_or_malformed(packed: bytes) -> None:
    try:
        contact = unpack_contact(packed)
    except MalformedMessage:
        return
    assert pack_contact(contact) == packed
    usable = callable_contact(packed, 0)
    assert usable in (None, contact)


def mutate(data: bytes, source: random.Random) -> bytes:
    """Flips, cuts, repeats or inserts a few bytes."""
    changed = bytearray(data)
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


# --- contacts ---------------------------------------------------------------------------------------------------------


def test_a_key_that_does_not_solve_the_puzzle_is_no_contact() -> None:
    """Ids are free to choose otherwise; whoever is named must have paid, too."""
    solved, unsolved = (
        node_key_of(1, MAIN).public,
        next(key for seed in range(100) if puzzle_bits(key := node_key_of(seed).public) < MAIN.id_puzzle_bits),
    )
    named = wire.Nodes([pack_contact(contact_at(key, V4)) for key in (solved, unsolved)])
    assert named.contacts(MAIN.id_puzzle_bits) == [contact_at(solved, V4)]


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
