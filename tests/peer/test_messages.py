"""Goal: `decode` lets nothing through but messages, and never raises anything but `MalformedMessage`."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.errors import MalformedMessage
from dhtchat.limits import FRAME_BYTES_MAX
from dhtchat.peer.messages import AnyMessage, Lines, Welcome, decode, encode
from tests.peer.samples import KEY, ONE_OF_EACH

junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
def test_what_is_encoded_comes_back(message: AnyMessage) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        decode(data)


@given(st.sampled_from([encode(message)[1:8] for message in ONE_OF_EACH]), junk)
def test_any_structure_decodes_or_is_malformed(head: bytes, value: object) -> None:
    for data in (msgspec.msgpack.encode(value), b"\x92" + head + msgspec.msgpack.encode(value)):
        with contextlib.suppress(MalformedMessage):
            decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * FRAME_BYTES_MAX,  # nested too deep
        b"\xde\xff\xff",  # a map that announces what does not follow
        b"\x92\xa4tell\xc6\xff\xff\xff\xff",  # 4 GiB of bytes, announced
        b"\x92\xa3bye\xa2\xff\xff",  # no UTF-8
        msgspec.msgpack.encode(["bye", "\x1b[31m"]),
        msgspec.msgpack.encode(["bye", "Some words"]),
        msgspec.msgpack.encode(["bye", "leaving\n"]),
        msgspec.msgpack.encode(["\x1b]52;c;AAAA\a"]),
        encode(Welcome()) + b"\x00",
    ],
)
def test_these_are_malformed_and_say_so_in_plain_letters(data: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        decode(data)
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


def test_a_message_too_long_for_a_frame_is_our_own_bug() -> None:
    with pytest.raises(ValueError, match="does not fit a frame"):
        encode(Lines(KEY, [bytes(8_000)] * 10, [], [], False))
