"""The bytes that travel, pinned: `records.json` is what this file makes, and a change of it is a change of the wire.

After a change that is meant, from the root of the checkout:  python -m tests.golden.make
Then read the difference, and say in the commit message why peers of yesterday need not understand it.

Everything comes from fixed seeds; Ed25519 (RFC 8032) signs the same bytes the same way every time.
"""

import json
import random
from pathlib import Path
from typing import Any

import msgspec

from dhtchat.crypto.identity import SigningKey
from dhtchat.ids import fingerprint, node_id_of, print_node_key
from dhtchat.parameters import MAIN, SIM
from dhtchat.records.account import Account, seal_account
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import Body, Signed, sign_body
from dhtchat.records.message import Message, SetTopic, open_statement
from dhtchat.records.room import RoomGenesis
from dhtchat.records.ruling import Ruling, open_ruling
from tests.records import samples
from tests.records.samples import ALICE, ALICES_LAPTOP, NOW_S

FILE = Path(__file__).with_name("records.json")
PASSWORD = "mokita-luberi-sapodu-venika"


def bodies() -> list[tuple[Body, SigningKey]]:
    """One of each kind on the network `sim`, with the key that signs it. The account really opens with PASSWORD."""
    account: Signed[Account] = seal_account(
        "alice", PASSWORD, ALICE, nonce=7, created_at_s=NOW_S, sequence=1, parameters=SIM, source=random.Random(1)
    )
    stored = [account.body, *(body for body in samples.stored() if not isinstance(body, Account))]
    certificate = DeviceCertificate("alice", ALICES_LAPTOP.public, NOW_S)
    topic = msgspec.structs.replace(samples.room_message(counter=2), content=SetTopic("a new topic"))
    operations = [
        msgspec.structs.replace(samples.room_message(counter=number), content=content)
        for number, content in enumerate(samples.OPERATIONS, start=3)
    ]
    messages: list[Body] = [samples.room_message(), topic, samples.private_message(), *operations]
    rulings = [samples.ruling(act) for act in samples.ACTS]
    return [(body, ALICE) for body in (*stored, certificate, *rulings)] + [(body, ALICES_LAPTOP) for body in messages]


def build() -> dict[str, Any]:
    """What `records.json` holds."""
    return {
        "made by": "python -m tests.golden.make",
        "network ids": {network.name: network.network_id.hex() for network in (MAIN, SIM)},
        "identities": {
            "alice": {
                "seed": ALICE.seed.hex(),
                "key": ALICE.public.hex(),
                "fingerprint": fingerprint(ALICE.public),
                "node id": node_id_of(ALICE.public).hex(),
                "node key": print_node_key(ALICE.public),
            }
        },
        "records": [_describe(body, key) for body, key in bodies()],
    }


def _describe(body: Body, key: SigningKey) -> dict[str, Any]:
    signed = sign_body(body, key, SIM.network_id)
    described: dict[str, Any] = {
        "kind": body.KIND,
        "seed": key.seed.hex(),
        "raw": signed.raw.hex(),
        "digest": signed.digest.hex(),
        "fields": {name: readable(getattr(body, name)) for name in body.__struct_fields__},
    }
    if isinstance(body, Account | RoomGenesis):
        described |= {"place": body.place(signed.key).hex(), "claim id": body.claim_id(signed.key).hex()}
    elif isinstance(body, Message):
        statement = open_statement(signed.raw, SIM.network_id)
        described |= {"id": statement.id.hex(), "conversation": statement.conversation.hex()}
    elif isinstance(body, Ruling):
        described |= {"id": open_ruling(signed.raw, body.room, SIM.network_id).id.hex()}
    elif not isinstance(body, DeviceCertificate):
        described |= {"place": body.place(signed.key).hex(), "entry id": body.entry_id(signed.key).hex()}  # type: ignore[attr-defined]
    return described


def readable(value: Any) -> Any:
    """As it is in msgpack, bytes as hex: what JSON can say."""
    return _hex(msgspec.msgpack.decode(msgspec.msgpack.encode(value)))


def _hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_hex(item) for item in value] if isinstance(value, list) else value


def text() -> str:
    """The file's very text."""
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE}")
