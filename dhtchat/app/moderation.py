"""Who may do what in the rooms we are in: rulings made, heard, kept and passed on, and what follows from them.

Everybody keeps all rulings of a room. New ones go to all neighbours at once, by each who had not heard them; what got lost is
found by comparing heads beside each comparison of histories. The rules themselves are in `chat/room_graph.py`.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, NamedTuple, Protocol

from dhtchat.app.core import Core
from dhtchat.app.people import People, Person
from dhtchat.app.rooms import JoinedRoom, Rooms, clean_topic
from dhtchat.app.talks import Talk
from dhtchat.chat.events import (
    HandMoved,
    Hands,
    Invited,
    Joined,
    Kicked,
    ModeChanged,
    Notice,
    RoleChanged,
    TopicChanged,
)
from dhtchat.chat.markup import clean
from dhtchat.chat.room import right_of
from dhtchat.chat.room_graph import NOBODY, OWNER, Right, RoomState, Verdict, Voice
from dhtchat.chat.timeline import Shown
from dhtchat.errors import NotAllowed
from dhtchat.history.store import keep_ruling
from dhtchat.ids import MessageId, PeerId
from dhtchat.limits import (
    ADMISSION_S,
    FIRST_COMPARISON_S,
    MESSAGES_PARKED_MAX,
    RULINGS_ASKED_S,
    RULINGS_PAGE_MAX,
    SAID_PER_MODE_MAX,
    SAID_PER_REMOVAL_MAX,
    VERIFY_BATCH,
)
from dhtchat.peer.link import Link
from dhtchat.peer.messages import Rulings
from dhtchat.records.message import Content, Statement
from dhtchat.records.ruling import (
    DEVICE_HEAD_BYTES,
    Act,
    Given,
    Grant,
    OpenRuling,
    Removal,
    RuleTopic,
    Ruling,
    Said,
    SetDoor,
    SetHands,
    SetMode,
    Taken,
    open_ruling,
    peek_ruling_id,
)


class Parked(NamedTuple):
    """A message that names rulings which are not here yet."""

    item: Shown
    delayed: bool
    quiet: bool


class Leave(Protocol):
    """Leaves a room; `quietly` when the user was never in."""

    def __call__(self, joined: JoinedRoom, *, quietly: bool = False) -> Awaitable[None]: ...


class Moderation:
    """`may_share` says who belongs to a room; `judge_again` is called when there are new rulings, with true when they may concern
    what was shown; `leave` when we were thrown out."""

    def __init__(
        self,
        core: Core,
        people: People,
        rooms: Rooms,
        *,
        neighbours: Callable[[Talk], list[Link]],
        links_of: Callable[[PeerId], list[Link]],
        may_share: Callable[[Talk, PeerId], Awaitable[bool]],
        judge_again: Callable[[Talk, bool], Awaitable[None]],
        leave: "Leave",
    ) -> None:
        self._core = core
        self._people = people
        self._rooms = rooms
        self._neighbours = neighbours
        self._links_of = links_of
        self._may_share = may_share
        self._judge_again = judge_again
        self._leave = leave
        self._parked: dict[bytes, dict[MessageId, Parked]] = {}
        """By talk, the oldest first."""
        self._arriving: set[bytes] = set()
        """Rooms that we are just entering: what we hear of them is no news."""
        self._asked_s: dict[tuple[bytes, Link], float] = {}
        """When somebody was asked for what we lack; of links that are up."""
        self._is_ruled: dict[bytes, bool] = {}
        """Whether somebody who can rule was in a room when we looked last."""
        self._news: dict[bytes, asyncio.Event] = {}
        """Set when something was ruled about a room that we are just entering."""
        self.statistics: Counter[str] = Counter()

    # --- what we may do -----------------------------------------------------------------------------------------------

    def heads(self, talk: Talk) -> list[bytes]:
        """What a message that we say there names."""
        joined = None if talk.direct else self._rooms.get(talk.id)
        return [] if joined is None else joined.room.graph.heads

    def require(self, joined: JoinedRoom, content: Content) -> None:
        """Raises `NotAllowed` when nobody would show it if we said it now."""
        right, room, me = right_of(content), joined.room, self._core.me.peer
        if room.is_arriving or (room.is_closed and not room.lets_in(me)):
            raise NotAllowed(
                f"you have not been let into {room.name} yet", hint="Wait a moment, or ask for an invitation."
            )
        if right is Right.SET_TOPIC or room.graph.now.may(me, right):
            return
        if right is Right.RAISE_HAND:
            raise NotAllowed(
                f"the queue of raised hands in {room.name} is closed", hint="A moderator opens it with /hands open."
            )
        now = room.graph.now
        standing = now.people.get(me)
        if standing is not None and standing.voice is Voice.TAKEN:
            message = f"you may only listen in {room.name}: the floor was taken from you"
        else:
            message = f"you may only listen in {room.name}: it is moderated"
        hint = "Raise a hand with /hand: a moderator can give you the floor."
        raise NotAllowed(message, hint=hint if room.rulers() else self._who_could(joined))

    def _who_could(self, joined: JoinedRoom, *, owner: bool = False) -> str:
        """Whom to ask for what we may not do, or that nobody is left whom one could ask."""
        room, now = joined.room, joined.room.graph.now
        here = [
            self._people.name_of(peer)
            for peer in room.rulers()
            if peer != self._core.me.peer and (not owner or peer == now.owner)
        ]
        if here:
            return f"Ask {' or '.join(sorted(here))}."
        missing = [f"its owner {self._people.name_of(now.owner)}"]
        if not owner:
            missing += sorted(self._people.name_of(peer) for peer in now.people if now.rank(peer) != NOBODY)
        if len(missing) == 1:
            return f"Only {missing[0]} could, who is not here. What was decided stays, and talk goes on."
        return f"Only {' or '.join(missing)} could, and none of them is here. What was decided stays, and talk goes on."

    # --- ruling -------------------------------------------------------------------------------------------------------

    async def grant(self, joined: JoinedRoom, person: Person, given: Given) -> None:
        """Raises `NotAllowed`."""
        await self.rule(joined, Grant(person.peer, _plain(person), given))

    async def remove(self, joined: JoinedRoom, person: Person, taken: Taken, why: str) -> None:
        """Raises `NotAllowed`."""
        self._check(joined, Removal(person.peer, _plain(person), taken))
        said = await self._said_by(joined, lambda peer: peer == person.peer, SAID_PER_REMOVAL_MAX)
        await self.rule(joined, Removal(person.peer, _plain(person), taken, why, said))

    async def set_mode(self, joined: JoinedRoom, moderated: bool | None, closed: bool | None) -> None:
        """None: leave it; both: show it. Raises `NotAllowed`."""
        now = joined.room.graph.now
        if moderated in (None, now.moderated) and closed in (None, now.closed):
            self._show_mode(joined)
        if closed not in (None, now.closed):
            await self._set_door(joined, closed=bool(closed))
        if moderated not in (None, now.moderated):
            await self._set_floor(joined, moderated=bool(moderated))

    def _show_mode(self, joined: JoinedRoom) -> None:
        now = joined.room.graph.now
        for mode in (_mode(now), *(["+i"] if now.closed else [])):
            self._core.emit(ModeChanged(room=joined.room.name, user=None, by=None, mode=mode))  # type: ignore[arg-type]

    async def _set_door(self, joined: JoinedRoom, *, closed: bool) -> None:
        """Whoever is in when it closes stays in: that makes them invited."""
        room, me = joined.room, self._core.me.peer
        self._check(joined, SetDoor(closed))
        if not closed:
            await self.rule(joined, SetDoor(False))
            return
        after = room.graph.now._replace(closed=True)
        staying = {peer: name for peer, name in room.people().items() if not after.lets_in(peer)}
        if not room.graph.has_room_for(me, len(staying) + 2):
            raise NotAllowed(
                f"{len(staying)} people are in {room.name}: so many invitations are not kept",
                hint="Make a new room, close it with /mode +i, and invite those who shall be in it.",
            )

        def stays_outside(peer: PeerId) -> bool:
            return peer not in staying and not after.lets_in(peer)

        said = await self._said_by(joined, stays_outside, SAID_PER_MODE_MAX)
        acts: list[Act] = [Grant(peer, name, "invite") for peer, name in staying.items()]
        acts.append(SetDoor(True, said))
        if said:
            acts.append(SetDoor(True))  # short enough to be shown to outsiders
        await self.rule(joined, *acts)

    async def _set_floor(self, joined: JoinedRoom, *, moderated: bool) -> None:
        now = joined.room.graph.now
        self._check(joined, SetMode(moderated))

        def falls_silent(peer: PeerId) -> bool:
            return moderated and not now._replace(moderated=True).may(peer, Right.SPEAK)

        await self.rule(joined, SetMode(moderated, await self._said_by(joined, falls_silent, SAID_PER_MODE_MAX)))

    async def show_hands(self, joined: JoinedRoom, is_open: bool | None) -> None:
        """Or open or close the queue, which may raise `NotAllowed`."""
        if is_open is None:
            hands = [self._people.shown(name, peer) for peer, name in joined.room.hands().items()]
            now = joined.room.graph.now
            self._core.emit(Hands(room=joined.room.name, hands=hands, open=now.hands_open))
        else:
            await self.rule(joined, SetHands(is_open))

    async def rule(self, joined: JoinedRoom, *acts: Act) -> None:
        """Sign them, keep them, tell everybody, and do what follows. Raises `NotAllowed`."""
        for act in acts:
            self._check(joined, act)
        room, core = joined.room, self._core
        if room.topic and room.graph.now.topic is None and not isinstance(acts[0], RuleTopic):
            acts = (RuleTopic(room.topic), *acts)  # a message set it, and from the first ruling on none does any more
        made = []
        before = room.graph.now
        for each in acts:
            body = Ruling(room.id, core.me.name, room.graph.heads, int(core.wall_s()), each)
            made += room.graph.offer(OpenRuling(core.sign_own(body)))
        await self._follow(joined, before, made, None)

    def _check(self, joined: JoinedRoom, act: Act) -> None:
        me, now, name = self._core.me.peer, joined.room.graph.now, joined.room.name
        if now.permits(me, act):
            if joined.room.graph.has_room_for(me):
                return
            raise NotAllowed(f"more rulings about {name} are not kept", hint="Make a new room.")
        if now.rank(me) == NOBODY:
            raise NotAllowed(f"only the owner and the moderators of {name} can do that", hint=self._who_could(joined))
        if isinstance(act, Grant | Removal):
            peer, who = PeerId(act.person), act.name
            if peer == me:
                raise NotAllowed("that is you", hint="Name somebody else.")
            if peer == now.owner:
                raise NotAllowed(f"{who} is the owner of {name}", hint="Nobody can take anything from the owner.")
            if isinstance(act, Grant) and act.given in ("op", "owner") and now.rank(me) != OWNER:
                raise NotAllowed(f"only the owner of {name} can do that", hint=self._who_could(joined, owner=True))
            if now.is_banned(peer):
                raise NotAllowed(f"{who} is banned from {name}", hint=f"Let them in first: /unban {who}.")
            if isinstance(act, Removal) and act.taken == "deop":
                raise NotAllowed(f"{who} is no moderator of {name}", hint="See /names.")
            raise NotAllowed(f"{who} is a moderator of {name} and has the floor", hint=f"First: /deop {who}.")
        raise NotAllowed(f"you cannot do that in {name}", hint=self._who_could(joined))

    async def _said_by(self, joined: JoinedRoom, whose: Callable[[PeerId], bool], count: int) -> list[Said]:
        """Up to where those people were heard here, for the `count` devices that were heard last."""
        await self._core.journal.flush()
        heard = await self._core.journal.read(self._core.store.devices_heard, joined.room.id)
        found: list[Said] = []
        for author, device in heard:
            upto = joined.talk.timeline.upto_of(device)  # type: ignore[arg-type]
            if upto and whose(PeerId(author)) and len(found) < count:
                found.append(Said(device[:DEVICE_HEAD_BYTES], upto))
        return found

    # --- hearing ------------------------------------------------------------------------------------------------------

    async def on_rulings(self, link: Link, message: Rulings) -> None:
        """Somebody tells what was ruled, or asks. Who is banned hears what was ruled, too: it may be that they no longer are."""
        joined = self._rooms.get(message.room)
        peer = link.author.peer
        if joined is None:
            return
        shares = await self._may_share(joined.talk, peer)
        # In front of a closed room we believe what was ruled, whoever tells: it proves itself. But we tell nobody anything.
        if not (shares or joined.room.is_arriving or self._is_known(joined, peer)):
            return
        graph = joined.room.graph
        opened = []
        for number, raw in enumerate(message.rulings, start=1):
            if peek_ruling_id(raw) not in graph:
                opened.append(open_ruling(raw, joined.room.id, self._core.parameters.network_id))
            if number % VERIFY_BATCH == 0:
                await asyncio.sleep(0)  # checking so many signatures takes long enough for others to notice
        before = graph.now
        news = [new for ruling in opened for new in graph.offer(ruling)]
        await self._follow(joined, before, news, link)
        inside = joined.room.is_arriving or joined.room.lets_in(peer) or not joined.room.is_closed
        lacking = inside and graph.lacks(message.heads)
        theirs = self._for_them(joined, peer, message.heads)
        if message.answer or (theirs and not message.rulings and not lacking):
            page = [ruling.raw for ruling in theirs[:RULINGS_PAGE_MAX]]
            if page or lacking:
                heads = graph.heads if inside else []
                link.send_soon(Rulings(joined.room.id, heads, page, answer=lacking and not message.answer))
        if lacking:
            self._ask(joined, link, again=bool(news))

    def _for_them(self, joined: JoinedRoom, peer: PeerId, heads: list[bytes]) -> list[OpenRuling]:
        """What somebody lacks who has these. Who was thrown out of a closed room hears that, and nothing that came later."""
        room = joined.room
        if room.lets_in(peer) or not room.is_closed:
            return room.graph.after(heads)
        standing = room.graph.now.people.get(peer)
        if standing is None or standing.kicked < 0 or room.is_arriving:
            return []
        return room.graph.leading_to(standing.kicked, heads)

    def _is_known(self, joined: JoinedRoom, peer: PeerId) -> bool:
        """Whether rulings speak of them; the owner's genesis does."""
        now = joined.room.graph.now
        return peer == now.owner or peer in now.people

    def lets_in(self, talk: Talk, peer: PeerId) -> bool:
        """Whether somebody may hear anything of a talk."""
        if talk.direct or peer == self._core.me.peer:
            return True
        joined = self._rooms.get(talk.id)
        return joined is not None and joined.room.lets_in(peer)

    def tell_heads(self, link: Link, talk: Talk, *, answer: bool = False) -> None:
        """What we have, so that who lacks some of it can ask; `answer`: and send what we lack."""
        joined = None if talk.direct else self._rooms.get(talk.id)
        if joined is not None and (answer or len(joined.room.graph)):
            link.send_soon(Rulings(joined.room.id, joined.room.graph.heads, [], answer))

    def _ask(self, joined: JoinedRoom, link: Link, *, again: bool = False) -> None:
        key, now_s = (joined.room.id, link), self._core.now_s()
        if again or now_s - self._asked_s.get(key, float("-inf")) >= RULINGS_ASKED_S:
            self._asked_s[key] = now_s
            self.tell_heads(link, joined.talk, answer=True)

    def link_down(self, link: Link) -> None:
        self._asked_s = {key: asked_s for key, asked_s in self._asked_s.items() if key[1] is not link}

    # --- what follows -------------------------------------------------------------------------------------------------

    async def _follow(self, joined: JoinedRoom, before: RoomState, made: list[OpenRuling], source: Link | None) -> None:
        room, core = joined.room, self._core
        if not made:
            return
        self.statistics["rulings"] += len(made)
        core.journal.write(*(keep_ruling(ruling.id, room.id, ruling.raw) for ruling in made))
        told = self._told(joined, made)
        core.journal.after(lambda: self._spread(joined, made, source, told))
        now = room.graph.now
        topic_dropped = len(made) == len(room.graph) and now.topic is None and bool(room.said_topic)
        for peer, standing in now.people.items():
            old = before.people.get(peer)
            if standing.kicked >= 0 and (old is None or old.kicked != standing.kicked):
                room.expel(peer, core.now_s())
        if now.closed or before.closed or room.door is not None:
            self._rooms.door_moved(joined)
        if news := self._news.get(room.id):
            news.set()
        if room.id not in self._arriving:
            await self._show_changes(joined, before, now)
            if topic_dropped:  # whoever made the first ruling had not heard of it
                core.emit(TopicChanged(room=room.name, user=None, by=None, topic=""))
        await self._judge_again(joined.talk, _can_change_verdicts(before, now, made, len(room.graph)))
        if topic_dropped or (now.topic, now.moderated) != (before.topic, before.moderated):
            self._rooms.relist(joined)
        self.on_roster(joined)
        if self._is_thrown_out(joined, before, now):
            if not now.lets_in(core.me.peer) and before.lets_in(core.me.peer) and now.closed != before.closed:
                core.emit(Notice(message=f"only those may be in {room.name} now who are invited, and you are not"))
            await self._leave(joined)

    def _is_thrown_out(self, joined: JoinedRoom, before: RoomState, now: RoomState) -> bool:
        """By something that is new. Who comes in later and was kicked before stays, and listens."""
        mine, old = now.people.get(self._core.me.peer), before.people.get(self._core.me.peer)
        if joined.room.id in self._arriving or self._rooms.get(joined.room.id) is not joined:
            return False
        if before.lets_in(self._core.me.peer) and not now.lets_in(self._core.me.peer):
            return True
        if mine is None:
            return False
        return mine.kicked >= 0 and (old is None or old.kicked != mine.kicked)

    def _told(self, joined: JoinedRoom, made: Iterable[OpenRuling]) -> list[Link]:
        """The neighbours, and those whom it is about: who is thrown out is none any more."""
        about = [ruling.body.act.person for ruling in made if isinstance(ruling.body.act, Grant | Removal)]
        if any(isinstance(ruling.body.act, SetDoor) for ruling in made):
            about += joined.room.present()
        links = [*self._neighbours(joined.talk), *(link for peer in about for link in self._links_of(PeerId(peer)))]
        return list(dict.fromkeys(links))

    def _spread(self, joined: JoinedRoom, made: list[OpenRuling], source: Link | None, told: list[Link]) -> None:
        heads = joined.room.graph.heads
        for start in range(0, len(made), RULINGS_PAGE_MAX):
            page = [ruling.raw for ruling in made[start : start + RULINGS_PAGE_MAX]]
            for link in told:
                if link is not source:
                    link.send_soon(Rulings(joined.room.id, heads, page, answer=False))

    async def _show_changes(self, joined: JoinedRoom, before: RoomState, now: RoomState) -> None:
        room = joined.room
        changed = [peer for peer, standing in now.people.items() if standing != before.people.get(peer)]
        for peer in changed:
            await self._people.check(now.people[peer].name, peer)
        if now.owner != before.owner:
            ruling = room.graph.ruling(now.owner_by)
            name = self._people.name_of(now.owner)
            if ruling is not None and isinstance(ruling.body.act, Grant):
                await self._people.check(ruling.body.act.name, now.owner)
                name = self._people.shown(ruling.body.act.name, now.owner)
            by = await self._author(joined, now.owner_by)
            self._core.emit(RoleChanged(room=room.name, user=name, by=by, role="owner"))
        for peer in changed:
            await self._show_person(joined, before, now, peer)
        if now.moderated != before.moderated:
            by = await self._author(joined, now.mode_by)
            self._core.emit(ModeChanged(room=room.name, user=by, by=by, mode=_mode(now)))
        if now.closed != before.closed:
            by = await self._author(joined, now.door_by)
            mode: Literal["+i", "-i"] = "+i" if now.closed else "-i"
            self._core.emit(ModeChanged(room=room.name, user=by, by=by, mode=mode))
        if now.hands_open != before.hands_open:
            by = await self._author(joined, now.hands_by)
            self._core.emit(Hands(room=room.name, hands=[], open=now.hands_open, by=by))
        carried_over = before.topic is None and now.topic == room.said_topic
        if now.topic is not None and now.topic != before.topic and not carried_over:
            by = await self._author(joined, now.topic_by)
            self._core.emit(TopicChanged(room=room.name, user=by, by=by, topic=clean_topic(now.topic)))

    async def _show_person(self, joined: JoinedRoom, before: RoomState, now: RoomState, peer: PeerId) -> None:
        room, standing, old = joined.room, now.people[peer], before.people.get(peer)
        name = self._people.shown(standing.name, peer)
        by = None
        if old is None or standing.last != old.last:
            by = await self._author(joined, standing.last)
        if standing.kicked >= 0 and (old is None or old.kicked != standing.kicked):
            ruling = room.graph.ruling(standing.kicked)
            why = ruling.body.act.why if ruling is not None and isinstance(ruling.body.act, Removal) else ""
            reason = clean(why, single_line=True) if why else ""
            self._core.emit(Kicked(room=room.name, user=name, by=by, reason=reason, banned=standing.banned))
            return
        if before.closed and standing.invited and not (old is not None and old.invited) and by is not None:
            self._core.emit(Invited(room=room.name, user=name, by=by))
        if old is None or standing[1:5] != old[1:5]:  # all but names and who spoke last
            role = now.role(peer)
            self._core.emit(RoleChanged(room=room.name, user=name, by=by, role=role, banned=standing.banned))

    async def _author(self, joined: JoinedRoom, number: int) -> str | None:
        ruling = joined.room.graph.ruling(number)
        if ruling is None:
            return None
        await self._people.check(ruling.body.by, ruling.issuer)
        return self._people.shown(ruling.body.by, ruling.issuer)

    # --- coming in and looking around ---------------------------------------------------------------------------------

    def arrive(self, joined: JoinedRoom) -> None:
        """We enter: until `welcome` nothing is news."""
        self._arriving.add(joined.room.id)

    async def be_let_in(self, joined: JoinedRoom) -> None:
        """Wait in front of a closed room until somebody has told us that we may be in it. Raises `NotAllowed`."""
        room, me = joined.room, self._core.me
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ADMISSION_S):
                while room.is_arriving or not room.graph.now.lets_in(me.peer):
                    news = self._news[room.id] = asyncio.Event()
                    await news.wait()
        self._news.pop(room.id, None)
        if not room.is_arriving and room.graph.now.lets_in(me.peer):
            self._core.emit(Joined(room=room.name, user=me.name))
            return
        owner = self._people.name_of(room.graph.now.owner)
        await self._leave(joined, quietly=True)
        raise NotAllowed(
            f"{room.name} is for those only who are invited, and nobody in it has let you in",
            hint=f"Ask {owner} or a moderator for an invitation; with one, try again when they are online.",
        )

    async def welcome(self, joined: JoinedRoom) -> None:
        """What one needs to know who came in. Raises `NotAllowed` for who is banned."""
        room, me = joined.room, self._core.me
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_COMPARISON_S):
                while room.graph.now.is_banned(me.peer):  # it may be that we no longer are
                    news = self._news[room.id] = asyncio.Event()
                    await news.wait()
        self._news.pop(room.id, None)
        self._arriving.discard(room.id)
        now = room.graph.now
        if now.is_banned(me.peer):
            standing = now.people[me.peer]
            by = await self._author(joined, standing.kicked)
            await self._leave(joined)
            raise NotAllowed(f"you are banned from {room.name}", hint=f"{by} did it; a moderator can let you in again.")
        if now.moderated:
            by = await self._author(joined, now.mode_by)
            self._core.emit(ModeChanged(room=room.name, user=by, by=None, mode=_mode(now)))
        if now.closed:
            by = await self._author(joined, now.door_by)
            self._core.emit(ModeChanged(room=room.name, user=by, by=None, mode="+i"))
        if now.role(me.peer) != "speaker" and len(room.graph):
            self._core.emit(RoleChanged(room=room.name, user=me.name, by=None, role=now.role(me.peer)))
        self.on_roster(joined)

    def left(self, joined: JoinedRoom) -> None:
        """We are out: nothing of it is remembered but what is on disk."""
        self._arriving.discard(joined.room.id)
        self._parked.pop(joined.room.id, None)
        self._is_ruled.pop(joined.room.id, None)
        self._asked_s = {key: asked_s for key, asked_s in self._asked_s.items() if key[0] != joined.room.id}

    def on_roster(self, joined: JoinedRoom) -> None:
        """Somebody came or went: say so when nobody is left who could rule, where anything was ruled."""
        room, me = joined.room, self._core.me.peer
        now = room.graph.now
        is_ruled = bool(room.rulers()) or now.rank(me) != NOBODY
        was_ruled = self._is_ruled.get(room.id, False)
        self._is_ruled[room.id] = is_ruled
        if was_ruled and not is_ruled and len(room.graph) and room.id not in self._arriving:
            self._core.emit(
                Notice(
                    message=f"nobody is in {room.name} any more who could change roles, mode or topic. "
                    f"{self._who_could(joined)}"
                )
            )

    # --- judging ------------------------------------------------------------------------------------------------------

    def verdict(self, talk: Talk, statement: Statement) -> Verdict:
        """Of a statement whose turn has come."""
        return self.verdict_on(
            talk,
            statement.author.peer,
            statement.author.device,
            statement.body.counter,
            statement.body.heads,
            statement.body.content,
        )

    def verdict_on(
        self, talk: Talk, author: bytes, device: bytes, counter: int, heads: list[bytes], content: Content
    ) -> Verdict:
        if talk.direct:
            return Verdict.SHOWN
        joined = self._rooms.get(talk.id)
        if joined is None:
            return Verdict.UNKNOWN  # what was ruled is still being read
        return joined.room.graph.judge(PeerId(author), device, counter, heads, right_of(content))  # type: ignore[arg-type]

    def park(self, talk: Talk, parked: Parked) -> None:
        """Keep a message until what it names is here, and ask for that."""
        waiting = self._parked.setdefault(talk.id, {})
        waiting[parked.item.statement.id] = parked
        if len(waiting) > MESSAGES_PARKED_MAX:
            heaviest, _ = Counter(each.item.statement.author.peer for each in waiting.values()).most_common(1)[0]
            del waiting[next(key for key, each in waiting.items() if each.item.statement.author.peer == heaviest)]
            self.statistics["parked-dropped"] += 1
        joined = self._rooms.get(talk.id)
        if joined is not None:
            for link in self._neighbours(talk)[:2]:
                self._ask(joined, link)

    def take_parked(self, talk: Talk) -> list[Parked]:
        """All that wait there, in causal order: those that still have to are parked again."""
        parked = self._parked.pop(talk.id, {}).values()
        return sorted(parked, key=lambda each: (each.item.depth, each.item.statement.id))

    @property
    def parked_most(self) -> int:
        """Messages of one room, at most, that wait."""
        return max(map(len, self._parked.values()), default=0)

    def hand_event(self, joined: JoinedRoom, statement: Statement, *, up: bool) -> HandMoved:
        who = self._people.shown(statement.author.name, statement.author.peer)
        return HandMoved(room=joined.room.name, user=who, by=who, up=up)


def _can_change_verdicts(before: RoomState, now: RoomState, made: list[OpenRuling], count: int) -> bool:
    """Whether what was judged before may be judged otherwise now: something was taken, or one of the older rulings counts no
    longer, or after all. `count`: of all, the new ones last."""
    known = (1 << (count - len(made))) - 1
    silences = any(isinstance(each.body.act, Removal | SetMode | SetDoor) for each in made)
    return silences or bool((before.effective ^ now.effective) & known)


def _mode(state: RoomState) -> Literal["+m", "-m"]:
    return "+m" if state.moderated else "-m"


def _plain(person: Person) -> str:
    """The name as it was registered."""
    return person.name.partition("#")[0]
