"""The envelope: nothing is believed that is not signed, for exactly this, in exactly these bytes."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dhtchat.crypto.identity import SigningKey
from dhtchat.errors import BadSignature, MalformedRecord
from dhtchat.limits import FRAME_BYTES_MAX, RECORD_BYTES_MAX
from dhtchat.parameters import MAIN
from dhtchat.records.device import CERTIFICATE_BYTES_MAX, DeviceCertificate, open_certificate
from dhtchat.records.envelope import Body, Envelope, open_signed, peek_digest, peek_envelope
from dhtchat.records.kinds import is_durable, open_record
from dhtchat.records.listing import UserListing
from dhtchat.records.message import MESSAGE_BYTES_MAX, Message, open_statement, peek_message_id
from dhtchat.records.presence import Presence
from tests.records import samples

Opener = Callable[[bytes, bytes], Any]

CERTIFICATE = samples.certificate()
STATEMENT = samples.signed(samples.room_message(), samples.ALICES_LAPTOP).raw
RECORDS = {body.KIND: samples.signed(body).raw for body in samples.stored()}
SIGNED: dict[str, tuple[bytes, Opener]] = {
    **{kind: (raw, open_record) for kind, raw in RECORDS.items()},
    "device": (CERTIFICATE, open_certificate),
    "message": (STATEMENT, open_statement),
}
"""Good bytes of each kind, and what opens them."""


# --- what is good opens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", samples.stored(), ids=lambda body: body.KIND)
def test_a_record_opens_to_what_was_signed(body: Body) -> None:
    """Signing and opening give the same body, key, bytes and digest."""
    made = samples.signed(body)
    opened = open_record(made.raw, samples.NETWORK)
    assert opened == made
    assert (opened.raw, opened.key, opened.body) == (made.raw, samples.ALICE.public, body)
    assert is_durable(opened) == (body.KIND in ("account", "room"))


def test_a_certificate_names_identity_device_and_name() -> None:
    """An identity says that a device acts for it: all three come out."""
    author = open_certificate(CERTIFICATE, samples.NETWORK)
    assert (author.peer, author.device, author.name) == (samples.ALICE.public, samples.ALICES_LAPTOP.public, "alice")


def test_a_statement_names_its_author() -> None:
    """A message opens together with the certificate of the device that signed it."""
    statement = open_statement(STATEMENT, samples.NETWORK)
    assert (statement.author.peer, statement.author.device) == (samples.ALICE.public, samples.ALICES_LAPTOP.public)
    assert statement.conversation == samples.ROOM_ID
    assert statement.raw == STATEMENT


# --- what is not, does not --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SIGNED)
def test_one_flipped_bit_anywhere_is_refused(kind: str) -> None:
    """Verify before believe: each bit of the whole envelope, one at a time."""
    raw, opener = SIGNED[kind]
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedRecord, BadSignature)):
            opener(bytes(damaged), samples.NETWORK)


@pytest.mark.parametrize("kind", SIGNED)
def test_every_cut_and_every_addition_is_refused(kind: str) -> None:
    """No byte may lack and none may follow."""
    raw, opener = SIGNED[kind]
    for shorter in range(len(raw)):
        with pytest.raises(MalformedRecord):
            opener(raw[:shorter], samples.NETWORK)
    for extra in (b"\0", b"\xc0", raw):
        with pytest.raises(MalformedRecord):
            opener(raw + extra, samples.NETWORK)


@pytest.mark.parametrize("kind", SIGNED)
def test_another_network_refuses_it(kind: str) -> None:
    """The network is part of what is signed: `main` takes nothing from `sim`."""
    raw, opener = SIGNED[kind]
    with pytest.raises(BadSignature):
        opener(raw, MAIN.network_id)


def _rename(raw: bytes, kind: str) -> bytes:
    envelope = peek_envelope(raw)
    return msgspec.msgpack.encode(Envelope(kind, envelope.key, envelope.body, envelope.signature))


@pytest.mark.parametrize("to", RECORDS)
@pytest.mark.parametrize("kind", SIGNED)
def test_a_signature_is_worthless_for_another_kind(kind: str, to: str) -> None:
    """The kind is part of what is signed, also where two kinds have the same fields."""
    if kind != to:
        with pytest.raises(BadSignature):
            open_record(_rename(SIGNED[kind][0], to), samples.NETWORK)


def test_a_membership_signed_as_a_link_proof_is_no_membership() -> None:
    """A key that signs for another purpose (here: a link) has not signed a record, whatever the bytes."""
    body = msgspec.msgpack.encode(samples.membership())
    signature = samples.ALICE.sign("link-client", samples.NETWORK, body)
    raw = msgspec.msgpack.encode(Envelope("membership", samples.ALICE.public, body, signature))
    with pytest.raises(BadSignature):
        open_record(raw, samples.NETWORK)


def test_another_key_has_not_signed_it() -> None:
    """Naming oneself as the signer of somebody else's record fails."""
    envelope = peek_envelope(RECORDS["presence"])
    raw = msgspec.msgpack.encode(Envelope("presence", samples.BOB.public, envelope.body, envelope.signature))
    with pytest.raises(BadSignature):
        open_record(raw, samples.NETWORK)


