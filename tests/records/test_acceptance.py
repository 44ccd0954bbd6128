"""May this record replace that one? Every verdict and reason in one table, and what must hold whatever the order."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhtchat.crypto.identity import SigningKey
from dhtchat.crypto.password import Kdf
from dhtchat.ids import RecordKey
from dhtchat.limits import CLOCK_SKEW_S
from dhtchat.parameters import SIM
from dhtchat.records.acceptance import Judgement, Reason, Verdict, judge
from dhtchat.records.account import account_key
from dhtchat.records.claims import find_nonce, work_bits
from dhtchat.records.envelope import Body
from dhtchat.records.kinds import Record, open_record
from dhtchat.records.soft import forgotten_at
from tests.records import samples
from tests.records.samples import ALICE, BOB, NOW_S

TTL_S = 120
LIKE_MAIN = msgspec.structs.replace(
    SIM, name="like-main", proof_of_work_bits=6, room_proof_of_work_bits=3, kdf_memory_kib=64, kdf_passes=3
)
"""A network that asks for work and a costly password, little enough of both for a test."""


def _record(body: Body, key: SigningKey = ALICE) -> Record:
    return open_record(samples.signed(body, key).raw, samples.NETWORK)


def _place(record: Record) -> RecordKey:
    return record.body.place(record.key)


def _judge(incoming: Record, existing: Record | None = None, *, now_s: float = NOW_S, remembered: int = 0) -> Judgement:
    return judge(incoming, existing, key=_place(incoming), now_s=now_s, parameters=SIM, remembered_sequence=remembered)


def _work(kind: str, name: str, *, bits: int, enough: bool) -> int:
    """A nonce whose work on LIKE_MAIN is enough, or is not."""
    for start in itertools.count():
        nonce = find_nonce(kind, name, ALICE.public, LIKE_MAIN.network_id, 0, start)
        if (work_bits(kind, name, ALICE.public, nonce, LIKE_MAIN.network_id) >= bits) is enough:
            return nonce
    raise AssertionError


# --- the table --------------------------------------------------------------------------------------------------------

FIRST, SECOND = _record(samples.presence(sequence=1)), _record(samples.presence(sequence=2))
SMALLER, LARGER = sorted(
    (_record(samples.presence(sequence=2, away=text)) for text in ("tea", "lunch")), key=lambda record: record.digest
)
"""One sequence number used twice by its owner."""
GONE = _record(samples.presence(sequence=3, gone=True))
OF_BOB = _record(samples.presence(sequence=9), BOB)
OTHER_DEVICE = _record(msgspec.structs.replace(samples.presence(sequence=9), device=b"d" * 32))
MEMBERSHIP, BOBS_MEMBERSHIP = _record(samples.membership()), _record(samples.membership(sequence=9), BOB)
ACCOUNT, NEXT_ACCOUNT = _record(samples.account(sequence=1)), _record(samples.account(sequence=2))
RIVAL = _record(samples.account(sequence=9), BOB)
SECOND_CLAIM = _record(samples.account(sequence=9, nonce=8))
GENESIS = _record(samples.genesis())
OTHER_GENESIS = _record(samples.genesis(created_at_s=NOW_S + 1))
LATER_GENESIS, EARLIER_GENESIS = sorted((GENESIS, OTHER_GENESIS), key=lambda record: record.digest, reverse=True)


@dataclass(frozen=True)
class Case:
    promise: str
    incoming: Record
    existing: Record | None
    expected: Judgement
    now_s: float = NOW_S
    remembered: int = 0


def _refused(reason: Reason, *, reused_sequence: bool = False) -> Judgement:
    return Judgement(Verdict.REFUSED, reason, reused_sequence)


NEW, NEWER, SAME = Judgement(Verdict.NEW), Judgement(Verdict.NEWER), Judgement(Verdict.SAME)
NEWER_BY_DIGEST = Judgement(Verdict.NEWER, reused_sequence=True)
STALE = _refused(Reason.STALE)
DIES_S = NOW_S + TTL_S + CLOCK_SKEW_S

TABLE = [
    # what is there
    Case("nothing is there: it is new", FIRST, None, NEW),
    Case("an account where nothing is", ACCOUNT, None, NEW),
    Case("a room where nothing is", GENESIS, None, NEW),
    Case("a tombstone may be the first that is heard of an entry", GONE, None, NEW),
    # sequence numbers
    Case("a higher sequence number replaces", SECOND, FIRST, NEWER),
    Case("a lower one never does", FIRST, SECOND, STALE),
    Case("numbers may be left out", _record(samples.presence(sequence=2**62)), FIRST, NEWER),
    Case("passwd replaces an account", NEXT_ACCOUNT, ACCOUNT, NEWER),
    Case("an old account never comes back", ACCOUNT, NEXT_ACCOUNT, STALE),
    Case("a tombstone hides what was there", GONE, SECOND, NEWER),
    Case("what is gone does not come back by replay", SECOND, GONE, STALE),
    Case("who comes back says so with a higher number", _record(samples.presence(sequence=4)), GONE, NEWER),
    # the same number
    Case("the same version is no news", FIRST, FIRST, SAME),
    Case("the same account is no news", ACCOUNT, ACCOUNT, SAME),
    Case("a number used twice: the larger digest wins", LARGER, SMALLER, NEWER_BY_DIGEST),
    Case("and the smaller loses", SMALLER, LARGER, _refused(Reason.STALE, reused_sequence=True)),
    Case("two rooms under one claim: the larger digest too", LATER_GENESIS, EARLIER_GENESIS, NEWER_BY_DIGEST),
    Case("and not back", EARLIER_GENESIS, LATER_GENESIS, _refused(Reason.STALE, reused_sequence=True)),
    # what was there
    Case("a dead record's number is remembered", FIRST, None, STALE, remembered=2),
    Case("the very record that died stays dead", SECOND, None, STALE, remembered=2),
    Case("a higher number lives again", SECOND, None, NEW, remembered=1),
    # who
    Case("another member's entry replaces nothing", BOBS_MEMBERSHIP, MEMBERSHIP, _refused(Reason.OTHER_CLAIM)),
    Case("another device's entry replaces nothing", OTHER_DEVICE, FIRST, _refused(Reason.OTHER_CLAIM)),
    Case("a rival's account replaces nothing, whatever its number", RIVAL, ACCOUNT, _refused(Reason.OTHER_CLAIM)),
    Case("nor does the owner's own second claim", SECOND_CLAIM, ACCOUNT, _refused(Reason.OTHER_CLAIM)),
    # when
    Case("alive to its last moment", FIRST, None, NEW, now_s=DIES_S - 0.001),
    Case("dead at issued + ttl + skew", FIRST, None, _refused(Reason.EXPIRED), now_s=DIES_S),
    Case("dead even if it is there", FIRST, FIRST, _refused(Reason.EXPIRED), now_s=DIES_S),
    Case("dead even if it is newer", SECOND, FIRST, _refused(Reason.EXPIRED), now_s=DIES_S),
    Case("another clock may be ahead by the skew", FIRST, None, NEW, now_s=NOW_S - CLOCK_SKEW_S),
    Case("not by more", FIRST, None, _refused(Reason.FROM_THE_FUTURE), now_s=NOW_S - CLOCK_SKEW_S - 0.001),
    Case("an account never expires", ACCOUNT, None, NEW, now_s=2**40),
    Case("nor does a room", GENESIS, None, NEW, now_s=2**40),
    Case("and a clock that is behind takes both", ACCOUNT, None, NEW, now_s=0),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.promise)
def test_table(case: Case) -> None:
    """One line of the table each; the id says what it promises."""
    found = _judge(case.incoming, case.existing, now_s=case.now_s, remembered=case.remembered)
    assert found == case.expected
    assert found.accepted == (case.expected.verdict is not Verdict.REFUSED)


@pytest.mark.parametrize("body", samples.stored(), ids=lambda body: body.KIND)
def test_a_record_belongs_in_one_place(body: Body) -> None:
    """Whoever stores it elsewhere is refused, and says so before anything else about it is judged."""
    record = _record(body)
    elsewhere = account_key("somebody-else")
    for key in (elsewhere, RecordKey(bytes(20)), RecordKey(_place(record)[:-1] + b"\0")):
        found = judge(record, None, key=key, now_s=NOW_S, parameters=SIM)
        assert found == _refused(Reason.WRONG_PLACE)


def test_presence_belongs_to_its_signer() -> None:
    """Bob's signature under Alice's key is in the wrong place: nobody announces devices for somebody else."""
    found = judge(OF_BOB, None, key=_place(FIRST), now_s=NOW_S, parameters=SIM)
    assert found == _refused(Reason.WRONG_PLACE)


@pytest.mark.parametrize("enough", [True, False])
@pytest.mark.parametrize("kind", ["account", "room"])
def test_a_claim_needs_its_work(kind: str, enough: bool) -> None:
    """On a network that asks for it, a name or room without the work is refused by every storing node and reader."""
    bits = LIKE_MAIN.proof_of_work_bits if kind == "account" else LIKE_MAIN.room_proof_of_work_bits
    name = "alice" if kind == "account" else "#lobby"
    nonce = _work(kind, name, bits=bits, enough=enough)
    body = samples.account(nonce=nonce, kdf=Kdf(64, 3, 1)) if kind == "account" else samples.genesis(nonce=nonce)
    record = _record(body)
    found = judge(record, None, key=_place(record), now_s=NOW_S, parameters=LIKE_MAIN)
    assert found == (NEW if enough else _refused(Reason.NO_WORK))


@pytest.mark.parametrize(
    ("kdf", "expected"),
    [
        (Kdf(64, 3, 1), NEW),
        (Kdf(128, 4, 8), NEW),
        (Kdf(63, 3, 1), _refused(Reason.WEAK_KDF)),
        (Kdf(64, 2, 1), _refused(Reason.WEAK_KDF)),
        (Kdf(1_000, 1, 16), _refused(Reason.WEAK_KDF)),
    ],
)
def test_an_account_has_at_least_the_networks_kdf(kdf: Kdf, expected: Judgement) -> None:
    """Nobody is led to a record that is cheaper to guess at than the network promises."""
    nonce = _work("account", "alice", bits=LIKE_MAIN.proof_of_work_bits, enough=True)
    record = _record(samples.account(nonce=nonce, kdf=kdf))
    assert judge(record, None, key=_place(record), now_s=NOW_S, parameters=LIKE_MAIN) == expected


def test_the_table_covers_every_verdict_and_reason() -> None:
    """A reason that is added without a test of its own is found. Some are said by others: see `Reason`."""
    judgements = [case.expected for case in TABLE]
    elsewhere = {Reason.WRONG_PLACE, Reason.NO_WORK, Reason.WEAK_KDF, Reason.TOO_LONG_LIVED}
    not_ours = {Reason.FULL, Reason.MALFORMED, Reason.SPLIT, Reason.NO_NODE, Reason.NOT_HELD, Reason.FETCHED}
    assert {judgement.verdict for judgement in judgements} == set(Verdict)
    assert {judgement.reason for judgement in judgements} | elsewhere | not_ours == set(Reason)


# --- what holds whatever the order ------------------------------------------------------------------------------------

VERSIONS: dict[str, list[Record]] = {
    "presence": [_record(samples.presence(sequence=n, away=text)) for n in (1, 2, 3) for text in ("", "tea", "lunch")],
    "account": [
        _record(msgspec.structs.replace(samples.account(sequence=n), salt=salt))
        for n in (1, 2, 3)
        for salt in (b"1" * 16, b"2" * 16)
    ],
    "room": [_record(samples.genesis(created_at_s=NOW_S + n)) for n in range(5)],
    "membership": [_record(samples.membership(sequence=n)) for n in range(1, 6)],
    "user-listing": [_record(samples.user_listing(sequence=n)) for n in range(1, 6)],
    "room-listing": [_record(samples.room_listing(sequence=n)) for n in range(1, 6)],
}
"""Versions of one entry or claim, with sequence numbers used more than once."""


def _newest(versions: Iterable[Record]) -> Record:
    return max(versions, key=lambda record: (record.body.sequence, record.digest))


def _keep(arriving: Iterable[Record]) -> Record | None:
    """What a node holds after these arrived."""
    held: Record | None = None
    for record in arriving:
        if _judge(record, held).verdict in (Verdict.NEW, Verdict.NEWER):
            held = record
    return held


@pytest.mark.parametrize("kind", VERSIONS)
def test_of_two_versions_one_is_newer(kind: str) -> None:
    """Antisymmetric and total: two nodes that exchange what they hold agree after one exchange, and stay there."""
    for a, b in itertools.combinations(VERSIONS[kind], 2):
        verdicts = sorted([_judge(a, b).verdict, _judge(b, a).verdict])
        assert verdicts == [Verdict.NEWER, Verdict.REFUSED]
        assert _judge(a, b).reused_sequence == _judge(b, a).reused_sequence == (a.body.sequence == b.body.sequence)


@pytest.mark.parametrize("kind", VERSIONS)
def test_newer_is_transitive(kind: str) -> None:
    """There is a newest, not a circle."""
    for a, b, c in itertools.permutations(VERSIONS[kind], 3):
        if _judge(b, a).verdict is Verdict.NEWER and _judge(c, b).verdict is Verdict.NEWER:
            assert _judge(c, a).verdict is Verdict.NEWER


@pytest.mark.parametrize("kind", VERSIONS)
@settings(deadline=None)
@given(data=st.data())
def test_any_order_of_arrival_leaves_the_newest(kind: str, data: st.DataObject) -> None:
    """Whatever the order, however often the old ones are replayed: no roll-back, and the same everywhere."""
    arriving = data.draw(st.lists(st.sampled_from(VERSIONS[kind]), min_size=1, max_size=12))
    everywhere = data.draw(st.permutations(arriving))
    assert _keep(arriving) == _keep(everywhere) == _newest(arriving)


@settings(deadline=None)
@given(
    arriving=st.lists(st.sampled_from(VERSIONS["presence"]), min_size=1, max_size=8),
    replayed=st.lists(st.sampled_from(VERSIONS["presence"]), max_size=8),
)
def test_what_died_does_not_come_back(arriving: list[Record], replayed: list[Record]) -> None:
    """A node that let a record die and remembers its number takes no version that is not newer."""
    held = _keep(arriving)
    assert held is not None
    remembered = held.body.sequence
    for record in replayed:
        found = _judge(record, None, remembered=remembered)
        assert found.accepted == (record.body.sequence > remembered)


@settings(deadline=None)
@given(issued_at_s=st.integers(0, 2**32), ttl_s=st.integers(1, 10_000), now_s=st.integers(0, 2**32))
def test_remembering_until_it_is_forgotten_is_enough(issued_at_s: int, ttl_s: int, now_s: int) -> None:
    """Once a number may be forgotten, every record that could be replayed under it has expired."""
    found = _judge(_record(samples.presence(issued_at_s=issued_at_s, ttl_s=ttl_s)), now_s=now_s)
    assert (found == _refused(Reason.EXPIRED)) == (now_s >= forgotten_at(issued_at_s, ttl_s))
