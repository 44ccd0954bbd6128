"""Where events go: to standard output as text or JSON, errors to standard error as well. Ends quietly with the reader."""

import asyncio
import contextlib
import os
import select
import sys
from collections.abc import Callable
from typing import TextIO

from dhtchat.chat.events import ErrorShown, Event, to_json
from dhtchat.cli.render import Renderer
from dhtchat.cli.terminal import detect, make_safe


class Output:
    """One per process. `closed` once nobody reads standard output any more."""

    def __init__(self, *, json: bool, user: str | None = None) -> None:
        self._json = json
        self._stdout: TextIO = make_safe(sys.stdout, json=json)
        self._stderr: TextIO = make_safe(sys.stderr)
        self._renderer = Renderer(detect(self._stdout), user)
        self._error_renderer = Renderer(detect(self._stderr), user)
        self.on_closed: Callable[[], object] = lambda: None
        self._closed = False

    async def ready(self) -> None:
        """Wait until whoever reads standard output takes something: who stops a terminal must not stop the peer."""
        loop = asyncio.get_running_loop()
        while (descriptor := self._blocked()) is not None:
            writable: asyncio.Future[None] = loop.create_future()
            loop.add_writer(descriptor, _resolve, writable)
            try:
                await writable
            finally:
                loop.remove_writer(descriptor)

    def _blocked(self) -> int | None:
        """The file descriptor of standard output when nobody takes anything there at present. Where that cannot be told (on
        Windows, of a stream without one) nobody waits; what cannot be written is found out by writing."""
        try:
            descriptor = self._stdout.fileno()
            return descriptor if not self._closed and not select.select([], [descriptor], [], 0)[1] else None
        except (OSError, ValueError):
            return None

    def show(self, event: Event) -> None:
        """One event. An error is two lines on standard error, and in JSON an object on standard output too."""
        if isinstance(event, ErrorShown):
            self._write(self._stderr, self._error_renderer.render(event))
        if self._json:
            self._write(self._stdout, to_json(event))
        elif not isinstance(event, ErrorShown):
            self._write(self._stdout, self._renderer.render(event))

    def _write(self, stream: TextIO, text: str) -> None:
        if self._closed:
            return
        try:
            print(text, file=stream, flush=True)
        except (OSError, ValueError):  # a reader that has gone, a disk that is full
            if stream is self._stdout:
                self._closed = True
                # What Python still holds for the pipe would raise once more when the interpreter ends.
                with contextlib.suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                self.on_closed()


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
