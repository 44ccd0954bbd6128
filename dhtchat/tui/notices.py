"""Events that are not talk, in plain words. All text is cleaned here; the screen draws it as text and nothing else."""

from datetime import datetime, tzinfo
from typing import Final

from dhtchat.chat import events
from dhtchat.chat.markup import clean

_ID_CHARACTERS: Final = 8
_USAGE_CELLS: Final = 24
"""So wide is the column of usages in the answer to `/help`."""


def notice_lines(event: events.Event, user: str, timezone: tzinfo | None = None) -> list[tuple[str, int]]:
    """One or several lines, and how far in each goes on when it is wrapped; none for what the screen shows elsewhere."""
    hang = _USAGE_CELLS + 1 if isinstance(event, events.Help) else 2 if isinstance(event, _HINTED) else 0
    return [(clean(line, single_line=True), hang) for line in _lines(event, user, timezone)]


_HINTED: Final = (events.ErrorShown, events.Warned, events.Users, events.Rooms, events.Found, events.History)


_MODES: Final = {
    "+m": "only those who have the floor speak",
    "-m": "everybody speaks",
    "+i": "only those enter who are invited",
    "-i": "everybody may enter",
}


def _lines(event: events.Event, user: str, timezone: tzinfo | None) -> list[str]:
    match event:
        case events.Joined():
            return [f"{_who(event.user, user)} joined {event.room}"]
        case events.Parted():
            return [f"{_who(event.user, user)} left {event.room}"]
        case events.RoleChanged(by=by):
            made = f"{_who(by, user)} made {_who(event.user, user)}" if by else f"{_who(event.user, user)}:"
            return [f"{made} {event.role} of {event.room}"]
        case events.Invited(room=room):
            if event.user != user:
                return [f"{_who(event.by, user)} invited {event.user} to {room}"]
            return [f"{event.by} invites you to {room}: enter it with /join {room}"]
        case events.Kicked():
            verb, why = "banned" if event.banned else "threw out", f": {event.reason}" if event.reason else ""
            return [f"{_who(event.by or 'somebody', user)} {verb} {_who(event.user, user)}{why}"]
        case events.ModeChanged():
            return [f"{event.room} is {event.mode}: {_MODES[event.mode]}"]
        case events.HandMoved():
            return [f"{_who(event.user, user)} {'raised a hand' if event.up else 'lowered the hand'}"]
        case events.Hands(hands=hands):
            queue = "" if event.open else " (the queue is closed)"
            return [f"hands up{queue}: {', '.join(hands) or 'none'}"]
        case events.PresenceChanged():
            away = f" (away: {event.away})" if event.away else ""
            return [f"{_who(event.user, user)} {'online' if event.online else 'offline'} now{away}"]
        case events.Ready():
            return [f"online as {event.user} at {event.address}; /join #room, /query NAME, F1 for help"]
        case events.Registered():
            return [f"registered {event.user}, fingerprint {event.fingerprint}"]
        case events.Disconnected():
            return [f"disconnected: {event.reason}"]
        case events.Reconnected():
            return [f"connected again after {event.after_s:.0f} s"]
        case events.ErrorShown() | events.Warned():
            return [event.message, *([f"  {event.hint}"] if event.hint else [])]
        case events.Help():
            return [f"{usage:<{_USAGE_CELLS}} {text}" for usage, text in event.commands]
        case events.Notice():
            return [event.message]
        case events.Users():
            return [
                f"{entry.name}#{entry.fingerprint}  {'away' if entry.away else 'online' if entry.online else 'offline'}"
                for entry in event.users
            ] or ["nobody is online"]
        case events.Rooms():
            return [f"{room.name}  about {room.members} in it  {room.topic}" for room in event.rooms] or ["no rooms"]
        case events.WhoIsAnswer():
            since = f" since {_when(event.since, timezone)}" if event.since else ""
            changed = "; its key has changed!" if event.key_changed else ""
            where = f", in {' '.join(event.rooms)}" if event.rooms else ""
            return [
                f"{event.name}#{event.fingerprint} is {'online' if event.online else 'offline'}{since}{where}{changed}"
            ]
        case events.History():
            return [
                f"{_when(line.sent_at, timezone)} [{line.id[:_ID_CHARACTERS]}] {line.sender}: {line.text}"
                for line in event.messages
            ]
        case events.Found():
            return [f"{_when(hit.sent_at, timezone)} {hit.sender}: {hit.text}" for hit in event.messages] or [
                "nothing found"
            ]
        case events.PeerStatus():
            return [
                f"{event.user} at {event.address}: {event.peers} peers, {event.links} links, since {_when(event.since, timezone)}"
            ]
    return []


def _when(moment: str, timezone: tzinfo | None) -> str:
    """In the reader's own time."""
    try:
        return f"{datetime.fromisoformat(moment).astimezone(timezone):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # no time, or one that no calendar here reaches
        return moment


def _who(name: str, user: str) -> str:
    return "you" if name == user else name
