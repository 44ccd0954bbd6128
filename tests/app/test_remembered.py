"""The memory of good nodes: kept in order, bounded, never in the way of a start."""

import stat
from pathlib import Path

import pytest

from dhtchat.app.remembered import load_remembered, save_remembered
from dhtchat.ids import Endpoint, NodeAddress
from dhtchat.limits import CONTACTS_REMEMBERED_MAX

GOOD = [Endpoint("192.0.2.7", 40_000), Endpoint("2001:db8::7", 1), Endpoint("127.0.0.1", 65_535)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nodes.json"


def test_what_was_saved_is_loaded_in_the_same_order(path: Path) -> None:
    """Most recently good first, of either address family."""
    save_remembered(path, GOOD)
    assert load_remembered(path) == [NodeAddress(endpoint, None) for endpoint in GOOD]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_memory_is_bounded(path: Path) -> None:
    """On writing and on reading: a file may be longer than we would write it."""
    many = [Endpoint("192.0.2.1", port) for port in range(1, 2 * CONTACTS_REMEMBERED_MAX)]
    save_remembered(path, many)
    assert [address.endpoint for address in load_remembered(path)] == many[:CONTACTS_REMEMBERED_MAX]
    path.write_text("[" + ",".join(f'"192.0.2.1:{port}"' for port in range(1, 1_000)) + "]")
    assert len(load_remembered(path)) == CONTACTS_REMEMBERED_MAX


def test_knowing_nobody_does_not_wipe_the_memory(path: Path) -> None:
    """An hour without a network must not cost the way back in."""
    save_remembered(path, GOOD)
    save_remembered(path, [])
    assert len(load_remembered(path)) == len(GOOD)


def test_no_file_is_an_empty_memory(path: Path) -> None:
    """The first start."""
    assert load_remembered(path) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1, 2]",
        b'["192.0.2.7:40000", "no address"]',
        b'["192.0.2.7:99999"]',
        b"\xff\xfe",
        b'["\xff:1"]',
        b'["\\ud800:1"]',
        b"[" * 100_000,
        bytes(1_000),
    ],
)
def test_a_damaged_file_is_an_empty_memory(path: Path, content: bytes) -> None:
    """It is only a memory: the bootstrap node is asked again, and the next save writes it anew."""
    path.write_bytes(content)
    assert load_remembered(path) == []
    save_remembered(path, GOOD)
    assert len(load_remembered(path)) == len(GOOD)


def test_what_cannot_be_read_is_an_empty_memory(path: Path) -> None:
    """A folder in its place."""
    path.mkdir()
    assert load_remembered(path) == []
