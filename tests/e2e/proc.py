"""What Linux tells about a process: its memory, and where it listens. On other systems the tests that ask are left out."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

ONLY_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
_LISTENING = "0A"
"""TCP_LISTEN in the `st` column, see proc_pid_net(5)."""


def rss_kib(pid: int) -> int:
    """Resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ValueError(f"process {pid} has no memory")


def listening_tcp_ports(pid: int) -> list[int]:
    """IPv4 ports on which a process accepts connections."""
    own = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            own.add(os.readlink(descriptor))
    ports = []
    for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, _, _, _, _, _, inode, *_ = row.split()
        if state == _LISTENING and f"socket:[{inode}]" in own:
            ports.append(int(local.rpartition(":")[2], 16))
    return ports


def processes_that_mention(text: str) -> list[int]:
    """Processes with `text` in their command line, we not among them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found
