"""Who is online: shown at once when somebody comes, within seconds when they leave or crash, and never flickering."""

import random
from collections import deque

import pytest

from dhtchat.chat.presence import Attendance, PresenceChange
from dhtchat.limits import LINK_GRACE_S, PRESENCE_TTL_S, RECONCILE_GRACE_S
from dhtchat.records.envelope import Signed
from dhtchat.records.listing import UserListing
from tests.chat.records import TTL_S, listing, presence, who
from tests.chat.statements import NOW_S, Speaker


@pytest.fixture
def bob(rng: random.Random) -> Speaker:
    return Speaker("bob", rng)


@pytest.fixture
def bobs_phone(rng: random.Random, bob: Speaker) -> Speaker:
    return Speaker("bob", rng, identity=bob.identity)


def came(voice: Speaker) -> PresenceChange:
    return PresenceChange(voice.peer, voice.name, online=True)


def left(voice: Speaker) -> PresenceChange:
    return PresenceChange(voice.peer, voice.name, online=False)


def read(attendance: Attendance, *records: Signed[UserListing], now_s: float) -> list[PresenceChange]:
    return attendance.listed([(record, TTL_S) for record in records], now_s)


def test_each_source_makes_a_person_online_once(bob: Speaker) -> None:
    """Directory, presence record, link: the first is news, the others are not."""
    attendance = Attendance()
    assert read(attendance, listing(bob), now_s=0.0) == [came(bob)]
    assert attendance.announced(presence(bob, 2), life_s=TTL_S, now_s=0.0) == []
    assert attendance.link_up(who(bob), "bob", 0.0) == []
    assert attendance.online(0.0) == {bob.peer: "bob"}


def test_who_leaves_properly_is_offline_at_once(bob: Speaker) -> None:
    """A goodbye announced to us counts although the directory still lists the device, and stays though it is read again."""
    attendance = Attendance()
    read(attendance, listing(bob, 1), now_s=0.0)
    attendance.announced(presence(bob, 2), life_s=TTL_S, now_s=0.0)
    attendance.link_up(who(bob), "bob", 0.0)
    attendance.announced(presence(bob, 4, gone=True), life_s=TTL_S, now_s=1.0)
    assert attendance.link_down(who(bob), 1.0, NOW_S + 1.0, on_purpose=True) == [left(bob)]
    assert read(attendance, listing(bob, 3), now_s=2.0) == []
    assert attendance.online(2.0) == {}
    assert read(attendance, listing(bob, 5), now_s=3.0) == [came(bob)]


def test_who_is_not_in_the_directory_any_more_is_offline(bob: Speaker) -> None:
    """Also when their presence was read a moment before they left, and nobody told us: /whois, then they quit."""
    attendance = Attendance()
    read(attendance, listing(bob), now_s=0.0)
    attendance.announced(presence(bob, 2), life_s=TTL_S, now_s=0.0)
    assert read(attendance, now_s=RECONCILE_GRACE_S + 1) == [left(bob)]


def test_who_has_just_announced_themselves_need_not_be_in_the_directory_yet(bob: Speaker) -> None:
    """The directory is a little behind."""
    attendance = Attendance()
    assert attendance.announced(presence(bob), life_s=TTL_S, now_s=0.0) == [came(bob)]
    assert read(attendance, now_s=RECONCILE_GRACE_S / 2) == []


def test_one_of_two_devices_may_leave(bob: Speaker, bobs_phone: Speaker) -> None:
    """A person is online while one device is."""
    attendance = Attendance()
    read(attendance, listing(bob), listing(bobs_phone), now_s=0.0)
    for device in (bob, bobs_phone):
        attendance.link_up(who(device), "bob", 0.0)
    attendance.announced(presence(bob, 5, gone=True), life_s=TTL_S, now_s=1.0)
    assert attendance.link_down(who(bob), 1.0, NOW_S + 1.0, on_purpose=True) == []
    attendance.announced(presence(bobs_phone, 5, gone=True), life_s=TTL_S, now_s=1.0)
    assert attendance.link_down(who(bobs_phone), 1.0, NOW_S + 1.0, on_purpose=True) == [left(bob)]


