"""Where passwords come from, and that what stands behind one on standard input is still there for the chat."""

import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtchat.cli import passwords
from dhtchat.cli.passwords import (
    LineInput,
    PasswordOptions,
    StandardInput,
    new_password_dialog,
    read_new_password,
    read_password,
    read_password_change,
)
from dhtchat.crypto.password import check_policy
from dhtchat.errors import BadUsage
from dhtchat.limits import INPUT_LINE_BYTES_MAX, TEXT_BYTES_MAX

GOOD = "mokita-luberi-sapodu"
STDIN = PasswordOptions(from_stdin=True)


def standard_input(content: bytes = b"", *, terminal: bool = False) -> StandardInput:
    stream = io.BytesIO(content)
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    return StandardInput(stream)


def never_asked(prompt: str) -> str:
    raise AssertionError(f"asked for {prompt!r}")


def answers(*typed: str) -> Callable[[str], str]:
    """What a person types, one after the other; to be asked once more is an error."""
    waiting = list(typed)
    return lambda prompt: waiting.pop(0)


# --- lines ------------------------------------------------------------------------------------------------------------


def test_the_rest_of_standard_input_stays_for_the_chat() -> None:
    """Contract: "read from the first line of standard input with `--password-stdin`"."""
    lines = standard_input(f"{GOOD}\n/join #lobby\nhello\n".encode())
    assert read_password(STDIN, lines, ask=never_asked) == GOOD
    assert [lines.read_text(), lines.read_text(), lines.read_text()] == ["/join #lobby", "hello", None]


@given(
    st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"").removesuffix(b"\r")), max_size=8),
    st.lists(st.integers(1, 7), min_size=1, max_size=20),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_any_cut_of_the_bytes_gives_the_same_lines(lines: list[bytes], sizes: list[int], end: bytes) -> None:
    content = b"".join(line + end for line in lines)

    class Dribble(io.BytesIO):
        """Gives a few bytes at a time, as a pipe may."""

        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return super().read(sizes[self.reads % len(sizes)])

    expected = [line.removeprefix(b"\xef\xbb\xbf") if not number else line for number, line in enumerate(lines)]
    reader = LineInput(Dribble(content), "test")
    if sizes[1 % len(sizes)] >= 3 or not content.startswith(b"\xef"):  # a byte order mark must come in one piece
        assert [reader.read_line() for _ in lines] == expected
        assert reader.read_line() is None
        assert reader.read_line() is None


def test_a_last_line_needs_no_end() -> None:
    reader = standard_input(b"one\ntwo")
    assert [reader.read_line(), reader.read_line(), reader.read_line()] == [b"one", b"two", None]


def test_only_one_line_end_is_taken_off() -> None:
    reader = standard_input(b" a \r\r\n\nb\n")
    assert [reader.read_line(), reader.read_line(), reader.read_line()] == [b" a \r", b"", b"b"]


def test_chat_lines_are_utf_8_with_replacements() -> None:
    assert standard_input("grüße\n".encode()).read_text() == "grüße"
    assert standard_input(b"gr\xfc\xdfe\n").read_text() == "gr\ufffd\ufffde"
    assert standard_input(b"\xef\xbb\xbf/join #a\n").read_text() == "/join #a"


def test_an_endless_line_fills_no_memory_and_is_too_long_to_be_said() -> None:
    reader = standard_input(b"x" * (3 * INPUT_LINE_BYTES_MAX) + b"\nnext\n")
    first = reader.read_line()
    assert first is not None
    assert TEXT_BYTES_MAX < len(first) <= INPUT_LINE_BYTES_MAX
    assert reader.read_line() == b"next"


