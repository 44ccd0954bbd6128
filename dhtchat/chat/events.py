"""What a screen may show and a script may read: one struct per event of the contract, its name in `event`.

Every text in here that came from somebody else has been cleaned (`markup.clean`) by whoever made the event.
Times are RFC 3339 in UTC. `to_json` gives the one line that `--json` prints.
"""

from typing import Any, Literal

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Root of all events. Fields may be added, none removed."""


class Ready(Event, frozen=True, kw_only=True, tag="ready"):
    user: str | None
    fingerprint: str | None
    address: str
    """`HOST:PORT` of the UDP socket."""
    peers: int
    version: str
    node_key: str | None = None
    """A bootstrap node's key, for `HOST:PORT/KEY`."""
    via: str | None = None
    """How the network was found: `bootstrap`, `remembered`, `local`, `alone`."""


class Registered(Event, frozen=True, kw_only=True, tag="registered"):
    user: str
    fingerprint: str


class PasswordChanged(Event, frozen=True, kw_only=True, tag="password-changed"):
    user: str
    fingerprint: str


class Reaction(msgspec.Struct, frozen=True, kw_only=True):
    emoji: str
    users: list[str]


class MessageArrived(Event, frozen=True, kw_only=True, tag="message"):
    """A line to show, another's or one's own, or what was done to one: then `edits`, `deletes` or `reacts_to` names it."""

    id: str
    kind: Literal["room", "direct"]
    room: str | None
    sender: str
    recipient: str | None
    text: str
    sent_at: str
    delayed: bool
    own: bool
    action: bool = False
    mentioned: bool = False
    muted: bool = False
    notify: bool = False
    """Whether it is worth a noise: by what `/notify` says of the talk, and not while one is away."""
    verified: bool = True
    """Whether `sender` is known to belong to the key that signed; when not, it is shown as `name#fingerprint`."""
    edited: bool = False
    """The text is not the first one."""
    reply_to: str | msgspec.UnsetType = msgspec.UNSET
    edits: str | msgspec.UnsetType = msgspec.UNSET
    """`text` is the text of that line from now on."""
    deletes: str | msgspec.UnsetType = msgspec.UNSET
    """`text` is empty."""
    reacts_to: str | msgspec.UnsetType = msgspec.UNSET
    """`text` is the reaction."""
    removed: bool | msgspec.UnsetType = msgspec.UNSET
    """With `reacts_to`: whether the reaction was taken back."""
    reactions: list[Reaction] | msgspec.UnsetType = msgspec.UNSET
    """To a line out of the history, where there are any."""
    read: bool | msgspec.UnsetType = msgspec.UNSET
    """Of a line out of the history: by oneself, be it on another device; of one's own by somebody else."""


class StatusChanged(Event, frozen=True, kw_only=True, omit_defaults=True, tag="status"):
    id: str
    state: Literal["queued", "sent", "stored", "delivered", "read", "failed"]
    delivered_to: int | None = None
    members: int | None = None
    reason: str | None = None
    """Why it failed, in words."""
    read_by: str | None = None
    """Who has read it, with `read`."""


class LinesRead(Event, frozen=True, kw_only=True, tag="read"):
    """Another device of ours has shown these lines."""

    target: str
    ids: list[str]


class PresenceChanged(Event, frozen=True, kw_only=True, tag="presence"):
    user: str
    online: bool
    away: str | None = None


class Joined(Event, frozen=True, kw_only=True, tag="joined"):
    room: str
    user: str


class Parted(Event, frozen=True, kw_only=True, tag="parted"):
    room: str
    user: str


class UserEntry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    fingerprint: str
    online: bool
    away: str | None = None


class Users(Event, frozen=True, kw_only=True, tag="users"):
    users: list[UserEntry]


class RoomEntry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    topic: str
    members: int
    mode: str = ""
    joined: bool = False


class Rooms(Event, frozen=True, kw_only=True, tag="rooms"):
    rooms: list[RoomEntry]


