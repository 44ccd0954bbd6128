"""The commands. Each gathers what the user gave, loads what it needs late, and hands over.

Loading late is what keeps `--help` as quick as a bare Typer program: nothing heavy may be imported at the top.
"""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings
    from dhtchat.cli.passwords import PasswordOptions

COMPLETION_VARIABLE = "_DHTCHAT_COMPLETE"
"""Set by the script that `--install-completion` writes for a shell."""


def _names_of(kind: str) -> Callable[[typer.Context, str], list[str]]:
    """What a shell offers in a place: `kind` is one of those in `completion.py`."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        from dhtchat.cli import completion

        return completion.offer(kind, ctx.params, incomplete)

    return offer


DataDir = Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Where everything is kept.")]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Whose folder; default: the user name.",
        autocompletion=_names_of("profiles"),
    ),
]
Rooms = Annotated[
    list[str] | None,
    typer.Option("--room", metavar="ROOM", help="Enter this room; repeatable.", autocompletion=_names_of("rooms")),
]
Who = Annotated[
    str | None,
    typer.Argument(help="Who you are; default: who was here last.", autocompletion=_names_of("profiles")),
]
Target = Annotated[str, typer.Argument(help="A '#room' or a person.", autocompletion=_names_of("targets"))]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more on standard error; twice: all.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors on standard error.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Bootstrap = Annotated[
    list[str] | None,
    typer.Option(
        "--bootstrap",
        metavar="ADDR",
        help="A node to start from: HOST:PORT or [IPv6]:PORT, with /KEY behind it to pin it; repeatable.",
    ),
]
Host = Annotated[str | None, typer.Option("--host", metavar="H", help="Where to listen; default: all interfaces.")]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="P", min=0, max=65535, help="UDP port; default: last time's, or a free one."),
]
Network = Annotated[
    str, typer.Option("--network", metavar="FILE", help="'main', 'sim' or a file; see the operations guide.")
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="Read the password from the first line of FILE.")
]

KeepDays = Annotated[
    int | None,
    typer.Option("--keep-days", metavar="N", min=0, max=36_500, help="Drop talk older than this; 0 keeps all."),
]
KeepMib = Annotated[
    int | None,
    typer.Option("--keep-mib", metavar="N", min=0, max=1_048_576, help="Keep at most so much talk; 0 keeps all."),
]


class ExportFormat(StrEnum):
    """Of `export`."""

    TEXT = "text"
    JSON = "json"


class LogFormat(StrEnum):
    """Of a service: for people, or for a program that collects logs."""

    TEXT = "text"
    JSON = "json"


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Whatever goes wrong is said in two lines."""
    os.umask(0o077)
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments and _somebody_is_there():
        arguments = ["start"]
    completing = COMPLETION_VARIABLE in os.environ  # a shell asks what may come next: then all options are needed
    try:
        code = build_app([*COMMANDS] if completing else arguments)(
            arguments, prog_name="dhtchat", standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last stop: `report` keeps a bug's traceback
        from dhtchat.cli.errors import report

        return report(
            error, folder=_data_dir(arguments), json="--json" in arguments, stdout=sys.stdout, stderr=sys.stderr
        )


def _somebody_is_there() -> bool:
    """Whether standard input and output are a terminal, so that questions can be asked."""
    try:
        return COMPLETION_VARIABLE not in os.environ and sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # none, or closed
        return False


def _data_dir(arguments: list[str]) -> Path:
    """Where a bug's traceback goes, as far as the arguments can be understood."""
    from dhtchat.app.paths import default_data_dir

    for number, argument in enumerate(arguments):
        if argument == "--data-dir" and number + 1 < len(arguments):
            return Path(arguments[number + 1])
        if argument.startswith("--data-dir="):
            return Path(argument.partition("=")[2])
    return default_data_dir()


def _settings(
    data_dir: Path | None,
    profile: str | None,
    bootstrap: list[str] | None,
    host: str | None,
    port: int | None,
    network: str,
    *,
    verbose: int,
    quiet: bool,
) -> "Settings":
    import logging

    from dhtchat.app.neighbourhood import interfaces_of
    from dhtchat.app.paths import default_data_dir
    from dhtchat.app.settings import Settings, bootstrap_addresses
    from dhtchat.parameters import load_parameters

    level = _log_level(verbose, quiet=quiet)
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return Settings(
        data_dir=data_dir or default_data_dir(),
        profile=profile,
        parameters=load_parameters(network),
        bootstrap=bootstrap_addresses(bootstrap or []),
        host=host,
        port=port,
        interfaces=interfaces_of(host),
    )


def _log_level(verbose: int, *, quiet: bool) -> int:
    import logging

    levels = [logging.WARNING, logging.INFO, logging.DEBUG]
    return logging.ERROR if quiet else levels[min(verbose, 2)]


def _password_options(from_stdin: bool, file: Path | None) -> "PasswordOptions":
    from dhtchat.cli.passwords import PasswordOptions

    return PasswordOptions(from_stdin, file)


def register(
    name: Annotated[str, typer.Argument(help="The user name to take: 3 to 24 of a-z, 0-9, '_' and '-'.")],
    bootstrap: Bootstrap = None,
    host: Host = None,
    port: Port = None,
    network: Network = "main",
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Create an account."""
    settings = _settings(data_dir, profile, bootstrap, host, port, network, verbose=verbose, quiet=quiet)
    from dhtchat.cli.account_commands import register as command

    return command(settings, name, _password_options(password_stdin, password_file), json=json)


def passwd(
    name: Annotated[
        str, typer.Argument(help="The user name whose password changes.", autocompletion=_names_of("profiles"))
    ],
    bootstrap: Bootstrap = None,
    host: Host = None,
    port: Port = None,
    network: Network = "main",
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Change the password: the old one first, then the new one."""
    settings = _settings(data_dir, profile, bootstrap, host, port, network, verbose=verbose, quiet=quiet)
    from dhtchat.cli.account_commands import passwd as command

    return command(settings, name, _password_options(password_stdin, password_file), json=json)


def join(
    name: Who = None,
    room: Rooms = None,
    create: Annotated[bool, typer.Option("--register", help="Create the account first.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines in, lines out: for scripts and screen readers.")
    ] = False,
    bootstrap: Bootstrap = None,
    host: Host = None,
    port: Port = None,
    network: Network = "main",
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    keep_days: KeepDays = None,
    keep_mib: KeepMib = None,
    silent: Annotated[bool, typer.Option("--no-receipts", help="Do not tell others what you have read.")] = False,
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Log in, go online and chat. Type /help there."""
    settings = _settings(data_dir, profile, bootstrap, host, port, network, verbose=verbose, quiet=quiet)
    import msgspec

    settings = msgspec.structs.replace(settings, keep_days=keep_days, keep_mib=keep_mib, tells_read=not silent)
    from dhtchat.cli.line_mode import join as command

    return command(
        settings,
        name,
        room or [],
        _password_options(password_stdin, password_file),
        create=create,
        json=json,
        plain=plain,
    )


def start(
    bootstrap: Bootstrap = None,
    host: Host = None,
    port: Port = None,
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """New here? A few questions, then you are in. The same as no command at all."""
    if not _somebody_is_there():
        from dhtchat.errors import BadUsage

        hint = "In a script use 'dhtchat join NAME --register --bootstrap HOST:PORT', see 'dhtchat join --help'."
        raise BadUsage("the assistant needs a terminal to ask its questions", hint=hint)
    settings = _settings(data_dir, profile, bootstrap, host, port, network, verbose=verbose, quiet=quiet)
    from dhtchat.cli.assistant import run_assistant

    return run_assistant(settings, network)


def up(
    name: Who = None,
    room: Rooms = None,
    create: Annotated[bool, typer.Option("--register", help="Create the account first.")] = False,
    bootstrap: Bootstrap = None,
    host: Host = None,
    port: Port = None,
    network: Network = "main",
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    keep_days: KeepDays = None,
    keep_mib: KeepMib = None,
    silent: Annotated[bool, typer.Option("--no-receipts", help="Do not tell others what you have read.")] = False,
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Log in and stay online in the background."""
    settings = _settings(data_dir, profile, bootstrap, host, port, network, verbose=verbose, quiet=quiet)
    import msgspec

    settings = msgspec.structs.replace(settings, keep_days=keep_days, keep_mib=keep_mib, tells_read=not silent)
    from dhtchat.cli.background import up as command

    return command(
        settings,
        name,
        room or [],
        _password_options(password_stdin, password_file),
        create=create,
        json=json,
        log_level=_log_level(verbose, quiet=quiet),
    )


def down(
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Stop the running peer, once what was said is flushed."""
    from dhtchat.cli.asking import down as command

    return command(data_dir, profile, network, json=json)


def listen(
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Print what happens at the running peer, as it happens."""
    from dhtchat.cli.asking import listen as command

    return command(data_dir, profile, network, json=json)


def send(
    target: Target,
    text: Annotated[str, typer.Argument(help="What to say.")],
    wait: Annotated[
        float, typer.Option("--wait", metavar="S", min=0, max=86_400, help="How long it may take, in seconds.")
    ] = 30.0,
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Say something, and wait until it is delivered or stored."""
    from dhtchat.cli.asking import send as command

    return command(data_dir, profile, network, target, text, wait, json=json)


def users(
    prefix: Annotated[str, typer.Argument(help="How their names begin.")] = "",
    everyone: Annotated[bool, typer.Option("--all", help="Also those known who are offline.")] = False,
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Ask the running peer who is online."""
    return _ask(data_dir, profile, network, {"type": "ListUsers", "prefix": prefix, "everyone": everyone}, json=json)


def rooms(
    prefix: Annotated[str, typer.Argument(help="How their names begin.")] = "",
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Ask the running peer which rooms there are."""
    return _ask(data_dir, profile, network, {"type": "ListRooms", "prefix": prefix}, json=json)


def names(
    room: Annotated[str, typer.Argument(help="A '#room' that the peer is in.", autocompletion=_names_of("rooms"))],
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Ask the running peer who is in a room."""
    return _ask(data_dir, profile, network, {"type": "ListNames", "room": _room(room)}, json=json)


def whois(
    name: Annotated[str, typer.Argument(help="Whom to tell about.", autocompletion=_names_of("people"))],
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Ask the running peer about somebody: key, rooms, since when."""
    return _ask(data_dir, profile, network, {"type": "WhoIs", "name": name}, json=json)


def history(
    target: Target,
    count: Annotated[int, typer.Argument(metavar="[N]", min=1, max=10_000, help="How many lines.")] = 20,
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Ask the running peer for the last lines of a talk."""
    return _ask(data_dir, profile, network, {"type": "ShowHistory", "count": count, "target": target}, json=json)


def status(
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Ask the running peer about itself: address, links, rooms."""
    return _ask(data_dir, profile, network, {"type": "ShowStatus"}, json=json)


def _ask(data_dir: Path | None, profile: str | None, network: str, intent: dict[str, object], *, json: bool) -> int:
    from dhtchat.cli.asking import ask

    return ask(data_dir, profile, network, intent, json=json)


def _room(name: str) -> str:
    """A room by its name: in a shell the '#' is easily forgotten, being the start of a comment."""
    return name if name.startswith("#") else f"#{name}"


def bootstrap(
    host: Host = None,
    port: Annotated[
        int, typer.Option("--port", metavar="P", min=0, max=65535, help="UDP port; 0 takes a free one.")
    ] = 8468,
    advertise: Annotated[
        str | None, typer.Option("--advertise", metavar="HOST:PORT", help="The address others are told to use.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="HOST:PORT", help="Serve Prometheus metrics there.")
    ] = None,
    check: Annotated[
        str | None, typer.Option("--check", metavar="ADDR", help="Only ask whether a node answers there.")
    ] = None,
    secluded: Annotated[bool, typer.Option("--no-lan", help="Do not announce it in the local network.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="How lines on standard error look.")
    ] = LogFormat.TEXT,
    others: Bootstrap = None,
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Run a bootstrap node: the door through which others come in."""
    settings = _settings(data_dir, profile, others, host, port, network, verbose=verbose, quiet=quiet)
    from dhtchat.cli import bootstrap_command

    if check is not None:
        return bootstrap_command.check(settings, check, json=json)
    if secluded:
        import msgspec

        settings = msgspec.structs.replace(settings, interfaces=())
    return bootstrap_command.serve(
        settings,
        advertise=advertise,
        metrics=metrics,
        json=json,
        log_as_json=log_format is LogFormat.JSON,
        log_level=_log_level(verbose, quiet=quiet),
    )


def export(
    target: Annotated[
        str | None,
        typer.Argument(help="A '#room' or a person; default: everything.", autocompletion=_names_of("targets")),
    ] = None,
    output_format: Annotated[
        ExportFormat, typer.Option("--format", help="Lines to read, or one JSON object a line.")
    ] = ExportFormat.TEXT,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there; default: standard output.")
    ] = None,
    network: Network = "main",
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Print the history that this machine keeps. Needs no network and no password."""
    settings = _settings(data_dir, profile, None, None, None, network, verbose=verbose, quiet=quiet)
    from dhtchat.cli.export import export as command

    return command(settings, target, output, json=json or output_format is ExportFormat.JSON)


def demo(
    peers: Annotated[int, typer.Option("--peers", metavar="N", min=3, max=9, help="How many people take part.")] = 3,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where its folders are made, and removed again.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="No use here: the demo brings its own people.")
    ] = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Show it: peers on this machine talk, every step checked."""
    from dhtchat.cli.demo import run_demo

    return run_demo(peers, parent=data_dir, show_times=verbose > 0, quiet=quiet)


def simulate(
    scenario: Annotated[str | None, typer.Argument(help="Which question; see --list.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Name the scenarios and their questions.")] = False,
    nodes: Annotated[int | None, typer.Option("--nodes", metavar="N", min=2, help="How many take part.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same seed gives the same run.")] = 1,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, help="With 'fuzz': how many runs.")] = 20,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write a page with plots (extra 'report').")
    ] = None,
    sockets: Annotated[bool, typer.Option("--sockets", help="Real sockets on this machine instead.")] = False,
    data_dir: DataDir = None,
    profile: Profile = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """A whole network in virtual time: how does it behave?"""
    from dhtchat import companions

    command = companions.load("simulations", "command")
    return int(
        command.simulate(
            scenario,
            list_them=list_them,
            nodes=nodes,
            seed=seed,
            runs=runs,
            report=report,
            sockets=sockets,
            json=json,
            quiet=quiet,
        )
    )


def _main(
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from dhtchat import __version__

        typer.echo(f"dhtchat {__version__}")
        raise typer.Exit


_IN_THE_LIST = (
    *(start, register, join, passwd, up, down, listen, send),
    *(users, rooms, names, whois, history, status),
    *(export, bootstrap, demo, simulate),
)
COMMANDS = {function.__name__: function for function in _IN_THE_LIST}


def build_app(arguments: list[str]) -> typer.Typer:
    """The program for one call. Only the command that was named gets its options: to read those of all of them takes
    longer than everything else that `--help` does."""
    app = typer.Typer(
        help="Chat that needs nobody's server: peers find each other through a DHT and talk over TLS.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain text: half the time, and no frames for a screen reader to spell out
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_main)
    for name, function in COMMANDS.items():
        app.command(name)(function if name in arguments else _listed(function))
    return app


def _listed(function: Callable[..., int]) -> Callable[[], None]:
    """Stands in the list of commands in place of one that is not called."""

    def placeholder() -> None:
        pass

    placeholder.__doc__ = function.__doc__
    return placeholder
