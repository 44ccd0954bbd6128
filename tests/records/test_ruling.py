"""Rulings: signed by a person, about one room, in one form."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.errors import BadSignature, MalformedRecord, RemoteMisbehaved
from dhtchat.limits import REASON_CHARACTERS_MAX, RULING_HEADS_MAX, SAID_PER_MODE_MAX, SAID_PER_REMOVAL_MAX
from dhtchat.parameters import MAIN
from dhtchat.records.envelope import Envelope, peek_envelope, sign_body
from dhtchat.records.membership import Membership
from dhtchat.records.message import Message
from dhtchat.records.ruling import Act, Ruling, open_ruling, peek_ruling_id
from tests.records import samples

ROOM = samples.ROOM_ID


def _fields(**changes: Any) -> list[Any]:
    """Those of a ruling as they are encoded, with some exchanged."""
    fields = dict(
        zip(Ruling.__struct_fields__, msgspec.to_builtins(samples.ruling(), builtin_types=(bytes,)), strict=True)
    )
    return list((fields | changes).values())


def _sign(fields: Any, kind: str = Ruling.KIND) -> bytes:
    """Without our own checks, as a stranger would."""
    encoded = msgspec.msgpack.encode(fields)
    signature = samples.ALICE.sign(kind, samples.NETWORK, encoded)
    return msgspec.msgpack.encode(Envelope(kind, samples.ALICE.public, encoded, signature))


@pytest.mark.parametrize("act", samples.ACTS, ids=lambda act: type(act).__name__)
def test_what_one_rules_is_what_others_open(act: Act) -> None:
    signed = samples.signed(samples.ruling(act))
    opened = open_ruling(signed.raw, ROOM, samples.NETWORK)
    assert (opened.raw, opened.body, opened.issuer) == (signed.raw, samples.ruling(act), samples.ALICE.public)
    assert opened.id == peek_ruling_id(signed.raw) == signed.digest[:16]


def test_a_ruling_is_about_one_room_on_one_network() -> None:
    """What is ruled elsewhere is worth nothing here."""
    raw = samples.signed(samples.ruling()).raw
    with pytest.raises(MalformedRecord, match="another room"):
        open_ruling(raw, b"o" * 32, samples.NETWORK)
    with pytest.raises(BadSignature):
        open_ruling(raw, ROOM, MAIN.network_id)


@pytest.mark.parametrize("other", [Message, Membership], ids=lambda kind: kind.KIND)
def test_a_signature_for_another_purpose_is_none_for_this(other: Any) -> None:
    """The label of the kind is signed with it."""
    envelope = peek_envelope(samples.signed(samples.ruling()).raw)
    signature = samples.ALICE.sign(other.KIND, samples.NETWORK, envelope.body)
    with pytest.raises(BadSignature):
        open_ruling(
            msgspec.msgpack.encode(msgspec.structs.replace(envelope, signature=signature)), ROOM, samples.NETWORK
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"room": b"r" * 31},
        {"by": "Alice"},
        {"by": "root"},
        {"parents": [b"q" * 16, b"p" * 16]},
        {"parents": [b"p" * 16, b"p" * 16]},
        {"parents": [b"p" * 15]},
        {"parents": [bytes([number]) * 16 for number in range(RULING_HEADS_MAX + 1)]},
        {"issued_at_s": 253_402_300_800},
        {"act": ["grant", samples.BOB.public, "bob", "king"]},
        {"act": ["grant", samples.BOB.public, "Bob", "op"]},
        {"act": ["grant", b"b" * 31, "bob", "op"]},
        {"act": ["removal", samples.BOB.public, "bob", "op", "", []]},
        {"act": ["removal", samples.BOB.public, "b\n", "kick", "", []]},
        {"act": ["removal", samples.BOB.public, "bob", "kick", "x" * (REASON_CHARACTERS_MAX + 1), []]},
        {"act": ["removal", samples.BOB.public, "bob", "kick", "\U0001f600" * 51, []]},
        {"act": ["removal", samples.BOB.public, "bob", "kick", "", [[b"d" * 8, 1]] * (SAID_PER_REMOVAL_MAX + 1)]},
        {"act": ["removal", samples.BOB.public, "bob", "kick", "", [[b"d" * 7, 1]]]},
        {"act": ["removal", samples.BOB.public, "bob", "kick", "", [[b"d" * 8, 0]]]},
        {"act": ["mode", 1, []]},
        {"act": ["mode", True, [[b"d" * 8, 1]] * (SAID_PER_MODE_MAX + 1)]},
        {"act": ["topic", "x" * 201]},
        {"act": ["topic", "\U0001f600" * 101]},
        {"act": ["hands", True, True]},
        {"act": ["anarchy"]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_ruling_that_breaks_its_limits_is_refused(changes: dict[str, Any]) -> None:
    """Whatever is signed, one form is accepted."""
    open_ruling(_sign(_fields()), ROOM, samples.NETWORK)
    with pytest.raises(MalformedRecord):
        open_ruling(_sign(_fields(**changes)), ROOM, samples.NETWORK)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_decoder(raw: bytes) -> None:
    """Whatever comes: refused with one kind of error."""
    for attempt in (raw, _sign(raw), samples.signed(samples.ruling()).raw[: len(raw)]):
        with pytest.raises(RemoteMisbehaved):
            open_ruling(attempt, ROOM, samples.NETWORK)


def test_a_changed_byte_is_noticed() -> None:
    raw = sign_body(samples.ruling(), samples.ALICE, samples.NETWORK).raw
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(RemoteMisbehaved):
            open_ruling(changed, ROOM, samples.NETWORK)
