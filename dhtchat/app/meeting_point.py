"""Where a running peer is met: a file in its profile's folder says the address of its control socket.

The commands that ask a running peer load this and little else: nothing heavy may be imported here. What is said there is in
`control.py`, why it is so in docs/decisions/0017-control-socket.md.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dhtchat.app.paths import default_data_dir, last_login_in, profile_folder
from dhtchat.errors import BadUsage, NotRunning

ADDRESS_FILE: Final = "control.address"
_KNOWN: Final = ("main", "sim")
_ID_CHARACTERS: Final = 8
"""Of the network's id, in the name of its folder."""


class Meeting(NamedTuple):
    """What stands in the file: the path of a Unix socket, or a port of this machine and the secret that it asks for."""

    path: str | None
    port: int | None = None
    secret: str = ""

    def written(self) -> bytes:
        return os.fsencode(f"unix\n{self.path}\n" if self.port is None else f"tcp\n{self.port}\n{self.secret}\n")


def read_meeting(profile: Path) -> Meeting | None:
    """What the last peer of a profile has written, whether it still runs or not."""
    try:
        kind, *rest = os.fsdecode((profile / ADDRESS_FILE).read_bytes()).removesuffix("\n").split("\n")
        match kind, rest:
            case "unix", [path]:
                return Meeting(str(profile / path))
            case "tcp", [port, secret]:
                return Meeting(None, int(port), secret)
    except (OSError, ValueError):
        pass
    return None


def open_socket(meeting: Meeting) -> socket.socket:
    """A connection. Raises `OSError` when nobody listens there any more."""
    if meeting.port is None:
        connection = socket.socket(socket.AF_UNIX)
        address: str | tuple[str, int] = str(meeting.path)
    else:
        connection = socket.socket(socket.AF_INET)
        address = ("127.0.0.1", meeting.port)
    try:
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_peer(
    data_dir: Path | None, profile: str | None, network: str = "main"
) -> tuple[socket.socket, Meeting, str]:
    """A connection to the running peer, and its profile. Without a profile the one that was online last, or else the only one
    that runs. Raises `NotRunning`."""
    tried = []
    for folder in _profile_folders(data_dir or default_data_dir(), profile, network):
        tried.append(folder.name)
        with contextlib.suppress(NotRunning):
            return *meet(folder), folder.name
    who = f"no peer of {profile or tried[0]}" if profile or tried else "no peer"
    raise NotRunning(f"{who} is running on this machine")


def meet(folder: Path) -> tuple[socket.socket, Meeting]:
    """A connection to the running peer of a profile, by its folder. Raises `NotRunning`."""
    meeting = read_meeting(folder)
    if meeting is not None:
        with contextlib.suppress(OSError):
            return open_socket(meeting), meeting
    raise NotRunning(f"no peer of {folder.name} is running on this machine")


def running_profiles(data_dir: Path, network: str) -> list[str]:
    """Those with the address of a peer, which may have ended without a word."""
    return sorted(
        {
            file.parent.name
            for folder in _network_folders(data_dir, network)
            for file in folder.glob(f"*/{ADDRESS_FILE}")
        }
    )


def profiles_of(data_dir: Path, network: str) -> list[str]:
    """Everybody who has been on this machine, running or not."""
    return sorted(
        {device.parent.name for folder in _network_folders(data_dir, network) for device in folder.glob("*/device-*")}
    )


def _profile_folders(data_dir: Path, profile: str | None, network: str) -> Iterator[Path]:
    for folder in _network_folders(data_dir, network):
        if profile is not None:
            yield profile_folder(folder, profile)
            continue
        last = last_login_in(folder)
        if last is not None:
            with contextlib.suppress(BadUsage):
                yield profile_folder(folder, last[0])
        others = sorted(file.parent for file in folder.glob(f"*/{ADDRESS_FILE}"))
        if len(others) == 1:
            yield others[0]


def _network_folders(data_dir: Path, network: str) -> list[Path]:
    """The folders of a network. Those of the built-in ones are found by name: to know their ids takes longer than to ask."""
    if network not in _KNOWN:
        from dhtchat.app.paths import network_folder
        from dhtchat.parameters import load_parameters

        return [network_folder(data_dir, load_parameters(network))]
    return sorted(data_dir.glob(f"{network}-{'?' * _ID_CHARACTERS}"))
