"""The tables of docs/protocol.md say what the code does: labels, kinds, fields, sizes, messages, reasons, numbers."""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dhtchat import limits
from dhtchat.dht import wire
from dhtchat.limits import SOFT_TTL_S_MAX
from dhtchat.peer import messages
from dhtchat.peer.session import CLIENT_PURPOSE, SERVER_PURPOSE
from dhtchat.records.acceptance import Reason
from dhtchat.records.device import DeviceCertificate
from dhtchat.records.kinds import DURABLE_KINDS, SOFT_KINDS
from dhtchat.records.message import Content, Message
from dhtchat.records.ruling import Act, Ruling
from tests.docs.pages import ROOT, quoted, read, section, table, tables
from tests.records.test_sizes import SIZES

PROTOCOL = read("docs/protocol.md")
KINDS: dict[str, Any] = {kind.KIND: kind for kind in (*DURABLE_KINDS, *SOFT_KINDS, DeviceCertificate, Message, Ruling)}
NO_FIELDS = {
    "busy",
    "unproved",
    "k",
    "start",
    "after",
    "record",
    "remaining_ms",
    "a-z",
    "-",
    "please",
    "urgent",
    "yes",
    "no",
}
"""Words between backticks beside the fields: what is in them, or what bounds them."""


def _calls(name: str) -> Iterator[ast.Call]:
    """Every call of a function of that name in the package."""
    for file in sorted((ROOT / "dhtchat").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield node


def _constant(node: ast.expr) -> str:
    """A text or bytes written out, else nothing."""
    value = node.value if isinstance(node, ast.Constant) else ""
    return value.decode() if isinstance(value, bytes) else str(value)


def test_every_hash_has_its_label() -> None:
    """No label is used without a line that says for what, and no line is left over."""
    used = {(_constant(call.args[0]), *filter(None, map(_constant, call.args[1:]))) for call in _calls("labelled_hash")}
    listed = set()
    for label, parts, _ in table(section(PROTOCOL, "Hashes"), "label", "parts", "what it is"):
        names = quoted(parts) if quoted(label) == ["key"] else []
        listed.add((*quoted(label), *names))
    assert listed == used


def test_every_purpose_of_a_signature_is_listed() -> None:
    rows = table(section(PROTOCOL, "Signatures and the envelope"), "purpose", "signed by", "body")
    assert [quoted(row[0])[0] for row in rows] == [SERVER_PURPOSE, CLIENT_PURPOSE]


# --- records ----------------------------------------------------------------------------------------------------------


def test_every_kind_has_its_file_life_and_size() -> None:
    rows = table(section(PROTOCOL, "Records"), "kind", "file", "signed by", "life", "largest")
    assert [quoted(row[0])[0] for row in rows] == list(KINDS)
    for kind, file, _, life, largest in rows:
        body = KINDS[quoted(kind)[0]]
        assert Path(inspect.getfile(body)) == ROOT / quoted(file)[0]
        assert life == ("durable" if body in DURABLE_KINDS else "soft" if body in SOFT_KINDS else life)
        assert int(largest.replace(",", "")) == SIZES[body.KIND]


@pytest.mark.parametrize("kind", KINDS)
def test_the_fields_of_a_kind_are_in_their_order(kind: str) -> None:
    rows = table(section(PROTOCOL, f"`{kind}`"), "field", "type", "meaning")
    assert tuple(quoted(row[0])[0] for row in rows) == KINDS[kind].__struct_fields__


def test_what_a_message_may_say_is_listed() -> None:
    rows = table(section(PROTOCOL, "`message`"), "content", "fields", "meaning")
    listed = {quoted(tag)[0]: tuple(quoted(fields)) for tag, fields, _ in rows}
    assert listed == {content.__struct_config__.tag: content.__struct_fields__ for content in Content.__args__}  # type: ignore[attr-defined]


def test_what_may_be_ruled_is_listed() -> None:
    rows = table(section(PROTOCOL, "`ruling`"), "act", "fields", "meaning")
    listed = {quoted(tag)[0]: tuple(quoted(fields)) for tag, fields, _ in rows}
    assert listed == {act.__struct_config__.tag: act.__struct_fields__ for act in Act.__args__}  # type: ignore[attr-defined]


def test_the_reasons_of_a_refusal_are_all_there() -> None:
    rows = table(section(PROTOCOL, "Acceptance"), "reason", "refused when")
    listed = {quoted(row[0])[0] for row in rows}
    assert listed | {"full", "malformed", "split", "no-node", "not-held", "fetched"} == {
        reason.value for reason in Reason
    } - {Reason.NONE.value}


# --- messages ---------------------------------------------------------------------------------------------------------


def _fields_in(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in quoted(cell) if name not in NO_FIELDS))


def _tag(message: Any) -> str:
    return str(message.__struct_config__.tag)


def test_every_request_and_its_answer_is_listed() -> None:
    rows = table(section(PROTOCOL, "Requests"), "request", "further fields", "answered by")
    assert [quoted(row[0])[0] for row in rows] == [_tag(request) for request in wire.ANSWER_TO]
    for (_, fields, answer), (request, expected) in zip(rows, wire.ANSWER_TO.items(), strict=True):
        assert tuple(quoted(fields)) == request.__struct_fields__
        finds_value = expected in (wire.Claims, wire.Entries)
        assert quoted(answer) == [_tag(expected), *(["nodes"] if finds_value else [])]


def test_every_answer_is_listed() -> None:
    rows = table(section(PROTOCOL, "Answers"), "answer", "further fields")
    answers = [*dict.fromkeys(wire.ANSWER_TO.values()), wire.Greeting, wire.Refused]
    assert [quoted(row[0])[0] for row in rows] == [_tag(answer) for answer in answers]
    for (_, fields), answer in zip(rows, answers, strict=True):
        assert _fields_in(fields) == answer.__struct_fields__
    assert f"{SOFT_TTL_S_MAX * wire.MS_PER_S:,}" in PROTOCOL


def test_every_message_between_peers_is_listed() -> None:
    """ "One struct per row of the table in docs/protocol.md" (dhtchat/peer/messages.py)."""
    rows = table(section(PROTOCOL, "Messages"), "message", "fields", "meaning")
    known = messages.AnyMessage.__args__
    assert [quoted(row[0])[0] for row in rows] == [_tag(message) for message in known]
    for (_, fields, _), message in zip(rows, known, strict=True):
        assert _fields_in(fields) == message.__struct_fields__


def test_a_device_counter_is_listed() -> None:
    """The one structure inside of messages."""
    [rows] = [rows for rows in tables(section(PROTOCOL, "Messages")) if rows[0] == ["field", "type", "meaning"]]
    assert tuple(quoted(row[0])[0] for row in rows[1:]) == messages.DeviceCounter.__struct_fields__


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [(quoted(row[0])[0], row[1]) for row in table(section(PROTOCOL, "Limits"), "constant", "value", "what")],
)
def test_a_limit_has_the_value_that_is_written(name: str, value: str) -> None:
    assert float(value.replace(",", "")) == getattr(limits, name)


def test_the_version_is_ours() -> None:
    package = sys.modules["dhtchat"]
    assert f"dhtchat {package.__version__.rpartition('.')[0]} says" in PROTOCOL
