"""What lies inside the nodes when a play is over, as a value: with real sockets it comes over pipes, from several processes."""

from collections.abc import Mapping

import msgspec

from dhtchat.app.inspection import Sizes
from dhtchat.app.node import ChatNode
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage


class Findings(msgspec.Struct, kw_only=True):
    """Of those who are online in the end, by name. Ids and keys are in hex."""

    held: dict[str, list[str]] = {}
    """The statements on each disk."""
    raw: dict[str, bytes] = {}
    """Those statements, signed."""
    rooms: dict[str, dict[str, bytes]] = {}
    """The rooms each is in, with the id of the talk."""
    sizes: dict[str, Sizes] = {}
    votes: list[tuple[str, str]] = []
    """Which owner each node votes for, name by name."""
    went_back: list[str] = []
    """Bare nodes that replaced a record by an older one."""
    statements_received: int = 0
    """Copies of lines that reached them, the superfluous ones too."""

    def add(self, other: "Findings") -> None:
        """What another process found."""
        self.held |= other.held
        self.raw |= other.raw
        self.rooms |= other.rooms
        self.sizes |= other.sizes
        self.votes += other.votes
        self.went_back += other.went_back
        self.statements_received += other.statements_received


def look_into(people: Mapping[str, ChatNode], bare: Mapping[str, DhtNode]) -> Findings:
    """Read all of it from nodes that still run."""
    found = Findings()
    storages: list[RecordStorage] = [node.storage for node in bare.values()]
    for name, node in people.items():
        if not node.is_online:
            continue
        inside = node.inspection
        rows = list(inside.statements())
        found.held[name] = [row.id.hex() for row in rows]
        found.raw |= {row.id.hex(): row.raw for row in rows}
        found.rooms[name] = inside.room_conversations()
        found.sizes[name] = inside.sizes()
        found.statements_received += inside.statements_received
        storages.append(inside.storage)
    found.votes = [
        (key.hex(), claims[0].key.hex())
        for storage in storages
        for key in storage.claim_keys()
        if (claims := storage.claims(key))
    ]
    found.went_back = [name for name, node in bare.items() if node.statistics["sequence-back"]]
    return found
