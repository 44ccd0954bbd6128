"""The operations guide says what a bootstrap node logs, counts and can be alerted about."""

import logging
import re

import yaml

from bootstrap.logs import EVENTS
from bootstrap.metrics import METRICS
from bootstrap.watch import NOISE, TROUBLE
from dhtchat.limits import STORAGE_BYTES_MAX, STORAGE_ENTRIES_MAX
from tests.docs.pages import prose, quoted, read, section, table

OPERATIONS = read("docs/operations.md")


def test_the_metrics_are_those_of_the_table() -> None:
    rows = table(section(OPERATIONS, "Figures"), "metric", "type", "labels", "what")
    assert [(quoted(name)[0], kind, quoted(labels), what) for name, kind, labels, what in rows] == [
        (metric.name, metric.type, [label for label in metric.label.split(",") if label], metric.help)
        for metric in METRICS
    ]


def test_the_events_of_the_log_are_those_of_the_table() -> None:
    rows = table(section(OPERATIONS, "Logs"), "event", "level", "fields")
    assert {quoted(name)[0]: (level, tuple(quoted(fields))) for name, level, fields in rows} == {
        name: (logging.getLevelName(kind.level).lower(), kind.fields) for name, kind in EVENTS.items()
    }


def test_what_can_grow_is_named() -> None:
    lines = section(OPERATIONS, "Logs").split("\n- ")
    for event, kinds in (("noise", NOISE), ("trouble", TROUBLE)):
        [line] = [line for line in lines if line.startswith(f"`{event}`")]
        assert set(quoted(line)) == {event, *kinds}


def test_the_alerts_are_those_of_the_table() -> None:
    rows = table(section(OPERATIONS, "Figures"), "alert", "look at")
    [group] = yaml.safe_load(read("bootstrap/alerts.yaml"))["groups"]
    assert [quoted(name)[0] for name, _ in rows] == [rule["alert"] for rule in group["rules"]]


def test_metrics_and_sections_that_are_named_exist() -> None:
    """In the text, and in the comments of the files to deploy with."""
    names = {metric.name for metric in METRICS}
    assert {name for name in quoted(prose(OPERATIONS)) if re.match(r"(?:dhtchat|process)_", name)} <= names
    for title in re.findall(r'docs/operations\.md, "([^"]+)"', read("bootstrap/Dockerfile")):
        assert section(OPERATIONS, title)


def test_the_limits_of_the_storage_are_the_real_ones() -> None:
    assert f"({STORAGE_ENTRIES_MAX:,} records, {STORAGE_BYTES_MAX >> 20} MiB)" in OPERATIONS
