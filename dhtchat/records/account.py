"""An account: who owns a user name, and what a login from any machine needs, sealed. Durable."""

import functools
import random
from typing import Annotated, ClassVar

from msgspec import Meta

from dhtchat.crypto.identity import SigningKey, mailbox_key_of
from dhtchat.crypto.password import SEALED_SEED_BYTES, Kdf, Locked, lock_seed, unlock_seed
from dhtchat.errors import MalformedRecord
from dhtchat.ids import KEY_BYTES, RecordKey, is_folded_name, labelled_hash
from dhtchat.limits import NAME_CHARACTERS_MAX, NODE_ID_BYTES, PLACES_CACHED, SALT_BYTES
from dhtchat.parameters import NetworkParameters
from dhtchat.records.claims import NONCE_MAX, claim_id_of, find_nonce
from dhtchat.records.envelope import Body, Key, Sequence, Signed, UnixSeconds, sign_body


class Account(Body, frozen=True):
    """Signed by the identity key. `sequence` grows with each `passwd`; `nonce` and so the claim never change."""

    KIND: ClassVar[str] = "account"

    name: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    mailbox_key: Key
    kdf: Kdf
    salt: Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    verifier: Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
    sealed_seed: Annotated[bytes, Meta(min_length=SEALED_SEED_BYTES, max_length=SEALED_SEED_BYTES)]
    nonce: Annotated[int, Meta(ge=0, le=NONCE_MAX)]
    created_at_s: UnixSeconds
    sequence: Sequence

    def __post_init__(self) -> None:
        if not is_folded_name(self.name):
            raise ValueError(f"{self.name!a} is no user name")

    def place(self, key: bytes) -> RecordKey:
        """Where it lies: under its name, whoever signed it."""
        return account_key(self.name)

    def claim_id(self, key: bytes) -> bytes:
        return claim_id_of(self.KIND, self.name, key, self.nonce)


@functools.lru_cache(maxsize=PLACES_CACHED)
def account_key(name: str) -> RecordKey:
    """Where the account of `name` lies in the DHT."""
    return RecordKey(labelled_hash("key", b"account", name.encode())[:NODE_ID_BYTES])


def _public_part(name: str, identity: bytes, kdf: Kdf, created_at_s: int, network_id: bytes) -> bytes:
    """What a sealed seed is bound to besides salt and verifier, so that no field can be swapped beneath it."""
    costs = b"%d,%d,%d" % (kdf.memory_kib, kdf.passes, kdf.lanes)
    return labelled_hash("account-public", network_id, name.encode(), identity, costs, b"%d" % created_at_s)


def create_account(
    name: str, password: str, *, parameters: NetworkParameters, source: random.Random, now_s: float
) -> tuple[Signed[Account], SigningKey]:
    """A new identity and its first account record. Seconds of work on `main`: run it off the loop."""
    identity = SigningKey.generate(source)
    start = source.getrandbits(62)
    nonce = find_nonce(Account.KIND, name, identity.public, parameters.network_id, parameters.proof_of_work_bits, start)
    record = seal_account(
        name, password, identity, nonce=nonce, created_at_s=int(now_s), sequence=1, parameters=parameters, source=source
    )
    return record, identity


def seal_account(
    name: str,
    password: str,
    identity: SigningKey,
    *,
    nonce: int,
    created_at_s: int,
    sequence: int,
    parameters: NetworkParameters,
    source: random.Random,
) -> Signed[Account]:
    """An account record for an identity under a password: the first one, or after `passwd` the next."""
    kdf = Kdf(parameters.kdf_memory_kib, parameters.kdf_passes, parameters.kdf_lanes)
    public = _public_part(name, identity.public, kdf, created_at_s, parameters.network_id)
    locked = lock_seed(identity.seed, password, salt=source.randbytes(SALT_BYTES), kdf=kdf, public=public)
    mailbox_key = mailbox_key_of(identity.seed).public_key().public_bytes_raw()
    account = Account(
        name, mailbox_key, kdf, locked.salt, locked.verifier, locked.sealed_seed, nonce, created_at_s, sequence
    )
    return sign_body(account, identity, parameters.network_id)


def unlock_account(record: Signed[Account], password: str, *, parameters: NetworkParameters) -> SigningKey:
    """The identity behind an account. Raises `WrongPassword`, or `MalformedRecord` if the record lies about its key.

    Slow on purpose: run it off the loop.
    """
    account = record.body
    public = _public_part(account.name, record.key, account.kdf, account.created_at_s, parameters.network_id)
    locked = Locked(account.salt, account.verifier, account.sealed_seed)
    identity = SigningKey(unlock_seed(locked, password, kdf=account.kdf, public=public))
    if identity.public != record.key:
        raise MalformedRecord("the account's sealed key is not the one that signed it")
    return identity
