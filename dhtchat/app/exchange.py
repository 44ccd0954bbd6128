"""What two peers say to each other about talk, once a link is up: new statements, receipts, comparisons of histories.

The rule that carries promise 1: whatever claims that we hold something (`Committed`, `Have`, `Lines`) leaves only after the
journal has it on disk.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, cast

from dhtchat.app.core import Core
from dhtchat.app.large_rooms import LargeRooms
from dhtchat.app.moderation import Moderation, Parked
from dhtchat.app.people import People, Standing
from dhtchat.app.talks import Talk, Talks
from dhtchat.chat.delivery import Outbox, Receipt, State, StatusChange
from dhtchat.chat.events import StatusChanged
from dhtchat.chat.operations import Outcome
from dhtchat.chat.room_graph import Verdict
from dhtchat.chat.sync import cut_vector
from dhtchat.chat.timeline import Fate, Shown
from dhtchat.errors import LinkLost, MalformedRecord, RemoteMisbehaved
from dhtchat.history.store import (
    HIDDEN_LATER,
    HIDDEN_UNSEEN,
    StoredStatement,
    Write,
    erase,
    fill_place,
    hide,
    keep_mailed,
    keep_reader,
    keep_receipt,
    keep_statement,
    keep_text,
    mark_shown,
)
from dhtchat.ids import KEY_BYTES, DeviceId, MessageId, PeerId
from dhtchat.limits import CATCH_UP_SHOWN, COMPARED_PUSHED_MAX, JUDGED_AGAIN_MAX, OUTBOX_ENTRIES_MAX, VERIFY_BATCH
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Committed, DeviceCounter, Have, Lines, Pushed, Tell
from dhtchat.peer.pool import LinkPool
from dhtchat.records.device import Author
from dhtchat.records.message import (
    Content,
    Delete,
    Edit,
    Message,
    Read,
    Say,
    Statement,
    direct_conversation,
    kind_of,
    open_statement,
    peek_message,
    peek_message_id,
    sign_statement,
    target_of,
)

log = logging.getLogger(__name__)


class Turn(NamedTuple):
    """A statement whose turn has come, and what that means. `text`: of a line, the one that holds."""

    item: Shown
    delayed: bool
    verified: bool
    outcome: Outcome
    text: str
    quiet: bool = False
    """It is of a past too long to be shown line by line."""


class Exchange:
    """Handles talk over links. `may_share` decides who may see a conversation at all."""

    def __init__(
        self,
        core: Core,
        people: People,
        talks: Talks,
        pool: LinkPool,
        *,
        moderation: Moderation,
        large: LargeRooms,
        may_share: Callable[[Talk, PeerId], Awaitable[bool]],
        on_shown: Callable[[Talk, Turn], None],
    ) -> None:
        self._core = core
        self._people = people
        self._talks = talks
        self._pool = pool
        self._moderation = moderation
        self._large = large
        self._may_share = may_share
        self._on_shown = on_shown
        self.outbox = Outbox(core.me.device)
        self.statistics: Counter[str] = Counter()
        self.on_owing_changed: Callable[[], None] = lambda: None
        """Told when somebody lacks a line of ours who did not, or the other way round."""
        self.on_held: Callable[[], None] = lambda: None
        """Told when a line waits for others: `release` is due some time."""
        self._progress: dict[MessageId, tuple[int | None, int | None]] = {}
        """Of own lines in rooms, whom they have reached of how many."""
        self._comparisons: dict[bytes, asyncio.Event] = {}
        """Set when we have found, of a talk, that somebody has nothing that we lack."""

    async def restore_outbox(self, talk: Talk) -> None:
        """Follow up on private lines of an earlier run that the other person is not known to have."""
        if not talk.direct:
            return
        store, device = self._core.store, self._core.me.device

        def read() -> tuple[list[StoredStatement], dict[bytes, set[bytes]]]:
            rows = store.own_since(talk.id, device, OUTBOX_ENTRIES_MAX)
            return rows, store.receipts(row.id for row in rows)

        rows, receipts = await self._core.journal.read(read)
        mailed = await self._core.journal.read(store.mailed)
        for row, statement in self._talks.opened_lines(talk, rows):
            if talk.peer not in receipts[row.id]:
                state = cast(State, mailed.get(row.id, "queued"))
                self.outbox.add(statement.id, talk.id, row.counter, [talk.peer], direct=True, state=state)

    # --- speaking ---

    def say(self, talk: Talk, content: Content, recipients: Iterable[PeerId]) -> MessageId:
        """Sign, commit, and then send to everybody entitled who has a link; the id. Events follow the commit. What was read is told
        to whoever is there; nobody waits for it, so its way is not followed."""
        me, core = self._core.me, self._core
        counter, previous, parents = talk.timeline.next_place(me.device)
        taken_back = [p.counter for p in content.places if not p.certificate] if isinstance(content, Delete) else ()
        message = Message(
            certificate=me.certificate,
            direct=talk.direct,
            target=talk.peer if talk.direct else talk.id,
            recipient=talk.name.partition("#")[0] if talk.direct else "",
            counter=counter,
            previous=previous,
            parents=parents,
            sent_at_ms=core.wall_ms(),
            content=content,
            passes_over=talk.timeline.next_passes_over(me.device, taken_back),
            heads=self._moderation.heads(talk),
        )
        statement = sign_statement(message, me.device_key, me.author, core.parameters.network_id)
        offered = talk.timeline.offer(statement, core.now_s())
        self._keep(talk, statement, offered.depth, delayed=False, verified=True)
        self._show(talk, offered.shown, delayed=False)
        entitled = [peer for peer in recipients if peer != me.peer]
        core.journal.after(lambda: self._spread(talk, statement, entitled))
        return statement.id

    def _spread(self, talk: Talk, statement: Statement, entitled: list[PeerId]) -> None:
        counter, relayed = statement.body.counter, self._large.is_large(talk.id)
        if not isinstance(statement.body.content, Read):
            added = self.outbox.add(statement.id, talk.id, counter, entitled, direct=talk.direct, relayed=relayed)
            self._show_status([added])
            self.on_owing_changed()
        if relayed:
            if self._large.say(talk.id, statement):
                self._show_status(self.outbox.on_sent(statement.id))
            if not self._large.has_few_neighbours(talk.id):
                entitled = []
        tell = Tell(statement.raw)
        for peer in [*entitled, self._core.me.peer]:
            for link in self._pool.links_of(peer):
                # A full queue is no loss: that neighbour gets it with the next comparison.
                if link.send_soon(tell) and peer != self._core.me.peer:
                    self._show_status(self.outbox.on_sent(statement.id))

    # --- hearing ---

    async def on_tell(self, link: Link, message: Tell) -> None:
        await self._core.journal.room()
        statement = await self._open(message.statement)
        if statement is None:
            return
        talk = await self._talk_of(statement, link.author.peer)
        if talk is None or not await self._may_share(talk, link.author.peer):
            self.statistics["not-ours"] += 1
            return
        if not talk.direct and not await self._may_share(talk, statement.author.peer):
            self.statistics["not-a-member"] += 1
            return
        if await self._take(talk, [statement], delayed=False, told_by=link.author.peer):
            self._large.on_new(talk.id, statement, None, None)

    async def on_pushed(self, link: Link, message: Pushed) -> None:
        """From a neighbour in a large room: passed on once it is verified, and its author may speak."""
        await self._core.journal.room()
        source, known = link.author.who, peek_message_id(message.statement)
        talk = next((talk for talk in self._talks if not talk.direct and talk.timeline.holds(known)), None)
        if talk is not None:  # nothing of it is used: it need not be verified
            if not await self._may_share(talk, link.author.peer):
                self.statistics["not-ours"] += 1
                return
            self.statistics["offered-known"] += 1
            self._large.on_known(talk.id, known, source, message.survey)
            return
        statement = await self._open(message.statement)
        talk = await self._talk_of(statement, link.author.peer) if statement is not None else None
        if statement is None or talk is None or talk.direct:
            self._large.on_useless(source)
            return
        if not await self._may_share(talk, link.author.peer):
            self.statistics["not-ours"] += 1
        elif not await self._may_share(talk, statement.author.peer):
            self.statistics["not-a-member"] += 1
            self._large.on_useless(source, talk.id)
        elif not self._large.may_spread(talk.id, statement.author.peer):
            self.statistics["over-budget"] += 1
        elif await self._take(talk, [statement], delayed=False, told_by=link.author.peer):
            self._large.on_new(talk.id, statement, source, message.survey)
        else:  # it came another way meanwhile, or is a fork
            self._large.on_known(talk.id, statement.id, source, message.survey)

    async def on_lines(self, link: Link, message: Lines) -> None:
        await self._core.journal.room()  # a full disk makes whoever sends wait
        talk = self._talks.get(message.conversation)
        pending: list[Statement] = []
        for number, raw in enumerate(message.statements):
            if talk is not None and talk.timeline.holds(peek_message_id(raw)):
                continue
            statement = await self._open(raw)
            if statement is None or statement.conversation != message.conversation:
                raise MalformedRecord("a page with a line of another conversation")
            talk = await self._talk_of(statement, link.author.peer)
            if talk is None:
                self.statistics["not-ours"] += 1
                return
            pending.append(statement)
            if number % VERIFY_BATCH == VERIFY_BATCH - 1:
                await asyncio.sleep(0)  # checking a page of signatures takes long enough for others to notice
        if talk is None or not await self._may_share(talk, link.author.peer):
            return
        talk.timeline.set_absent(message.absent)
        floors = {DeviceId(entry.device): entry.counter for entry in message.floors}
        before = {device: talk.timeline.floor_of(device) for device in {*floors, *(s.author.device for s in pending)}}
        quiet = talk.catch_up.missing(link, talk.timeline.vector()) - len(pending) >= CATCH_UP_SHOWN
        news = await self._take(talk, pending, delayed=True, told_by=link.author.peer, quiet=quiet)
        if not talk.direct and len(pending) <= COMPARED_PUSHED_MAX:
            for statement in pending:
                if talk.timeline.holds(statement.id):
                    self._large.on_new(talk.id, statement, None, None)
        self._show(talk, talk.timeline.set_floors(floors, self._core.now_s()), delayed=True)
        for device, floor in before.items():
            if talk.timeline.floor_of(device) != floor:
                self._talks.keep_floor(talk, device)
                news = True
        talk.catch_up.on_page(link, news=news)
        if not talk.catch_up.missing(link, talk.timeline.vector()):
            self._comparisons.setdefault(talk.id, asyncio.Event()).set()
        if message.more and news:  # or the same page would come again, and again
            await self._ask_on(talk, link)
        else:
            await self._ask_on(talk, None)

    async def _ask_on(self, talk: Talk, otherwise: Link | None) -> None:
        """Ask whose turn it is for the next page; nobody known: `otherwise`."""
        source = talk.catch_up.next_source(talk.timeline.vector()) or otherwise
        if source is not None:
            with contextlib.suppress(LinkLost):
                await self.send_have(source, talk, answer=False)

    async def link_down(self, link: Link) -> None:
        """Somebody else may have what they were asked for."""
        for talk in self._talks:
            talk.catch_up.drop(link)
            await self._ask_on(talk, None)

    async def take_mail(self, statements: list[Statement]) -> set[MessageId]:
        """Private lines from our mailbox, verified. Those that we hold now or held already; the others are of no use.
        Deletions first: what was deleted before we came for it is not shown."""
        await self._core.journal.room()
        by_talk: dict[Talk, list[Statement]] = {}
        for statement in statements:
            others = statement.body.direct and statement.author.peer != self._core.me.peer
            talk = await self._talk_of(statement, statement.author.peer) if others else None
            if talk is None:
                self.statistics["mail-not-ours"] += 1
            else:
                by_talk.setdefault(talk, []).append(statement)
        taken: set[MessageId] = set()
        for talk, of_talk in by_talk.items():
            of_talk.sort(key=lambda statement: not statement.takes_back)
            await self._take(talk, of_talk, delayed=True, told_by=None)
            taken |= {statement.id for statement in of_talk if talk.timeline.holds(statement.id)}
        return taken

    def on_receipts(self, ids: Iterable[bytes], peer: PeerId) -> None:
        """Receipts in `peer`'s mailbox name these."""
        self._note(*self.outbox.on_committed(ids, peer))

    def on_stored(self, statement_id: MessageId) -> None:
        """Said once it is on our disk that it lies in the mailbox."""
        self._core.journal.write(keep_mailed(statement_id, "stored"))
        self._core.journal.after(lambda: self._show_status(self.outbox.on_stored(statement_id)))

    def on_failed(self, statement_id: MessageId, reason: str) -> None:
        self._core.journal.write(keep_mailed(statement_id, "failed"))
        self._core.journal.after(lambda: self._show_status(self.outbox.on_failed(statement_id, reason)))

    async def on_committed(self, link: Link, message: Committed) -> None:
        self._note(*self.outbox.on_committed(message.ids, link.author.peer))

    async def on_have(self, link: Link, message: Have) -> None:
        theirs = {DeviceId(entry.device): entry.counter for entry in message.devices}
        talk = self._talks.get(message.conversation)
        if talk is None:
            if message.answer and self._may_be_ours(message.conversation, link.author.peer):
                await link.send(Have(message.conversation, [], answer=False))  # ask for all of it
            return
        if not await self._may_share(talk, link.author.peer):
            return
        floors = {DeviceId(entry.device): entry.floor for entry in message.devices if entry.floor > 1}
        own_floor = floors.get(self._core.me.device, 1)
        self._note(*self.outbox.on_vector(talk.id, theirs, link.author.peer, floor=own_floor))
        talk.catch_up.heard(link, theirs, talk.timeline.vector())
        if message.answer:
            ask = talk.catch_up.missing(link, talk.timeline.vector()) > 0
            await self.send_have(link, talk, answer=False, ask=ask)
        else:
            await self._ask_on(talk, None)
        page = await self._talks.page_for(talk, theirs, floors) if message.lines else None
        if page is not None:
            self.statistics["pages-sent"] += 1
            begin = [DeviceCounter(device, floor) for device, floor in page.floors.items()]
            await link.send(Lines(talk.id, page.statements, begin, page.absent, page.more))
            for link_id in (peek_message_id(raw) for raw in page.statements):
                self._show_status(self.outbox.on_sent(link_id))
        if not talk.timeline.lacks(theirs):
            self._comparisons.setdefault(talk.id, asyncio.Event()).set()

    async def next_comparison(self, talk: Talk) -> bool:
        """Wait until somebody has turned out to have nothing that we lack."""
        return await self._comparisons.setdefault(talk.id, asyncio.Event()).wait()

    def forget(self, talk: Talk) -> None:
        """We left: should we come back, others are to be heard anew."""
        self._comparisons.pop(talk.id, None)

    def _may_be_ours(self, conversation: bytes, told_by: PeerId) -> bool:
        """Whether a talk that we know nothing of concerns us: its first line came while we were away."""
        me = self._core.me.peer
        return told_by == me or conversation == direct_conversation(me, told_by)

    async def send_have(self, link: Link, talk: Talk, *, answer: bool, ask: bool = True) -> None:
        """Say what we hold of a conversation, once all of it is on disk; with `ask` and unless somebody else is asked already,
        ask for what lacks."""
        if not self._moderation.lets_in(talk, link.author.peer):
            talk.catch_up.drop(link)  # it was in the room once
            return
        vector = cut_vector(talk.timeline.vector(), self._core.runtime.random.randbytes(KEY_BYTES))
        await self._core.journal.flush()
        self._moderation.tell_heads(link, talk)
        devices = [DeviceCounter(device, upto, talk.timeline.told_floor_of(device)) for device, upto in vector.items()]
        lines = ask and talk.catch_up.ask(link, self._core.now_s())
        if not link.send_soon(Have(talk.id, devices, answer, lines)):
            talk.catch_up.drop(link)  # a slow reader: nobody waits for it, the next comparison makes up for this one

    def release(self, talk: Talk) -> None:
        """Show what has waited long enough."""
        self._show(talk, talk.timeline.release(self._core.now_s()), delayed=True)

    # --- inside ---

    async def _open(self, raw: bytes) -> Statement | None:
        try:
            return open_statement(raw, self._core.parameters.network_id)
        except RemoteMisbehaved as error:
            self.statistics["bad-statement"] += 1
            log.debug("dropped a statement: %s", error)
            return None

    async def _talk_of(self, statement: Statement, told_by: PeerId) -> Talk | None:
        """The talk a statement belongs to, if it is one of ours; a private one is opened by its first line.

        The one place where a statement meets a conversation: whatever it claims to be must be what the talk is.
        """
        me = self._core.me
        if not statement.body.direct:
            talk = self._talks.get(statement.conversation)
            return talk if talk is not None and not talk.direct else None
        author, target = statement.author.peer, PeerId(statement.body.target)
        if me.peer not in (author, target):
            return None
        other = target if author == me.peer else author  # oneself: what one's devices tell each other
        if told_by not in (me.peer, other):
            return None
        talk = self._talks.get(statement.conversation)
        if talk is not None:
            return talk
        name = statement.body.recipient if author == me.peer else statement.author.name
        await self._people.check(name, other, contact=author != me.peer)
        return await self._talks.open_direct(other, self._people.shown(name, other))

    async def _take(
        self, talk: Talk, statements: list[Statement], *, delayed: bool, told_by: PeerId | None, quiet: bool = False
    ) -> bool:
        """Verified statements of one talk, from somebody we are linked to or, None, from our mailbox. Whether any of them
        was new."""
        news = False
        authors = {(s.author.name, s.author.peer) for s in statements}
        standings = {(name, peer): await self._people.check(name, peer, contact=True) for name, peer in sorted(authors)}
        committed: dict[PeerId, list[bytes]] = {}
        for_own_devices: list[Statement] = []
        for statement in statements:
            verified = standings[statement.author.name, statement.author.peer] is Standing.RIGHTFUL
            offered = talk.timeline.offer(statement, self._core.now_s())
            self.statistics[f"offered-{offered.fate.value}"] += 1
            if offered.fate in (Fate.NEW, Fate.RESTORED):
                news = True
                self._keep(talk, statement, offered.depth, delayed=delayed, verified=verified)
            if offered.fate is Fate.RESTORED and isinstance(statement.body.content, Say):
                self._core.journal.write(keep_text(statement.id, statement.body.content.text))
            self._show(talk, offered.shown, delayed=delayed, quiet=quiet)
            if offered.fate is Fate.NEW:
                self._fill_places(talk, statement, delayed=delayed)
                if talk.direct and told_by != self._core.me.peer:
                    for_own_devices.append(statement)
            if offered.fate is not Fate.FORKED and statement.author.peer != self._core.me.peer:
                committed.setdefault(statement.author.peer, []).append(statement.id)
        self._core.journal.after(lambda: self._acknowledge(committed))
        self._core.journal.after(lambda: self._tell_own_devices(for_own_devices))
        if talk.timeline.waiting:
            self.on_held()
        return news

    def _tell_own_devices(self, statements: list[Statement]) -> None:
        """A private line counts as delivered with the first device that has it, so the author may not care for the others."""
        for link in self._pool.links_of(self._core.me.peer):
            for statement in statements:
                link.send_soon(Tell(statement.raw))

    def _acknowledge(self, committed: dict[PeerId, list[bytes]]) -> None:
        """Tell the authors who have a link; others learn it from the next comparison with us."""
        for peer, ids in committed.items():
            for link in self._pool.links_of(peer):
                link.send_soon(Committed(ids))

    def _keep(self, talk: Talk, statement: Statement, depth: int, *, delayed: bool, verified: bool) -> None:
        """Put it on disk, not shown yet."""
        content = statement.body.content
        own = statement.author.peer == self._core.me.peer
        row = StoredStatement(
            id=statement.id,
            conversation=talk.id,
            device=statement.author.device,
            counter=statement.body.counter,
            depth=depth,
            raw=statement.raw,
            own=own,
            delayed=delayed,
            verified=verified,
            shown=False,
            received_at_ms=self._core.wall_ms(),
            kind=kind_of(content),
            author=statement.author.peer,
            target=target_of(content),
        )
        self._core.journal.write(keep_statement(row))

    def _fill_places(self, talk: Talk, statement: Statement, *, delayed: bool) -> None:
        """What a deletion takes back and is not here will not be taken any more; nothing waits for it."""
        peer, now_ms = statement.author.peer, self._core.wall_ms()
        own = peer == self._core.me.peer
        for place in statement.takes_back:
            if not talk.timeline.has_place(place.device, place.counter):
                where = place.device, place.counter, place.id
                self._core.journal.write(fill_place(talk.id, where, peer, statement.id, own=own, now_ms=now_ms))
                shown = talk.timeline.fill(*where, self._core.now_s(), passes_over=place.passes_over)
                self._show(talk, shown, delayed=delayed)

    def _show(self, talk: Talk, shown: tuple[Shown, ...], *, delayed: bool, quiet: bool = False) -> None:
        """Mark as shown in the same commit, then show: a crash in between leaves a line to `/history`, never twice."""
        for item in shown:
            match self._moderation.verdict(talk, item.statement):
                case Verdict.UNKNOWN:
                    self._moderation.park(talk, Parked(item, delayed, quiet))
                case Verdict.VOID:
                    self.statistics["void"] += 1
                    self._core.journal.write(
                        mark_shown(item.statement.id, item.depth), hide(item.statement.id, HIDDEN_UNSEEN)
                    )
                case Verdict.SHOWN:
                    self._core.journal.write(mark_shown(item.statement.id, item.depth))
                    self._present(talk, item, delayed=delayed, quiet=quiet)

    def _present(self, talk: Talk, item: Shown, *, delayed: bool, quiet: bool) -> None:
        outcome, text = self._apply(talk, item.statement)
        turn = Turn(item, delayed, self._verified(item), outcome, text, quiet)
        self._core.journal.after(lambda: self._on_shown(talk, turn))

    async def judge_again(self, talk: Talk, shown_too: bool) -> None:
        """What was ruled about a room has changed: what waited for that may be shown now; `shown_too`: of the last lines some
        may not count any more, and are left out of the history, or count after all."""
        self.show_parked(talk)
        if not shown_too:
            return
        await self._core.journal.flush()
        rows = await self._core.journal.read(self._core.store.last_judged, talk.id, JUDGED_AGAIN_MAX)
        for row in rows:
            with contextlib.suppress(MalformedRecord):
                message = peek_message(row.raw)
                verdict = self._moderation.verdict_on(
                    talk, row.author, row.device, row.counter, message.heads, message.content
                )
                if verdict is Verdict.VOID and not row.hidden:
                    self._core.journal.write(hide(row.id, HIDDEN_LATER))
                    talk.operations.take_back(MessageId(row.id), PeerId(row.author), message.content)
                elif verdict is Verdict.SHOWN and row.hidden:
                    self._core.journal.write(hide(row.id, 0))
                    self._bring_out(talk, row)

    def show_parked(self, talk: Talk) -> None:
        """What waits for what it names, and now need not."""
        for parked in self._moderation.take_parked(talk):
            self._show(talk, (parked.item,), delayed=parked.delayed, quiet=parked.quiet)

    @property
    def neighbours_most(self) -> int:
        """In one large room."""
        return self._large.most_neighbours

    @property
    def parked_most(self) -> int:
        """Messages of one room, at most, that wait for what they name."""
        return self._moderation.parked_most

    def _bring_out(self, talk: Talk, row: StoredStatement) -> None:
        """It counts after all."""
        for _, statement in self._talks.opened_lines(talk, [row]):
            if row.hidden == HIDDEN_UNSEEN:
                self._present(talk, Shown(statement, row.depth), delayed=True, quiet=False)
            else:
                self._apply(talk, statement)

    def _apply(self, talk: Talk, statement: Statement) -> tuple[Outcome, str]:
        """What a statement means for the lines of its talk, on disk in the commit that shows it; and the text that holds."""
        line, author, content = statement.id, statement.author.peer, statement.body.content
        earlier = talk.operations.waiting_text(line, author)
        outcome = talk.operations.take(line, author, content)
        writes: list[Write] = []
        text = ""
        match content:
            case Say():
                text = content.text if earlier is None else earlier
                if outcome is Outcome.NEWS:
                    writes.append(keep_text(line, text))
            case Edit():
                text = content.text
                if outcome is Outcome.NEWS:
                    writes.append(keep_text(content.target, text))
            case Delete():
                self.outbox.drop(place.id for place in statement.takes_back)
                self.on_owing_changed()
                for place in statement.takes_back:
                    writes += erase((place.device, place.counter, place.id), line)
            case Read():
                writes += [keep_reader(each, author) for each in self._read_lines(talk, author, content)]
        self._core.journal.write(*writes)
        return outcome, text

    def _read_lines(self, talk: Talk, reader: PeerId, content: Read) -> list[MessageId]:
        """Which of these lines somebody can have read. Who may fill a disk with what they say they read is in a private talk
        with us; in a room the lines must be here."""
        ids = list(map(MessageId, content.ids))
        if talk.direct:
            return ids
        return [each for each in ids if talk.operations.author_of(each) not in (None, reader)]

    def on_read(self, talk: Talk, reader: Author, content: Read) -> None:
        """Somebody has read own lines of ours: they have them, too."""
        own = [each for each in map(MessageId, content.ids) if talk.operations.author_of(each) == self._core.me.peer]
        self._note(*self.outbox.on_committed(own, reader.peer))
        for line in own:
            delivered_to, members = self._progress.get(line, (None, None))
            self._core.emit(
                StatusChanged(
                    id=line.hex(),
                    state="read",
                    delivered_to=delivered_to,
                    members=members,
                    read_by=self._people.shown(reader.name, reader.peer),
                )
            )

    def _verified(self, item: Shown) -> bool:
        author = item.statement.author
        return self._people.shown(author.name, author.peer) == author.name

    def _note(self, receipts: list[Receipt], changes: list[StatusChange]) -> None:
        self._core.journal.write_along(*(keep_receipt(receipt.statement_id, receipt.peer) for receipt in receipts))
        if receipts:
            self.on_owing_changed()
        self._show_status(changes)

    def _show_status(self, changes: Iterable[StatusChange]) -> None:
        for change in changes:
            if change.members is not None:
                self._progress[change.statement_id] = (change.delivered_to, change.members)
                if len(self._progress) > OUTBOX_ENTRIES_MAX:
                    del self._progress[next(iter(self._progress))]
            self._core.emit(
                StatusChanged(
                    id=change.statement_id.hex(),
                    state=change.state,
                    delivered_to=change.delivered_to,
                    members=change.members,
                    reason=change.reason,
                )
            )
