"""Messages: who stands behind them, which conversation they belong to, and what they may not claim."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dhtchat.crypto.identity import SigningKey
from dhtchat.errors import BadSignature, MalformedRecord
from dhtchat.ids import PeerId
from dhtchat.limits import (
    PARENTS_MAX,
    RULING_HEADS_MAX,
    TEXT_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    TOPIC_BYTES_MAX,
    TOPIC_CHARACTERS_MAX,
)
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import sign_body
from dhtchat.records.message import (
    Content,
    Delete,
    Edit,
    Invite,
    Message,
    Place,
    React,
    Say,
    SetTopic,
    Statement,
    content_text,
    direct_conversation,
    kind_of,
    open_statement,
    peek_author,
    sign_statement,
    target_of,
)
from tests.records import samples

ALICE = PeerId(samples.ALICE.public)
BOB = PeerId(samples.BOB.public)


def _open(message: Message, key: SigningKey = samples.ALICES_LAPTOP) -> Statement:
    return open_statement(samples.signed(message, key).raw, samples.NETWORK)


def _saying(content: Content, *, counter: int = 1) -> Message:
    return msgspec.structs.replace(samples.room_message(counter=counter), content=content)


def test_what_one_signs_is_what_others_open() -> None:
    """The author's own statement and the one that arrives are the same in all that counts."""
    own = sign_statement(samples.room_message(), samples.ALICES_LAPTOP, samples.author(), samples.NETWORK)
    arrived = open_statement(own.raw, samples.NETWORK)
    assert (arrived.id, arrived.raw, arrived.body, arrived.conversation) == (
        own.id,
        own.raw,
        own.body,
        own.conversation,
    )
    assert arrived.author.name == own.author.name


def test_a_message_is_signed_by_the_device_its_certificate_names() -> None:
    """A borrowed certificate makes nobody its owner: "nothing is shown as somebody else's"."""
    with pytest.raises(MalformedRecord, match="another device"):
        _open(samples.room_message(), samples.BOB)
    with pytest.raises(MalformedRecord, match="another device"):
        _open(samples.room_message(), samples.ALICE)  # not even the identity speaks for its devices


def test_a_certificate_needs_the_signature_of_its_identity() -> None:
    """A device cannot certify itself under somebody else's identity."""
    forged = bytearray(samples.certificate(identity=samples.BOB))
    forged[forged.index(samples.BOB.public) : forged.index(samples.BOB.public) + 32] = samples.ALICE.public
    with pytest.raises(BadSignature):
        _open(msgspec.structs.replace(samples.room_message(), certificate=bytes(forged)))


def test_a_private_talk_is_the_same_from_both_sides() -> None:
    """Alice to Bob and Bob to Alice are one conversation, and no other pair has it."""
    carol = PeerId(samples.ALICES_LAPTOP.public)
    assert direct_conversation(ALICE, BOB) == direct_conversation(BOB, ALICE)
    assert len({direct_conversation(a, b) for a in (ALICE, BOB, carol) for b in (ALICE, BOB, carol)}) == 6
    assert _open(samples.private_message()).conversation == direct_conversation(ALICE, BOB)


def test_an_id_is_that_of_these_very_words() -> None:
    """Ids differ with any field, the author's clock included, and do not depend on who computes them."""
    variants: list[dict[str, Any]] = [
        {},
        {"content": Say("hello!")},
        {"content": Say("hello", action=True)},
        {"sent_at_ms": 1},
        {"parents": []},
        {"target": b"o" * 32},
        {"counter": 2, "previous": b"p" * 16},
        {"counter": 2, "previous": b"p" * 16, "passes_over": 1},
        {"heads": [b"h" * 16]},
    ]
    ids = [_open(msgspec.structs.replace(samples.room_message(), **changes)).id for changes in variants]
    assert len(set(ids)) == len(variants)
    assert {len(statement_id) for statement_id in ids} == {16}


@pytest.mark.parametrize(
    "changes",
    [
        {"counter": 1, "previous": b"p" * 16},
        {"counter": 2, "previous": b""},
        {"counter": 2, "previous": b"p" * 16, "passes_over": 2},
        {"passes_over": -1},
        {"counter": 2, "previous": b"p" * 15},
        {"counter": 0},
        {"parents": [b"q" * 16] * (PARENTS_MAX + 1)},
        {"parents": [b"q" * 15]},
        {"target": b"t" * 31},
        {"sent_at_ms": -1},
        {"sent_at_ms": 253_402_300_800_000},
        {"direct": True},
        {"recipient": "bob"},
        {"recipient": "x"},
        {"direct": True, "recipient": "Bob"},
        {"content": Say("")},
        {"content": Say("x" * (TEXT_CHARACTERS_MAX + 1))},
        {"content": SetTopic("x" * (TOPIC_CHARACTERS_MAX + 1))},
        {"heads": [b"h" * 15]},
        {"heads": [b"h" * 16] * 2},
        {"heads": [b"i" * 16, b"h" * 16]},
        {"heads": [bytes([number]) * 16 for number in range(RULING_HEADS_MAX + 1)]},
        {"heads": [b"h" * 16], "direct": True, "recipient": "bob"},
    ],
    ids=str,
)
def test_a_message_that_breaks_its_limits_is_refused(changes: dict[str, Any]) -> None:
    """Chains start at 1 and name what was before; a private message names its recipient; texts end somewhere."""
    fields = msgspec.structs.asdict(samples.room_message()) | changes
    names = Message.__struct_fields__
    body = msgspec.msgpack.encode([fields[name] for name in names])
    raw = _sign_bytes(body)
    with pytest.raises(MalformedRecord):
        open_statement(raw, samples.NETWORK)


