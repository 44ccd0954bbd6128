"""What a running node holds, for those who check it: the simulator, the metrics, tests. Looks only, changes nothing."""

from collections.abc import Iterator
from typing import NamedTuple

from dhtchat.app.core import Core
from dhtchat.app.exchange import Exchange
from dhtchat.app.rooms import Rooms
from dhtchat.app.talks import Talks
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import RecordStorage
from dhtchat.history.store import StoredStatement
from dhtchat.ids import MessageId, PeerId
from dhtchat.peer.pool import LinkPool


class Sizes(NamedTuple):
    """Of everything that has a bound in `limits.py`."""

    links: int
    records: int
    record_bytes: int
    outbox: int
    held: int
    """Statements of one talk, at most, that wait for what they follow."""
    mail: int
    """Entries of mailboxes that it holds for others."""
    mail_bytes: int
    rulings: int
    """Of one room, at most."""
    parked: int
    """Messages of one room, at most, that wait for rulings."""
    neighbours: int
    """In one large room, at most."""


class Inspection:
    """The inside of one node that is online."""

    def __init__(self, core: Core, talks: Talks, rooms: Rooms, exchange: Exchange, pool: LinkPool) -> None:
        self._core = core
        self._talks = talks
        self._rooms = rooms
        self._exchange = exchange
        self._pool = pool

    @property
    def dht(self) -> DhtNode:
        """Its node in the DHT."""
        return self._core.dht

    @property
    def storage(self) -> RecordStorage:
        """What it holds for others."""
        return self._core.dht.storage

    @property
    def statements_received(self) -> int:
        """Statements of others that came over links since the start, repeated ones too."""
        return sum(count for name, count in self._exchange.statistics.items() if name.startswith("offered-"))

    def statements(self) -> Iterator[StoredStatement]:
        """All talk on its disk. Reads on the calling thread: for use when nothing else is going on."""
        for row in self._core.store.conversations():
            yield from self._core.store.statements(row.id)

    def room_conversations(self) -> dict[str, bytes]:
        """The rooms it is in, by name, with the id of the talk."""
        return {joined.room.name: joined.talk.id for joined in self._rooms.joined()}

    def conversations(self) -> list[bytes]:
        """The talks that concern it now: its rooms and all private ones."""
        return [talk.id for talk in self._talks]

    def private_conversations(self) -> dict[bytes, PeerId]:
        """The private ones of them, and with whom."""
        return {talk.id: talk.peer for talk in self._talks if talk.direct}

    def members(self) -> dict[str, set[PeerId]]:
        """Who is in its rooms as far as it knows, itself included."""
        return {joined.room.name: {*joined.room.people(), self.peer} for joined in self._rooms.joined()}

    def roles(self) -> dict[str, tuple[list[bytes], dict[PeerId, str]]]:
        """Of its rooms: the newest rulings, and what each is of whom a ruling speaks, the owner included."""
        found = {}
        for joined in self._rooms.joined():
            graph = joined.room.graph
            roles: dict[PeerId, str] = {
                peer: graph.now.role(peer) for peer in sorted({*graph.now.people, graph.now.owner})
            }
            found[joined.room.name] = graph.heads, roles
        return found

    def receipts(self) -> dict[bytes, set[bytes]]:
        """Per statement on its disk, the keys of the people who said that they have it on theirs."""
        return self._core.store.receipts(row.id for row in self.statements())

    @property
    def peer(self) -> PeerId:
        """Whose it is."""
        return self._core.me.peer

    def owed_privately(self) -> dict[PeerId, list[MessageId]]:
        """Private lines that somebody is not known to have."""
        return self._exchange.outbox.lacking(direct_only=True)

    def held_since(self) -> dict[MessageId, float]:
        """What waits for lines that it follows, and since when (monotonic)."""
        return {each: since_s for talk in self._talks for each, since_s in talk.timeline.held_since().items()}

    def sizes(self) -> Sizes:
        return Sizes(
            links=len(self._pool.links()),
            records=len(self.storage),
            record_bytes=self.storage.bytes_held,
            outbox=len(self._exchange.outbox),
            held=max((talk.timeline.waiting for talk in self._talks), default=0),
            mail=self.storage.mail_held[0],
            mail_bytes=self.storage.mail_held[1],
            rulings=max((len(joined.room.graph) for joined in self._rooms.joined()), default=0),
            parked=self._exchange.parked_most,
            neighbours=self._exchange.neighbours_most,
        )
