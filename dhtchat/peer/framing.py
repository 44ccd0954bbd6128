"""Frames on a stream: four bytes of length, big endian, and as many bytes of message. No I/O.

A length is judged when its four bytes are there, before anything is set aside for what it announces.
"""

from typing import Final

from dhtchat.errors import MalformedMessage
from dhtchat.limits import FRAME_BYTES_MAX

LENGTH_BYTES: Final = 4


def frame(message: bytes) -> bytes:
    """`message` as it goes on the wire."""
    if not 1 <= len(message) <= FRAME_BYTES_MAX:
        raise ValueError(f"a message of {len(message)} bytes does not fit a frame")
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


class FrameCutter:
    """Cuts a stream into messages, however the stream was cut into pieces. Holds less than one frame between calls."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises `MalformedMessage` for a length that is none, and ever after."""
        self._rest += data
        messages: list[bytes] = []
        start = 0
        with memoryview(self._rest) as view:
            while len(view) - start >= LENGTH_BYTES:
                length = int.from_bytes(view[start : start + LENGTH_BYTES], "big")
                if not 1 <= length <= FRAME_BYTES_MAX:
                    raise MalformedMessage(f"a frame of {length} bytes, 1 to {FRAME_BYTES_MAX} allowed")
                end = start + LENGTH_BYTES + length
                if end > len(view):
                    break
                messages.append(bytes(view[start + LENGTH_BYTES : end]))
                start = end
        del self._rest[:start]
        return messages