def _sign_bytes(body: bytes) -> bytes:
    key = samples.ALICES_LAPTOP
    return msgspec.msgpack.encode(["message", key.public, body, key.sign("message", samples.NETWORK, body)])


@pytest.mark.parametrize("text", ["x", "x" * TEXT_CHARACTERS_MAX, "\U0001f600" * TEXT_CHARACTERS_MAX, "\0\x1b[31m\n"])
def test_any_text_within_the_limits_travels_as_typed(text: str) -> None:
    """Nothing is cleaned on the way: that is for whoever shows it."""
    assert len(text.encode()) <= TEXT_BYTES_MAX
    statement = _open(_saying(Say(text)))
    assert statement.body.content == Say(text)


def test_a_topic_counts_in_bytes_too() -> None:
    """It also travels in a directory listing: what a room accepts, the listing must hold."""
    assert _open(_saying(SetTopic("é" * TOPIC_CHARACTERS_MAX))).body.content == SetTopic("é" * TOPIC_CHARACTERS_MAX)
    with pytest.raises(ValueError, match="too long"):
        SetTopic("\U0001f600" * (TOPIC_BYTES_MAX // 4 + 1))


def test_an_invitation_is_private_and_into_a_room() -> None:
    """To a person it opens; to a room, or into what is no room's name, it is refused."""
    opened = _open(samples.invitation())
    assert (opened.body.content, kind_of(opened.body.content)) == (Invite("#lobby"), "invite")
    with pytest.raises(MalformedRecord, match="a whole room"):
        _open(_saying(Invite("#lobby")))
    for name in ("lobby", "#", "#Lobby", "#a\x1b[2J", "#" + "a" * 32):
        with pytest.raises((MalformedRecord, ValueError)):
            _open(msgspec.structs.replace(samples.private_message(), content=Invite(name)))


def test_a_private_talk_has_no_topic() -> None:
    """A topic statement addressed to a person is refused, not shown somewhere."""
    with pytest.raises(MalformedRecord, match="no topic"):
        _open(msgspec.structs.replace(samples.private_message(), content=SetTopic("x")))


# --- what is done to lines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", samples.OPERATIONS, ids=lambda content: type(content).__name__)
def test_operations_travel_and_have_a_kind_and_a_target(content: Content) -> None:
    statement = _open(_saying(content, counter=9))
    assert statement.body.content == content
    assert kind_of(content) == content.__struct_config__.tag
    assert target_of(content) in (b"", samples.LINE)
    assert content_text(content) == ("so do I" if isinstance(content, Say) else "")
    assert peek_author(statement.raw) == ALICE


@pytest.mark.parametrize(
    "make",
    [
        lambda: Say("x", False, b"short"),
        lambda: Edit(samples.LINE, 1, "\U0001f600" * (TEXT_BYTES_MAX // 4 + 1)),
        lambda: React(samples.LINE, 1, "\U0001f600" * 17),
    ],
)
def test_what_nobody_can_mean_is_refused(make: Callable[[], Content]) -> None:
    with pytest.raises((ValueError, MalformedRecord)):
        _open(_saying(make(), counter=2))


def test_nobody_deletes_in_somebody_elses_chain() -> None:
    """A place is in a chain of the signing device, before the deletion; or of a device of the same identity."""
    phone = SigningKey(b"\x0c" * 32)
    own = sign_body(DeviceCertificate("alice", phone.public, samples.NOW_S), samples.ALICE, samples.NETWORK).raw
    bobs = sign_body(DeviceCertificate("bob", phone.public, samples.NOW_S), samples.BOB, samples.NETWORK).raw
    taken = _open(_saying(Delete([Place(samples.LINE, 3), Place(b"e" * 16, 70, own, 4)]), counter=9)).takes_back
    assert taken == ((samples.ALICES_LAPTOP.public, 3, samples.LINE, 0), (phone.public, 70, b"e" * 16, 4))
    for place in (Place(samples.LINE, 9), Place(samples.LINE, 70), Place(samples.LINE, 3, bobs)):
        with pytest.raises(MalformedRecord):
            _open(_saying(Delete([place]), counter=9))
    with pytest.raises((MalformedRecord, BadSignature)):
        _open(_saying(Delete([Place(samples.LINE, 3, own[:-1] + b"\x00")]), counter=9))