def test_the_signature_is_checked_before_the_body_is_read() -> None:
    """Nobody reaches the decoder of a kind without a signature: an unreadable, unsigned body is a bad signature."""
    raw = msgspec.msgpack.encode(Envelope("presence", samples.ALICE.public, b"\xc1", bytes(64)))
    with pytest.raises(BadSignature):
        open_record(raw, samples.NETWORK)


@pytest.mark.parametrize("kind", ["device", "message", "link-server", "", "PRESENCE"])
def test_the_dht_stores_only_its_kinds(kind: str) -> None:
    """What is signed for another place (a certificate, a message) is no record of the DHT, good signature or not."""
    body = msgspec.msgpack.encode(samples.presence())
    signature = samples.ALICE.sign(kind, samples.NETWORK, body)
    with pytest.raises(MalformedRecord, match="kind"):
        open_record(msgspec.msgpack.encode(Envelope(kind, samples.ALICE.public, body, signature)), samples.NETWORK)


def test_too_large_is_refused_before_it_is_read() -> None:
    """A good record with a byte more than the limit is refused by its length alone."""
    with pytest.raises(MalformedRecord, match=f"{RECORD_BYTES_MAX + 1} bytes"):
        open_record(bytes(RECORD_BYTES_MAX + 1), samples.NETWORK)
    with pytest.raises(MalformedRecord, match="at most"):
        open_certificate(bytes(CERTIFICATE_BYTES_MAX + 1), samples.NETWORK)
    with pytest.raises(MalformedRecord, match="at most"):
        open_statement(bytes(MESSAGE_BYTES_MAX + 1), samples.NETWORK)


# --- the bytes that arrived are what counts ---------------------------------------------------------------------------


def _loosely(fields: list[Any]) -> bytes:
    """Other msgpack for the same array: a 32-bit length where four bits would do."""
    packed = b"".join(msgspec.msgpack.encode(field) for field in fields)
    return b"\xdd" + len(fields).to_bytes(4, "big") + packed


def test_a_reencoded_body_does_not_carry_the_old_signature() -> None:
    """The same fields in other bytes are not what was signed."""
    envelope = peek_envelope(RECORDS["presence"])
    body = _loosely(msgspec.msgpack.decode(envelope.body))
    assert msgspec.msgpack.decode(body, type=Presence) == samples.presence()
    raw = msgspec.msgpack.encode(Envelope("presence", envelope.key, body, envelope.signature))
    with pytest.raises(BadSignature):
        open_record(raw, samples.NETWORK)


def test_a_body_its_owner_encoded_oddly_is_kept_as_it_is() -> None:
    """Signed over odd bytes, verified over odd bytes, passed on as odd bytes: nothing is ever encoded again."""
    odd = _loosely(msgspec.msgpack.decode(msgspec.msgpack.encode(samples.presence())))
    signature = samples.ALICE.sign("presence", samples.NETWORK, odd)
    raw = msgspec.msgpack.encode(Envelope("presence", samples.ALICE.public, odd, signature))
    opened = open_record(raw, samples.NETWORK)
    assert opened.raw == raw
    assert opened.body == samples.presence()
    assert opened != samples.signed(samples.presence()), "another version: its bytes, and so its digest, differ"


def test_another_envelope_around_the_same_body_is_the_same_version() -> None:
    """Whoever passes a record on may wrap it oddly; that makes no second version of it, and no second message."""
    envelope = peek_envelope(RECORDS["presence"])
    raw = _loosely([envelope.kind, envelope.key, envelope.body, envelope.signature])
    opened = open_record(raw, samples.NETWORK)
    assert opened == samples.signed(samples.presence())
    wrapped = peek_envelope(STATEMENT)
    odd = _loosely([wrapped.kind, wrapped.key, wrapped.body, wrapped.signature])
    assert open_statement(odd, samples.NETWORK).id == open_statement(STATEMENT, samples.NETWORK).id


@pytest.mark.parametrize("kind", SIGNED)
def test_a_digest_can_be_known_before_the_signature_is_checked(kind: str) -> None:
    """Peeking spares a known record its check: it names the version that opening would, signature good or not."""
    raw, _ = SIGNED[kind]
    envelope = peek_envelope(raw)
    forged = msgspec.msgpack.encode(Envelope(envelope.kind, envelope.key, envelope.body, bytes(64)))
    assert peek_digest(forged) == peek_digest(raw)
    if kind == "message":
        assert peek_message_id(raw) == open_statement(raw, samples.NETWORK).id
    elif kind != "device":
        assert peek_digest(raw) == open_record(raw, samples.NETWORK).digest


