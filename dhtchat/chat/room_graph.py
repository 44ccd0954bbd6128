"""Who may do what in a room, worked out from the rulings about it. No I/O, no clock, no signatures.

Invariants kept here:
- the same rulings give the same state, whatever the order in which they came, and however often somebody asked in between;
- a ruling is kept only if its author had the right to it where it stands, that is by what it follows and nothing else; so only
  owners and moderators, past ones too, can make a room's graph grow;
- nobody gains by naming old heads: what somebody says or rules beside their own removal does not count.

The rules, after design.md, "Rooms" (docs/protocol.md has them in full, docs/decisions/0020-rulings.md why):

1. Order: what follows comes later; of others the moderators' first and the owner's last, so that the owner has the last word,
   then by hash.
2. Of several handovers by one owner the first in that order counts. What that owner ruled beside it does not.
3. A moderator's ruling does not count beside their removal by an owner. Beside their removal by another moderator only their
   own removals of moderators count: two equals who remove each other both go.
4. A ruling counts only if the one that made its author what they were counts.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final, Literal, NamedTuple

from dhtchat.ids import DeviceId, PeerId
from dhtchat.limits import (
    ROOM_STATES_CACHED,
    RULING_HEADS_MAX,
    RULINGS_PARKED_MAX,
    RULINGS_PER_ISSUER_MAX,
    RULINGS_PER_ROOM_MAX,
)
from dhtchat.records.ruling import (
    DEVICE_HEAD_BYTES,
    Act,
    Grant,
    OpenRuling,
    Removal,
    RuleTopic,
    RulingId,
    SetDoor,
    SetHands,
    SetMode,
)

Role = Literal["owner", "moderator", "speaker", "listener"]
OWNER: Final = 2
MODERATOR: Final = 1
NOBODY: Final = 0
_GENESIS: Final = -1
"""Stands for the room's beginning among the numbers of rulings."""
NO_RULING: Final = -2


class Voice(Enum):
    """What was said about somebody's floor. `UNSET`: the mode of the room decides."""

    UNSET = "unset"
    GIVEN = "given"
    TAKEN = "taken"


class Right(Enum):
    """What somebody wants to do in a room."""

    SPEAK = "speak"
    RAISE_HAND = "raise-hand"
    TAKE_PART = "take-part"
    """Lower a hand, take back a line of one's own, say what one has read."""
    SET_TOPIC = "set-topic"
    """By a message, which anybody may while there are no rulings."""


class Verdict(Enum):
    """What is to be done with a message."""

    SHOWN = "shown"
    VOID = "void"
    UNKNOWN = "unknown"
    """It names rulings that are not here."""


class Standing(NamedTuple):
    """What rulings have made of a person who is not the owner."""

    name: str
    """As whoever ruled last knew it."""
    moderator: int = NO_RULING
    """The number of the ruling that made them one."""
    voice: Voice = Voice.UNSET
    banned: bool = False
    kicked: int = NO_RULING
    """The ruling that threw them out, until they are given the floor or let in again."""
    last: int = NO_RULING
    """The ruling that spoke of them last."""
    invited: bool = False
    """Whether they are let in where only those are who are invited. Moderators are, and stay so when they are none any more."""


