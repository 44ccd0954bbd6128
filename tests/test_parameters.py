"""Networks: what nodes must agree on, and files that describe one."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dhtchat.errors import BadUsage
from dhtchat.limits import KDF_LANES_MAX, KDF_MEMORY_KIB_MAX, KDF_PASSES_MAX
from dhtchat.parameters import MAIN, SIM, NetworkParameters, load_parameters

OTHER_VALUES: dict[str, Any] = {
    "name": "other",
    "kdf_memory_kib": 65_537,
    "kdf_passes": 4,
    "kdf_lanes": 5,
    "proof_of_work_bits": 21,
    "room_proof_of_work_bits": 17,
    "id_puzzle_bits": 9,
    "k": 21,
    "alpha": 4,
    "networks_limited": "none",
    "presence_ttl_s": 121,
    "presence_refresh_s": 39,
}


def test_main_and_sim_are_two_networks() -> None:
    """design.md: "neither accepts the other's records"."""
    assert MAIN.network_id != SIM.network_id
    assert len(MAIN.network_id) == len(SIM.network_id) == 32


def test_the_costs_of_main_are_those_of_the_design() -> None:
    """64 MiB, t=3, p=4; 2^20 SHA-256 for a name."""
    assert (MAIN.kdf_memory_kib, MAIN.kdf_passes, MAIN.kdf_lanes, MAIN.proof_of_work_bits) == (65_536, 3, 4, 20)


def test_sim_is_cheap_and_otherwise_the_same() -> None:
    """8 KiB, t=1 and no proof of work; "all else in the node is the same in both"."""
    cheap = {"name", "kdf_memory_kib", "kdf_passes", "kdf_lanes", "proof_of_work_bits", "room_proof_of_work_bits"}
    cheap |= {"id_puzzle_bits"}
    for field in NetworkParameters.__struct_fields__:
        assert (getattr(MAIN, field) == getattr(SIM, field)) == (field not in cheap)


@pytest.mark.parametrize("field", NetworkParameters.__struct_fields__)
def test_every_parameter_is_part_of_the_network_id(field: str) -> None:
    """Two networks with any difference do not accept each other's records."""
    other = msgspec.structs.replace(MAIN, **{field: OTHER_VALUES[field]})
    assert other.network_id != MAIN.network_id


def test_the_same_parameters_are_the_same_network(tmp_path: Path) -> None:
    """However a group writes its file: order, comments and defaults spelt out do not matter."""
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text('name = "group"\nk = 8\n')
    other.write_text('# ours\nk = 8 # few of us\nalpha = 3\nname = "group"\n')
    assert load_parameters(str(one)) == load_parameters(str(other))
    assert load_parameters(str(one)).network_id == load_parameters(str(other)).network_id


def test_known_networks_are_known_by_name() -> None:
    """`--network main` needs no file, and no file of that name is looked for."""
    assert load_parameters("main") is MAIN
    assert load_parameters("sim") is SIM


def test_a_file_gives_a_network(tmp_path: Path) -> None:
    """Any field, the rest as in `main`."""
    file = tmp_path / "group.toml"
    file.write_text('name = "our-group"\nproof_of_work_bits = 4\npresence_ttl_s = 30\npresence_refresh_s = 10\n')
    found = load_parameters(str(file))
    assert (found.name, found.proof_of_work_bits, found.presence_ttl_s, found.k) == ("our-group", 4, 30, MAIN.k)


@pytest.mark.parametrize(
    "text",
    [
        "",  # no name of its own
        "k = 8",
        'name = "main"\nk = 8',
        'name = "sim"',
        'name = ""',
        'name = "Ours"',
        'name = "our group"',
        'name = "ours\\n"',
        'name = "' + "x" * 33 + '"',
        "name = 7",
        'name = "ours"\nkk = 8',
        'name = "ours"\nk = 1',
        'name = "ours"\nk = 65',
        'name = "ours"\nk = "8"',
        'name = "ours"\nk = 8.5',
        'name = "ours"\nk = true',
        'name = "ours"\nalpha = 0',
        'name = "ours"\nproof_of_work_bits = 41',
        f'name = "ours"\nkdf_memory_kib = {KDF_MEMORY_KIB_MAX + 1}',
        f'name = "ours"\nkdf_passes = {KDF_PASSES_MAX + 1}',
        f'name = "ours"\nkdf_lanes = {KDF_LANES_MAX + 1}',
        'name = "ours"\nk = 99999999999999999999999999',
        'name = "ours"\npresence_ttl_s = 119',  # less than three refreshes
        'name = "ours"\npresence_refresh_s = 41',
        'name = "ours"\n[extra]\na = 1',
        "name = ",
        "= =",
        "a = " + "[" * 5_000,
    ],
    ids=lambda text: text[:40],
)
def test_a_file_that_describes_no_network_is_wrong_usage(tmp_path: Path, text: str) -> None:
    """Said with the file's name and what to do, never with a traceback."""
    file = tmp_path / "group.toml"
    file.write_text(text)
    with pytest.raises(BadUsage, match="group") as caught:
        load_parameters(str(file))
    assert caught.value.hint


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    """Not there, a folder, not text, an impossible name."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b'name = "\xff"')
    for name in (str(tmp_path / "none.toml"), str(tmp_path), str(binary), "", "a\0b"):
        with pytest.raises(BadUsage):
            load_parameters(name)


@pytest.mark.parametrize(("ttl_s", "refresh_s", "allowed"), [(120, 40, True), (119, 40, False), (3, 1, True)])
def test_presence_outlives_two_lost_refreshes(ttl_s: int, refresh_s: int, allowed: bool) -> None:
    """`ttl >= 3 * refresh` is asserted."""
    if allowed:
        NetworkParameters(name="ours", presence_ttl_s=ttl_s, presence_refresh_s=refresh_s)
    else:
        with pytest.raises(ValueError, match="three times"):
            NetworkParameters(name="ours", presence_ttl_s=ttl_s, presence_refresh_s=refresh_s)
