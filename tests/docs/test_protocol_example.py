"""The worked examples of docs/protocol.md decode, from its text alone: nothing of `dhtchat` is used to read them.

What is written out here follows the document sentence by sentence. If this file is wrong, so is the document, or the code:
the last tests compare with that.
"""

import hashlib
import re
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.docs import examples
from tests.docs.pages import marked, quoted, read, section, tables

PROTOCOL = read("docs/protocol.md")
TEXTS = marked(PROTOCOL, "example")
VALUES = {
    name: quoted(value)[0]
    for heading, *rows in [rows for rows in tables(PROTOCOL) if rows[0] == ["value", "bytes"]]
    for name, value in rows
}


def _bytes(name: str) -> bytes:
    """The hex of an example, without what stands behind semicolons."""
    return bytes.fromhex(re.sub(r";.*", "", TEXTS[name]))


def _key(seed_byte: int) -> bytes:
    """ "32 times `01`" and so on: the public key of that seed."""
    return Ed25519PrivateKey.from_private_bytes(bytes([seed_byte]) * 32).public_key().public_bytes_raw()


ALICE, ALICES_LAPTOP, BOB, BOBS_PHONE = map(_key, (1, 2, 3, 4))
SIM_ID = bytes.fromhex(VALUES["`network_id` of `sim`"])


def _hash(label: str, *parts: bytes) -> bytes:
    """ "SHA-256("dhtchat/" || label || "/v1" || 0x00 || for each part: length (4 bytes) || part)"."""
    data = b"dhtchat/" + label.encode() + b"/v1\x00"
    return hashlib.sha256(data + b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def _check(key: bytes, purpose: str, body: bytes, signature: bytes) -> None:
    """ ""dhtchat/" || purpose || "/v1" || 0x00 || network_id || body". Raises `InvalidSignature`."""
    signed = b"dhtchat/" + purpose.encode() + b"/v1\x00" + SIM_ID + body
    Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)


def _fields(kind: str) -> list[str]:
    rows = next(rows for rows in tables(section(PROTOCOL, f"`{kind}`")) if rows[0][0] == "field")
    return [quoted(row[0])[0] for row in rows[1:]]


def _open(raw: bytes) -> tuple[str, bytes, dict[str, Any]]:
    """Kind, key and the named fields of a signed record."""
    kind, key, body, signature = msgspec.msgpack.decode(raw)
    _check(key, kind, body, signature)
    return kind, key, dict(zip(_fields(kind), msgspec.msgpack.decode(body), strict=True))


def _frames(stream: bytes) -> list[bytes]:
    """ "frame = length (4 bytes) || msgpack of a tagged array", the length included."""
    found = []
    while stream:
        end = 4 + int.from_bytes(stream[:4], "big")
        assert 4 < end <= len(stream)
        found.append(stream[:end])
        stream = stream[end:]
    return found


# --- the record -------------------------------------------------------------------------------------------------------


def test_the_record_opens_to_what_is_written_beside_it() -> None:
    kind, key, fields = _open(_bytes("user-listing"))
    assert (kind, key) == ("user-listing", ALICE)
    assert fields["device"] == ALICES_LAPTOP
    for name, value in fields.items():
        written = re.search(rf";   {name}(?:: (.*))?$", TEXTS["user-listing"], re.MULTILINE)
        assert written, name
        assert written[1] is None or written[1] == repr(value)


def test_what_follows_from_the_record_follows() -> None:
    kind, key, body, _ = msgspec.msgpack.decode(_bytes("user-listing"))
    assert VALUES["place"] == _hash("key", b"directory", b"users")[:20].hex()
    assert VALUES["entry id"] == (key + ALICES_LAPTOP).hex()
    assert VALUES["digest"] == _hash("record", kind.encode(), key, body).hex()


def test_one_bit_changed_and_it_does_not_open() -> None:
    raw = bytearray(_bytes("user-listing"))
    raw[60] ^= 1
    with pytest.raises(InvalidSignature):
        _open(bytes(raw))


# --- the handshake ----------------------------------------------------------------------------------------------------


