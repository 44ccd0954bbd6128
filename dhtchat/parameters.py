"""What the nodes of one network must agree on. Two networks with any difference do not accept each other's records."""

import functools
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from dhtchat.errors import BadUsage
from dhtchat.ids import labelled_hash
from dhtchat.limits import (
    KDF_LANES_MAX,
    KDF_MEMORY_KIB_MAX,
    KDF_PASSES_MAX,
    MAIL_WORK_DISCOUNT_BITS,
    PRESENCE_REFRESH_S,
    PRESENCE_TTL_S,
)


class NetworkParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A network's name, costs and limits. The defaults are those of `main`."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")] = "main"
    kdf_memory_kib: Annotated[int, Meta(ge=8, le=KDF_MEMORY_KIB_MAX)] = 65_536
    kdf_passes: Annotated[int, Meta(ge=1, le=KDF_PASSES_MAX)] = 3
    kdf_lanes: Annotated[int, Meta(ge=1, le=KDF_LANES_MAX)] = 4
    """Argon2id for new accounts: 64 MiB, t=3, p=4 takes about 0.2 s (RFC 9106 §4, the memory-constrained choice)."""
    proof_of_work_bits: Annotated[int, Meta(ge=0, le=40)] = 20
    """Leading zero bits that the hash of a new account's claim must have: 2^20 SHA-256 is about a second."""
    room_proof_of_work_bits: Annotated[int, Meta(ge=0, le=40)] = 16
    """The same for a new room: people open rooms in passing, so a sixteenth of it."""
    id_puzzle_bits: Annotated[int, Meta(ge=0, le=32)] = 8
    """Static puzzle for node ids (S/Kademlia, Baumgart 2007, §4.1)."""
    k: Annotated[int, Meta(ge=2, le=64)] = 20
    alpha: Annotated[int, Meta(ge=1, le=16)] = 3
    """Bucket size and parallelism (Kademlia paper, 2002, §2.3)."""
    networks_limited: Literal["public", "all", "none"] = "public"
    """Which addresses count when few nodes of one /24 or /48 may hold a key: "public" leaves private ones out (a group at
    home or at one site), "none" is for a site with public addresses, "all" for one that does not trust its own network."""
    presence_ttl_s: Annotated[int, Meta(ge=3, le=3600)] = PRESENCE_TTL_S
    presence_refresh_s: Annotated[int, Meta(ge=1, le=1200)] = PRESENCE_REFRESH_S

    def __post_init__(self) -> None:
        if self.presence_ttl_s < 3 * self.presence_refresh_s:
            raise ValueError("presence_ttl_s must be at least three times presence_refresh_s")

    @property
    def mail_work_bits(self) -> int:
        """Leading zero bits of the work for an item of mail: none where accounts cost hardly any."""
        return max(0, self.proof_of_work_bits - MAIL_WORK_DISCOUNT_BITS)

    @functools.cached_property
    def network_id(self) -> bytes:
        """32 bytes over all of the above: part of every hello and of every signature label."""
        return labelled_hash("network", msgspec.msgpack.encode(self))


MAIN: Final = NetworkParameters()
"""For people."""
SIM: Final = NetworkParameters(
    name="sim",
    kdf_memory_kib=8,
    kdf_passes=1,
    kdf_lanes=1,
    proof_of_work_bits=0,
    room_proof_of_work_bits=0,
    id_puzzle_bits=0,
)
"""For thousands of nodes in one process. All else in the node is the same."""
_KNOWN: Final = {"main": MAIN, "sim": SIM}


def load_parameters(text: str) -> NetworkParameters:
    """The network a user names: `main`, `sim` or a TOML file with the fields of `NetworkParameters`."""
    if text in _KNOWN:
        return _KNOWN[text]
    try:
        table = tomllib.loads(Path(text).read_text(encoding="utf-8"))
        parameters = msgspec.convert(table, NetworkParameters)
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"cannot read the network file {text}: {error}", hint="Name a file, 'main' or 'sim'.") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise BadUsage(
            f"{text} describes no network: {error}", hint="See docs/operations.md for its fields."
        ) from error
    if table.get("name") in (None, *_KNOWN):
        raise BadUsage(f"{text} gives its network no name of its own", hint='Add a line such as: name = "our-group"')
    return parameters
