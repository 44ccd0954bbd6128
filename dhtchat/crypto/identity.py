"""Ed25519 keys that sign for a purpose on a network, so that a signature is worthless as anything else.

What is signed is always `b"dhtchat/" + purpose + b"/v1\\0" + network_id + body`.
"""

from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dhtchat.ids import KEY_BYTES

SIGNATURE_BYTES: Final = 64
_FIELD: Final = 2**255 - 19
_WITHOUT_SIGN: Final = 2**255 - 1
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""The y coordinates of the eight points of small order on the curve of Ed25519."""


class RandomBytes(Protocol):
    """The part of `random.Random` that key generation needs."""

    def randbytes(self, n: int, /) -> bytes: ...


def _labelled(purpose: str, network_id: bytes, body: bytes) -> bytes:
    return b"dhtchat/" + purpose.encode() + b"/v1\0" + network_id + body


class SigningKey:
    """A secret Ed25519 key (RFC 8032), made from its 32-byte seed."""

    __slots__ = ("_key", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise ValueError(f"a key seed has {KEY_BYTES} bytes, not {len(seed)}")
        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, source: RandomBytes) -> "SigningKey":
        """A new key from the runtime's random source."""
        return cls(source.randbytes(KEY_BYTES))

    def sign(self, purpose: str, network_id: bytes, body: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(_labelled(purpose, network_id, body))

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()[:16]}…)"


def is_small_order(public: bytes) -> bool:
    """Whether a key is one that nobody owns: with no secret, OpenSSL takes one signature for many messages under it.

    An encoding may carry the wrong sign bit or a y that is not reduced; OpenSSL reads those as the same points.
    """
    return (int.from_bytes(public, "little") & _WITHOUT_SIGN) % _FIELD in _SMALL_ORDER


def verify(public: bytes, purpose: str, network_id: bytes, body: bytes, signature: bytes) -> bool:
    """Whether `public` signed `body` for this purpose on this network. Never raises on foreign bytes."""
    if is_small_order(public):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _labelled(purpose, network_id, body))
    except (InvalidSignature, ValueError):
        return False
    return True


def mailbox_key_of(identity_seed: bytes) -> X25519PrivateKey:
    """The X25519 key others seal mail to, derived from the identity seed so that every login has it."""
    derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"dhtchat/mailbox-key/v1").derive(identity_seed)
    return X25519PrivateKey.from_private_bytes(derived)
