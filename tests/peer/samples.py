"""One message of each kind, for tests of what is allowed where."""

from typing import get_args

from dhtchat.limits import NONCE_BYTES
from dhtchat.peer.messages import (
    Announce,
    Announced,
    AnyMessage,
    Branch,
    Bye,
    ClientProof,
    Committed,
    DeviceCounter,
    Have,
    Hello,
    Lines,
    Neighbour,
    Ping,
    Pong,
    Pushed,
    Rulings,
    ServerProof,
    Tell,
    Wanted,
    Welcome,
)

KEY = bytes(range(32))
TALK: list[AnyMessage] = [
    Tell(b"statement"),
    Pushed(b"statement", 3),
    Neighbour(KEY, "please"),
    Announced(KEY, [bytes(16)]),
    Wanted(KEY, [bytes(16)]),
    Branch(KEY, True),
    Committed([bytes(16)]),
    Have(KEY, [DeviceCounter(KEY, 3)], True),
    Lines(KEY, [b"statement"], [DeviceCounter(KEY, 1)], [], False),
    Announce([b"record"]),
    Rulings(KEY, [bytes(16)], [b"ruling"], True),
]
ONE_OF_EACH: list[AnyMessage] = [
    Hello(1, KEY, bytes(NONCE_BYTES)),
    ServerProof(b"certificate", bytes(NONCE_BYTES), bytes(64)),
    ClientProof(b"certificate", bytes(64)),
    Welcome(),
    Ping(7),
    Pong(7),
    Bye("leaving"),
    *TALK,
]
assert {type(message) for message in ONE_OF_EACH} == set(get_args(AnyMessage)), "a kind without a sample"