class RoomState(NamedTuple):
    """A room at some point of its graph. Never changed."""

    owner: PeerId
    owner_by: int = _GENESIS
    """The ruling that made them the owner."""
    people: Mapping[PeerId, Standing] = {}
    """Everybody of whom a ruling spoke, but the owner."""
    moderated: bool = False
    mode_by: int = NO_RULING
    hands_open: bool = True
    hands_by: int = NO_RULING
    topic: str | None = None
    """None: no ruling has set one."""
    topic_by: int = NO_RULING
    closed: bool = False
    """Whether only those are let in who are invited."""
    door_by: int = NO_RULING
    effective: int = 0
    """A bit for each ruling that counts."""

    def rank(self, peer: PeerId) -> int:
        if peer == self.owner:
            return OWNER
        standing = self.people.get(peer)
        return MODERATOR if standing is not None and standing.moderator != NO_RULING else NOBODY

    def role(self, peer: PeerId) -> Role:
        if peer == self.owner:
            return "owner"
        if self.rank(peer) == MODERATOR:
            return "moderator"
        return "speaker" if self.may(peer, Right.SPEAK) else "listener"

    def is_banned(self, peer: PeerId) -> bool:
        standing = self.people.get(peer)
        return standing is not None and standing.banned

    def lets_in(self, peer: PeerId) -> bool:
        """Whether somebody may be here at all: read, and say anything."""
        if self.rank(peer) != NOBODY:
            return True
        standing = self.people.get(peer)
        if standing is None:
            return not self.closed
        return not standing.banned and (standing.invited or not self.closed)

    def insiders(self) -> list[PeerId]:
        """Everybody whom a closed room lets in."""
        return [
            self.owner,
            *(peer for peer, standing in self.people.items() if standing.invited and not standing.banned),
        ]

    def may(self, peer: PeerId, right: Right) -> bool:
        """Whether somebody has a right here, if they said so now."""
        if self.rank(peer) != NOBODY:
            return True
        if not self.lets_in(peer):
            return False
        standing = self.people.get(peer)
        match right:
            case Right.SPEAK:
                voice = Voice.UNSET if standing is None else standing.voice
                return voice is Voice.GIVEN or (voice is Voice.UNSET and not self.moderated)
            case Right.RAISE_HAND:
                return self.hands_open
        return True

    def permits(self, issuer: PeerId, act: Act) -> bool:
        """Whether somebody may rule so."""
        rank = self.rank(issuer)
        if rank == NOBODY:
            return False
        match act:
            case Grant(person=person, given=given):
                peer = PeerId(person)
                if given in ("op", "owner"):
                    return rank == OWNER and peer != issuer and not self.is_banned(peer)
                if given in ("voice", "invite"):
                    return self.rank(peer) == NOBODY and not self.is_banned(peer)
                return peer not in (issuer, self.owner)
            case Removal(person=person, taken=taken):
                peer = PeerId(person)
                if peer == self.owner:
                    return False
                if taken == "deop":
                    return rank == OWNER or self.rank(peer) == MODERATOR
                if taken == "devoice":
                    return self.rank(peer) == NOBODY
                return peer != issuer
        return True


class _Node:
    """A ruling in its place."""

    __slots__ = (
        "act",
        "ancestors",
        "basis",
        "bit",
        "by",
        "depth",
        "equals",
        "id",
        "issuer",
        "number",
        "parents",
        "rank",
        "said",
    )

    def __init__(self, ruling: OpenRuling, number: int, parents: list["_Node"], before: RoomState) -> None:
        self.id = ruling.id
        self.issuer = ruling.issuer
        self.by = ruling.body.by
        self.act: Act = ruling.body.act
        self.number = number
        self.bit = 1 << number
        self.parents = tuple(parent.number for parent in parents) or (_GENESIS,)
        self.ancestors = 0
        """A bit for each ruling that this one follows."""
        for parent in parents:
            self.ancestors |= parent.ancestors | parent.bit
        self.depth: int = 1 + max((parent.depth for parent in parents), default=0)
        self.rank = before.rank(ruling.issuer)
        """Of its author, where it stands."""
        self.basis = before.owner_by if self.rank == OWNER else before.people[ruling.issuer].moderator
        """The ruling that made its author what they were."""
        self.equals = (
            self.rank == MODERATOR
            and isinstance(self.act, Removal)
            and self.act.taken != "devoice"
            and before.rank(PeerId(self.act.person)) == MODERATOR
        )
        """Whether a moderator takes another one's place away."""
        said = self.act.said if isinstance(self.act, Removal | SetMode | SetDoor) else []
        self.said = {each.device: each.counter for each in said}

    @property
    def hands_over(self) -> bool:
        return isinstance(self.act, Grant) and self.act.given == "owner"

    @property
    def removes(self) -> PeerId | None:
        """Whose rank it takes away."""
        return PeerId(self.act.person) if isinstance(self.act, Removal) and self.act.taken != "devoice" else None

    def is_beside(self, other: "_Node") -> bool:
        """Neither follows the other."""
        return self.number != other.number and not (self.ancestors & other.bit or other.ancestors & self.bit)