def test_a_broken_link_makes_a_device_suspect_after_a_grace(bob: Speaker) -> None:
    """A crash shows after LINK_GRACE_S, a hiccup does not show at all."""
    attendance = Attendance()
    read(attendance, listing(bob), now_s=0.0)
    attendance.link_up(who(bob), "bob", 0.0)
    assert attendance.link_down(who(bob), 10.0, NOW_S + 10.0, on_purpose=False) == []
    assert attendance.tick(10.0 + LINK_GRACE_S - 0.1) == []
    assert attendance.link_up(who(bob), "bob", 10.0 + LINK_GRACE_S - 0.1) == []
    assert attendance.tick(10.0 + 2 * LINK_GRACE_S) == []
    attendance.link_down(who(bob), 30.0, NOW_S + 30.0, on_purpose=False)
    assert attendance.tick(30.0 + LINK_GRACE_S) == [left(bob)]
    assert attendance.link_up(who(bob), "bob", 60.0) == [came(bob)]


def test_a_link_that_was_closed_on_purpose_is_no_suspicion(bob: Speaker) -> None:
    """The other side has too many links, or we are no longer of interest: it may well be online."""
    attendance = Attendance()
    read(attendance, listing(bob), now_s=0.0)
    attendance.link_up(who(bob), "bob", 0.0)
    attendance.link_down(who(bob), 1.0, NOW_S + 1.0, on_purpose=True)
    assert attendance.tick(1.0 + 2 * LINK_GRACE_S) == []


def test_a_record_signed_since_the_break_clears_the_suspicion(bob: Speaker) -> None:
    """Only the path between us is broken: their next refresh says so."""
    attendance = Attendance()
    read(attendance, listing(bob), now_s=0.0)
    attendance.link_up(who(bob), "bob", 0.0)
    attendance.link_down(who(bob), 10.0, NOW_S + 10.0, on_purpose=False)
    assert attendance.tick(20.0) == [left(bob)]
    assert read(attendance, listing(bob, 2, issued_at_s=NOW_S + 5), now_s=25.0) == []
    assert read(attendance, listing(bob, 3, issued_at_s=NOW_S + 30), now_s=31.0) == [came(bob)]


def test_a_crashed_device_does_not_come_back_by_what_it_left_behind(bob: Speaker) -> None:
    """Replicas hand its last records out for a whole ttl, and what is read then lives for another: no flicker, ever."""
    attendance = Attendance()
    read(attendance, listing(bob), now_s=0.0)
    attendance.announced(presence(bob), life_s=TTL_S, now_s=0.0)
    attendance.link_up(who(bob), "bob", 0.0)
    attendance.link_down(who(bob), 1.0, NOW_S + 1.0, on_purpose=False)
    assert attendance.tick(1.0 + LINK_GRACE_S) == [left(bob)]
    for second in range(10, 5 * PRESENCE_TTL_S, 3):
        changes = attendance.tick(second)
        if second <= 1.0 + PRESENCE_TTL_S:
            changes += read(attendance, listing(bob), now_s=second)
            changes += attendance.announced(presence(bob), life_s=TTL_S, now_s=second)
        assert changes == [], second
    assert attendance._broken == {}


def test_where_records_live_longer_the_suspicion_lasts_longer(bob: Speaker) -> None:
    """A network of its own may have any ttl: what a crashed device left behind is not believed for as long as it lives."""
    attendance, ttl_s = Attendance(), 5 * PRESENCE_TTL_S
    record = presence(bob, ttl_s=ttl_s)
    attendance.announced(record, life_s=ttl_s, now_s=0.0)
    attendance.link_up(who(bob), "bob", 0.0)
    attendance.link_down(who(bob), 1.0, NOW_S + 1.0, on_purpose=False)
    assert attendance.tick(10.0) == [left(bob)]
    for second in range(10, 3 * ttl_s, 10):
        changes = attendance.announced(record, life_s=ttl_s, now_s=second) if second <= 1.0 + ttl_s else []
        assert [*changes, *attendance.tick(second)] == [], second


