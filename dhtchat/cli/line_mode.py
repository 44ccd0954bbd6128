"""Line mode: lines in, lines out. A screen reader, a pipe and a test can use it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from dhtchat.app.node import ChatNode
from dhtchat.app.paths import last_login
from dhtchat.chat import intents
from dhtchat.chat.commands import parse_line
from dhtchat.chat.events import ErrorShown, LinesRead, MessageArrived, Notice, StatusChanged
from dhtchat.chat.markup import clean
from dhtchat.cli.errors import INTERRUPTED
from dhtchat.cli.full_screen import FullScreen, fits_terminal
from dhtchat.cli.output import Output
from dhtchat.cli.passwords import PasswordOptions, StandardInput, ask_hidden, read_new_password, read_password, tell
from dhtchat.cli.running import run_until_done
from dhtchat.crypto.password import check_policy
from dhtchat.errors import BadUsage, DhtChatError, TooLong, WrongPassword
from dhtchat.ids import Login, fold_room_meant, parse_login
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
) -> int:
    """Log in and chat until the input ends or, on a terminal, the screen is left. Returns the exit code."""
    login, profile = _who(settings, name)
    folded = [fold_room_meant(room) for room in rooms]
    standard_input = StandardInput()
    prompt = f"Password of {login.name}: "
    if create:
        password = read_new_password(login.name, options, standard_input)
        check_policy(password, name=login.name)  # as `register`: a bad password needs no network to be refused
    else:
        password = read_password(options, standard_input, prompt=prompt)
    typed = standard_input.is_terminal and options == PasswordOptions() and not create
    face = LineMode(
        settings,
        login,
        profile,
        Output(json=json, user=login.name),
        json=json,
        ask_again=(lambda: ask_hidden(prompt)) if typed else None,
    )
    if plain or json or not fits_terminal():
        return run_until_done(face.run(password, folded, standard_input, create=create))
    screen = FullScreen(settings, login, profile)
    return run_until_done(screen.run(folded, lambda node: face.enter(node, password, create=create)))


def _who(settings: "Settings", name: str | None) -> tuple[Login, str]:
    """Who logs in, and in which profile's folder."""
    if name is None:
        last = last_login(settings.data_dir, settings.parameters)
        if last is None or (settings.profile and settings.profile != last[0]):
            raise BadUsage("who are you?", hint="Name a user: dhtchat join NAME. New here? Add --register.")
        return parse_login(last[1]), last[0]
    login = parse_login(name)
    return login, settings.profile or login.name


class LineMode:
    """One session at standard input and output."""

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
        self._json = json
        self._unsent: dict[str, asyncio.TimerHandle] = {}
        self._recipients: dict[str, str] = {}
        """Of our own private lines that have not arrived yet."""
        self._stored: set[str] = set()
        """Those of them that lie in a mailbox."""

    async def run(self, password: str, rooms: list[str], standard_input: StandardInput, *, create: bool) -> int:
        """Until the input ends, `/quit`, or a signal. Errors before `ready` are raised."""
        async with ChatNode(self._settings, real_runtime()) as node:
            printer = asyncio.create_task(self._print(node))
            session = asyncio.current_task()
            if session is not None:
                self._output.on_closed = session.cancel  # nobody reads us any more: leave in good order
            try:
                await node.connect(self._profile)
                await self.enter(node, password, create=create)
                await node.go_online()
                for room in rooms:
                    await node.perform(intents.JoinRoom(room))
                await self._talk(node, standard_input)
            except asyncio.CancelledError:
                await node.leave(flush=False)
                return INTERRUPTED
            finally:
                # Whatever happened, what is to be shown is shown.
                node.close_events()
                with contextlib.suppress(asyncio.CancelledError):
                    await printer
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
            tell("Wrong password, please try again.")
            password = await asyncio.to_thread(self._ask_again)

    async def _talk(self, node: ChatNode, standard_input: StandardInput) -> None:
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
                    await node.perform(intent)
        await node.leave()

    async def _print(self, node: ChatNode) -> None:
        async for event in node.events():
            if isinstance(event, MessageArrived) and event.own and event.recipient:
                self._recipients[event.id] = event.recipient
            await self._output.ready()
            if self._json or not isinstance(event, StatusChanged | LinesRead):
                self._output.show(event)
            elif isinstance(event, StatusChanged):
                self._watch_status(event)
            if isinstance(event, MessageArrived) and not event.own:
                await node.perform(intents.MarkRead((event.id,)))  # whoever reads our output has it before them now

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
