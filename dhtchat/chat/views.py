"""Who of a large room is a neighbour of whom: HyParView's active view (Leitao 2007, DSN). No I/O, no clock.

Where the paper walks and shuffles to learn of others, we have the room's roster, a sample that replicas of the DHT hold:
neighbours cannot poison it. Each member chooses OWN_NEIGHBOURS of it and takes up to GUEST_NEIGHBOURS more that have chosen
them, so whoever asks most cannot have all places. Both sides agree by words: `please` or, from somebody who has no neighbour at
all, `urgent`; `yes`; `no`, which also ends it. docs/decisions/0022-spreading.md.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import Generic, Literal, NamedTuple, TypeVar

from dhtchat.limits import (
    GUEST_NEIGHBOURS,
    NEIGHBOUR_ANSWER_S,
    NEIGHBOUR_PAUSE_S,
    NEIGHBOUR_ROTATION_S,
    OWN_NEIGHBOURS,
    REFUSALS_REMEMBERED_MAX,
)

P = TypeVar("P")
Word = Literal["please", "urgent", "yes", "no"]


class Spoken(NamedTuple, Generic[P]):
    """To be sent."""

    to: P
    word: Word


class Views(Generic[P]):
    """The neighbours of one member in one room. `P` names members: hashable."""

    def __init__(self, source: Random) -> None:
        self._source = source
        self._roster: tuple[P, ...] = ()
        self._own: dict[P, None] = {}
        """Neighbours whom we chose; in the order in which they became so."""
        self._guests: dict[P, None] = {}
        """Neighbours who chose us."""
        self._asked: dict[P, float] = {}
        """Until when an answer is waited for."""
        self._refused: dict[P, float] = {}
        """Whom not to ask before when."""
        self._rotates_at_s: float | None = None

    # --- what is so ---

    def __contains__(self, member: P) -> bool:
        return member in self._own or member in self._guests

    def __len__(self) -> int:
        return len(self._own) + len(self._guests)

    @property
    def neighbours(self) -> list[P]:
        return [*self._own, *self._guests]

    @property
    def wanted(self) -> list[P]:
        """With whom to have a link: neighbours, and those who are asked to be."""
        return [*self.neighbours, *self._asked]

    # --- what happens ---

    def on_roster(self, members: Iterable[P]) -> None:
        """All or some of the members, without ourselves, in an order that does not depend on chance. A neighbour or a guest
        need not be among them: a sample leaves out most."""
        self._roster = tuple(members)

    def on_link_up(self, member: P) -> list[Spoken[P]]:
        """What was asked before there was a link is asked now."""
        return [self._question(member)] if member in self._asked else []

    def on_link_down(self, member: P, now_s: float) -> None:
        """Also of somebody who was thrown out, or does not speak our language."""
        self._own.pop(member, None)
        self._guests.pop(member, None)
        if self._asked.pop(member, None) is not None:
            self._avoid(member, now_s)

    def on_word(self, member: P, word: Word, now_s: float) -> list[Spoken[P]]:
        """Somebody said this. `member` is in the room: that is for the caller to check."""
        match word:
            case "please" | "urgent":
                return self._on_question(member, urgent=word == "urgent")
            case "yes":
                if self._asked.pop(member, None) is not None:
                    self._own[member] = None
                elif member not in self:
                    return [Spoken(member, "no")]  # too late: somebody else has the place
            case "no":
                self.on_link_down(member, now_s)
        return []

    def _on_question(self, member: P, *, urgent: bool) -> list[Spoken[P]]:
        said: list[Spoken[P]] = []
        if member not in self:
            if self._asked.pop(member, None) is not None:
                self._own[member] = None  # both asked
            elif len(self._guests) < GUEST_NEIGHBOURS:
                self._guests[member] = None
            elif urgent:
                leaves = self._source.choice(list(self._guests))
                del self._guests[leaves]
                self._guests[member] = None
                said.append(Spoken(leaves, "no"))
            else:
                return [Spoken(member, "no")]
        return [*said, Spoken(member, "yes")]

    def stray(self, member: P) -> list[Spoken[P]]:
        """Somebody behaves as a neighbour and is none: a `no` of ours was lost."""
        return [] if member in self or member in self._asked else [Spoken(member, "no")]

    def drop(self, member: P, now_s: float) -> list[Spoken[P]]:
        """Somebody is of no use as a neighbour."""
        self.on_link_down(member, now_s)
        self._avoid(member, now_s)
        return [Spoken(member, "no")]

    # --- time ---

    def tick(self, now_s: float, worst: Callable[[list[P]], P]) -> list[Spoken[P]]:
        """Fill up; give up those who do not answer; now and then try somebody new in place of the `worst`."""
        for member in [member for member, until_s in self._asked.items() if now_s >= until_s]:
            del self._asked[member]
            self._avoid(member, now_s)
        self._refused = {member: until_s for member, until_s in self._refused.items() if until_s > now_s}
        said: list[Spoken[P]] = []
        while len(self._own) > OWN_NEIGHBOURS:
            said += self.drop(worst(list(self._own)), now_s)
        if self._rotates_at_s is None or now_s >= self._rotates_at_s:
            rotates = self._rotates_at_s is not None
            self._rotates_at_s = now_s + NEIGHBOUR_ROTATION_S * self._source.uniform(0.5, 1.5)
            if rotates and len(self._own) == OWN_NEIGHBOURS and not self._asked:
                said += self._ask(now_s)
        while len(self._own) + len(self._asked) < OWN_NEIGHBOURS and (asked := self._ask(now_s)):
            said += asked
        return said

    def next_s(self, now_s: float) -> float:
        """When `tick` has something to do, unless something happens before."""
        due_s = [self._rotates_at_s if self._rotates_at_s is not None else now_s, *self._asked.values()]
        if len(self._own) > OWN_NEIGHBOURS or (
            len(self._own) + len(self._asked) < OWN_NEIGHBOURS and self._candidates()
        ):
            due_s.append(now_s)
        elif len(self._own) + len(self._asked) < OWN_NEIGHBOURS:
            due_s += self._refused.values()
        return min(due_s)

    def _candidates(self) -> list[P]:
        return [
            member
            for member in self._roster
            if member not in self and member not in self._asked and member not in self._refused
        ]

    def _ask(self, now_s: float) -> list[Spoken[P]]:
        candidates = self._candidates()
        if not candidates:
            return []
        member = self._source.choice(candidates)
        self._asked[member] = now_s + NEIGHBOUR_ANSWER_S
        return [self._question(member)]

    def _question(self, member: P) -> Spoken[P]:
        return Spoken(member, "please" if len(self) else "urgent")

    def _avoid(self, member: P, now_s: float) -> None:
        self._refused[member] = now_s + NEIGHBOUR_PAUSE_S * self._source.uniform(0.5, 1.5)
        if len(self._refused) > REFUSALS_REMEMBERED_MAX:
            del self._refused[next(iter(self._refused))]
