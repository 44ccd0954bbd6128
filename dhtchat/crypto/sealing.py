"""Mail for somebody who is not there: sealed for one person, sent under a name that only the two of them can make.

HPKE (RFC 9180) in base mode, X25519 with HKDF-SHA256 and ChaCha20-Poly1305, with `cryptography` (decisions/0014-mailbox.md).
Base mode says nothing of who sealed: that is for the signature inside. OpenSSL draws the key of each seal, so sealed bytes
differ every time: nothing may be ordered or named by them.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dhtchat.crypto.identity import SigningKey, mailbox_key_of
from dhtchat.errors import MalformedRecord
from dhtchat.ids import KEY_BYTES

SEAL_BYTES: Final = 48
"""What a seal adds: the 32 bytes of its own key and a 16-byte tag."""
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def seal_for(mailbox_key: bytes, plaintext: bytes, *, context: bytes) -> bytes:
    """SEAL_BYTES longer than `plaintext`. It opens in this context only. Raises `MalformedRecord` for a key nobody can have."""
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(mailbox_key), info=_info(context))
    except ValueError as error:
        raise MalformedRecord("their account names a mailbox key that nobody can open") from error


def open_sealed(secret: X25519PrivateKey, sealed: bytes, *, context: bytes) -> bytes:
    """Raises `MalformedRecord` and nothing else, whatever the bytes."""
    try:
        return _SUITE.decrypt(sealed, secret, info=_info(context))
    except (InvalidTag, ValueError) as error:
        raise MalformedRecord("mail that was not sealed for us, or not as it says") from error


def _info(context: bytes) -> bytes:
    return b"dhtchat/mail/v1\0" + context


class Correspondence:
    """The keys under which one person writes to others, and others to them.

    Each pair of people shares a secret without a word (X25519 of their mailbox keys). The key that signs A's mail to B is
    made from it, so A and B know it and nobody else can tell whose it is, or that A writes to C under another one. (So B
    could put mail of A into B's own mailbox. It would have to hold something that A signed.)
    """

    def __init__(self, identity: SigningKey, network_id: bytes) -> None:
        self._secret = mailbox_key_of(identity.seed)
        self._identity = identity.public
        self._network_id = network_id

    @property
    def mailbox_secret(self) -> X25519PrivateKey:
        return self._secret

    def writes_as(self, recipient: bytes, mailbox_key: bytes) -> SigningKey:
        """Under which key we write to somebody. Raises `MalformedRecord`."""
        return self._key_between(mailbox_key, self._identity, recipient)

    def is_written_by(self, sender: bytes, mailbox_key: bytes) -> bytes:
        """The public key under which somebody writes to us. Raises `MalformedRecord`."""
        return self._key_between(mailbox_key, sender, self._identity).public

    def private_bytes(self, purpose: bytes, count: int) -> bytes:
        """Bytes that only we can make, the same every time."""
        info = b"dhtchat/mail-private/v1\0" + self._network_id + purpose
        return HKDF(SHA256(), count, salt=None, info=info).derive(self._secret.private_bytes_raw())

    def _key_between(self, mailbox_key: bytes, sender: bytes, recipient: bytes) -> SigningKey:
        try:
            shared = self._secret.exchange(X25519PublicKey.from_public_bytes(mailbox_key))
        except ValueError as error:
            raise MalformedRecord("their account names a mailbox key that nobody can have") from error
        info = b"dhtchat/mail-sender/v1\0" + self._network_id + sender + recipient
        return SigningKey(HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(shared))
