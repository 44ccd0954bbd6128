"""The last stop of every exception: two lines on standard error, a JSON object where scripts listen, an exit code.

First line: what happened. Second line: what to do about it. A traceback is never shown; that of a bug is kept in a file.
"""

import platform
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from dhtchat import __version__
from dhtchat.chat.events import ErrorShown, to_json
from dhtchat.chat.markup import clean
from dhtchat.errors import BadUsage, DhtChatError
from dhtchat.limits import BUG_REPORTS_MAX

INTERRUPTED: Final = 130
"""Exit code: 128 + SIGINT, as a shell reports it."""
_NO_ADVICE: Final = "See 'dhtchat --help'."
_SUMMARY_CHARACTERS_MAX: Final = 200


def report(error: BaseException, *, folder: Path, json: bool, stdout: TextIO, stderr: TextIO) -> int:
    """Show whatever ended a command and return its exit code. A bug's traceback goes to a file in `folder`.

    With `app(arguments, standalone_mode=False)` Typer raises what goes wrong instead of printing it, and returns the
    exit code of `typer.Exit`, also for an interrupt.
    """
    error = _innermost(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    known = error if isinstance(error, DhtChatError) else as_bad_usage(error)
    if known:
        return show_error(known, json=json, stdout=stdout, stderr=stderr)
    return show_bug(error, folder=folder, json=json, stdout=stdout, stderr=stderr)


def show_error(error: DhtChatError, *, json: bool, stdout: TextIO, stderr: TextIO) -> int:
    """Two lines on `stderr`, with `json` an `error` object on `stdout` as well. Returns the exit code."""
    shown = ErrorShown(
        code=error.code,
        message=clean(str(error), single_line=True),
        hint=clean(error.hint or _NO_ADVICE, single_line=True),
    )
    if json:
        _print(to_json(shown), stdout)
    _print(f"error: {shown.message}\n{shown.hint}", stderr)
    return error.exit_code


def show_bug(error: BaseException, *, folder: Path, json: bool, stdout: TextIO, stderr: TextIO) -> int:
    """Keep the traceback in a new file in `folder` and say where it is, in two lines. Returns the exit code."""
    bug = DhtChatError(f"dhtchat has a bug: {_summary(error)}")
    try:
        bug.hint = f"Please report it with the file {_keep(error, folder)}"
    except OSError as trouble:
        bug.hint = f"Its traceback could not be kept in {folder} ({trouble.strerror or trouble}). Please report it."
    return show_error(bug, json=json, stdout=stdout, stderr=stderr)


def as_bad_usage(error: BaseException) -> BadUsage | None:
    """An unknown option, a missing argument and the like, as Typer raises them; None for anything else.

    Known by how they look: Typer's own classes for them are private since it contains click, and another package's before.
    """
    format_message = getattr(error, "format_message", None)
    if not callable(format_message):
        return None
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", None) or "dhtchat"
    hint = f"See '{command} --help'."
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        return BadUsage(f"'{command}' needs a command", hint=hint)
    message = str(format_message()).strip().removesuffix(".")
    return BadUsage(message[:1].lower() + message[1:], hint=hint)


def _innermost(error: BaseException) -> BaseException:
    """The error behind Typer's `Abort`, and behind the group in which a task group hands errors on."""
    if type(error).__name__ == "Abort" and isinstance(error.__cause__, EOFError):
        # Typer takes every EOFError for the user's, but asyncio.IncompleteReadError is one, too.
        return error.__cause__
    if isinstance(error, BaseExceptionGroup):
        leaves = list(_leaves(error))
        expected = [leaf for leaf in leaves if isinstance(leaf, DhtChatError | KeyboardInterrupt)]
        if len(expected) == len(leaves) or len(leaves) == 1:
            return leaves[0]
    return error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _summary(error: BaseException) -> str:
    """`KeyError: 'x'`, one line of it and not too long."""
    line = traceback.format_exception_only(error)[-1].strip().partition("\n")[0]
    return line if len(line) <= _SUMMARY_CHARACTERS_MAX else line[:_SUMMARY_CHARACTERS_MAX] + "..."


def _keep(error: BaseException, folder: Path) -> Path:
    """Write the traceback to a new file that only we can read. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _forget_oldest(folder)
    text = "".join(traceback.format_exception(error))
    with tempfile.NamedTemporaryFile(  # 0600, and a name that no two processes share
        "w", dir=folder, prefix="bug-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"dhtchat {__version__}, Python {platform.python_version()}, {sys.platform}\n{clean(text)}")
    return Path(file.name)


def _forget_oldest(folder: Path) -> None:
    reports = sorted(folder.glob("bug-*.txt"), key=lambda report: report.stat().st_mtime)
    for report in reports[: max(0, len(reports) - BUG_REPORTS_MAX + 1)]:
        report.unlink(missing_ok=True)


def _print(text: str, stream: TextIO) -> None:
    """Whoever no longer listens misses it; there is nobody left to tell about that."""
    with suppress(OSError, ValueError):
        print(text, file=stream, flush=True)
