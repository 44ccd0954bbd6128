"""Where one writes: several lines, history, completion, the keys of readline. Knows no network."""

from collections.abc import Callable
from typing import ClassVar, Final

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import TextArea

from dhtchat.chat.markup import clean
from dhtchat.limits import SENT_LINES_KEPT_MAX
from dhtchat.tui.completion import Completion
from dhtchat.tui.keys import bindings

PASTE_LINES_MAX: Final = 5
"""More lines than this are pasted only after a question. Our guess."""


class Composer(TextArea):
    """Enter posts `Submitted`, Alt+Enter or Ctrl+J begins a new line."""

    class Submitted(Message):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class PastedMuch(Message):
        """Many lines: somebody has to say whether they are meant."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("composer")]

    def __init__(self, complete: Callable[[str], Completion]) -> None:
        """`complete` tells what the word at the end of a text may become."""
        super().__init__(
            id="composer",
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            placeholder="write here; F1: help",
        )
        self.cursor_blink = False  # twice a second of drawing, for nothing
        self._complete = complete
        self._sent: list[str] = []
        self._recalled = 0
        """How far back in `_sent` we are; 0: not there."""
        self._draft = ""
        self._killed = ""
        self._offers: list[str] = []
        self._offered: tuple[tuple[int, int], str] = (0, 0), ""
        """Where the offer that stands there begins, and what it is."""

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "tab":
            self._offer(1)
        elif event.key == "shift+tab":
            self._offer(-1)
        else:
            self._offers = []
            if event.key == "enter":
                self._submit()
            elif event.key == "up" and self.cursor_location[0] == 0 and self._sent:
                self._recall(1)
            elif event.key == "down" and self.cursor_at_last_line and self._recalled:
                self._recall(-1)
            else:
                await super()._on_key(event)
                return
        event.stop()
        event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        pasted = event.text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        text = clean(pasted) if pasted else ""
        if text.count("\n") >= PASTE_LINES_MAX:
            self.post_message(self.PastedMuch(text))
        else:
            self.insert(text)

    def begin(self, text: str) -> None:
        """What somebody else chose to write here."""
        self._put(text)
        self.focus()

    def give_back(self, text: str) -> None:
        """What could not be said stands here again, unless something else does by now."""
        if not self.text:
            self._put(text)

    def action_insert_newline(self) -> None:
        self.insert("\n")

    def action_search_sent(self) -> None:
        """The latest line one typed that has the words that stand here; again: the one before it."""
        if not self._recalled:
            self._draft = self.text
        for back in range(self._recalled + 1, len(self._sent) + 1):
            if self._draft in self._sent[-back]:
                self._recalled = back
                self._put(self._sent[-back])
                return

    def action_kill(self, forward: bool) -> None:
        """To that end of the line; from there, to that end of all that stands here: else many pasted lines could not be
        thrown away."""
        here = row, _ = self.cursor_location
        if forward:
            end = row, len(self.document.get_line(row))
            self._kill(here, end if here != end else self.document.end)
        else:
            start = row, 0
            self._kill(start if here != start else (0, 0), here)

    def action_kill_word(self) -> None:
        end = self.cursor_location
        self._kill(self.get_cursor_word_left_location(), end)

    def action_kill_next_word(self) -> None:
        start = self.cursor_location
        self._kill(start, self.get_cursor_word_right_location())

    def action_yank(self) -> None:
        self.insert(self._killed)

    def _kill(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        self._killed = self.get_text_range(start, end) or self._killed
        self.delete(start, end)

    def _submit(self) -> None:
        text = self.text
        self._put("")
        self._recalled = 0
        if text.strip():
            self._sent = [*self._sent[-SENT_LINES_KEPT_MAX + 1 :], text]
            self.post_message(self.Submitted(text))

    def _recall(self, back: int) -> None:
        if not self._recalled:
            self._draft = self.text
        self._recalled = max(0, min(self._recalled + back, len(self._sent)))
        self._put(self._sent[-self._recalled] if self._recalled else self._draft)

    def _offer(self, step: int) -> None:
        """Complete the word at the cursor; again: the next candidate, or the one before."""
        row, column = self.cursor_location
        if self._offers:
            self._offers = self._offers[step:] + self._offers[:step]
        else:
            # Whole text: only its first word is a command.
            before = self.get_text_range((0, 0), (row, column))
            completion = self._complete(before)
            self._offers = completion.offers
            self._offered = (row, column - (len(before) - completion.start)), before[completion.start :]
        if self._offers:
            (row, column), standing = self._offered
            offer = self._offers[0]
            if self.document.get_line(row)[column + len(standing) :].startswith(" "):
                offer = offer.rstrip()  # the blank behind it is there
            self.replace(offer, (row, column), (row, column + len(standing)), maintain_selection_offset=False)
            self.move_cursor((row, column + len(offer)))
            self._offered = (row, column), offer

    def _put(self, text: str) -> None:
        self.text = text
        self.move_cursor(self.document.end)