def test_lines_are_read_no_earlier_than_they_come() -> None:
    """From a real pipe: the first line is there before the second is written."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "r") as stream, os.fdopen(write_end, "wb", buffering=0) as writer:
        reader = StandardInput(stream)
        writer.write(b"first\nsec")
        assert reader.read_text() == "first"
        threading.Timer(0.05, writer.write, [b"ond\n"]).start()
        assert reader.read_text() == "second"


def test_a_program_without_standard_input_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert StandardInput().read_line() is None


@pytest.mark.process
def test_a_thread_that_waits_for_input_does_not_disturb_the_end() -> None:
    """With Python's own buffer below: "Fatal Python error: could not acquire lock ... at interpreter shutdown"."""
    program = (
        "import threading, time\n"
        "from dhtchat.cli.passwords import StandardInput\n"
        "threading.Thread(target=StandardInput().read_line, daemon=True).start()\n"
        "time.sleep(0.1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 0


# --- one password -----------------------------------------------------------------------------------------------------


def test_a_terminal_is_asked() -> None:
    assert read_password(PasswordOptions(), standard_input(terminal=True), ask=answers("typed")) == "typed"


def test_without_terminal_and_option_the_options_are_named() -> None:
    with pytest.raises(BadUsage, match="no terminal to ask") as caught:
        read_password(PasswordOptions(), standard_input(b"secret\n"), ask=never_asked)
    assert "--password-stdin" in caught.value.hint
    assert "--password-file" in caught.value.hint


def test_standard_input_that_ends_too_early_is_wrong_usage() -> None:
    with pytest.raises(BadUsage, match="standard input ended before a password"):
        read_password(STDIN, standard_input(), ask=never_asked)


def test_an_empty_line_is_an_empty_password_which_the_policy_judges() -> None:
    assert read_password(STDIN, standard_input(b"\n"), ask=never_asked) == ""


def test_a_password_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(BadUsage, match="not UTF-8"):
        read_password(STDIN, standard_input(b"gr\xfc\xdfe\n"), ask=never_asked)


def test_a_password_keeps_its_blanks() -> None:
    assert read_password(STDIN, standard_input(b"  two words \r\n"), ask=never_asked) == "  two words "


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{GOOD}\nsecond line\n", encoding="utf-8")
    file.chmod(0o600)
    return file


def test_the_first_line_of_a_file(password_file: Path) -> None:
    told: list[str] = []
    options = PasswordOptions(file=password_file)
    lines = standard_input(b"hello\n")
    assert read_password(options, lines, ask=never_asked, tell=told.append) == GOOD
    assert told == []
    assert lines.read_text() == "hello"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_may_read_is_pointed_out(password_file: Path, mode: int) -> None:
    password_file.chmod(mode)
    told: list[str] = []
    options = PasswordOptions(file=password_file)
    assert read_password(options, standard_input(), ask=never_asked, tell=told.append) == GOOD
    assert len(told) == 1
    assert f"chmod 600 {password_file}" in told[0]


def test_a_warning_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    passwords.tell("careful: \x1b[31m\nred")
    assert capsys.readouterr() == ("", "careful: [31m red\n")


@pytest.mark.parametrize("content", [None, b""])
def test_a_file_that_is_missing_or_empty_is_wrong_usage(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadUsage, match="secret"):
        read_password(PasswordOptions(file=file), standard_input(), ask=never_asked, tell=print)
    with pytest.raises(BadUsage, match="cannot read the password file"):
        read_password(PasswordOptions(file=tmp_path), standard_input(), ask=never_asked, tell=print)


def test_two_sources_are_one_too_many(password_file: Path) -> None:
    with pytest.raises(BadUsage, match="exclude each other"):
        read_password(PasswordOptions(True, password_file), standard_input(b"x\n"), ask=never_asked)


# --- two passwords ----------------------------------------------------------------------------------------------------


def test_passwd_reads_the_old_one_then_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old\nnew\n")
    file.chmod(0o600)
    for options in (STDIN, PasswordOptions(file=file)):
        lines = standard_input(b"old\nnew\nhello\n")
        assert read_password_change("alice", options, lines, ask=never_asked) == ("old", "new")
    with pytest.raises(BadUsage, match="ended before a password"):
        read_password_change("alice", STDIN, standard_input(b"old\n"), ask=never_asked)


def test_passwd_asks_for_the_old_one_once_and_the_new_one_twice() -> None:
    typed = answers("old", GOOD, GOOD)
    terminal = standard_input(terminal=True)
    changed = read_password_change("alice", PasswordOptions(), terminal, ask=typed, tell=lambda line: None)
    assert changed == ("old", GOOD)


# --- a new password at the terminal -----------------------------------------------------------------------------------


def test_a_good_password_typed_twice_is_taken() -> None:
    told: list[str] = []
    options = PasswordOptions()
    terminal = standard_input(terminal=True)
    assert read_new_password("alice", options, terminal, ask=answers(GOOD, GOOD), tell=told.append) == GOOD
    assert GOOD not in " ".join(told)


def test_a_refusal_says_why_and_how_to_do_better_and_one_may_try_again() -> None:
    told: list[str] = []
    typed = answers("short", "password12", "alicealice", GOOD, "mistyped", GOOD, GOOD)
    assert new_password_dialog("alice", ask=typed, tell=told.append) == GOOD
    said = "\n".join(told)
    assert [line.partition(",")[0] for line in told if line.startswith("Strength")] == [
        "Strength: very weak",
        "Strength: weak",
        "Strength: very weak",
        "Strength: very good",
        "Strength: very good",
    ]
    assert "the password has 5 characters, at least 10 are needed." in said
    assert said.count("the password is too weak") == 2
    assert said.count(", for instance: ") + said.count("Take for instance: ") == 3
    assert said.count("The two differ.") == 1


def test_enter_alone_takes_the_phrase_offered_last() -> None:
    told: list[str] = []

    def person(prompt: str) -> str:
        """Tries a weak one first, then presses Enter, then copies what was shown."""
        if "weak" not in typed:
            typed.append("weak")
            return "weak"
        typed.append("" if prompt.startswith("New") else told[-1].split()[3].rstrip(":"))
        return typed[-1]

    typed: list[str] = []
    password = new_password_dialog("alice", ask=person, tell=told.append)
    check_policy(password, name="alice")
    assert typed == ["weak", "", password]
    advice = next(line for line in told if "for instance" in line)
    assert advice.endswith(password)


# --- the real prompt --------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_nothing_typed_is_echoed() -> None:
    """On a pseudo-terminal of its own: the prompt is seen, the password is not."""
    program = (
        "from dhtchat.cli.passwords import *\n"
        "standard_input = StandardInput()\n"
        "password = read_password(PasswordOptions(), standard_input)\n"
        "print(len(password), standard_input.read_text())\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.execv(sys.executable, [sys.executable, "-c", program])
    seen = b""
    try:
        # The prompt's end is waited for: getpass throws away what was typed ahead.
        for awaited, typed in ((b"Password: ", b"s3cret\n"), (b"\n", b"chat line\n"), (b"6 chat line", b"")):
            while awaited not in seen:
                seen += os.read(terminal, 1024)
            os.write(terminal, typed)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    assert b"s3cret" not in seen


def test_a_prompt_that_cannot_hide_is_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """getpass would warn, go on and show what is typed."""

    def cannot_hide(prompt: str) -> str:
        import warnings
        from getpass import GetPassWarning

        warnings.warn("Can not control echo on the terminal.", GetPassWarning, stacklevel=2)
        raise AssertionError("went on")

    monkeypatch.setattr(passwords, "getpass", cannot_hide)
    with pytest.raises(BadUsage, match="shows what is typed"):
        passwords.ask_hidden("Password: ")


def test_end_of_input_at_the_prompt_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(passwords, "getpass", ended)
    with pytest.raises(BadUsage, match="no password was typed"):
        passwords.ask_hidden("Password: ")
