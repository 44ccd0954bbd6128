"""The dialogue of the first run, with a network that is played: what is asked, what is told, and what comes out of it."""

from pathlib import Path

import msgspec
import pytest

from dhtchat.app.paths import last_login, remember_login
from dhtchat.app.settings import LOCAL_NODE, Settings
from dhtchat.cli.assistant import Assistant, Outcome
from dhtchat.cli.first_steps import Found
from dhtchat.errors import NameTaken, NoBootstrapAnswered, TooFewAnswered
from dhtchat.ids import NodeAddress, parse_node_address
from dhtchat.parameters import SIM

GOOD = "mokita-luberi-sapodu"
FRIEND = parse_node_address("192.0.2.10:8468")


class Network:
    """Answers as it is told to. `failures`: how often which question finds nobody first."""

    def __init__(self, tmp_path: Path, *taken: str, listed: tuple[str, ...] = (), **failures: int) -> None:
        self.settings = Settings(data_dir=tmp_path, parameters=SIM)
        self.taken = set(taken)
        self.registered: list[tuple[str, str]] = []
        self.looked_at: list[NodeAddress | None] = []
        self.quicker: set[str] = set()
        self._listed = listed
        self._failures = failures

    def _may_fail(self, question: str) -> None:
        if self._failures.get(question, 0):
            self._failures[question] -= 1
            raise NoBootstrapAnswered([LOCAL_NODE]) if question == "find" else TooFewAnswered("too few nodes answered")

    def find(self, given: NodeAddress | None = None) -> Found:
        self.looked_at.append(given)
        self._may_fail("find")
        address = given or LOCAL_NODE
        self.settings = msgspec.structs.replace(self.settings, bootstrap=(address,))
        return Found("bootstrap" if given else "local", address)

    def open_door(self) -> Found:
        self._may_fail("open_door")
        return self.find(parse_node_address("192.168.1.7:8468"))

    def is_taken(self, name: str) -> bool:
        self._may_fail("is_taken")
        return name in self.taken

    def register(self, name: str, password: str) -> str:
        self._may_fail("register")
        if name in self.quicker:
            raise NameTaken(f"the name {name} is taken")
        self.registered.append((name, password))
        return "k7z5-nuwg-gfvm-ia57"

    def rooms(self) -> list[str]:
        self._may_fail("rooms")
        return list(self._listed)


class Person:
    """Types these answers, one to each question, and hears what is told."""

    def __init__(self, *typed: str | type[BaseException]) -> None:
        self._left = list(typed)
        self.heard: list[str] = []
        self.asked: list[str] = []

    def answer(self, prompt: str) -> str:
        self.asked.append(prompt)
        typed = self._left.pop(0)
        if isinstance(typed, str):
            return typed
        raise typed

    @property
    def said(self) -> str:
        return "\n".join(self.heard)

    def talk(self, network: Network, columns: int = 200) -> Outcome:
        tell = self.heard.append
        outcome = Assistant(network, ask=self.answer, ask_hidden=self.answer, tell=tell, columns=columns).run()
        assert not self._left, f"never asked for {self._left}"
        return outcome


def test_somebody_new_gets_an_account_and_enters_a_room(tmp_path: Path) -> None:
    network, person = Network(tmp_path), Person("", "Alice", GOOD, GOOD, "")
    outcome = person.talk(network)
    assert network.registered == [("alice", GOOD)]
    assert outcome == Outcome(network.settings, "alice", GOOD, ["#lobby"])
    assert outcome.settings.bootstrap == (LOCAL_NODE,), "it does not have to be found once more"
    for told in (
        "a node on this machine (127.0.0.1:8468)",
        "the name alice is yours",
        "k7z5-nuwg-gfvm-ia57",
        "Strength: very good",
    ):
        assert told in person.said
    assert GOOD not in person.said
    assert last_login(tmp_path, SIM) == ("alice", "alice"), "if it is left now, the next run goes on from here"


def test_who_has_an_account_is_asked_for_the_password_by_the_chat(tmp_path: Path) -> None:
    network, person = Network(tmp_path, "alice", listed=("#garden", "#tea")), Person("2", "alice", "")
    assert person.talk(network) == Outcome(network.settings, "alice", None, ["#garden"])
    assert "#garden, #tea" in person.said
    assert network.registered == []


def test_rooms_of_ones_own_choice(tmp_path: Path) -> None:
    person = Person("2", "alice", "#not!a!room", "tea #garden")
    assert person.talk(Network(tmp_path, "alice")).rooms == ["#tea", "#garden"]


def test_who_comes_back_goes_on_with_one_key(tmp_path: Path) -> None:
    remember_login(tmp_path, SIM, "alice", "alice")
    network, person = Network(tmp_path), Person("", "")
    assert person.talk(network) == Outcome(network.settings, "alice", None, [])
    assert network.looked_at == [], "the chat knows the peers that it remembers"
    assert "Welcome back" in person.said


