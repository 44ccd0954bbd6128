"""The local network: a bootstrap node announces itself there, and who knows no address asks there (multicast DNS, RFC 6762).

Needs the extra `lan` (zeroconf, imported late); without it the local network is neither told nor asked anything. What is
announced is anybody's word, like an address that somebody calls across the room: it is asked for a hello and nothing more,
and only if it is one of a local network, so that no stranger can have us knock elsewhere. Names of people and rooms are never
said here.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterable
from importlib.util import find_spec
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Final

from dhtchat.ids import Endpoint, NodeAddress, print_node_key
from dhtchat.limits import LAN_ADDRESSES_PER_NODE, LAN_GATHER_S, LAN_NODES_MAX, LAN_SEARCH_S

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

log = logging.getLogger(__name__)

Interfaces = tuple[str, ...] | None
"""Our IPv4 addresses in the networks that are told or asked; None: in all of them; empty: in none."""

SERVICE: Final = "_dhtchat._udp.local."
_NETWORK: Final = "network"
"""The text record with the network's id, in hexadecimal: nodes of others are not even asked."""
_KEY_CHARACTERS: Final = 16
"""Of a node's key, in the name of its announcement: enough that no two are the same."""


def is_available() -> bool:
    """Whether the extra is installed."""
    return find_spec("zeroconf") is not None


def interfaces_of(host: str | None) -> Interfaces:
    """Where to ask and tell for somebody who listens at `host`: nowhere for one who stays on this machine."""
    if host is None:
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if address.is_unspecified:
        return None
    return (host,) if isinstance(address, IPv4Address) and not address.is_loopback else ()


async def search(network_id: bytes, interfaces: Interfaces) -> list[NodeAddress]:
    """Addresses of nodes of this network that are announced, at most LAN_NODES_MAX, within LAN_SEARCH_S."""
    if interfaces == () or not is_available():
        return []
    from zeroconf import Error, ServiceStateChange
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo

    names: asyncio.Queue[str] = asyncio.Queue()

    def heard(zeroconf: object, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Added and names.qsize() < LAN_NODES_MAX:
            names.put_nowait(name)

    found: dict[NodeAddress, None] = {}
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + LAN_SEARCH_S
    with contextlib.suppress(OSError, Error, TimeoutError):  # no such network, or nobody in it
        async with _opened(interfaces) as multicast:
            browser = AsyncServiceBrowser(multicast.zeroconf, SERVICE, handlers=[heard])
            try:
                while len(found) < LAN_NODES_MAX:
                    async with asyncio.timeout_at(ends_s):
                        info = AsyncServiceInfo(SERVICE, await names.get())
                        answered = await info.async_request(multicast.zeroconf, 1000 * LAN_SEARCH_S)
                    if answered and info.decoded_properties.get(_NETWORK) == network_id.hex() and info.port:
                        local = believable(info.parsed_addresses(), interfaces)
                        found |= dict.fromkeys(NodeAddress(Endpoint(host, info.port), None) for host in local)
                        ends_s = min(ends_s, loop.time() + LAN_GATHER_S)
            finally:
                await browser.async_cancel()
    return list(found)[:LAN_NODES_MAX]


def believable(hosts: Iterable[str], interfaces: Interfaces) -> list[str]:
    """Of the addresses that somebody announces those that may be in a local network; this machine's own only where we
    asked nobody else."""
    here = any(ip_address(own).is_loopback for own in interfaces or ())
    local = []
    for host in hosts:
        with contextlib.suppress(ValueError):
            address = ip_address(host)
            odd = address.is_unspecified or address.is_multicast or address.is_reserved
            if isinstance(address, IPv4Address) and address.is_private and not odd and address.is_loopback == here:
                local.append(host)
    return local[:LAN_ADDRESSES_PER_NODE]


async def announce(bound: Endpoint, node_key: bytes, network_id: bytes, interfaces: Interfaces) -> None:
    """Until cancelled, tell the local network of the node that listens at `bound`. Returns where that cannot be done."""
    if interfaces == () or not is_available():
        return
    from zeroconf import Error
    from zeroconf.asyncio import AsyncServiceInfo

    name = print_node_key(node_key)[:_KEY_CHARACTERS]
    info = AsyncServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        port=bound.port,
        parsed_addresses=list(interfaces or _own_addresses()),
        properties={_NETWORK: network_id.hex()},
        server=f"dhtchat-{name}.local.",
    )
    try:
        async with _opened(interfaces) as multicast:
            await (await multicast.async_register_service(info))
            log.info("announced in the local network as %s", info.name)
            try:
                await asyncio.Event().wait()
            finally:
                await (await multicast.async_unregister_service(info))
    except (OSError, Error) as error:
        log.warning("cannot be announced in the local network: %s", error)


@contextlib.asynccontextmanager
async def _opened(interfaces: Interfaces) -> "AsyncIterator[AsyncZeroconf]":
    from zeroconf import InterfaceChoice, IPVersion
    from zeroconf.asyncio import AsyncZeroconf

    chosen = InterfaceChoice.All if interfaces is None else list(interfaces)
    multicast = AsyncZeroconf(interfaces=chosen, ip_version=IPVersion.V4Only)
    try:
        yield multicast
    finally:
        await multicast.async_close()


def own_address() -> str:
    """The IPv4 address from which this machine would reach others; 127.0.0.1 when it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of no network (RFC 5737); connecting a datagram socket sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _own_addresses() -> list[str]:
    """Of this machine in local networks. The library that zeroconf itself asks."""
    from ifaddr import get_adapters

    own = (ip.ip for adapter in get_adapters() for ip in adapter.ips if isinstance(ip.ip, str))
    return [host for host in own if not ip_address(host).is_loopback]
