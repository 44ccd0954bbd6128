"""One node of the DHT: what the rest of the program sees of this folder.

`DhtNode` wires the parts and owns all tasks; the decisions are in them. The library's `Server` is underneath with our
protocol, storage and crawler; of its own methods only those below are ever called.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self

from kademlia.network import Server

from dhtchat.crypto.datagram import NodeKey
from dhtchat.dht.announcer import MakeRecord
from dhtchat.dht.claiming import ClaimReading, Tally, VoteKeeper
from dhtchat.dht.contact import Contact
from dhtchat.dht.crawler import Found, LookupCrawl, Question, Spawn
from dhtchat.dht.mail import MailCarrier
from dhtchat.dht.opener import RecordOpener
from dhtchat.dht.protocol import DhtProtocol, HelloAnswer, OtherNetwork
from dhtchat.dht.publisher import Publisher
from dhtchat.dht.race import race_for_name
from dhtchat.dht.replica import OwnReplica
from dhtchat.dht.replicas import PutReport, Replicas, ReplicaSet
from dhtchat.dht.sets import NodeReading, SetReading
from dhtchat.dht.storage import RecordStorage
from dhtchat.dht.tending import TreeKeeper
from dhtchat.dht.tree_reader import TreeReader, TreeReading
from dhtchat.dht.upkeep import Upkeep
from dhtchat.errors import AddressInUse, NetworkTrouble, NoBootstrapAnswered, ProofRefused
from dhtchat.ids import Endpoint, NodeAddress, NodeId, RecordKey, distance, node_id_of
from dhtchat.limits import (
    ADOPTION_ASKS,
    BOOTSTRAP_ADDRESSES_MAX,
    BOOTSTRAP_TRIES,
    CONTACTS_REMEMBERED_MAX,
    LOOKUP_PATHS,
    LOOKUP_PATHS_UNDER_ATTACK,
    NEIGHBOURS_ASKED,
    PROBE_CONTACTS,
    REJOIN_ADDRESSES,
    RPC_TIMEOUT_S,
    SELF_LOOKUP_FIRST_S,
    TABLE_REFRESH_S,
)
from dhtchat.parameters import NetworkParameters
from dhtchat.records.envelope import Body
from dhtchat.records.kinds import DurableRecord, Record, SoftRecord
from dhtchat.records.tree import Tree
from dhtchat.runtime import Runtime

__all__ = [
    "BootstrapReport",
    "ClaimReading",
    "Contact",
    "DhtNode",
    "Found",
    "HelloAnswer",
    "NodeReading",
    "OtherNetwork",
    "PutReport",
    "SetReading",
    "TreeReading",
]


class BootstrapReport(NamedTuple):
    """Which of the addresses had a node of this network behind them, which had not and why, and as whom they see us."""

    answered: tuple[NodeAddress, ...]
    failed: tuple[tuple[NodeAddress, str], ...]
    observed: Endpoint | None


class RecordServer(Server):
    """The library's server over our ports: bound through the runtime, crawling with `LookupCrawl`, saving nothing."""

    protocol_class = DhtProtocol
    protocol: DhtProtocol

    def __init__(
        self,
        node_id: NodeId,
        storage: RecordStorage,
        parameters: NetworkParameters,
        create_protocol: Callable[[Any, Any, int], DhtProtocol],
        spawn: Spawn,
    ) -> None:
        super().__init__(parameters.k, parameters.alpha, node_id, storage)
        self._spawn = spawn
        self.protocol = create_protocol(self.node, self.storage, self.ksize)

    def _create_protocol(self) -> DhtProtocol:
        """One for the life of the node: the table is there before the socket."""
        return self.protocol

    async def listen(self, local: Endpoint, runtime: Runtime) -> Endpoint:
        try:
            self.transport, bound = await runtime.network.open_datagrams(self._create_protocol, local)
        except OSError as error:
            raise AddressInUse(f"cannot listen on UDP {local}: {error.strerror or error}") from error
        return bound

    async def crawl(
        self,
        target: bytes,
        count: int,
        *,
        question: Question | None = None,
        careful: bool = False,
        hasty: bool = False,
    ) -> Found:
        """`careful`: by several paths, and by more of them, from elsewhere, when those do not agree."""
        if not careful:
            return await self._crawl(target, count, question=question, hasty=hasty)
        found = await self._crawl(target, count, question=question, paths=LOOKUP_PATHS, hasty=hasty)
        if not found.doubtful:
            return found
        self.protocol.statistics["lookup-doubtful"] += 1
        again = await self._crawl(
            target, count, question=question, paths=LOOKUP_PATHS_UNDER_ATTACK, hasty=hasty, elsewhere=True
        )
        return again.joined(found, target, count, self.protocol.router.limited)

    async def _crawl(self, target: bytes, count: int, **how: Any) -> Found:
        return await LookupCrawl(self.protocol, target, count=count, alpha=self.alpha, spawn=self._spawn, **how).find()


