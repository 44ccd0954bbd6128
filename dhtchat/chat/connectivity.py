"""Are we connected? Decided from when somebody last answered, and when we asked. No I/O, no clock.

Connected means that some node or neighbour has answered within QUIET_LIMIT_S. Silence counts only while somebody is asked:
whoever drives this probes every PROBE_INTERVAL_S once it has been quiet for that long.
"""

from typing import NamedTuple

from dhtchat.limits import PROBE_INTERVAL_S, QUIET_LIMIT_S


class WentOffline(NamedTuple):
    quiet_s: float


class CameBack(NamedTuple):
    after_s: float


class Connectivity:
    """Starts connected at `now_s` (monotonic); `alone` starts it disconnected."""

    def __init__(self, now_s: float, *, alone: bool = False) -> None:
        self._heard_s = now_s
        self._offline_since_s: float | None = now_s if alone else None
        self._ticked_s = now_s

    @property
    def online(self) -> bool:
        return self._offline_since_s is None

    def tick(self, heard_s: float, now_s: float) -> WentOffline | CameBack | None:
        """`heard_s`: when anybody last answered us."""
        if self.online and now_s - self._ticked_s > QUIET_LIMIT_S:
            # The process itself slept (suspended, stopped): nobody could have answered, so the wait starts anew.
            self._heard_s = max(self._heard_s, now_s - PROBE_INTERVAL_S)
        self._ticked_s = now_s
        came = heard_s > self._heard_s
        self._heard_s = max(self._heard_s, heard_s)
        if self._offline_since_s is not None:
            if not came or now_s - heard_s > QUIET_LIMIT_S:
                return None
            after_s, self._offline_since_s = now_s - self._offline_since_s, None
            return CameBack(after_s)
        if now_s >= self._heard_s + QUIET_LIMIT_S:
            self._offline_since_s = self._heard_s
            return WentOffline(now_s - self._heard_s)
        return None

    def wants_probe(self, now_s: float) -> bool:
        return not self.online or now_s >= self._heard_s + PROBE_INTERVAL_S

    def is_doubtful(self, now_s: float) -> bool:
        """Whether a probe has had the time to be answered and was not."""
        return not self.online or now_s >= self._heard_s + 2 * PROBE_INTERVAL_S

    def next_s(self, heard_s: float, now_s: float) -> float:
        """When to call `tick` again at the latest: at the next probe, and twice in the time of one while nobody answers."""
        probe_s = max(heard_s, self._heard_s) + PROBE_INTERVAL_S
        return probe_s if self.online and probe_s > now_s else now_s + PROBE_INTERVAL_S / 2
