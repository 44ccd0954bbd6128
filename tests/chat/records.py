"""Soft records of made-up people: what a roster and a directory are fed with."""

from typing import TypeVar

from dhtchat.crypto.identity import SigningKey
from dhtchat.ids import PeerDevice
from dhtchat.records.envelope import Body, Signed, sign_body
from dhtchat.records.listing import UserListing
from dhtchat.records.membership import Membership
from dhtchat.records.presence import Address, Presence
from tests.chat.statements import NETWORK, NOW_S, ROOM, Speaker

B = TypeVar("B", bound=Body)
TTL_S = 120


def who(voice: Speaker) -> PeerDevice:
    return PeerDevice(voice.peer, voice.device)


def membership(
    voice: Speaker,
    sequence: int = 1,
    *,
    gone: bool = False,
    device: bytes | None = None,
    name: str | None = None,
    room: bytes = ROOM,
) -> Signed[Membership]:
    """`device`: another one than the voice's own, as a liar would write."""
    body = Membership(room, name or voice.name, device or voice.device, sequence, NOW_S, TTL_S, gone)
    return _signed(body, voice.identity)


def listing(
    voice: Speaker, sequence: int = 1, *, away: bool = False, issued_at_s: int = NOW_S, device: bytes | None = None
) -> Signed[UserListing]:
    body = UserListing(voice.name, device or voice.device, away, sequence, issued_at_s, TTL_S, False)
    return _signed(body, voice.identity)


def presence(
    voice: Speaker,
    sequence: int = 1,
    *,
    away: str = "",
    since_s: int = NOW_S,
    issued_at_s: int = NOW_S,
    gone: bool = False,
    device: bytes | None = None,
    ttl_s: int = TTL_S,
) -> Signed[Presence]:
    addresses = [Address("192.0.2.7", 40_000)]
    body = Presence(voice.name, device or voice.device, addresses, away, since_s, sequence, issued_at_s, ttl_s, gone)
    return _signed(body, voice.identity)


def _signed(body: B, identity: SigningKey) -> Signed[B]:
    return sign_body(body, identity, NETWORK)
