"""What a stranger may put into a record's fields: names in their one form, numeric addresses, texts of bounded size."""

from typing import Any

import msgspec
import pytest

from dhtchat.errors import MalformedRecord
from dhtchat.limits import AWAY_CHARACTERS_MAX, TOPIC_CHARACTERS_MAX
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.envelope import Body, Envelope, open_signed
from dhtchat.records.presence import Address, Presence
from tests.records import samples

PEOPLE = [body for body in samples.stored() if not body.KIND.startswith("room")]
PEOPLE.append(DeviceCertificate("alice", b"d" * 32, samples.NOW_S))
ROOMS = [body for body in samples.stored() if body.KIND.startswith("room")]


def _open_with(body: Body, **changes: Any) -> Body:
    """`body` with other fields, encoded without our own checks and properly signed, as a stranger would."""
    fields = {name: getattr(body, name) for name in body.__struct_fields__} | changes
    encoded = msgspec.msgpack.encode(list(fields.values()))
    signature = samples.ALICE.sign(body.KIND, samples.NETWORK, encoded)
    raw = msgspec.msgpack.encode(Envelope(body.KIND, samples.ALICE.public, encoded, signature))
    return open_signed(raw, type(body), samples.NETWORK, bytes_max=2_000).body


@pytest.mark.parametrize("body", PEOPLE, ids=lambda body: body.KIND)
@pytest.mark.parametrize("name", ["", "al", "Alice", "ａｌｉｃｅ", "аlice", "root", "a b c", "#lobby", "alice\n"])
def test_people_are_named_in_the_one_form(body: Body, name: str) -> None:
    """No look-alike, no reserved word, no second spelling comes in through any record."""
    with pytest.raises(MalformedRecord):
        _open_with(body, name=name)


@pytest.mark.parametrize("body", ROOMS, ids=lambda body: body.KIND)
@pytest.mark.parametrize("name", ["", "#", "lobby", "#Lobby", "##", "# x", "#lobby\n"])
def test_rooms_are_named_in_the_one_form(body: Body, name: str) -> None:
    """The same for rooms."""
    with pytest.raises(MalformedRecord):
        _open_with(body, name=name)


@pytest.mark.parametrize(
    "address",
    [
        ("localhost", 1),
        ("example.org", 1),
        ("192.0.2.7", 0),
        ("192.0.2.7", 65_536),
        ("192.0.2.7", "1"),
        ("fe80::1%eth0", 1),
        ("", 1),
        ("192.0.2.7",),
        ("192.0.2.7", 1, 1),
    ],
    ids=str,
)
def test_a_device_is_at_a_numeric_address(address: tuple[Any, ...]) -> None:
    """A presence record makes nobody ask a name server, and nobody dial a port that is none."""
    with pytest.raises(MalformedRecord):
        _open_with(samples.presence(), addresses=[address])


def test_a_device_may_be_nowhere() -> None:
    """Somebody who cannot be reached is online all the same; an address is what a socket takes."""
    body = _open_with(samples.presence(), addresses=[])
    assert isinstance(body, Presence)
    assert body.addresses == []
    assert Address("2001:db8::7", 80).endpoint == ("2001:db8::7", 80)


@pytest.mark.parametrize("text", ["x" * (AWAY_CHARACTERS_MAX + 1), "\U0001f600" * 31])
def test_an_away_text_is_bounded_in_characters_and_bytes(text: str) -> None:
    """Both count: one is what people see, the other what a record holds."""
    with pytest.raises(MalformedRecord):
        _open_with(samples.presence(), away=text)


@pytest.mark.parametrize("text", ["x" * (TOPIC_CHARACTERS_MAX + 1), "\U0001f600" * 101])
def test_a_listed_topic_is_bounded_in_characters_and_bytes(text: str) -> None:
    """The same bounds as the statement that sets it."""
    with pytest.raises(MalformedRecord):
        _open_with(samples.room_listing(), topic=text)


@pytest.mark.parametrize("time_s", [-1, 253_402_300_800, 2**40, 2**63, 1.5, None])
@pytest.mark.parametrize("body", [*samples.stored()[2:], *PEOPLE[-1:]], ids=lambda body: body.KIND)
def test_times_can_be_shown(body: Body, time_s: object) -> None:
    """No time beyond year 9999, which would make `datetime` raise on somebody else's screen."""
    with pytest.raises(MalformedRecord):
        _open_with(body, issued_at_s=time_s)


@pytest.mark.parametrize(
    "changes",
    [{"ttl_s": 0}, {"ttl_s": 14 * 24 * 3600 + 1}, {"sequence": 0}, {"gone": 1}, {"sequence": 2**62 + 1}],
    ids=str,
)
@pytest.mark.parametrize("body", samples.stored()[2:], ids=lambda body: body.KIND)
def test_lives_and_sequence_numbers_have_bounds(body: Body, changes: dict[str, Any]) -> None:
    """Nothing soft lives without end, and no number is the last one in all arithmetic."""
    with pytest.raises(MalformedRecord):
        _open_with(body, **changes)
