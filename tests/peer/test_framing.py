"""Goal: a stream gives the same frames however it was cut, and no announced length costs memory."""

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.errors import MalformedMessage
from dhtchat.limits import FRAME_BYTES_MAX
from dhtchat.peer.framing import LENGTH_BYTES, FrameCutter, frame

messages = st.lists(st.binary(min_size=1, max_size=200), max_size=20)


def cuts_of(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(messages, st.lists(st.integers(min_value=0), max_size=30))
def test_any_cut_of_the_bytes_gives_the_same_frames(sent: list[bytes], places: list[int]) -> None:
    cutter = FrameCutter()
    stream = b"".join(map(frame, sent))
    assert [message for piece in cuts_of(stream, places) for message in cutter.feed(piece)] == sent


@given(messages, st.sampled_from([0, FRAME_BYTES_MAX + 1, 2**32 - 1]), st.lists(st.integers(min_value=0), max_size=30))
def test_any_cut_meets_a_bad_length_and_no_frame_behind_it(sent: list[bytes], length: int, places: list[int]) -> None:
    cutter = FrameCutter()
    stream = b"".join(map(frame, sent)) + length.to_bytes(LENGTH_BYTES, "big") + frame(b"never seen")
    got: list[bytes] = []

    def feed_all() -> None:
        for piece in cuts_of(stream, places):
            got.extend(cutter.feed(piece))

    with pytest.raises(MalformedMessage):
        feed_all()
    assert got == sent[: len(got)]
    with pytest.raises(MalformedMessage):
        cutter.feed(b"")


def test_the_largest_frame_passes_byte_by_byte_and_whole() -> None:
    message = bytes(FRAME_BYTES_MAX)
    assert FrameCutter().feed(frame(message)) == [message]
    cutter = FrameCutter()
    assert [got for byte in frame(message) for got in cutter.feed(bytes([byte]))] == [message]


@pytest.mark.parametrize("message", [b"", bytes(FRAME_BYTES_MAX + 1)])
def test_we_make_no_frame_that_others_must_refuse(message: bytes) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        frame(message)


def test_an_announced_length_sets_nothing_aside() -> None:
    cutters = [FrameCutter() for _ in range(100)]
    tracemalloc.start()
    try:
        for cutter in cutters:
            cutter.feed(FRAME_BYTES_MAX.to_bytes(LENGTH_BYTES, "big") + b"x")
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < FRAME_BYTES_MAX
