"""How what is said goes from neighbour to neighbour in a large room: Plumtree (Leitao 2007, SRDS). No I/O, no clock.

A message is pushed along eager links, which make a tree. On the others, lazy ones, its id is announced. Who has heard of an id and
does not get it in time asks two of those who announced it, and the next two after PROMISE_S. If that does not come along the tree
later on, twice within DOUBT_MESSAGES, the tree is broken there, and the link to who supplied it becomes eager.

Plumtree prunes by every second copy, which is right while one member speaks. Where many speak at once the copies of two messages
meet at different places of one circle, and both places would be cut. So only a *survey* prunes: one message in SURVEY_MESSAGES
goes to all neighbours, and the links over which it came in the fewest hops are the tree from then on.

Nothing is forgotten for good here: what nobody supplies comes with a comparison of histories (`chat/sync.py`).
docs/decisions/0022-spreading.md has the measurements.
"""

from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Generic, NamedTuple, TypeVar

from dhtchat.limits import (
    ANNOUNCED_IDS_MAX,
    ANNOUNCEMENT_DELAY_S,
    ANNOUNCERS_MAX,
    DOUBT_MESSAGES,
    DOUBT_S,
    GRAFT_DELAY_S,
    GRAFT_SOURCES,
    MISSING_MAX,
    MISSING_PER_NEIGHBOUR_MAX,
    NEIGHBOUR_SCORE_MAX,
    PROMISE_S,
    SURVEY_HOPS_MAX,
    SURVEY_MESSAGES,
)

P = TypeVar("P")


class Push(NamedTuple):
    """The message itself. `survey`: its way is to become the tree, and it has been over so many links, this one included; or None."""

    id: bytes
    survey: int | None


class Announced(NamedTuple):
    """The sender has these. Plumtree's IHAVE."""

    ids: tuple[bytes, ...]


class Wanted(NamedTuple):
    """The sender lacks these, and asks for them."""

    ids: tuple[bytes, ...]


class Graft(NamedTuple):
    """The sender wants whatever comes pushed from now on."""


class Prune(NamedTuple):
    """The sender had this already: announcing is enough from now on."""


Frame = Push | Announced | Wanted | Graft | Prune


class Sent(NamedTuple, Generic[P]):
    """To be sent, or dropped where a queue is full."""

    to: P
    frame: Frame


class _Neighbour:
    __slots__ = ("announces_at_s", "eager", "missing", "score", "to_announce")

    def __init__(self, *, eager: bool) -> None:
        self.eager = eager
        self.to_announce: dict[bytes, None] = {}
        self.announces_at_s = 0.0
        self.missing = 0
        """How many of what we lack it has announced."""
        self.score = 0
        """What it brought first, less what it announced and did not bring."""


class _Missing(Generic[P]):
    __slots__ = ("asked", "due_s", "sources")

    def __init__(self, due_s: float) -> None:
        self.sources: dict[P, None] = {}
        """Who has announced it and was not asked."""
        self.asked: tuple[P, ...] = ()
        self.due_s = due_s


class _Survey(NamedTuple, Generic[P]):
    """A message by which the tree is made, and from where it came over the fewest links."""

    message: bytes
    parent: P | None
    hops: int


class _Doubt(NamedTuple, Generic[P]):
    """A message that had to be asked for: if it does not come along the tree as well, the tree is broken."""

    source: P
    """Who supplied it."""
    asked: tuple[P, ...]
    due_s: float


