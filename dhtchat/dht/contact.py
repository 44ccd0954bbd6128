"""A contact is a node's id and where it is reached; packed, it is 26 bytes for IPv4 and 38 for IPv6 (as in BEP 5)."""

import functools
import ipaddress
from typing import Final, NamedTuple

from dhtchat.errors import MalformedMessage
from dhtchat.ids import Endpoint, NodeId
from dhtchat.limits import ENDPOINTS_CACHED, NODE_ID_BYTES

_PORT_BYTES: Final = 2
_PACKED_LENGTHS: Final = frozenset({4 + _PORT_BYTES, 16 + _PORT_BYTES})
"""An IPv4 or IPv6 address and a port."""
PACKED_CONTACT_LENGTHS: Final = frozenset(NODE_ID_BYTES + length for length in _PACKED_LENGTHS)


class Contact(NamedTuple):
    """Both together: a node that moved, or one that poses as another, is another contact."""

    node_id: NodeId
    endpoint: Endpoint

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
    return contact.node_id + pack_endpoint(contact.endpoint)


def unpack_contact(packed: bytes) -> Contact:
    """The reverse, or `MalformedMessage`."""
    return Contact(NodeId(packed[:NODE_ID_BYTES]), unpack_endpoint(packed[NODE_ID_BYTES:]))


@functools.lru_cache(maxsize=ENDPOINTS_CACHED)
def is_callable(endpoint: Endpoint) -> bool:
    """Whether one node can be behind it: hearsay may name port 0, a multicast group or no address at all."""
    try:
        address = ipaddress.ip_address(endpoint.host)
    except ValueError:
        return False
    return endpoint.port > 0 and not (address.is_multicast or address.is_unspecified or "%" in endpoint.host)


@functools.lru_cache(maxsize=ENDPOINTS_CACHED)
def callable_contact(packed: bytes) -> Contact | None:
    """The contact, unless no node can be behind its address."""
    contact = unpack_contact(packed)
    return contact if is_callable(contact.endpoint) else None


def plain_endpoint(host: str, port: int) -> Endpoint:
    """An address as the socket gives it, IPv4 in its own form: a `::` socket shows it as `::ffff:192.0.2.7`."""
    if host.startswith("::ffff:") and "." in host:
        return Endpoint(host.removeprefix("::ffff:"), port)
    return Endpoint(host, port)


def same_family(a: Endpoint, b: Endpoint) -> bool:
    """Whether who speaks from `a` can be expected to reach `b`."""
    return (":" in a.host) == (":" in b.host)
