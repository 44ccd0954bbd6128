"""Where passwords come from: a prompt without echo, the first line of standard input, or a file.

Never from an argument or an environment variable: other users of the machine can read those. Standard input may carry
the password and then the chat, so one `StandardInput` owns it from the first byte to the last.
"""

import codecs
import os
import re
import select
import stat
import sys
import warnings
from collections.abc import Callable
from getpass import GetPassWarning, getpass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from dhtchat.chat.markup import clean
from dhtchat.errors import BadUsage, WeakPassword
from dhtchat.limits import INPUT_LINE_BYTES_MAX, PASSWORD_CHARACTERS_MIN, PASSWORD_SCORE_MAX

if TYPE_CHECKING:
    from dhtchat.crypto.password import Strength

_READ_BYTES: Final = 64 * 1024
_OTHERS_MAY_READ: Final = stat.S_IRWXG | stat.S_IRWXO

TRY_AGAIN: Final = "Wrong password, please try again."

Ask = Callable[[str], str]
"""Shows a prompt and returns what is typed, without echo."""
Tell = Callable[[str], None]
"""Shows a line to whoever started the program."""


class LineInput:
    """Lines of bytes, each read no earlier than somebody asks for it.

    It reads below Python's buffer: a chat waits for lines in a thread, and a thread that waits inside the buffer holds
    its lock, on which the interpreter dies at its end.
    """

    def __init__(self, stream: IO[Any], name: str) -> None:
        self._name = name
        binary = getattr(stream, "buffer", stream)
        self._raw: IO[bytes] = getattr(binary, "raw", binary)
        self._waiting = bytearray()
        self._at_start = True
        self._keeps_loose_end = True
        self._ended = False

    def read_line(self) -> bytes | None:
        """The next line without its end, waiting for it; None at the end of input.

        Of a line longer than INPUT_LINE_BYTES_MAX the rest is dropped: what is left is still too long to be sent.
        """
        line = bytearray()
        while True:
            end = self._waiting.find(b"\n")
            head = self._waiting[: end if end >= 0 else None]
            line += head[: INPUT_LINE_BYTES_MAX - len(line)]
            del self._waiting[: len(head) + 1]
            if end >= 0:
                return bytes(line.removesuffix(b"\r"))
            if not self._fill():
                # At a terminal, what was not ended with Enter was not meant to be sent.
                return bytes(line) or None if self._keeps_loose_end else None

    def read_text(self) -> str | None:
        """The next line for the chat; what is not UTF-8 in it becomes replacement characters."""
        line = self.read_line()
        return None if line is None else line.decode("utf-8", "replace")

    def read_password(self) -> str:
        """The next line as a password, which must be UTF-8: with a replaced character it would be another one."""
        line = self.read_line()
        if line is None:
            raise BadUsage(f"{self._name} ended before a password", hint="Write each password on a line of its own.")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise BadUsage(f"the password from {self._name} is not UTF-8", hint="Write it as UTF-8.") from None

    def _fill(self) -> bool:
        """Read what there is, waiting for at least a byte; False at the end."""
        if self._ended:
            return False
        chunk = self._raw.read(_READ_BYTES)
        while chunk is None:  # another program has made our terminal non-blocking
            select.select([self._raw], [], [])
            chunk = self._raw.read(_READ_BYTES)
        self._ended = not chunk
        self._waiting += chunk.removeprefix(codecs.BOM_UTF8) if self._at_start else chunk  # Windows pipes start so
        self._at_start = False
        return bool(chunk)


class StandardInput(LineInput):
    """The one reader of standard input. Make it once and hand it on: what it has read ahead is only in here."""

    def __init__(self, stream: IO[Any] | None = None) -> None:
        stream = stream or sys.stdin or BytesIO()  # a program without a console has no standard input
        super().__init__(stream, "standard input")
        self.is_terminal: bool = stream.isatty()
        self._keeps_loose_end = not self.is_terminal


class PasswordOptions(NamedTuple):
    """`--password-stdin` and `--password-file`, as given."""

    from_stdin: bool = False
    file: Path | None = None


