"""Who owns a name: the count of votes, what silence may change, and the work behind a claim."""

import itertools
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.records.claims import NONCE_MAX, Decision, claim_id_of, decide, find_nonce, work_bits
from tests.records import samples

A, B, C, D = (bytes([number]) * 32 for number in (0x20, 0x40, 0x60, 0x80))
"""Claim ids, A the smallest that is usual."""
SMALLEST, LARGEST = bytes(32), b"\xff" * 32
"""Claims that a silent replica might hold and nobody else has heard of."""
MANY = 1_000
"""Nodes of a network of the usual size."""


def _votes(votes: str) -> list[list[bytes]]:
    """`"AAB-"`: two replicas vote for A, one for B, one answered and holds nothing."""
    return [[] if vote == "-" else [{"A": A, "B": B, "C": C, "D": D}[vote]] for vote in votes]


@pytest.mark.parametrize(
    ("votes", "silent", "owner", "certain", "contested"),
    [
        # "The owner is who has a strict majority of those votes"
        ("AAA", 0, A, True, False),
        ("BBA", 0, B, True, True),
        ("BBBA", 0, B, True, True),
        ("CCCAB", 0, C, True, True),
        # "'nothing' abstains"
        ("AA------------------", 0, A, True, False),
        ("BBA-----------------", 0, B, True, True),
        # "with no majority the smallest claim id"
        ("BA", 0, A, True, True),
        ("BBAA", 0, A, True, True),
        ("BBCCA", 0, A, True, True),
        ("DDBC", 0, B, True, True),
        # silence: what could still change it is not certain
        ("AAA", 2, A, True, False),
        ("AAA", 3, A, False, False),
        ("BBBA", 1, B, True, True),
        ("BBBA", 2, B, False, True),
        ("BA", 1, A, False, True),
        # a name that nobody has: free when a majority answered
        ("---", 0, None, True, False),
        ("---", 2, None, True, False),
        ("---", 3, None, False, False),
        ("", 0, None, False, False),
        ("", 5, None, False, False),
    ],
)
def test_the_count(votes: str, silent: int, owner: bytes | None, certain: bool, contested: bool) -> None:
    """design.md, "Who owns a name", sentence by sentence."""
    holders = len(votes.replace("-", ""))
    assert decide(_votes(votes), silent, nodes_known=MANY) == Decision(owner, certain, contested, holders)


@pytest.mark.parametrize(("nodes_known", "certain"), [(1, True), (2, True), (3, False), (MANY, False)])
@pytest.mark.parametrize("votes", ["A", "A--"])
def test_one_holder_is_enough_only_in_the_smallest_network(votes: str, nodes_known: int, certain: bool) -> None:
    """ "From at least 2 holders (1 while fewer than 3 nodes exist)": the only claim there is owns, but not for certain."""
    assert decide(_votes(votes), 0, nodes_known=nodes_known) == Decision(A, certain, False, 1)


def test_only_the_first_claim_of_a_list_is_a_vote() -> None:
    """Later claims on a replica, however small, count nowhere: not as votes, not for the tie-break."""
    held = [[B, SMALLEST, A], [C, SMALLEST]]
    assert decide(held, 0, nodes_known=MANY).owner == B
    assert decide([[B, SMALLEST], [B, SMALLEST], [SMALLEST]], 0, nodes_known=MANY).owner == B


ELECTORATE = ["", "A", "B", "C"]


def _small_elections() -> Iterator[tuple[list[list[bytes]], int, int]]:
    """All answers of up to five replicas, with up to three silent ones, in networks of several sizes."""
    for answered in range(6):
        for ballots in itertools.combinations_with_replacement("-ABC", answered):
            for silent, nodes_known in itertools.product(range(4), (1, 2, 3, MANY)):
                yield _votes("".join(ballots)), silent, nodes_known


def _outcomes(answers: Sequence[Sequence[bytes]], silent: int, nodes_known: int) -> set[bytes | None]:
    """Owners after the silent replicas answered too, in every way they might."""
    ballots: list[list[bytes]] = [[], [A], [B], [C], [SMALLEST], [LARGEST]]
    return {
        decide([*answers, *late], 0, nodes_known=nodes_known).owner
        for late in itertools.combinations_with_replacement(ballots, silent)
    }


def test_what_is_certain_stays_whatever_the_silent_replicas_hold() -> None:
    """Exhaustive over small elections. A name found free is left out: there a majority is enough by design, and the
    replicas that store look again."""
    for answers, silent, nodes_known in _small_elections():
        found = decide(answers, silent, nodes_known=nodes_known)
        if found.certain and found.owner is not None:
            assert _outcomes(answers, silent, nodes_known) == {found.owner}


