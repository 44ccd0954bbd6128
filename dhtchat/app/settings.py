"""What a user or a script chose for one run."""

import os
from pathlib import Path

import msgspec

from dhtchat.ids import Endpoint, NodeAddress, parse_node_address
from dhtchat.limits import BOOTSTRAP_ADDRESSES_MAX, BOOTSTRAP_PORT
from dhtchat.parameters import MAIN, NetworkParameters

BOOTSTRAP_VARIABLE = "DHTCHAT_BOOTSTRAP"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Flags over environment over defaults; the faces fill it in."""

    data_dir: Path
    """Everything we keep lies below; folders 0700, files 0600."""
    profile: str | None = None
    """Which user's folder; None: the name that logs in."""
    parameters: NetworkParameters = MAIN
    bootstrap: tuple[NodeAddress, ...] = ()
    host: str | None = None
    """Where to listen; None: all interfaces."""
    port: int | None = None
    """UDP port; None: the one of last time, else a free one; 0: a free one."""

    interfaces: tuple[str, ...] | None = ()
    """In which local networks nodes are looked for, or announced: by our IPv4 addresses there; None: in all; empty: in none."""

    keep_days: int | None = None
    """How old talk may become before it is dropped from this device; 0: for ever; None: as said last time."""
    keep_mib: int | None = None
    """How much of it is kept, in MiB; 0: all; None: as said last time."""
    tells_read: bool = True
    """Whether others hear which of their lines were shown here."""

    def listen_at(self) -> Endpoint:
        """All interfaces by default, of the address family that the bootstrap address speaks."""
        v6 = any(":" in address.endpoint.host for address in self.bootstrap)
        return Endpoint(self.host or ("::" if v6 else "0.0.0.0"), self.port or 0)


def bootstrap_addresses(given: list[str]) -> tuple[NodeAddress, ...]:
    """From the command line, else from the environment (separated by spaces or commas). Raises `BadUsage`."""
    texts = given or os.environ.get(BOOTSTRAP_VARIABLE, "").replace(",", " ").split()
    return tuple(dict.fromkeys(parse_node_address(text) for text in texts[:BOOTSTRAP_ADDRESSES_MAX]))


LOCAL_NODE = NodeAddress(Endpoint("127.0.0.1", BOOTSTRAP_PORT), None)
"""Where a bootstrap node on this machine listens unless told otherwise."""