class DhtNode:
    """Use as `async with DhtNode(...) as node: await node.listen(...); await node.bootstrap(...)`.

    Leaving the block ends all its tasks and closes the socket, and nothing else: say goodbye with `drop_all` before, close
    the storage after. A `client` asks and stores, but is in nobody's table and holds nothing for others.
    """

    protocol_class: ClassVar = DhtProtocol
    """(Another one for the liars of the simulator.)"""

    def __init__(
        self,
        *,
        runtime: Runtime,
        parameters: NetworkParameters,
        node_key: NodeKey,
        storage: RecordStorage,
        client: bool = False,
    ) -> None:
        self.node_id = node_id_of(node_key.public)
        self.node_key = node_key.public
        self.on_contacts_changed: Callable[[], None] | None = None
        """Called when a contact enters the table or leaves it."""
        self._runtime = runtime
        self._parameters = parameters
        self._client = client
        self.storage = self._storage = storage
        self._counted: Counter[str] = Counter()
        self._address: Endpoint | None = None
        self._group = asyncio.TaskGroup()
        self._tasks: dict[asyncio.Task[None], None] = {}
        """(A dictionary: a set has no order, and a simulated end must be the same each time.)"""
        self._leaving = False
        self._remembered: OrderedDict[Endpoint, None] = OrderedDict()
        """Where nodes were, the latest last: tried when no contact is left."""
        self._joined = asyncio.Event()
        opener = RecordOpener(parameters, runtime.clock, self._counted)
        self._server = RecordServer(
            self.node_id,
            storage,
            parameters,
            lambda node, shelf, ksize: self.protocol_class(
                node,
                shelf,
                ksize,
                runtime=runtime,
                parameters=parameters,
                node_key=node_key,
                client=client,
                statistics=self._counted,
                spawn=self._spawn,
            ),
            self._spawn,
        )
        self._protocol = self._server.protocol
        votes = VoteKeeper(
            storage, ask_others=self._ask_neighbours, spawn=self._spawn, on_kept=lambda key: self._upkeep.on_kept(key)
        )
        trees = TreeKeeper(
            storage,
            ask=lambda key, kind, near: self._replicas.count_votes(key, kind, near),
            spawn=self._spawn,
            clock=runtime.clock,
        )
        own = OwnReplica(storage, votes, trees, opener, parameters=parameters, clock=runtime.clock)
        self._replicas = Replicas(
            protocol=self._protocol,
            crawl=self._server.crawl,
            own=own,
            own_contact=self._own_contact,
            opener=opener,
            runtime=runtime,
            parameters=parameters,
            spawn=self._spawn,
        )
        self._upkeep = Upkeep(
            storage, votes, self._replicas, own_id=self.node_id, parameters=parameters, runtime=runtime
        )
        self.trees = TreeReader(self._replicas, runtime)
        """Reads directories and memberships."""
        self.mail = MailCarrier(self._replicas, self._protocol, own, opener)
        """Brings mail to its replicas, and from them."""
        self._publisher = Publisher(self._replicas, self.trees, runtime, self._spawn)
        self.replica = self._protocol.replica = own
        """What it does as a replica, for the simulator."""
        self._protocol.on_entered = self._entered
        self._protocol.on_left = self._left

    # --- life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leaving = True
        self._server.stop()
        for task in list(self._tasks):
            task.cancel()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, traceback)
        else:  # the group would wrap whatever ended the block into a group of exceptions
            await self._group.__aexit__(None, None, None)

    async def listen(self, local: Endpoint) -> Endpoint:
        """Bind and begin; port 0 takes a free one. Raises `AddressInUse`."""
        self._address = await self._server.listen(local, self._runtime)
        self._spawn(self._publisher.run())
        self._spawn(self._refresh_table())
        if not self._client:
            self._begin_upkeep()
        return self._address

    def _begin_upkeep(self) -> None:
        self._upkeep.start()
        self._spawn(self._upkeep.run_looks())
        self._spawn(self._upkeep.run_handoffs())
        self._spawn(self._upkeep.run_mail_looks())

    async def take_part(self) -> None:
        """From a client to a full node: others may know us now, and ask us. Nothing for one that is full already."""
        if self._client:
            self._client = self._protocol.client = False
            self._begin_upkeep()
            await self._rejoin()

    def say_goodbye(self) -> None:
        """Stop answering and tell the others, who need not find out by waiting for us. Before leaving the block."""
        self._protocol.say_goodbye()

    @property
    def address(self) -> Endpoint:
        """Where this node is bound."""
        if self._address is None:
            raise RuntimeError("listen() comes first")
        return self._address

    @property
    def statistics(self) -> Counter[str]:
        """What came, what went, what was dropped and why, since the start."""
        return self._counted + self._storage.statistics

    @property
    def heard_at_s(self) -> float:
        """Monotonic time of the last valid answer to a request of ours; -inf before the first."""
        return self._protocol.heard_at_s

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Every task of this folder starts here, or in a group that ends before a call from outside returns. None when
        this node is about to end and starts nothing any more."""
        if self._leaving:
            coroutine.close()
            return None
        task = self._group.create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    # --- the neighbourhood --------------------------------------------------------------------------------------------

    def contacts(self) -> list[Contact]:
        """Nodes that answered and have not failed since, most recently heard first."""
        return self._protocol.router.contacts()

    async def hello(self, endpoint: Endpoint, *, pinned: bytes | None = None) -> HelloAnswer:
        """Have whoever is there prove its node key. Raises `NetworkTrouble` (silent, or of another network) or
        `ProofRefused`."""
        return await self._protocol.call_hello(endpoint, pinned=pinned)

    async def bootstrap(self, addresses: Sequence[NodeAddress]) -> BootstrapReport:
        """Join through any of these, at any time again. Raises `NoBootstrapAnswered` when none has a node of ours."""
        tried = list(dict.fromkeys(addresses))[:BOOTSTRAP_ADDRESSES_MAX]
        answers = [(address, greeted) for address, greeted in zip(tried, await self._greet_all(tried), strict=True)]
        answered = {address: answer for address, answer in answers if isinstance(answer, HelloAnswer)}
        failed = [(address, answer) for address, answer in answers if isinstance(answer, str)]
        if not answered:
            raise NoBootstrapAnswered(tried, why="; ".join(dict.fromkeys(why for _, why in failed)))
        seen_as = Counter(answer.observed for answer in answered.values())
        await self._rejoin()
        return BootstrapReport(tuple(answered), tuple(failed), seen_as.most_common(1)[0][0])

    async def _greet_all(self, addresses: Sequence[NodeAddress]) -> list[HelloAnswer | str]:
        """All at once. When somebody has answered, the others have a moment more: of those remembered from yesterday some
        are gone, and nobody shall wait for all their tries."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._greet(address)) for address in addresses]
            waiting = set(tasks)
            timeout_s = None
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                if any(isinstance(task.result(), HelloAnswer) for task in done):
                    timeout_s = RPC_TIMEOUT_S
            for task in waiting:
                task.cancel()
        silent = [f"{address.endpoint} does not answer" for address in addresses]
        return [why if task in waiting else task.result() for task, why in zip(tasks, silent, strict=True)]

    async def _greet(self, address: NodeAddress) -> HelloAnswer | str:
        """Who is at an address a user named, or why nobody is: the first numeric address of the host that works."""
        why = f"{address.endpoint} has no address"
        try:
            endpoints = await self._runtime.network.resolve(*address.endpoint)
        except OSError as error:
            return f"{address.endpoint.host} cannot be resolved: {error.strerror or error}"
        for endpoint in endpoints[:REJOIN_ADDRESSES]:
            try:
                answer = await self._protocol.call_hello(endpoint, pinned=address.node_key, tries=BOOTSTRAP_TRIES)
            except (NetworkTrouble, ProofRefused) as error:
                why = str(error)
                continue
            if answer.node_id == self.node_id:
                return f"{endpoint} is this node itself"
            self._remember(endpoint)
            return answer
        return why

    async def probe(self, asked_at_once: int = PROBE_CONTACTS) -> bool:
        """Whether anybody is there: asks so many contacts, those not heard for longest, and one of those lost lately; when no
        contact is left, the addresses where nodes were before."""
        contacts = self._protocol.router.least_heard(asked_at_once)
        if contacts:
            lost = self._protocol.silence.contacts()
            asked = contacts + ([self._runtime.random.choice(lost)] if lost else [])
            return await self._anybody([self._protocol.call_ping(contact) for contact in asked])
        latest = list(self._remembered)[-REJOIN_ADDRESSES:]
        there = await self._anybody([self._protocol.call_hello(endpoint) for endpoint in latest])
        if there:
            self._spawn(self._rejoin())
        return there

    async def _anybody(self, questions: Sequence[Coroutine[Any, Any, object]]) -> bool:
        async def is_answered(question: Coroutine[Any, Any, object]) -> bool:
            try:
                await question
            except (NetworkTrouble, ProofRefused):
                return False
            return True

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(is_answered(question)) for question in questions]
        return any(task.result() for task in tasks)

    async def _rejoin(self) -> None:
        """Somebody is there again: find the others, and be found."""
        await self._server.crawl(self.node_id, self._parameters.k)
        self._joined.set()
        self._publisher.hurry()

    async def _refresh_table(self) -> None:
        """The paper's §2.3: soon after joining a lookup goes to a random id of the buckets beside ours, and later where
        none went for long. (Without the first, 3 of 100 searches among 2,000 nodes ended where nobody knew anybody nearer.)
        And one to our own id, soon after joining and then less and less often: who joined at the same moment did not know
        of us the first time."""
        while True:
            delay_s = SELF_LOOKUP_FIRST_S
            joined = self._joined.is_set()
            self._joined.clear()
            while not self._joined.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._runtime.jitter(delay_s)):
                        await self._joined.wait()
                        continue
                delay_s = min(3 * delay_s, TABLE_REFRESH_S)
                if joined or await self._has_new_neighbours():
                    await self._server.crawl(self.node_id, self._parameters.k)
                router = self._protocol.router
                buckets = router.buckets_beside_ours() if joined else router.lonely_buckets()
                joined = False
                for bucket in buckets:
                    target = self._runtime.random.randint(*bucket.range).to_bytes(len(self.node_id), "big")
                    await self._server.crawl(target, self._parameters.k)

    async def _has_new_neighbours(self) -> bool:
        """Whether those nearest to us know somebody whom we do not, and who belongs among the nearest to us."""
        k, router = self._parameters.k, self._protocol.router
        nearest = router.nearest(self.node_id, k)
        if len(nearest) < k:
            return True

        async def name_new(contact: Contact) -> bool:
            try:
                named = await self._protocol.call_find_node(contact, self.node_id)
            except NetworkTrouble:
                return True  # and maybe somebody has taken its place
            reach = distance(nearest[-1].node_id, self.node_id)
            return any(
                other.node_id != self.node_id
                and distance(other.node_id, self.node_id) < reach
                and router.find(other.node_id) is None
                for other in self._protocol.sift(named)[0]
            )

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(name_new(contact)) for contact in nearest[:NEIGHBOURS_ASKED]]
        return any(task.result() for task in tasks)

    def _own_contact(self) -> Contact | None:
        return None if self._client or self._address is None else Contact(self.node_id, self._address, self.node_key)

    def _entered(self, contact: Contact) -> None:
        self._remember(contact.endpoint)
        if not self._client:
            self._upkeep.greet(contact)
        if self.on_contacts_changed is not None:
            self.on_contacts_changed()

    def _left(self, contact: Contact) -> None:
        self._upkeep.forget(contact)
        if self.on_contacts_changed is not None:
            self.on_contacts_changed()

    def _remember(self, endpoint: Endpoint) -> None:
        self._remembered[endpoint] = None
        self._remembered.move_to_end(endpoint)
        if len(self._remembered) > CONTACTS_REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    # --- records ------------------------------------------------------------------------------------------------------

    async def put(self, record: Record) -> PutReport:
        """Store at the nodes responsible, which may include this one. Raises `NoBootstrapAnswered` for a client that
        knows nobody."""
        await self._require_somebody()
        report, _ = await self._replicas.put(record)
        return report

    async def claim(self, record: DurableRecord) -> ClaimReading:
        """Claim a name: the reading says who owns it now, and it is this record's claim or another. Raises
        `TooFewAnswered` when it cannot be decided."""
        await self._require_somebody()
        return await race_for_name(
            record,
            self._replicas,
            round_trip_s=self._protocol.round_trip_s,
            parameters=self._parameters,
            runtime=self._runtime,
        )

    async def read_claims(self, key: RecordKey) -> ClaimReading:
        """Who owns the name behind `key`."""
        return await self._replicas.read_claims(key)

    async def read_set(self, key: RecordKey, body_type: type[Body]) -> SetReading:
        """The living entries of one kind under `key`."""
        return await self._replicas.read_set(key, body_type.KIND)

    async def read_node(self, tree: Tree, prefix: str = "") -> NodeReading:
        """One node of a tree; the root, where all entries are as long as they are few."""
        return await self._replicas.read_node(tree.key(prefix), tree.kind, prefix)

    async def glance(self, tree: Tree, reading: NodeReading) -> tuple[SoftRecord, ...] | None:
        """What one of those who told of the root of a tree says of it now, to see whether anything has changed; None when that
        one cannot tell."""
        return await self._replicas.glance(reading.replicas, tree.key(""), tree.kind) if reading.replicas else None

    async def find_nearest(self, target: bytes, *, careful: bool = False) -> Found:
        """A whole lookup: the k nodes nearest to a 20-byte id, ourselves not among them. `careful`: as for an account."""
        return await self._server.crawl(target, self._parameters.k, careful=careful)

    def keep(self, slot: str, make: MakeRecord, *, refresh_s: float) -> None:
        """Publish a soft record now, and again every `refresh_s` until it is dropped. The same slot again replaces it.

        `make(sequence, issued_at_s, gone)` makes the record, the goodbye too.
        """
        self._publisher.keep(slot, make, refresh_s=refresh_s)

    def tell_of_refreshes(self, told: Callable[[SoftRecord], None]) -> None:
        """Have `told` called with every kept record when it is published, the first time and again."""
        self._publisher.on_published = told

    async def drop(self, slot: str) -> None:
        """Stop keeping it, and say now that it is gone."""
        await self._publisher.drop(slot)

    def forget(self, slot: str) -> None:
        """Stop keeping it and say nothing: what is out there dies by itself."""
        self._publisher.forget(slot)

    def make(self, slot: str, *, gone: bool) -> SoftRecord | None:
        """A fresh version of a kept record, for telling neighbours directly; None when the slot is empty."""
        return self._publisher.make(slot, gone=gone)

    def sign_once(self, make: MakeRecord, *, gone: bool = False) -> SoftRecord:
        """A record that goes to neighbours only."""
        return self._publisher.sign_once(make, gone=gone)

    async def drop_all(self, timeout_s: float) -> None:
        """The same for all, at once, before leaving."""
        await self._publisher.drop_all(timeout_s)

    async def _require_somebody(self) -> None:
        """A client that has lost its last contact, to a bad line perhaps, looks again before it gives up."""
        if self._client and not self.contacts() and not await self.probe():
            raise NoBootstrapAnswered(list(self._remembered)[-REJOIN_ADDRESSES:])

    async def _ask_neighbours(self, key: RecordKey) -> Tally:
        """What some of the nearest we know hold for a name, one quick try each."""
        others = [c for c in self._replicas.nearest_known(key, self._parameters.k) if not self._replicas.is_us(c)]
        asked = self._runtime.random.sample(others, min(ADOPTION_ASKS, len(others)))
        return await self._replicas.tally(key, ReplicaSet(tuple(asked)), quick=True)
