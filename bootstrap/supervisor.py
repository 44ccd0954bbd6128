"""What we tell systemd: ready, how things are, still alive, stopping. A few datagrams; see sd_notify(3)."""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

_WATCHDOG_SHARE: Final = 0.5
"""Of the time systemd grants: what sd_watchdog_enabled(3) recommends."""


class Supervisor:
    """Says nothing where nobody asked for it, which is whoever started us without `NOTIFY_SOCKET`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # Either a path or, with an `@` in front, a name in Linux' abstract namespace.
        self._address = path.replace("@", "\0", 1) if path.startswith("@") else path
        self.watchdog_interval_s = _watchdog_interval_s(environment)
        """How often `alive` must be said; None: never."""

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line, which `systemctl status` shows."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A supervisor that is gone, or too busy to listen, is no reason to end.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), self._address)


def _watchdog_interval_s(environment: Mapping[str, str]) -> float | None:
    granted_us = environment.get("WATCHDOG_USEC", "")
    for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not (for_us and granted_us.isascii() and granted_us.isdigit() and int(granted_us)):
        return None
    return int(granted_us) / 1_000_000 * _WATCHDOG_SHARE
