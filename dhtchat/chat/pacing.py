"""A token bucket: how fast our own client speaks. No clock: time is an argument."""


class Pacer:
    """`burst` at once, then `per_s` a second. Monotonic seconds."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._tokens = float(burst)
        self._at_s: float | None = None

    def take(self, now_s: float) -> float:
        """Take one token and return how long to wait before using it: 0.0 while the burst lasts."""
        if self._at_s is not None:
            self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        self._tokens -= 1
        return max(0.0, -self._tokens / self._per_s)
