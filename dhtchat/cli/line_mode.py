"""Line mode: lines in, lines out. A screen reader, a pipe and a test can use it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dhtchat.app.attached import attach
from dhtchat.app.control import Control
from dhtchat.app.faces import Screen
from dhtchat.app.meeting_point import meet
from dhtchat.app.node import ChatNode
from dhtchat.app.paths import network_folder, profile_folder
from dhtchat.chat import intents
from dhtchat.chat.commands import parse_line
from dhtchat.chat.events import Bye, ErrorShown, LinesRead, MessageArrived, Notice, StatusChanged
from dhtchat.chat.markup import clean
from dhtchat.cli.asking_again import ask_meanwhile
from dhtchat.cli.errors import INTERRUPTED
from dhtchat.cli.full_screen import FullScreen, attach_screen, fits_terminal, goes_on
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
from dhtchat.errors import DhtChatError, NotRunning, TooLong, WrongPassword
from dhtchat.ids import Login, fold_room_meant
from dhtchat.limits import OUTGOING_LINES_MAX, PASSWORD_TRIES, TERMINAL_LINE_BYTES_MAX
from dhtchat.runtime import real_runtime

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings

_QUEUED_NOTICE_S = 5.0
"""A private line that has neither left nor been stored after this long is mentioned: whoever wrote it should know."""


def join(
    settings: "Settings",
    name: str | None,
    rooms: list[str],
    options: PasswordOptions,
    *,
    create: bool,
    json: bool,
    plain: bool,
    password: str | None = None,
) -> int:
    """Log in and chat until the input ends or, on a terminal, the screen is left. Returns the exit code. A `password` is one
    that is known already."""
    login, profile = who_logs_in(settings, name)
    folded = [fold_room_meant(room) for room in rooms]
    standard_input = StandardInput()
    on_screen = not (plain or json) and fits_terminal()
    folder = profile_folder(network_folder(settings.data_dir, settings.parameters), profile)
    if not create and _is_running(folder):
        if options.from_stdin:
            read_password(options, standard_input)  # not needed, and not to be taken for a line of talk
        if on_screen:
            return run_until_done(attach_screen(folder, login, folded))
        return run_until_done(_attach(folder, login, folded, standard_input, json=json))
    prompt = f"Password of {login.name}: "
    if password is not None:
        pass
    elif create:
        password = read_new_password(login.name, options, standard_input)
        check_policy(password, name=login.name)  # as `register`: a bad password needs no network to be refused
    else:
        password = read_password(options, standard_input, prompt=prompt)
    typed = standard_input.is_terminal and options == PasswordOptions() and not create
    session = InProcess(
        settings,
        login,
        profile,
        Output(json=json, user=login.name),
        json=json,
        ask_again=(lambda: ask_hidden(prompt)) if typed else None,
    )
    if on_screen:
        screen = FullScreen(settings, login, profile)
        return run_until_done(screen.run(folded, lambda node: session.enter(node, password, create=create)))
    return run_until_done(session.run(password, folded, standard_input, create=create))


def _is_running(folder: Path) -> bool:
    try:
        meet(folder)[0].close()
    except NotRunning:
        return False
    return True


async def _attach(folder: Path, login: Login, rooms: list[str], standard_input: StandardInput, *, json: bool) -> int:
    """Line mode at a peer that runs already."""
    output = Output(json=json, user=login.name)
    async with attach(folder) as client:
        client.require_user(login.name)
        output.show(client.ready)
        if await LineMode(output, json=json).run(client.screen, rooms, standard_input):
            output.show(Notice(message=goes_on(login.name)))
            output.show(Bye())
    return 0


class InProcess:
    """A session that brings its own peer."""

    def __init__(
        self,
        settings: "Settings",
        login: Login,
        profile: str,
        output: Output,
        *,
        json: bool,
        ask_again: Callable[[], str] | None,
    ) -> None:
        """`ask_again` asks for a password that was wrong; None where nobody can be asked."""
        self._ask_again = ask_again
        self._settings = settings
        self._login = login
        self._profile = profile
        self._output = output
        self._face = LineMode(output, json=json)

    async def run(self, password: str, rooms: list[str], standard_input: StandardInput, *, create: bool) -> int:
        """Until the input ends, `/quit`, a signal, or somebody else ends the peer. Errors before `ready` are raised."""
        settings = self._settings
        async with (
            Control(settings.data_dir, settings.parameters, self._profile) as control,
            ChatNode(settings, real_runtime()) as node,
        ):
            printer = asyncio.create_task(self._face.print_events(node))
            try:
                await node.connect(self._profile)
                await self.enter(node, password, create=create)
                await node.go_online()
                control.serve(node)
                await self._face.talk(node, rooms, standard_input, printer)
                await node.leave()
            except asyncio.CancelledError:
                await node.leave(flush=False)
                return INTERRUPTED
            finally:
                # Whatever happened, what is to be shown is shown.
                node.close_events()
                with contextlib.suppress(asyncio.CancelledError):
                    await printer
                await control.take_leave()
        return 0

    async def enter(self, node: ChatNode, password: str, *, create: bool) -> None:
        """Register if that is asked for, and log in."""
        if create:
            await node.register(self._login.name, password)
        await self._log_in(node, password)

    async def _log_in(self, node: ChatNode, password: str) -> None:
        """Who types may mistype, as with ssh; a script is told at once."""
        for left in range(PASSWORD_TRIES - 1, -1, -1):
            try:
                return await node.log_in(self._login, password)
            except WrongPassword:
                if not left or self._ask_again is None:
                    raise
            tell(TRY_AGAIN)
            password = await ask_meanwhile(self._ask_again)


class LineMode:
    """One face at standard input and output."""

    def __init__(self, output: Output, *, json: bool) -> None:
        self._output = output
        self._json = json
        self._unsent: dict[str, asyncio.TimerHandle] = {}
        self._recipients: dict[str, str] = {}
        """Of our own private lines that have not arrived yet."""
        self._stored: set[str] = set()
        """Those of them that lie in a mailbox."""

    async def run(self, screen: Screen, rooms: list[str], standard_input: StandardInput) -> bool:
        """Print and talk; whether it was this side that ended it."""
        printer = asyncio.create_task(self.print_events(screen))
        try:
            await self.talk(screen, rooms, standard_input, printer)
            return not printer.done()
        finally:
            printer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await printer

    async def talk(
        self, screen: Screen, rooms: list[str], standard_input: StandardInput, printer: "asyncio.Task[None]"
    ) -> None:
        """Enter the rooms, then what is typed: until the input ends, `/quit`, or no more events come."""
        session = asyncio.current_task()
        if session is not None:
            self._output.on_closed = session.cancel  # nobody reads us any more: leave in good order
        talking = asyncio.create_task(self._talk(screen, rooms, standard_input))
        try:
            await asyncio.wait({talking, printer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            talking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await talking

    async def _talk(self, screen: Screen, rooms: list[str], standard_input: StandardInput) -> None:
        for room in rooms:
            await screen.perform(intents.JoinRoom(room))
        async with contextlib.aclosing(read_lines(standard_input)) as lines:
            async for line in lines:
                try:
                    if standard_input.is_terminal and len(line.encode()) >= TERMINAL_LINE_BYTES_MAX:
                        raise TooLong(f"this terminal passes on at most {TERMINAL_LINE_BYTES_MAX} bytes of a line")
                    intent = parse_line(line)
                except DhtChatError as error:
                    self._output.show(
                        ErrorShown(
                            code=error.code,
                            message=clean(str(error), single_line=True),
                            hint=clean(error.hint, single_line=True),
                        )
                    )
                    continue
                if isinstance(intent, intents.Quit):
                    break
                if intent is not None:
                    await screen.perform(intent)

    async def print_events(self, screen: Screen) -> None:
        """Until there are no more."""
        async for event in screen.events():
            if isinstance(event, MessageArrived) and event.own and event.recipient:
                self._recipients[event.id] = event.recipient
            await self._output.ready()
            if self._json or not isinstance(event, StatusChanged | LinesRead):
                self._output.show(event)
            elif isinstance(event, StatusChanged):
                self._watch_status(event)
            if isinstance(event, MessageArrived) and not event.own:
                await screen.perform(intents.MarkRead((event.id,)))  # whoever reads our output has it before them now

    def _watch_status(self, event: StatusChanged) -> None:
        """Most states are noise on a plain screen; that a private line has not gone straight to its reader is not."""
        waiting = self._unsent.pop(event.id, None)
        late = waiting is not None and waiting.when() < asyncio.get_running_loop().time()
        if waiting is not None:
            if event.state == "sent":
                self._unsent[event.id] = waiting
                return
            waiting.cancel()
        who = self._recipients.get(event.id, "them")
        match event.state:
            case "delivered":
                self._recipients.pop(event.id, None)
                if late or event.id in self._stored:
                    self._stored.discard(event.id)
                    self._output.show(Notice(message=f"your line to {who} has arrived"))
            case "stored":
                self._stored.add(event.id)
                self._output.show(Notice(message=f"{who} cannot be reached: your line lies sealed in their mailbox"))
            case "failed":
                self._output.show(event)
            case "queued" if event.members is None:
                loop = asyncio.get_running_loop()
                self._unsent[event.id] = loop.call_later(_QUEUED_NOTICE_S, self._mention, event)

    def _mention(self, event: StatusChanged) -> None:
        who = self._recipients.get(event.id, "they")
        self._output.show(Notice(message=f"{who} cannot be reached right now: your line is kept until they are back"))


async def read_lines(standard_input: StandardInput) -> AsyncGenerator[str, None]:
    """Lines as they are typed, read in a thread of their own that ends with the program.

    The thread reads ahead by at most OUTGOING_LINES_MAX lines; then whoever writes to us has to wait.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    room = threading.Semaphore(OUTGOING_LINES_MAX)

    def feed() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants lines any more
            while True:
                room.acquire()
                line = standard_input.read_text()
                loop.call_soon_threadsafe(lines.put_nowait, line)
                if line is None:
                    return

    # A daemon: waiting for a line that never comes must not keep the program from ending.
    threading.Thread(target=feed, name="standard-input", daemon=True).start()
    while (line := await lines.get()) is not None:
        room.release()
        yield line