class RoomGraph:
    """All rulings of one room, whose first owner is named by its genesis."""

    def __init__(self, owner: PeerId) -> None:
        self._genesis = RoomState(owner)
        self._nodes: list[_Node] = []
        self._rulings: list[OpenRuling] = []
        self._numbers: dict[RulingId, int] = {}
        self._heads: dict[int, None] = {}
        """Numbers of those that nothing follows."""
        self._by: Counter[PeerId] = Counter()
        self._parked: dict[RulingId, OpenRuling] = {}
        """Those whose parents are not all here, the oldest first."""
        self._waiting: dict[RulingId, dict[RulingId, None]] = {}
        """Missing parent -> those in `_parked` that name it."""
        self._states: OrderedDict[frozenset[int], RoomState] = OrderedDict()
        self._corrected: dict[frozenset[int], RoomState] = {}
        """Those states of which something does not count for all, until the graph grows."""
        self._about: dict[PeerId, int] = {}
        """A bit for each removal of that person."""
        self._moderating = 0
        """A bit for each ruling that lets only some speak."""
        self._shutting = 0
        """A bit for each ruling that lets only some in."""
        self._closing = 0
        """A bit for each ruling that closes the queue of hands."""

    # --- taking in ---

    def offer(self, ruling: OpenRuling) -> list[OpenRuling]:
        """A verified ruling about this room, from whoever: those that are new now, it and what waited for it, in an order in
        which others can take them."""
        accepted: list[OpenRuling] = []
        todo = [ruling]
        while todo:
            each = todo.pop()
            if each.id in self._numbers:
                continue
            missing = [parent for parent in map(RulingId, each.body.parents) if parent not in self._numbers]
            if missing:
                self._park(each, missing)
            elif self._take(each):
                accepted.append(each)
                waiting = self._waiting.pop(each.id, {})
                todo += [self._parked[name] for name in waiting if name in self._parked]
        return accepted

    def _take(self, ruling: OpenRuling) -> bool:
        self._unpark(ruling)
        parents = [self._nodes[self._numbers[RulingId(parent)]] for parent in ruling.body.parents]
        before = self._state(frozenset(parent.number for parent in parents))
        if not before.permits(ruling.issuer, ruling.body.act) or not self.has_room_for(ruling.issuer):
            return False
        node = _Node(ruling, len(self._nodes), parents, before)
        if isinstance(node.act, SetDoor) and before.closed and not node.said:
            node.said = self._nodes[before.door_by].said  # said again: as the first time
        self._corrected.clear()
        self._nodes.append(node)
        self._rulings.append(ruling)
        self._numbers[ruling.id] = node.number
        self._by[ruling.issuer] += 1
        for parent in parents:
            self._heads.pop(parent.number, None)
        self._heads[node.number] = None
        match node.act:
            case Removal(person=person):
                self._about[PeerId(person)] = self._about.get(PeerId(person), 0) | node.bit
            case SetMode(moderated=True):
                self._moderating |= node.bit
            case SetDoor(closed=True):
                self._shutting |= node.bit
            case SetHands(open=False):
                self._closing |= node.bit
        return True

    def _park(self, ruling: OpenRuling, missing: list[RulingId]) -> None:
        self._parked[ruling.id] = ruling
        for parent in missing:
            self._waiting.setdefault(parent, {})[ruling.id] = None
        if len(self._parked) > RULINGS_PARKED_MAX:
            heaviest, _ = Counter(each.issuer for each in self._parked.values()).most_common(1)[0]
            self._unpark(next(each for each in self._parked.values() if each.issuer == heaviest))

    def _unpark(self, ruling: OpenRuling) -> None:
        if self._parked.pop(ruling.id, None) is None:
            return
        for parent in map(RulingId, ruling.body.parents):
            waiting = self._waiting.get(parent)
            if waiting is not None:
                waiting.pop(ruling.id, None)
                if not waiting:
                    del self._waiting[parent]

    def has_room_for(self, issuer: PeerId, count: int = 1) -> bool:
        """Whether so many more rulings of theirs are kept."""
        few = issuer == self._genesis.owner or self._by[issuer] + count <= RULINGS_PER_ISSUER_MAX
        return few and len(self._nodes) + count <= RULINGS_PER_ROOM_MAX

    # --- asking ---

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, ruling: bytes) -> bool:
        return ruling in self._numbers

    @property
    def parked(self) -> int:
        """Rulings that wait for others."""
        return len(self._parked)

    @property
    def heads(self) -> list[bytes]:
        """What a ruling or a message that is made now names: the newest, and the deepest of them should they be too many."""
        deepest = sorted(self._heads, key=lambda number: (-self._nodes[number].depth, self._nodes[number].id))
        return sorted(self._nodes[number].id for number in deepest[:RULING_HEADS_MAX])

    @property
    def now(self) -> RoomState:
        """The state that all rulings together make."""
        return self._state(frozenset(self._heads))

    def state_at(self, heads: Iterable[bytes]) -> RoomState | None:
        """The state as somebody saw it who had seen these and what they follow; None when one of them is not here."""
        numbers = [self._numbers.get(RulingId(head)) for head in heads]
        known = frozenset(number for number in numbers if number is not None)
        return self._state(known) if len(known) == len(numbers) else None

    def ruling(self, number: int) -> OpenRuling | None:
        """By the number that a state names; None for the beginning."""
        return self._rulings[number] if number >= 0 else None

    def after(self, heads: Iterable[bytes]) -> list[OpenRuling]:
        """What somebody lacks who has these and what they follow, in an order in which it can be taken."""
        held = self._closed(self._known_of(heads))
        return [ruling for ruling, node in zip(self._rulings, self._nodes, strict=True) if not held & node.bit]

    def leading_to(self, number: int, heads: Iterable[bytes]) -> list[OpenRuling]:
        """The same, but of one ruling and what that follows only."""
        node = self._nodes[number]
        return [ruling for ruling in self.after(heads) if (node.ancestors | node.bit) >> self._numbers[ruling.id] & 1]

    def basis_of(self, number: int) -> list[OpenRuling]:
        """Those that made the author of a ruling what they were, from the beginning on, and it: what proves that they had the
        right to it."""
        found: list[OpenRuling] = []
        while number != _GENESIS:
            found.insert(0, self._rulings[number])
            number = self._nodes[number].basis
        return found

    def lacks(self, heads: Iterable[bytes]) -> bool:
        return any(head not in self._numbers for head in heads)

    def judge(self, author: PeerId, device: DeviceId, counter: int, heads: Iterable[bytes], right: Right) -> Verdict:
        """Whether a message counts that `author` said on `device` with this number, having seen `heads`.

        They must have had the right there; and each ruling that they had not seen, with which they would not have had it, must
        say that this message still counts. Of what they had seen only what counts for all can give them a right.
        """
        there = self.state_at(heads := list(heads))
        if there is None:
            return Verdict.UNKNOWN
        if right is Right.SET_TOPIC:
            return Verdict.VOID if self._nodes else Verdict.SHOWN
        named = frozenset(self._numbers[RulingId(head)] for head in heads)
        if not there.may(author, right) or not self._counting(named).may(author, right):
            return Verdict.VOID
        taking = self._about.get(author, 0) | self._shutting
        if right is Right.SPEAK:
            taking |= self._moderating
        elif right is Right.RAISE_HAND:
            taking |= self._closing
        seen = self._closed(named)
        for number in _bits(self.now.effective & taking & ~seen):
            node = self._nodes[number]
            if counter <= node.said.get(device[:DEVICE_HEAD_BYTES], 0):
                continue
            both = frozenset((number,)) if not seen & ~node.ancestors else named | {number}
            if not self._counting(both).may(author, right):
                return Verdict.VOID
        return Verdict.SHOWN

    def has_floor_since(self, peer: PeerId, heads: Iterable[bytes]) -> bool:
        """Whether somebody who raised a hand, having seen `heads`, was given the floor since."""
        held = self._closed(self._known_of(heads))
        return any(
            isinstance(node.act, Grant) and node.act.person == peer and node.act.given != "unban"
            for node in map(self._nodes.__getitem__, _bits(self.now.effective & ~held))
        )

    def closed_since(self, heads: Iterable[bytes]) -> bool:
        """Whether the queue of hands was closed, and thereby emptied, by something that who named `heads` had not seen."""
        return bool(self.now.effective & self._closing & ~self._closed(self._known_of(heads)))

    def _known_of(self, heads: Iterable[bytes]) -> Iterator[int]:
        """The numbers of those that are here."""
        return (self._numbers[RulingId(head)] for head in heads if head in self._numbers)

    def _closed(self, numbers: Iterable[int]) -> int:
        """A bit for each of these, and for each that they follow."""
        held = 0
        for number in numbers:
            held |= self._nodes[number].bit | self._nodes[number].ancestors
        return held

    # --- evaluating ---

    def _state(self, heads: frozenset[int]) -> RoomState:
        """Evaluates what is not remembered, from the last point on that everything before leads to."""
        todo: list[tuple[frozenset[int], list[_Node], frozenset[int]]] = []
        base = heads
        while (known := self._known(base)) is None:
            since, before = self._since(base)
            todo.append((base, since, before))
            base = before
        for key, since, _ in reversed(todo):
            known = self._apply(since, known)
            self._states[key] = known
            if len(self._states) > ROOM_STATES_CACHED:
                self._states.popitem(last=False)
        return known

    def _counting(self, heads: frozenset[int]) -> RoomState:
        """The state that those make, of these and what they follow, that count for all. Almost always the state there."""
        there, closed = self._state(heads), self._closed(heads)
        counting = self.now.effective & closed
        if there.effective == counting:
            return there
        known = self._corrected.get(heads)
        if known is None:
            evaluation = _Evaluation(self._genesis)
            for node in _in_order([self._nodes[number] for number in _bits(closed)]):
                if node.bit & counting:
                    evaluation.apply(node)
            if len(self._corrected) >= ROOM_STATES_CACHED:
                self._corrected.clear()
            known = self._corrected[heads] = evaluation.result()
        return known

    def _known(self, heads: frozenset[int]) -> RoomState | None:
        if not heads:
            return self._genesis
        known = self._states.get(heads)
        if known is not None:
            self._states.move_to_end(heads)
        return known

    def _since(self, heads: frozenset[int]) -> tuple[list[_Node], frozenset[int]]:
        """What to evaluate for `heads`, and from where on.

        Going back from them, the deepest first, until one ruling is left that all of it follows: nothing before that one is
        beside anything after it, so that its state stands. In a room where people see what others ruled that is close by.
        """
        since: list[_Node] = []
        frontier = [(-self._nodes[number].depth, number) for number in heads]
        heapq.heapify(frontier)
        seen = set(heads)
        while frontier and (len(frontier) > 1 or not since) and frontier[0][1] != _GENESIS:
            node = self._nodes[heapq.heappop(frontier)[1]]
            since.append(node)
            for parent in node.parents:
                if parent not in seen:
                    seen.add(parent)
                    heapq.heappush(frontier, (0 if parent == _GENESIS else -self._nodes[parent].depth, parent))
            if len(heads) == 1:
                break
        return since, frozenset(number for _, number in frontier if number != _GENESIS)

    def _apply(self, since: list[_Node], base: RoomState) -> RoomState:
        order = _in_order(since)
        effective = _that_count(order, base)
        state = _Evaluation(base)
        for node in order:
            if node.number in effective:
                state.apply(node)
        return state.result()