def test_the_handshake_proves_both_sides() -> None:
    """ "T1 = SHA-256(TLS certificate of s, DER || hello)", "T2 = SHA-256(... || hello || server-proof)"."""
    certificate = _bytes("tls-certificate")
    frames = _frames(_bytes("handshake"))
    hello, server_proof, client_proof, welcome, ping = [msgspec.msgpack.decode(frame[4:]) for frame in frames]

    assert hello == ["hello", 1, SIM_ID, b"\x05" * 32]
    t1 = hashlib.sha256(certificate + frames[0]).digest()
    assert VALUES["T of the server"] == t1.hex()

    tag, server_certificate, nonce, signature = server_proof
    assert (tag, nonce) == ("server-proof", b"\x06" * 32)
    kind, identity, fields = _open(server_certificate)
    assert (kind, identity, fields["name"], fields["device"]) == ("device", BOB, "bob", BOBS_PHONE)
    _check(BOBS_PHONE, "link-server", t1, signature)
    t2 = hashlib.sha256(certificate + frames[0] + frames[1]).digest()
    assert VALUES["T of the client"] == t2.hex()

    tag, client_certificate, signature = client_proof
    assert tag == "client-proof"
    kind, identity, fields = _open(client_certificate)
    assert (kind, identity, fields["name"], fields["device"]) == ("device", ALICE, "alice", ALICES_LAPTOP)
    _check(ALICES_LAPTOP, "link-client", t2 + BOBS_PHONE, signature)

    assert (welcome, ping) == (["welcome"], ["ping", 1])


def test_the_tls_certificate_is_what_the_text_says() -> None:
    """ "a self-signed Ed25519 certificate"."""
    certificate = x509.load_der_x509_certificate(_bytes("tls-certificate"))
    assert certificate.issuer == certificate.subject
    key = certificate.public_key()
    assert isinstance(key, Ed25519PublicKey)
    key.verify(certificate.signature, certificate.tbs_certificate_bytes)


# --- datagrams --------------------------------------------------------------------------------------------------------


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256, 32 bytes."""
    return HKDF(hashes.SHA256(), 32, salt, info).derive(secret)


def _unseal(datagram: bytes, receiver: X25519PrivateKey) -> tuple[int, bytes, bytes]:
    """Kind, the sender's key and the plaintext: "version and kind 1 || sender's key 32 || boot id 8 || counter 12 ||
    ciphertext || tag 16", all before the ciphertext authenticated, the counter as nonce."""
    assert datagram[0] >> 4 == 1
    sender, boot_id, counter = datagram[1:33], datagram[33:41], datagram[41:53]
    own = receiver.public_key().public_bytes_raw()
    secret = receiver.exchange(X25519PublicKey.from_public_bytes(sender))
    key = _hkdf(secret, boot_id, b"dhtchat/datagram/v1\0" + sender + own + SIM_ID)
    return datagram[0] & 15, sender, ChaCha20Poly1305(key).decrypt(counter, datagram[53:], datagram[:53])


def test_the_datagrams_ask_and_answer() -> None:
    """ "id 8 || token 8 || length 2 || msgpack of a tagged array || zeros"."""
    alice, bob = (X25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (7, 8))
    kind, sender, asked = _unseal(_bytes("question"), bob)
    assert (kind, sender) == (0, alice.public_key().public_bytes_raw())
    kind, sender, answered = _unseal(_bytes("answer"), alice)
    assert (kind, sender) == (1, bob.public_key().public_bytes_raw())
    assert (asked, answered) == (_bytes("question-inside"), _bytes("answer-inside"))
    assert asked[:8] == answered[:8]
    for plaintext in (asked, answered):
        assert len(plaintext) == 18 + int.from_bytes(plaintext[16:18], "big")
    assert msgspec.msgpack.decode(asked[18:]) == ["find_claims", _hash("key", b"account", b"bob")[:20], 0]
    contact = bob.public_key().public_bytes_raw() + bytes([192, 0, 2, 7]) + (8468).to_bytes(2, "big")
    assert msgspec.msgpack.decode(answered[18:]) == ["nodes", [contact]]


# --- and the code -----------------------------------------------------------------------------------------------------


def test_the_examples_are_what_the_code_makes() -> None:
    """After a change of the wire that is meant: `python -m tests.docs.examples`."""
    assert {name: text.rstrip("\n") for name, text in TEXTS.items()} == examples.blocks()
    assert {name: VALUES[name] for name in examples.values()} == examples.values()
