"""One member's part in the spreading of one large room: neighbours, the tree on them, and what others may ask. No I/O, no clock.

`views.py` says who is a neighbour, `broadcast.py` what goes to whom; here one is told of the other, and whoever wastes more than
NEIGHBOUR_WASTE_BURST ceases to be a neighbour. All times are monotonic seconds.
"""

from collections.abc import Callable, Hashable, Iterable
from random import Random
from typing import Generic, TypeVar

from dhtchat.chat.broadcast import Announced, Broadcast, Graft, Prune, Sent, Wanted
from dhtchat.chat.budgets import Budgets
from dhtchat.chat.views import Spoken, Views, Word
from dhtchat.limits import (
    AUTHOR_BURST,
    AUTHOR_PER_S,
    AUTHORS_WATCHED_MAX,
    GUEST_NEIGHBOURS,
    NEIGHBOUR_WASTE_BURST,
    NEIGHBOUR_WASTE_PER_S,
    OWN_NEIGHBOURS,
)

P = TypeVar("P", bound=Hashable)


class Spreading(Generic[P]):
    """`holds` says whether a message is here, `P` names members. What the methods return is to be sent, in that order."""

    def __init__(self, holds: Callable[[bytes], bool], source: Random) -> None:
        self.views: Views[P] = Views(source)
        self.broadcast: Broadcast[P] = Broadcast(holds, source)
        self._authors: Budgets[bytes] = Budgets(AUTHOR_BURST, AUTHOR_PER_S, AUTHORS_WATCHED_MAX)
        self._waste: Budgets[P] = Budgets(
            NEIGHBOUR_WASTE_BURST, NEIGHBOUR_WASTE_PER_S, 2 * (OWN_NEIGHBOURS + GUEST_NEIGHBOURS)
        )
        self._views_due_s = float("-inf")

    # --- neighbours ---

    def on_roster(self, members: Iterable[P], now_s: float) -> list[Spoken[P] | Sent[P]]:
        """All or some of the members, without ourselves, in an order that does not depend on chance."""
        self.views.on_roster(members)
        return self._after_views([], now_s)

    def on_link_up(self, member: P) -> list[Spoken[P] | Sent[P]]:
        return [*self.views.on_link_up(member)]

    def on_link_down(self, member: P, now_s: float) -> list[Spoken[P] | Sent[P]]:
        """Also of a member who was thrown out."""
        self.views.on_link_down(member, now_s)
        return self._after_views([], now_s)

    def drop(self, member: P, now_s: float) -> list[Spoken[P] | Sent[P]]:
        """Somebody is not to be a neighbour."""
        return self._after_views(self.views.drop(member, now_s), now_s)

    def on_word(self, member: P, word: Word, now_s: float) -> list[Spoken[P] | Sent[P]]:
        return self._after_views(self.views.on_word(member, word, now_s), now_s)

    def _after_views(self, said: list[Spoken[P]], now_s: float) -> list[Spoken[P] | Sent[P]]:
        neighbours = dict.fromkeys(self.views.neighbours)
        for peer in self.broadcast.neighbours:
            if peer not in neighbours:
                self.broadcast.neighbour_down(peer)
                self._waste.forget(peer)
        for peer in neighbours:
            self.broadcast.neighbour_up(peer)
        self._views_due_s = self.views.next_s(now_s)
        return [*said]

    # --- messages ---

    def may_spread(self, author: bytes, now_s: float) -> bool:
        """Whether one more message of that author is taken from a neighbour now. Asked once for each that is new."""
        return self._authors.take(author, now_s)

    def say(self, message: bytes, now_s: float) -> list[Spoken[P] | Sent[P]]:
        """One of our own."""
        return [*self.broadcast.say(message, now_s)]

    def on_new(
        self, message: bytes, source: P | None, now_s: float, *, survey: int | None
    ) -> list[Spoken[P] | Sent[P]]:
        """It is verified and here. `source`: the member who pushed it; None when it came with a comparison of histories, which
        would otherwise stop it: who holds it does not pass it on when it is pushed."""
        strayed = self.views.stray(source) if source is not None else []
        return [*strayed, *self.broadcast.on_new(message, source, now_s, survey=survey)]

    def on_known(self, message: bytes, source: P, now_s: float, *, survey: int | None) -> list[Spoken[P] | Sent[P]]:
        """A member pushed what was here already."""
        if source not in self.views:
            return [*self.views.stray(source)]
        return [*self.broadcast.on_known(message, source, survey=survey), *self._charge(source, 1, now_s)]

    def on_useless(self, source: P, now_s: float) -> list[Spoken[P] | Sent[P]]:
        """A member pushed what cannot be verified, or is of nobody who may speak."""
        if source not in self.views:
            return [*self.views.stray(source)]
        self.broadcast.on_useless(source)
        return self._charge(source, 1, now_s)

    def on_frame(self, source: P, frame: Announced | Wanted | Graft | Prune, now_s: float) -> list[Spoken[P] | Sent[P]]:
        if source not in self.views:
            return [*self.views.stray(source)]
        sent: list[Spoken[P] | Sent[P]] = [*self.broadcast.on_frame(source, frame, now_s)]
        waste = len(frame.ids) if isinstance(frame, Wanted) else 1
        return [*sent, *self._charge(source, waste, now_s)]

    def _charge(self, source: P, waste: int, now_s: float) -> list[Spoken[P] | Sent[P]]:
        return [] if self._waste.take(source, now_s, waste) else self.drop(source, now_s)

    # --- time ---

    def tick(self, now_s: float) -> list[Spoken[P] | Sent[P]]:
        """What is due now."""
        sent: list[Spoken[P] | Sent[P]] = [*self.broadcast.tick(now_s)]
        for peer in self.broadcast.take_broken():
            sent += self._charge(peer, 1, now_s)
        if now_s >= self._views_due_s:
            sent += self._after_views(self.views.tick(now_s, self.broadcast.worst), now_s)
        return sent

    def next_s(self) -> float:
        """When `tick` has something to do, unless something happens before."""
        return min(self._views_due_s, self.broadcast.next_s())
