"""From a password to what may be stored in public: policy, argon2id, verifier and the sealed identity seed.

The password never leaves the process. `root = argon2id(NFKC password)`; HKDF-SHA256 gives a sealing key and a verifier
key; public are `SHA-256(label || verifier key)` and the seed sealed under the sealing key. SHA-256 alone would let an
attacker try a billion passwords a second; behind argon2id (RFC 9106) it costs 64 MiB and 0.2 s each.
"""

import hmac
import random
import unicodedata
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from dhtchat.errors import MalformedRecord, TooLittleMemory, WeakPassword, WrongPassword
from dhtchat.ids import KEY_BYTES, labelled_hash
from dhtchat.limits import (
    KDF_LANES_MAX,
    KDF_MEMORY_KIB_MAX,
    KDF_PASSES_MAX,
    PASSWORD_CHARACTERS_MAX,
    PASSWORD_CHARACTERS_MIN,
    PASSWORD_SCORE_MIN,
    SALT_BYTES,
)

SEALED_SEED_BYTES: Final = KEY_BYTES + 16
"""The 32-byte seed and a 16-byte Poly1305 tag."""
_AEAD_NONCE: Final = bytes(12)
"""Constant: the sealing key depends on a fresh salt and seals exactly one message."""


class Kdf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Argon2id parameters as an account record carries them; out of range is refused on decoding."""

    memory_kib: Annotated[int, Meta(ge=8, le=KDF_MEMORY_KIB_MAX)]
    passes: Annotated[int, Meta(ge=1, le=KDF_PASSES_MAX)]
    lanes: Annotated[int, Meta(ge=1, le=KDF_LANES_MAX)]


class Locked(NamedTuple):
    """What of a login is public: `verifier` 32 bytes, `sealed_seed` 48 bytes."""

    salt: bytes
    verifier: bytes
    sealed_seed: bytes


class _Keys(NamedTuple):
    sealing: bytes
    verifier: bytes


def normalise(password: str) -> str:
    """NFKC, so that the same password typed on another keyboard gives the same bytes."""
    return unicodedata.normalize("NFKC", password)


def check_policy(password: str, *, name: str = "") -> None:
    """Raise `WeakPassword`, saying why and how to do better, unless the password is good enough.

    Whoever guesses knows the name: what is left of the password without it must be good enough too. A long password of
    symbols takes seconds to judge: run it off the loop.
    """
    password = normalise(password)
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise WeakPassword(
            f"the password has {len(password)} characters, at least {PASSWORD_CHARACTERS_MIN} are needed",
            hint=_advice([]),
        )
    if len(password) > PASSWORD_CHARACTERS_MAX:
        raise WeakPassword(f"the password is longer than {PASSWORD_CHARACTERS_MAX} characters", hint="Shorten it.")
    judged = _judge(password, name)
    if judged["score"] < PASSWORD_SCORE_MIN:
        feedback = judged["feedback"]
        why = feedback["warning"].rstrip(".") or "it could be guessed too quickly"
        raise WeakPassword(
            f"the password is too weak: {why[0].lower()}{why[1:]}", hint=_advice(feedback["suggestions"])
        )
    rest = password.lower().replace(name.lower(), "") if name else password
    if len(rest) < len(password) and (not rest or _judge(rest, name)["score"] < PASSWORD_SCORE_MIN):
        raise WeakPassword("the password is too weak: it leans on the user name", hint=_advice([]))


class Strength(NamedTuple):
    """`score`: 0 to PASSWORD_SCORE_MAX, as zxcvbn has it; `holds`: how long in words ("3 years"), against somebody who tries
    10,000 a second, which would take a large machine for argon2id."""

    score: int
    holds: str


def strength_of(password: str, *, name: str = "") -> Strength:
    """How hard it is to guess, for a meter: `check_policy` decides."""
    judged = _judge(normalise(password), name)
    return Strength(judged["score"], judged["crack_times_display"]["offline_slow_hashing_1e4_per_second"])


def _judge(password: str, name: str) -> dict[str, Any]:
    from zxcvbn import zxcvbn  # late: its word lists cost 15 ms that most commands do not need

    # The library looks at 72 characters at most; what is longer only adds strength.
    return dict(zxcvbn(password[:72], user_inputs=[name, "dhtchat"] if name else ["dhtchat"]))


def _advice(suggestions: list[str]) -> str:
    advice = " ".join(text.rstrip(".") + "." for text in suggestions if text)
    phrase = generate_phrase(random.SystemRandom())  # an example only: no simulation depends on it
    return f"{advice} Or take a generated one, for instance: {phrase}" if advice else f"Take for instance: {phrase}"


def generate_phrase(source: random.Random) -> str:
    """A pronounceable phrase such as `mokita-luberi-sapodu-venika`: 12 syllables of 80, 75 bits."""
    words = ("".join(source.choice("bdfghjklmnprstvz") + source.choice("aeiou") for _ in range(3)) for _ in range(4))
    return "-".join(words)


def _derive(password: str, salt: bytes, kdf: Kdf) -> _Keys:
    memory_kib = max(kdf.memory_kib, 8 * kdf.lanes)  # argon2's own minimum
    try:
        root = hash_secret_raw(
            normalise(password).encode("utf-8", "surrogatepass"),
            salt,
            time_cost=kdf.passes,
            memory_cost=memory_kib,
            parallelism=kdf.lanes,
            hash_len=KEY_BYTES,
            type=Type.ID,
        )
    except HashingError as error:  # with the parameters in range, only memory (or threads) can be missing
        raise TooLittleMemory(f"opening this account takes {memory_kib // 1024} MiB of memory: {error}") from error
    okm = HKDF(SHA256(), 2 * KEY_BYTES, salt=None, info=b"dhtchat/login-keys/v1").derive(root)
    return _Keys(sealing=okm[:KEY_BYTES], verifier=okm[KEY_BYTES:])


def _verifier(keys: _Keys) -> bytes:
    return labelled_hash("verifier", keys.verifier)


def lock_seed(seed: bytes, password: str, *, salt: bytes, kdf: Kdf, public: bytes) -> Locked:
    """Seal an identity seed under a password. `public` is bound as associated data: change it and nothing opens.

    Slow on purpose: run it off the loop.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    keys = _derive(password, salt, kdf)
    verifier = _verifier(keys)
    sealed = ChaCha20Poly1305(keys.sealing).encrypt(_AEAD_NONCE, seed, public + salt + verifier)
    return Locked(salt, verifier, sealed)


def unlock_seed(locked: Locked, password: str, *, kdf: Kdf, public: bytes) -> bytes:
    """The identity seed. Raises `WrongPassword`, or `MalformedRecord` if the password fits and the seed stays shut."""
    keys = _derive(password, locked.salt, kdf)
    if not hmac.compare_digest(_verifier(keys), locked.verifier):
        raise WrongPassword("wrong password")
    try:
        return ChaCha20Poly1305(keys.sealing).decrypt(
            _AEAD_NONCE, locked.sealed_seed, public + locked.salt + locked.verifier
        )
    except InvalidTag as error:
        raise MalformedRecord("the account's sealed key does not open with the right password") from error
