"""One envelope for everything signed: kind, signing key, the exact body bytes, signature.

The signature covers `b"dhtchat/" + kind + b"/v1\\0" + network_id + body`. What is verified are the bytes that arrived,
never a re-encoding; and there is no way to a body but through `open_signed`, which verifies.
"""

import functools
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Meta

from dhtchat.crypto.identity import SIGNATURE_BYTES, SigningKey, verify
from dhtchat.errors import BadSignature, MalformedRecord
from dhtchat.ids import KEY_BYTES, labelled_hash
from dhtchat.limits import FRAME_BYTES_MAX

Key = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
UnixSeconds = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Up to the end of year 9999, the last that `datetime` and RFC 3339 can show: a stranger's clock crashes no screen."""
Sequence = Annotated[int, Meta(ge=1, le=2**62)]


class Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is signed, as an array of the fields in their order. Each kind names itself in `KIND`."""

    KIND: ClassVar[str]


B = TypeVar("B", bound=Body)
B_co = TypeVar("B_co", bound=Body, covariant=True)


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The outer bytes. Not verified: only `open_signed` turns it into something to believe."""

    kind: Annotated[str, Meta(max_length=16)]
    key: Key
    body: Annotated[bytes, Meta(max_length=FRAME_BYTES_MAX)]
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class Signed(Generic[B_co]):
    """A record whose signature holds: `raw` as it arrived, the signing `key`, and the decoded `body`."""

    __slots__ = ("body", "digest", "key", "raw")

    def __init__(self, raw: bytes, key: bytes, body: B_co, digest: bytes) -> None:
        self.raw = raw
        self.key = key
        self.body = body
        self.digest = digest
        """32 bytes over kind, key and body: the identity of this very version. Signature and envelope are left out, so
        two `raw` of one digest say the same thing."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signed) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Signed({self.body!r}, by {self.key.hex()[:12]}…)"


_envelope_decoder = msgspec.msgpack.Decoder(Envelope)


@functools.cache
def _body_decoder(body_type: type[Any]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(body_type)


def peek_envelope(raw: bytes) -> Envelope:
    """The outer fields of unverified bytes. Raises `MalformedRecord` and nothing else."""
    try:
        return _envelope_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"unreadable {len(raw)}-byte record: {error}") from error


def peek_digest(raw: bytes) -> bytes:
    """The digest that `Signed` would have, of unverified bytes. Raises `MalformedRecord`."""
    envelope = peek_envelope(raw)
    return _digest(envelope.kind, envelope.key, envelope.body)


def sign_body(body: B, signer: SigningKey, network_id: bytes) -> Signed[B]:
    """Encode and sign. `raw` of the result is what travels."""
    encoded = msgspec.msgpack.encode(body)
    signature = signer.sign(body.KIND, network_id, encoded)
    raw = msgspec.msgpack.encode(Envelope(body.KIND, signer.public, encoded, signature))
    return Signed(raw, signer.public, body, _digest(body.KIND, signer.public, encoded))


def open_signed(raw: bytes, body_type: type[B], network_id: bytes, *, bytes_max: int) -> Signed[B]:
    """Verify and decode. Raises `MalformedRecord` or `BadSignature` and nothing else, whatever the bytes."""
    if len(raw) > bytes_max:
        raise MalformedRecord(f"a record of {len(raw)} bytes, at most {bytes_max} allowed")
    envelope = peek_envelope(raw)
    if envelope.kind != body_type.KIND:
        raise MalformedRecord(f"a record of kind {envelope.kind!a} where {body_type.KIND} belongs")
    if not verify(envelope.key, envelope.kind, network_id, envelope.body, envelope.signature):
        raise BadSignature(f"the signature of a {envelope.kind} record does not hold")
    body = decode_body(envelope.body, body_type)
    return Signed(raw, envelope.key, body, _digest(envelope.kind, envelope.key, envelope.body))


def decode_body(encoded: bytes, body_type: type[B]) -> B:
    """The fields, unverified. Raises `MalformedRecord`."""
    try:
        body: B = _body_decoder(body_type).decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"unreadable body of a {body_type.KIND} record: {error}") from error
    return body


def _digest(kind: str, key: bytes, body: bytes) -> bytes:
    return labelled_hash("record", kind.encode(), key, body)
