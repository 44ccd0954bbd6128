"""Few nodes of one network stand together, wherever that is decided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.dht.contact import Contact
from dhtchat.dht.diversity import Limited, network_of, spread
from dhtchat.ids import Endpoint, NodeId
from dhtchat.limits import NETWORK_NODES_PER_REPLICA_SET, NODE_ID_BYTES


def contact(number: int, host: str) -> Contact:
    return Contact(NodeId(number.to_bytes(NODE_ID_BYTES, "big")), Endpoint(host, 1))


@pytest.mark.parametrize(
    ("host", "public", "every"),
    [
        ("192.0.2.7", "192.0.2.0/24", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48", "2001:db8:1::/48"),
        ("10.1.2.3", None, "10.1.2.0/24"),
        ("172.31.255.1", None, "172.31.255.0/24"),
        ("172.32.0.1", "172.32.0.0/24", "172.32.0.0/24"),
        ("192.168.1.1", None, "192.168.1.0/24"),
        ("127.0.0.9", None, "127.0.0.0/24"),
        ("169.254.3.4", None, "169.254.3.0/24"),
        ("100.64.0.1", None, "100.64.0.0/24"),
        ("::1", None, "::/48"),
        ("fd00:1::1", None, "fd00:1::/48"),
        ("fe80::1", None, "fe80::/48"),
        ("not an address", None, None),
    ],
)
def test_networks(host: str, public: str | None, every: str | None) -> None:
    assert network_of(Endpoint(host, 1), "public") == public
    assert network_of(Endpoint(host, 1), "all") == every
    assert network_of(Endpoint(host, 1), "none") is None


@given(
    networks=st.lists(st.integers(0, 6), max_size=60),
    count=st.integers(1, 20),
    limited=st.sampled_from(["public", "all", "none"]),
)
def test_the_nearest_with_few_of_one_network_and_the_farther_ones_fill_up(
    networks: list[int], count: int, limited: Limited
) -> None:
    """Network 0 is a private one."""
    hosts = [f"192.0.{network}.1" if network else "10.0.0.1" for network in networks]
    ranked = [contact(number, host) for number, host in enumerate(hosts)]
    chosen = spread(ranked, count, limited)
    assert chosen == sorted(chosen)
    assert len(chosen) <= count

    def is_full(left_out: Contact) -> bool:
        network = network_of(left_out.endpoint, limited)
        nearer = [c for c in chosen if c < left_out and network_of(c.endpoint, limited) == network]
        return network is not None and len(nearer) == NETWORK_NODES_PER_REPLICA_SET

    within = ranked if len(chosen) < count else ranked[: ranked.index(chosen[-1]) + 1]
    for each in within:
        assert (each in chosen) != is_full(each), "nobody is left out, nor let in, for another reason"
