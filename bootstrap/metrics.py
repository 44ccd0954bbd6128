"""Figures of a node in Prometheus' text format, version 0.0.4, for whoever runs the node.

Written here because it is these few lines: the `prometheus_client` package would bring a registry of its own, which is
global, and a server with a thread for each client, which is not bounded.
"""

import os
import platform
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from dhtchat import __version__
from dhtchat.dht.node import DhtNode
from dhtchat.limits import STORAGE_BYTES_MAX, STORAGE_ENTRIES_MAX
from dhtchat.parameters import NetworkParameters
from dhtchat.runtime import Clock

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    name: str
    type: str
    label: str
    """Names of its labels, separated by commas; empty when it has none."""
    help: str


METRICS: Final = (
    Metric("dhtchat_build_info", "gauge", "version,python,network", "Always 1; what is running, in its labels."),
    Metric("dhtchat_dht_nodes", "gauge", "", "Nodes in the routing table."),
    Metric(
        "dhtchat_dht_last_answer_timestamp_seconds", "gauge", "", "Unix time when a node last answered us; 0: never."
    ),
    Metric("dhtchat_dht_records", "gauge", "", "Records held for others."),
    Metric("dhtchat_dht_records_limit", "gauge", "", "Records that can be held."),
    Metric("dhtchat_dht_records_bytes", "gauge", "", "Size of the records held."),
    Metric("dhtchat_dht_records_limit_bytes", "gauge", "", "Size of the records that can be held."),
    Metric("dhtchat_dht_datagrams_total", "counter", "direction", "Datagrams received and sent."),
    Metric("dhtchat_dht_datagrams_dropped_total", "counter", "reason", "Datagrams received and not used."),
    Metric("dhtchat_dht_requests_total", "counter", "kind", "Requests served."),
    Metric("dhtchat_dht_requests_refused_total", "counter", "reason", "Requests refused, and own ones not sent."),
    Metric("dhtchat_dht_requests_unanswered_total", "counter", "", "Own requests without an answer in all tries."),
    Metric("dhtchat_dht_admissions_failed_total", "counter", "reason", "Nodes that asked and did not enter the table."),
    Metric(
        "dhtchat_dht_records_refused_total", "counter", "reason", "Records others wanted stored and we did not keep."
    ),
    Metric("dhtchat_dht_records_dropped_total", "counter", "reason", "Records in answers that were not believed."),
    Metric("dhtchat_dht_records_repaired_total", "counter", "", "Records given to nodes that lacked them."),
    Metric("dhtchat_dht_disk_errors_total", "counter", "", "Records that could not be written to the disk."),
    Metric("dhtchat_dht_events_total", "counter", "event", "Everything else that the node counts."),
    Metric("process_cpu_seconds_total", "counter", "", "User and system CPU time."),
    Metric("process_resident_memory_bytes", "gauge", "", "Resident memory; where /proc tells it."),
    Metric("process_open_fds", "gauge", "", "Open file descriptors; where /proc tells it."),
    Metric("process_start_time_seconds", "gauge", "", "Unix time of the start."),
)

