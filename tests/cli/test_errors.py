"""Whatever ends a command: two lines, an exit code, JSON for scripts, and a kept traceback when it is our fault."""

import io
import json
import os
import stat
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from dhtchat import errors
from dhtchat.cli.errors import INTERRUPTED, as_bad_usage, report, show_bug, show_error
from dhtchat.errors import BadUsage, DhtChatError, NoBootstrapAnswered, NoSuchUser, UserError, WeakPassword
from dhtchat.limits import BUG_REPORTS_MAX
from tests.chat.hostile import HOSTILE_TEXTS, objections


class Shown:
    """What a report printed, and what it returned."""

    def __init__(self, folder: Path, *, json: bool = False) -> None:
        self.folder, self._json = folder, json
        self._stdout, self._stderr = io.StringIO(), io.StringIO()
        self.exit_code = -1

    def report(self, error: BaseException) -> "Shown":
        self.exit_code = report(error, folder=self.folder, json=self._json, stdout=self._stdout, stderr=self._stderr)
        return self

    @property
    def lines(self) -> list[str]:
        return self._stderr.getvalue().splitlines()

    @property
    def object(self) -> Any:
        return json.loads(self._stdout.getvalue())

    @property
    def stdout(self) -> str:
        return self._stdout.getvalue()


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(tmp_path / "data")


@pytest.fixture
def shown_json(tmp_path: Path) -> Shown:
    return Shown(tmp_path / "data", json=True)


