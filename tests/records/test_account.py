"""Accounts: name and password open them, nothing else does, and nobody can swap a field beneath them."""

import random
from typing import Any

import msgspec
import pytest

from dhtchat.crypto.identity import SigningKey, mailbox_key_of
from dhtchat.crypto.password import Kdf, Locked, lock_seed
from dhtchat.errors import BadSignature, MalformedRecord, WrongPassword
from dhtchat.limits import KDF_LANES_MAX, KDF_MEMORY_KIB_MAX, KDF_PASSES_MAX
from dhtchat.parameters import MAIN, SIM
from dhtchat.records.acceptance import Verdict, judge
from dhtchat.records.account import Account, _public_part, account_key, create_account, seal_account, unlock_account
from dhtchat.records.envelope import Envelope, Signed, sign_body
from dhtchat.records.kinds import open_record
from tests.records import samples
from tests.records.samples import NOW_S

PASSWORD = "mokita-luberi-sapodu-venika"


def _create(name: str = "alice", password: str = PASSWORD, seed: int = 1) -> tuple[Signed[Account], SigningKey]:
    return create_account(name, password, parameters=SIM, source=random.Random(seed), now_s=NOW_S)


def _opened(raw: bytes) -> Signed[Account]:
    record = open_record(raw, SIM.network_id)
    assert isinstance(record.body, Account)
    return record


def _resigned(record: Signed[Account], key: SigningKey, **changes: Any) -> Signed[Account]:
    return sign_body(msgspec.structs.replace(record.body, **changes), key, SIM.network_id)


# --- logging in -------------------------------------------------------------------------------------------------------


def test_an_account_opens_with_its_password_from_any_machine() -> None:
    """What a login needs lies in the record alone: the bytes and the password give back the identity."""
    record, identity = _create()
    found = unlock_account(_opened(record.raw), PASSWORD, parameters=SIM)
    assert (found.seed, found.public) == (identity.seed, identity.public)
    assert record.key == identity.public
    assert record.body.sequence == 1
    assert record.body.created_at_s == NOW_S


@pytest.mark.parametrize("password", ["", PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), PASSWORD * 20, "\udc80"])
def test_another_password_does_not_open_it(password: str) -> None:
    """Not nearly right, not empty, not undecodable: `WrongPassword`."""
    record, _ = _create()
    with pytest.raises(WrongPassword):
        unlock_account(record, password, parameters=SIM)


def test_the_same_password_typed_elsewhere_opens_it() -> None:
    """NFKC: a composed and a decomposed letter, a full-width form, a ligature are the same password."""
    record, identity = _create(password="pâté ﬁne 12 quiche")
    for typed in ("pa\u0302te\u0301 \ufb01ne 12 quiche", "pâté fine １２ quiche"):
        assert unlock_account(record, typed, parameters=SIM).seed == identity.seed


def test_the_public_record_does_not_show_what_is_secret() -> None:
    """Neither the seed nor the password lies in the bytes, and the verifier is no key."""
    record, identity = _create()
    assert identity.seed not in record.raw
    assert PASSWORD.encode() not in record.raw
    assert SigningKey(record.body.verifier).public != identity.public


def test_the_mailbox_key_is_derived_from_the_identity() -> None:
    """Every device that logs in can read the mail: the published key is that of the seed."""
    record, identity = _create()
    assert record.body.mailbox_key == mailbox_key_of(identity.seed).public_key().public_bytes_raw()


def test_two_accounts_with_one_password_have_nothing_in_common() -> None:
    """Fresh salts: nobody sees who uses the same password."""
    one, other = _create("alice", seed=1)[0].body, _create("bobby", seed=2)[0].body
    for field in ("mailbox_key", "salt", "verifier", "sealed_seed"):
        assert getattr(one, field) != getattr(other, field)


# --- nobody swaps a field beneath it ----------------------------------------------------------------------------------

FIELD_SWAPS: dict[str, Any] = {
    "name": "malice",
    "mailbox_key": b"m" * 32,
    "kdf": Kdf(9, 1, 1),
    "salt": b"s" * 16,
    "verifier": b"v" * 32,
    "sealed_seed": b"x" * 48,
    "nonce": 1,
    "created_at_s": NOW_S - 1,
    "sequence": 2,
}


def test_every_field_is_swapped_somewhere() -> None:
    """A field that is added to the account must be added to the swaps."""
    assert set(FIELD_SWAPS) == set(Account.__struct_fields__)


@pytest.mark.parametrize("field", FIELD_SWAPS)
def test_a_swapped_field_breaks_the_signature(field: str) -> None:
    """Promise 2: nobody can change what somebody else signed."""
    record, _ = _create()
    envelope = msgspec.msgpack.decode(record.raw, type=Envelope)
    body = msgspec.msgpack.encode(msgspec.structs.replace(record.body, **{field: FIELD_SWAPS[field]}))
    with pytest.raises(BadSignature):
        _opened(msgspec.msgpack.encode(Envelope("account", envelope.key, body, envelope.signature)))


