"""Soft entries: the newest version counts, a goodbye is final, all dies in time, and nobody can crowd out others."""

import itertools
import random

import pytest

from dhtchat.chat.entries import DeviceEntries
from dhtchat.ids import DeviceId, PeerDevice, PeerId
from dhtchat.limits import CLOCK_SKEW_S, DEVICES_PER_OWNER_MAX, MEMBERS_MAX, RECONCILE_GRACE_S
from dhtchat.records.membership import Membership
from tests.chat.statements import NOW_S, ROOM

TTL_S = 120


def body(sequence: int = 1, *, gone: bool = False, name: str = "alice", device: bytes = b"d" * 32) -> Membership:
    return Membership(ROOM, name, device, sequence, NOW_S, TTL_S, gone)


def a_device(peer: int = 0, device: int = 0) -> PeerDevice:
    return PeerDevice(PeerId(peer.to_bytes(32, "big")), DeviceId(device.to_bytes(32, "big")))


WHO = a_device()


def learn(entries: DeviceEntries[Membership], record: Membership, *, who: PeerDevice = WHO, now_s: float = 0.0) -> bool:
    return entries.learn(who, record, life_s=TTL_S, now_s=now_s)


def test_in_any_order_the_newest_version_counts_and_a_goodbye_hides_what_is_older() -> None:
    """Announced by neighbours and listed by replicas that lag: the order of arrival decides nothing."""
    versions = [body(1, name="one"), body(2, name="two"), body(3, gone=True), body(4, name="four")]
    for chosen in (versions[:3], versions):
        for order in itertools.permutations(chosen):
            entries: DeviceEntries[Membership] = DeviceEntries()
            for version in order:
                learn(entries, version)
            assert list(entries.people().values()) == ([] if len(chosen) == 3 else ["four"]), order


def test_what_is_news_is_said_once() -> None:
    """A repetition, an older version and one that a goodbye hides are no news."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    assert learn(entries, body(2))
    assert not learn(entries, body(2))
    assert not learn(entries, body(1))
    assert learn(entries, body(3, gone=True))
    assert not learn(entries, body(3, gone=True))
    assert not learn(entries, body(2))
    assert learn(entries, body(4))


def test_a_goodbye_is_remembered_as_long_as_an_older_copy_could_live() -> None:
    """design.md: "Tombstones and highest-seen sequence numbers are kept as long, so that a record that was left behind
    cannot be replayed": until ttl and skew of clocks are over."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    learn(entries, body(2, gone=True))
    for now_s in (TTL_S + 1.0, TTL_S + CLOCK_SKEW_S - 1.0):
        entries.expire(now_s)
        assert not learn(entries, body(1), now_s=now_s)
        assert len(entries) == 0
    entries.expire(TTL_S + CLOCK_SKEW_S)
    assert learn(entries, body(1), now_s=TTL_S + CLOCK_SKEW_S)


def test_a_goodbye_in_another_set_buries_and_never_digs_up() -> None:
    """The later of two goodbyes counts, and neither takes away a newer entry."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    entries.bury(WHO, 5, until_s=100.0)
    entries.bury(WHO, 3, until_s=50.0)
    entries.expire(60.0)
    assert not learn(entries, body(4), now_s=60.0)
    assert learn(entries, body(6), now_s=60.0)
    entries.bury(WHO, 5, until_s=1000.0)
    assert len(entries) == 1


def test_an_entry_dies_in_its_time_and_a_repetition_keeps_it() -> None:
    """A crash shows at the end of the ttl; hearing the same version again tells how long it still lives."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    learn(entries, body())
    entries.expire(TTL_S - 1.0)
    assert len(entries) == 1
    learn(entries, body(), now_s=TTL_S - 1.0)
    entries.expire(2 * TTL_S - 2.0)
    assert len(entries) == 1
    entries.expire(2 * TTL_S)
    assert len(entries) == 0


def test_what_arrives_dead_is_nothing() -> None:
    """No life left: neither an entry nor news, and what was known stays."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    assert not entries.learn(WHO, body(1), life_s=0.0, now_s=0.0)
    assert len(entries) == 0
    learn(entries, body(1))
    assert not entries.learn(WHO, body(2), life_s=-1.0, now_s=0.0)
    assert len(entries) == 1


@pytest.mark.parametrize(
    ("listed", "linked", "age_s", "stays"),
    [
        (True, False, 1000.0, True),
        (False, True, 1000.0, True),
        (False, False, RECONCILE_GRACE_S / 2, True),
        (False, False, RECONCILE_GRACE_S + 1, False),
    ],
)
def test_after_a_reading_only_the_listed_the_linked_and_the_new_stay(
    listed: bool, linked: bool, age_s: float, stays: bool
) -> None:
    """What a neighbour has just announced the replicas may not have yet."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    learn(entries, body())
    entries.reconcile({WHO} if listed else set(), {WHO} if linked else set(), age_s)
    assert len(entries) == stays


def test_nobody_can_replace_or_bury_the_entry_of_another_person() -> None:
    """Anybody can sign a record that names somebody else's device, with the highest of numbers."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    mallory = WHO._replace(peer=PeerId(b"m" * 32))
    learn(entries, body(1))
    learn(entries, body(2**62 - 1, name="mallory"), who=mallory)
    assert entries.people() == {WHO.peer: "alice", mallory.peer: "mallory"}
    learn(entries, body(2**62, gone=True), who=mallory)
    assert learn(entries, body(2))
    assert entries.people() == {WHO.peer: "alice"}


def test_a_person_is_there_with_any_device_under_the_newest_name() -> None:
    """Each device has its own life."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    learn(entries, body(1, name="old-name"), who=a_device(1, 1))
    learn(entries, body(5, name="new-name"), who=a_device(1, 2))
    assert entries.people() == {a_device(1).peer: "new-name"}
    learn(entries, body(6, gone=True), who=a_device(1, 2))
    assert entries.people() == {a_device(1).peer: "old-name"}
    assert [entry.who for entry in entries] == [a_device(1, 1)]


def test_of_one_person_only_the_newest_devices_are_kept(rng: random.Random) -> None:
    """At most DEVICES_PER_OWNER_MAX, whatever order they come in: a person who signs thousands costs no memory."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    sequences = list(range(1, 4 * DEVICES_PER_OWNER_MAX))
    rng.shuffle(sequences)
    for sequence in sequences:
        learn(entries, body(sequence), who=a_device(1, sequence))
    newest = sorted(sequences)[-DEVICES_PER_OWNER_MAX:]
    assert sorted(entry.body.sequence for entry in entries) == newest


def test_people_and_goodbyes_are_bounded() -> None:
    """A stranger signs for as many identities as they like; who is known stays, and can still say goodbye."""
    entries: DeviceEntries[Membership] = DeviceEntries()
    for number in range(2 * MEMBERS_MAX):
        learn(entries, body(1), who=a_device(number))
    assert len(entries.people()) == MEMBERS_MAX
    assert learn(entries, body(2), who=a_device(0, 7))
    for number in range(2 * MEMBERS_MAX):
        learn(entries, body(3, gone=True), who=a_device(number))
    assert a_device(1).peer not in entries.people()
    assert len(entries._gone) == MEMBERS_MAX
