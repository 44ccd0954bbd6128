"""How much somebody else may ask of us: token buckets. No clock: time is an argument, in monotonic seconds."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Budgets(Generic[K]):
    """For each key `burst` at once, then `per_s` a second. Of the keys `keys_max` are remembered; who has not been heard of for
    longest begins anew."""

    def __init__(self, burst: int, per_s: float, keys_max: int) -> None:
        self._burst = burst
        self._per_s = per_s
        self._keys_max = keys_max
        self._left: dict[K, tuple[float, float]] = {}
        """Tokens, and at what time."""

    def take(self, key: K, now_s: float, tokens: int = 1) -> bool:
        """Whether there were so many; if not, none are taken."""
        left, at_s = self._left.pop(key, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        allowed = left >= tokens
        self._left[key] = (left - tokens if allowed else left, now_s)
        if len(self._left) > self._keys_max:
            del self._left[next(iter(self._left))]
        return allowed

    def forget(self, key: K) -> None:
        self._left.pop(key, None)

    def __len__(self) -> int:
        return len(self._left)
