"""How many nodes of one network may stand together: addresses of one /24 (IPv6: /48) usually have one owner, so they count
as one voice or two, however many nodes run there. Pure.

Two nodes must agree on this, or they disagree on who holds a record; hence `NetworkParameters.networks_limited`.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final, Literal

from dhtchat.dht.contact import Contact
from dhtchat.ids import Endpoint
from dhtchat.limits import ENDPOINTS_CACHED, NETWORK_BITS_IPV4, NETWORK_BITS_IPV6, NETWORK_NODES_PER_REPLICA_SET

Limited = Literal["public", "all", "none"]
Network = str
"""Printed, as `192.0.2.0/24`."""

_PRIVATE: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),  # RFC 1918
            *("127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/32"),  # loopback, link-local, not known
            "100.64.0.0/10",  # RFC 6598, between a carrier and its customers; also what some overlay networks use
            *("::1/128", "::/128", "fe80::/10", "fc00::/7"),
        ),
    )
)
"""Who can use these is within reach of everybody there anyway, and a group at one site has no others. Not
`ipaddress.is_private`: what that means has changed between versions of Python, and all nodes must agree."""


@lru_cache(maxsize=ENDPOINTS_CACHED)
def network_of(endpoint: Endpoint, limited: Limited) -> Network | None:
    """Whose number is limited; None: it is not."""
    if limited == "none":
        return None
    try:
        address = ipaddress.ip_address(endpoint.host)
    except ValueError:
        return None
    if limited == "public" and any(address in network for network in _PRIVATE):
        return None
    bits = NETWORK_BITS_IPV4 if address.version == 4 else NETWORK_BITS_IPV6
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))


def spread(contacts: Iterable[Contact], count: int, limited: Limited) -> list[Contact]:
    """Of `contacts`, the nearest first, the first `count` with at most NETWORK_NODES_PER_REPLICA_SET of one network: the
    others make room for those behind them."""
    crowd = Crowd(NETWORK_NODES_PER_REPLICA_SET)
    return list(islice((c for c in contacts if crowd.admits(network_of(c.endpoint, limited))), count))


class Crowd:
    """Counts networks until one is full."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counted: dict[Network, int] = {}

    def admits(self, network: Network | None) -> bool:
        """Whether one more fits; then it is counted."""
        if network is None:
            return True
        counted = self._counted.get(network, 0)
        if counted >= self._most:
            return False
        self._counted[network] = counted + 1
        return True
