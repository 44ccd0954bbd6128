"""The worked examples of docs/protocol.md, made by the code that the document describes.

Everything comes from fixed seeds. After a change of the wire that is meant, from the root of the checkout:

    python -m tests.docs.examples

prints the blocks and the values that follow from them, to be put into the document by hand.
"""

import hashlib
import random
from typing import Any, Final

import msgspec

from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.crypto.datagram import NodeKey, Sealer
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht import wire
from dhtchat.dht.contact import contact_at, pack_contact
from dhtchat.ids import Endpoint
from dhtchat.limits import BOOT_ID_BYTES, DATAGRAM_ID_BYTES, NONCE_BYTES, TOKEN_BYTES
from dhtchat.parameters import MAIN, SIM
from dhtchat.peer.framing import LENGTH_BYTES
from dhtchat.peer.messages import decode
from dhtchat.peer.session import ClientSession, Opened, Reply, ServerSession
from dhtchat.records.account import account_key
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import Envelope, Signed, peek_envelope, sign_body
from dhtchat.records.listing import UserListing

NOW_S: Final = 1_767_225_600
"""2026-01-01T00:00:00Z."""
ALICE: Final = SigningKey(b"\x01" * 32)
ALICES_LAPTOP: Final = SigningKey(b"\x02" * 32)
BOB: Final = SigningKey(b"\x03" * 32)
BOBS_PHONE: Final = SigningKey(b"\x04" * 32)
NONCE_C: Final = b"\x05" * NONCE_BYTES
NONCE_S: Final = b"\x06" * NONCE_BYTES
_BYTES_A_LINE: Final = 24

Line = tuple[bytes, str]
"""Some bytes and what they are."""


# --- a record ---------------------------------------------------------------------------------------------------------


def listing() -> Signed[UserListing]:
    """Alice's laptop is online: an entry of the directory of users."""
    body = UserListing("alice", ALICES_LAPTOP.public, False, NOW_S * 1_000, NOW_S, 120, False)
    return sign_body(body, ALICE, SIM.network_id)


def _listing_lines() -> list[Line]:
    raw, fields = listing().raw, UserListing.__struct_fields__
    envelope = peek_envelope(raw)
    assert raw == msgspec.msgpack.encode(Envelope(envelope.kind, envelope.key, envelope.body, envelope.signature))
    header = msgspec.msgpack.encode(envelope.body)[: -len(envelope.body)]
    return [
        (b"\x94", "the envelope: array of 4"),
        (msgspec.msgpack.encode(envelope.kind), f"kind: {envelope.kind!r}"),
        (msgspec.msgpack.encode(envelope.key), "key: who signs, Alice"),
        (header, f"body: {len(envelope.body)} bytes, in them:"),
        *_array(msgspec.msgpack.decode(envelope.body), fields, indent="  "),
        (msgspec.msgpack.encode(envelope.signature), "signature"),
    ]


# --- a link -----------------------------------------------------------------------------------------------------------


def tls_certificate() -> bytes:
    """Of Bob's process, DER."""
    return TlsIdentity(random.Random(7)).certificate


def handshake() -> list[bytes]:
    """Alice's laptop calls Bob's phone: the four frames of the proof, and the ping with which the client goes on."""
    client = ClientSession(
        network_id=SIM.network_id,
        key=ALICES_LAPTOP,
        certificate=_certificate("alice", ALICE, ALICES_LAPTOP),
        nonce=NONCE_C,
    )
    server = ServerSession(
        network_id=SIM.network_id,
        key=BOBS_PHONE,
        certificate=_certificate("bob", BOB, BOBS_PHONE),
        nonce=NONCE_S,
        tls_certificate=tls_certificate(),
    )
    hello = client.start(tls_certificate())
    server_proof = server.receive(hello[LENGTH_BYTES:], 0.0)
    assert isinstance(server_proof, Reply)
    client.receive(server_proof.wire[LENGTH_BYTES:], 0.0)
    client_proof = client.prove()
    server.receive(client_proof[LENGTH_BYTES:], 0.0)
    welcome = server.welcome(0.0)
    opened = client.receive(welcome[LENGTH_BYTES:], 0.0)
    assert isinstance(opened, Opened)
    return [hello, server_proof.wire, client_proof, welcome, opened.wire]


def transcripts() -> tuple[bytes, bytes]:
    """T as the server signs it, and as the client does."""
    hello, server_proof, *_ = handshake()
    first = hashlib.sha256(tls_certificate() + hello)
    second = hashlib.sha256(tls_certificate() + hello + server_proof)
    return first.digest(), second.digest()


def _certificate(name: str, identity: SigningKey, device: SigningKey) -> bytes:
    return sign_body(DeviceCertificate(name, device.public, NOW_S), identity, SIM.network_id).raw


def _handshake_lines() -> list[Line]:
    return [line for frame in handshake() for line in _frame_lines(frame)]


