"""Leaving is said, and believed only after a look: nobody waits for who is gone, and nobody can send others away."""

import asyncio

from dhtchat.crypto.datagram import Sealer
from dhtchat.dht import wire
from dhtchat.ids import Endpoint, NodeAddress
from dhtchat.limits import DATAGRAM_ID_BYTES
from dhtchat.parameters import SIM
from tests.dht.support import Peer, node_key_of, running_node, until


async def test_who_leaves_is_out_of_the_tables_at_once() -> None:
    """A goodbye spares the others the tries that a silent contact costs."""
    async with running_node(1) as stays, running_node(2) as leaves:
        await leaves.bootstrap([NodeAddress(stays.address, None)])
        await until(lambda: any(c.node_id == leaves.node_id for c in stays.contacts()), "the table follows")
        leaves.say_goodbye()
        await until(lambda: not stays.contacts(), "the table follows")


async def test_an_old_goodbye_played_again_changes_nothing() -> None:
    """Who still answers stays, whatever somebody kept of an earlier life."""
    async with running_node(1) as stays, running_node(2) as other:
        await other.bootstrap([NodeAddress(stays.address, None)])
        await until(lambda: any(c.node_id == other.node_id for c in stays.contacts()), "the table follows")
        pings = other.statistics["request-Ping"]
        earlier = Sealer(node_key_of(2), b"earlier.", SIM.network_id)
        goodbye = wire.encode(bytes(DATAGRAM_ID_BYTES), wire.NO_TOKEN, wire.Leaving())
        # As it arrives when its sender's address is forged: loopback lets nobody do that from outside.
        datagram = earlier.seal(stays.node_key, wire.Kind.REQUEST, goodbye)
        stays._protocol.datagram_received(datagram, tuple(other.address))
        await until(lambda: other.statistics["request-Ping"] > pings, "the table follows")
        await asyncio.sleep(0)
        assert any(c.node_id == other.node_id for c in stays.contacts())


async def test_a_goodbye_under_another_key_is_nobodys() -> None:
    async with running_node(1) as stays, running_node(2) as other, Peer() as stranger:
        await other.bootstrap([NodeAddress(stays.address, None)])
        await until(lambda: stays.contacts(), "the table follows")
        pings = other.statistics["request-Ping"]
        stays._protocol.datagram_received(stranger.sealed(stays, wire.Leaving()), tuple(other.address))
        await asyncio.sleep(0)
        assert other.statistics["request-Ping"] == pings
        assert [c.node_id for c in stays.contacts()] == [other.node_id]


async def test_a_client_that_takes_part_is_found_by_others() -> None:
    """Until the login nobody knows us; from then on everybody may."""
    async with running_node(1) as door, running_node(2, client=True) as comes:
        await comes.bootstrap([NodeAddress(Endpoint(*door.address), None)])
        assert not door.contacts()
        await comes.take_part()
        await until(lambda: any(c.node_id == comes.node_id for c in door.contacts()), "the table follows")