def raised(error: BaseException) -> BaseException:
    """The same error with a traceback."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - any error is wanted
        return caught


# --- errors we raise on purpose ---------------------------------------------------------------------------------------


def test_two_lines_what_happened_and_what_to_do(shown: Shown) -> None:
    shown.report(NoBootstrapAnswered(["192.0.2.7:8468"]))
    assert shown.lines == [
        "error: no node answered (tried: 192.0.2.7:8468)",
        "Check that outgoing UDP is allowed, or name another node with --bootstrap HOST:PORT.",
    ]
    assert shown.exit_code == 3
    assert shown.stdout == ""
    assert not shown.folder.exists()


def test_json_is_one_object_on_standard_output_as_well(shown_json: Shown) -> None:
    """Contract: "With `--json` it is one object ... on standard output as well"."""
    shown_json.report(NoSuchUser("nobody is called bob"))
    assert shown_json.object == {
        "event": "error",
        "code": "no-such-user",
        "message": "nobody is called bob",
        "hint": "See /users for who is there.",
    }
    assert shown_json.lines == ["error: nobody is called bob", "See /users for who is there."]
    assert shown_json.exit_code == 7


EXIT_CODES = {
    "bug": 1,
    "usage": 2,
    "nobody-reachable": 3,
    "no-such-account": 4,
    "wrong-password": 4,
    "name-taken": 5,
    "weak-password": 6,
    "bad-name": 6,
    "no-such-user": 7,
    "no-such-room": 7,
    "not-running": 7,
    "not-delivered": 8,
}
"""contract.md, "Exit codes and errors"."""


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UserError)],
    ids=lambda kind: kind.__name__,
)
def test_each_error_of_a_user_ends_with_its_code(kind: type[UserError], shown_json: Shown) -> None:
    shown_json.report(kind("it went wrong"))
    assert shown_json.exit_code == EXIT_CODES.get(kind.code, shown_json.exit_code) == kind.exit_code
    assert shown_json.object["code"] == kind.code
    assert len(shown_json.lines) == 2
    assert all(shown_json.lines)


def test_there_is_advice_even_where_none_was_given(shown: Shown) -> None:
    shown.report(WeakPassword("too weak", hint=""))
    assert shown.lines == ["error: too weak", "See 'dhtchat --help'."]


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
def test_an_error_is_two_harmless_lines_whatever_it_quotes(text: str, shown_json: Shown) -> None:
    shown_json.report(BadUsage(text, hint=text))
    assert len(shown_json.lines) == 2
    assert objections("\n".join(shown_json.lines)) == []
    assert objections(shown_json.object["message"] + "\n" + shown_json.object["hint"]) == []
    assert shown_json.stdout.count("\n") == 1


def test_the_streams_are_given(shown: Shown) -> None:
    out, err = io.StringIO(), io.StringIO()
    assert show_error(BadUsage("wrong", hint="Right."), json=True, stdout=out, stderr=err) == 2
    assert err.getvalue() == "error: wrong\nRight.\n"
    assert out.getvalue() == '{"event":"error","code":"usage","message":"wrong","hint":"Right."}\n'


def test_a_reader_who_left_does_not_make_it_worse(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    for stream in (Gone(), closed):
        assert report(BadUsage("wrong"), folder=tmp_path, json=True, stdout=stream, stderr=stream) == 2


# --- bugs -------------------------------------------------------------------------------------------------------------


def test_a_bug_keeps_its_traceback_in_a_file_and_names_it(shown_json: Shown) -> None:
    """Contract: "a bug: traceback kept"."""
    shown_json.report(raised(KeyError("some key")))
    (file,) = shown_json.folder.iterdir()
    assert shown_json.exit_code == 1
    assert shown_json.object["code"] == "bug"
    assert shown_json.lines == [
        "error: dhtchat has a bug: KeyError: 'some key'",
        f"Please report it with the file {file}",
    ]
    kept = file.read_text(encoding="utf-8")
    assert kept.startswith("dhtchat 0")
    assert "Traceback (most recent call last)" in kept
    assert "raise error" in kept
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(shown_json.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
def test_neither_the_lines_nor_the_file_obey_a_stranger(text: str, shown: Shown) -> None:
    shown.report(raised(ValueError(text)))
    (file,) = shown.folder.iterdir()
    assert len(shown.lines) == 2
    assert objections("\n".join(shown.lines)) == []
    assert objections(file.read_text(encoding="utf-8")) == []


def test_a_long_message_is_cut(shown: Shown) -> None:
    shown.report(raised(ValueError("x" * 10_000)))
    assert len(shown.lines[0]) < 300


def test_only_so_many_tracebacks_are_kept(shown: Shown) -> None:
    shown.folder.mkdir()
    for age in range(BUG_REPORTS_MAX + 5):
        file = shown.folder / f"bug-{age}.txt"
        file.touch()
        os.utime(file, (1_000_000 - age, 1_000_000 - age))
    (shown.folder / "history.db").touch()
    shown.report(raised(ValueError("newest")))
    names = {file.name for file in shown.folder.iterdir()}
    assert len(names) == BUG_REPORTS_MAX + 1
    assert {"bug-0.txt", "history.db"} <= names
    assert "bug-24.txt" not in names


def test_a_traceback_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    shown = Shown(tmp_path / "data").report(raised(ValueError("oops")))
    assert shown.exit_code == 1
    assert shown.lines[0] == "error: dhtchat has a bug: ValueError: oops"
    assert shown.lines[1].startswith(f"Its traceback could not be kept in {shown.folder}")


def test_a_bug_can_be_shown_by_itself(tmp_path: Path) -> None:
    err = io.StringIO()
    assert show_bug(ValueError("no traceback"), folder=tmp_path, json=False, stdout=err, stderr=err) == 1
    assert len(err.getvalue().splitlines()) == 2


# --- what stands around an error --------------------------------------------------------------------------------------


def test_an_error_of_ours_in_a_group_is_still_ours(shown: Shown) -> None:
    """A task group hands errors on in a group."""
    group = BaseExceptionGroup("tasks", [BaseExceptionGroup("inner", [NoSuchUser("nobody is called bob")])])
    assert shown.report(group).exit_code == 7
    assert shown.lines[0] == "error: nobody is called bob"


def test_a_group_with_a_bug_in_it_is_a_bug(shown: Shown) -> None:
    group = BaseExceptionGroup("tasks", [NoSuchUser("nobody is called bob"), raised(KeyError("x"))])
    assert shown.report(group).exit_code == 1
    (file,) = shown.folder.iterdir()
    assert "nobody is called bob" in file.read_text(encoding="utf-8")
    assert "KeyError" in file.read_text(encoding="utf-8")


def test_an_interrupt_is_no_error(shown: Shown) -> None:
    assert shown.report(KeyboardInterrupt()).exit_code == INTERRUPTED == 130
    assert shown.report(BaseExceptionGroup("tasks", [KeyboardInterrupt()])).exit_code == INTERRUPTED
    assert shown.lines == []


# --- usage errors of Typer --------------------------------------------------------------------------------------------

app = typer.Typer(no_args_is_help=True, add_completion=False)
network = typer.Typer(no_args_is_help=True)
app.add_typer(network, name="network")


@app.command()
def greet(name: str, times: Annotated[int, typer.Option("--times", min=1)] = 1) -> int:
    if name == "bob":
        raise NoSuchUser("nobody is called bob")
    if name == "crash":
        raise EOFError("stream ended")
    if name == "leave":
        raise typer.Exit(5)
    if name == "interrupt":
        raise KeyboardInterrupt
    return 0


@network.command()
def show(name: str) -> None: ...


def run(shown: Shown, *arguments: str) -> int:
    """As `dhtchat.cli.main.run` does it."""
    try:
        code = app(list(arguments), prog_name="dhtchat", standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - the last stop
        return shown.report(error).exit_code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize(
    ("arguments", "said", "command"),
    [
        (["greet"], ["missing argument", "name"], "dhtchat greet"),
        (["greet", "a", "--tims", "2"], ["no such option", "--tims", "--times"], "dhtchat greet"),
        (["greet", "a", "--times", "x"], ["invalid value", "--times"], "dhtchat greet"),
        (["greet", "a", "--times", "0"], ["invalid value", "--times", "1"], "dhtchat greet"),
        (["greet", "a", "--times"], ["--times", "requires an argument"], "dhtchat"),
        (["greet", "a", "b"], ["unexpected extra argument", "b"], "dhtchat greet"),
        (["gret"], ["no such command", "gret"], "dhtchat"),
        (["--nonsense"], ["no such option", "--nonsense"], "dhtchat"),
        (["network", "show"], ["missing argument", "name"], "dhtchat network show"),
        (["network"], ["'dhtchat network' needs a command"], "dhtchat network"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_2(
    arguments: list[str], said: list[str], command: str, shown_json: Shown
) -> None:
    """The words are Typer's and change with its version; what they must name does not."""
    assert run(shown_json, *arguments) == 2
    what_happened, what_to_do = shown_json.lines
    assert what_happened.startswith("error: ")
    assert [words for words in said if words not in what_happened.lower()] == []
    assert what_to_do == f"See '{command} --help'."
    assert shown_json.object["code"] == "usage"
    assert not shown_json.folder.exists()


def test_wrong_usage_quotes_no_escape_sequences(shown: Shown) -> None:
    assert run(shown, "greet", "a", "--\x1b[31mred\n\u202e") == 2
    assert len(shown.lines) == 2
    assert objections("\n".join(shown.lines)) == []


@pytest.mark.parametrize(("name", "code"), [("alice", 0), ("bob", 7), ("leave", 5), ("interrupt", 130)])
def test_what_commands_raise_comes_through_typer(name: str, code: int, shown: Shown) -> None:
    assert run(shown, "greet", name) == code


def test_an_eof_error_is_a_bug_although_typer_makes_an_abort_of_it(shown: Shown) -> None:
    assert run(shown, "greet", "crash") == 1
    assert shown.lines[0] == "error: dhtchat has a bug: EOFError: stream ended"


def test_other_errors_are_no_usage_errors() -> None:
    assert as_bad_usage(ValueError("x")) is None
    assert as_bad_usage(DhtChatError("x")) is None
