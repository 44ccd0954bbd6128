"""The command line in the documents is the one there is: commands, options, networks, errors, events."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
import typer
from msgspec import Meta

from dhtchat import errors
from dhtchat.app.settings import BOOTSTRAP_VARIABLE
from dhtchat.chat import events
from dhtchat.chat.commands import COMMANDS
from dhtchat.cli import main as program
from dhtchat.crypto.password import check_policy
from dhtchat.errors import DhtChatError, WeakPassword
from dhtchat.limits import RESERVED_NAMES
from dhtchat.parameters import MAIN, SIM, NetworkParameters, load_parameters
from tests.docs.pages import GUIDES, blocks, name_of, prose, quoted, read, section, table

GUIDE = read("docs/user-guide.md")
OPERATIONS = read("docs/operations.md")
COMMAND_LINE: Any = typer.main.get_command(program.build_app([*program.COMMANDS]))


def _options(command: str) -> set[str]:
    """Long names of all options of a command but --help."""
    parameters = COMMAND_LINE.commands[command].params
    return {option for parameter in parameters for option in parameter.opts if option.startswith("--")} - {"--help"}


# --- commands and options ---------------------------------------------------------------------------------------------


def test_the_chat_commands_are_those_of_the_table() -> None:
    rows = table(section(GUIDE, "Commands"), "command", "also", "what it does")
    assert rows == [
        [f"`{command.usage}`", ", ".join(f"`/{alias}`" for alias in command.aliases), command.help]
        for command in COMMANDS
    ]


OF_THE_PROGRAM = {"--version", "--help", "--install-completion", "--show-completion"}
ALONE = {"demo", "export", "simulate"}
"""Commands that take no part in a network, and so none of the common options that belong to one."""


ASKING = {"down", "listen", "send", "users", "rooms", "names", "whois", "history", "status"}
"""Commands that speak to a running peer. Those of `down` are the options that all of them have."""


def test_every_option_is_described_where_people_look() -> None:
    common = {
        option
        for names, _ in table(section(GUIDE, "Options"), "option", "means")
        for option in re.findall(r"--[a-z-]+", names)
    }
    further = {
        quoted(command)[0].split()[1]: set(re.findall(r"--[a-z-]+", options))
        for command, options in table(section(GUIDE, "Options"), "command", "further options")
    }
    assert further.keys() == COMMAND_LINE.commands.keys()
    for command in COMMAND_LINE.commands:
        shared = further["down"] if command in ASKING else set() if command in ALONE else common
        expected = shared | further[command]
        assert _options(command) == expected, command


def test_the_options_of_a_bootstrap_node_are_all_there() -> None:
    rows = table(section(OPERATIONS, "Options"), "option", "default", "means")
    assert {quoted(option)[0] for option, *_ in rows} == _options("bootstrap")


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_command_lines_are_understood(page: Path) -> None:
    """In blocks as a whole, in the text by the names of command and options."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(text):
        for line in block.text.splitlines():
            if match := re.match(r"(?:\$ |ExecStart=\S*/)?dhtchat (.+)", line):
                _parse(shlex.split(match[1], comments=True))
    for name in quoted(prose(text)):
        if name.startswith("dhtchat "):
            command, *_ = [word for word in name.split()[1:] if not word.startswith("-")] or [""]
            known = _options(command) if command else OF_THE_PROGRAM
            assert set(re.findall(r"--[a-z-]+", name)) <= known, name


def _parse(arguments: list[str]) -> None:
    """Raises what Typer would say to a wrong one."""
    command, *rest = arguments
    COMMAND_LINE.commands[command].make_context(command, rest)


def test_the_variable_and_the_reserved_names_are_named() -> None:
    assert f"`{BOOTSTRAP_VARIABLE}`" in GUIDE
    assert set(quoted(section(GUIDE, "Names"))) >= RESERVED_NAMES


def test_the_generated_phrases_in_the_guide_would_do() -> None:
    """And what it shows as refused is refused."""
    phrases = re.findall(r"\b[a-z]{6}(?:-[a-z]{6}){3}\b", GUIDE)
    assert len(phrases) >= 2
    for phrase in phrases:
        check_policy(phrase, name="alice")
    with pytest.raises(WeakPassword, match="this is a very common password"):
        check_policy("password1234", name="bobby")


# --- errors -----------------------------------------------------------------------------------------------------------


def _tree(root: type[DhtChatError]) -> set[type[DhtChatError]]:
    return {root}.union(*map(_tree, root.__subclasses__()))


def test_the_exit_codes_are_those_of_the_errors() -> None:
    rows = table(section(GUIDE, "Errors and exit codes"), "exit", "code", "meaning")
    listed = {(int(code), quoted(word)[0]) for code, word, _ in rows if word}
    ours = {error for error in _tree(DhtChatError) if error.__module__ == errors.__name__}
    assert listed == {(error.exit_code, error.code) for error in ours}
    assert {int(code) for code, word, _ in rows if not word} == {0, 130}


# --- events -----------------------------------------------------------------------------------------------------------


def test_the_events_have_the_fields_that_scripts_are_told() -> None:
    listed = {}
    for names, fields in table(section(GUIDE, "Scripts"), "event", "fields"):
        for name in quoted(names):
            listed[name] = set(quoted(fields.replace("as `message`", "")))
    assert listed == {
        _tag(event): _fields(event) for event in events.Event.__subclasses__() if event.__module__ == events.__name__
    }


def _tag(event: type[events.Event]) -> str:
    return str(event.__struct_config__.tag)


def _fields(struct: Any) -> set[str]:
    """Its own, and those of the entries in its lists."""
    names = set(struct.__struct_fields__)
    for field in msgspec.structs.fields(struct):
        inner = next(iter(get_args(field.type)), None)
        if (
            get_origin(field.type) is list
            and hasattr(inner, "__struct_fields__")
            and not issubclass(inner, events.Event)
        ):
            names |= set(inner.__struct_fields__)
    return names


# --- networks ---------------------------------------------------------------------------------------------------------


def test_the_fields_of_a_network_are_all_there_with_their_values() -> None:
    rows = table(section(OPERATIONS, "A network of your own"), "field", "`main`", "`sim`", "allowed", "means")
    assert [quoted(row[0])[0] for row in rows] == list(NetworkParameters.__struct_fields__)
    for row in rows:
        field = quoted(row[0])[0]
        assert [row[1].strip("`"), row[2].strip("`")] == [str(getattr(MAIN, field)), str(getattr(SIM, field))]
        if choices := _choices(field):
            assert quoted(row[3]) == choices, field
        elif bounds := _bounds(field):
            assert row[3] == "{} to {}".format(*bounds), field


def _choices(field: str) -> list[str]:
    hint = get_type_hints(NetworkParameters)[field]
    return list(get_args(hint)) if get_origin(hint) is Literal else []


def _bounds(field: str) -> tuple[int, int] | None:
    hint = get_type_hints(NetworkParameters, include_extras=True)[field]
    if get_origin(hint) is Literal:
        return None
    assert get_origin(hint) is Annotated
    meta = next(part for part in get_args(hint) if isinstance(part, Meta))
    return None if meta.ge is None else (int(meta.ge), int(meta.le or 0))


def test_the_network_in_the_guide_is_one(tmp_path: Path) -> None:
    [example] = [block.text for block in blocks(OPERATIONS) if block.language == "toml"]
    file = tmp_path / "network.toml"
    file.write_text(example, encoding="utf-8")
    assert {field: getattr(load_parameters(str(file)), field) for field in tomllib.loads(example)} == tomllib.loads(
        example
    )
