"""`up`: a peer without a screen, which outlives the terminal.

`up` starts this file as a program of its own (`python -m dhtchat.cli.background`), tells it what to do in one line on its
standard input, and shows what it says until it is online or has given up. From then on the peer hears no terminal and
writes to none; its log goes to `peer.log` in the profile's folder.
"""

import asyncio
import contextlib
import logging
import logging.handlers
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from dhtchat.app.control import Control
from dhtchat.app.event_lines import decode_event
from dhtchat.app.meeting_point import meet
from dhtchat.app.node import ChatNode
from dhtchat.app.paths import make_folder, network_folder, profile_folder
from dhtchat.app.settings import Settings
from dhtchat.chat import intents
from dhtchat.chat.events import ErrorShown, Ready
from dhtchat.cli.errors import INTERRUPTED, report
from dhtchat.cli.output import Output
from dhtchat.cli.passwords import (
    TRY_AGAIN,
    PasswordOptions,
    StandardInput,
    ask_hidden,
    read_new_password,
    read_password,
    tell,
)
from dhtchat.cli.running import run_until_done
from dhtchat.cli.who import who_logs_in
from dhtchat.crypto.password import check_policy
from dhtchat.errors import NotRunning, ProfileBusy, WrongPassword
from dhtchat.ids import Login, fold_room_meant
from dhtchat.limits import PASSWORD_TRIES, PEER_LOG_BYTES_MAX
from dhtchat.runtime import real_runtime


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the program in the background is told, in one line on its standard input."""

    settings: Settings
    login: Login
    profile: str
    password: str
    rooms: list[str]
    create: bool
    log_level: int


def up(
    settings: Settings,
    name: str | None,
    rooms: list[str],
    options: PasswordOptions,
    *,
    create: bool,
    json: bool,
    log_level: int,
) -> int:
    """Start a peer in the background and return when it is online. Raises, or shows, why it could not be."""
    login, profile = who_logs_in(settings, name)
    folded = [fold_room_meant(room) for room in rooms]
    with contextlib.suppress(NotRunning):
        meet(profile_folder(network_folder(settings.data_dir, settings.parameters), profile))[0].close()
        raise ProfileBusy(
            f"a peer of {profile} is running already",
            hint=f"Ask it, or end it with 'dhtchat down --profile {profile}'.",
        )
    prompt = f"Password of {login.name}: "
    if create:
        password = read_new_password(login.name, options, StandardInput())
        check_policy(password, name=login.name)
    else:
        password = read_password(options, StandardInput(), prompt=prompt)
    settings = msgspec.structs.replace(settings, data_dir=settings.data_dir.absolute())
    orders = Orders(
        settings=settings,
        login=login,
        profile=profile,
        password=password,
        rooms=folded,
        create=create,
        log_level=log_level,
    )
    output = Output(json=json, user=login.name)
    tries = PASSWORD_TRIES if options == PasswordOptions() and not create else 1
    for left in range(tries - 1, -1, -1):  # who types may mistype, as in `join`
        try:
            return _start(orders, output, forgives=left > 0)
        except WrongPassword:
            tell(TRY_AGAIN)
        orders = msgspec.structs.replace(orders, password=ask_hidden(prompt))
    raise AssertionError("the last try returns")


def _start(orders: Orders, output: Output, *, forgives: bool) -> int:
    """The exit code, once what happened has been shown. Raises `WrongPassword` in place of showing it if that is forgiven."""
    make_folder(orders.settings.data_dir)
    process = subprocess.Popen(
        [sys.executable, "-m", "dhtchat.cli.background", orders.profile],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=orders.settings.data_dir,  # no folder of somebody else's is kept busy
        start_new_session=True,  # the terminal's end and its Ctrl-C are not ours
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(orders, enc_hook=_encode) + b"\n")
            process.stdin.close()
        for line in process.stdout:
            event = decode_event(line)
            if forgives and isinstance(event, ErrorShown) and event.code == WrongPassword.code:
                process.wait()
                raise WrongPassword(event.message)
            if event is not None:
                output.show(event)
            if isinstance(event, Ready):
                process.returncode = 0  # it goes on without us: nobody waits for it
                return 0
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return INTERRUPTED
    finally:
        process.stdout.close()


def _encode(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _decode(kind: type, value: object) -> object:
    return Path(str(value)) if issubclass(kind, Path) else value


def run_in_background() -> int:
    """The program in the background."""
    os.umask(0o077)
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders, dec_hook=_decode)
    try:
        _log_to_file(orders)
        return run_until_done(_serve(orders))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last stop, as in cli/main.py
        with open(os.devnull, "w") as nowhere:  # `up` shows the object that goes to standard output
            return report(error, folder=orders.settings.data_dir, json=True, stdout=sys.stdout, stderr=nowhere)


def _log_to_file(orders: Orders) -> None:
    folder = profile_folder(network_folder(orders.settings.data_dir, orders.settings.parameters), orders.profile)
    handler = logging.handlers.RotatingFileHandler(
        make_folder(folder) / "peer.log", maxBytes=PEER_LOG_BYTES_MAX, backupCount=1, encoding="utf-8"
    )
    logging.basicConfig(
        level=orders.log_level, handlers=[handler], format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )


async def _serve(orders: Orders) -> int:
    settings, output = orders.settings, Output(json=True)
    async with (
        Control(settings.data_dir, settings.parameters, orders.profile) as control,
        ChatNode(settings, real_runtime()) as node,
    ):
        shown = asyncio.create_task(_show_until_online(node, output))
        try:
            await node.connect(orders.profile)
            if orders.create:
                await node.register(orders.login.name, orders.password)
            await node.log_in(orders.login, orders.password)
            await node.go_online()
            for room in orders.rooms:
                await node.perform(intents.JoinRoom(room))
            control.serve(node)
            await shown
        except asyncio.CancelledError:
            await node.leave(flush=False)
            await control.take_leave()
            return INTERRUPTED
        finally:
            node.close_events()
            await asyncio.gather(shown, return_exceptions=True)
        await control.take_leave()
    return 0


async def _show_until_online(node: ChatNode, output: Output) -> None:
    """What `up` shows; then the pipe to it is closed, and events are for those who attach."""
    told = False
    async for event in node.events():
        if told:
            if isinstance(event, ErrorShown):
                logging.getLogger(__name__).warning("%s: %s", event.code, event.message)
            continue
        output.show(event)
        if isinstance(event, Ready):
            told = True
            _let_go()


def _let_go() -> None:
    """Of everything that `up` was started with."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(run_in_background())
