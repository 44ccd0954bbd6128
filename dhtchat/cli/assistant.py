"""`dhtchat` without arguments: finds the network, makes an account or takes the one there is, and opens the chat in a room.

A dialogue in lines, so that it works on every terminal and can be read aloud. It asks one thing at a time, says what happened,
and an answer that will not do is asked for again. What it asks the network is in `first_steps.py`.
"""

import contextlib
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from dhtchat.app.neighbourhood import is_available
from dhtchat.app.paths import last_login, remember_login
from dhtchat.cli.passwords import Ask, PasswordOptions, Tell, ask_hidden, new_password_dialog, tell
from dhtchat.errors import BadName, BadUsage, DhtChatError, NameTaken, NetworkTrouble
from dhtchat.ids import NodeAddress, fold_name, fold_room_meant, parse_login, parse_node_address
from dhtchat.limits import BOOTSTRAP_PORT, NAME_CHARACTERS_MAX, NAME_CHARACTERS_MIN

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings
    from dhtchat.cli.first_steps import Found

T = TypeVar("T")

FIRST_ROOM: Final = "#lobby"
"""Where people meet who have not agreed on another one."""


class Steps(Protocol):
    """`FirstSteps`, or what stands in for it in a test."""

    settings: "Settings"

    def find(self, given: NodeAddress | None = None) -> "Found": ...
    def open_door(self) -> "Found": ...
    def is_taken(self, name: str) -> bool: ...
    def register(self, name: str, password: str) -> str: ...
    def rooms(self) -> list[str]: ...


class Outcome(NamedTuple):
    """What the chat is to be opened with; without a password it asks for it."""

    settings: "Settings"
    name: str
    password: str | None
    rooms: list[str]


def run_assistant(settings: "Settings", network: str) -> int:
    """Ask, then chat. Returns the exit code of the chat. `network`: as on the command line."""
    from dhtchat.cli.first_steps import FirstSteps
    from dhtchat.cli.line_mode import join

    with FirstSteps(settings, network) as steps:
        outcome = Assistant(steps).run()
        return join(
            outcome.settings,
            outcome.name,
            outcome.rooms,
            PasswordOptions(),
            create=False,
            json=False,
            plain=False,
            password=outcome.password,
        )


def ask_openly(prompt: str) -> str:
    """Ask with echo. The end of input is a way to leave, as Ctrl-C is."""
    try:
        return input(prompt).strip()
    except EOFError:
        raise KeyboardInterrupt from None


