"""The text that Prometheus reads: well formed, complete, and named as the field names such figures."""

import re
from collections import Counter
from pathlib import Path

import pytest

import dhtchat.dht
from bootstrap import metrics
from bootstrap.metrics import METRICS, MetricsPage, counters
from dhtchat.limits import STORAGE_ENTRIES_MAX
from dhtchat.parameters import SIM
from dhtchat.runtime import RealClock
from tests.dht.support import running_node, until

_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? ([+-]?(?:\d+(?:\.\d+)?|Inf))')
"""Of the text format 0.0.4, as far as we use it."""
_COUNTERS = re.compile(r'(?:statistics|_counted)\[f?"([^"]+)"\] \+=')


def samples(text: str) -> dict[str, float]:
    """Series to value, with all rules of the format checked on the way."""
    assert text.endswith("\n")
    found: dict[str, float] = {}
    types: dict[str, str] = {}
    explained = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            explained = line.split(" ")[2]
            assert explained not in types, "a metric's lines stand together"
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == explained
            types[name] = kind
        else:
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == explained
            series = line.rsplit(" ", 1)[0]
            assert series not in found
            found[series] = float(match[3])
    return found


async def test_the_page_is_well_formed() -> None:
    async with running_node(1) as node, running_node(2, [node]):
        await until(node.contacts, "the other is not known")
        page = MetricsPage(node, SIM, RealClock())
        node.statistics  # noqa: B018 - a copy each time: reading it changes nothing
        found = samples(page.text())
    assert found["dhtchat_dht_nodes"] == 1
    assert found["dhtchat_dht_records_limit"] == STORAGE_ENTRIES_MAX
    assert found['dhtchat_dht_datagrams_total{direction="in"}'] >= 2
    assert found['dhtchat_dht_requests_total{kind="hello"}'] == 1
    assert found["process_start_time_seconds"] > 1_600_000_000
    assert found["dhtchat_dht_disk_errors_total"] == 0, "there from the start, or a rise from nothing would be missed"


async def test_before_the_first_answer_the_time_of_the_last_is_0() -> None:
    async with running_node(1) as node:
        found = samples(MetricsPage(node, SIM, RealClock()).text())
    assert found["dhtchat_dht_last_answer_timestamp_seconds"] == 0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: metrics.Metric) -> None:
    """Counters end in `_total`, nothing else does; base units, in the plural."""
    assert re.fullmatch(r"(?:dhtchat|process)_[a-z_]+", metric.name)
    assert (metric.type == "counter") == metric.name.endswith("_total")
    assert not re.search(r"_(?:ms|kib|mib|minutes|percent)(?:_|$)", metric.name)
    assert metric.help.endswith(".")
    assert "\n" not in metric.help


def counted_by_the_node() -> set[str]:
    """Every counter that the DHT's code writes; what stands in braces there is one example of it."""
    folder = Path(dhtchat.dht.__file__).parent
    names = {match[1] for file in folder.glob("*.py") for match in _COUNTERS.finditer(file.read_text("utf-8"))}
    return {re.sub(r"\{.*\}", "FindNode" if name.startswith("request-") else "no-work", name) for name in names}


def test_nothing_that_is_counted_is_lost() -> None:
    """Each counter is in exactly one series, and the values add up."""
    names = counted_by_the_node()
    assert len(names) > 20
    counted = Counter({name: 2**number for number, name in enumerate(sorted(names))})
    series = [(name, labels) for name, labels, _ in counters(counted)]
    assert len(series) == len(set(series))
    assert sum(value for _, _, value in counters(counted)) == sum(counted.values())
    assert {name for name, _ in series} <= {metric.name for metric in METRICS}


def test_the_table_names_no_counter_that_is_gone() -> None:
    assert set(metrics._COUNTED) <= counted_by_the_node()


def test_requests_and_reasons_are_labels() -> None:
    counted = {"request-FindNode": 3, "refused-full": 4, "record-dropped-MalformedRecord": 5, "socket-error": 6}
    found = {(name, *labels): value for name, labels, value in counters(counted) if value}
    assert found == {
        ("dhtchat_dht_requests_total", "find-node"): 3,
        ("dhtchat_dht_records_refused_total", "full"): 4,
        ("dhtchat_dht_records_dropped_total", "malformed-record"): 5,
        ("dhtchat_dht_events_total", "socket-error"): 6,
    }


def test_a_label_cannot_break_out() -> None:
    assert metrics._escaped('a"b\\c\nd') == r"a\"b\\c\nd"
