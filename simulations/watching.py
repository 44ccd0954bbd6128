"""What can only be seen while it happens: whether a promise holds at the moment it is made, and whether time runs backwards.

The checkers look once at the end, when most wounds have healed: an acknowledgement that left too early is filled by the
next comparison of histories. A `RunWatch` looks at the disks when a screen says something about them, and at what the
replicas hold every second.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple
from weakref import WeakKeyDictionary

from dhtchat.chat.events import ErrorShown, Event, MessageArrived, StatusChanged
from dhtchat.dht.storage import RecordStorage, claim_of
from dhtchat.ids import PeerId
from dhtchat.records.kinds import is_durable
from dhtchat.records.message import Say, open_statement

from .world import Person, World

SAMPLE_S = 1.0
"""How often the replicas are looked at: a record that went back stays so until its owner refreshes it, tens of seconds."""

WATCHED = ("read-your-writes", "status-never-back", "nothing-kept-back", "members-only")
"""Invariants that are checked while a run goes on, and nowhere else; the last one by `hostile.Intruder`."""

_ORDER = ("queued", "sent", "stored", "delivered", "read")


class RunWatch:
    """Everything it finds goes to `world.recorder.violations`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._on_disk: set[tuple[str, str]] = set()
        """Person and statement id: what was seen on a disk once."""
        self._states: dict[tuple[str, int, str], tuple[int, int]] = {}
        """Per person, life and statement id: how far it was, and how many had it."""
        self._sequences: WeakKeyDictionary[RecordStorage, dict[_Slot, int]] = WeakKeyDictionary()
        self._times_far_off: dict[str, int] = {}
        """Per person, how often their clock had been when it was last looked at, but for the time that is not over."""
        self.unshown: dict[str, set[str]] = {}
        """Per person the lines that a crash took between the disk and the screen."""
        world.watches.append(self)
        world.spawn(self._sample(), "watch")

    # --- screens (world.Watch) ---

    def on_event(self, person: Person, event: Event) -> None:
        match event:
            case MessageArrived(id=id_):
                if not self._is_on_disk(person, id_):
                    self._report("read-your-writes", f"{person.name} was shown {event.text!r} before it was on disk")
            case StatusChanged(id=id_, state=state):
                self._check_state(person, event)
                if state == "delivered":
                    promised = event.delivered_to or 1
                    others = [other for other in self._world.people.values() if other.account != person.account]
                    have = len({other.account for other in others if self._is_on_disk(other, id_)})
                    if have < promised:
                        self._report(
                            "nothing-acknowledged-lost",
                            f"{person.name} was told that {promised} have {id_[:8]} on disk when {have} had",
                        )

    def on_crash(self, person: Person) -> None:
        screen = {seen.event.id for seen in person.messages() if isinstance(seen.event, MessageArrived)}
        self.unshown.setdefault(person.name, set()).update(shown_on_disk(person) - screen)

    def _check_state(self, person: Person, event: StatusChanged) -> None:
        key = (person.name, person.boot, event.id)
        now = (_ORDER.index(event.state), event.delivered_to or 0)
        before = self._states.get(key, (0, 0))
        if now[0] < before[0] or now[1] < before[1]:
            self._report("status-never-back", f"{person.name}: {event.id[:8]} went from {before} to {now}")
        self._states[key] = now

    def _is_on_disk(self, person: Person, statement_id: str) -> bool:
        if (person.name, statement_id) not in self._on_disk:
            sql = "SELECT 1 FROM statements WHERE id=?"
            if not any(rows for rows in _query(person, sql, bytes.fromhex(statement_id))):
                return False
            self._on_disk.add((person.name, statement_id))
        return True

    def finish(self) -> None:
        """Once all faults are over and everybody is back: what was promised at any time still holds."""
        disks = {name: _ids_on_disk(person) for name, person in self._world.people.items()}
        accounts = {p.node.inspection.peer: p.account for p in self._world.people.values() if p.node is not None}
        for person in self._world.people.values():
            if person.node is None or not person.node.is_online:
                continue
            self._check_receipts(person, disks, accounts)
            self._check_screen(person, disks[person.name])
            self._check_typed(person)

    def _check_receipts(self, person: Person, disks: dict[str, set[str]], accounts: dict[PeerId, str]) -> None:
        """Whichever of their devices it was that said so."""
        assert person.node is not None
        people = self._world.people.values()
        for statement_id, peers in person.node.inspection.receipts().items():
            for name in sorted(accounts[PeerId(peer)] for peer in peers if peer in accounts):
                if not any(statement_id.hex() in disks[other.name] for other in people if other.account == name):
                    what = f"{person.name} keeps a receipt of {name} for {statement_id.hex()[:8]}, which {name} has not"
                    self._report("nothing-acknowledged-lost", what)

    def _check_screen(self, person: Person, disk: set[str]) -> None:
        """Nothing shown is forgotten, and what lies there as shown was, unless a crash came between disk and screen."""
        screen = {seen.event.id: seen.event for seen in person.messages() if isinstance(seen.event, MessageArrived)}
        for lost in screen.keys() - disk:
            self._report("read-your-writes", f"{person.name} was shown {screen[lost].text!r}, which is no longer there")
        dark = shown_on_disk(person) - screen.keys() - self.unshown.get(person.name, set())
        if dark:
            self._report(
                "nothing-kept-back", f"{person.name} was never shown {len(dark)} lines, one of them {min(dark)[:8]}"
            )

    def _check_typed(self, person: Person) -> None:
        """What was typed and not refused is on the author's own screen. A crash may take what was typed just before."""
        own = {
            seen.event.text for seen in person.messages() if isinstance(seen.event, MessageArrived) and seen.event.own
        }
        refused = {seen.boot for seen in person.seen if isinstance(seen.event, ErrorShown)}
        for said in person.said:
            if said.text not in own and said.boot not in refused | person.crashes:
                self._report("read-your-writes", f"{person.name} typed {said.text!r} and never saw it")

    # --- replicas ---

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            for name, node in self._world.nodes.items():
                self._look(name, node.storage)
            for person in self._world.people.values():
                if person.node is not None and person.node.is_online:
                    clock = person.host.clock
                    storage = person.node.inspection.storage
                    if clock.far_off_s or clock.times_far_off > self._times_far_off.get(person.name, 0):
                        self._times_far_off[person.name] = clock.times_far_off - bool(clock.far_off_s)
                        self._forget_mortal(storage)
                    self._look(person.name, storage)
                    held = person.node.inspection.held_since().items()
                    person.held_since |= {(person.boot, each.hex()): since_s for each, since_s in held}

    def _forget_mortal(self, storage: RecordStorage) -> None:
        """A clock was wrong by more than CLOCK_SKEW_S: for that long it is not promised to remember what dies."""
        known = self._sequences.get(storage, {})
        for slot in [slot for slot in known if not slot.durable]:
            del known[slot]

    def _look(self, name: str, storage: RecordStorage) -> None:
        known = self._sequences.setdefault(storage, {})
        for slot, sequence in _slots(storage):
            if sequence < known.get(slot, 0):
                self._report("sequence-never-back", f"{name} went back from {known[slot]} to {sequence}")
            known[slot] = sequence

    def _report(self, name: str, what: str) -> None:
        self._world.recorder.violations.append(f"{name}: {what}")


