"""Who owns a name: claims, their proof of work, and the count of votes. Pure functions.

Each replica keeps rival claims in order of arrival; its first is its vote, and a vote once given stays (until the
whole set agrees on somebody else, see `Decision.certain`). The owner is who has a strict majority of the votes; with no
majority the smallest claim id among those that have a vote: docs/decisions/0003-votes.md says why only those count.
"""

import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from dhtchat.ids import labelled_hash
from dhtchat.limits import PLACES_CACHED

NONCE_MAX: Final = 2**62
"""Nonces on the wire stay below; msgspec checks bounds in an int64 only."""


@functools.lru_cache(maxsize=PLACES_CACHED)
def claim_id_of(kind: str, name: str, owner: bytes, nonce: int) -> bytes:
    """32 bytes, constant over all later versions of a record."""
    return labelled_hash("claim", kind.encode(), name.encode(), owner, nonce.to_bytes(8, "big"))


def _work_subject(kind: str, name: str, owner: bytes, network_id: bytes) -> bytes:
    """Another label than the claim id's: a smaller claim id costs the whole work again for each try."""
    return labelled_hash("work", network_id, kind.encode(), name.encode(), owner)


@functools.lru_cache(maxsize=PLACES_CACHED)
def work_bits(kind: str, name: str, owner: bytes, nonce: int, network_id: bytes) -> int:
    """Leading zero bits of a claim's proof of work: SHA-256 over its subject and the nonce."""
    work = hashlib.sha256(_work_subject(kind, name, owner, network_id) + nonce.to_bytes(8, "big")).digest()
    return 256 - int.from_bytes(work, "big").bit_length()


def find_nonce(kind: str, name: str, owner: bytes, network_id: bytes, bits: int, start: int) -> int:
    """A nonce whose work has `bits` leading zeros, searched from `start` (random, below 2^62). About 2^bits hashes."""
    subject = _work_subject(kind, name, owner, network_id)
    too_large = 1 << (256 - bits)
    for nonce in itertools.count(start % (NONCE_MAX // 2)):
        if int.from_bytes(hashlib.sha256(subject + nonce.to_bytes(8, "big")).digest(), "big") < too_large:
            return nonce
    raise AssertionError("count() does not end")


class Decision(NamedTuple):
    """What the answers of the replicas say about one name."""

    owner: bytes | None
    """Claim id of the owner; None when nobody who answered holds a claim."""
    certain: bool
    """Whether the replicas that did not answer could not change the owner. One holder among three nodes or more is
    never certain. Without an owner: whether a majority answered, which makes a name free, although a silent replica may
    still hold a claim."""
    contested: bool
    """Whether the replicas do not all vote for the same claim."""
    holders: int
    """Replicas that hold any claim."""


def decide(answers: Sequence[Sequence[bytes]], silent: int, *, nodes_known: int) -> Decision:
    """Count the votes.

    `answers`: for each replica that answered, the claim ids it holds in order of arrival (empty: it abstains).
    `silent`: replicas that were asked and did not answer. `nodes_known`: how many nodes the network has as far as the
    reader knows, itself included: a single holder decides for good only while there are fewer than three.
    """
    votes = Counter(held[0] for held in answers if held)
    holders = votes.total()
    if not holders:
        return Decision(None, certain=len(answers) > silent, contested=False, holders=0)
    leader, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
    if 2 * count > holders:
        enough_holders = holders >= 2 or nodes_known < 3
        return Decision(leader, enough_holders and 2 * count > holders + silent, len(votes) > 1, holders)
    return Decision(min(votes), silent == 0, len(votes) > 1, holders)
