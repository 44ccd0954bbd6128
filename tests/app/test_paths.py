"""Where things lie: private, atomic, and one folder per device, locked while in use."""

import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dhtchat.app.paths import (
    DeviceFolder,
    claim_device_folder,
    last_login,
    make_folder,
    network_folder,
    remember_login,
    write_private,
)
from dhtchat.errors import DamagedFile, ProfileBusy
from dhtchat.limits import DEVICES_PER_OWNER_MAX
from dhtchat.parameters import MAIN, SIM, NetworkParameters


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def assert_private(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path


# --- files and folders ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("open_umask")
def test_everything_is_the_owners_alone_whatever_the_umask(tmp_path: Path, rng: random.Random) -> None:
    """contract.md: "Everything under the data folder is 0600, folders 0700"."""
    data_dir = tmp_path / "new" / "data"
    folder = claim_device_folder(data_dir, SIM, "alice")
    folder.load_key("device", rng)
    remember_login(data_dir, SIM, "alice", "alice")
    write_private(folder.path / "port", b"1")
    assert_private(tmp_path / "new")
    folder.close()
    claim_device_folder(data_dir, SIM, "alice").close()
    assert_private(tmp_path / "new")


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    """The user's own choice, a shared one for instance."""
    tmp_path.chmod(0o750)
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert mode_of(tmp_path) == 0o750


def test_a_private_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash at any moment leaves the old or the new content, never a part; what a crash left over is no obstacle."""
    path = tmp_path / "file"
    write_private(path, b"old")
    for moment in ("fsync", "replace"):

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as crashing:
            crashing.setattr(os if moment == "fsync" else Path, moment, crash)
            with pytest.raises(KeyboardInterrupt):
                write_private(path, b"new and longer")
        assert path.read_bytes() == b"old"
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    """Writing fails, the file is as it was."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    path = tmp_path / "file"
    write_private(path, b"old")
    (tmp_path / "file.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"


def test_networks_of_one_name_do_not_share_a_folder(tmp_path: Path) -> None:
    """Other parameters are another network, and its keys and records are worthless here."""
    others = [MAIN, SIM, NetworkParameters(name="main", k=19)]
    assert len({network_folder(tmp_path, parameters) for parameters in others}) == 3


@pytest.mark.parametrize(
    ("profile", "login"),
    [("alice", "alice"), ("my work", "alice#abcd-efgh-ijkl-mnop"), ("élan", "bob"), ("\udcff", "bob")],
)
def test_the_last_login_is_remembered_per_network(tmp_path: Path, profile: str, login: str) -> None:
    """`join` without a name takes it, whatever the profile is called (any folder name will do)."""
    assert last_login(tmp_path, SIM) is None
    remember_login(tmp_path, SIM, "somebody", "else")
    remember_login(tmp_path, SIM, profile, login)
    assert last_login(tmp_path, SIM) == (profile, login)
    assert last_login(tmp_path, MAIN) is None


@pytest.mark.parametrize("content", [b"", b"one", b"one\ntwo\nthree", b"\xff\x00"])
def test_a_damaged_last_login_is_none(tmp_path: Path, content: bytes) -> None:
    """Then a name has to be given."""
    remember_login(tmp_path, SIM, "alice", "alice")
    (network_folder(tmp_path, SIM) / "last-login").write_bytes(content)
    assert last_login(tmp_path, SIM) is None


# --- device folders ---------------------------------------------------------------------------------------------------


def test_two_chats_of_one_profile_are_two_devices(tmp_path: Path) -> None:
    """Each has its own folder while it runs, and who comes later takes the first free one."""
    first, second = (claim_device_folder(tmp_path, SIM, "alice") for _ in range(2))
    other = claim_device_folder(tmp_path, SIM, "bob")
    assert [folder.path.name for folder in (first, second, other)] == ["device-1", "device-2", "device-1"]
    first.close()
    third = claim_device_folder(tmp_path, SIM, "alice")
    assert third.path == first.path
    for folder in (second, third, other):
        folder.close()


def test_there_are_only_so_many(tmp_path: Path) -> None:
    """At most 8 devices of one person: the ninth chat is told why it cannot start."""
    folders = [claim_device_folder(tmp_path, SIM, "alice") for _ in range(DEVICES_PER_OWNER_MAX)]
    assert len({folder.path for folder in folders}) == DEVICES_PER_OWNER_MAX
    with pytest.raises(ProfileBusy, match="alice"):
        claim_device_folder(tmp_path, SIM, "alice")
    folders[4].close()
    again = claim_device_folder(tmp_path, SIM, "alice")
    assert again.path == folders[4].path
    for folder in (*folders[:4], *folders[5:], again):
        folder.close()


HOLDER = """
import sys, time
from pathlib import Path
from dhtchat.app.paths import claim_device_folder
from dhtchat.parameters import SIM
folder = claim_device_folder(Path(sys.argv[1]), SIM, "alice")
print(folder.path.name, flush=True)
time.sleep(60)
"""


@pytest.mark.process
def test_a_folder_is_free_again_when_its_process_was_killed(tmp_path: Path, rng: random.Random) -> None:
    """ "locked while in use, reused after a crash": with the same key, so that it is the same device as before."""
    folder = claim_device_folder(tmp_path, SIM, "alice")
    key = folder.load_key("device", rng)
    folder.close()
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "device-1\n"
        second = claim_device_folder(tmp_path, SIM, "alice")
        assert second.path.name == "device-2"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        first = claim_device_folder(tmp_path, SIM, "alice")
    assert first.path.name == "device-1"
    assert first.load_key("device", rng).public == key.public
    first.close()
    second.close()


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DeviceFolder]:
    claimed = claim_device_folder(tmp_path, SIM, "alice")
    yield claimed
    claimed.close()


def test_a_key_is_made_once_and_stays(folder: DeviceFolder, rng: random.Random) -> None:
    """Each name has its own; `replace_key` makes another device of it."""
    device, node = (folder.load_key(name, rng).public for name in ("device", "node"))
    assert device != node
    assert folder.load_key("device", rng).public == device
    replaced = folder.replace_key("device", rng).public
    assert replaced != device
    assert folder.load_key("device", rng).public == replaced
    assert folder.load_key("node", rng).public == node


@pytest.mark.parametrize("content", [b"", b"short", bytes(31), bytes(33)])
def test_a_damaged_key_is_said_and_not_replaced(folder: DeviceFolder, rng: random.Random, content: bytes) -> None:
    """A new key would be another device; the user decides, and the message names the file."""
    path = folder.path / "device.key"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"device\.key") as caught:
        folder.load_key("device", rng)
    assert caught.value.hint
    assert path.read_bytes() == content


def test_where_one_place_is_asked_for_there_is_no_second(tmp_path: Path) -> None:
    """A service must come back as itself or not at all."""
    first = claim_device_folder(tmp_path, SIM, "bootstrap", places=1)
    with pytest.raises(ProfileBusy):
        claim_device_folder(tmp_path, SIM, "bootstrap", places=1)
    first.close()
    again = claim_device_folder(tmp_path, SIM, "bootstrap", places=1)
    assert again.path == first.path
    again.close()
