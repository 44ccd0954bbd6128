"""Identifiers: what they are, how they are printed and parsed, and the XOR distance between two.

All are plain `bytes` behind `NewType`, so that they cost nothing and still cannot be mixed up under mypy.
"""

import base64
import functools
import hashlib
import ipaddress
import unicodedata
from typing import Final, NamedTuple, NewType

from dhtchat.errors import BadName, BadUsage
from dhtchat.limits import (
    HOST_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    NAME_CHARACTERS_MIN,
    NODE_ID_BYTES,
    NODE_KEYS_CACHED,
    RESERVED_NAMES,
    ROOM_NAME_CHARACTERS_MAX,
)

PeerId = NewType("PeerId", bytes)
"""A person: the 32 bytes of an Ed25519 identity key."""
DeviceId = NewType("DeviceId", bytes)
"""One device of a person: the 32 bytes of its Ed25519 key."""
RoomId = NewType("RoomId", bytes)
"""32 bytes: the hash of the room's genesis record."""
MessageId = NewType("MessageId", bytes)
"""16 bytes: the head of the hash of the signed message."""
RecordKey = NewType("RecordKey", bytes)
"""20 bytes: where in the DHT's id space a record lies."""
NodeId = NewType("NodeId", bytes)
"""20 bytes: a node of the DHT."""

KEY_BYTES: Final = 32
ROOM_ID_BYTES: Final = 32
MESSAGE_ID_BYTES: Final = 16
_NAME_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_FINGERPRINT_BYTES: Final = 10
"""80 bits, 16 base32 characters: to find another key with the same one costs 2^80 key pairs."""
_FINGERPRINT_CHARACTERS: Final = _FINGERPRINT_BYTES * 8 // 5
_BASE32_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")


def labelled_hash(label: str, *parts: bytes) -> bytes:
    """SHA-256 over a label and length-prefixed parts, so that no two different inputs hash the same bytes."""
    state = hashlib.sha256(b"dhtchat/" + label.encode() + b"/v1\0")
    for part in parts:
        state.update(len(part).to_bytes(4, "big"))
        state.update(part)
    return state.digest()


def distance(a: bytes, b: bytes) -> int:
    """XOR distance of two ids of the same length (Kademlia paper, 2002, §2.1)."""
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


@functools.lru_cache(maxsize=NODE_KEYS_CACHED)
def node_id_of(node_key: bytes) -> NodeId:
    """The id of the DHT node that owns `node_key`: the first 160 bits of its SHA-256."""
    return NodeId(hashlib.sha256(node_key).digest()[:NODE_ID_BYTES])


@functools.lru_cache(maxsize=NODE_KEYS_CACHED)
def puzzle_bits(node_key: bytes) -> int:
    """Leading zero bits of the hash of a node id's hash: the static puzzle of S/Kademlia (Baumgart 2007, §4.1)."""
    solved = hashlib.sha256(hashlib.sha256(node_key).digest()).digest()
    return 256 - int.from_bytes(solved, "big").bit_length()


def fingerprint(peer: bytes) -> str:
    """What people compare: `abcd-efgh-ijkl-mnop`, 80 bits of the hash of an identity key."""
    text = base64.b32encode(labelled_hash("fingerprint", peer)[:_FINGERPRINT_BYTES]).decode().lower()
    return _in_fours(text)


def _in_fours(text: str) -> str:
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def fold_name(text: str) -> str:
    """The one form of a user name, or `BadName`. NFKC and lower case first; anything odd that remains is refused."""
    name = _fold(text.strip())
    if not NAME_CHARACTERS_MIN <= len(name) <= NAME_CHARACTERS_MAX:
        raise BadName(
            f"a user name has {NAME_CHARACTERS_MIN} to {NAME_CHARACTERS_MAX} characters, this has {len(name)}"
        )
    if not _NAME_ALPHABET.issuperset(name):
        raise BadName(f"{name!a} has characters that a user name cannot have")
    if name in RESERVED_NAMES:
        raise BadName(f"'{name}' is reserved")
    return name


def is_folded_name(text: str) -> bool:
    """Whether a name from the network is already in the one form that `fold_name` gives."""
    return (
        NAME_CHARACTERS_MIN <= len(text) <= NAME_CHARACTERS_MAX
        and _NAME_ALPHABET.issuperset(text)
        and text not in RESERVED_NAMES
    )


