"""A modified peer: keys of its own, all of them valid, and a program that signs, stores and says whatever it likes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

from dhtchat.chat.events import MessageArrived
from dhtchat.crypto.certificates import TlsIdentity
from dhtchat.crypto.identity import SigningKey
from dhtchat.dht.contact import Contact, contact_at
from dhtchat.dht.node import DhtNode
from dhtchat.dht.storage import Kept
from dhtchat.ids import Endpoint, PeerId, RecordKey, RoomId
from dhtchat.parameters import SIM
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Announce, PeerMessage, Tell
from dhtchat.peer.pool import LinkPool
from dhtchat.records.account import Account, create_account
from dhtchat.records.device import DeviceCertificate, open_certificate
from dhtchat.records.envelope import Body, Signed, sign_body
from dhtchat.records.kinds import Record
from dhtchat.records.listing import UserListing
from dhtchat.records.membership import Membership
from dhtchat.records.message import Content, Message, Say, Statement, message_id_of
from dhtchat.records.presence import Address, Presence
from dhtchat.runtime import RealClock, Runtime
from tests.app.cables import CuttableNetwork
from tests.app.town import LOOPBACK, PASSWORD, Person, Town, until

M = TypeVar("M", bound=PeerMessage)
TTL_S = 120
NETWORK = SIM.network_id


class Villain:
    """Use as `async with villain_in(town, "mallory") as mallory`. A full node of the DHT, a pool of links, no scruples.

    Its account is real, so what it says in its own name is shown under its name, as anybody's.
    """

    def __init__(self, town: Town, name: str, runtime: Runtime, dht: DhtNode) -> None:
        self.town = town
        self.name = name
        self.dht = dht
        self.heard: list[tuple[Link, PeerMessage]] = []
        self.downs: list[tuple[Link, str]] = []
        self.account: Signed[Account]
        self.identity = SigningKey.generate(runtime.random)
        self.device = SigningKey.generate(runtime.random)
        self.runtime = runtime
        self._counters: dict[bytes, tuple[int, bytes]] = {}
        self._sequence = 0
        self._fences = 0
        self.pool: LinkPool
        self.endpoint: Endpoint

    async def take_name(self) -> None:
        """Register, with a key that sorts behind all others: where an order decides, villains choose theirs."""
        key = SigningKey(bytes(32))
        while key.public[0] != 0xFF:
            self.account, key = create_account(
                self.name, PASSWORD, parameters=SIM, source=self.runtime.random, now_s=self.runtime.clock.wall()
            )
        self.identity = key
        assert (await self.dht.claim(self.account)).owner == self.account

    def open_pool(self, name: str) -> LinkPool:
        """Links under a certificate that says `name`."""
        return LinkPool(
            runtime=self.runtime,
            parameters=SIM,
            device=self.device,
            certificate=self.certify(name),
            tls=TlsIdentity(self.runtime.random),
            handler=self,
        )

    @property
    def peer(self) -> PeerId:
        return PeerId(self.identity.public)

    # --- signing ------------------------------------------------------------------------------------------------------

    def certify(self, name: str, device: bytes | None = None) -> bytes:
        return self.sign(DeviceCertificate(name, device or self.device.public, 0)).raw

    def sign(self, body: Body, key: SigningKey | None = None) -> Signed[Any]:
        return sign_body(body, key or self.identity, NETWORK)

    def next_sequence(self) -> int:
        """Always above what anybody honest uses."""
        self._sequence += 1
        return 2**61 + self._sequence

    def presence(
        self,
        *,
        name: str | None = None,
        device: bytes | None = None,
        address: Endpoint | None = None,
        away: str = "",
        gone: bool = False,
        sequence: int | None = None,
    ) -> Signed[Presence]:
        at = address or self.endpoint
        return self.sign(
            Presence(
                name or self.name,
                device or self.device.public,
                [Address(at.host, at.port)],
                away,
                0,
                sequence or self.next_sequence(),
                int(self.runtime.clock.wall()),
                TTL_S,
                gone,
            )
        )

    def listing(self, *, name: str | None = None, device: bytes | None = None, gone: bool = False) -> Signed[Any]:
        now_s = int(self.runtime.clock.wall())
        device = device or self.device.public
        return self.sign(UserListing(name or self.name, device, False, self.next_sequence(), now_s, TTL_S, gone))

    def membership(
        self, room: RoomId, *, name: str | None = None, device: bytes | None = None, gone: bool = False
    ) -> Signed[Any]:
        now_s = int(self.runtime.clock.wall())
        device = device or self.device.public
        return self.sign(Membership(room, name or self.name, device, self.next_sequence(), now_s, TTL_S, gone))

    def statement(
        self,
        content: Content | str,
        *,
        room: bytes | None = None,
        to: PeerId | None = None,
        recipient: str = "somebody",
        name: str | None = None,
        certificate: bytes | None = None,
        counter: int | None = None,
        previous: bytes | None = None,
        parents: tuple[bytes, ...] = (),
        heads: Iterable[bytes] = (),
        device: SigningKey | None = None,
    ) -> Signed[Message]:
        """A line for a room, or private `to` somebody. What is not given is as an honest peer would have it."""
        target = room or to
        assert target is not None
        upto, last = self._counters.get(target, (0, b""))
        counter = upto + 1 if counter is None else counter
        message = Message(
            certificate=certificate or self.certify(name or self.name),
            direct=room is None,
            target=target,
            recipient=recipient if room is None else "",
            counter=counter,
            previous=(last if previous is None else previous) if counter > 1 else b"",
            parents=list(parents),
            sent_at_ms=int(self.runtime.clock.wall() * 1000),
            content=Say(content) if isinstance(content, str) else content,
            heads=list(heads),
        )
        signed = sign_body(message, device or self.device, NETWORK)
        if counter == upto + 1 and certificate is None:  # what is refused anyway leaves no gap
            self._counters[target] = counter, message_id_of(signed)
        return signed

    def opened(self, signed: Signed[Message]) -> Statement:
        return Statement(signed, open_certificate(signed.body.certificate, NETWORK))

    # --- storing ------------------------------------------------------------------------------------------------------

    async def store_everywhere(self, record: Record | bytes, key: RecordKey | None = None) -> list[Kept]:
        """Ask every node of the town to keep it, under `key` or where it belongs; what they did with it."""
        raw = record if isinstance(record, bytes) else record.raw
        if key is None:
            assert not isinstance(record, bytes)
            key = record.body.place(record.key)
        protocol = self.dht._protocol
        return await asyncio.gather(*(protocol.call_store(contact, key, raw) for contact in contacts_of(self.town)))

    # --- talking ------------------------------------------------------------------------------------------------------

    async def link_to(self, person: Person) -> Link:
        """A proven link. Dialled again when it was dropped."""
        device = person.device
        self.pool.want(device, PeerId(person.identity), [person.node._link_endpoint])
        self.pool.retry_now()
        await until(lambda: self.pool.get(device), f"{person.name} does not let {self.name} in")
        link = self.pool.get(device)
        assert link is not None
        return link

    async def say_to(self, person: Person, *messages: PeerMessage) -> Link:
        link = await self.link_to(person)
        for message in messages:
            await link.send(message)
        return link

    async def tell(self, person: Person, *statements: Signed[Message]) -> None:
        await self.say_to(person, *(Tell(statement.raw) for statement in statements))

    async def enter(self, room: str, *members: Person, name: str | None = None) -> RoomId:
        """Become a member as far as these are concerned: anybody may."""
        room_id = members[0].room(room).id
        record = self.membership(room_id, name=name)
        await self.store_everywhere(record)
        for person in members:
            await self.say_to(person, Announce([record.raw]))
            await until(
                lambda person=person: person.room(room).is_member(self.peer),
                f"{person.name} does not see {self.name} come in",
            )
        return room_id

    async def attack(self, person: Person, *messages: PeerMessage) -> None:
        """Say these one by one, and return once each has been handled: whoever drops the link over one of them hears the
        next over a new one."""
        for message in messages:
            await self.say_to(person, message)
            await self.fence(person)

    async def fence(self, person: Person) -> None:
        """Return once `person` has handled all that was said to them before: a link is read in order, and this line is
        shown after whatever came over it. Said again when the link was dropped."""
        self._fences += 1
        text = f"fence {self._fences}"
        line = self.statement(text, to=PeerId(person.identity), recipient=person.name)
        while not person.seen(MessageArrived, text=text):
            link = await self.say_to(person, Tell(line.raw))
            await until(
                lambda link=link: not link.alive or person.seen(MessageArrived, text=text),
                f"{person.name} did not handle what {self.name} said",
            )

    def heard_of(self, kind: type[M]) -> list[M]:
        return [message for _, message in self.heard if isinstance(message, kind)]

    # --- peer.pool.LinkHandler ----------------------------------------------------------------------------------------

    async def link_up(self, link: Link) -> None:
        pass

    async def link_down(self, link: Link, reason: str) -> None:
        self.downs.append((link, reason))

    async def received(self, link: Link, message: PeerMessage) -> None:
        self.heard.append((link, message))


def contacts_of(town: Town) -> list[Contact]:
    """Every honest node of the DHT."""
    nodes = [person.node._dht for person in town.people if person.is_online]
    if town.bootstrap is not None:
        nodes.append(town.bootstrap)
    return [contact_at(node.node_key, node.address) for node in nodes]


@contextlib.asynccontextmanager
async def villain_in(town: Town, name: str, *, poses_as: str | None = None) -> AsyncIterator[Villain]:
    """`poses_as`: the name in the certificate of its links; its account is `name` in any case."""
    runtime = Runtime(RealClock(), town.fork_random(), CuttableNetwork(town.exchange))
    async with town.dht_node() as dht:
        villain = Villain(town, name, runtime, dht)
        await villain.take_name()
        async with villain.open_pool(poses_as or name) as pool:
            villain.pool = pool
            villain.endpoint = await pool.listen(LOOPBACK)
            yield villain
