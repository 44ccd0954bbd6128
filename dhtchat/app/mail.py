"""Mail: private lines go to the mailbox of whoever cannot be reached, and ours is emptied. Performs what `chat/mailbox.py`
decides; `dht/mail.py` carries.

The rule of `exchange.py` holds here as well: a receipt leaves only after what it speaks of is on disk.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from dhtchat.app.alarm import Alarm
from dhtchat.app.core import Core
from dhtchat.app.exchange import Exchange
from dhtchat.app.talks import Talks
from dhtchat.chat.mailbox import Complete, Inbox, Lies, Page, Postman, ReceiptBook
from dhtchat.crypto.identity import SigningKey
from dhtchat.crypto.sealing import Correspondence
from dhtchat.dht.mail import Contents
from dhtchat.errors import DamagedFile, MalformedRecord, NetworkTrouble, RemoteMisbehaved
from dhtchat.history.store import StoredStatement, forget_mailed, keep_fact
from dhtchat.ids import MessageId, PeerId, RecordKey, parse_login
from dhtchat.limits import (
    LOOKUPS_AT_ONCE,
    MAIL_LIFE_S,
    MAIL_NONCES_MAX,
    MAIL_PAUSE_S,
    MAIL_POLL_FIRST_S,
    MAIL_POLL_S,
    MAIL_WELCOME_MAX,
    MAILBOX_REFRESH_S,
    SOFT_TTL_S_MAX,
    VERIFY_BATCH,
)
from dhtchat.peer.pool import LinkPool
from dhtchat.records.acceptance import Reason
from dhtchat.records.account import Account, account_key
from dhtchat.records.envelope import Signed
from dhtchat.records.kinds import SoftRecord
from dhtchat.records.mail import (
    Mail,
    Mailbox,
    MailReceipt,
    cut_letter,
    find_mail_nonce,
    item_id_of,
    items_of,
    label_of,
    mailbox_place,
    open_part,
    seal_part,
    welcome_tags,
)
from dhtchat.records.message import Statement, open_statement, peek_sent_at_s

log = logging.getLogger(__name__)

_KEY_FACT: Final = "mailbox-key/"
"""Before somebody's identity: the mailbox key of their account, which never changes."""
_PAGE_FACT: Final = "mail-receipt/"
"""Before a slot: the page of the receipt book."""
EXPIRED: Final = f"nobody has fetched it within {MAIL_LIFE_S // 86_400} days"
REFUSED: Final = "the other side has no use for it: it does not fit what they have of you"
NO_KEY: Final = "their account names a mailbox key that nobody can have"


class _Letter(NamedTuple):
    line: MessageId
    records: list[Signed[Mail]]