def ask_hidden(prompt: str) -> str:
    """Ask on the terminal, without echo. Raises `BadUsage` where that cannot be done."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)  # it would go on and show what is typed
            return getpass(prompt)
    except GetPassWarning:
        raise BadUsage("this terminal shows what is typed", hint=_OPTIONS_HINT) from None
    except EOFError:
        raise BadUsage("no password was typed", hint=_OPTIONS_HINT) from None


def tell(line: str) -> None:
    """A line on standard error, where it does not mix with what a script reads."""
    print(clean(line, single_line=True) if line else "", file=sys.stderr, flush=True)


def read_password(
    options: PasswordOptions,
    standard_input: StandardInput,
    *,
    prompt: str = "Password: ",
    ask: Ask = ask_hidden,
    tell: Tell = tell,
) -> str:
    """The password of an account that exists, for `join`."""
    given = _given(options, standard_input, 1, tell)
    return given[0] if given else ask(prompt)


def read_new_password(
    name: str, options: PasswordOptions, standard_input: StandardInput, *, ask: Ask = ask_hidden, tell: Tell = tell
) -> str:
    """The password of an account to be made, for `register`. One that was not typed here is yet to be judged."""
    given = _given(options, standard_input, 1, tell)
    return given[0] if given else new_password_dialog(name, ask=ask, tell=tell)


def read_password_change(
    name: str, options: PasswordOptions, standard_input: StandardInput, *, ask: Ask = ask_hidden, tell: Tell = tell
) -> tuple[str, str]:
    """The old password and the new one, for `passwd`: two lines where they are not typed."""
    given = _given(options, standard_input, 2, tell)
    if given:
        old, new = given
        return old, new
    return ask("Old password: "), new_password_dialog(name, ask=ask, tell=tell)


_OPTIONS_HINT: Final = "Use --password-stdin (the first line of standard input) or --password-file FILE."


def _given(options: PasswordOptions, standard_input: StandardInput, count: int, tell: Tell) -> list[str]:
    """That many passwords from where the options say; none when a person is there to be asked."""
    if options.from_stdin and options.file:
        raise BadUsage("--password-stdin and --password-file exclude each other", hint="Give one of them.")
    if options.file:
        return _from_file(options.file, count, tell)
    if options.from_stdin:
        return [standard_input.read_password() for _ in range(count)]
    if not standard_input.is_terminal:
        raise BadUsage("a password is needed and there is no terminal to ask for it", hint=_OPTIONS_HINT)
    return []


def _from_file(file: Path, count: int, tell: Tell) -> list[str]:
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            lines = LineInput(stream, str(file))
            passwords = [lines.read_password() for _ in range(count)]
    except OSError as error:
        raise BadUsage(
            f"cannot read the password file {file}: {error.strerror or error}", hint="Check its name and permissions."
        ) from error
    if os.name == "posix" and stat.S_ISREG(mode) and mode & _OTHERS_MAY_READ:
        tell(f"warning: other users of this machine may read {file}; make it yours alone with: chmod 600 {file}")
    return passwords


_PHRASE_AT_END: Final = re.compile(r"[a-z]+(?:-[a-z]+){3}$")


def meter(strength: "Strength") -> str:
    """A line that shows how strong a password is; the words first, because a screen reader spells out the bar."""
    full = 4 * strength.score
    bar = "#" * full + "-" * (4 * PASSWORD_SCORE_MAX - full)
    word = ("very weak", "weak", "not enough", "good", "very good")[strength.score]
    return f"Strength: {word}, guessed in {strength.holds} [{bar}]"


def new_password_dialog(name: str, *, ask: Ask = ask_hidden, tell: Tell = tell) -> str:
    """Ask for a new password until one is good enough and typed the same twice; Enter alone takes one we make up."""
    from random import SystemRandom

    from dhtchat.crypto.password import check_policy, generate_phrase, strength_of  # late: who logs in needs none of it

    offered = generate_phrase(SystemRandom())
    tell(f"Choose a password of at least {PASSWORD_CHARACTERS_MIN} characters: several unusual words are good.")
    tell(f"Or press Enter alone to take this one: {offered}")
    while True:
        password = ask("New password: ") or offered
        if password != offered:
            tell(meter(strength_of(password, name=name)))
        try:
            check_policy(password, name=name)
        except WeakPassword as error:
            tell(f"{error}.")
            if error.hint:
                tell(error.hint)
            phrase = _PHRASE_AT_END.search(error.hint)
            offered = phrase[0] if phrase else offered
            tell("Try again, or press Enter alone to take the one offered last.")
            continue
        if password != offered:
            if ask("The same again: ") == password:
                return password
            tell("The two differ. Try again, or press Enter alone to take the one offered last.")
            continue
        tell(f"The password is {password}: keep it where you find it again, nobody can reset it.")
        typed = ask("Type it once, so that you know it: ")
        while not typed:
            typed = ask(f"Type it once, so that you know it ({password}): ")
        if typed == password:
            return password
        tell("That was another one. Try again, or press Enter alone to take the one offered last.")
