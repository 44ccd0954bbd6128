"""Rulings without signatures, for tests of what they mean: people are named by one letter."""

from collections.abc import Iterable

import msgspec

from dhtchat.chat.room_graph import RoomGraph, Standing
from dhtchat.ids import DeviceId, PeerId, labelled_hash
from dhtchat.records.envelope import Signed
from dhtchat.records.ruling import (
    DEVICE_HEAD_BYTES,
    Act,
    Given,
    Grant,
    OpenRuling,
    Removal,
    Ruling,
    Said,
    Taken,
)

ROOM = b"r" * 32


def person(letter: str) -> PeerId:
    return PeerId(letter.encode() * 32)


def device(letter: str) -> DeviceId:
    return DeviceId(letter.lower().encode() * 16 + letter.encode() * 16)


OWNER = person("o")


def grant(letter: str, given: Given) -> Grant:
    return Grant(person(letter), letter * 3, given)


def removal(letter: str, taken: Taken, *, said: int = 0) -> Removal:
    places = [Said(device(letter)[:DEVICE_HEAD_BYTES], said)] if said else []
    return Removal(person(letter), letter * 3, taken, "", places)


def ruling(issuer: str, act: Act, parents: Iterable[bytes] = (), *, salt: int = 0) -> OpenRuling:
    """`salt`: another ruling that says the same."""
    body = Ruling(ROOM, issuer * 3, sorted(parents), salt, act)
    digest = labelled_hash("record", person(issuer), msgspec.msgpack.encode(body))
    return OpenRuling(Signed(digest, person(issuer), body, digest))


def rule(graph: RoomGraph, issuer: str, act: Act, *, salt: int = 0) -> OpenRuling:
    """Somebody who sees this graph rules."""
    made = ruling(issuer, act, graph.heads, salt=salt)
    graph.offer(made)
    return made


def merge(graph: RoomGraph, other: RoomGraph) -> None:
    """Take what the other one has and this one lacks."""
    for each in other.after(graph.heads):
        graph.offer(each)


def picture(graph: RoomGraph) -> dict[str, object]:
    """All that a graph says, without the numbers that the order of arrival gives."""

    def name(number: int) -> object:
        made = graph.ruling(number)
        return made.id if made else number

    def of(standing: Standing) -> object:
        return standing._replace(
            moderator=name(standing.moderator), kicked=name(standing.kicked), last=name(standing.last)
        )  # type: ignore[arg-type]

    now = graph.now
    return {
        "owner": (now.owner, name(now.owner_by)),
        "people": {peer: of(standing) for peer, standing in sorted(now.people.items())},
        "mode": (now.moderated, name(now.mode_by)),
        "hands": now.hands_open,
        "door": (now.closed, name(now.door_by)),
        "topic": (now.topic, name(now.topic_by)),
        "heads": graph.heads,
        "effective": {
            each.id for number in range(len(graph)) if (each := graph.ruling(number)) and now.effective >> number & 1
        },
    }
