"""What the screen knows: talks, their lines, what is unread. Events go in; no I/O, no widget, and no clock is read.

Every text of others is cleaned here again, however clean it is said to be.
"""

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import IntEnum
from typing import Final

from dhtchat.chat import events
from dhtchat.chat.markup import beginning, clean
from dhtchat.limits import SCREEN_LINES_MAX
from dhtchat.tui.notices import notice_lines

_TOUCHED_MAX: Final = 200
_DROPPED_AT_ONCE: Final = 200
QUOTE_CHARACTERS: Final = 30
"""How much of a line a reply repeats."""


class Heat(IntEnum):
    """Why a talk wants attention, the most urgent last. Joins and parts never raise it."""

    NONE = 0
    MESSAGE = 1
    PRIVATE = 2
    HIGHLIGHT = 3


@dataclass(slots=True, eq=False)
class Line:
    """One entry of a talk, which is itself and no other. `id` empty: our own words, not somebody's line."""

    text: str
    id: str = ""
    sender: str = ""
    sent_at: datetime | None = None
    own: bool = False
    action: bool = False
    mentioned: bool = False
    edited: bool = False
    deleted: bool = False
    is_error: bool = False
    hang: int = 0
    """How far in the rows after the first begin, in cells."""
    quote: str = ""
    state: str = ""
    reactions: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Talk:
    """A room, a private talk, or (with an empty name) what concerns no talk."""

    name: str
    lines: list[Line] = field(default_factory=list)
    by_id: dict[str, Line] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    heat: Heat = Heat.NONE
    marker: str = ""
    """The first line that was unread when the talk was opened."""
    topic: str = ""
    members: dict[str, events.MemberEntry] = field(default_factory=dict)
    structure: int = 0
    """Goes up when lines come to stand elsewhere: any change but one at the end, or in a line."""
    touched: list[Line] = field(default_factory=list)
    """Lines that changed since whoever draws them took note."""
    members_version: int = 0
    """Goes up with every change of the members."""

    @property
    def is_room(self) -> bool:
        return self.name.startswith("#")

    def speakers(self) -> list[str]:
        """Who spoke, the latest first; not oneself."""
        return list(dict.fromkeys(line.sender for line in reversed(self.lines) if line.sender and not line.own))

    def merge(self, lines: list[Line]) -> None:
        """Lines out of the history, all at once: those of a time stand in the order in which they came."""
        last: datetime | None = None
        times: dict[Line, datetime] = {}
        for line in self.lines:  # what has no time stays behind what it stands behind
            last = line.sent_at or last
            if last is not None:
                times[line] = last
        times |= {line: line.sent_at for line in lines if line.sent_at is not None}
        # Our own words that stand before any line with a time are as young as the youngest of these.
        start = max(
            (line.sent_at for line in lines if line.sent_at is not None), default=datetime.fromtimestamp(0, UTC)
        )
        # The history before the lines that came by themselves: of the same time, it is what was first.
        self.lines = sorted([*lines, *self.lines], key=lambda line: times.get(line, start))
        self.by_id |= {line.id: line for line in lines}
        self._drop_the_oldest()
        self.structure += 1

    def place(self, line: Line) -> None:
        """By time for what was late, else at the end; the oldest make way."""
        at = len(self.lines)
        if line.sent_at is not None:
            while at and (before := self.lines[at - 1].sent_at) is not None and before > line.sent_at:
                at -= 1
        self.structure += at != len(self.lines)
        self.lines.insert(at, line)
        if line.id:
            self.by_id[line.id] = line
        self._drop_the_oldest()

    def touch(self, line: Line) -> None:
        """It says something else from now on."""
        if len(self.touched) < _TOUCHED_MAX:
            self.touched.append(line)
        else:
            self.structure += 1

    def _drop_the_oldest(self) -> None:
        """Many at once: after it, all that is left has to be laid out again."""
        if len(self.lines) <= SCREEN_LINES_MAX:
            return
        for old in self.lines[: -SCREEN_LINES_MAX + _DROPPED_AT_ONCE]:
            self.by_id.pop(old.id, None)
        del self.lines[: -SCREEN_LINES_MAX + _DROPPED_AT_ONCE]
        self.structure += 1


