"""Signatures: worth something for one purpose, network, key and body, and only one signature for each."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhtchat.crypto.identity import SIGNATURE_BYTES, SigningKey, is_small_order, mailbox_key_of, verify

NETWORK = b"n" * 32
KEY = SigningKey(b"a" * 32)
OTHER = SigningKey(b"b" * 32)
BODY = b"what is signed"
SIGNATURE = KEY.sign("presence", NETWORK, BODY)

FIELD = 2**255 - 19
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_good_signature_holds() -> None:
    """And is the same each time (Ed25519, RFC 8032 §5.1.6, is deterministic): golden files can pin it."""
    assert len(SIGNATURE) == SIGNATURE_BYTES
    assert verify(KEY.public, "presence", NETWORK, BODY, SIGNATURE)
    assert KEY.sign("presence", NETWORK, BODY) == SIGNATURE


@pytest.mark.parametrize(
    ("public", "purpose", "network", "body"),
    [
        (OTHER.public, "presence", NETWORK, BODY),
        (KEY.public, "membership", NETWORK, BODY),
        (KEY.public, "presenc", NETWORK, BODY),
        (KEY.public, "", NETWORK, BODY),
        (KEY.public, "presence", b"m" * 32, BODY),
        (KEY.public, "presence", NETWORK, BODY + b"\0"),
        (KEY.public, "presence", NETWORK + BODY[:1], BODY[1:] + b"x"),
        (KEY.public, "presence", NETWORK, b""),
    ],
)
def test_it_is_worthless_as_anything_else(public: bytes, purpose: str, network: bytes, body: bytes) -> None:
    """Another key, purpose, network or body: it does not hold."""
    assert not verify(public, purpose, network, body, SIGNATURE)


@settings(max_examples=200, deadline=None)
@given(public=st.binary(max_size=64), signature=st.binary(max_size=96), body=st.binary(max_size=64))
def test_foreign_bytes_are_no_signature_and_no_exception(public: bytes, signature: bytes, body: bytes) -> None:
    """Whatever a stranger sends as key and signature: the answer is no."""
    assert not verify(public, "presence", NETWORK, body, signature)
    assert not verify(KEY.public, "presence", NETWORK, body, signature)
    assert not verify(public, "presence", NETWORK, BODY, SIGNATURE)


def test_no_bit_of_a_signature_is_free() -> None:
    """Nobody makes a second signature out of a first by changing it a little."""
    for bit in range(8 * SIGNATURE_BYTES):
        changed = bytearray(SIGNATURE)
        changed[bit // 8] ^= 1 << bit % 8
        assert not verify(KEY.public, "presence", NETWORK, BODY, bytes(changed))


@pytest.mark.parametrize("times", [1, 2, 7])
def test_the_second_half_must_be_reduced(times: int) -> None:
    """S and S + L would be the same to a verifier that does not check RFC 8032 §5.1.7: malleability."""
    s = int.from_bytes(SIGNATURE[32:], "little") + times * GROUP_ORDER
    assert not verify(KEY.public, "presence", NETWORK, BODY, SIGNATURE[:32] + s.to_bytes(32, "little"))


# --- keys that nobody owns --------------------------------------------------------------------------------------------


def _encodings(y: int) -> list[bytes]:
    """Every 32 bytes that a lenient decoder reads as a point with this y: not reduced, either sign."""
    return [
        (value | sign << 255).to_bytes(32, "little") for value in (y, y + FIELD) if value < 2**255 for sign in (0, 1)
    ]


Y_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER_KEYS = [
    encoding for y in (0, 1, FIELD - 1, Y_OF_ORDER_8, FIELD - Y_OF_ORDER_8) for encoding in _encodings(y)
]
"""The eight points of small order in every encoding: 14 of them; the all-zero key is one."""


@pytest.mark.parametrize("public", SMALL_ORDER_KEYS, ids=lambda key: key[:4].hex() + key[-1:].hex())
def test_keys_of_small_order_sign_nothing(public: bytes) -> None:
    """OpenSSL lets S = 0 and R of small order sign one message in eight, or all, under such a key, with no secret:
    one signature for many bodies, and an identity that everybody has. Here none of them holds."""
    assert is_small_order(public)
    for point in SMALL_ORDER_KEYS:
        forged = point + bytes(32)
        assert not any(verify(public, "presence", NETWORK, bytes([number]), forged) for number in range(16))


def test_the_list_of_small_order_keys_is_complete() -> None:
    """The order of each is a divisor of 8, and there are as many as the curve has: 8 points, 14 encodings."""
    assert len(set(SMALL_ORDER_KEYS)) == 14
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    for y in (Y_OF_ORDER_8, FIELD - Y_OF_ORDER_8):
        x_squared = (y * y - 1) * pow(d * y * y + 1, -1, FIELD) % FIELD
        assert (y * y + x_squared) % FIELD == 0  # so twice the point has y = 0, and four times it is y = -1


def test_honest_keys_are_not_of_small_order() -> None:
    """What `generate` makes is usable."""
    source = random.Random(1)
    assert not any(is_small_order(SigningKey.generate(source).public) for _ in range(100))


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_its_seed() -> None:
    """The same seed is the same key on every machine; another source another key."""
    assert SigningKey(KEY.seed).public == KEY.public
    assert SigningKey.generate(random.Random(1)).public == SigningKey.generate(random.Random(1)).public
    assert SigningKey.generate(random.Random(1)).public != SigningKey.generate(random.Random(2)).public


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(length: int) -> None:
    """Anything else is a bug of the caller."""
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(bytes(length))


def test_a_secret_key_does_not_print_its_secret() -> None:
    """A key in a log line or a traceback shows its public half."""
    for text in (repr(KEY), str(KEY), f"{KEY}"):
        assert KEY.seed.hex()[:8] not in text
        assert KEY.public.hex()[:16] in text


def test_the_mailbox_key_is_another_key() -> None:
    """Derived, so that every login has it; not the signing key in another guise."""
    mailbox = mailbox_key_of(KEY.seed)
    assert mailbox.private_bytes_raw() == mailbox_key_of(KEY.seed).private_bytes_raw()
    assert mailbox.private_bytes_raw() not in (KEY.seed, mailbox_key_of(OTHER.seed).private_bytes_raw())