class _Evaluation:
    """A state in the making."""

    def __init__(self, base: RoomState) -> None:
        self._base = base
        self._people = dict(base.people)
        self._owner, self._owner_by = base.owner, base.owner_by
        self._moderated, self._mode_by, self._hands_open = base.moderated, base.mode_by, base.hands_open
        self._hands_by = base.hands_by
        self._closed, self._door_by = base.closed, base.door_by
        self._topic, self._topic_by = base.topic, base.topic_by
        self._effective = base.effective

    def apply(self, node: _Node) -> None:
        self._effective |= node.bit
        match node.act:
            case Grant(person=person, name=name, given=given) if person != self._owner:
                self._grant(PeerId(person), name, given, node)
            case Removal(person=person, name=name, taken=taken) if person != self._owner:
                self._remove(PeerId(person), name, taken, node.number)
            case SetMode(moderated=moderated):
                self._moderated, self._mode_by = moderated, node.number
            case RuleTopic(text=text):
                self._topic, self._topic_by = text, node.number
            case SetDoor(closed=closed):
                self._closed, self._door_by = closed, node.number
            case SetHands(open=is_open):
                self._hands_open, self._hands_by = is_open, node.number

    def _grant(self, peer: PeerId, name: str, given: str, node: _Node) -> None:
        number = node.number
        old = self._people.get(peer, Standing(name))
        match given:
            case "op":
                self._people[peer] = Standing(name, moderator=number, last=number, invited=True)
            case "voice" if not old.banned:  # said beside the ban, which stands
                self._people[peer] = old._replace(name=name, voice=Voice.GIVEN, kicked=NO_RULING, last=number)
            case "unban":
                voice = Voice.UNSET if old.voice is Voice.TAKEN else old.voice
                self._people[peer] = old._replace(name=name, banned=False, kicked=NO_RULING, voice=voice, last=number)
            case "invite" if not old.banned:
                floor = old.voice if old.kicked == NO_RULING else Voice.UNSET
                self._people[peer] = old._replace(name=name, kicked=NO_RULING, voice=floor, last=number, invited=True)
            case "owner":
                self._people.pop(peer, None)
                self._people[node.issuer] = Standing(node.by, moderator=number, last=number, invited=True)
                self._owner, self._owner_by = peer, number

    def _remove(self, peer: PeerId, name: str, taken: str, number: int) -> None:
        old = self._people.get(peer, Standing(name))._replace(name=name, last=number)
        match taken:
            case "deop":
                self._people[peer] = old._replace(moderator=NO_RULING)
            case "devoice":
                self._people[peer] = old._replace(voice=Voice.TAKEN)
            case "kick" | "ban":
                banned = old.banned or taken == "ban"
                out = old._replace(moderator=NO_RULING, voice=Voice.TAKEN, kicked=number, banned=banned, invited=False)
                self._people[peer] = out

    def result(self) -> RoomState:
        return RoomState(
            owner=self._owner,
            owner_by=self._owner_by,
            people=self._people,
            moderated=self._moderated,
            mode_by=self._mode_by,
            hands_open=self._hands_open,
            hands_by=self._hands_by,
            closed=self._closed,
            door_by=self._door_by,
            topic=self._topic,
            topic_by=self._topic_by,
            effective=self._effective,
        )


