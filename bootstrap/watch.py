"""What of the figures is worth a line in the log, and how often. No I/O: time and figures come in, events come out."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from dhtchat.limits import LOG_REPEAT_S, LOG_STATUS_INTERVAL_S

_EVERYDAY: Final = frozenset({"refused-stale", "refused-expired", "record-dropped-expired", "record-dropped-stale"})
"""Slow copies of what has been replaced since: every network has them."""
NOISE: Final[Mapping[str, Callable[[str], bool]]] = {
    "malformed": lambda name: name == "malformed",
    "other-network": lambda name: name == "request-other-network",
    "unasked-answers": lambda name: name in ("answer-unknown", "answer-wrong-source"),
    "strangers": lambda name: name in ("strangers-refused", "puzzle-unsolved", "replayed"),
    "refused-records": lambda name: (
        name.startswith(("refused-", "record-dropped-")) and name not in _EVERYDAY and name != "refused-full"
    ),
}
"""What strangers do to us, by the counters of `DhtNode.statistics` that it is the sum of."""
TROUBLE: Final[Mapping[str, Callable[[str], bool]]] = {
    "disk": lambda name: name == "disk-failed",
    "storage-full": lambda name: name == "refused-full",
    "overload": lambda name: name in ("busy", "requests-full"),
}
"""What an operator can do something about."""


class Figures(NamedTuple):
    nodes: int
    records: int
    record_bytes: int
    counted: Mapping[str, int]


class Logged(NamedTuple):
    event: str
    fields: dict[str, Any]


class Watch:
    """Ask it every `LOG_TICK_S`."""

    def __init__(self, now_s: float) -> None:
        self._started_s = self._status_s = now_s
        self._had_nodes = False
        self._before: Mapping[str, int] = {}
        self._told: dict[str, tuple[float, int]] = {}
        """When a counter was in the log last, and how much it was then."""

    def look(self, now_s: float, figures: Figures) -> list[Logged]:
        """A `status` when it is time or the first or last node came or went, then what has grown."""
        events = []
        if now_s - self._status_s >= LOG_STATUS_INTERVAL_S or bool(figures.nodes) != self._had_nodes:
            events.append(self._status(now_s, figures))
        for event, kinds in (("noise", NOISE), ("trouble", TROUBLE)):
            events += [Logged(event, fields) for fields in self._grown(now_s, figures.counted, kinds)]
        return events

    def _status(self, now_s: float, figures: Figures) -> Logged:
        since = Counter(figures.counted)
        since.subtract(self._before)
        over_s, self._status_s = now_s - self._status_s, now_s
        self._had_nodes = bool(figures.nodes)
        self._before = dict(figures.counted)
        return Logged(
            "status",
            {
                "nodes": figures.nodes,
                "records": figures.records,
                "record_bytes": figures.record_bytes,
                "datagrams_in": since["datagrams-in"],
                "datagrams_out": since["datagrams-out"],
                "over_s": round(over_s),
                "up_s": round(now_s - self._started_s),
            },
        )

    def _grown(
        self, now_s: float, counted: Mapping[str, int], kinds: Mapping[str, Callable[[str], bool]]
    ) -> Iterable[dict[str, Any]]:
        for what, belongs in kinds.items():
            total = sum(count for name, count in counted.items() if belongs(name))
            told_s, before = self._told.get(what, (now_s - LOG_REPEAT_S, 0))
            if total > before and now_s - told_s >= LOG_REPEAT_S:
                self._told[what] = (now_s, total)
                yield {"what": what, "count": total - before, "total": total}