class Talks:
    """Everything that is shown to `user`. `take` is told every event, in order."""

    def __init__(self, user: str, *, timezone: tzinfo | None = None) -> None:
        """`timezone` None: the one of this machine."""
        self.user = user
        self._timezone = timezone
        self.by_name: dict[str, Talk] = {"": Talk("")}
        self.current: Talk = self.by_name[""]
        self.target = ""
        """Where the peer takes what is typed to go. The talk without a name has none of its own and changes nothing in that."""
        self.online: dict[str, bool] = {}
        self.away_people: set[str] = set()
        """Online, but not at the keyboard."""
        self.listed_people: set[str] = set()
        self.listed_rooms: set[str] = set()
        """Named in an answer to some question: worth completing."""
        self.away = ""
        """What one told others with `/away`."""
        self.peers = 0
        self.connection = "connecting"
        self.is_watched = True
        """Whether the end of the current talk is before somebody's eyes."""
        self.status_asked = self.history_asked = 0
        """How many answers to `/status` and `/history` are still to come."""

    @property
    def ordered(self) -> list[Talk]:
        """As the list shows them: the one without a name, rooms, people."""
        return sorted(self.by_name.values(), key=lambda talk: (talk.name != "", not talk.is_room, talk.name))

    def hottest(self) -> Talk | None:
        """Where to look next: the most urgent talk with something unread."""
        waiting = [talk for talk in self.ordered if talk.heat and talk is not self.current]
        return max(waiting, key=lambda talk: talk.heat, default=None)

    def open(self, name: str) -> Talk:
        """Make the talk of that name the current one, made if need be. What was unread stays marked off."""
        self.current.marker = ""
        self.current.structure += 1
        self.current = talk = self.by_name.setdefault(name, Talk(name))
        talk.marker = talk.unread[0] if talk.unread else ""
        talk.heat = Heat.NONE
        talk.structure += 1
        return talk

    def take_read(self) -> tuple[str, ...]:
        """The unread lines of the current talk, if somebody sees them now."""
        if not self.is_watched:
            return ()
        read, self.current.unread = tuple(self.current.unread), []
        self.current.heat = Heat.NONE
        return read

    def take(self, event: events.Event) -> None:
        match event:
            case events.MessageArrived():
                self._message(event)
            case events.History(target=target, messages=messages):
                self._history(self._talk(target), messages)
                if self.history_asked:  # else it was to fill the screen
                    self.history_asked -= 1
                    self._say(event, [self.current.name])
            case events.StatusChanged(id=line_id, state=state):
                for talk in self.by_name.values():
                    if line_id in talk.by_id:
                        talk.by_id[line_id].state = state
                        talk.touch(talk.by_id[line_id])
            case events.LinesRead(target=target, ids=ids):
                if read := self.by_name.get(target):
                    read.unread = [line for line in read.unread if line not in ids]
                    read.heat = read.heat if read.unread else Heat.NONE
            case events.TargetChanged(target=target):
                self.target = clean(target, single_line=True) if target else ""
                self.open(self.target)
            case events.TopicChanged(room=room, topic=topic):
                self._talk(room).topic = clean(topic, single_line=True) if topic else ""
            case events.Users(users=entries):
                self.listed_people |= {clean(entry.name, single_line=True) for entry in entries}
                self._say(event, [self.current.name])
            case events.WhoIsAnswer(name=name):
                self.listed_people.add(clean(name, single_line=True))
                self._say(event, [self.current.name])
            case events.Rooms(rooms=rooms):
                self.listed_rooms |= {clean(room.name, single_line=True) for room in rooms}
                self._say(event, [self.current.name])
            case events.Names(room=room, members=members):
                talk = self._talk(room)
                talk.members = {clean(member.name, single_line=True): member for member in members}
                talk.members_version += 1
            case events.PresenceChanged(user=user, online=online):
                self.online[user] = online
                if online and event.away is not None:
                    self.away_people.add(user)
                else:
                    self.away_people.discard(user)
                for talk in self.by_name.values():
                    talk.members_version += user in talk.members
                self._say(event, [user] if user in self.by_name else [])
            case events.Joined(room=room):
                self._say(event, [room])
            case events.Invited(room=room):
                self.listed_rooms.add(clean(room, single_line=True))  # for Tab behind /join
                self._say(event, [self.current.name])
            case events.Kicked(room=room, user=user):
                self._lose_member(room, user)
                self._say(event, [room])
            case (
                events.RoleChanged(room=room)
                | events.ModeChanged(room=room)
                | events.HandMoved(room=room)
                | events.Hands(room=room)
            ):
                self._say(event, [room])
            case events.Parted(room=room, user=user):
                if user == self.user:
                    self._close(room)
                else:
                    self._lose_member(room, user)
                    self._say(event, [room])
            case events.Ready(peers=peers):
                self.peers, self.connection = peers, "online"
                self._say(event, [""])
            case events.PeerStatus(peers=peers, away=away):
                self.peers = peers
                self.away = clean(away, single_line=True) if away is not None else ""
                if self.status_asked:  # else it was only to keep this number current
                    self.status_asked -= 1
                    self._say(event, [self.current.name])
            case events.Disconnected():
                self.connection = "reconnecting"
                self._say(event, [self.current.name])
            case events.Reconnected():
                self.connection = "online"
                self._say(event, [self.current.name])
            case _:
                self._say(event, [self.current.name])

    def heading(self) -> str:
        """What the first row says of the current talk."""
        talk = self.current
        if not talk.name or talk.is_room:
            return f"{talk.name or 'dhtchat'}{f' — {talk.topic}' if talk.topic else ''}"
        known = self.online.get(talk.name)
        if known is None:
            return talk.name
        return f"{talk.name} — {'away' if talk.name in self.away_people else 'online' if known else 'offline'}"

    def people(self) -> list[str]:
        """Whose names are worth completing, who spoke here last first; not oneself."""
        talked_with = (name for name, talk in self.by_name.items() if name and not talk.is_room)
        others = {*self.current.members, *self.online, *talked_with, *self.listed_people} - {self.user}
        return list(dict.fromkeys([*self.current.speakers(), *sorted(others)]))

    def rooms(self) -> list[str]:
        """The same of rooms: those one is in first."""
        joined = sorted(name for name, talk in self.by_name.items() if talk.is_room)
        return list(dict.fromkeys([*joined, *sorted(self.listed_rooms)]))

    def _talk(self, name: str) -> Talk:
        name = clean(name, single_line=True) if name else ""
        return self.by_name.setdefault(name, Talk(name))

    def _lose_member(self, room: str, user: str) -> None:
        talk = self._talk(room)
        talk.members.pop(clean(user, single_line=True), None)
        talk.members_version += 1

    def _close(self, room: str) -> None:
        closed = self.by_name.pop(clean(room, single_line=True), None)
        if closed is self.current:
            self.current = self.by_name[""]

    def _say(self, event: events.Event, names: list[str]) -> None:
        is_error = isinstance(event, events.ErrorShown | events.Warned)
        for name in names:
            for text, hang in notice_lines(event, self.user, self._timezone):
                self._talk(name).place(Line(text, is_error=is_error, hang=hang))

    def _history(self, talk: Talk, messages: list[events.MessageArrived]) -> None:
        lines: dict[str, Line] = {}
        for message in messages:
            if message.id not in talk.by_id and message.id not in lines:
                lines[message.id] = self._line(talk, message, lines)
        talk.merge(list(lines.values()))

    def _line(self, talk: Talk, event: events.MessageArrived, others: Mapping[str, Line] | None = None) -> Line:
        """`others`: lines that are about to stand in the talk as well."""
        reply_to = event.reply_to or ""
        quoted = talk.by_id.get(reply_to) or (others or {}).get(reply_to)
        return Line(
            clean(event.text),
            id=event.id,
            sender=clean(event.sender, single_line=True),
            sent_at=self._local_time(event.sent_at),
            own=event.own,
            action=event.action,
            mentioned=event.mentioned and not event.own,
            edited=event.edited,
            quote=beginning(quoted.text if quoted else "an earlier line", QUOTE_CHARACTERS) if reply_to else "",
            reactions={
                clean(reaction.emoji, single_line=True): list(reaction.users) for reaction in event.reactions or ()
            },
            state="read" if event.own and event.read else "",
        )

    def _message(self, event: events.MessageArrived) -> None:
        talk = self._talk(event.room or (event.recipient if event.own else event.sender) or "")
        line = talk.by_id.get(event.edits or event.deletes or event.reacts_to or "")
        if event.edits or event.deletes or event.reacts_to:
            if line is not None:
                self._operate(event, line)
                talk.touch(line)
            return
        if event.id in talk.by_id:
            return
        talk.place(self._line(talk, event))
        if not event.own:
            talk.unread.append(event.id)
            is_seen = talk is self.current and self.is_watched
            if talk is self.current and not is_seen and not talk.marker:
                talk.marker = event.id
            if not is_seen and not event.muted:
                heat = Heat.HIGHLIGHT if event.mentioned else Heat.PRIVATE if not talk.is_room else Heat.MESSAGE
                talk.heat = max(talk.heat, heat)

    def _local_time(self, sent_at: str) -> datetime | None:
        try:
            return datetime.fromisoformat(sent_at).astimezone(self._timezone)
        except (ValueError, OverflowError, OSError):  # no time, or one that no calendar here reaches
            return None

    def _operate(self, event: events.MessageArrived, line: Line) -> None:
        if event.edits:
            line.text, line.edited = clean(event.text), True
        elif event.deletes:
            line.text, line.deleted, line.reactions = "(deleted)", True, {}
        else:
            users = line.reactions.setdefault(clean(event.text, single_line=True), [])
            if event.removed and event.sender in users:
                users.remove(event.sender)
            elif not event.removed and event.sender not in users:
                bisect.insort(users, event.sender)