class Broadcast(Generic[P]):
    """One member's part in the tree of one room. `holds` says whether a message is here, `P` names neighbours."""

    def __init__(self, holds: Callable[[bytes], bool], source: Random) -> None:
        self._holds = holds
        self._source = source
        self._survey: _Survey[P] | None = None
        """The last message that went to all neighbours, and whose copies prune."""
        self._since_survey = SURVEY_MESSAGES // 2
        """Messages since then, as far as we know."""
        self._neighbours: dict[P, _Neighbour] = {}
        self._missing: dict[bytes, _Missing[P]] = {}
        self._doubts: dict[bytes, _Doubt[P]] = {}
        """The oldest first."""
        self._count = 0
        """Messages so far."""
        self._broke_at = -DOUBT_MESSAGES - 1
        """At which of them the tree was last found broken."""
        self._broken: list[P] = []
        """Whose promises were not kept, since that was last asked for."""

    def neighbour_up(self, peer: P) -> None:
        self._neighbours.setdefault(peer, _Neighbour(eager=not self._neighbours))

    def neighbour_down(self, peer: P) -> None:
        if self._neighbours.pop(peer, None) is None:
            return
        for missing in self._missing.values():
            missing.sources.pop(peer, None)
            missing.asked = tuple(asked for asked in missing.asked if asked != peer)

    @property
    def neighbours(self) -> list[P]:
        return list(self._neighbours)

    def eager(self) -> list[P]:
        """To whom messages are pushed."""
        return [peer for peer, neighbour in self._neighbours.items() if neighbour.eager]

    def worst(self, of: list[P]) -> P:
        """Whom to miss least: links that are lazy before those of the tree, then who has brought least."""

        def order(peer: P) -> tuple[bool, int]:
            neighbour = self._neighbours.get(peer)
            return (False, 0) if neighbour is None else (neighbour.eager and neighbour.score >= 0, neighbour.score)

        return min(of, key=order)

    def take_broken(self) -> list[P]:
        """Who has broken promises since the last call, once for each."""
        broken, self._broken = self._broken, []
        return broken

    @property
    def missing(self) -> int:
        """Ids that are waited for."""
        return len(self._missing)

    # --- messages ---

    def say(self, message: bytes, now_s: float) -> list[Sent[P]]:
        """One of our own."""
        # The first of all is one. A newcomer who has heard somebody leaves that to those who know when the last one was.
        surveys = not self._count or self._since_survey >= SURVEY_MESSAGES
        return self.on_new(message, None, now_s, survey=0 if surveys else None)

    def on_new(self, message: bytes, source: P | None, now_s: float, *, survey: int | None) -> list[Sent[P]]:
        """It is verified and here. `source`: who pushed it."""
        missing = self._settle(message)
        if missing is not None and source is not None and source in missing.asked:
            self._doubts[message] = _Doubt(source, missing.asked, now_s + DOUBT_S)
            if len(self._doubts) > MISSING_MAX:
                del self._doubts[next(iter(self._doubts))]
        surveys = survey is not None and 2 * self._since_survey >= SURVEY_MESSAGES
        self._since_survey += 1
        self._count += 1
        if survey is not None and surveys:
            self._survey, self._since_survey = _Survey(message, source, survey), 0
        neighbour = self._neighbours.get(source) if source is not None else None
        if neighbour is not None:
            neighbour.score = min(NEIGHBOUR_SCORE_MAX, neighbour.score + 1)
            neighbour.eager = neighbour.eager or surveys
        sent: list[Sent[P]] = []
        for peer, other in self._neighbours.items():
            if peer == source:
                continue
            other.eager = other.eager or surveys
            if other.eager:
                sent.append(Sent(peer, Push(message, None if survey is None else min(survey + 1, SURVEY_HOPS_MAX))))
            elif len(other.to_announce) < ANNOUNCED_IDS_MAX:
                if not other.to_announce:
                    other.announces_at_s = now_s + ANNOUNCEMENT_DELAY_S
                other.to_announce[message] = None
        return sent

    def on_known(self, message: bytes, source: P, *, survey: int | None) -> list[Sent[P]]:
        """A neighbour pushed what was here already."""
        if (doubt := self._doubts.get(message)) is not None and source not in doubt.asked:
            del self._doubts[message]
        known, pruned = self._survey, source
        if known is None or message != known.message or source == known.parent:
            return []
        if survey is not None and survey < known.hops and known.parent is not None:
            pruned = known.parent
            self._survey = _Survey(message, source, survey)
        if (neighbour := self._neighbours.get(pruned)) is None:
            return []
        neighbour.eager = False
        return [Sent(pruned, Prune())]

    def on_useless(self, source: P) -> None:
        """A neighbour pushed what cannot be verified, or is of nobody who may speak."""
        if (neighbour := self._neighbours.get(source)) is not None:
            neighbour.score = max(-NEIGHBOUR_SCORE_MAX, neighbour.score - 1)

    def on_frame(self, source: P, frame: Announced | Wanted | Graft | Prune, now_s: float) -> list[Sent[P]]:
        """From a neighbour; from others nothing is taken."""
        neighbour = self._neighbours.get(source)
        if neighbour is None:
            return []
        match frame:
            case Prune():
                if self._survey is not None and source == self._survey.parent:  # chosen after it had our copy
                    return [Sent(source, Graft())]
                neighbour.eager = False
            case Graft():
                neighbour.eager = True
            case Wanted():
                return [
                    Sent(source, Push(message, None)) for message in dict.fromkeys(frame.ids) if self._holds(message)
                ]
            case Announced():
                for message in frame.ids:
                    self._on_announced(source, neighbour, message, now_s)
        return []

    def _on_announced(self, source: P, neighbour: _Neighbour, message: bytes, now_s: float) -> None:
        if self._holds(message) or neighbour.missing >= MISSING_PER_NEIGHBOUR_MAX:
            return
        missing = self._missing.get(message)
        if missing is None:
            if len(self._missing) >= MISSING_MAX:
                return
            missing = self._missing[message] = _Missing(now_s + GRAFT_DELAY_S * self._source.uniform(0.5, 1.5))
        if source not in missing.sources and source not in missing.asked and len(missing.sources) < ANNOUNCERS_MAX:
            missing.sources[source] = None
            neighbour.missing += 1

    def _settle(self, message: bytes) -> _Missing[P] | None:
        """It is here."""
        missing = self._missing.pop(message, None)
        if missing is not None:
            for peer in (*missing.sources, *missing.asked):
                if (neighbour := self._neighbours.get(peer)) is not None:
                    neighbour.missing -= 1
        return missing

    # --- time ---

    def tick(self, now_s: float) -> list[Sent[P]]:
        """Announce what is due, and graft what was announced and has not come."""
        sent: list[Sent[P]] = []
        for peer, neighbour in self._neighbours.items():
            if neighbour.to_announce and now_s >= neighbour.announces_at_s:
                sent.append(Sent(peer, Announced(tuple(neighbour.to_announce))))
                neighbour.to_announce.clear()
        grafts: dict[P, list[bytes]] = {}
        for message, missing in list(self._missing.items()):
            if self._holds(message):  # it came with a comparison of histories
                self._settle(message)
            elif now_s >= missing.due_s:
                self._graft(message, missing, grafts, now_s)
        for peer, ids in grafts.items():
            sent.append(Sent(peer, Wanted(tuple(ids))))
        for message, doubt in list(self._doubts.items()):
            if now_s < doubt.due_s:
                break
            del self._doubts[message]
            again, self._broke_at = self._count - self._broke_at <= DOUBT_MESSAGES, self._count
            supplier = self._neighbours.get(doubt.source)
            if again and supplier is not None and not supplier.eager:
                supplier.eager = True
                sent.append(Sent(doubt.source, Graft()))
        return sent

    def _graft(self, message: bytes, missing: _Missing[P], grafts: dict[P, list[bytes]], now_s: float) -> None:
        for peer in missing.asked:
            if (neighbour := self._neighbours.get(peer)) is not None:
                neighbour.score = max(-NEIGHBOUR_SCORE_MAX, neighbour.score - 1)
                neighbour.missing -= 1
                self._broken.append(peer)
        missing.asked = tuple(missing.sources)[:GRAFT_SOURCES]
        for peer in missing.asked:
            del missing.sources[peer]
            grafts.setdefault(peer, []).append(message)
        missing.due_s = now_s + PROMISE_S
        if not missing.asked:
            del self._missing[message]

    def next_s(self) -> float:
        """When `tick` has something to do; infinity when never."""
        due_s = [each.announces_at_s for each in self._neighbours.values() if each.to_announce]
        due_s += [each.due_s for each in self._missing.values()]
        due_s += [each.due_s for each in islice(self._doubts.values(), 1)]
        return min(due_s, default=float("inf"))
