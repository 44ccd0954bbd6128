"""Each invariant finds a violation made by hand, and nothing where there is none: a checker that sees nothing would make
every simulated run green."""

import asyncio
import random
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dhtchat.app.inspection import Sizes
from dhtchat.chat.events import MessageArrived, StatusChanged
from dhtchat.crypto.identity import SigningKey
from dhtchat.limits import HELD_WAIT_S, LINKS_MAX
from dhtchat.parameters import SIM
from dhtchat.records.device import DeviceCertificate, open_certificate
from dhtchat.records.envelope import sign_body
from dhtchat.records.message import Message, Say, Statement, sign_statement
from simulations.checkers import INVARIANTS, Evidence, measure_delivery
from simulations.findings import Findings
from simulations.stage import Player, Said, Seen, Stage

ROOM = "#room"
CONVERSATION = b"c" * 32


class Actor(Player):
    """Somebody who is there and does nothing."""

    def __init__(self, name: str, account: str | None = None) -> None:
        super().__init__(name, asyncio.get_running_loop(), account=account)
        self.there = True

    @property
    def running(self) -> bool:
        return self.there

    @property
    def present(self) -> bool:
        return self.there

    @property
    def online(self) -> bool:
        return self.there

    async def start(self, *, wait_s: float = 120.0) -> None: ...
    async def leave(self) -> None: ...
    async def crash(self) -> None: ...
    async def restart(self) -> None: ...
    async def join(self, room: str) -> None: ...
    async def say(self, target: str, text: str, entitled: Iterable[str]) -> None: ...


class Story:
    """Alice says two lines in a room, bob and carol see them: nothing is wrong. Each test breaks one thing."""

    def __init__(self) -> None:
        self.people = {name: Actor(name) for name in ("alice", "bob", "carol")}
        self.findings = Findings()
        rng = random.Random(1)
        self._device = SigningKey.generate(rng)
        identity = SigningKey.generate(rng)
        certificate = DeviceCertificate("alice", self._device.public, 1)
        self._certificate = sign_body(certificate, identity, SIM.network_id).raw
        self._said: list[Statement] = []
        self.first, self.second = self.say("first", 1.0), self.say("second", 2.0)
        for name in self.people:
            self.hold(name, [self.first, self.second])
            self.findings.sizes[name] = Sizes(*[0] * len(Sizes._fields))
        for name in ("bob", "carol"):
            self.show(name, self.first)
            self.show(name, self.second)
        self.findings.votes = [("ab" * 20, "owner"), ("ab" * 20, "owner")]
        for statement in (self.first, self.second):
            status = StatusChanged(id=statement.id.hex(), state="delivered", delivered_to=2, members=2)
            self.people["alice"].seen.append(Seen(3.0, 1, status))

    def say(self, text: str, at_s: float) -> Statement:
        self.people["alice"].said.append(Said(at_s, text, ROOM, frozenset({"bob", "carol"})))
        before = [statement.id for statement in self._said[-1:]]
        message = Message(
            certificate=self._certificate,
            direct=False,
            target=CONVERSATION,
            recipient="",
            counter=len(self._said) + 1,
            previous=before[0] if before else b"",
            parents=list(before),
            sent_at_ms=1,
            content=Say(text),
        )
        author = open_certificate(self._certificate, SIM.network_id)
        statement = sign_statement(message, self._device, author, SIM.network_id)
        self._said.append(statement)
        return statement

    def hold(self, name: str, statements: list[Statement]) -> None:
        """What lies on somebody's disk."""
        self.findings.held[name] = [statement.id.hex() for statement in statements]
        self.findings.raw |= {statement.id.hex(): statement.raw for statement in statements}
        self.findings.rooms[name] = {ROOM: CONVERSATION}

    def show(self, name: str, statement: Statement, *, sender: str = "alice", boot: int = 1) -> None:
        content = statement.body.content
        assert isinstance(content, Say)
        event = MessageArrived(
            id=statement.id.hex(),
            kind="room",
            room=ROOM,
            sender=sender,
            recipient=None,
            text=content.text,
            sent_at="",
            delayed=False,
            own=False,
        )
        self.people[name].seen.append(Seen(5.0, boot, event))

    @property
    def stage(self) -> Stage:
        return cast(Stage, SimpleNamespace(people=self.people, parameters=SIM))

    def violated(self) -> list[str]:
        evidence = Evidence(self.stage, self.findings)
        return [name for name, check in INVARIANTS.items() if list(check(evidence))]


@pytest.fixture
async def story() -> Story:
    return Story()


async def test_nothing_is_found_where_nothing_is_wrong(story: Story) -> None:
    assert story.violated() == []
    delivery = measure_delivery(story.stage)
    assert (delivery.sent, delivery.expected, delivery.delivered) == (2, 4, 4)
    assert (delivery.lost, delivery.duplicates) == (0, 0)