def _in_order(nodes: list[_Node]) -> list[_Node]:
    """Rule 1."""
    inside = {node.number: node for node in nodes}
    followers: dict[int, list[_Node]] = {}
    open_parents: dict[int, int] = {}
    for node in nodes:
        parents = [parent for parent in node.parents if parent in inside]
        open_parents[node.number] = len(parents)
        for parent in parents:
            followers.setdefault(parent, []).append(node)
    ready = [(node.rank, node.id, node.number) for node in nodes if not open_parents[node.number]]
    heapq.heapify(ready)
    order = []
    while ready:
        node = inside[heapq.heappop(ready)[2]]
        order.append(node)
        for follower in followers.get(node.number, ()):
            open_parents[follower.number] -= 1
            if not open_parents[follower.number]:
                heapq.heappush(ready, (follower.rank, follower.id, follower.number))
    return order


def _that_count(order: list[_Node], base: RoomState) -> set[int]:
    """Rules 2 to 4, the higher rank first: what voids a ruling is settled before it. Nothing in `base` is beside any of these."""
    effective: set[int] = set()

    def has_basis(node: _Node) -> bool:
        # What stands before all of these stands as its author saw it.
        return node.basis == _GENESIS or node.basis in effective or bool(base.effective >> node.basis & 1)

    handovers: list[_Node] = []
    owner, owner_by = base.owner, base.owner_by
    for node in order:
        if node.rank == OWNER and node.hands_over and (node.issuer, node.basis) == (owner, owner_by):
            effective.add(node.number)
            handovers.append(node)
            assert isinstance(node.act, Grant)
            owner, owner_by = PeerId(node.act.person), node.number
    removed: dict[PeerId, list[_Node]] = {}
    for node in order:
        if node.rank == OWNER and not node.hands_over and has_basis(node):
            if any(each.issuer == node.issuer and each.is_beside(node) for each in handovers):
                continue
            effective.add(node.number)
            if node.removes is not None:
                removed.setdefault(node.removes, []).append(node)

    def counts(node: _Node) -> bool:
        beside = any(each.is_beside(node) for each in removed.get(node.issuer, ()))
        return has_basis(node) and not beside

    by_equals = [node for node in order if node.equals and counts(node)]
    effective |= {node.number for node in by_equals}
    for node in by_equals:
        assert node.removes is not None
        removed.setdefault(node.removes, []).append(node)
    effective |= {node.number for node in order if node.rank == MODERATOR and not node.equals and counts(node)}
    return effective


def _bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
