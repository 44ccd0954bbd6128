"""The commands that ask the running peer of a profile: one connection, one question, one answer, the end.

They are promised to start about as fast as a bare Typer program, so nothing heavy may be imported at the top: no asyncio, no
msgspec, nothing of ours that needs them. With `--json` the peer's lines are printed as they come; to draw text, the renderer
is loaded while the peer looks for the answer.
"""

import contextlib
import json as json_format
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from dhtchat.app.meeting_point import connect_to_peer
from dhtchat.errors import NotRunning, error_of
from dhtchat.limits import CONTROL_ANSWER_BYTES_MAX, CONTROL_ANSWER_TIMEOUT_S

if TYPE_CHECKING:
    from dhtchat.cli.render import Renderer

Fields = dict[str, Any]
_GOODBYE_S: Final = 20.0
"""How long a peer may take to flush and to end. Longer than both together."""


class Printer:
    """Events to standard output: as they came, or drawn."""

    def __init__(self, *, json: bool, user: str | None) -> None:
        self._json = json
        self._user = user
        self._renderer: Renderer | None = None

    def prepare(self) -> None:
        """Load what draws, if it will be needed."""
        if not self._json:
            from dhtchat.cli.render import Renderer
            from dhtchat.cli.terminal import detect, make_safe

            self._renderer = Renderer(detect(make_safe(sys.stdout)), self._user)

    def show(self, line: bytes) -> None:
        """One event. Raises `BrokenPipeError` when nobody reads any more."""
        if self._json:
            sys.stdout.buffer.write(line)
        elif self._renderer is not None:
            from dhtchat.app.event_lines import decode_event

            event = decode_event(line)
            if event is not None:
                print(self._renderer.render(event))
        sys.stdout.flush()


class Asker:
    """A connection to the running peer. Use as a context manager. Raises `NotRunning`."""

    def __init__(self, data_dir: Path | None, profile: str | None, network: str, *, listens: bool = False) -> None:
        self._connection, meeting, self.profile = connect_to_peer(data_dir, profile, network)
        self._connection.settimeout(CONTROL_ANSWER_TIMEOUT_S)
        self._stream = self._connection.makefile("rb")
        self._write({"hello": 1, "listens": listens, "secret": meeting.secret})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._connection.close()

    def wait_for_ever(self) -> None:
        self._connection.settimeout(None)

    def hurry(self, timeout_s: float) -> None:
        """Wait for each line no longer than this."""
        self._connection.settimeout(timeout_s)

    def wait_for(self, further_s: float) -> None:
        self._connection.settimeout(CONTROL_ANSWER_TIMEOUT_S + further_s)

    def request(self, intent: Fields) -> None:
        self._write({"id": 1, "do": intent})

    def next(self) -> tuple[bytes, Fields] | None:
        """The next event as it came and as fields; None at the end. Raises `NotRunning` when nothing comes."""
        try:
            line = self._stream.readline(CONTROL_ANSWER_BYTES_MAX)
        except TimeoutError:
            raise NotRunning(
                f"the peer of {self.profile} does not answer", hint="Look whether its machine is busy."
            ) from None
        except ConnectionError:
            return None
        return (line, json_format.loads(line)) if line.endswith(b"\n") else None

    def _write(self, thing: Fields) -> None:
        with contextlib.suppress(ConnectionError):  # then there is nothing to read either
            self._connection.sendall(json_format.dumps(thing).encode() + b"\n")


def ask(data_dir: Path | None, profile: str | None, network: str, intent: Fields, *, json: bool) -> int:
    """Ask, print what answers, and end. An error that answers is raised."""
    with Asker(data_dir, profile, network) as peer:
        printer = Printer(json=json, user=peer.profile)
        peer.request(intent)
        printer.prepare()
        _follow(peer, printer)
    return 0


def send(
    data_dir: Path | None, profile: str | None, network: str, target: str, text: str, wait_s: float, *, json: bool
) -> int:
    """Say something and wait for what becomes of it. Raises `NotDelivered` when that is nothing in time."""
    with Asker(data_dir, profile, network) as peer:
        printer = Printer(json=json, user=peer.profile)
        peer.wait_for(wait_s)
        peer.request({"type": "Send", "target": target, "text": text, "wait_s": wait_s})
        printer.prepare()
        _follow(peer, printer)
    return 0


def down(data_dir: Path | None, profile: str | None, network: str, *, json: bool) -> int:
    """Stop the peer, and return when it has ended."""
    with Asker(data_dir, profile, network) as peer:
        printer = Printer(json=json, user=peer.profile)
        peer.wait_for(_GOODBYE_S)
        peer.request({"type": "Stop"})
        printer.prepare()
        while (heard := peer.next()) is not None:
            if heard[1]["event"] == "bye":
                _show(printer, heard[0])
    return 0


def listen(data_dir: Path | None, profile: str | None, network: str, *, json: bool) -> int:
    """Print what happens, until the peer ends or nobody reads."""
    with Asker(data_dir, profile, network, listens=True) as peer:
        printer = Printer(json=json, user=peer.profile)
        printer.prepare()
        heard = peer.next()
        peer.wait_for_ever()
        ended = False
        while heard is not None:
            line, fields = heard
            ended = fields["event"] == "bye"
            if not _show(printer, line):
                return 0
            heard = peer.next()
        if not ended:
            raise NotRunning(
                f"the connection to the peer of {peer.profile} ended",
                hint="It was killed, or this end did not read fast enough: see 'dhtchat status' and 'dhtchat history'.",
            )
    return 0


def _follow(peer: Asker, printer: Printer) -> None:
    """Print up to `done`. What the peer says of itself at first answers nothing."""
    while (heard := peer.next()) is not None:
        line, fields = heard
        match fields["event"]:
            case "done":
                return
            case "error":
                raise error_of(fields["code"], fields["message"], fields["hint"])
            case "ready" | "target" | "bye":
                continue
        _show(printer, line)
    raise NotRunning(f"the peer of {peer.profile} ended before it answered")


def _show(printer: Printer, line: bytes) -> bool:
    """False when nobody reads any more; then Python shall not try again at its end."""
    try:
        printer.show(line)
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
