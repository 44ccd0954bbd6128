"""The nodes responsible for a key, ourselves among them when we are near enough, and what can be done with all at once.

Whatever they answer is verified and judged before it is believed, our own answer too. Who turns out to lack something is
given it in the background (read repair), as the signed bytes it came in.
"""

import asyncio
import contextlib
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, cast

from dhtchat.dht import wire
from dhtchat.dht.claiming import ClaimReading, Tally
from dhtchat.dht.contact import Contact
from dhtchat.dht.crawler import Found, Question
from dhtchat.dht.opener import RecordOpener
from dhtchat.dht.protocol import ClaimsFound, Declined, DhtProtocol, EntriesFound
from dhtchat.dht.replica import OwnReplica
from dhtchat.dht.sets import NodeMerge, NodeReading, SetReading
from dhtchat.dht.storage import HeldEntry, Kept, Mortal, Standing, claim_of
from dhtchat.dht.tending import Votes
from dhtchat.dht.wire import MS_PER_S
from dhtchat.errors import MalformedRecord, NetworkTrouble
from dhtchat.ids import RecordKey, distance
from dhtchat.limits import (
    MAIL_ITEM_ID_BYTES,
    MAIL_OWNER_PAGES_MAX,
    REPAIRS_OPEN_MAX,
    REPAIRS_PER_READ_MAX,
    REPAIRS_REMEMBERED_MAX,
    SOFT_REPLICAS,
)
from dhtchat.parameters import NetworkParameters
from dhtchat.records.acceptance import Reason, Verdict
from dhtchat.records.envelope import peek_digest
from dhtchat.records.kinds import DurableRecord, Record, SoftRecord, is_durable, place_of
from dhtchat.records.mail import Mailbox, MailReceipt
from dhtchat.runtime import Runtime


class Crawl(Protocol):
    """Finds the given number of nodes nearest to a key; see `RecordServer.crawl`."""

    async def __call__(
        self,
        target: bytes,
        count: int,
        /,
        *,
        question: Question | None = None,
        careful: bool = False,
        hasty: bool = False,
    ) -> Found: ...


class ReplicaSet(NamedTuple):
    """`contacts`: nearest first. `silent` and `shunned`: how many more would be among them, see `Found`."""

    contacts: tuple[Contact, ...]
    silent: int = 0
    shunned: int = 0


class PutReport(NamedTuple):
    """What became of a record at its replicas."""

    stored: int
    """How many hold it now: it was new, newer or there already."""
    asked: int
    """Replicas tried, the silent ones too."""
    refused: Counter[Reason]
    newest_sequence: int
    """The highest sequence number that a replica said it holds in this record's place."""


class Outcome(NamedTuple):
    """Of one store: None when there was no answer."""

    contact: Contact
    kept: Kept | None
    standing: Standing = Standing()

    @property
    def holds(self) -> bool:
        return self.kept is not None and self.kept.verdict is not Verdict.REFUSED


class Repair(NamedTuple):
    contact: Contact
    record: Record
    remaining_s: float | None
    depth: int = 0


class _Gist(NamedTuple):
    """By which it is told whether replicas say the same of a node: `wire.gist_of` its entries, and whether it has split."""

    entries: bytes = wire.gist_of(())
    split: bool = False


class _Node(NamedTuple):
    """What one replica says of a node of a tree, or of a plain set: its entries, verified and judged. `page`: the first page
    as it came, when there are more that we have not fetched."""

    held: list[HeldEntry]
    split: bool
    below: tuple[str, ...]
    at_s: float
    page: EntriesFound | None = None

    @property
    def gist(self) -> _Gist:
        if self.page is not None:
            return _Gist(self.page.gist, self.split)
        return _Gist(wire.gist_of(held.record.digest for held in self.held), self.split)


def _vote(split: bool, *, holds: bool) -> Votes:
    """Of one replica."""
    return Votes(split, holds and not split, 1)


def _sum(votes: Iterable[Votes]) -> Votes:
    return Votes(*map(sum, zip(Votes(), *votes, strict=True)))