def test_without_any_word_a_person_is_offline_within_a_ttl(bob: Speaker) -> None:
    """ "A crash shows within two minutes", also when there was never a link."""
    attendance = Attendance()
    read(attendance, listing(bob), now_s=0.0)
    assert attendance.tick(TTL_S - 1.0) == []
    assert attendance.tick(TTL_S) == [left(bob)]


def test_nobody_can_speak_for_another_persons_device(rng: random.Random, bob: Speaker) -> None:
    """A goodbye or an entry that names bob's device, signed by mallory, is about mallory."""
    mallory = Speaker("mallory", rng)
    attendance = Attendance()
    read(attendance, listing(bob), now_s=0.0)
    record = presence(mallory, 2**62, gone=True, device=bob.device)
    assert attendance.announced(record, life_s=TTL_S, now_s=1.0) == []
    assert read(attendance, listing(bob, 2), listing(mallory, 2**61, device=bob.device), now_s=2.0) == []
    assert attendance.online(2.0) == {bob.peer: "bob"}


def test_away_and_since_are_what_the_records_say(bob: Speaker, bobs_phone: Speaker) -> None:
    """None: at the keyboard; "": away, nothing more is known; the earliest device counts for `since`."""
    attendance = Attendance()
    assert (attendance.away_of(bob.peer), attendance.since_of(bob.peer)) == (None, None)
    read(attendance, listing(bob, away=True), now_s=0.0)
    assert attendance.away_of(bob.peer) == ""
    attendance.announced(presence(bob, 2, away="lunch", since_s=NOW_S - 60), life_s=TTL_S, now_s=0.0)
    attendance.announced(presence(bobs_phone, 2, since_s=NOW_S - 90), life_s=TTL_S, now_s=0.0)
    assert (attendance.away_of(bob.peer), attendance.since_of(bob.peer)) == ("lunch", NOW_S - 90)
    attendance.announced(presence(bob, 3), life_s=TTL_S, now_s=1.0)
    read(attendance, listing(bob, 4), listing(bobs_phone), now_s=1.0)
    assert attendance.away_of(bob.peer) is None


@pytest.mark.parametrize("case", range(40))
def test_looking_only_when_something_is_due_shows_the_same(case: int, seed: int) -> None:
    """`due_s` says when records die and grace ends: whoever looks then and not before misses nothing and is not late."""
    rng = random.Random(f"{seed}/{case}")
    speakers = [Speaker(name, rng) for name in ("bob", "carol", "dave")]
    happenings = sorted((rng.randint(0, 4 * PRESENCE_TTL_S), rng.randint(0, 3), rng.randrange(3)) for _ in range(25))

    def shown(*, only_when_due: bool) -> list[tuple[float, PresenceChange]]:
        attendance, found, left_over = Attendance(), [], deque(happenings)
        sequence = 0
        for now_s in (quarter / 4 for quarter in range(4 * 8 * PRESENCE_TTL_S)):
            changes: list[PresenceChange] = []
            if not only_when_due or now_s >= attendance.due_s:
                changes += attendance.tick(now_s)
            while left_over and left_over[0][0] <= now_s:
                _, kind, number = left_over.popleft()
                speaker, issued_at_s = speakers[number], NOW_S + int(now_s)
                sequence += 1
                match kind:
                    case 0:
                        changes += read(attendance, listing(speaker, sequence, issued_at_s=issued_at_s), now_s=now_s)
                    case 1:
                        record = presence(speaker, sequence, issued_at_s=issued_at_s)
                        changes += attendance.announced(record, life_s=TTL_S, now_s=now_s)
                    case 2:
                        changes += attendance.link_up(who(speaker), speaker.name, now_s)
                    case _:
                        changes += attendance.link_down(who(speaker), now_s, NOW_S + now_s, on_purpose=False)
            found += [(now_s, change) for change in changes]
        return found

    assert shown(only_when_due=True) == shown(only_when_due=False)
    assert shown(only_when_due=True)
