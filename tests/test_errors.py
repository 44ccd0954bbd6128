"""The error tree as scripts and people meet it: a code, an exit code, what happened and what to do about it."""

import pytest

from dhtchat import errors
from dhtchat.errors import DhtChatError, NetworkTrouble, NoBootstrapAnswered, RemoteMisbehaved, UserError
from dhtchat.ids import Endpoint

TABLE: dict[type[DhtChatError], tuple[str, int]] = {
    # class: (code, exit code); contract.md, "Exit codes and errors"
    errors.DhtChatError: ("bug", 1),
    errors.UserError: ("usage", 2),
    errors.BadUsage: ("usage", 2),
    errors.NetworkTrouble: ("nobody-reachable", 3),
    errors.NoBootstrapAnswered: ("nobody-reachable", 3),
    errors.TooFewAnswered: ("nobody-reachable", 3),
    errors.LinkLost: ("nobody-reachable", 3),
    errors.NoSuchAccount: ("no-such-account", 4),
    errors.WrongPassword: ("wrong-password", 4),
    errors.NameTaken: ("name-taken", 5),
    errors.WeakPassword: ("weak-password", 6),
    errors.BadName: ("bad-name", 6),
    errors.NoSuchUser: ("no-such-user", 7),
    errors.NoSuchRoom: ("no-such-room", 7),
    errors.NoSuchMessage: ("no-such-message", 7),
    errors.NotRunning: ("not-running", 7),
    errors.NotDelivered: ("not-delivered", 8),
    # "More codes may follow": those that do not end the program ...
    errors.BadCommand: ("bad-command", 2),
    errors.TooLong: ("too-long", 2),
    errors.NotAllowed: ("not-allowed", 2),
    # ... set-up that does not fit ...
    errors.AddressInUse: ("usage", 2),
    errors.ProfileBusy: ("busy", 2),
    errors.DiskFull: ("disk", 2),
    errors.DamagedFile: ("damaged-file", 2),
    errors.TooLittleMemory: ("too-little-memory", 2),
    # ... and what a command shows only if it stumbles over it
    errors.RemoteMisbehaved: ("remote-misbehaved", 1),
    errors.MalformedMessage: ("remote-misbehaved", 1),
    errors.MalformedRecord: ("remote-misbehaved", 1),
    errors.BadSignature: ("remote-misbehaved", 1),
    errors.ProofRefused: ("remote-misbehaved", 1),
}
EXIT_CODES = {1, 2, 3, 4, 5, 6, 7, 8}


def _tree(root: type[DhtChatError]) -> set[type[DhtChatError]]:
    return {root}.union(*map(_tree, root.__subclasses__()))


def _ours() -> set[type[DhtChatError]]:
    return {found for found in _tree(DhtChatError) if found.__module__ == errors.__name__}


def test_every_error_is_in_the_table() -> None:
    """A class that is added without a line in the table, and so without a thought about its exit code, is found."""
    assert _ours() == set(TABLE)


@pytest.mark.parametrize("error", TABLE, ids=lambda error: error.__name__)
def test_codes_and_exit_codes_are_the_contracts(error: type[DhtChatError]) -> None:
    """Scripts rely on both; a code is a word, an exit code one that the contract lists."""
    assert (error.code, error.exit_code) == TABLE[error]
    assert error.exit_code in EXIT_CODES
    assert error.code.replace("-", "").isalpha()
    assert error.code.islower()


@pytest.mark.parametrize(
    "error",
    [error for error in TABLE if issubclass(error, UserError | NetworkTrouble)],
    ids=lambda error: error.__name__,
)
def test_what_people_see_says_what_to_do(error: type[DhtChatError]) -> None:
    """An error is two lines: what happened, and what to do about it. No class leaves the second one empty."""
    assert error.hint.strip()
    assert error.hint.endswith(".")
    assert "\n" not in error.hint


@pytest.mark.parametrize("error", TABLE, ids=lambda error: error.__name__)
def test_every_error_says_what_it_means(error: type[DhtChatError]) -> None:
    """The three branches are kept apart: nobody catches a stranger's fault as the user's."""
    branches = [branch for branch in (UserError, NetworkTrouble, RemoteMisbehaved) if issubclass(error, branch)]
    assert len(branches) == (0 if error is DhtChatError else 1)


def test_a_message_and_a_hint_of_its_own() -> None:
    """`str` is what happened; a hint given with it holds for this one error only."""
    plain, special = errors.BadUsage("no such option"), errors.BadUsage("no such option", hint="Try --host.")
    assert str(plain) == str(special) == "no such option"
    assert special.hint == "Try --host."
    assert plain.hint == errors.BadUsage.hint != special.hint


@pytest.mark.parametrize(
    ("tried", "why", "message"),
    [
        ([], "", "no node answered (tried: none known)"),
        ([Endpoint("::1", 8468)], "", "no node answered (tried: [::1]:8468)"),
        (
            [Endpoint("192.0.2.7", 1), Endpoint("host", 2)],
            "another network",
            "no node answered (tried: 192.0.2.7:1, host:2); another network",
        ),
    ],
)
def test_nobody_answered_says_who_was_asked(tried: list[Endpoint], why: str, message: str) -> None:
    """The most frequent trouble of all names every address that was tried."""
    error = NoBootstrapAnswered(tried, why=why)
    assert str(error) == message
    assert error.tried == tuple(tried)
    assert "--bootstrap" in error.hint
