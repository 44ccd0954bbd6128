"""What systemd hears, played by a socket as systemd has one."""

import os
import socket
import sys
from pathlib import Path

import pytest

from bootstrap.supervisor import Supervisor


@pytest.mark.parametrize("abstract", [False, True])
def test_it_says_what_sd_notify_says(tmp_path: Path, abstract: bool) -> None:
    """Ready, status, alive, stopping: to a path, or to a name in Linux' abstract namespace."""
    if abstract and not sys.platform.startswith("linux"):
        return
    name = f"@dhtchat-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        supervisor = Supervisor({"NOTIFY_SOCKET": name})
        supervisor.ready("1 nodes known")
        supervisor.status("2 nodes known")
        supervisor.alive()
        supervisor.stopping()
        heard = [systemd.recv(1_000) for _ in range(4)]
    assert heard == [b"READY=1\nSTATUS=1 nodes known", b"STATUS=2 nodes known", b"WATCHDOG=1", b"STOPPING=1"]
    supervisor.alive()  # systemd is gone: no harm


def test_without_systemd_nothing_is_said() -> None:
    supervisor = Supervisor({})
    supervisor.ready("")
    assert supervisor.watchdog_interval_s is None


@pytest.mark.parametrize(
    "environment, interval_s",
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked(environment: dict[str, str], interval_s: float | None) -> None:
    assert Supervisor(environment).watchdog_interval_s == interval_s
