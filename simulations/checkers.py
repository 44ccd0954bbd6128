"""What must hold at the end of any run, by the names of the contract. Each looks once over what was typed and seen: O(n)."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dhtchat.app.inspection import Sizes
from dhtchat.chat.events import MessageArrived
from dhtchat.limits import (
    GUEST_NEIGHBOURS,
    HELD_MESSAGES_MAX,
    HELD_WAIT_S,
    LINKS_MAX,
    MAIL_STORED_BYTES_MAX,
    MAIL_STORED_ENTRIES_MAX,
    MESSAGES_PARKED_MAX,
    OUTBOX_ENTRIES_MAX,
    OWN_NEIGHBOURS,
    RULINGS_PER_ROOM_MAX,
    STORAGE_BYTES_MAX,
    STORAGE_ENTRIES_MAX,
)
from dhtchat.records.message import Statement, open_statement

from .findings import Findings
from .stage import Player, Seen, Stage


class Delivery(NamedTuple):
    """Lines: typed, owed (one per line and person entitled who is there in the end), shown, missing, shown twice."""

    sent: int
    expected: int
    delivered: int
    lost: int
    duplicates: int
    delays_s: list[float]


class Evidence:
    """What the checkers look at, gathered once while the nodes still run."""

    def __init__(self, world: Stage, findings: Findings) -> None:
        self.world = world
        self.findings = findings
        network_id = world.parameters.network_id
        self.everything: dict[bytes, Statement] = {}
        """All statements on all disks."""
        for raw in findings.raw.values():
            statement = open_statement(raw, network_id)
            self.everything[statement.id] = statement
        self.held: dict[str, dict[bytes, Statement]] = {
            name: {bytes.fromhex(each): self.everything[bytes.fromhex(each)] for each in ids}
            for name, ids in findings.held.items()
        }
        """Per person who is there in the end: all statements on their disk."""

    def present(self) -> Iterator[Player]:
        """Those who are online in the end."""
        return (person for person in self.world.people.values() if person.name in self.held)


def measure_delivery(world: Stage) -> Delivery:
    """Match what was typed with what was shown, by author, target and text: scenarios never type a text twice."""
    shown: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for person in world.people.values():
        for seen in person.messages():
            event = seen.event
            assert isinstance(event, MessageArrived)
            shown[person.name, event.sender, event.text].append(seen.at_s)
    sent = expected = delivered = duplicates = 0
    delays_s: list[float] = []
    for author in world.people.values():
        for said in author.said:
            sent += 1
            for name in said.entitled:
                times = shown.get((name, author.account, said.text), [])
                if times:
                    delivered += 1
                    duplicates += len(times) - 1
                    delays_s.append(times[0] - said.at_s)
                if times or world.people[name].present:
                    expected += 1
    return Delivery(sent, expected, delivered, expected - delivered, duplicates, delays_s)


# --- the invariants: each yields what is wrong ------------------------------------------------------------------------


def nothing_acknowledged_lost(evidence: Evidence) -> Iterator[str]:
    """A line shown as delivered lies on a disk of as many people as its author was told, on whichever of their devices."""
    holders: dict[str, set[str]] = defaultdict(set)
    for person in evidence.present():
        for held in evidence.held[person.name]:
            holders[held.hex()].add(person.account)
    gone = {person.account for person in evidence.world.people.values() if not person.present}
    for person in evidence.present():
        for statement_id, changes in person.states().items():
            promised = max((change.delivered_to or 1 for change in changes if change.state == "delivered"), default=0)
            others = holders[statement_id] - {person.account}
            if promised > len((others | gone) - {person.account}):
                yield f"{person.name}: {statement_id[:8]} was delivered to {promised}, {len(others)} have it"


def nothing_twice(evidence: Evidence) -> Iterator[str]:
    """No line is shown twice to a person, not in another life of the process either."""
    for person in evidence.world.people.values():
        known: set[str] = set()
        for seen in person.messages():
            assert isinstance(seen.event, MessageArrived)
            if seen.event.id in known:
                yield f"{person.name}: {seen.event.text!r} was shown twice"
            known.add(seen.event.id)


def nothing_forged(evidence: Evidence) -> Iterator[str]:
    """Every line shown under a name without a mark was typed by that person."""
    typed = {(author.account, said.text) for author in evidence.world.people.values() for said in author.said}
    for person in evidence.world.people.values():
        for seen in person.messages():
            event = seen.event
            assert isinstance(event, MessageArrived)
            if "#" not in event.sender and (event.sender, event.text) not in typed:
                yield f"{person.name}: {event.sender} never said {event.text!r}"


def _given_up_at_s(person: Player) -> frozenset[float]:
    """When lines came out that had been seen waiting for others for so long that the protocol gives up on those; with each
    come those that it follows and that wait as well."""
    return frozenset(
        seen.at_s
        for seen in person.messages()
        if isinstance(seen.event, MessageArrived)
        and seen.at_s - person.held_since.get((seen.boot, seen.event.id), math.inf) >= HELD_WAIT_S
    )


def author_order(evidence: Evidence) -> Iterator[str]:
    """Within one life of a screen, the lines typed at each device in one talk come in the order of typing, unless a later
    one was shown because an earlier one had been given up on."""
    order = {
        (author.account, said.target if said.target.startswith("#") else "", said.text): (author.name, number)
        for author in evidence.world.people.values()
        for number, said in enumerate(author.said)
    }
    for person in evidence.world.people.values():
        given_up_at_s = _given_up_at_s(person)
        last: dict[tuple[int, str, str | None, str | None], int] = {}
        for seen in person.messages():
            event = seen.event
            assert isinstance(event, MessageArrived)
            typed = order.get((event.sender, event.room or "", event.text))
            if typed is not None:
                device, number = typed
                key = (seen.boot, device, event.room, event.recipient)
                if number < last.get(key, -1):
                    yield f"{person.name}: {event.sender}'s {event.text!r} came after a later line"
                if seen.at_s not in given_up_at_s:
                    last[key] = max(number, last.get(key, -1))


def causal_order(evidence: Evidence) -> Iterator[str]:
    """Nothing is shown before what its author had seen, where both are shown in one life of a screen, unless that had
    been given up on."""
    for person in evidence.world.people.values():
        position: dict[tuple[int, str], int] = {}
        given_up_at_s = _given_up_at_s(person)
        shown: list[Seen] = person.messages()
        for number, seen in enumerate(shown):
            assert isinstance(seen.event, MessageArrived)
            position.setdefault((seen.boot, seen.event.id), number)
        for number, seen in enumerate(shown):
            assert isinstance(seen.event, MessageArrived)
            statement = evidence.everything.get(bytes.fromhex(seen.event.id))
            for parent in statement.body.parents if statement else ():
                late = position.get((seen.boot, parent.hex()), -1) > number
                if late and seen.at_s not in given_up_at_s:
                    yield f"{person.name}: {seen.event.text!r} was shown before what it answers"


def convergence(evidence: Evidence) -> Iterator[str]:
    """Everybody who was in a room all the time and is there in the end holds the same lines of it."""
    rooms: dict[str, dict[str, frozenset[bytes]]] = defaultdict(dict)
    for name, entered in evidence.findings.rooms.items():
        for room, conversation in entered.items():
            held = evidence.held[name].values()
            rooms[room][name] = frozenset(s.id for s in held if s.conversation == conversation)
    for room, holdings in sorted(rooms.items()):
        union = frozenset().union(*holdings.values())
        for name, lines in sorted(holdings.items()):
            if lines != union:
                yield f"{name} lacks {len(union - lines)} of {len(union)} lines of {room}"


def one_owner_per_name(evidence: Evidence) -> Iterator[str]:
    """All nodes that hold claims for a name vote for the same one in the end."""
    votes: dict[str, set[str]] = defaultdict(set)
    for key, owner in evidence.findings.votes:
        votes[key].add(owner)
    for key, owners in sorted(votes.items()):
        if len(owners) > 1:
            yield f"name {key[:8]} has {len(owners)} owners"


def sequence_never_back(evidence: Evidence) -> Iterator[str]:
    """No node has replaced a record by an older one. The storages count what they refuse; they must never do it."""
    for name in evidence.findings.went_back:
        yield f"{name} went back in a sequence"


def bounds_kept(evidence: Evidence) -> Iterator[str]:
    """Every table, queue and store is within its bound of `limits.py`."""
    for name, sizes in evidence.findings.sizes.items():
        bounds = Sizes(
            LINKS_MAX,
            STORAGE_ENTRIES_MAX,
            STORAGE_BYTES_MAX,
            OUTBOX_ENTRIES_MAX,
            HELD_MESSAGES_MAX,
            MAIL_STORED_ENTRIES_MAX,
            MAIL_STORED_BYTES_MAX,
            RULINGS_PER_ROOM_MAX,
            MESSAGES_PARKED_MAX,
            OWN_NEIGHBOURS + 1 + GUEST_NEIGHBOURS,
        )
        for what, size, bound in zip(Sizes._fields, sizes, bounds, strict=True):
            if size > bound:
                yield f"{name}: {size} {what}, at most {bound} allowed"


INVARIANTS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "nothing-acknowledged-lost": nothing_acknowledged_lost,
    "nothing-twice": nothing_twice,
    "nothing-forged": nothing_forged,
    "author-order": author_order,
    "causal-order": causal_order,
    "convergence": convergence,
    "one-owner-per-name": one_owner_per_name,
    "sequence-never-back": sequence_never_back,
    "bounds-kept": bounds_kept,
}
NO_TASK_LEFT = "no-task-left"
"""Checked by the runner, after everything has stopped."""
