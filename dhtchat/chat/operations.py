"""What became of the lines of one conversation: which text holds, which are deleted, who reacted how. No I/O, no clock.

Invariants kept here:
- the same statements give the same lines, whatever the order in which they were taken: of edits and reactions the one with
  the largest (revision, id) counts, a deletion always does;
- what was done to a line that is not here yet waits for it; of whom it was is judged when the line is here.
"""

from enum import Enum
from typing import NamedTuple

from dhtchat.ids import MessageId, PeerId
from dhtchat.limits import OPERATIONS_WAITING_MAX, REACTIONS_PER_PERSON_MAX
from dhtchat.records.message import Content, Delete, Edit, React, Say


class Outcome(Enum):
    """What became of a statement that was taken."""

    NEWS = "news"
    """There is something to show."""
    WAITING = "waiting"
    """Its line is not here yet."""
    NOTHING = "nothing"
    """It changes nothing: it was overtaken, or its line is deleted."""
    REFUSED = "refused"
    """The line is somebody else's."""


class View(NamedTuple):
    """A line as it is now. `edit`: the statement whose text holds, or None for its own."""

    author: PeerId
    edit: MessageId | None
    deleted: bool
    reactions: dict[str, list[PeerId]]
    """Per emoji who reacted so, all in a fixed order."""


class _Line:
    __slots__ = ("author", "deleted_by", "edits", "reactions", "texts")

    def __init__(self) -> None:
        self.author: PeerId | None = None
        """None while it is not here."""
        self.edits: dict[PeerId, tuple[int, MessageId]] = {}
        """The one that counts of each person; once the author is known of nobody else."""
        self.texts: dict[PeerId, str] = {}
        """Of those, until the line is here: then whoever shows it can look them up."""
        self.deleted_by: set[PeerId] = set()
        self.reactions: dict[tuple[str, PeerId], tuple[int, MessageId, bool]] = {}

    @property
    def deleted(self) -> bool:
        return self.author in self.deleted_by