def lose_what_was_acknowledged(story: Story) -> None:
    for name in ("bob", "carol"):
        story.hold(name, [story.first])
    story.hold("alice", [story.first])  # convergent, and gone


def show_a_line_twice(story: Story) -> None:
    story.show("bob", story.second)


def show_it_again_after_a_restart(story: Story) -> None:
    story.show("bob", story.second, boot=2)


def show_what_was_never_said(story: Story) -> None:
    story.people["alice"].said.pop()


def show_it_under_another_name(story: Story) -> None:
    seen = story.people["bob"].seen
    del seen[-1]
    story.show("bob", story.second, sender="carol")


def show_lines_the_wrong_way_round(story: Story) -> None:
    story.people["bob"].seen.reverse()


def forget_a_line_of_a_room(story: Story) -> None:
    story.hold("carol", [story.second])


def vote_for_another_owner(story: Story) -> None:
    story.findings.votes.append(("ab" * 20, "thief"))


def go_back_in_a_sequence(story: Story) -> None:
    story.findings.went_back.append("node-3")


def keep_too_many_links(story: Story) -> None:
    story.findings.sizes["bob"] = story.findings.sizes["bob"]._replace(**{Sizes._fields[0]: LINKS_MAX + 1})


@pytest.mark.parametrize(
    "break_it, found",
    [
        (lose_what_was_acknowledged, {"nothing-acknowledged-lost"}),
        (show_a_line_twice, {"nothing-twice"}),
        (show_it_again_after_a_restart, {"nothing-twice"}),
        (show_what_was_never_said, {"nothing-forged"}),
        (show_it_under_another_name, {"nothing-forged"}),
        (show_lines_the_wrong_way_round, {"author-order", "causal-order"}),
        (forget_a_line_of_a_room, {"convergence", "nothing-acknowledged-lost"}),
        (vote_for_another_owner, {"one-owner-per-name"}),
        (go_back_in_a_sequence, {"sequence-never-back"}),
        (keep_too_many_links, {"bounds-kept"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_each_violation_is_found_by_its_name(
    story: Story, break_it: Callable[[Story], None], found: set[str]
) -> None:
    break_it(story)
    assert set(story.violated()) == found


async def test_every_invariant_is_broken_by_some_test_here() -> None:
    marks: Any = test_each_violation_is_found_by_its_name
    (parametrized,) = (mark for mark in marks.pytestmark if mark.name == "parametrize")
    assert set().union(*(found for _, found in parametrized.args[1])) == set(INVARIANTS)


async def test_a_line_that_never_came_is_lost_and_one_that_came_twice_a_duplicate(story: Story) -> None:
    story.people["bob"].seen.pop()
    story.show("carol", story.first)
    delivery = measure_delivery(story.stage)
    assert (delivery.lost, delivery.duplicates) == (1, 1)


async def test_who_is_away_in_the_end_is_owed_nothing(story: Story) -> None:
    story.people["bob"].seen.clear()
    story.people["bob"].there = False
    delivery = measure_delivery(story.stage)
    assert (delivery.expected, delivery.lost) == (2, 0)


async def test_holders_who_have_left_may_be_the_ones_who_acknowledged(story: Story) -> None:
    """One is away, with what was acknowledged on a disk that nobody can look at."""
    story.people["bob"].there = False
    for told in (story.findings.held, story.findings.rooms, story.findings.sizes):
        told.pop("bob")  # type: ignore[attr-defined]
    assert story.violated() == []


async def test_two_devices_that_have_a_line_are_one_person_who_has_it(story: Story) -> None:
    """Alice was told that two have it: bob has, on both of his devices, and carol has not."""
    story.people["laptop"] = Actor("laptop", account="bob")
    story.hold("laptop", [story.first, story.second])
    assert story.violated() == []
    story.hold("carol", [story.first])
    assert set(story.violated()) == {"convergence", "nothing-acknowledged-lost"}


async def test_lines_of_two_devices_are_in_order_device_by_device(story: Story) -> None:
    """Typed at the other device of alice, and with two people in private: neither has a place among the others."""
    story.people["laptop"] = laptop = Actor("laptop", account="alice")
    laptop.said.append(Said(0.5, "from the laptop", ROOM, frozenset()))
    story.show("bob", story.say("from the laptop", 0.5))
    story.people["alice"].said.pop()
    assert "author-order" not in story.violated()
    story.show("bob", story.first, boot=2)
    story.people["bob"].seen.insert(0, story.people["bob"].seen[1]._replace(boot=2))
    assert "author-order" in story.violated()


@pytest.mark.parametrize("waited_s, given_up", [(HELD_WAIT_S - 1, False), (HELD_WAIT_S, True)])
async def test_a_line_may_come_before_what_nobody_could_supply(story: Story, waited_s: float, given_up: bool) -> None:
    bob = story.people["bob"]
    bob.seen.reverse()
    bob.held_since[1, story.second.id.hex()] = bob.seen[0].at_s - waited_s
    assert ({"author-order", "causal-order"} <= set(story.violated())) is not given_up