def test_certainty_is_not_withheld_without_need() -> None:
    """The other direction: with two holders, uncertain means that some answer of the silent ones has another owner."""
    for answers, silent, nodes_known in _small_elections():
        found = decide(answers, silent, nodes_known=nodes_known)
        if not found.certain and found.holders >= 2:
            assert len(_outcomes(answers, silent, nodes_known)) > 1


def test_an_owner_is_always_somebody_who_was_voted_for() -> None:
    """And nobody owns only where nobody holds a claim."""
    for answers, silent, nodes_known in _small_elections():
        found = decide(answers, silent, nodes_known=nodes_known)
        voted_for = {held[0] for held in answers if held}
        assert found.owner in voted_for or (found.owner is None and not voted_for)
        assert found.contested == (len(voted_for) > 1)


@given(votes=st.text("-ABCD", max_size=20), silent=st.integers(0, 20), data=st.data())
def test_the_order_of_answers_decides_nothing(votes: str, silent: int, data: st.DataObject) -> None:
    """Every reader who hears the same replicas finds the same owner."""
    shuffled = "".join(data.draw(st.permutations(votes)))
    assert decide(_votes(votes), silent, nodes_known=MANY) == decide(_votes(shuffled), silent, nodes_known=MANY)


# --- work and claim ids -----------------------------------------------------------------------------------------------

OWNER = samples.ALICE.public


@pytest.mark.parametrize("bits", [0, 1, 4, 8])
def test_a_nonce_that_was_searched_has_its_work(bits: int) -> None:
    """What the finder finds, the checker accepts, and it is a nonce that fits the wire."""
    nonce = find_nonce("account", "alice", OWNER, samples.NETWORK, bits, start=12_345)
    assert work_bits("account", "alice", OWNER, nonce, samples.NETWORK) >= bits
    assert 0 <= nonce <= NONCE_MAX


@pytest.mark.parametrize("start", [0, NONCE_MAX // 2 - 1, NONCE_MAX // 2, NONCE_MAX - 1])
def test_a_search_stays_below_the_largest_nonce(start: int) -> None:
    """Wherever it starts, there is room for 2^61 tries before the bound."""
    assert find_nonce("account", "alice", OWNER, samples.NETWORK, 4, start) < NONCE_MAX // 2 + 10_000


def test_work_is_worth_nothing_elsewhere() -> None:
    """Another kind, name, owner or network has to be worked for anew: of 64 good nonces hardly one is good elsewhere."""
    bits = 8
    starts = range(0, 64 * 100_000, 100_000)
    nonces = [find_nonce("account", "alice", OWNER, samples.NETWORK, bits, start) for start in starts]
    for subject in [
        ("room", "alice", OWNER, samples.NETWORK),
        ("account", "alicf", OWNER, samples.NETWORK),
        ("account", "alice", samples.BOB.public, samples.NETWORK),
        ("account", "alice", OWNER, bytes(32)),
    ]:
        kind, name, owner, network = subject
        assert sum(work_bits(kind, name, owner, nonce, network) >= bits for nonce in nonces) < 8


def test_a_smaller_claim_id_needs_new_work() -> None:
    """Each candidate for a smaller id is another nonce, and its work is under another label: no id comes free."""
    bits = 6
    good = find_nonce("account", "alice", OWNER, samples.NETWORK, bits, 0)
    mine = claim_id_of("account", "alice", OWNER, good)
    smaller = [n for n in range(good + 1, good + 2_000) if claim_id_of("account", "alice", OWNER, n) < mine]
    worked = [n for n in smaller if work_bits("account", "alice", OWNER, n, samples.NETWORK) >= bits]
    assert len(worked) < len(smaller) / 2**bits * 3 + 3
    assert smaller, "there are smaller ids to be had"


def test_a_claim_id_is_constant_over_later_versions() -> None:
    """`passwd` changes nothing about who came first; owner, name, nonce and kind each make another claim."""
    first = samples.account()
    later = msgspec.structs.replace(first, sequence=9, salt=b"2" * 16, verifier=b"w" * 32, created_at_s=1)
    assert first.claim_id(OWNER) == later.claim_id(OWNER)
    others = [
        samples.account(nonce=8).claim_id(OWNER),
        samples.account(name="alicf").claim_id(OWNER),
        first.claim_id(samples.BOB.public),
        claim_id_of("room", first.name, OWNER, first.nonce),
    ]
    assert len({first.claim_id(OWNER), *others}) == 5