@pytest.mark.parametrize("field", FIELD_SWAPS)
def test_somebody_elses_copy_does_not_open(field: str) -> None:
    """Alice's sealed key under Mallory's signature, changed or not, gives Mallory's record nothing that opens."""
    record, _ = _create()
    copy = _resigned(record, samples.BOB, **{field: FIELD_SWAPS[field]})
    with pytest.raises((WrongPassword, MalformedRecord)):
        unlock_account(copy, PASSWORD, parameters=SIM)


@pytest.mark.parametrize("field", ["name", "kdf", "salt", "verifier", "sealed_seed", "created_at_s"])
def test_the_sealed_key_is_bound_to_what_is_public(field: str) -> None:
    """Even under the owner's own signature a field cannot be changed beneath the seal."""
    record, identity = _create()
    with pytest.raises((WrongPassword, MalformedRecord)):
        unlock_account(_resigned(record, identity, **{field: FIELD_SWAPS[field]}), PASSWORD, parameters=SIM)


def test_a_seal_does_not_open_on_another_network() -> None:
    """The network is part of what the seal is bound to."""
    record, _ = _create()
    other = msgspec.structs.replace(SIM, name="other")
    with pytest.raises(MalformedRecord):
        unlock_account(record, PASSWORD, parameters=other)


def test_a_record_that_seals_another_identity_is_refused() -> None:
    """Whoever signs a record in which the right password opens somebody else's key leads nobody into that identity."""
    record, mallory = _create()
    body = record.body
    public = _public_part(body.name, mallory.public, body.kdf, body.created_at_s, SIM.network_id)
    locked: Locked = lock_seed(samples.BOB.seed, PASSWORD, salt=body.salt, kdf=body.kdf, public=public)
    lying = _resigned(record, mallory, verifier=locked.verifier, sealed_seed=locked.sealed_seed)
    with pytest.raises(MalformedRecord, match="not the one that signed"):
        unlock_account(lying, PASSWORD, parameters=SIM)


@pytest.mark.parametrize(
    "costs",
    [
        (KDF_MEMORY_KIB_MAX + 1, 1, 1),
        (8, KDF_PASSES_MAX + 1, 1),
        (8, 1, KDF_LANES_MAX + 1),
        (7, 1, 1),
        (8, 0, 1),
        (8, 1, 0),
        (2**63, 1, 1),
        (-1, 1, 1),
    ],
)
def test_a_record_cannot_make_a_login_a_memory_bomb(costs: tuple[int, int, int]) -> None:
    """KDF parameters out of bounds are refused while decoding, before anything is derived from them."""
    key = samples.ALICE
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(samples.account()))
    fields[Account.__struct_fields__.index("kdf")] = costs
    body = msgspec.msgpack.encode(fields)
    raw = msgspec.msgpack.encode(Envelope("account", key.public, body, key.sign("account", SIM.network_id, body)))
    with pytest.raises(MalformedRecord):
        _opened(raw)


# --- passwd -----------------------------------------------------------------------------------------------------------

NEW_PASSWORD = "sapodu-venika-mokita-luberi"


def _passwd(record: Signed[Account], identity: SigningKey) -> Signed[Account]:
    body = record.body
    return seal_account(
        body.name,
        NEW_PASSWORD,
        identity,
        nonce=body.nonce,
        created_at_s=body.created_at_s,
        sequence=body.sequence + 1,
        parameters=SIM,
        source=random.Random(2),
    )


def test_passwd_keeps_who_one_is_and_changes_what_opens_it() -> None:
    """Identity, claim and place stay; the old password opens nothing any more, and the sequence number is higher."""
    record, identity = _create()
    changed = _passwd(record, identity)
    assert unlock_account(changed, NEW_PASSWORD, parameters=SIM).seed == identity.seed
    with pytest.raises(WrongPassword):
        unlock_account(changed, PASSWORD, parameters=SIM)
    assert changed.key == record.key
    assert changed.body.claim_id(changed.key) == record.body.claim_id(record.key)
    assert changed.body.mailbox_key == record.body.mailbox_key
    assert changed.body.salt != record.body.salt
    assert changed.body.sequence == record.body.sequence + 1


def test_passwd_replaces_and_cannot_be_rolled_back() -> None:
    """Storing nodes take the new record for the old, and never the old one for the new."""
    record, identity = _create()
    changed = _passwd(record, identity)
    key = account_key("alice")
    assert judge(changed, record, key=key, now_s=NOW_S, parameters=SIM).verdict is Verdict.NEWER
    assert judge(record, changed, key=key, now_s=NOW_S, parameters=SIM).verdict is Verdict.REFUSED


# --- the costs of `main` ----------------------------------------------------------------------------------------------


def test_an_account_carries_the_costs_and_the_work_of_its_network() -> None:
    """One real record with `main`'s key derivation and a little work: stored, judged and opened like any other."""
    parameters = msgspec.structs.replace(MAIN, name="little-work", proof_of_work_bits=8)
    record, identity = create_account("alice", PASSWORD, parameters=parameters, source=random.Random(1), now_s=NOW_S)
    assert record.body.kdf == Kdf(65_536, 3, 4)
    assert judge(record, None, key=account_key("alice"), now_s=NOW_S, parameters=parameters).verdict is Verdict.NEW
    assert unlock_account(record, PASSWORD, parameters=parameters).seed == identity.seed
    with pytest.raises(BadSignature):
        open_record(record.raw, SIM.network_id)