class _Slot(NamedTuple):
    """Where a record stands."""

    place: bytes
    durable: bool


def _slots(storage: RecordStorage) -> Iterator[tuple[_Slot, int]]:
    """What a replica would give to readers now: where each record stands, and its sequence number."""
    for key in storage.claim_keys():
        for claim in storage.claims(key):
            yield _Slot(key + claim_of(claim), True), claim.body.sequence
    for key in storage.entry_keys():
        for entry, *_ in storage.mortal_entries(key):
            entry_id = entry.body.entry_id(entry.key) if not is_durable(entry) else b""  # type: ignore[union-attr]
            yield _Slot(key + entry_id, False), entry.body.sequence


def shown_on_disk(person: Person) -> set[str]:
    """Ids of the lines that a person's disk has as shown. A topic is a statement, too, but no line."""
    found = _query(person, "SELECT id, raw FROM statements WHERE shown=1 AND hidden=0")
    return {
        statement_id.hex()
        for rows in found
        for statement_id, raw in rows
        if isinstance(open_statement(raw, person.network_id).body.content, Say)
    }


def _ids_on_disk(person: Person) -> set[str]:
    found = _query(person, "SELECT id FROM statements")
    return {row[0].hex() for rows in found for row in rows}


def _query(person: Person, sql: str, *values: bytes) -> Iterator[list[tuple[bytes, ...]]]:
    """From outside, as it is committed; the process may run or not."""
    for path in sorted(person.host.disk.glob("**/history.db")):
        with closing(sqlite3.connect(path)) as database:
            yield database.execute(sql, values).fetchall()
