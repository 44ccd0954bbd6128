"""Seals and opens the datagrams of the DHT, so that only the two nodes concerned can read, forge or replay one.

Nothing here may open a socket or read a clock. A sealed datagram is

    version and kind 1 || sender's key 32 || boot id 8 || counter 12 || ciphertext || tag 16

ChaCha20-Poly1305 (RFC 8439) with all that stands before the ciphertext as associated data and the counter as nonce, under

    HKDF-SHA256(X25519(sender, receiver), salt = boot id, info = label || sender || receiver || network id)

There is one key per direction and process start, so a counter never comes twice under one key; and who can seal for a
receiver as a sender is that sender (or the receiver), so every opened datagram proves the key it names.
"""

import functools
import hmac
from collections import OrderedDict
from typing import Final, NamedTuple, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from dhtchat.crypto.identity import RandomBytes
from dhtchat.errors import MalformedMessage
from dhtchat.ids import KEY_BYTES, puzzle_bits
from dhtchat.limits import (
    AGREEMENTS_MAX,
    BOOT_ID_BYTES,
    BOOTS_REMEMBERED,
    CIPHERS_CACHED,
    REPLAY_WINDOW,
    SEALED_HEADER_BYTES,
)

VERSION: Final = 0x10
"""High half of the first byte of every datagram; the low half is its kind."""
_KIND_MASK: Final = 0x0F
_COUNTER_BYTES: Final = 12
_TAG_BYTES: Final = 16
_BOOT_AT: Final = 1 + KEY_BYTES
_COUNTER_AT: Final = _BOOT_AT + BOOT_ID_BYTES
_BODY_AT: Final = _COUNTER_AT + _COUNTER_BYTES
assert _BODY_AT + _TAG_BYTES == SEALED_HEADER_BYTES
_LABEL: Final = b"dhtchat/datagram/v1\0"


_cipher = functools.lru_cache(maxsize=CIPHERS_CACHED)(ChaCha20Poly1305)
"""To set one up takes as long as to seal with it."""


class NodeKey:
    """The X25519 key of a DHT node. Node ids are hashes of its public half."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: the 32 secret bytes."""
        self._private = X25519PrivateKey.from_private_bytes(seed)
        self.seed = seed
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, source: RandomBytes, bits: int = 0) -> Self:
        """One that solves the puzzle of `bits` bits (S/Kademlia §4.1): 2^bits tries of about 40 us."""
        while True:
            key = cls(source.randbytes(KEY_BYTES))
            if puzzle_bits(key.public) >= bits:
                return key

    def agree(self, public: bytes) -> bytes:
        """32 bytes that only the two of us know. About 45 us. Raises `MalformedMessage` for a key of small order, and for
        the second form of a key: X25519 ignores its highest bit (RFC 7748 §5), so one would be two nodes."""
        if public[-1] & 0x80:
            raise MalformedMessage("a key in a form that no node has")
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise MalformedMessage("a key that agrees with everybody on the same secret") from error


class Opened(NamedTuple):
    """`kind`: 0 to 15, what the caller sealed it as. `sender`: the key that proved itself by sealing."""

    kind: int
    sender: bytes
    plaintext: bytes


class _Boot:
    """What came from one process start of a sender: the key it seals with and the counters seen."""

    __slots__ = ("boot_id", "highest", "key", "seen")

    def __init__(self, boot_id: bytes, key: bytes) -> None:
        self.boot_id = boot_id
        self.key = key
        self.highest = -1
        self.seen = 0
        """Bit n: `highest` - n has come."""

    def is_fresh(self, counter: int) -> bool:
        age = self.highest - counter
        return age < 0 or (age < REPLAY_WINDOW and not self.seen >> age & 1)

    def note(self, counter: int) -> None:
        ahead = counter - self.highest
        if ahead > 0:
            self.seen = (self.seen << min(ahead, REPLAY_WINDOW) | 1) & ((1 << REPLAY_WINDOW) - 1)
            self.highest = counter
        else:
            self.seen |= 1 << -ahead


class _Agreement:
    """With one other node."""

    __slots__ = ("boots", "counter", "seal_key", "secret")

    def __init__(self, secret: bytes, seal_key: bytes, counter: int) -> None:
        self.secret = secret
        self.seal_key = seal_key
        self.counter = counter
        """Of the next datagram we seal."""
        self.boots: tuple[_Boot, ...] = ()
        """The latest first."""


