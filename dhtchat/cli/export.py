"""`dhtchat export`: the history of this machine as text or as one JSON object a line."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from dhtchat.app.archive import Archive
from dhtchat.chat.events import History, to_json
from dhtchat.cli.render import Renderer
from dhtchat.cli.terminal import Terminal
from dhtchat.errors import BadUsage

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings


def export(settings: "Settings", target: str | None, output: Path | None, *, json: bool) -> int:
    """Print it, or write it to a file of one's own that nobody else can read. Raises as `Archive` does."""
    archive = Archive(settings)
    with _opened(output) as file:
        renderer = Renderer(Terminal(colours=False))
        for conversation in archive.conversations(target):
            if json:
                for line in conversation.lines:
                    print(to_json(line), file=file)
            else:
                print(renderer.render(History(target=conversation.name, messages=conversation.lines)), file=file)
    return 0


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    except OSError as error:
        raise BadUsage(f"cannot write {output}: {error.strerror or error}", hint="Name another file.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yield file
