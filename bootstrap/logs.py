"""The service's log: one event a line on standard error, as text or JSON, and never more of it than a disk can take.

What is logged is declared in `EVENTS`, which docs/operations.md shows; `tell` is the only way to say it. Warnings of other
parts come out in the same form. Nothing here may be logged under `__name__`: it differs between a checkout and a wheel.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TextIO

from dhtchat.chat.markup import clean
from dhtchat.limits import LOG_KINDS_MAX, LOG_REPEAT_S, LOG_SAME_MAX
from dhtchat.timestamps import rfc3339

LOGGER: Final = logging.getLogger("dhtchat.bootstrap")
MESSAGE: Final = "message"
"""The event of a line that another part wrote."""


class Kind(NamedTuple):
    level: int
    fields: tuple[str, ...]


EVENTS: Final[Mapping[str, Kind]] = {
    "started": Kind(logging.INFO, ("version", "address", "node_key", "network", "records", "data", "metrics")),
    "joined": Kind(logging.INFO, ("through", "nodes", "seen_as")),
    "alone": Kind(logging.WARNING, ("why",)),
    "status": Kind(
        logging.INFO, ("nodes", "records", "record_bytes", "datagrams_in", "datagrams_out", "over_s", "up_s")
    ),
    "noise": Kind(logging.INFO, ("what", "count", "total")),
    "trouble": Kind(logging.WARNING, ("what", "count", "total")),
    "stopping": Kind(logging.INFO, ("reason",)),
    "stopped": Kind(logging.INFO, ("up_s",)),
}
_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Of syslog, which the journal reads from `<6>` in front of a line (sd-daemon(3))."""


def tell(event: str, /, **fields: object) -> None:
    """Log one of `EVENTS` with its fields, in their order there."""
    kind = EVENTS[event]
    assert fields.keys() == set(kind.fields), event
    LOGGER.log(kind.level, event, extra={"fields": {name: fields[name] for name in kind.fields}})


def set_up(stream: TextIO, *, as_json: bool, level: int, environment: Mapping[str, str]) -> None:
    """Send the whole program's log to `stream`. At `INFO` that is what this service says, and warnings of all others."""
    handler = _Handler(stream)
    journal = is_the_journal(stream, environment)
    handler.setFormatter(JsonFormatter(journal=journal) if as_json else TextFormatter(journal=journal))
    handler.addFilter(Throttle())
    root = logging.getLogger()
    for other in root.handlers[:]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(logging.WARNING if level == logging.INFO else level)
    LOGGER.setLevel(level)


def is_the_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether systemd reads it: `JOURNAL_STREAM` names its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Nobody reads any more, or the disk behind it is full: no reason to end, and nobody to tell."""
        if isinstance(sys.exception(), TypeError):  # arguments that do not fit their text: ours to repair
            super().handleError(record)


class Throttle(logging.Filter):
    """Lets `LOG_SAME_MAX` lines of a kind pass in `LOG_REPEAT_S`; the next one says how many were kept back before it."""

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, str, str], tuple[float, int]] = {}
        """When the window of a kind began, and how many lines it has had."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (record.name, str(record.msg), str(_fields(record).get("what", "")))
        began_s, lines = self._windows.get(kind, (record.created, 0))
        if not 0 <= record.created - began_s < LOG_REPEAT_S:
            if lines > LOG_SAME_MAX:
                record.suppressed = lines - LOG_SAME_MAX
            began_s, lines = record.created, 0
        if len(self._windows) >= LOG_KINDS_MAX:
            self._windows.clear()
        self._windows[kind] = (began_s, lines + 1)
        return lines < LOG_SAME_MAX


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "fields", {})


class _Formatter(logging.Formatter):
    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(_fields(record))
        if hasattr(record, "suppressed"):
            fields["suppressed"] = record.suppressed
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        line = clean(self.line(record, fields), single_line=True)
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" if self._journal else line

    def line(self, record: logging.LogRecord, fields: dict[str, Any]) -> str:
        raise NotImplementedError


class TextFormatter(_Formatter):
    """`2026-01-31T12:00:00.123Z INFO joined through=192.0.2.7:8468 nodes=3`; the journal has time and level itself."""

    def line(self, record: logging.LogRecord, fields: dict[str, Any]) -> str:
        said = record.getMessage() if hasattr(record, "fields") else f"{record.name}: {record.getMessage()}"
        words = [said, *(f"{name}={_word(value)}" for name, value in fields.items())]
        if not self._journal:
            words[:0] = [rfc3339(int(record.created * 1000)), record.levelname]
        return " ".join(words)


def _word(value: object) -> str:
    """In quotes, as JSON has them, where it would not be one word."""
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else json.dumps(text)


class JsonFormatter(_Formatter):
    """One object: `time`, `level`, `event` and the event's fields."""

    def line(self, record: logging.LogRecord, fields: dict[str, Any]) -> str:
        start: dict[str, Any] = {"time": rfc3339(int(record.created * 1000)), "level": record.levelname.lower()}
        if hasattr(record, "fields"):
            start["event"] = record.getMessage()
        else:
            start |= {"event": MESSAGE, "logger": record.name, "message": record.getMessage()}
        return json.dumps(start | fields, default=str)