class Replicas:
    """`own_contact` is None for a client, which is no replica."""

    def __init__(
        self,
        *,
        protocol: DhtProtocol,
        crawl: Crawl,
        own: OwnReplica,
        own_contact: Callable[[], Contact | None],
        opener: RecordOpener,
        runtime: Runtime,
        parameters: NetworkParameters,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._protocol = protocol
        self._crawl = crawl
        self._own = own
        self._own_contact = own_contact
        self._opener = opener
        self._runtime = runtime
        self._parameters = parameters
        self._spawn = spawn
        self._repairs_open = 0
        self._repaired: OrderedDict[tuple[bytes, bytes], None] = OrderedDict()

    # --- who ----------------------------------------------------------------------------------------------------------

    async def nearest(self, key: RecordKey, count: int, *, careful: bool = False, hasty: bool = False) -> ReplicaSet:
        """Search for the nodes responsible for `key`. `careful`: by disjoint paths, as for all that is durable."""
        found = await self._crawl(key, count, careful=careful, hasty=hasty)
        return ReplicaSet(self._with_us(found.nearest, key, count), found.silent, found.shunned)

    def nearest_known(self, key: RecordKey, count: int, *, exclude: bytes = b"") -> tuple[Contact, ...]:
        """The same, from the table alone."""
        return self._with_us(self._protocol.router.nearest(key, count, exclude=exclude), key, count)

    def bits_out_of_reach(self, contact: Contact, count: int) -> int:
        """Keys that differ from our id in the last so many bits only are not for a contact: see `ContactTable`."""
        return self._protocol.router.bits_out_of_reach(contact.node_id, count)

    def is_crowded_out(self, contact: Contact, key: RecordKey, count: int) -> bool:
        """Whether it is clear at a glance that a contact is not among the `count` nearest to `key`."""
        return self._protocol.router.is_crowded_out(contact.node_id, key, count)

    def count_for(self, record: Record) -> int:
        """How many nodes hold a record of this class."""
        return self._parameters.k if is_durable(record) else SOFT_REPLICAS

    def nodes_known(self) -> int:
        """How large the network is as far as we know, ourselves included."""
        return len(self._protocol.router) + (self._own_contact() is not None)

    def is_us(self, contact: Contact) -> bool:
        own = self._own_contact()
        return own is not None and contact.node_id == own.node_id

    def _with_us(self, others: list[Contact], key: RecordKey, count: int) -> tuple[Contact, ...]:
        own = self._own_contact()
        if own is None:
            return tuple(others[:count])
        # `others` are sorted already.
        place = bisect_left(others, distance(own.node_id, key), key=lambda contact: distance(contact.node_id, key))
        return (*others[:place], own, *others[place:])[:count]

    # --- storing ------------------------------------------------------------------------------------------------------

    async def store(
        self,
        contact: Contact,
        key: RecordKey,
        raw: bytes,
        remaining_s: float | None = None,
        *,
        depth: int = 0,
        lives: int = 0,
        tries: int | None = None,
    ) -> Outcome:
        """Store at one of them, which may be ourselves. `depth`, `lives`: see `wire.Store`."""
        try:
            if self.is_us(contact):
                kept = await self._store_here(key, raw, remaining_s, depth=depth, lives=lives)
                return Outcome(contact, kept, self._own.standing(key, raw))
            answer = await self._protocol.call_store_in_tree(
                contact, key, raw, remaining_s, depth=depth, lives=lives, tries=tries
            )
            return Outcome(contact, *answer)
        except NetworkTrouble:
            return Outcome(contact, None)

    async def store_at_all(
        self,
        contacts: tuple[Contact, ...],
        key: RecordKey,
        raw: bytes,
        *,
        depth: int = 0,
        lives: int = 0,
        tries: int | None = None,
    ) -> list[Outcome]:
        """At all at once; silence of one does not hold up the others."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.store(contact, key, raw, depth=depth, lives=lives, tries=tries))
                for contact in contacts
            ]
        return [task.result() for task in tasks]

    async def touch_at_all(self, contacts: tuple[Contact, ...], key: RecordKey, record: SoftRecord) -> list[Outcome]:
        """Have those who hold what we gave them keep it alive."""
        entry_id, gist = record.body.entry_id(record.key), wire.gist_of([record.digest])

        async def touch(contact: Contact) -> Outcome:
            try:
                return Outcome(contact, *await self._protocol.call_touch(contact, key, entry_id, gist))
            except NetworkTrouble:
                return Outcome(contact, None)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(touch(contact)) for contact in contacts]
        return [task.result() for task in tasks]

    async def put(
        self, record: Record, *, depth: int = 0, lives: int = 0, tries: int | None = None
    ) -> tuple[PutReport, list[Outcome]]:
        """Search for the replicas of a record and store it at all of them."""
        key = place_of(record, depth)
        assert key is not None
        replicas = await self.nearest(key, self.count_for(record), careful=is_durable(record))
        return await self.put_at(replicas, record, depth=depth, lives=lives, tries=tries)

    async def put_at(
        self, replicas: ReplicaSet, record: Record, *, depth: int = 0, lives: int = 0, tries: int | None = None
    ) -> tuple[PutReport, list[Outcome]]:
        """The same where a search has just found the replicas."""
        key = place_of(record, depth)
        assert key is not None
        outcomes = await self.store_at_all(
            replicas.contacts, key, record.raw, depth=depth, lives=max(depth, lives), tries=tries
        )
        return report_of(outcomes, replicas.silent), outcomes

    async def _store_here(
        self, key: RecordKey, raw: bytes, remaining_s: float | None, *, depth: int, lives: int
    ) -> Kept:
        kept = self._own.offer(key, raw, remaining_s, depth=depth, lives=lives)
        if isinstance(kept, asyncio.Future):
            await asyncio.wait((kept,))
            kept = None if kept.cancelled() else kept.result()
        if kept is None:
            raise Declined("this node is too busy, or about to end")
        return kept

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read_claims(self, key: RecordKey) -> ClaimReading:
        """Who owns a name, as a reader counts; replicas that lag get the owner's record.

        The question goes along with the search, and both end when more than half of the nearest have given one claim
        their vote: whatever the others say could not change that.
        """
        k = self._parameters.k
        votes: dict[Contact, list[DurableRecord] | None] = {}

        async def ask(contact: Contact) -> Sequence[Contact]:
            claims, closer = await self._claims_at(contact, key, quick=False)
            votes[contact] = claims
            return closer

        def lacking(settled: list[Contact]) -> int:
            first = Counter(claim_of(held[0]) for contact in settled if (held := votes.get(contact)))
            return k // 2 + 1 - max(first.values(), default=0)

        found = await self._crawl(key, k, question=Question(ask, lacking), careful=True, hasty=True)
        tally = Tally(nodes_known=max(self.nodes_known(), len(found.nearest)))
        tally.on_silence(found.silent)
        for contact in self._with_us(found.nearest, key, k):
            held = self._own.claims(key) if self.is_us(contact) else votes.get(contact)
            if held is None:
                tally.on_silence()
            else:
                tally.on_answer(contact, held)
        decision = tally.decision()
        if decision.certain and decision.owner is not None:
            self._repair(key, self._claim_repairs(tally, decision.owner), again=False)
        return tally.reading(decision)

    async def tally(self, key: RecordKey, replicas: ReplicaSet, *, quick: bool = False) -> Tally:
        """The votes. `quick`: one try each, and silence is not held against anybody."""
        tally = Tally(nodes_known=max(self.nodes_known(), len(replicas.contacts)))
        tally.on_silence(replicas.silent)
        tally.shunned = replicas.shunned

        async def ask(contact: Contact) -> None:
            try:
                held, _ = await self._claims_at(contact, key, quick=quick)
            except NetworkTrouble:
                held = None
            if held is None:
                tally.on_silence()
            else:
                tally.on_answer(contact, held)

        async with asyncio.TaskGroup() as group:
            for contact in replicas.contacts:
                group.create_task(ask(contact))
        return tally

    async def _claims_at(
        self, contact: Contact, key: RecordKey, *, quick: bool
    ) -> tuple[list[DurableRecord] | None, Sequence[Contact]]:
        """In its order, each claim once, or None when it has no vote yet; and whom it named. Raises `NetworkTrouble`."""
        if self.is_us(contact):
            own = self._own.claims(key)
            found = ClaimsFound(None if own is None else [record.raw for record in own])
        else:
            found = await self._protocol.call_find_claims(contact, key, quick=quick)
        raws, closer = found
        if raws is None:
            return None, closer
        believed = [record for raw in raws if (record := self._opener.open_for(raw, key)) and is_durable(record)]
        firsts: dict[bytes, DurableRecord] = {}
        for record in cast("list[DurableRecord]", believed):
            firsts.setdefault(claim_of(record), record)
        return list(firsts.values()), closer

    async def read_set(self, key: RecordKey, kind: str) -> SetReading:
        """The living entries; replicas that lag get what they lack."""
        return (await self.read_node(key, kind)).reading

    async def read_node(self, key: RecordKey, kind: str, prefix: str = "", *, whole: bool = True) -> NodeReading:
        """The node of a tree with this prefix, or a plain set: the living entries, and whether it has split. Of what is
        left over in a node that has split nothing is repaired: it shall end. `whole`: else the first pages are enough.

        The question goes along with the search, and both end when more than half of the nearest have said the same. What
        is behind the first page is then fetched from one of them: all have the gist of the whole.
        """
        depth = len(prefix)
        said: dict[Contact, _Node] = {}

        async def ask(contact: Contact) -> Sequence[Contact]:
            page = await self._protocol.call_find_entries(contact, key, kind)
            said[contact] = self._node_of(page, page.held, key, kind, depth, whole=not page.following)
            return page.closer

        def lacking(settled: list[Contact]) -> int:
            same = Counter(said[contact].gist for contact in settled if contact in said)
            del same[_Gist()]  # of nothing one is never sure
            return SOFT_REPLICAS // 2 + 1 - max(same.values(), default=0)

        found = await self._crawl(key, SOFT_REPLICAS, question=Question(ask, lacking), hasty=True)
        nodes = {
            contact: self._node_here(key, kind, depth) if self.is_us(contact) else said[contact]
            for contact in self._with_us(found.nearest, key, SOFT_REPLICAS)
        }
        if whole:
            await self._fetch_other_pages(nodes, key, kind, depth)
        merge = NodeMerge(prefix)
        merge.on_silence(found.silent)
        for contact, node in nodes.items():
            through = None if node.page is None else node.page.following
            merge.on_node(contact, node.held, node.split, node.below, now_s=node.at_s, through=through)
        now_s = self._runtime.clock.monotonic()
        reading = merge.node(now_s)
        if not reading.split:
            self._repair(key, [Repair(*lack, depth) for lack in merge.lacks(now_s)], again=False)
        return reading

    async def glance(self, replicas: Sequence[Contact], key: RecordKey, kind: str) -> tuple[SoftRecord, ...] | None:
        """What one of those who told of a leaf says of it now: we, if we are one of them, else any of them, asked once. None when
        that one does not say all of it. Good enough to see that nothing has changed, and for nothing else."""
        everybody = self.nodes_known() <= SOFT_REPLICAS
        # A search that ends early does not show whether we, who are farther than all it has found, are still among them.
        sure = [each for each in replicas if everybody or not self.is_us(each) or each is not replicas[-1]]
        if not sure:
            return None
        contact = next(filter(self.is_us, sure), None) or self._runtime.random.choice(sure)
        if self.is_us(contact):
            node = self._node_here(key, kind, 0)
        else:
            try:
                page = await self._protocol.call_find_entries(contact, key, kind, quick=True)
            except NetworkTrouble:
                return None
            node = self._node_of(page, page.held, key, kind, 0, whole=not page.following)
        merge = NodeMerge()
        merge.on_node(contact, node.held, node.split, node.below, now_s=node.at_s)
        said = merge.node(self._runtime.clock.monotonic())
        return None if said.split or node.page is not None else said.entries

    async def _fetch_other_pages(self, nodes: dict[Contact, _Node], key: RecordKey, kind: str, depth: int) -> None:
        """Of those who say the same from one of them; of all who differ only when there is no majority."""
        same: dict[_Gist, list[Contact]] = {}
        for contact, node in nodes.items():
            same.setdefault(node.gist, []).append(contact)
        most = max(same, key=lambda gist: len(same[gist]), default=_Gist())
        agreed = 2 * len(same.get(most, ())) > SOFT_REPLICAS
        async with asyncio.TaskGroup() as group:
            for contacts in [same[most]] if agreed else same.values():
                group.create_task(self._fetch_for_all(contacts, nodes, key, kind, depth))

    async def _fetch_for_all(
        self, contacts: list[Contact], nodes: dict[Contact, _Node], key: RecordKey, kind: str, depth: int
    ) -> None:
        """`contacts` all gave the same gist: until what one of them has is what that says. Who does not keep its word counts
        alone."""
        complete = next((nodes[contact] for contact in contacts if nodes[contact].page is None), None)
        for contact in contacts:
            if complete is not None:
                break
            page = nodes[contact].page
            assert page is not None
            try:
                entries = await self._protocol.call_find_other_entries(contact, key, kind, page)
            except NetworkTrouble:
                continue
            nodes[contact] = self._node_of(page, entries, key, kind, depth, whole=True)
            if self._gist_of(entries) == page.gist:
                complete = nodes[contact]
        if complete is not None:
            for contact in contacts:
                if nodes[contact].page is not None:
                    nodes[contact] = nodes[contact]._replace(held=complete.held, at_s=complete.at_s, page=None)

    def _gist_of(self, entries: Iterable[wire.Entry]) -> bytes:
        try:
            return wire.gist_of(peek_digest(entry.record) for entry in entries)
        except MalformedRecord:
            return b""

    def _node_of(
        self, page: EntriesFound, entries: Iterable[wire.Entry], key: RecordKey, kind: str, depth: int, *, whole: bool
    ) -> _Node:
        """`whole`: `entries` are all of them, not only those on the page."""
        offered = ((entry.record, entry.remaining_ms / MS_PER_S) for entry in entries)
        held = self._believed(offered, key, kind, depth)
        return _Node(held, page.split, page.below, self._runtime.clock.monotonic(), None if whole else page)

    async def count_votes(self, key: RecordKey, kind: str, near: bool) -> Votes:
        """Whether the other replicas of a node of a tree say that it has split. `near`: of those we know without a search,
        one try each. Else the question goes along with a search, which ends when more than half of them say that it has:
        one that says so alone matters as well."""
        votes: dict[Contact, Votes] = {}

        async def ask(contact: Contact) -> Sequence[Contact]:
            answer = await self._protocol.call_find_entries(contact, key, kind, quick=near)
            votes[contact] = _vote(answer.split, holds=bool(answer.held))
            return answer.closer

        async def ask_near(contact: Contact) -> None:
            with contextlib.suppress(NetworkTrouble):
                await ask(contact)

        def lacking(settled: list[Contact]) -> int:
            return SOFT_REPLICAS // 2 + 1 - _sum(votes[contact] for contact in settled if contact in votes).split

        if near:
            async with asyncio.TaskGroup() as group:
                for contact in self.nearest_known(key, SOFT_REPLICAS):
                    if not self.is_us(contact):  # we ask because we do not know
                        group.create_task(ask_near(contact))
            return _sum(votes.values())
        found = await self._crawl(key, SOFT_REPLICAS, question=Question(ask, lacking), hasty=True)
        replicas = self._with_us(found.nearest, key, SOFT_REPLICAS)
        return _sum(self._own_vote(key, kind) if self.is_us(contact) else votes[contact] for contact in replicas)

    def _own_vote(self, key: RecordKey, kind: str) -> Votes:
        return _vote(self._own.below(key) is not None, holds=any(True for _ in self._own.entries(key, kind)))

    def _node_here(self, key: RecordKey, kind: str, depth: int) -> "_Node":
        """As we hold it ourselves."""
        offered = [(held.record.raw, held.remaining_s) for held in self._own.entries(key, kind)]
        below = self._own.below(key)
        now_s = self._runtime.clock.monotonic()
        return _Node(self._believed(offered, key, kind, depth), below is not None, below or (), now_s)

    def _believed(
        self, offered: Iterable[tuple[bytes, float]], key: RecordKey, kind: str, depth: int
    ) -> list[HeldEntry]:
        """Signed bytes and what is left of their life: those that hold."""
        held = []
        for raw, remaining_s in offered:
            record = self._opener.open_for(raw, key, depth)
            if record is not None and kind == record.body.KIND:
                held.append(HeldEntry(cast(SoftRecord, record), remaining_s))
        return held

    # --- repairing ----------------------------------------------------------------------------------------------------

    def repair_claim(self, tally: Tally, claim: bytes, key: RecordKey) -> None:
        """Give the best version of a claim to all who answered without it."""
        self._repair(key, self._claim_repairs(tally, claim), again=True)

    def _claim_repairs(self, tally: Tally, claim: bytes) -> list[Repair]:
        return [Repair(contact, tally.best[claim], None) for contact in tally.lacking(claim)]

    async def even_out(self, key: RecordKey, held: Callable[[RecordKey], list[Mortal]]) -> int:
        """Give the other replicas of a mailbox what they lack of what we hold, in our order, and learn from them what its
        owner has said. (We may be a replica no more, and the owner has told only those that are.) How many answered."""
        replicas = await self.nearest(key, SOFT_REPLICAS)
        own = dict(self._own.index(key))
        answered = 0
        for contact in replicas.contacts:
            if self.is_us(contact):
                answered += 1
                continue
            try:
                theirs = await self._protocol.call_list_entries(contact, key)
            except NetworkTrouble:
                continue
            answered += 1
            if any(
                index > own.get(entry_id, -1)
                for entry_id, index in theirs.items()
                if len(entry_id) > MAIL_ITEM_ID_BYTES
            ):
                await self._learn_owner(contact, key)
            given = 0
            for record, dies_at_s, *_ in held(key):
                body = cast(SoftRecord, record).body
                if theirs.get(body.entry_id(record.key), -1) >= body.sequence or dies_at_s is None:
                    continue
                if given >= REPAIRS_PER_READ_MAX or (contact.node_id, record.digest) in self._repaired:
                    continue  # the rest next time; what it did not keep before, it had its reasons
                remaining_s = dies_at_s - self._runtime.clock.wall()
                outcome = await self.store(contact, key, record.raw, remaining_s)
                if outcome.kept is None:
                    break
                given += 1
                if not outcome.holds:
                    self._remember_repair(contact, record)
                self._protocol.statistics["repaired"] += outcome.holds
        return answered

    async def _learn_owner(self, contact: Contact, key: RecordKey) -> None:
        """Take what somebody holds of the owner of a mailbox; it is judged as when it is brought to us."""
        for kind in (Mailbox.KIND, MailReceipt.KIND):
            try:
                first = await self._protocol.call_find_entries(contact, key, kind)
                entries = await self._protocol.call_find_other_entries(
                    contact, key, kind, first, pages=MAIL_OWNER_PAGES_MAX
                )
            except NetworkTrouble:
                return
            for entry in entries:
                self._own.offer(key, entry.record, entry.remaining_ms / MS_PER_S)

    def _remember_repair(self, contact: Contact, record: Record) -> None:
        self._repaired[contact.node_id, record.digest] = None
        if len(self._repaired) > REPAIRS_REMEMBERED_MAX:
            self._repaired.popitem(last=False)

    def _repair(self, key: RecordKey, repairs: list[Repair], *, again: bool) -> None:
        """In the background, and bounded. Readers, who come often, give each replica each version once (`again` False):
        if it did not keep it, it had its reasons."""
        for repair in repairs[:REPAIRS_PER_READ_MAX]:
            done = (repair.contact.node_id, repair.record.digest)
            if self._repairs_open >= REPAIRS_OPEN_MAX or (done in self._repaired and not again):
                continue
            self._remember_repair(repair.contact, repair.record)
            self._repairs_open += 1
            self._spawn(self._give(key, repair))

    async def _give(self, key: RecordKey, repair: Repair) -> None:
        try:
            await self.store(
                repair.contact, key, repair.record.raw, repair.remaining_s, depth=repair.depth, lives=repair.depth
            )
            self._protocol.statistics["repaired"] += 1
        finally:
            self._repairs_open -= 1


def report_of(outcomes: list[Outcome], silent: int) -> PutReport:
    """Counted honestly: silence is not success."""
    answers = [outcome.kept for outcome in outcomes if outcome.kept is not None]
    return PutReport(
        stored=sum(outcome.holds for outcome in outcomes),
        asked=len(outcomes) + silent,
        refused=Counter(kept.reason for kept in answers if kept.verdict is Verdict.REFUSED),
        newest_sequence=max((kept.sequence for kept in answers), default=0),
    )