class MemberEntry(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    role: "Role"
    online: bool
    hand: bool = False


class Names(Event, frozen=True, kw_only=True, tag="names"):
    room: str
    members: list[MemberEntry]


class WhoIsAnswer(Event, frozen=True, kw_only=True, tag="whois"):
    name: str
    fingerprint: str
    key_changed: bool
    online: bool
    rooms: list[str]
    since: str | None
    """When the person came online, else when the account was made."""
    away: str | None = None


class History(Event, frozen=True, kw_only=True, tag="history"):
    target: str
    messages: list[MessageArrived]


class Found(Event, frozen=True, kw_only=True, tag="found"):
    """Lines with the words that were searched for."""

    target: str
    messages: list[MessageArrived]


class TopicChanged(Event, frozen=True, kw_only=True, tag="topic"):
    """`by` None: shown on request or on joining."""

    room: str
    user: str | None
    by: str | None
    topic: str


Role = Literal["owner", "moderator", "speaker", "listener"]


class RoleChanged(Event, frozen=True, kw_only=True, tag="role"):
    """Somebody is something else in a room now. `by` None: what made it so does not count, or it is shown on coming in."""

    room: str
    user: str
    by: str | None
    role: Role
    banned: bool = False


class Invited(Event, frozen=True, kw_only=True, tag="invited"):
    """`by` asks `user` into a room; one of the two is oneself, but where only those enter who are invited all members see it."""

    room: str
    user: str
    by: str


class Kicked(Event, frozen=True, kw_only=True, tag="kicked"):
    """Somebody was thrown out of a room. They may come back to listen, but who is `banned` may not."""

    room: str
    user: str
    by: str | None
    reason: str
    banned: bool = False


class ModeChanged(Event, frozen=True, kw_only=True, tag="mode"):
    """`+m`: only those speak who were given the floor. `+i`: only those enter who are invited. `by` None: shown on request or on
    coming in."""

    room: str
    user: str | None
    by: str | None
    mode: Literal["+m", "-m", "+i", "-i"]


class HandMoved(Event, frozen=True, kw_only=True, tag="hand"):
    """A listener asks for the floor, or no longer does."""

    room: str
    user: str
    by: str | None
    up: bool


class Hands(Event, frozen=True, kw_only=True, tag="hands"):
    """Who asks for the floor, the first first. `open`: whether others may ask as well; `by`: who changed that just now."""

    room: str
    hands: list[str]
    open: bool
    by: str | None = None


class TargetChanged(Event, frozen=True, kw_only=True, tag="target"):
    """Where a plain line goes from now on."""

    target: str | None


class Disconnected(Event, frozen=True, kw_only=True, tag="disconnected"):
    reason: str


class Reconnected(Event, frozen=True, kw_only=True, tag="reconnected"):
    after_s: float


class PeerStatus(Event, frozen=True, kw_only=True, tag="peer-status"):
    user: str | None
    address: str
    peers: int
    links: int
    rooms: list[str]
    since: str
    away: str | None = None


class Warned(Event, frozen=True, kw_only=True, tag="warning"):
    code: Literal["key-changed", "name-conflict", "clock"]
    message: str
    hint: str


class ErrorShown(Event, frozen=True, kw_only=True, tag="error"):
    code: str
    message: str
    hint: str


class Help(Event, frozen=True, kw_only=True, tag="help"):
    """Lines of help: `usage` and what it does."""

    commands: list[tuple[str, str]]


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """Something in plain words that no other event says, such as `you ignore bob now`."""

    message: str


class Bye(Event, frozen=True, kw_only=True, tag="bye"):
    pass


_encoder = msgspec.json.Encoder()


def to_json(event: Event) -> str:
    """One line of JSON, `event` first."""
    return _encoder.encode(event).decode()


def to_dict(event: Event) -> dict[str, Any]:
    """The same facts as a dict."""
    result: dict[str, Any] = msgspec.to_builtins(event)
    return result