_COUNTED: Final[Mapping[str, tuple[str, str]]] = {
    "datagrams-in": ("dhtchat_dht_datagrams_total", "in"),
    "datagrams-out": ("dhtchat_dht_datagrams_total", "out"),
    "malformed": ("dhtchat_dht_datagrams_dropped_total", "malformed"),
    "answer-unknown": ("dhtchat_dht_datagrams_dropped_total", "answer-unknown"),
    "answer-repeated": ("dhtchat_dht_datagrams_dropped_total", "answer-repeated"),
    "answer-wrong-source": ("dhtchat_dht_datagrams_dropped_total", "answer-wrong-source"),
    "request-other-network": ("dhtchat_dht_requests_refused_total", "other-network"),
    "busy": ("dhtchat_dht_requests_refused_total", "busy"),
    "requests-full": ("dhtchat_dht_requests_refused_total", "own-full"),
    "unanswered": ("dhtchat_dht_requests_unanswered_total", ""),
    "admission-failed": ("dhtchat_dht_admissions_failed_total", "silent"),
    "admission-postponed": ("dhtchat_dht_admissions_failed_total", "postponed"),
    "puzzle-unsolved": ("dhtchat_dht_admissions_failed_total", "puzzle-unsolved"),
    "replayed": ("dhtchat_dht_datagrams_dropped_total", "replayed"),
    "strangers-refused": ("dhtchat_dht_datagrams_dropped_total", "strangers-refused"),
    "unproved": ("dhtchat_dht_requests_refused_total", "unproved"),
    "repaired": ("dhtchat_dht_records_repaired_total", ""),
    "disk-failed": ("dhtchat_dht_disk_errors_total", ""),
}
"""Which counter of `DhtNode.statistics` is which series. These are there from the start, with 0."""
_COUNTED_BY_HEAD: Final = (
    (re.compile(r"request-([A-Z]\w*)"), "dhtchat_dht_requests_total"),
    (re.compile(r"refused-(.+)"), "dhtchat_dht_records_refused_total"),
    (re.compile(r"record-dropped-(.+)"), "dhtchat_dht_records_dropped_total"),
)
"""The same for those whose names end in a kind of request or a reason."""


class MetricsPage:
    """The page about one node."""

    def __init__(self, dht: DhtNode, parameters: NetworkParameters, clock: Clock) -> None:
        self._dht = dht
        self._network = parameters.name
        self._clock = clock
        self._started_wall_s = clock.wall()

    def text(self) -> str:
        """All series, grouped by metric, each group with its help and type."""
        series: dict[str, list[str]] = defaultdict(list)
        for name, labels, value in [*self._gauges(), *counters(self._dht.statistics), *_process()]:
            metric = _BY_NAME[name]
            pairs = zip(filter(None, metric.label.split(",")), labels, strict=True)
            inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in pairs)
            series[name].append(f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}")
        lines = []
        for metric in METRICS:
            if metric.name in series:
                lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.type}"]
                lines += series[metric.name]
        return "\n".join(lines) + "\n"

    def _gauges(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        dht = self._dht
        yield "dhtchat_build_info", (__version__, platform.python_version(), self._network), 1
        yield "dhtchat_dht_nodes", (), len(dht.contacts())
        answered_s = self._clock.wall() - (self._clock.monotonic() - dht.heard_at_s)
        yield "dhtchat_dht_last_answer_timestamp_seconds", (), max(0, answered_s)
        yield "dhtchat_dht_records", (), len(dht.storage)
        yield "dhtchat_dht_records_limit", (), STORAGE_ENTRIES_MAX
        yield "dhtchat_dht_records_bytes", (), dht.storage.bytes_held
        yield "dhtchat_dht_records_limit_bytes", (), STORAGE_BYTES_MAX
        yield "process_start_time_seconds", (), self._started_wall_s


_BY_NAME: Final = {metric.name: metric for metric in METRICS}


def counters(counted: Mapping[str, int]) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """The series of everything a node counts, `(metric, labels, value)`; what has no metric of its own included."""
    for statistic, (name, label) in _COUNTED.items():
        yield name, (label,) if label else (), counted.get(statistic, 0)
    for statistic in sorted(counted.keys() - _COUNTED.keys()):
        for head, name in _COUNTED_BY_HEAD:
            if match := head.fullmatch(statistic):
                yield name, (_spaced(match[1]),), counted[statistic]
                break
        else:
            yield "dhtchat_dht_events_total", (statistic,), counted[statistic]


def _spaced(text: str) -> str:
    """`FindNode` to `find-node`; what is written so already stays."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", text).lower()


def _process() -> Iterator[tuple[str, tuple[str, ...], float]]:
    """By the names that every exporter of Prometheus uses for a process."""
    used = os.times()
    yield "process_cpu_seconds_total", (), used.user + used.system
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        yield "process_resident_memory_bytes", (), pages * os.sysconf("SC_PAGE_SIZE")
        yield "process_open_fds", (), len(os.listdir("/proc/self/fd"))
    except (OSError, ValueError, IndexError):
        return


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _escaped(text: str) -> str:
    """A label's value, as the format wants it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
