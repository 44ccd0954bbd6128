"""Where a device can be reached. Soft; one entry per device, under its owner's identity."""

import functools
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from dhtchat.ids import DeviceId, Endpoint, PeerId, RecordKey, is_folded_name, is_ip_address, labelled_hash
from dhtchat.limits import (
    ADDRESSES_PER_DEVICE_MAX,
    AWAY_BYTES_MAX,
    AWAY_CHARACTERS_MAX,
    HOST_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    NODE_ID_BYTES,
    PLACES_CACHED,
)
from dhtchat.records.envelope import Body, Key, Sequence, UnixSeconds
from dhtchat.records.soft import TtlSeconds


class Address(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One way to a device: a numeric address and a TCP port."""

    host: Annotated[str, Meta(max_length=HOST_CHARACTERS_MAX)]
    port: Annotated[int, Meta(ge=1, le=65_535)]

    def __post_init__(self) -> None:
        if not is_ip_address(self.host):
            raise ValueError(f"{self.host!a} is no numeric address")

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.host, self.port)


class Presence(Body, frozen=True):
    """Signed by the identity key. `since_s`: when this device came online."""

    KIND: ClassVar[str] = "presence"

    name: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    device: Key
    addresses: Annotated[list[Address], Meta(max_length=ADDRESSES_PER_DEVICE_MAX)]
    away: Annotated[str, Meta(max_length=AWAY_CHARACTERS_MAX)]
    since_s: UnixSeconds
    sequence: Sequence
    issued_at_s: UnixSeconds
    ttl_s: TtlSeconds
    gone: bool

    def __post_init__(self) -> None:
        if not is_folded_name(self.name):
            raise ValueError(f"{self.name!a} is no user name")
        if len(self.away.encode()) > AWAY_BYTES_MAX:
            raise ValueError("the away text is too long")

    @property
    def device_id(self) -> DeviceId:
        return DeviceId(self.device)

    def place(self, key: bytes) -> RecordKey:
        return presence_key(PeerId(key))

    def entry_id(self, key: bytes) -> bytes:
        return key + self.device


@functools.lru_cache(maxsize=PLACES_CACHED)
def presence_key(peer: PeerId) -> RecordKey:
    """Where the devices of a person are announced."""
    return RecordKey(labelled_hash("key", b"presence", peer)[:NODE_ID_BYTES])
