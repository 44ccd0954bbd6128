"""A device certificate: an identity says that a device acts for it, under which name."""

import functools
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from dhtchat.ids import DeviceId, PeerDevice, PeerId, is_folded_name
from dhtchat.limits import CERTIFICATES_CACHED, NAME_CHARACTERS_MAX
from dhtchat.records.envelope import Body, Key, Signed, UnixSeconds, open_signed

CERTIFICATE_BYTES_MAX: Final = 179
"""Name 24, two keys, a signature and the envelope; pinned by tests/records/test_sizes.py."""


class DeviceCertificate(Body, frozen=True):
    """Signed by the identity key."""

    KIND: ClassVar[str] = "device"

    name: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    device: Key
    issued_at_s: UnixSeconds

    def __post_init__(self) -> None:
        if not is_folded_name(self.name):
            raise ValueError(f"{self.name!a} is no user name")


class Author:
    """Who stands behind a device: person, device and the name the person goes by."""

    __slots__ = ("device", "name", "peer")

    def __init__(self, peer: PeerId, device: DeviceId, name: str) -> None:
        self.peer = peer
        self.device = device
        self.name = name

    @property
    def who(self) -> PeerDevice:
        return PeerDevice(self.peer, self.device)

    def __repr__(self) -> str:
        return f"Author({self.name}, {self.peer.hex()[:8]}…/{self.device.hex()[:8]}…)"


@functools.lru_cache(maxsize=CERTIFICATES_CACHED)
def open_certificate(raw: bytes, network_id: bytes) -> Author:
    """Raises `MalformedRecord` or `BadSignature`. Good ones are remembered: every message carries its author's."""
    signed: Signed[DeviceCertificate] = open_signed(raw, DeviceCertificate, network_id, bytes_max=CERTIFICATE_BYTES_MAX)
    return Author(PeerId(signed.key), DeviceId(signed.body.device), signed.body.name)