class Assistant:
    """One dialogue. Leaves by `KeyboardInterrupt` at any question."""

    def __init__(
        self,
        steps: Steps,
        *,
        ask: Ask = ask_openly,
        ask_hidden: Ask = ask_hidden,
        tell: Tell = tell,
        columns: int | None = None,
    ) -> None:
        """`columns`: how long a line may become; None: as the terminal is."""
        self._steps = steps
        self._ask = ask
        self._ask_hidden = ask_hidden
        self._tell_line = tell
        self._columns = columns
        self._made = ""
        """The account that has been made, once it has been."""

    def run(self) -> Outcome:
        settings = self._steps.settings
        with self._said_when_interrupted():
            self._tell("dhtchat: a chat that needs nobody's server.")
            last = last_login(settings.data_dir, settings.parameters)
            if last is not None and settings.profile in (None, last[0]):
                shown = parse_login(last[1]).name
                if self._choose("Welcome back. Who are you?", f"{shown}, as last time", "somebody else, or new") == 1:
                    return Outcome(settings, last[1], None, self._ask_rooms("Room to enter (Enter alone for none): "))
            else:
                self._tell("A few questions, then you are in. Ctrl-C leaves at any of them.")
            self._find_network()
            new = self._choose("Are you new here?", "yes: make an account", "no: I have an account") == 1
            name, password = self._who(new=new)
            rooms = self._first_room()
        return Outcome(self._steps.settings, name, password, rooms)

    def _tell(self, line: str) -> None:
        columns = self._columns or shutil.get_terminal_size().columns
        for part in textwrap.wrap(line, columns, break_long_words=False, break_on_hyphens=False) or [""]:
            self._tell_line(part)

    @contextlib.contextmanager
    def _said_when_interrupted(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._tell("")  # the cursor stands behind a question
            if self._made:
                self._tell(f"You have left. The account {self._made} is yours: 'dhtchat' goes on with it.")
            else:
                self._tell("You have left. No account was made.")
            raise

    def _choose(self, question: str, first: str, second: str) -> int:
        """1 or 2."""
        self._tell("")
        self._tell(question)
        self._tell(f"  1  {first}")
        self._tell(f"  2  {second}")
        while (answer := self._ask("1 or 2 (Enter alone for 1): ")) not in ("", "1", "2"):
            self._tell("Please type 1 or 2.")
        return 2 if answer == "2" else 1

    def _apologise(self, error: DhtChatError) -> None:
        self._tell(_sentence(error))
        if error.hint:
            self._tell(error.hint)

    # --- the network ---

    def _find_network(self) -> None:
        given: NodeAddress | None = None
        named = ", ".join(map(str, self._steps.settings.bootstrap))
        while True:
            if given or named:
                self._tell(f"Looking for the network at {given or named} ...")
            else:
                self._tell("Looking for a network: known peers, this machine, the local network ...")
            try:
                found = self._steps.find(given)
            except NetworkTrouble as error:
                self._tell(_sentence(error) if given or named else "Nobody answered.")
                if not (given or named) and not is_available():
                    self._tell("The local network was not asked: that takes the extra 'lan', see the user guide.")
            else:
                self._tell(_how(found))
                if found.via == "local" and found.address.endpoint.host == "127.0.0.1":
                    self._tell("Through it you meet people on this machine. To meet others as well, begin with")
                    self._tell(
                        f"'dhtchat start --bootstrap ADDRESS:{BOOTSTRAP_PORT}', an address they reach this machine by."
                    )
                return
            question = "How do you want to go on?"
            begin = "begin a network here: I am the first, others come to me"
            if self._choose(question, "I have the address of a node, or look again", begin) == 2:
                if self._begin_here():
                    return
                continue
            self._tell(f"An address looks like 192.0.2.10:{BOOTSTRAP_PORT}. Somebody who is in can tell you one.")
            given = self._ask_address()

    def _begin_here(self) -> bool:
        """Whether a node runs on this machine now."""
        self._tell("Starting a node on this machine ...")
        try:
            found = self._steps.open_door()
        except DhtChatError as error:
            with contextlib.suppress(NetworkTrouble):  # in another terminal somebody was quicker, most likely
                self._tell(_how(self._steps.find()))
                return True
            self._apologise(error)
            return False
        self._tell(f"A node runs at {found.address.endpoint}, for as long as you chat.")
        self._tell("Others on this machine find it by themselves. Give the address to those on other machines.")
        return True

    def _ask_address(self) -> NodeAddress | None:
        while True:
            typed = self._ask("Address (Enter alone to look again): ")
            if not typed:
                return None
            try:
                return parse_node_address(typed if ":" in typed else f"{typed}:{BOOTSTRAP_PORT}")
            except BadUsage as error:
                self._apologise(error)

    # --- who ---

    def _ask_name(self, prompt: str) -> str:
        while True:
            try:
                return fold_name(self._ask(prompt))
            except BadName as error:
                self._apologise(error)

    def _who(self, *, new: bool) -> tuple[str, str | None]:
        """A name and, of an account that has just been made, its password."""
        if new:
            allowed = f"{NAME_CHARACTERS_MIN} to {NAME_CHARACTERS_MAX} of a-z, 0-9, _ and -"
            self._tell("")
            self._tell(f"Choose a user name, {allowed}. Everybody can see it.")
        while True:
            name = self._ask_name("User name: ")
            taken = self._patiently(partial(self._steps.is_taken, name))
            if new and taken:
                if self._choose(f"The name {name} is taken.", "take another one", "it is mine: log in") == 1:
                    continue
                return name, None
            if not new and not taken:
                question = f"There is no account {name} on this network."
                if self._choose(question, "type the name again", "make this account") == 1:
                    continue
            elif not new:
                return name, None
            password = self._register(name)
            if password is not None:
                return name, password

    def _register(self, name: str) -> str | None:
        """The password; None if somebody was quicker."""
        self._tell("")
        password = new_password_dialog(name, ask=self._ask_hidden, tell=self._tell)
        self._tell("Creating the account: a second of work for this machine ...")
        try:
            shown = self._patiently(partial(self._steps.register, name, password))
        except NameTaken as error:
            self._apologise(error)
            return None
        self._made = name
        settings = self._steps.settings
        remember_login(settings.data_dir, settings.parameters, settings.profile or name, name)
        self._tell("")
        self._tell(f"Done: the name {name} is yours, and the peers of the network keep it for you.")
        self._tell("With name and password you can log in on any machine. Nobody can reset the password.")
        self._tell(f"Your fingerprint is {shown}. Friends see it with /whois {name} and can make sure that it is you.")
        return password

    def _patiently(self, question: Callable[[], T]) -> T:
        """What the network answers, asked again for as long as somebody wants to."""
        while True:
            try:
                return question()
            except NetworkTrouble as error:
                self._apologise(error)
            self._ask("Press Enter to try again: ")

    # --- where ---

    def _first_room(self) -> list[str]:
        try:
            rooms = self._steps.rooms()
        except NetworkTrouble:  # only a suggestion
            rooms = []
        self._tell("")
        if rooms:
            self._tell(f"Rooms with people in them: {', '.join(rooms)}.")
        first = rooms[0] if rooms else FIRST_ROOM
        if not rooms:
            self._tell("There is no room with people in it yet. The first one who enters a room makes it.")
        return self._ask_rooms(f"Room to enter (Enter alone for {first}): ", otherwise=[first])

    def _ask_rooms(self, prompt: str, otherwise: Sequence[str] = ()) -> list[str]:
        while True:
            typed = self._ask(prompt).split()
            try:
                return [fold_room_meant(room) for room in typed] or list(otherwise)
            except BadName as error:
                self._apologise(error)


def _sentence(error: DhtChatError) -> str:
    said = str(error)
    return f"{said[:1].upper()}{said[1:]}."


def _how(found: "Found") -> str:
    """In plain words, whom the network was found through."""
    at = found.address.endpoint
    match found.via:
        case "remembered":
            return f"Found: peers that this machine remembers, {at} among them."
        case "local":
            return f"Found: a node on this machine ({at})."
        case "lan":
            return f"Found: a node in the local network ({at})."
    return f"Found: the node at {at} answers."