def fold_room(text: str) -> str:
    """The one form of a room name, `#` included, or `BadName`."""
    name = _fold(text.strip())
    if not name.startswith("#"):
        raise BadName(f"{name!a} is no room: rooms start with '#'")
    if not is_folded_room(name):
        raise BadName(f"{name!a} is no room name")
    return name


def fold_room_meant(text: str) -> str:
    """`fold_room`, where nothing but a room can be meant: a shell takes `#lobby` for a comment, so `lobby` will do."""
    return fold_room(text if text.strip().startswith("#") else f"#{text.strip()}")


def is_folded_room(text: str) -> bool:
    """Whether a room name from the network is already in the one form that `fold_room` gives."""
    return text[:1] == "#" and 1 <= len(text) - 1 <= ROOM_NAME_CHARACTERS_MAX and _NAME_ALPHABET.issuperset(text[1:])


class Login(NamedTuple):
    """What a user types to say who they are: a name, and after a name conflict its fingerprint too."""

    name: str
    fingerprint: str | None


def parse_login(text: str) -> Login:
    """`alice` or `alice#abcd-efgh-ijkl-mnop`."""
    name, mark, printed = text.partition("#")
    if not mark:
        return Login(fold_name(name), None)
    compact = printed.strip().replace("-", "").lower()
    if len(compact) != _FINGERPRINT_CHARACTERS or not _BASE32_ALPHABET.issuperset(compact):
        raise BadName(
            f"{printed!a} is no fingerprint",
            hint="Copy the 16 letters and digits that /whois shows, for instance alice#abcd-efgh-ijkl-mnop.",
        )
    return Login(fold_name(name), _in_fours(compact))


class PeerDevice(NamedTuple):
    """A device as one of a person's. A record may name any device: only a link proves that both belong together."""

    peer: PeerId
    device: DeviceId


class Endpoint(NamedTuple):
    """Where a socket is: a numeric address (or a host name a user typed) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NodeAddress(NamedTuple):
    """A bootstrap node as a user names it; `node_key` pins it when given."""

    endpoint: Endpoint
    node_key: bytes | None

    def __str__(self) -> str:
        return str(self.endpoint) + (f"/{print_node_key(self.node_key)}" if self.node_key else "")


def parse_endpoint(text: str) -> Endpoint:
    """`HOST:PORT` or `[IPv6]:PORT`, or `BadUsage`."""
    host, _, port = text.strip().rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    if in_brackets:
        host = host[1:-1]
    if not (_is_ipv6_address(host) if in_brackets else _is_host_name(host)):
        raise BadUsage(
            f"{text!a} is no address", hint="Write HOST:PORT or [IPv6]:PORT, for instance 192.0.2.7:8468 or [::1]:8468."
        )
    # Five digits at most: int() answers thousands of them with an error of its own.
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65_536):
        raise BadUsage(f"{port!a} is no port", hint="A port is a number from 1 to 65535.")
    return Endpoint(host, int(port))


def _is_host_name(host: str) -> bool:
    """Whether it may be a numeric IPv4 address or the name of a host: nothing that name resolution chokes on."""
    labels = host.lower().removesuffix(".").split(".")
    return (
        host.isascii()
        and len(host) <= 253
        and all(len(x) in range(1, 64) and _NAME_ALPHABET.issuperset(x) for x in labels)
    )


def _is_ipv6_address(host: str) -> bool:
    """Whether it is one, perhaps with the interface it is meant on: `fe80::1%eth0`."""
    address, percent, interface = host.partition("%")
    return ":" in address and is_ip_address(address) and (not percent or _is_host_name(interface))


def parse_node_address(text: str) -> NodeAddress:
    """`HOST:PORT`, `[IPv6]:PORT`, either with `/KEY` behind it, or `BadUsage`."""
    address, slash, key = text.strip().partition("/")
    return NodeAddress(parse_endpoint(address), parse_node_key(key) if slash else None)


def print_node_key(node_key: bytes) -> str:
    """52 base32 characters for the 32 bytes of a node's key."""
    return base64.b32encode(node_key).decode().rstrip("=").lower()


def parse_node_key(text: str) -> bytes:
    """The reverse of `print_node_key`, or `BadUsage`."""
    try:
        key = base64.b32decode(text.upper() + "====")
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or print_node_key(key) != text.lower():
        raise BadUsage(f"{text!a} is no node key", hint="Copy the 52 letters and digits the bootstrap node printed.")
    return key


def is_ip_address(host: str) -> bool:
    """Whether `host` is a numeric address, the only form accepted from the network."""
    if len(host) > HOST_CHARACTERS_MAX:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host
