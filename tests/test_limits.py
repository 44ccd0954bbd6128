"""Relations between numbers that stand in different files. Those within limits.py are asserted there."""

import ast
from pathlib import Path
from typing import Final

import pytest

from dhtchat import limits
from dhtchat.ids import is_folded_room
from dhtchat.parameters import MAIN, SIM, NetworkParameters
from dhtchat.peer import messages
from dhtchat.records.message import MESSAGE_BYTES_MAX


def test_limits_depend_on_nothing() -> None:
    """Nothing here may import anything of ours: every other file may import it."""
    tree = ast.parse(Path(limits.__file__).read_text(encoding="utf-8"))
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported == ["typing"]
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))


def test_every_limit_is_a_number_that_bounds_something() -> None:
    """Positive, and final: nobody turns a limit off or changes it while running."""
    for name, value in vars(limits).items():
        if name.isupper() and name != "RESERVED_NAMES":
            assert isinstance(value, int | float), name
            assert value > 0, name
            assert limits.__annotations__[name] is Final, name


def test_reserved_names_are_names() -> None:
    """A reserved word that could not be a name anyway would protect nothing."""
    for name in limits.RESERVED_NAMES:
        assert limits.NAME_CHARACTERS_MIN <= len(name) <= limits.NAME_CHARACTERS_MAX
        assert is_folded_room("#" + name)


def test_a_frame_holds_the_largest_message_beside_a_full_page() -> None:
    """A page of history is cut before it is full: the last message that is put on it may be the largest."""
    assert limits.SYNC_PAGE_BYTES_MAX + MESSAGE_BYTES_MAX + 1_000 < limits.FRAME_BYTES_MAX


def test_a_node_keeps_more_than_one_mailbox_or_directory() -> None:
    """No single set can fill a node's storage."""
    assert limits.SET_ENTRIES_MAX * limits.RECORD_BYTES_MAX < limits.STORAGE_BYTES_MAX / 4
    assert limits.SET_ENTRIES_MAX < limits.STORAGE_ENTRIES_MAX / 4


@pytest.mark.parametrize("parameters", [MAIN, SIM], ids=lambda parameters: parameters.name)
def test_our_networks_keep_the_limits(parameters: NetworkParameters) -> None:
    """What we write into records of our own, we also accept from others."""
    assert parameters.kdf_memory_kib <= limits.KDF_MEMORY_KIB_MAX
    assert parameters.kdf_passes <= limits.KDF_PASSES_MAX
    assert parameters.kdf_lanes <= limits.KDF_LANES_MAX
    assert parameters.presence_ttl_s <= limits.SOFT_TTL_S_MAX
    assert parameters.k >= limits.SOFT_REPLICAS or parameters is SIM
    assert parameters.k <= limits.FIND_REPLY_CONTACTS_MAX


def test_an_id_is_as_long_as_the_limits_say() -> None:
    """The DHT's ids and a link's nonces have the lengths their decoders insist on."""
    assert limits.NODE_ID_BYTES == 20
    assert limits.NONCE_BYTES == 32
    hello = messages.Hello(1, MAIN.network_id, bytes(limits.NONCE_BYTES))
    assert messages.decode(messages.encode(hello)) == hello