class PostOffice:
    """`run_sending` and `run_collecting` are its tasks; `spawn` owns the others."""

    def __init__(
        self,
        core: Core,
        talks: Talks,
        exchange: Exchange,
        pool: LinkPool,
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
    ) -> None:
        self._core = core
        self._talks = talks
        self._exchange = exchange
        self._pool = pool
        self._spawn = spawn
        self._network_id = core.parameters.network_id
        self._correspondence = Correspondence(core.me.identity, self._network_id)
        self._postman = Postman(core.runtime.jitter)
        self._inbox = Inbox()
        self._book = ReceiptBook()
        self._keys: dict[PeerId, bytes] = {}
        self._asks_work: set[PeerId] = set()
        """In whose mailbox we are strangers."""
        self._nonces: dict[bytes, int] = {}
        self._listing: Signed[Mailbox] | None = None
        self._receipts: dict[int, Signed[MailReceipt]] = {}
        self._written_to: dict[PeerId, None] = {}
        """To whom we have said something, the latest last."""
        self._sequence = 0
        self._wanted = asyncio.Event()
        self._alarm = Alarm(core.runtime.clock)
        self.statistics: Counter[str] = Counter()

    async def load(self) -> None:
        """What an earlier run left."""
        store, read = self._core.store, self._core.journal.read
        keys = await read(store.facts, _KEY_FACT)
        self._keys = {PeerId(bytes.fromhex(peer)): key for peer, key in keys.items()}
        pages = await read(store.facts, _PAGE_FACT)
        self._book.load({int(slot): msgspec.msgpack.decode(page, type=Page) for slot, page in pages.items()})
        self._written_to = dict.fromkeys(map(PeerId, await read(store.written_to)))
        await self._follow(self._exchange.outbox.lacking(direct_only=True))

    # --- sending ------------------------------------------------------------------------------------------------------

    async def run_sending(self) -> None:
        """Until cancelled, or until the history turns out to be damaged."""
        while True:
            try:
                await self._tick()
            except DamagedFile:
                return
            await self._alarm.sleep(self._postman.next_s(self._core.now_s(), self._core.wall_s(), self._is_linked))

    def notice(self) -> None:
        """Who lacks what, or who is linked to us, has changed: look in a moment. Most lines have arrived by then."""
        self._alarm.within(MAIL_PAUSE_S)

    def _is_linked(self, peer: PeerId) -> bool:
        return bool(self._pool.links_of(peer))

    async def hurry(self) -> None:
        """Bring what is only here at once."""
        await self._follow(self._exchange.outbox.lacking(direct_only=True))
        self._postman.hurry(self._core.now_s())
        self._alarm.within()

    @property
    def hurrying(self) -> bool:
        return self._postman.hurrying

    async def _tick(self) -> None:
        core = self._core
        lacking = self._exchange.outbox.lacking(direct_only=True)
        for line in self._postman.keep_only(lacking):
            core.journal.write_along(forget_mailed(line))
        await self._follow(lacking)
        for line in self._postman.expire(core.wall_s()):
            self._exchange.on_failed(line, EXPIRED)
        for peer, lines in self._postman.due(core.now_s(), self._is_linked).items():
            self._spawn(self._deliver(peer, lines), "mail")
        for peer in self._postman.polls(core.now_s()):
            self._spawn(self._look_for_receipts(peer), "mail-receipts")

    async def _follow(self, lacking: dict[PeerId, list[MessageId]]) -> None:
        unknown = self._postman.unknown(lacking)
        if not unknown:
            return
        store, read = self._core.store, self._core.journal.read
        rows = await read(store.by_ids, list(unknown))
        mailed = await read(store.mailed)
        for row in rows:
            line, peer = MessageId(row.id), unknown[MessageId(row.id)]
            self._written_to.pop(peer, None)
            self._written_to[peer] = None
            lies = {"stored": Lies.STORED, "failed": Lies.GIVEN_UP}.get(mailed.get(line, ""), Lies.HERE)
            deadline_s = peek_sent_at_s(row.raw) + MAIL_LIFE_S
            self._postman.take(line, peer, deadline_s=deadline_s, now_s=self._core.now_s(), lies=lies)

    async def _deliver(self, peer: PeerId, lines: list[MessageId]) -> None:
        """Seal some lines to one person and bring them to the mailbox."""
        stored: set[MessageId] = set()
        try:
            stored = await self._bring(peer, await self._core.journal.read(self._core.store.by_ids, lines))
        except (NetworkTrouble, DamagedFile) as trouble:
            log.debug("mail stays here for now: %s", trouble)
        except MalformedRecord:
            for line in lines:
                if self._postman.give_up(line):
                    self._exchange.on_failed(line, NO_KEY)
        finally:
            for line in lines:
                if self._postman.deposited(line, enough=line in stored, now_s=self._core.now_s()):
                    self._exchange.on_stored(line)
            self.notice()

    async def _bring(self, peer: PeerId, rows: list[StoredStatement]) -> set[MessageId]:
        """Those of which enough replicas have all parts. Raises `NetworkTrouble`, `MalformedRecord`."""
        key = await self._mailbox_key(peer)
        if key is None:
            return set()
        sender = self._correspondence.writes_as(peer, key)
        place = mailbox_place(peer)
        letters = [await self._seal(row, peer, key, sender, place) for row in rows]
        deposits = await self._core.dht.mail.deposit(place, [r for letter in letters for r in letter.records])
        reasons = frozenset().union(*(deposit.reasons for deposit in deposits))
        if Reason.NO_WORK in reasons and peer not in self._asks_work:
            self._asks_work.add(peer)
            return await self._bring(peer, rows)
        for reason in reasons:
            self.statistics[f"refused-{reason}"] += 1
        if Reason.FETCHED in reasons:
            self._postman.poll_soon(peer, self._core.now_s())
        lines = [letter.line for letter in letters for _ in letter.records]
        lacking = {line for line, deposit in zip(lines, deposits, strict=True) if not deposit.enough}
        return set(lines) - lacking

    async def _seal(
        self, row: StoredStatement, peer: PeerId, key: bytes, sender: SigningKey, place: RecordKey
    ) -> _Letter:
        """The same items each time, newly sealed."""
        core = self._core
        wall_s = core.wall_s()
        life_s = min(SOFT_TTL_S_MAX, max(1, int(peek_sent_at_s(row.raw) + MAIL_LIFE_S - wall_s)))
        records = []
        for part in cut_letter(MessageId(row.id), row.raw):
            item = item_id_of(sender.public, label_of(sender, part.letter, part.number))
            nonce = await self._nonce(place, item) if peer in self._asks_work else 0
            records.append(
                seal_part(
                    part,
                    sender,
                    peer,
                    key,
                    nonce=nonce,
                    sequence=self._next_sequence(),
                    issued_at_s=int(wall_s),
                    ttl_s=life_s,
                    network_id=self._network_id,
                )
            )
        self._postman.set_items(MessageId(row.id), (r.body.entry_id(r.key) for r in records))
        return _Letter(MessageId(row.id), records)

    async def _nonce(self, place: RecordKey, item: bytes) -> int:
        """Found once for each item, however often it is brought."""
        if item not in self._nonces:
            self._nonces[item] = await self._work(Mail.KIND, place, item)
            if len(self._nonces) > MAIL_NONCES_MAX:
                del self._nonces[next(iter(self._nonces))]
        return self._nonces[item]

    async def _work(self, kind: str, place: RecordKey, entry_id: bytes) -> int:
        def find() -> int:
            bits = self._core.parameters.mail_work_bits
            return find_mail_nonce(kind, place, entry_id, network_id=self._network_id, bits=bits)

        return await self._core.runtime.run_blocking(find)

    def _next_sequence(self) -> int:
        self._sequence = max(self._sequence + 1, self._core.wall_ms())
        return self._sequence

    async def _mailbox_key(self, peer: PeerId) -> bytes | None:
        """From the account that this very person signed; None when it cannot be found now. Raises `NetworkTrouble`."""
        if peer in self._keys:
            return self._keys[peer]
        talk = next((talk for talk in self._talks if talk.direct and talk.peer == peer), None)
        if talk is None:
            return None
        reading = await self._core.dht.read_claims(account_key(parse_login(talk.name).name))
        for record in reading.records:
            if record.key == peer and isinstance(record.body, Account):
                self._keys[peer] = record.body.mailbox_key
                self._core.journal.write(keep_fact(_KEY_FACT + peer.hex(), record.body.mailbox_key))
                return self._keys[peer]
        return None

    async def _look_for_receipts(self, peer: PeerId) -> None:
        """Whether somebody's devices have what lies in their mailbox."""
        try:
            key = await self._mailbox_key(peer)
            if key is None:
                return
            sender = self._correspondence.writes_as(peer, key)
            unknown = self._postman.without_items(peer)
            for row in await self._core.journal.read(self._core.store.by_ids, unknown):
                self._postman.set_items(MessageId(row.id), items_of(sender, MessageId(row.id), row.raw))
            receipts = await self._core.dht.mail.receipts(mailbox_place(peer), peer)
        except (NetworkTrouble, MalformedRecord, DamagedFile) as trouble:
            log.debug("no receipts now: %s", trouble)
            return
        taken = {item for receipt in receipts if receipt.taken for item in receipt.items}
        refused = {item for receipt in receipts if not receipt.taken for item in receipt.items}
        answered = self._postman.answered(peer, taken, refused)
        self._exchange.on_receipts(answered.taken, peer)
        for line in answered.refused:
            if self._postman.give_up(line):
                self._exchange.on_failed(line, REFUSED)

    # --- collecting ---------------------------------------------------------------------------------------------------

    async def run_collecting(self) -> None:
        """Until cancelled, or until the history turns out to be damaged: what cannot be kept is not taken, or a receipt would
        speak of it. At once, soon again (who has just come knows few), and then now and again."""
        pause_s = MAIL_POLL_FIRST_S
        while True:
            self._wanted.clear()
            try:
                await self.collect()
            except NetworkTrouble as trouble:
                log.debug("the mailbox cannot be read now: %s", trouble)
            except DamagedFile:
                return
            try:
                async with asyncio.timeout(self._core.runtime.jitter(pause_s)):
                    await self._wanted.wait()
                    pause_s = MAIL_POLL_FIRST_S
            except TimeoutError:
                pause_s = min(4 * pause_s, MAIL_POLL_S)

    def collect_soon(self) -> None:
        """The network is there again."""
        self._wanted.set()

    async def collect(self) -> None:
        """Read our mailbox, take what is in it, and say so. Raises `NetworkTrouble`."""
        place = mailbox_place(self._core.me.peer)
        contents = await self._core.dht.mail.look(place)
        if not contents.answered:
            return
        await self._publish(place, contents, [await self._own_listing()])
        mails = await self._core.dht.mail.fetch(
            place, contents, lambda item: not self._book.covers(item) and not self._inbox.holds(item)
        )
        await self._take(mails)
        await self._publish(place, contents, await self._own_receipts())

    async def _publish(self, place: RecordKey, contents: Contents, records: Iterable[SoftRecord]) -> None:
        """To all replicas that have not got them in this version."""
        for record in records:
            lacking = contents.lacking(record.body.entry_id(record.key), record.body.sequence)
            await self._core.dht.mail.give(lacking, place, record)

    async def _take(self, mails: list[Signed[Mail]]) -> None:
        letters: list[Complete] = []
        useless: list[bytes] = []
        for number, mail in enumerate(mails):
            item = mail.body.entry_id(mail.key)
            try:
                part = open_part(mail, self._correspondence, self._network_id)
            except MalformedRecord:
                useless.append(item)
                continue
            complete = self._inbox.put(mail.key, item, part)
            if complete is not None:
                letters.append(complete)
            if number % VERIFY_BATCH == VERIFY_BATCH - 1:
                await asyncio.sleep(0)
        statements: dict[MessageId, Statement] = {}
        for letter in letters:
            try:
                statement = open_statement(letter.statement, self._network_id)
            except RemoteMisbehaved:
                continue
            if statement.id == letter.letter:
                statements[statement.id] = statement
        in_order = sorted(statements.values(), key=lambda s: (s.body.sent_at_ms, s.author.device, s.body.counter))
        # Those we know first: who a stranger is has to be looked up, and there may be hundreds.
        known = [s for s in in_order if s.author.peer in self._written_to]
        taken = await self._exchange.take_mail(known)
        taken |= await self._exchange.take_mail([s for s in in_order if s.author.peer not in self._written_to])
        done = [item for letter in letters if letter.letter in taken for item in letter.items]
        useless += [item for letter in letters if letter.letter not in taken for item in letter.items]
        self.statistics["letters-taken"] += len(taken)
        self.statistics["items-useless"] += len(useless)
        await self._note(done, useless)

    async def _note(self, taken: list[bytes], useless: list[bytes]) -> None:
        """Into the book and onto the disk, after what was taken."""
        changed = self._book.note(taken, taken=True, sequence=self._core.wall_ms())
        changed |= self._book.note(useless, taken=False, sequence=self._core.wall_ms())
        for slot, page in changed.items():
            self._receipts.pop(slot, None)
            self._core.journal.write(keep_fact(f"{_PAGE_FACT}{slot}", msgspec.msgpack.encode(page)))
        await self._core.journal.flush()

    # --- what we say of our own mailbox ---

    async def _own_receipts(self) -> list[SoftRecord]:
        me, core = self._core.me, self._core
        for slot, page in self._book.pages().items():
            issued_at_s = page.sequence // 1000
            if slot in self._receipts or issued_at_s + SOFT_TTL_S_MAX <= core.wall_s():
                continue
            receipt = MailReceipt(
                me.device, slot, page.taken, list(page.items), 0, page.sequence, issued_at_s, SOFT_TTL_S_MAX
            )
            nonce = await self._work(receipt.KIND, receipt.place(me.peer), receipt.entry_id(me.peer))
            self._receipts[slot] = core.sign_own(msgspec.structs.replace(receipt, nonce=nonce))
        return list(self._receipts.values())

    async def _own_listing(self) -> SoftRecord:
        """That this device wants mail, and whose is welcome; newly signed when that has changed, and once a day."""
        me, core = self._core.me, self._core
        welcome = welcome_tags(await self._welcome_senders(), self._correspondence)
        now_s = core.wall_s()
        last = self._listing
        if last is None or last.body.welcome != welcome or now_s - last.body.issued_at_s > MAILBOX_REFRESH_S:
            listing = Mailbox(me.device, welcome, 0, self._next_sequence(), int(now_s), SOFT_TTL_S_MAX)
            nonce = await self._work(listing.KIND, listing.place(me.peer), listing.entry_id(me.peer))
            self._listing = core.sign_own(msgspec.structs.replace(listing, nonce=nonce))
        assert self._listing is not None
        return self._listing

    async def _welcome_senders(self) -> list[bytes]:
        """The keys under which those write whom we have written to, the latest first. Of whom we do not know the mailbox
        key yet, a few are looked up each time."""
        for peer in await self._core.journal.read(self._core.store.written_to):
            self._written_to.setdefault(PeerId(peer))
        found: list[bytes] = []
        lookups = 0
        for peer in list(reversed(self._written_to))[:MAIL_WELCOME_MAX]:
            if peer not in self._keys:
                lookups += 1
                if lookups > LOOKUPS_AT_ONCE:
                    continue
            try:
                key = await self._mailbox_key(peer)
                if key is not None:
                    found.append(self._correspondence.is_written_by(peer, key))
            except (NetworkTrouble, MalformedRecord):
                continue
        return found
