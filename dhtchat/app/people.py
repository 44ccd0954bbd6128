"""Who is behind a name: pinned at first contact, looked up otherwise, never silently exchanged."""

from enum import Enum
from typing import NamedTuple

from dhtchat.app.core import Core
from dhtchat.chat.events import Warned
from dhtchat.dht.node import ClaimReading
from dhtchat.errors import NetworkTrouble, NoSuchUser, TooFewAnswered
from dhtchat.history.store import StoredPerson, keep_person
from dhtchat.ids import PeerId, fingerprint, parse_login
from dhtchat.limits import NAME_CHECK_CACHE_MAX, NAME_CHECK_RETRY_S, NAME_CHECK_VALID_S
from dhtchat.records.account import account_key


class Person(NamedTuple):
    """`name` as it is shown: with the fingerprint when the name alone would not be right."""

    name: str
    peer: PeerId


class Standing(Enum):
    """What we know of a claim to a name."""

    RIGHTFUL = "rightful"
    OTHERS = "others"
    """The name belongs to another key, or to nobody."""
    UNKNOWN = "unknown"
    """Too few nodes answered to say."""


class _Checked(NamedTuple):
    standing: Standing
    until_s: float


class People:
    """Names and keys. Pins live in the history file, answers of the DHT for some minutes in memory."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pins: dict[str, StoredPerson] = {}
        self._checked: dict[tuple[str, PeerId], _Checked] = {}
        self._warned: set[tuple[str, str, PeerId]] = set()

    async def load(self) -> None:
        self._pins = {person.name: person for person in await self._core.journal.read(self._core.store.people)}

    # --- what faces ask ---

    async def find(self, text: str, *, contact: bool = False) -> Person:
        """A person by what a user typed: `name` or `name#fingerprint`. Raises `NoSuchUser`, `BadName`, `NetworkTrouble`.

        `contact`: to talk with them, so pin the key of whoever owns the name.
        """
        login = parse_login(text)
        me = self._core.me
        if login.name == me.name and login.fingerprint in (None, fingerprint(me.peer)):
            return Person(me.name, me.peer)
        pin = self._pins.get(login.name)
        if pin is not None and login.fingerprint is None and self._is_fresh(login.name, PeerId(pin.peer)):
            return Person(login.name, PeerId(pin.peer))  # talk with somebody known does not wait for silent replicas
        try:
            reading = await self._read(login.name)
        except NetworkTrouble:
            if pin is None or login.fingerprint not in (None, fingerprint(pin.peer)):
                raise
            return Person(login.name, PeerId(pin.peer))
        if login.fingerprint is not None:
            keys = {record.key for record in reading.records} | ({pin.peer} if pin else set())
            for key in keys:
                if fingerprint(key) == login.fingerprint:
                    return Person(self.shown(login.name, PeerId(key)), PeerId(key))
            raise NoSuchUser(f"nobody called {login.name} has the fingerprint {login.fingerprint}")
        owner = reading.owner
        if pin is not None:
            if owner is not None and owner.key == pin.peer:
                self._remember(login.name, PeerId(pin.peer), Standing.RIGHTFUL)
            return Person(login.name, PeerId(pin.peer))
        if owner is None:
            if not reading.decision.certain:
                raise TooFewAnswered(f"too few nodes answered to find {login.name}")
            raise NoSuchUser(f"there is no user {login.name}")
        self._remember(login.name, PeerId(owner.key), Standing.RIGHTFUL)
        if contact:
            self._pin(login.name, PeerId(owner.key))
        return Person(login.name, PeerId(owner.key))

    async def account_of(self, name: str) -> ClaimReading:
        """What the replicas say about a name now."""
        return await self._read(name)

    def key_changed(self, name: str, reading: ClaimReading) -> bool:
        """Whether the key we pinned is not the one that owns the name now."""
        pin = self._pins.get(name)
        return pin is not None and reading.owner is not None and reading.owner.key != pin.peer

    def shown(self, name: str, peer: PeerId) -> str:
        """The name if it is known to be this key's, else `name#fingerprint`."""
        if name == self._core.me.name and peer == self._core.me.peer:
            return name
        pin = self._pins.get(name)
        if pin is not None:
            rightful = pin.peer == peer
        else:
            checked = self._checked.get((name, peer))
            rightful = checked is not None and checked.standing is Standing.RIGHTFUL
        return name if rightful else f"{name}#{fingerprint(peer)}"

    def name_of(self, peer: PeerId) -> str:
        """By a key alone: the name it is pinned under or was seen with, else its fingerprint."""
        if peer == self._core.me.peer:
            return self._core.me.name
        pinned = next((pin.name for pin in self._pins.values() if pin.peer == peer), None)
        seen = pinned or next((name for name, key in self._checked if key == peer), None)
        return self.shown(seen, peer) if seen else fingerprint(peer)

    def pinned(self) -> list[Person]:
        return [Person(pin.name, PeerId(pin.peer)) for pin in self._pins.values()]

    def is_pinned(self, name: str, peer: PeerId) -> bool:
        """Whether we have had to do with this person."""
        pin = self._pins.get(name)
        return pin is not None and pin.peer == peer

    def is_ignored(self, peer: PeerId) -> bool:
        return any(pin.ignored and pin.peer == peer for pin in self._pins.values())

    def set_ignored(self, person: Person, ignored: bool) -> None:
        name = parse_login(person.name).name
        self._pin(name, person.peer)
        pin = self._pins[name]
        if pin.peer == person.peer:
            self._pins[name] = pin._replace(ignored=ignored)
            self._core.journal.write(keep_person(self._pins[name]))

    # --- what arrives ---

    async def check(self, name: str, peer: PeerId, *, contact: bool = False) -> Standing:
        """Whether a name that somebody signs with is theirs. `contact`: we hear from them, so pin the key if it is."""
        if name == self._core.me.name and peer == self._core.me.peer:
            return Standing.RIGHTFUL
        pin = self._pins.get(name)
        if pin is not None:
            if pin.peer == peer:
                return Standing.RIGHTFUL
            if contact:
                self._warn_key_changed(name, peer)
            return Standing.OTHERS
        standing = await self._standing(name, peer)
        if standing is Standing.RIGHTFUL and contact:
            self._pin(name, peer)
        return standing

    async def _standing(self, name: str, peer: PeerId) -> Standing:
        known = self._checked.get((name, peer))
        if known is not None and known.until_s > self._core.now_s():
            return known.standing
        try:
            reading = await self._read(name)
        except NetworkTrouble:
            standing = Standing.UNKNOWN
        else:
            if name == self._core.me.name and any(record.key == peer for record in reading.records):
                # Somebody goes by our name who has a claim to it: after a split both of us had it. The votes may long be
                # settled, so that nothing is contested any more.
                self._warn_conflict(name)
            if reading.owner is not None and reading.owner.key == peer:
                standing = Standing.RIGHTFUL
            else:
                standing = Standing.OTHERS if reading.decision.certain else Standing.UNKNOWN
        self._remember(name, peer, standing)
        return standing

    def _is_fresh(self, name: str, peer: PeerId) -> bool:
        """Whether the replicas said lately that the name is this key's."""
        known = self._checked.get((name, peer))
        return known is not None and known.standing is Standing.RIGHTFUL and known.until_s > self._core.now_s()

    async def _read(self, name: str) -> ClaimReading:
        reading = await self._core.dht.read_claims(account_key(name))
        mine = name == self._core.me.name
        if reading.owner is not None and self.key_changed(name, reading):
            self._checked.pop((name, PeerId(self._pins[name].peer)), None)
            self._warn_key_changed(name, PeerId(reading.owner.key))
        lost = mine and reading.owner is not None and reading.owner.key != self._core.me.peer
        if lost or (reading.decision.contested and (mine or name in self._pins)):
            self._warn_conflict(name)
        return reading

    def _remember(self, name: str, peer: PeerId, standing: Standing) -> None:
        if len(self._checked) >= NAME_CHECK_CACHE_MAX:
            now_s = self._core.now_s()
            self._checked = {key: known for key, known in self._checked.items() if known.until_s > now_s}
            while len(self._checked) >= NAME_CHECK_CACHE_MAX:
                del self._checked[next(iter(self._checked))]
        valid_s = NAME_CHECK_VALID_S if standing is Standing.RIGHTFUL else NAME_CHECK_RETRY_S
        self._checked[name, peer] = _Checked(standing, self._core.now_s() + valid_s)

    def _pin(self, name: str, peer: PeerId) -> None:
        if name not in self._pins:
            self._pins[name] = StoredPerson(name, peer, int(self._core.wall_s()), ignored=False)
            self._core.journal.write(keep_person(self._pins[name]))

    def _warn_conflict(self, name: str) -> None:
        self._warn_once(
            "name-conflict",
            name,
            PeerId(b""),
            f"two people hold the name {name}",
            "Compare fingerprints with /whois; name#fingerprint addresses one of them.",
        )

    def _warn_key_changed(self, name: str, peer: PeerId) -> None:
        self._warn_once(
            "key-changed",
            name,
            peer,
            f"somebody with another key now goes by the name {name}",
            f"Until you have checked with {name} that {fingerprint(peer)} is theirs, treat it as a stranger's.",
        )

    def _warn_once(self, code: str, name: str, peer: PeerId, message: str, hint: str) -> None:
        if (code, name, peer) not in self._warned:
            self._warned.add((code, name, peer))
            self._core.emit(Warned(code=code, message=message, hint=hint))  # type: ignore[arg-type]
