"""Events as lines of the control socket, read again on the other side. Light: commands that ask load it to draw answers."""

import functools
import operator
from typing import Final

import msgspec

from dhtchat.chat import events as known
from dhtchat.chat.events import Event
from dhtchat.errors import MalformedMessage


class Done(Event, frozen=True, kw_only=True, omit_defaults=True, tag="done"):
    """All that answers the request `id` has been written. Not shown to anybody."""

    id: int
    state: str | None = None
    """Of `Send`: what became of the line."""


_KINDS: Final = [*(kind for kind in Event.__subclasses__() if kind.__module__ == known.__name__), Done]
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(functools.reduce(operator.or_, _KINDS))


def decode_event(line: bytes) -> Event | None:
    """What the peer says; None when it is an event younger than this file. Raises `MalformedMessage` and nothing else."""
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError as error:
        if str(error).startswith("Invalid value") and str(error).endswith("$.event`"):
            return None
        raise MalformedMessage(f"no event: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"no event: {error}") from error
