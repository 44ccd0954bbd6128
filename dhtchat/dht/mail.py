"""Carries mail to the replicas of a mailbox and from them. What to carry, and what it means, is for `app/mail.py`.

A mailbox may hold a thousand items of the largest size, so it is not read as other sets are: the replicas say what they
have, and each item is fetched once, from one of them.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

from dhtchat.dht.contact import Contact
from dhtchat.dht.opener import RecordOpener
from dhtchat.dht.protocol import DhtProtocol
from dhtchat.dht.replica import OwnReplica
from dhtchat.dht.replicas import Outcome, Replicas
from dhtchat.errors import NetworkTrouble
from dhtchat.ids import RecordKey
from dhtchat.limits import (
    ANNOUNCE_DIRECT_MAX,
    MAIL_COPIES_MIN,
    MAIL_FAILURES_MAX,
    MAIL_FETCHES_OPEN_MAX,
    MAIL_ITEM_ID_BYTES,
    MAIL_ITEMS_PER_BOX_MAX,
    MAIL_STORES_OPEN_MAX,
    SOFT_REPLICAS,
)
from dhtchat.records.acceptance import Reason
from dhtchat.records.envelope import Signed
from dhtchat.records.kinds import SoftRecord
from dhtchat.records.mail import Mail, MailReceipt


class Deposit(NamedTuple):
    """What became of one record. `enough`: so many other nodes hold it that it survives half of them leaving."""

    enough: bool
    reasons: frozenset[Reason]
    """Why some refused it."""


class Contents:
    """What the replicas of a mailbox say they have: entry ids with sequence numbers. Each speaks for itself alone."""

    def __init__(self, indexes: Mapping[Contact, Mapping[bytes, int]]) -> None:
        self._indexes = indexes
        self._holders: dict[bytes, list[Contact]] = {}
        for contact, index in indexes.items():
            for entry_id in index:
                self._holders.setdefault(entry_id, []).append(contact)

    @property
    def answered(self) -> int:
        return len(self._indexes)

    def items(self) -> list[bytes]:
        """Pieces of mail, those first that most have: one replica alone may name as many as it likes. No more than fit."""
        items = [entry_id for entry_id in self._holders if len(entry_id) == MAIL_ITEM_ID_BYTES]
        return sorted(items, key=lambda item: (-len(self._holders[item]), item))[:MAIL_ITEMS_PER_BOX_MAX]

    def holders(self, entry_id: bytes) -> list[Contact]:
        return self._holders.get(entry_id, [])

    def lacking(self, entry_id: bytes, sequence: int) -> list[Contact]:
        """Those without this entry, or with an older version of it."""
        return [contact for contact, index in self._indexes.items() if index.get(entry_id, -1) < sequence]


def enough_copies(copies: int, asked: int, *, nodes_known: int) -> bool:
    """`copies` and `asked` are of other nodes: ourselves do not count, we may leave next. More than half of those responsible
    and never one alone, unless there is only one: "1 while fewer than 3 nodes exist" (design.md, of names)."""
    if nodes_known < 3:
        return copies >= 1
    return copies >= MAIL_COPIES_MIN and 2 * copies > asked


class MailCarrier:
    """All of it by disjoint paths, as for accounts: who hides a mailbox hides everything in it."""

    def __init__(self, replicas: Replicas, protocol: DhtProtocol, own: OwnReplica, opener: RecordOpener) -> None:
        self._replicas = replicas
        self._protocol = protocol
        self._own = own
        self._opener = opener
        self._near: dict[RecordKey, tuple[tuple[Contact, ...], int]] = {}
        """Of the mailbox that was looked into last: its replicas, and how often more they may be asked without a search."""

    async def deposit(self, key: RecordKey, records: Sequence[SoftRecord]) -> list[Deposit]:
        """Store records of one mailbox, in this order as far as their number lets them."""
        replicas = await self._replicas.nearest(key, SOFT_REPLICAS, careful=True)
        room = asyncio.Semaphore(MAIL_STORES_OPEN_MAX)

        async def store(record: SoftRecord) -> Deposit:
            async with room:
                outcomes = await self._replicas.store_at_all(replicas.contacts, key, record.raw)
            return self._judge(outcomes, replicas.silent)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store(record)) for record in records]
        return [task.result() for task in tasks]

    def _judge(self, outcomes: list[Outcome], silent: int) -> Deposit:
        others = [outcome for outcome in outcomes if not self._replicas.is_us(outcome.contact)]
        copies = sum(_has(outcome) for outcome in others)
        asked = min(SOFT_REPLICAS, len(others) + silent)
        reasons = frozenset(o.kept.reason for o in outcomes if o.kept is not None and not o.holds)
        return Deposit(enough_copies(copies, asked, nodes_known=self._replicas.nodes_known()), reasons)

    async def look(self, key: RecordKey) -> Contents:
        """What is in a mailbox, without the mail. As with presence, two of three times those are asked who answered the last
        time, all of them."""
        contacts, again = self._near.pop(key, ((), 0))
        if not again:
            contacts = (await self._replicas.nearest(key, SOFT_REPLICAS, careful=True)).contacts
            again = ANNOUNCE_DIRECT_MAX + 1
        indexes: dict[Contact, dict[bytes, int]] = {}

        async def ask(contact: Contact) -> None:
            try:
                indexes[contact] = await self._index_of(contact, key)
            except NetworkTrouble:
                return

        async with asyncio.TaskGroup() as group:
            for contact in contacts:
                group.create_task(ask(contact))
        if len(contacts) == len(indexes) == SOFT_REPLICAS:
            self._near = {key: (contacts, again - 1)}
        return Contents({contact: indexes[contact] for contact in contacts if contact in indexes})

    async def _index_of(self, contact: Contact, key: RecordKey) -> dict[bytes, int]:
        if self._replicas.is_us(contact):
            return dict(self._own.index(key))
        return await self._protocol.call_list_entries(contact, key)

    async def fetch(self, key: RecordKey, contents: Contents, wanted: Callable[[bytes], bool]) -> list[Signed[Mail]]:
        """The mail that is wanted, verified, by id. What one replica does not give, or gives wrong, another is asked for."""
        room = asyncio.Semaphore(MAIL_FETCHES_OPEN_MAX)
        failures: Counter[Contact] = Counter()

        async def fetch(number: int, item: bytes) -> Signed[Mail] | None:
            holders = contents.holders(item)
            turn = number % len(holders)  # so that no replica has to give it all
            async with room:
                for contact in (*holders[turn:], *holders[:turn]):
                    if failures[contact] >= MAIL_FAILURES_MAX:
                        continue
                    mail = await self._item_from(contact, key, item)
                    if mail is not None:
                        return mail
                    failures[contact] += 1
            return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fetch(*each)) for each in enumerate(filter(wanted, contents.items()))]
        return [mail for task in tasks if (mail := task.result()) is not None]

    async def _item_from(self, contact: Contact, key: RecordKey, item: bytes) -> Signed[Mail] | None:
        if self._replicas.is_us(contact):
            held = next(
                (entry.record for entry in self._own.entries(key, Mail.KIND) if _id_of(entry.record) == item), None
            )
            return cast("Signed[Mail] | None", held)
        try:
            raw = await self._protocol.call_entry(contact, key, Mail.KIND, item)
        except NetworkTrouble:
            return None
        record = None if raw is None else self._opener.open_for(raw, key)
        if record is None or not isinstance(record.body, Mail) or record.body.entry_id(record.key) != item:
            return None
        return record

    async def receipts(self, key: RecordKey, owner: bytes) -> list[MailReceipt]:
        """What the owner of a mailbox has said of its items."""
        reading = await self._replicas.read_set(key, MailReceipt.KIND)
        return [r.body for r in reading.entries if isinstance(r.body, MailReceipt) and r.key == owner]

    async def give(self, contacts: Sequence[Contact], key: RecordKey, record: SoftRecord) -> None:
        """A record to replicas that lack it."""
        await self._replicas.store_at_all(tuple(contacts), key, record.raw)


def _has(outcome: Outcome) -> bool:
    """A replica with a later version of the same item has it, and so had one from which it was fetched."""
    return outcome.kept is not None and (outcome.holds or outcome.kept.reason in (Reason.STALE, Reason.FETCHED))


def _id_of(record: SoftRecord) -> bytes:
    return record.body.entry_id(record.key)