def test_somebody_else_on_a_machine_that_knows_alice(tmp_path: Path) -> None:
    remember_login(tmp_path, SIM, "alice", "alice")
    network, person = Network(tmp_path, "alice"), Person("2", "", "bob", GOOD, GOOD, "")
    assert person.talk(network).name == "bob"


def test_nobody_is_found_until_an_address_is_named(tmp_path: Path) -> None:
    network = Network(tmp_path, "alice", find=2)
    person = Person("", "", "1", "not an address", "192.0.2.10", "2", "alice", "")
    assert person.talk(network).settings.bootstrap == (FRIEND,)
    assert network.looked_at == [None, None, FRIEND], "Enter alone looks again; the usual port need not be typed"


def test_somebody_has_to_be_the_first(tmp_path: Path) -> None:
    """Where nobody is, a node can be started; if it cannot, one can look again."""
    network = Network(tmp_path, find=2, open_door=1)
    person = Person("2", "1", "alice", GOOD, GOOD, "")
    assert person.talk(network).settings.bootstrap == (LOCAL_NODE,)
    assert "Too few nodes answered." in person.said
    network = Network(tmp_path / "other", find=1)
    person = Person("2", "1", "alice", GOOD, GOOD, "")
    assert person.talk(network).settings.bootstrap == (parse_node_address("192.168.1.7:8468"),)
    assert "A node runs at 192.168.1.7:8468, for as long as you chat." in person.said


def test_two_may_begin_at_the_same_time(tmp_path: Path) -> None:
    """The second one cannot, and finds the first: nothing went wrong, and nothing is said of it."""
    network = Network(tmp_path / "second", find=1, open_door=1)
    person = Person("2", "1", "bob", GOOD, GOOD, "")
    assert person.talk(network).settings.bootstrap == (LOCAL_NODE,)
    assert "Too few" not in person.said
    assert "Found: a node on this machine" in person.said


def test_a_name_that_is_taken_or_no_name(tmp_path: Path) -> None:
    network = Network(tmp_path, "alice")
    person = Person("1", "al", "root", "alice", "1", "anna", GOOD, GOOD, "")
    assert person.talk(network).name == "anna"
    person = Person("1", "alice", "2", "")
    assert person.talk(Network(tmp_path / "other", "alice"))[1:3] == ("alice", None)


def test_an_account_that_is_not_there_can_be_made(tmp_path: Path) -> None:
    network = Network(tmp_path, "alice")
    person = Person("2", "alcie", "1", "bobby", "2", GOOD, GOOD, "")
    assert person.talk(network)[1:3] == ("bobby", GOOD)


def test_somebody_may_be_quicker(tmp_path: Path) -> None:
    network = Network(tmp_path)
    network.quicker = {"alice"}
    person = Person("1", "alice", GOOD, GOOD, "anna", GOOD, GOOD, "")
    assert person.talk(network).name == "anna"
    assert "The name alice is taken." in person.said


def test_trouble_with_the_network_is_no_end(tmp_path: Path) -> None:
    network = Network(tmp_path, is_taken=1, register=1, rooms=1)
    person = Person("1", "alice", "", GOOD, GOOD, "", "")
    assert person.talk(network).name == "alice"
    assert person.said.count("Too few nodes answered.") == 2


def test_an_answer_that_is_none_of_those_is_asked_for_again(tmp_path: Path) -> None:
    person = Person("yes", "3", "2", "alice", "")
    assert person.talk(Network(tmp_path, "alice")).name == "alice"
    assert person.said.count("Please type 1 or 2.") == 2


@pytest.mark.parametrize("answered", range(5))
def test_ctrl_c_at_any_question_says_what_is_so(tmp_path: Path, answered: int) -> None:
    """The last one stands behind the account: that is not lost."""
    typed: list[str | type[BaseException]] = ["1", "alice", GOOD, GOOD, ""]
    network, person = Network(tmp_path), Person(*typed[:answered], KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        person.talk(network)
    assert ("The account alice is yours" in person.heard[-1]) == (answered == 4)
    assert ("No account was made" in person.heard[-1]) == (answered < 4)
    assert (last_login(tmp_path, SIM) is not None) == (answered == 4)


@pytest.mark.parametrize("columns", [40, 80])
def test_every_line_fits_the_terminal(tmp_path: Path, columns: int) -> None:
    network = Network(tmp_path, "taken", find=1, is_taken=1)
    person = Person("", "", "1", "al", "taken", "", "", "alice", "weak", GOOD, GOOD, "")
    person.talk(network, columns)
    assert [line for line in [*person.heard, *person.asked] if len(line) > columns] == []
