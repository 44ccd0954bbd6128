"""Everything we raise on purpose: what happened, what to do about it, and how a script tells it apart.

`str(error)` says what happened; `hint` what the reader can do; `code` and `exit_code` are the contract's. Three
branches: a `UserError` is shown, `NetworkTrouble` may pass by itself, and `RemoteMisbehaved` is never the user's
problem: the link is dropped and counted. Any other exception is a bug and keeps its traceback.
"""

from collections.abc import Sequence
from typing import ClassVar


class DhtChatError(Exception):
    """Root of the tree. `code` is a stable word for scripts, `exit_code` what a command ends with."""

    code: ClassVar[str] = "bug"
    exit_code: ClassVar[int] = 1
    hint: str = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


# --- the user's side --------------------------------------------------------------------------------------------------


class UserError(DhtChatError):
    """Wrong input or set-up: shown, with advice."""

    code = "usage"
    exit_code = 2
    hint = "See 'dhtchat --help'."


class BadUsage(UserError):
    """A command, option or address that cannot be understood."""


class BadCommand(UserError):
    """A line in the chat that starts with `/` and means nothing: said, and the program goes on."""

    code = "bad-command"
    hint = "See /help."


class TooLong(UserError):
    """A text above the limits. Nothing of it was sent."""

    code = "too-long"
    hint = "Say it in several lines; nothing was sent."


class NotAllowed(UserError):
    """Somebody's role does not allow it."""

    code = "not-allowed"
    hint = "Ask a moderator of the room."


class BadName(UserError):
    """A user or room name that the policy refuses."""

    code = "bad-name"
    exit_code = 6
    hint = "A user name has 3 to 24 characters of a-z, 0-9, '_' and '-'; a room is '#' and 1 to 31 of the same."


class WeakPassword(UserError):
    """A password that the policy refuses; the hint says how to do better."""

    code = "weak-password"
    exit_code = 6
    hint = "Take a longer one, for instance several words that have nothing to do with each other."


class NameTaken(UserError):
    """The name belongs to somebody else."""

    code = "name-taken"
    exit_code = 5
    hint = "Choose another name, or log in with 'dhtchat join' if it is yours."


class NoSuchAccount(UserError):
    """Enough nodes answered and none of them knows the name."""

    code = "no-such-account"
    exit_code = 4
    hint = "Check the spelling and the network, or create it with 'dhtchat register'."


class WrongPassword(UserError):
    """The account exists and the password does not open it."""

    code = "wrong-password"
    exit_code = 4
    hint = "Type it again: upper and lower case count. Nobody can reset a forgotten password."


class NoSuchUser(UserError):
    code = "no-such-user"
    exit_code = 7
    hint = "See /users for who is there."


class NoSuchRoom(UserError):
    code = "no-such-room"
    exit_code = 7
    hint = "See /rooms, or create it with /join #room."


class NoSuchMessage(UserError):
    code = "no-such-message"
    exit_code = 7
    hint = "See /history for the ids; -1 is the latest line."


class NotRunning(UserError):
    """No peer of this profile runs on this machine."""

    code = "not-running"
    exit_code = 7
    hint = "Start one with 'dhtchat up NAME' or 'dhtchat join NAME'."


class NotDelivered(UserError):
    code = "not-delivered"
    exit_code = 8
    hint = "It is kept and goes out when the other side is reachable."


class TooLittleMemory(UserError):
    """Deriving the keys of a login takes more memory than this machine gives us."""

    code = "too-little-memory"
    hint = "Close other programs, or log in on a machine with more memory."


class ProfileBusy(UserError):
    """Every device slot of this profile is in use by another process."""

    code = "busy"
    hint = "Close one of the running chats of this user on this machine."


class DiskFull(UserError):
    code = "disk"
    hint = "Make room on the disk, then say it again."


class DamagedFile(UserError):
    """A file of ours that cannot be read. The message names it."""

    code = "damaged-file"
    exit_code = 2
    hint = "Move it aside; it is made anew from what other peers hold."


# --- the network's side -----------------------------------------------------------------------------------------------


class NetworkTrouble(DhtChatError):
    """May pass by itself: shown and retried; when given up, exit code 3."""

    code = "nobody-reachable"
    exit_code = 3
    hint = "Check the network connection and try again."


class NoBootstrapAnswered(NetworkTrouble):
    """None of the addresses tried had a node of this network behind it."""

    hint = "Check that outgoing UDP is allowed, or name another node with --bootstrap HOST:PORT."

    def __init__(self, tried: Sequence[object], *, why: str = "", hint: str | None = None) -> None:
        named = ", ".join(map(str, tried)) or "none known"
        super().__init__(f"no node answered (tried: {named}){'; ' + why if why else ''}", hint=hint)
        self.tried = tuple(tried)
        self.why = why


class TooFewAnswered(NetworkTrouble):
    """Some nodes answered, too few to be sure."""

    hint = "The network is busy or split; try again in a moment."


class AddressInUse(NetworkTrouble):
    """Cannot listen where we were told to."""

    code = "usage"
    exit_code = 2
    hint = "Choose another --port (0 takes a free one) or --host."


class LinkLost(NetworkTrouble):
    """A link to another peer ended or could not be made."""


# --- the other side's fault -------------------------------------------------------------------------------------------


class RemoteMisbehaved(DhtChatError):
    """Something from the network broke the protocol. Dropped and counted, never shown as the user's problem."""

    code = "remote-misbehaved"


class MalformedMessage(RemoteMisbehaved):
    """Bytes that are no message of ours."""


class MalformedRecord(RemoteMisbehaved):
    """Bytes that are no record, or one that breaks the limits of its kind."""


class BadSignature(RemoteMisbehaved):
    """Not signed by the key it names, for this purpose, on this network."""


class ProofRefused(RemoteMisbehaved):
    """The other end of a link could not prove who it is, or is not whom we expected."""


# --- from another process ---------------------------------------------------------------------------------------------


def error_of(code: str, message: str, hint: str) -> DhtChatError:
    """The error that a running peer told of, to be raised again. An unknown code is as good as a bug."""
    kinds = [DhtChatError]
    for kind in kinds:  # grows on the way: the whole tree, roots first
        kinds += kind.__subclasses__()
    kind = next((kind for kind in kinds if kind.code == code and kind.__init__ is DhtChatError.__init__), DhtChatError)
    return kind(message, hint=hint)
