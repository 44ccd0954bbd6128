"""Where an entry lies in a tree of sets: directories and memberships are prefix hash trees (Ramabhadran et al., 2004).

An entry has an *item*, TREE_DEPTH_MAX hexadecimal digits that follow from its signed body and its key. Each prefix of it
names a node of the tree, and each node is a set under a key of its own; the root, the empty prefix, has the key that the
set had when there was no tree. Nothing here knows which nodes there are: that is for `dhtchat/dht/directory.py`.
"""

import functools
from typing import Final, NamedTuple, Protocol

from dhtchat.ids import RecordKey, labelled_hash
from dhtchat.limits import NODE_ID_BYTES, PLACES_CACHED, TREE_DEPTH_MAX, TREE_NAME_DIGITS

_ORDER: Final = "-0123456789_abcdefghijklmnopqrstuvwxyz"
"""The characters of names in the order in which Python and C sort them."""
_RANK: Final = {character: rank for rank, character in enumerate(_ORDER, start=1)}
_BASE: Final = 1 + len(_ORDER)
_CHARACTERS: Final = 32
"""The longest name, a room's with its mark."""
_TAIL_DIGITS: Final = TREE_DEPTH_MAX - TREE_NAME_DIGITS
DIGITS: Final = "0123456789abcdef"


class Tree(NamedTuple):
    """One tree: the kind of its entries, and what its keys are hashed from."""

    kind: str
    parts: tuple[bytes, ...]

    def key(self, prefix: str = "") -> RecordKey:
        """Where the node of a prefix lies."""
        return _key(self.parts, prefix)


class TreeBody(Protocol):
    """Body of an entry that lies in a tree."""

    def tree(self) -> Tree: ...
    def item(self, key: bytes) -> str:
        """TREE_DEPTH_MAX digits, given the key that signed it."""


@functools.lru_cache(maxsize=PLACES_CACHED)
def _key(parts: tuple[bytes, ...], prefix: str) -> RecordKey:
    below = (prefix.encode(),) if prefix else ()
    return RecordKey(labelled_hash("key", *parts, *below)[:NODE_ID_BYTES])


def name_digits(name: str) -> str:
    """A name as a fraction: digits that sort as names do, as far as TREE_NAME_DIGITS tell them apart (18 characters).

    In base 39, with 0 for the end, so that no digit is wasted on characters that no name has. The mark of a room is left
    out. What cannot be in a name counts as the end.
    """
    fraction = 0
    bare = name.removeprefix("#")
    for place in range(_CHARACTERS):
        fraction = fraction * _BASE + (_RANK.get(bare[place], 0) if place < len(bare) else 0)
    return f"{(fraction << 4 * TREE_NAME_DIGITS) // _BASE**_CHARACTERS:0{TREE_NAME_DIGITS}x}"


def names_between(prefix: str) -> tuple[str, str]:
    """The first and the last item that a name beginning with `prefix` can have."""
    bare = prefix.removeprefix("#")[:_CHARACTERS]
    return name_digits(bare) + "0" * _TAIL_DIGITS, name_digits(bare.ljust(_CHARACTERS, _ORDER[-1])) + "f" * _TAIL_DIGITS


@functools.lru_cache(maxsize=PLACES_CACHED)
def item_by_name(name: str, key: bytes, what: bytes) -> str:
    """In the order of names; those of one name by a hash, so that any number of them still split."""
    return name_digits(name) + labelled_hash("item", key, what).hex()[:_TAIL_DIGITS]


@functools.lru_cache(maxsize=PLACES_CACHED)
def item_by_owner(key: bytes, what: bytes) -> str:
    """Spread evenly, and what one key has is together."""
    owner = labelled_hash("item", key).hex()[:TREE_NAME_DIGITS]
    return owner + labelled_hash("item", key, what).hex()[:_TAIL_DIGITS]