def test_digests_tell_kinds_keys_and_bodies_apart() -> None:
    """A digest is the identity of one version by one key."""
    records = [samples.signed(body, key) for body in samples.stored() for key in (samples.ALICE, samples.BOB)]
    records += [samples.signed(samples.presence(sequence=n)) for n in (2, 3)]
    assert len({record.digest for record in records}) == len(records)
    assert len(set(records)) == len(records)


# --- whatever the bytes -----------------------------------------------------------------------------------------------

OPENERS: list[Opener] = [
    open_record,
    open_statement,
    open_certificate,
    lambda raw, network: open_signed(raw, UserListing, network, bytes_max=FRAME_BYTES_MAX),
    lambda raw, _: peek_envelope(raw),
    lambda raw, _: peek_message_id(raw),
]


def _opens_or_is_refused(raw: bytes) -> None:
    for opener in OPENERS:
        with contextlib.suppress(MalformedRecord, BadSignature):
            opener(raw, samples.NETWORK)


NASTY = [
    b"",
    b"\xc1",  # the one code msgpack never uses
    b"\x91" * 900,  # deep nesting
    b"\x81\xa0" * 400,
    b"\xdd\xff\xff\xff\xff",  # four billion items
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\x94\xa3\xed\xa0\x80",  # a lone surrogate
    b"\x94\xa1\xff",  # no UTF-8
    b"\xd8\xff" + bytes(16),  # an extension
    b"\xc7\x0c\xff" + b"\xff" * 12,  # a timestamp out of range
    b"\xcb\x7f\xf8" + bytes(6),  # not a number
]

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=64)
    | st.text(max_size=32),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("raw", NASTY, ids=lambda raw: raw[:6].hex() or "empty")
def test_known_nasty_bytes_are_refused(raw: bytes) -> None:
    """Deep nesting, huge lengths, bad UTF-8, extensions: `MalformedRecord`, no other exception, no memory spent."""
    for opener in OPENERS:
        with pytest.raises(MalformedRecord):
            opener(raw, samples.NETWORK)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=1_100))
def test_any_bytes_open_or_are_refused(raw: bytes) -> None:
    """Whatever arrives: a record, `MalformedRecord` or `BadSignature`, and nothing else."""
    _opens_or_is_refused(raw)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(sorted(SIGNED)),
    edits=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 3), st.binary(max_size=6)), min_size=1, max_size=4),
)
def test_any_edit_of_good_bytes_opens_or_is_refused(kind: str, edits: list[tuple[int, int, bytes]]) -> None:
    """The same for bytes that are nearly right: a few replaced, removed or put in."""
    raw, _ = SIGNED[kind]
    for position, removed, inserted in edits:
        start = position % len(raw)
        raw = raw[:start] + inserted + raw[start + removed :] or b"\0"
    _opens_or_is_refused(raw)


def _signed_anyhow(kind: str, body: bytes, key: SigningKey) -> bytes:
    return msgspec.msgpack.encode(Envelope(kind, key.public, body, key.sign(kind, samples.NETWORK, body)))


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(sorted(SIGNED)), body=st.binary(max_size=300) | plain.map(msgspec.msgpack.encode))
@example(kind="presence", body=b"\x99" + b"\x91" * 800)
@example(kind="membership", body=b"\xdd\xff\xff\xff\xff")
@example(kind="room", body=b"\x94\xa2#\xff\xa6public\x01\x01")
@example(kind="room", body=b"\x94\xa4#\xed\xa0\x80\xa6public\x01\x01")
def test_any_body_with_a_good_signature_opens_or_is_refused(kind: str, body: bytes) -> None:
    """A stranger can sign anything at all: the decoders of the kinds hold as well as the envelope's."""
    _opens_or_is_refused(_signed_anyhow(kind, body, samples.ALICE))


GOOD_FIELDS = {
    body.KIND: msgspec.msgpack.decode(msgspec.msgpack.encode(body))
    for body in (*samples.stored(), samples.room_message(), samples.private_message())
} | {"device": msgspec.msgpack.decode(msgspec.msgpack.encode(DeviceCertificate("bob", b"d" * 32, samples.NOW_S)))}

odd_field = (
    st.sampled_from([-1, 0, 1, 2**31, 2**40 + 1, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1, "", "é", "#", b""]) | plain
)


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(sorted(GOOD_FIELDS)), at=st.integers(0, 9), odd=odd_field)
def test_one_odd_field_with_a_good_signature_opens_or_is_refused(kind: str, at: int, odd: Any) -> None:
    """All fields right but one: integers out of range, other types, empty and overlong values."""
    fields = list(GOOD_FIELDS[kind])
    fields[at % len(fields)] = odd
    key = samples.ALICES_LAPTOP if kind == Message.KIND else samples.ALICE
    _opens_or_is_refused(_signed_anyhow(kind, msgspec.msgpack.encode(fields), key))