def _frame_lines(frame: bytes) -> list[Line]:
    message = frame[LENGTH_BYTES:]
    fields = ("kind", *decode(message).__struct_fields__)
    return [
        (frame[:LENGTH_BYTES], f"length: {len(message)} bytes follow"),
        *_array(msgspec.msgpack.decode(message), fields),
    ]


# --- datagrams --------------------------------------------------------------------------------------------------------


def datagrams() -> list[bytes]:
    """Alice's node asks Bob's for the claims to the name `bob`, and is told that there are none and whom he knows."""
    return [
        Sealer(_ALICES_NODE, _ALICES_BOOT, SIM.network_id).seal(
            _BOBS_NODE.public, wire.Kind.REQUEST, _plain(_QUESTION)
        ),
        Sealer(_BOBS_NODE, _BOBS_BOOT, SIM.network_id).seal(_ALICES_NODE.public, wire.Kind.ANSWER, _plain(_ANSWER)),
    ]


_ALICES_NODE: Final = NodeKey(b"\x07" * 32)
_BOBS_NODE: Final = NodeKey(b"\x08" * 32)
_ALICES_BOOT: Final = b"\x09" * BOOT_ID_BYTES
_BOBS_BOOT: Final = b"\x0a" * BOOT_ID_BYTES
_MESSAGE_ID: Final = bytes(range(DATAGRAM_ID_BYTES))
_TOKEN: Final = b"\x0b" * TOKEN_BYTES
_QUESTION: Final = wire.FindClaims(account_key("bob"), 0)
_ANSWER: Final = wire.Nodes([pack_contact(contact_at(_BOBS_NODE.public, Endpoint("192.0.2.7", 8468)))])


def _plain(message: wire.Message) -> bytes:
    return wire.encode(_MESSAGE_ID, _TOKEN, message)


def _datagram_lines(datagram: bytes, what: str) -> list[Line]:
    ends = (0, 1, 33, 41, 53, len(datagram) - 16, len(datagram))
    names = (f"version and kind: {what}", "sender's key", "boot id", "counter: 0", "ciphertext", "tag")
    return [(datagram[start:end], name) for start, end, name in zip(ends, ends[1:], names, strict=False)]


def _plaintext_lines(message: wire.Message) -> list[Line]:
    plaintext = _plain(message)
    payload = plaintext[18:]
    return [
        (plaintext[:8], "id of the request"),
        (plaintext[8:16], "token"),
        (plaintext[16:18], f"length: {len(payload)} bytes follow"),
        *_array(msgspec.msgpack.decode(payload), ("kind", *message.__struct_fields__)),
    ]


# --- as they stand in the document ------------------------------------------------------------------------------------


def _array(values: list[Any], names: tuple[str, ...], *, indent: str = "") -> list[Line]:
    """A short msgpack array, element by element."""
    lines: list[Line] = [(bytes([0x90 | len(values)]), f"{indent}array of {len(values)}")]
    for name, value in zip(names, values, strict=True):
        shown = "" if isinstance(value, bytes | list) and value else f": {value!r}"
        lines.append((msgspec.msgpack.encode(value), f"{indent}{name}{shown}"))
    return lines


def blocks() -> dict[str, str]:
    """Name of each example, and its hex with what it means."""
    question, answer = datagrams()
    lines = {
        "user-listing": _listing_lines(),
        "tls-certificate": [(tls_certificate(), "")],
        "handshake": _handshake_lines(),
        "question": _datagram_lines(question, "request"),
        "question-inside": _plaintext_lines(_QUESTION),
        "answer": _datagram_lines(answer, "answer"),
        "answer-inside": _plaintext_lines(_ANSWER),
    }
    return {name: _block(example) for name, example in lines.items()}


def _block(lines: list[Line]) -> str:
    written = []
    for piece, meaning in lines:
        for start in range(0, len(piece), _BYTES_A_LINE):
            text = piece[start : start + _BYTES_A_LINE].hex(" ")
            written.append(f"{text}  ; {meaning}" if meaning and not start else text)
    return "\n".join(written)


def values() -> dict[str, str]:
    """What follows from the examples, by the words of the document's tables."""
    record = listing()
    server_t, client_t = transcripts()
    return {
        "`network_id` of `main`": MAIN.network_id.hex(),
        "`network_id` of `sim`": SIM.network_id.hex(),
        "place": record.body.place(record.key).hex(),
        "entry id": record.body.entry_id(record.key).hex(),
        "digest": record.digest.hex(),
        "T of the server": server_t.hex(),
        "T of the client": client_t.hex(),
    }


if __name__ == "__main__":
    for name, text in blocks().items():
        print(f"<!-- example: {name} -->\n```text\n{text}\n```\n")
    for name, value in values().items():
        print(f"| {name} | `{value}` |")
