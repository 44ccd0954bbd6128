"""People who talk in a room, and histories of what they said: signed for real, from a seeded source."""

import random
from collections.abc import Iterable, Sequence

from dhtchat.crypto.identity import SigningKey
from dhtchat.ids import DeviceId, MessageId, PeerId
from dhtchat.limits import PARENTS_MAX
from dhtchat.parameters import SIM
from dhtchat.records.device import Author, DeviceCertificate
from dhtchat.records.envelope import sign_body
from dhtchat.records.message import Content, Message, Say, Statement, sign_statement

NETWORK = SIM.network_id
NOW_S = 1_800_000_000
ROOM = b"r" * 32


class Speaker:
    """One device of a person; `identity` given: another device of the same one. Speaks the next line of its chain."""

    def __init__(self, name: str, rng: random.Random, *, identity: SigningKey | None = None) -> None:
        self.name = name
        self.identity = identity or SigningKey.generate(rng)
        self.key = SigningKey.generate(rng)
        self.peer = PeerId(self.identity.public)
        self.device = DeviceId(self.key.public)
        self.author = Author(self.peer, self.device, name)
        self.certificate = sign_body(DeviceCertificate(name, self.device, NOW_S), self.identity, NETWORK).raw
        self.counter = 0
        self.last: Statement | None = None

    def say(self, text: str = "hello", *, parents: Iterable[bytes | Statement] = (), room: bytes = ROOM) -> Statement:
        return self.state(Say(text), parents=parents, room=room)

    def state(
        self,
        content: Content,
        *,
        parents: Iterable[bytes | Statement] = (),
        room: bytes = ROOM,
        passes_over: int = 0,
        heads: Iterable[bytes] = (),
    ) -> Statement:
        self.counter += 1
        previous = self.last.id if self.last is not None else b""
        self.last = self.place(
            self.counter, previous, parents, content=content, room=room, passes_over=passes_over, heads=heads
        )
        return self.last

    def place(
        self,
        counter: int,
        previous: bytes,
        parents: Iterable[bytes | Statement] = (),
        *,
        content: Content = Say("hello"),  # noqa: B008  (frozen)
        room: bytes = ROOM,
        passes_over: int = 0,
        heads: Iterable[bytes] = (),
    ) -> Statement:
        """A statement anywhere, as only a liar or a careful test would sign it."""
        ids = [parent.id if isinstance(parent, Statement) else parent for parent in parents]
        message = Message(
            self.certificate, False, room, "", counter, previous, ids, NOW_S * 1000, content, passes_over, list(heads)
        )
        return sign_statement(message, self.key, self.author, NETWORK)

    def chain(self, length: int) -> list[Statement]:
        """The next `length` lines, one after the other."""
        return [self.say(f"{self.name} {number}") for number in range(length)]


def speakers(count: int, rng: random.Random) -> list[Speaker]:
    return [Speaker(f"user{number}", rng) for number in range(count)]


def random_history(
    voices: Sequence[Speaker], count: int, rng: random.Random, *, gossip: float = 0.4
) -> list[Statement]:
    """`count` lines in the order they were said. Before a line, its author has heard of some others or not (`gossip`)."""
    said: list[Statement] = []
    seen: dict[DeviceId, dict[MessageId, Statement]] = {voice.device: {} for voice in voices}
    for number in range(count):
        voice = rng.choice(voices)
        known = seen[voice.device]
        while said and rng.random() < gossip:
            other = seen[rng.choice(voices).device]
            known.update(other)
        line = voice.say(f"line {number}", parents=heads_of(known.values(), voice))
        known[line.id] = line
        said.append(line)
    return said


def heads_of(known: Iterable[Statement], voice: Speaker) -> list[bytes]:
    """What a device that has seen `known` names as parents."""
    known = list(known)
    followed = {earlier for line in known for earlier in followed_by(line)}
    own = voice.last.id if voice.last else b""
    return sorted(line.id for line in known if line.id not in followed and line.id != own)[:PARENTS_MAX]


def followed_by(statement: Statement) -> list[MessageId]:
    """What a statement comes after."""
    previous = [statement.body.previous] if statement.body.previous else []
    return [MessageId(earlier) for earlier in [*previous, *statement.body.parents]]