class Operations:
    """The lines of one conversation and what was done to them, without their texts."""

    def __init__(self) -> None:
        self._lines: dict[MessageId, _Line] = {}
        self._waiting: dict[MessageId, None] = {}
        """Lines that are not here, the oldest first."""

    def take(self, statement_id: MessageId, author: PeerId, content: Content) -> Outcome:
        """A statement of this conversation, verified, at most once each."""
        match content:
            case Say():
                return self._say(statement_id, author)
            case Edit(target=target):
                return self._edit(self._line(MessageId(target)), statement_id, author, content)
            case Delete(places=places):
                return self._delete(self._line(MessageId(places[0].id)), author)
            case React(target=target):
                return self._react(self._line(MessageId(target)), statement_id, author, content)
        return Outcome.NOTHING

    def restore_line(self, line_id: MessageId, author: PeerId) -> None:
        """A line that is on disk, be it deleted."""
        self._say(line_id, author)

    def view(self, line_id: MessageId) -> View | None:
        """None for what is no line, or not here."""
        line = self._lines.get(line_id)
        if line is None or line.author is None:
            return None
        edit = line.edits.get(line.author)
        if line.deleted:
            return View(line.author, None, True, {})
        return View(line.author, edit[1] if edit else None, False, _shown(line))

    def waiting_text(self, line_id: MessageId, author: PeerId) -> str | None:
        """The text that an edit gave a line of `author`'s that is not here yet."""
        line = self._lines.get(line_id)
        return line.texts.get(author) if line else None

    def author_of(self, line_id: MessageId) -> PeerId | None:
        line = self._lines.get(line_id)
        return line.author if line else None

    def next_revision(self, line_id: MessageId, author: PeerId) -> int:
        """For an edit or a reaction by `author`."""
        line = self._lines.get(line_id)
        if line is None:
            return 1
        edits = [line.edits[author][0]] if author in line.edits else []
        return 1 + max([0, *edits, *(held[0] for (_, peer), held in line.reactions.items() if peer == author)])

    def has_reacted(self, line_id: MessageId, author: PeerId, emoji: str) -> bool:
        line = self._lines.get(line_id)
        return line is not None and line.reactions.get((emoji, author), (0, b"", False))[2]

    def take_back(self, statement_id: MessageId, author: PeerId, content: Content) -> None:
        """What was taken does not count any more, by what was ruled about its room. An edit before it counts again only when
        all are taken anew."""
        match content:
            case Say():
                self.forget(statement_id)
            case Edit(target=target):
                line = self._lines.get(MessageId(target))
                if line is not None and line.edits.get(author, (0, b""))[1] == statement_id:
                    del line.edits[author]
            case React(target=target, emoji=emoji):
                line = self._lines.get(MessageId(target))
                if line is not None and line.reactions.get((emoji, author), (0, b"", False))[1] == statement_id:
                    del line.reactions[emoji, author]

    def forget(self, line_id: MessageId) -> None:
        """It is no longer kept here."""
        self._lines.pop(line_id, None)
        self._waiting.pop(line_id, None)

    @property
    def waiting(self) -> int:
        """Lines of which only what was done to them is here."""
        return len(self._waiting)

    # --- inside ---

    def _line(self, line_id: MessageId) -> _Line:
        line = self._lines.get(line_id)
        if line is None:
            line = self._lines[line_id] = _Line()
            self._waiting[line_id] = None
            if len(self._waiting) > OPERATIONS_WAITING_MAX:
                self.forget(next(iter(self._waiting)))
        return line

    def _say(self, line_id: MessageId, author: PeerId) -> Outcome:
        line = self._line(line_id)
        if line.author is not None:
            return Outcome.NOTHING
        line.author = author
        line.edits = {peer: edit for peer, edit in line.edits.items() if peer == author}
        line.texts = {}
        line.deleted_by &= {author}
        self._waiting.pop(line_id, None)
        return Outcome.NOTHING if line.deleted else Outcome.NEWS

    def _edit(self, line: _Line, statement_id: MessageId, author: PeerId, content: Edit) -> Outcome:
        if line.author not in (None, author):
            return Outcome.REFUSED
        if line.deleted or (content.revision, statement_id) <= line.edits.get(author, (0, b"")):
            return Outcome.NOTHING
        line.edits[author] = (content.revision, statement_id)
        if line.author is None:
            line.texts[author] = content.text
            return Outcome.WAITING
        return Outcome.NEWS

    def _delete(self, line: _Line, author: PeerId) -> Outcome:
        if line.author not in (None, author):
            return Outcome.REFUSED
        if line.deleted:
            return Outcome.NOTHING
        line.deleted_by.add(author)
        line.texts.pop(author, None)
        return Outcome.WAITING if line.author is None else Outcome.NEWS

    def _react(self, line: _Line, statement_id: MessageId, author: PeerId, content: React) -> Outcome:
        held = line.reactions.get((content.emoji, author), (0, MessageId(b""), False))
        if (content.revision, statement_id) <= held[:2]:
            return Outcome.NOTHING
        line.reactions[content.emoji, author] = (content.revision, statement_id, content.on)
        if line.author is None:
            return Outcome.WAITING
        return Outcome.NOTHING if line.deleted or held[2] is content.on else Outcome.NEWS


def _shown(line: _Line) -> dict[str, list[PeerId]]:
    """At most some of each person: the first of what they said, in alphabetical order, so that all show the same."""
    found: dict[str, list[PeerId]] = {}
    counts: dict[PeerId, int] = {}
    for (emoji, peer), (_, _, on) in sorted(line.reactions.items()):
        if on and counts.setdefault(peer, 0) < REACTIONS_PER_PERSON_MAX:
            counts[peer] += 1
            found.setdefault(emoji, []).append(peer)
    return found
