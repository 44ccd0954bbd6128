"""Wire bytes: what was signed before this change still opens, and is still what we would sign."""

import json
from typing import Any

import pytest

from dhtchat.crypto.identity import SigningKey
from dhtchat.parameters import SIM
from dhtchat.records.account import Account, unlock_account
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import Body, Signed, open_signed, sign_body
from dhtchat.records.kinds import DURABLE_KINDS, SOFT_KINDS
from dhtchat.records.message import MESSAGE_BYTES_MAX, Message, open_statement
from dhtchat.records.ruling import Ruling
from tests.golden import make

GOLDEN: dict[str, Any] = json.loads(make.FILE.read_text(encoding="utf-8"))
KINDS: dict[str, type[Body]] = {
    kind.KIND: kind for kind in (*DURABLE_KINDS, *SOFT_KINDS, DeviceCertificate, Message, Ruling)
}
records = pytest.mark.parametrize("record", GOLDEN["records"], ids=lambda record: record["kind"])


def _open(record: dict[str, Any]) -> Signed[Body]:
    raw = bytes.fromhex(record["raw"])
    return open_signed(raw, KINDS[record["kind"]], SIM.network_id, bytes_max=MESSAGE_BYTES_MAX)


def test_the_file_is_what_the_code_makes() -> None:
    """A change of any byte on the wire shows up as a change of this file. If it is meant: tests/golden/make.py."""
    assert make.FILE.read_text(encoding="utf-8") == make.text(), "meant? then: python -m tests.golden.make"


def test_every_kind_is_in_it() -> None:
    """Nothing that is signed is left out."""
    assert {record["kind"] for record in GOLDEN["records"]} == set(KINDS)


@records
def test_old_bytes_open(record: dict[str, Any]) -> None:
    """Bytes on disk and on other peers' machines are understood, field by field."""
    opened = _open(record)
    assert opened.digest.hex() == record["digest"]
    fields = {name: make.readable(getattr(opened.body, name)) for name in opened.body.__struct_fields__}
    assert fields == record["fields"]


@records
def test_signing_again_gives_the_same_bytes(record: dict[str, Any]) -> None:
    """Decoded, encoded and signed with the same key: identical, signature included."""
    opened = _open(record)
    key = SigningKey(bytes.fromhex(record["seed"]))
    assert sign_body(opened.body, key, SIM.network_id).raw.hex() == record["raw"]


def test_the_golden_account_opens() -> None:
    """Key derivation, verifier and seal are pinned with it: yesterday's passwords work."""
    record = next(record for record in GOLDEN["records"] if record["kind"] == Account.KIND)
    account: Signed[Account] = open_signed(
        bytes.fromhex(record["raw"]), Account, SIM.network_id, bytes_max=MESSAGE_BYTES_MAX
    )
    identity = unlock_account(account, make.PASSWORD, parameters=SIM)
    assert identity.seed.hex() == GOLDEN["identities"]["alice"]["seed"]


def test_the_golden_messages_keep_their_ids() -> None:
    """Replies, edits and histories refer to messages by id."""
    for record in GOLDEN["records"]:
        if record["kind"] == Message.KIND:
            statement = open_statement(bytes.fromhex(record["raw"]), SIM.network_id)
            assert (statement.id.hex(), statement.conversation.hex()) == (record["id"], record["conversation"])