class Sealer:
    """All agreements of one node in this life. Those with nodes we have spoken to are kept apart from those with nodes
    that have only spoken to us, so that a flood of the latter makes us forget none of the former."""

    def __init__(self, key: NodeKey, boot_id: bytes, network_id: bytes) -> None:
        self._key = key
        self._boot_id = boot_id
        self._network_id = network_id
        self._partners: OrderedDict[bytes, _Agreement] = OrderedDict()
        self._visitors: OrderedDict[bytes, _Agreement] = OrderedDict()
        self._counter_floor = 0
        """No agreement that was dropped got further: one made anew starts here, under the same keys."""

    def knows(self, sender: bytes) -> bool:
        """Whether it takes no new agreement to open what it sends."""
        return sender in self._partners or sender in self._visitors

    def seal(self, receiver: bytes, kind: int, plaintext: bytes) -> bytes:
        """One datagram for a node we want to speak to. Raises `MalformedMessage` when that is no key."""
        agreement = self._partners.get(receiver) or self._visitors.pop(receiver, None) or self._agree(receiver)
        self._keep(self._partners, receiver, agreement)
        return self._seal(agreement, kind, plaintext)

    def reply(self, visitor: bytes, kind: int, plaintext: bytes) -> bytes:
        """The same for a node that has spoken to us."""
        agreement = self._partners.get(visitor) or self._visitors.get(visitor)
        if agreement is None:
            agreement = self._agree(visitor)
            self._keep(self._visitors, visitor, agreement)
        return self._seal(agreement, kind, plaintext)

    def open(self, datagram: bytes) -> Opened | None:
        """What is in it; None for one that has come before. Raises `MalformedMessage` when it cannot be opened."""
        sender = sender_of(datagram)
        boot_id, counter_bytes = datagram[_BOOT_AT:_COUNTER_AT], datagram[_COUNTER_AT:_BODY_AT]
        counter = int.from_bytes(counter_bytes, "big")
        agreement = self._partners.get(sender) or self._visitors.get(sender) or self._agree(sender)
        known = None
        for boot in agreement.boots:
            if boot.boot_id == boot_id:
                known = boot
                break
        boot = known or _Boot(boot_id, self._derive(agreement.secret, boot_id, sender, self._key.public))
        if not boot.is_fresh(counter):
            return None
        try:
            plaintext = _cipher(boot.key).decrypt(counter_bytes, datagram[_BODY_AT:], datagram[:_BODY_AT])
        except InvalidTag as error:
            raise MalformedMessage("a datagram that was not sealed for us") from error
        # Only now is anything remembered: what does not open changes nothing of what we know of an honest sender.
        boot.note(counter)
        if known is None:
            agreement.boots = (boot, *agreement.boots[: BOOTS_REMEMBERED - 1])
        self._keep(self._partners if sender in self._partners else self._visitors, sender, agreement)
        return Opened(datagram[0] & _KIND_MASK, sender, plaintext)

    def _agree(self, other: bytes) -> _Agreement:
        secret = self._key.agree(other)
        return _Agreement(secret, self._derive(secret, self._boot_id, self._key.public, other), self._counter_floor)

    def _keep(self, shelf: OrderedDict[bytes, _Agreement], other: bytes, agreement: _Agreement) -> None:
        shelf[other] = agreement
        shelf.move_to_end(other)
        if len(shelf) > AGREEMENTS_MAX:
            _, dropped = shelf.popitem(last=False)
            self._counter_floor = max(self._counter_floor, dropped.counter)

    def _seal(self, agreement: _Agreement, kind: int, plaintext: bytes) -> bytes:
        counter = agreement.counter.to_bytes(_COUNTER_BYTES, "big")
        agreement.counter += 1
        head = b"%c%b%b%b" % (VERSION | kind, self._key.public, self._boot_id, counter)
        return head + _cipher(agreement.seal_key).encrypt(counter, plaintext, head)

    def _derive(self, secret: bytes, boot_id: bytes, sender: bytes, receiver: bytes) -> bytes:
        """HKDF-SHA256 (RFC 5869) with one block of output."""
        info = _LABEL + sender + receiver + self._network_id
        return hmac.digest(hmac.digest(boot_id, secret, "sha256"), info + b"\x01", "sha256")


def kind_of(datagram: bytes) -> int:
    """What a datagram claims to be. Raises `MalformedMessage` when it is of no version of ours."""
    if not datagram or datagram[0] & ~_KIND_MASK != VERSION:
        raise MalformedMessage(f"{len(datagram)} bytes of something else")
    return datagram[0] & _KIND_MASK


def sender_of(datagram: bytes) -> bytes:
    """The key that a sealed datagram claims to come from. Raises `MalformedMessage`."""
    if len(datagram) < SEALED_HEADER_BYTES or datagram[0] & ~_KIND_MASK != VERSION:
        raise MalformedMessage(f"{len(datagram)} bytes that are no sealed datagram")
    return datagram[1:_BOOT_AT]
