"""What a user can want, the same for every face. `commands.py` makes them from text, `ChatNode.perform` does them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dhtchat.limits import AWAY_CHARACTERS_MAX, EMOJI_CHARACTERS_MAX, HISTORY_LINES_MAX, REASON_CHARACTERS_MAX


class Intent(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Something a face asks of the node. Names are as typed: the node folds and checks them. As JSON, `type` names it."""


class SayTo(Intent, frozen=True):
    """Say `text` to a room (`#name`) or a person; `target` None is the current target. `action`: `/me`."""

    text: str
    target: str | None = None
    action: bool = False


class JoinRoom(Intent, frozen=True):
    room: str
    topic: str | None = None


class PartRoom(Intent, frozen=True):
    """`room` None: the current one."""

    room: str | None = None


class OpenQuery(Intent, frozen=True):
    """Make a private talk the current target."""

    name: str


class SwitchTo(Intent, frozen=True):
    target: str


class ListRooms(Intent, frozen=True):
    prefix: str = ""


class ListUsers(Intent, frozen=True):
    """Those online, or with `everyone` also those known and offline."""

    prefix: str = ""
    everyone: bool = False


class ListNames(Intent, frozen=True):
    room: str | None = None


class WhoIs(Intent, frozen=True):
    name: str


class ChangeTopic(Intent, frozen=True):
    """`text` None: show the topic. `room` None: the current one."""

    text: str | None = None
    room: str | None = None


class Grant(Intent, frozen=True):
    """Give somebody something in a room: `op`, `voice`, `unban`, or with `owner` the room itself. `room` None: the current one."""

    name: str
    given: Literal["op", "voice", "unban", "owner"]
    room: str | None = None


class Remove(Intent, frozen=True):
    """Take something from somebody in a room."""

    name: str
    taken: Literal["deop", "devoice", "kick", "ban"]
    why: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)] = ""
    room: str | None = None


class Invite(Intent, frozen=True):
    """Ask somebody into a room."""

    name: str
    room: str | None = None


class ChangeMode(Intent, frozen=True):
    """`moderated`: let only those speak who were given the floor, or everybody. `closed`: let only those in who are invited, or
    everybody. None: leave it; both: show the mode."""

    moderated: bool | None = None
    room: str | None = None
    closed: bool | None = None


class MoveHand(Intent, frozen=True):
    """Raise a hand, or lower it when it is up."""

    room: str | None = None


class ShowHands(Intent, frozen=True):
    """List the raised hands, or with `open` open or close the queue."""

    open: bool | None = None
    room: str | None = None


class ShowHistory(Intent, frozen=True):
    """The last `count` lines of a talk; `target` None is the current one."""

    count: Annotated[int, Meta(ge=1, le=HISTORY_LINES_MAX)] = 20
    target: str | None = None


class Search(Intent, frozen=True):
    """Lines of a talk with all these words; `target` None is the current one."""

    text: str
    target: str | None = None


class ReplyTo(Intent, frozen=True):
    """Answer a line. `line`: an id, an unambiguous start of one, or `-1` for the latest line of the current talk."""

    line: str
    text: str


class EditLine(Intent, frozen=True):
    """Give a line of one's own another text. `-1` is the latest of one's own."""

    line: str
    text: str


class DeleteLine(Intent, frozen=True):
    """Take a line of one's own back. `-1` is the latest of one's own."""

    line: str


class ReactTo(Intent, frozen=True):
    """React to a line, or take the same reaction back."""

    line: str
    emoji: Annotated[str, Meta(max_length=EMOJI_CHARACTERS_MAX)]


class MarkRead(Intent, frozen=True):
    """A face has shown these lines to the person who sits in front of it. Ids in hex."""

    lines: tuple[str, ...]


class SetAway(Intent, frozen=True):
    """`text` None: back."""

    text: Annotated[str, Meta(max_length=AWAY_CHARACTERS_MAX)] | None


class Ignore(Intent, frozen=True):
    name: str
    ignored: bool = True


class Mute(Intent, frozen=True):
    """Toggle notification of a target; None is the current one."""

    target: str | None = None


class Notify(Intent, frozen=True):
    """Say what of a target makes itself heard, or with `level` None ask for it. `target` None is the current one."""

    level: Literal["all", "mentions", "none"] | None = None
    target: str | None = None


class ShowHelp(Intent, frozen=True):
    command: str | None = None


class ShowStatus(Intent, frozen=True):
    """Emit `peer-status`."""


class Quit(Intent, frozen=True):
    """Leave, after what was said is flushed."""
