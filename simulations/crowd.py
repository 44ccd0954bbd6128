"""A room of thousands made of the spreading machines alone (`dhtchat/chat/spreading.py`), on a heap of events in virtual time.

Frames between two members arrive in order. One that is lost comes a retransmission later, as on a stream. A roster is a sample, as
the DHT has it. Once in ANTI_ENTROPY_INTERVAL_S each member compares with one neighbour, which is played in one step.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Collection
from itertools import count
from random import Random
from typing import Any

from dhtchat.chat.broadcast import Push, Sent
from dhtchat.chat.spreading import Spreading
from dhtchat.chat.views import Spoken
from dhtchat.limits import ANTI_ENTROPY_INTERVAL_S, KEEPALIVE_TIMEOUT_S, MEMBERS_SAMPLE

from .network import RETRANSMIT_FIRST_S, RETRANSMIT_MAX_S, Latency

ROSTER_EVERY_S = 40.0
"""How often a member of a large room reads a new sample: PEOPLE_POLL_S and PEOPLE_POLL_PER_ENTRY_S for MEMBERS_SAMPLE."""


class Member:
    """One member. `number` is its name."""

    def __init__(self, crowd: "Crowd", number: int) -> None:
        self.number = number
        self.crowd = crowd
        self.alive = True
        self.held: dict[bytes, tuple[float, int | None]] = {}
        """When each message came, and over how many hops; None: by a comparison, or by somebody who has it so."""
        self.copies: Counter[bytes] = Counter()
        self.spreading: Spreading[int] = Spreading(self.held.__contains__, crowd.random)
        self.tick_at_s = float("inf")

    def perform(self, sent: list[Spoken[int] | Sent[int]]) -> None:
        """Put on the wire what the machine wants sent, and wake it when it wants to be."""
        for each in sent:
            match each:
                case Spoken(to, word):
                    self.crowd.send(self.number, to, "on_word", word)
                case Sent(to, Push(message, survey)):
                    over = self.held[message][1]
                    hops = None if over is None else over + 1
                    self.crowd.send(self.number, to, "on_push", message, survey, hops)
                case Sent(to, frame):
                    self.crowd.send(self.number, to, "on_frame", frame)
        self.rest()

    def rest(self) -> None:
        at_s = max(self.crowd.now_s, self.spreading.next_s())
        if at_s < self.tick_at_s:
            self.tick_at_s = at_s
            self.crowd.at(at_s, self.tick)

    def tick(self) -> None:
        if self.alive and self.crowd.now_s >= self.tick_at_s:
            self.tick_at_s = float("inf")
            self.perform(self.spreading.tick(self.crowd.now_s))

    # --- what comes ---

    def on_word(self, sender: int, word: Any) -> None:
        self.perform(self.spreading.on_word(sender, word, self.crowd.now_s))

    def on_frame(self, sender: int, frame: Any) -> None:
        self.perform(self.spreading.on_frame(sender, frame, self.crowd.now_s))

    def on_push(self, sender: int, message: bytes, survey: int | None, hops: int | None) -> None:
        self.copies[message] += 1
        if message in self.held:
            self.perform(self.spreading.on_known(message, sender, self.crowd.now_s, survey=survey))
            return
        self.held[message] = (self.crowd.now_s, hops)
        self.perform(self.spreading.on_new(message, sender, self.crowd.now_s, survey=survey))

    def on_link_down(self, sender: int) -> None:
        self.perform(self.spreading.on_link_down(sender, self.crowd.now_s))

    # --- what it does by itself ---

    def say(self, message: bytes) -> None:
        self.held[message] = (self.crowd.now_s, 0)
        self.perform(self.spreading.say(message, self.crowd.now_s))

    def read_roster(self) -> None:
        if self.alive:
            self.perform(self.spreading.on_roster(self.crowd.sample(self.number), self.crowd.now_s))
            self.crowd.at(self.crowd.now_s + ROSTER_EVERY_S * self.crowd.random.uniform(0.8, 1.2), self.read_roster)

    def compare(self) -> None:
        if not self.alive:
            return
        neighbours = [peer for peer in self.spreading.views.neighbours if self.crowd.members[peer].alive]
        if neighbours:
            other = self.crowd.members[self.crowd.random.choice(neighbours)]
            for one, two in ((self, other), (other, self)):
                for message in [message for message in one.held if message not in two.held]:
                    two.held[message] = (self.crowd.now_s, None)
                    two.copies[message] += 1
                    two.perform(two.spreading.on_new(message, None, self.crowd.now_s, survey=None))
        pause_s = ANTI_ENTROPY_INTERVAL_S * self.crowd.random.uniform(0.8, 1.2)
        self.crowd.at(self.crowd.now_s + pause_s, self.compare)


class Crowd:
    """All members, and what is between them."""

    def __init__(self, random: Random, size: int, *, latency: Latency, loss: float) -> None:
        self.random = random
        self.now_s = 0.0
        self.latency = latency
        self.loss = loss
        self.frames: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()
        self._arrives_s: dict[tuple[int, int], float] = {}
        """When the last frame of each direction arrives."""
        self.members = [Member(self, number) for number in range(size)]
        for member in self.members:
            self.at(self.random.uniform(0.0, 1.0), member.read_roster)
            self.at(self.random.uniform(0.0, ANTI_ENTROPY_INTERVAL_S), member.compare)

    def sample(self, besides: int) -> list[int]:
        """Of those who are in the room, as far as replicas know, without one."""
        others = [member.number for member in self.members if member.alive and member.number != besides]
        return sorted(self.random.sample(others, min(MEMBERS_SAMPLE, len(others))))

    def at(self, at_s: float, call: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (at_s, next(self._numbers), call, arguments))

    def run(self, *, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, call, arguments = heapq.heappop(self._events)
            call(*arguments)
        self.now_s = until_s

    def send(self, source: int, target: int, method: str, *arguments: Any) -> None:
        self.frames[method] += 1
        if not self.members[target].alive:
            self.at(self.now_s + KEEPALIVE_TIMEOUT_S, self._arrive, source, "on_link_down", target)
            return
        delay_s, again_s = self.latency.draw(self.random), RETRANSMIT_FIRST_S
        while self.random.random() < self.loss:
            delay_s += again_s
            again_s = min(2 * again_s, RETRANSMIT_MAX_S)
        way = (source, target)
        arrives_s = self._arrives_s[way] = max(self._arrives_s.get(way, 0.0), self.now_s + delay_s)
        self.at(arrives_s, self._arrive, target, method, source, *arguments)

    def _arrive(self, target: int, method: str, source: int, *arguments: Any) -> None:
        member = self.members[target]
        if member.alive:
            getattr(member, method)(source, *arguments)

    def kill(self, numbers: Collection[int]) -> None:
        """They vanish without a word; their neighbours notice when the keep-alive does."""
        for number in numbers:
            self.members[number].alive = False
        for member in self.members:
            if member.alive:
                for peer in member.spreading.views.wanted:
                    if not self.members[peer].alive:
                        late_s = self.random.uniform(0.5, 1.0) * KEEPALIVE_TIMEOUT_S
                        self.at(self.now_s + late_s, self._arrive, member.number, "on_link_down", peer)
