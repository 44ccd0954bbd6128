"""Where things lie on disk, and who may use them: one folder per network, profile and device.

A device's folder is locked while in use and reused after a crash. A second login of the same person on the same machine
takes the next folder and is another device.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dhtchat.errors import BadUsage, DamagedFile, ProfileBusy
from dhtchat.ids import KEY_BYTES, puzzle_bits
from dhtchat.limits import DEVICES_PER_OWNER_MAX

if TYPE_CHECKING:  # commands that ask a running peer need the folders, and none of this
    from filelock import BaseFileLock

    from dhtchat.crypto.datagram import NodeKey
    from dhtchat.crypto.identity import RandomBytes, SigningKey
    from dhtchat.parameters import NetworkParameters


def default_data_dir() -> Path:
    """The platform's user data folder."""
    from platformdirs import user_data_path

    return user_data_path("dhtchat", appauthor=False)


def make_folder(path: Path) -> Path:
    """Create a private folder (0700), parents included. Raises `BadUsage` where that cannot be."""
    try:
        missing = [parent for parent in (path, *path.parents) if not parent.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not path.is_dir():
            raise NotADirectoryError(20, "not a folder")
    except OSError as error:
        raise BadUsage(
            f"cannot use the folder {path}: {error.strerror or error}", hint="Name another one with --data-dir."
        ) from error
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file as a whole, readable by its owner alone; a crash leaves the old or the new one."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def network_folder(data_dir: Path, parameters: "NetworkParameters") -> Path:
    """Two networks of one name but other parameters do not share a folder."""
    return data_dir / f"{parameters.name}-{parameters.network_id.hex()[:8]}"


def last_login(data_dir: Path, parameters: "NetworkParameters") -> tuple[str, str] | None:
    """Profile and login of who was online last on this machine."""
    return last_login_in(network_folder(data_dir, parameters))


def last_login_in(folder: Path) -> tuple[str, str] | None:
    """The same, in the folder of a network."""
    with contextlib.suppress(OSError, UnicodeDecodeError, ValueError):
        text = (folder / "last-login").read_bytes().decode(errors="surrogateescape")
        profile, login = text.split("\n")
        return profile, login
    return None


def remember_login(data_dir: Path, parameters: "NetworkParameters", profile: str, login: str) -> None:
    folder = make_folder(network_folder(data_dir, parameters))
    write_private(folder / "last-login", f"{profile}\n{login}".encode(errors="surrogateescape"))


def profile_folder(network: Path, profile: str) -> Path:
    """Of one user in the folder of a network. Raises `BadUsage` for a bad name."""
    if profile.startswith(".") or not profile.isprintable() or set(profile) & set("/\\:") or not profile:
        raise BadUsage(f"{profile!a} is no name for a profile", hint="Use letters, digits, '_' and '-'.")
    return network / profile


class DeviceFolder:
    """One device's folder, ours while this object lives."""

    def __init__(self, path: Path, lock: "BaseFileLock") -> None:
        self.path = path
        self._lock = lock

    def close(self) -> None:
        self._lock.release()

    def load_key(self, name: str, source: "RandomBytes") -> "SigningKey":
        """The key of that name, made on first use. Raises `DamagedFile`."""
        from dhtchat.crypto.identity import SigningKey

        seed = self._load_seed(name)
        return SigningKey(seed) if seed is not None else self.replace_key(name, source)

    def replace_key(self, name: str, source: "RandomBytes") -> "SigningKey":
        from dhtchat.crypto.identity import SigningKey

        key = SigningKey.generate(source)
        write_private(self._key_path(name), key.seed)
        return key

    def load_node_key(self, source: "RandomBytes", bits: int) -> "NodeKey":
        """The key of this device's DHT node, made when there is none that solves the network's puzzle. Raises
        `DamagedFile`."""
        from dhtchat.crypto.datagram import NodeKey

        seed = self._load_seed("node")
        if seed is not None and puzzle_bits((key := NodeKey(seed)).public) >= bits:
            return key
        key = NodeKey.generate(source, bits)
        write_private(self._key_path("node"), key.seed)
        return key

    def _load_seed(self, name: str) -> bytes | None:
        try:
            seed = self._key_path(name).read_bytes()
        except FileNotFoundError:
            return None
        if len(seed) != KEY_BYTES:
            raise DamagedFile(f"{self._key_path(name)} is damaged", hint="Move it aside: a new key is made then.")
        return seed

    def _key_path(self, name: str) -> Path:
        return self.path / f"{name}.key"


def _candidates(profile_folder: Path, places: int) -> Iterator[Path]:
    for number in range(1, places + 1):
        yield profile_folder / f"device-{number}"


def claim_device_folder(
    data_dir: Path, parameters: "NetworkParameters", profile: str, *, places: int = DEVICES_PER_OWNER_MAX
) -> DeviceFolder:
    """The first of a profile's `places` that no other process uses. Raises `ProfileBusy`, or `BadUsage` for a bad name."""
    from filelock import FileLock, Timeout

    for path in _candidates(profile_folder(network_folder(data_dir, parameters), profile), places):
        make_folder(path)
        lock = FileLock(path / "in-use.lock", timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            continue
        return DeviceFolder(path, lock)
    raise ProfileBusy(f"{places} chats of {profile} run on this machine already")
