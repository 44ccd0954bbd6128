"""What the parts of a running node share. No behaviour: who we are, what we stand on, and where events go."""

from collections.abc import Callable
from dataclasses import dataclass

from dhtchat.app.journal import Journal
from dhtchat.chat.events import Event
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.node import DhtNode
from dhtchat.history.store import HistoryStore
from dhtchat.ids import DeviceId, PeerDevice, PeerId
from dhtchat.parameters import NetworkParameters
from dhtchat.records.device import Author, DeviceCertificate, open_certificate
from dhtchat.records.envelope import B, Signed, sign_body
from dhtchat.records.kinds import SoftRecord
from dhtchat.records.soft import dies_at
from dhtchat.runtime import Runtime


class Me:
    """The person and device that this node speaks for."""

    def __init__(self, name: str, identity: SigningKey, device: SigningKey, network_id: bytes, now_s: float) -> None:
        self.name = name
        self.identity = identity
        self.device_key = device
        self.peer = PeerId(identity.public)
        self.device = DeviceId(device.public)
        self.who = PeerDevice(self.peer, self.device)
        certificate = DeviceCertificate(name, device.public, int(now_s))
        self.certificate = sign_body(certificate, identity, network_id).raw
        self.author: Author = open_certificate(self.certificate, network_id)


@dataclass(frozen=True)
class Core:
    """Shared by everything in `app`."""

    runtime: Runtime
    parameters: NetworkParameters
    me: Me
    dht: DhtNode
    store: HistoryStore
    journal: Journal
    emit: Callable[[Event], None]

    def now_s(self) -> float:
        """Monotonic."""
        return self.runtime.clock.monotonic()

    def wall_s(self) -> float:
        return self.runtime.clock.wall()

    def wall_ms(self) -> int:
        return int(self.runtime.clock.wall() * 1000)

    def sign_own(self, body: B) -> Signed[B]:
        """Sign a record as the person."""
        return sign_body(body, self.me.identity, self.parameters.network_id)

    def life_s(self, record: SoftRecord) -> float:
        """How long a record just received may be believed."""
        now = self.wall_s()
        return dies_at(record.body.issued_at_s, record.body.ttl_s, now) - now
