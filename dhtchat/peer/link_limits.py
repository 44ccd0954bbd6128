"""The limits of a link and of the pool, as one value, so that a test can have shorter waits. The numbers are limits.py's."""

from dataclasses import dataclass
from typing import Final

from dhtchat import limits


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Each field is the constant of the same name in limits.py, where its reason stands."""

    handshake_timeout_s: float = limits.HANDSHAKE_TIMEOUT_S
    dial_timeout_s: float = limits.DIAL_TIMEOUT_S
    dial_stagger_s: float = limits.DIAL_STAGGER_S
    half_open_max: int = limits.HALF_OPEN_MAX
    half_open_per_host_max: int = limits.HALF_OPEN_PER_HOST_MAX
    links_max: int = limits.LINKS_MAX
    keepalive_interval_s: float = limits.KEEPALIVE_INTERVAL_S
    keepalive_timeout_s: float = limits.KEEPALIVE_TIMEOUT_S
    link_race_s: float = limits.LINK_RACE_S
    backoff_first_s: float = limits.BACKOFF_FIRST_S
    backoff_max_s: float = limits.BACKOFF_MAX_S
    link_queue_bytes_max: int = limits.LINK_QUEUE_BYTES_MAX
    link_stall_timeout_s: float = limits.LINK_STALL_TIMEOUT_S
    inbox_frames_max: int = limits.INBOX_FRAMES_MAX
    inbox_bytes_max: int = limits.INBOX_BYTES_MAX
    goodbye_timeout_s: float = limits.GOODBYE_TIMEOUT_S


DEFAULT_LIMITS: Final = LinkLimits()
"""What everybody uses outside tests."""
