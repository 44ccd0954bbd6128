"""How the service's log looks, and that it cannot fill a disk."""

import io
import json
import logging
import os
import tempfile
from collections.abc import Iterator

import pytest

from bootstrap import logs
from dhtchat.limits import LOG_KINDS_MAX, LOG_REPEAT_S, LOG_SAME_MAX


@pytest.fixture
def as_before() -> Iterator[None]:
    """Logging belongs to the whole process: what a test changes is put back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logs.LOGGER.level
    yield
    root.handlers[:], level, own = before
    root.setLevel(level)
    logs.LOGGER.setLevel(own)


def record(message: str, at_s: float, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord(logs.LOGGER.name, level, __file__, 1, message, (), None)
    made.created = at_s
    if fields:
        made.fields = fields
    return made


def said(as_json: bool, level: int = logging.INFO) -> str:
    stream = io.StringIO()
    logs.set_up(stream, as_json=as_json, level=level, environment={})
    logs.tell("joined", through=["192.0.2.7:8468", "192.0.2.8:8468"], nodes=3, seen_as="198.51.100.1:8468")
    logging.getLogger("dhtchat.dht.storage").warning("cannot write a record to disk: %s", "no\nspace\x1b[2J left")
    logging.getLogger("asyncio").info("chatter of a library")
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("dhtchat").exception("a bug")
    return stream.getvalue()


@pytest.mark.usefixtures("as_before")
def test_text_is_one_event_a_line() -> None:
    """With what happened first and then its facts; text of others breaks no line and commands no terminal."""
    joined, disk, bug = said(as_json=False).splitlines()
    time, level, rest = joined.split(" ", 2)
    assert time.endswith("Z")
    assert level == "INFO"
    assert rest == "joined through=192.0.2.7:8468,192.0.2.8:8468 nodes=3 seen_as=198.51.100.1:8468"
    assert disk.endswith(" WARNING dhtchat.dht.storage: cannot write a record to disk: no space[2J left")
    assert 'ERROR dhtchat: a bug traceback="Traceback' in bug


@pytest.mark.usefixtures("as_before")
def test_json_is_one_object_a_line() -> None:
    joined, disk, bug = [json.loads(line) for line in said(as_json=True).splitlines()]
    assert joined.pop("time").endswith("Z")
    assert joined == {
        "level": "info",
        "event": "joined",
        "through": ["192.0.2.7:8468", "192.0.2.8:8468"],
        "nodes": 3,
        "seen_as": "198.51.100.1:8468",
    }
    assert (disk["level"], disk["event"], disk["logger"]) == ("warning", "message", "dhtchat.dht.storage")
    assert "KeyError" in bug["traceback"]


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("level, lines", [(logging.WARNING, 2), (logging.ERROR, 1), (logging.DEBUG, 4)])
def test_the_level_is_that_of_the_command_line(level: int, lines: int) -> None:
    """None, -q and -vv; -v is what the others tests have."""
    assert len(said(as_json=False, level=level).splitlines()) == lines


def test_the_journal_has_time_and_level_itself() -> None:
    """Where systemd reads, lines begin with a priority that it takes off (sd-daemon(3))."""
    warning = record("trouble", 0, logging.WARNING, what="disk")
    assert logs.TextFormatter(journal=True).format(warning) == "<4>trouble what=disk"
    assert logs.JsonFormatter(journal=True).format(warning).startswith('<4>{"time": "1970-')
    with tempfile.TemporaryFile("w") as stream:
        status = os.fstat(stream.fileno())
        ours = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert logs.is_the_journal(stream, ours)
        assert not logs.is_the_journal(stream, {"JOURNAL_STREAM": "8:1"}), "a parent's, and this is redirected"
        assert not logs.is_the_journal(stream, {})
    assert not logs.is_the_journal(io.StringIO(), ours)


def test_a_value_of_several_words_is_in_quotes() -> None:
    line = logs.TextFormatter(journal=True).format(record("alone", 0, why='no "answer"', a="", b="x=y"))
    assert line == '<6>alone why="no \\"answer\\"" a="" b="x=y"'


def test_the_same_line_is_not_repeated_for_ever() -> None:
    """A full disk says so with each record: the first lines pass, later ones are counted, other kinds go on."""
    throttle = logs.Throttle()
    assert [throttle.filter(record("full", 0.1 * n)) for n in range(50)] == [True] * LOG_SAME_MAX + [False] * (
        50 - LOG_SAME_MAX
    )
    assert throttle.filter(record("another", 5))
    assert throttle.filter(record("full", 5, what="disk"))
    later = record("full", LOG_REPEAT_S + 1)
    assert throttle.filter(later)
    line = logs.TextFormatter(journal=True).format(later)
    assert line.endswith(f"suppressed={50 - LOG_SAME_MAX}")
    assert throttle.filter(record("full", -LOG_REPEAT_S)), "a clock that was set back silences nobody"


def test_the_memory_of_lines_is_bounded() -> None:
    throttle = logs.Throttle()
    for number in range(3 * LOG_KINDS_MAX):
        assert throttle.filter(record(f"kind {number}", 0))
    assert len(throttle._windows) <= LOG_KINDS_MAX


@pytest.mark.usefixtures("as_before")
def test_a_log_that_nobody_takes_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    logs.set_up(Full(), as_json=False, level=logging.INFO, environment={})
    logs.tell("stopped", up_s=1)
    assert capsys.readouterr().err == ""
