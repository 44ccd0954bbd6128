"""A contact is a node and where it is reached: a public key and an address, packed 38 bytes for IPv4 and 50 for IPv6."""

import functools
import ipaddress
from typing import Final, NamedTuple

from dhtchat.errors import MalformedMessage
from dhtchat.ids import KEY_BYTES, Endpoint, NodeId, node_id_of, puzzle_bits
from dhtchat.limits import ENDPOINTS_CACHED

_PORT_BYTES: Final = 2
_PACKED_LENGTHS: Final = frozenset({4 + _PORT_BYTES, 16 + _PORT_BYTES})
"""An IPv4 or IPv6 address and a port."""
PACKED_CONTACT_LENGTHS: Final = frozenset(KEY_BYTES + length for length in _PACKED_LENGTHS)


class Contact(NamedTuple):
    """All together: a node that moved is another contact. `node_id` is the hash of `key`, so it cannot be made up."""

    node_id: NodeId
    endpoint: Endpoint
    key: bytes = b""
    """X25519. Empty where nobody is to be called: tables and searches look at ids and addresses only."""

    def __str__(self) -> str:
        return f"{self.node_id.hex()[:8]}@{self.endpoint}"


@functools.lru_cache(maxsize=ENDPOINTS_CACHED)
def pack_endpoint(endpoint: Endpoint) -> bytes:
    """Raises `ValueError` for a host name or a link-local address with its zone: neither means anything elsewhere."""
    if "%" in endpoint.host:
        raise ValueError(f"{endpoint.host!a} is an address on one link only")
    return ipaddress.ip_address(endpoint.host).packed + endpoint.port.to_bytes(_PORT_BYTES, "big")


@functools.lru_cache(maxsize=ENDPOINTS_CACHED)
def unpack_endpoint(packed: bytes) -> Endpoint:
    """The reverse, or `MalformedMessage`."""
    if len(packed) not in _PACKED_LENGTHS:
        raise MalformedMessage(f"{len(packed)} bytes are no endpoint")
    address, port = packed[:-_PORT_BYTES], packed[-_PORT_BYTES:]
    return Endpoint(str(ipaddress.ip_address(address)), int.from_bytes(port, "big"))


@functools.lru_cache(maxsize=ENDPOINTS_CACHED)
def pack_contact(contact: Contact) -> bytes:
    """Raises `ValueError` as `pack_endpoint` does."""
    return contact.key + pack_endpoint(contact.endpoint)


@functools.lru_cache(maxsize=ENDPOINTS_CACHED)
def contact_at(key: bytes, endpoint: Endpoint) -> Contact:
    return Contact(node_id_of(key), endpoint, key)


def unpack_contact(packed: bytes) -> Contact:
    """The reverse, or `MalformedMessage`."""
    return contact_at(packed[:KEY_BYTES], unpack_endpoint(packed[KEY_BYTES:]))


@functools.lru_cache(maxsize=ENDPOINTS_CACHED)
def is_callable(endpoint: Endpoint) -> bool:
    """Whether one node can be behind it: hearsay may name port 0, a multicast group or no address at all."""
    try:
        address = ipaddress.ip_address(endpoint.host)
    except ValueError:
        return False
    return endpoint.port > 0 and not (address.is_multicast or address.is_unspecified or "%" in endpoint.host)


@functools.lru_cache(maxsize=ENDPOINTS_CACHED)
def callable_contact(packed: bytes, bits: int) -> Contact | None:
    """The contact, unless no node can be behind its address, or its key does not solve the puzzle of so many bits."""
    contact = unpack_contact(packed)
    return contact if is_callable(contact.endpoint) and puzzle_bits(contact.key) >= bits else None


def plain_endpoint(host: str, port: int) -> Endpoint:
    """An address as the socket gives it, IPv4 in its own form: a `::` socket shows it as `::ffff:192.0.2.7`."""
    if host.startswith("::ffff:") and "." in host:
        return Endpoint(host.removeprefix("::ffff:"), port)
    return Endpoint(host, port)
