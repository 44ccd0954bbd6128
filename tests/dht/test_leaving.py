"""Leaving is said, and believed only after a look: nobody waits for who is gone, and nobody can send others away."""

import asyncio

from dhtchat.dht import wire
from dhtchat.ids import Endpoint, NodeAddress
from tests.dht.support import Peer, deliver, node_key_of, running_node, until, with_sender


async def test_who_leaves_is_out_of_the_tables_at_once() -> None:
    """A goodbye spares the others the tries that a silent contact costs."""
    async with running_node(1) as stays, running_node(2) as leaves:
        await leaves.bootstrap([NodeAddress(stays.address, None)])
        await until(lambda: any(c.node_id == leaves.node_id for c in stays.contacts()), "the table follows")
        leaves.say_goodbye()
        await until(lambda: not stays.contacts(), "the table follows")


async def test_an_old_goodbye_said_again_changes_nothing() -> None:
    """From before a restart, so that its counter is not known any more: who still answers stays."""
    async with running_node(1) as stays, running_node(2) as other, Peer(key=node_key_of(2)) as before:
        await other.bootstrap([NodeAddress(stays.address, None)])
        await until(lambda: any(c.node_id == other.node_id for c in stays.contacts()), "the table follows")
        pings = other.statistics["request-Ping"]
        deliver(stays, before.request(stays, wire.Leaving()), other.address)
        await until(lambda: other.statistics["request-Ping"] > pings, "the table follows")
        await asyncio.sleep(0)
        assert any(c.node_id == other.node_id for c in stays.contacts())


async def test_a_goodbye_in_somebody_elses_name_is_not_even_heard() -> None:
    async with running_node(1) as stays, running_node(2) as other, Peer() as liar:
        await other.bootstrap([NodeAddress(stays.address, None)])
        await until(lambda: any(c.node_id == other.node_id for c in stays.contacts()), "the table follows")
        out = stays.statistics["datagrams-out"]
        deliver(stays, with_sender(liar.request(stays, wire.Leaving()), other.node_key), other.address)
        assert stays.statistics["malformed"] == 1
        await asyncio.sleep(0)
        assert stays.statistics["datagrams-out"] == out


async def test_a_client_that_takes_part_is_found_by_others() -> None:
    """Until the login nobody knows us; from then on everybody may."""
    async with running_node(1) as door, running_node(2, client=True) as comes:
        await comes.bootstrap([NodeAddress(Endpoint(*door.address), None)])
        assert not door.contacts()
        await comes.take_part()
        await until(lambda: any(c.node_id == comes.node_id for c in door.contacts()), "the table follows")
