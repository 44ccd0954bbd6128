"""How large what we sign can get. A number that changes here is a change of the wire: it is noticed, not discovered."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dhtchat.errors import MalformedMessage, MalformedRecord
from dhtchat.limits import FRAME_BYTES_MAX, PAGE_BYTES_MAX, RECORD_BYTES_MAX
from dhtchat.peer import messages
from dhtchat.records.device import CERTIFICATE_BYTES_MAX, DeviceCertificate
from dhtchat.records.envelope import Body, Envelope, open_signed
from dhtchat.records.kinds import DURABLE_KINDS, SOFT_KINDS
from dhtchat.records.message import MESSAGE_BYTES_MAX, Message
from dhtchat.records.ruling import Act, Ruling
from tests.records import samples

LARGEST = samples.largest()

SIZES = {
    "account": 308,
    "room": 168,
    "presence": 533,
    "membership": 232,
    "user-listing": 201,
    "room-listing": 620,
    "door": 1_000,
    "mail": 1_000,
    "mailbox": 694,
    "mail-receipt": 999,
    "device": 179,
    "message": 8_701,
    "ruling": 935,
}
"""Bytes of each kind at its largest, envelope and signature included."""

STORED_KINDS = [kind.KIND for kind in (*DURABLE_KINDS, *SOFT_KINDS)]


@pytest.mark.parametrize("kind", LARGEST)
def test_the_largest_of_each_kind_has_exactly_this_size(kind: str) -> None:
    """A size changes on purpose only: these are the numbers docs and limits rely on."""
    assert len(samples.signed(LARGEST[kind]).raw) == SIZES[kind]


def test_every_kind_has_its_size_pinned() -> None:
    """A kind that is added to the DHT without a size here is found."""
    assert set(LARGEST) == set(SIZES)
    assert {*STORED_KINDS, DeviceCertificate.KIND, Message.KIND, Ruling.KIND} == set(SIZES)


@pytest.mark.parametrize("kind", STORED_KINDS)
def test_a_record_of_the_dht_fits_its_limit(kind: str) -> None:
    """design.md: at most 1,000 bytes, so that with the datagram's header it fits 1,232."""
    assert SIZES[kind] <= RECORD_BYTES_MAX <= PAGE_BYTES_MAX


@pytest.mark.parametrize("act", samples.LARGEST_ACTS, ids=lambda act: type(act).__name__)
def test_no_ruling_is_larger_than_a_record(act: Act) -> None:
    """Whatever is ruled, also with every field at its bound, fits the limit of all records."""
    assert len(samples.signed(samples.largest_ruling(act)).raw) <= SIZES["ruling"] <= RECORD_BYTES_MAX


def test_certificate_and_message_limits_are_the_truth() -> None:
    """Not a byte more than the largest can need is accepted."""
    assert SIZES["device"] == CERTIFICATE_BYTES_MAX
    assert SIZES["message"] == MESSAGE_BYTES_MAX


@pytest.mark.parametrize("kind", LARGEST)
def test_the_largest_still_opens(kind: str) -> None:
    """The limits do not contradict each other: what has every field at its bound is accepted."""
    body = LARGEST[kind]
    signed = samples.signed(body)
    assert open_signed(signed.raw, type(body), samples.NETWORK, bytes_max=MESSAGE_BYTES_MAX).body == body


def _enlarged(value: Any) -> Iterator[Any]:
    """`value` once for each thing in it, with that thing one larger."""
    match value:
        case bool():
            pass
        case int():
            yield value + 1
        case str():
            yield value + "x"
        case bytes():
            yield value + b"x"
        case list():
            yield [*value, value[-1]]
            for index, item in enumerate(value):
                yield from ([*value[:index], larger, *value[index + 1 :]] for larger in _enlarged(item))
        case _:
            raise AssertionError(f"no way to enlarge {value!r}")


@pytest.mark.parametrize("kind", LARGEST)
def test_the_largest_is_really_the_largest(kind: str) -> None:
    """One more anywhere (a field, a character, a byte, an item, a number) and the record is refused on decoding."""
    body = LARGEST[kind]
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(body))
    enlarged = list(_enlarged(fields))
    assert len(enlarged) > len(fields) // 2
    for larger in enlarged:
        with pytest.raises(MalformedRecord):
            open_signed(_sign_fields(body, larger), type(body), samples.NETWORK, bytes_max=FRAME_BYTES_MAX)


def _sign_fields(body: Body, fields: Any) -> bytes:
    """A record of `body`'s kind with a good signature over any fields at all."""
    encoded = msgspec.msgpack.encode(fields)
    signature = samples.ALICE.sign(body.KIND, samples.NETWORK, encoded)
    return msgspec.msgpack.encode(Envelope(body.KIND, samples.ALICE.public, encoded, signature))


def test_the_largest_message_fits_a_frame() -> None:
    """Whatever may be said can be told: the largest statement alone, and a full announcement of records."""
    statement = samples.signed(LARGEST["message"]).raw
    assert messages.decode(messages.encode(messages.Tell(statement))) == messages.Tell(statement)
    announce = messages.Announce([b"x" * RECORD_BYTES_MAX] * 32)
    assert len(messages.encode(announce)) <= FRAME_BYTES_MAX
    with pytest.raises(MalformedMessage):
        messages.decode(messages.encode(messages.Tell(statement + b"x")))


def test_a_full_comparison_fits_a_frame() -> None:
    """`Have` and `Committed` at their bounds are frames that can be sent."""
    devices = [messages.DeviceCounter(b"d" * 32, 2**62)] * 1_024
    assert len(messages.encode(messages.Have(b"c" * 32, devices, True))) <= FRAME_BYTES_MAX
    assert len(messages.encode(messages.Committed([b"i" * 16] * 1_024))) <= FRAME_BYTES_MAX
