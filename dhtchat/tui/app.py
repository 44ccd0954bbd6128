"""The full screen: keys become intents, events become pictures. Decides nothing."""

import contextlib
import os
from collections.abc import Sequence
from datetime import tzinfo
from typing import ClassVar, Final

from textual import work
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.driver import Driver
from textual.events import Resize
from textual.filter import LineFilter
from textual.theme import Theme
from textual.widgets import Static

from dhtchat.app.faces import Screen
from dhtchat.chat import events, intents
from dhtchat.chat.commands import parse_line
from dhtchat.chat.markup import clean
from dhtchat.errors import DhtChatError, TooLong
from dhtchat.limits import SCREEN_STATUS_POLL_S
from dhtchat.tui.completion import Completion, complete, with_emoji
from dhtchat.tui.driver import Titled, careful
from dhtchat.tui.monochrome import WithoutColours
from dhtchat.tui.status import status_line
from dhtchat.tui.talks import Talk, Talks
from dhtchat.tui.themes import DARK, LIGHT, Palette
from dhtchat.tui.widgets.composer import Composer
from dhtchat.tui.widgets.member_list import MemberList
from dhtchat.tui.widgets.paste_question import PasteQuestion
from dhtchat.tui.widgets.talk_list import TalkList
from dhtchat.tui.widgets.talk_view import TalkView

_FIRST_LINES: Final = 200
"""How much of its history a talk shows when it is opened for the first time."""
_WIDE_CELLS: Final = 70
_MEMBERS_CELLS: Final = 100
"""From these widths on the list of talks, then that of members has a place."""


def _theme(name: str, palette: Palette, *, dark: bool) -> Theme:
    return Theme(
        name=name,
        primary=palette.accent,
        foreground=palette.text,
        background=palette.background,
        surface=palette.background,
        panel=palette.panel,
        warning=palette.warning,
        error=palette.error,
        dark=dark,
    )


class ChatApp(App[None]):
    """One session of `user` at one terminal. Ends with `/quit`, Ctrl+Q, or the events of the peer."""

    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", priority=True),
        Binding("f2", "other_theme", priority=True),
        Binding("ctrl+l", "redraw", priority=True),
        Binding("pageup", "scroll(-1)", priority=True),
        Binding("pagedown", "scroll(1)", priority=True),
        Binding("alt+left", "step(-1)", priority=True),
        Binding("alt+right", "step(1)", priority=True),
        Binding("alt+a", "next_active", priority=True),
        *(Binding(f"alt+{number}", f"window({number})", priority=True) for number in range(1, 10)),
    ]

    def __init__(self, peer: Screen, user: str, *, light: bool = False, timezone: tzinfo | None = None) -> None:
        super().__init__()
        self._peer = peer
        self._talks = Talks(user, timezone=timezone)
        self._palette = LIGHT if light else DARK
        self._asked: set[str] = set()
        """Talks whose history has been asked for."""
        self._is_stale = False
        """Whether something was told that is not shown yet."""
        self._topic, self._status = Static(id="topic", markup=False), Static(id="status", markup=False)
        self._list, self._view, self._members = TalkList(), TalkView(), MemberList()
        self._composer = Composer(self._complete)

    def get_driver_class(self) -> type[Driver]:
        return careful(super().get_driver_class())

    def get_line_filters(self) -> Sequence[LineFilter]:
        """`NO_COLOR` makes Textual send shades of grey; after this nothing of them is left."""
        filters = super().get_line_filters()
        return [*filters, WithoutColours()] if self.no_color else filters

    def compose(self) -> ComposeResult:
        yield self._topic
        with Horizontal(id="middle"):
            yield self._list
            with Vertical():
                yield self._view
            yield self._members
        yield self._status
        yield self._composer

    def on_mount(self) -> None:
        self.register_theme(_theme("dhtchat-dark", DARK, dark=True))
        self.register_theme(_theme("dhtchat-light", LIGHT, dark=False))
        self._wear(self._palette)
        self._composer.focus()
        self._follow()
        self.set_interval(SCREEN_STATUS_POLL_S, self._keep_current)

    @work
    async def _follow(self) -> None:
        """Take what the peer tells until it tells no more."""
        async for event in self._peer.events():
            await self._take(event)
        self.exit()

    @work
    async def _ask(self, intent: intents.Intent) -> None:
        """Apart from the events: an answer may have to come from the network, and what is told meanwhile is shown."""
        await self._peer.perform(intent)

    async def _take(self, event: events.Event) -> None:
        before = self._talks.current
        self._talks.take(event)
        current = self._talks.current
        match event:
            case events.MessageArrived(mentioned=mentioned, own=False, muted=False) if mentioned or not event.room:
                self.bell()
            case events.Joined(room=room):
                self._ask(intents.ListNames(room))
        if current is not before and current.name and current.name not in self._asked:
            self._asked.add(current.name)
            self._ask(intents.ShowHistory(_FIRST_LINES, current.name))
        self._show_soon()

    async def _show(self) -> None:
        self._is_stale = False
        talks, current = self._talks, self._talks.current
        self._view.show(current)
        talks.is_watched = self.app_focus and self._view.follows
        if read := talks.take_read():
            self._ask(intents.MarkRead(read))
        self._list.show(talks, self._palette)
        self._members.show(talks, self._palette)
        topic = f" — {current.topic}" if current.topic else ""
        self._topic.update(clean(f" {current.name or 'dhtchat'}{topic}", single_line=True))
        if isinstance(self._driver, Titled):
            waiting = sum(len(talk.unread) for talk in talks.by_name.values())
            count = f" ({waiting})" if waiting else ""
            self._driver.show_title(f"{current.name or talks.user} - dhtchat{count}")
        self._status.update(status_line(talks, self.size.width))

    def _show_soon(self) -> None:
        """Once for all that happens until then."""
        if not self._is_stale:
            self._is_stale = True
            self.call_later(self._show)

    def watch_app_focus(self) -> None:
        """Nobody reads what comes while the terminal is not in front."""
        self._watch()

    def on_talk_view_scrolled(self) -> None:
        self._watch()

    def _watch(self) -> None:
        self._talks.is_watched = self.app_focus and self._view.follows
        self._show_soon()

    async def _keep_current(self) -> None:
        await self._peer.perform(intents.ShowStatus())

    def on_resize(self, event: Resize) -> None:
        self._list.display = event.size.width >= _WIDE_CELLS
        self._members.display = event.size.width >= _MEMBERS_CELLS
        self._topic.display = self._status.display = event.size.height >= 5
        self._show_soon()

    # --- what the user does -------------------------------------------------------------------------------------------

    async def on_composer_submitted(self, message: Composer.Submitted) -> None:
        await self._perform_line(message.text)

    @work
    async def on_composer_pasted_much(self, message: Composer.PastedMuch) -> None:
        if await self.push_screen_wait(PasteQuestion(message.text.count("\n") + 1)):
            self._composer.insert(message.text)

    async def on_talk_list_chosen(self, message: TalkList.Chosen) -> None:
        await self._go_to(self._talks.by_name.get(message.name))

    async def action_help(self) -> None:
        await self._peer.perform(intents.ShowHelp())

    async def action_redraw(self) -> None:
        self.refresh(layout=True)

    async def action_other_theme(self) -> None:
        self._wear(LIGHT if self._palette is DARK else DARK)
        await self._show()

    def action_scroll(self, pages: int) -> None:
        view = self._view
        view.scroll_relative(y=pages * max(view.size.height - 1, 1), animate=False)

    async def action_step(self, by: int) -> None:
        ordered = self._talks.ordered
        await self._go_to(ordered[(ordered.index(self._talks.current) + by) % len(ordered)])

    async def action_window(self, number: int) -> None:
        ordered = self._talks.ordered
        await self._go_to(ordered[number - 1] if number <= len(ordered) else None)

    async def action_next_active(self) -> None:
        await self._go_to(self._talks.hottest())

    async def _go_to(self, talk: Talk | None) -> None:
        if talk is None or talk is self._talks.current:
            return
        if talk.name:
            await self._peer.perform(intents.SwitchTo(talk.name))  # what follows is a `target` event
        else:
            self._talks.open("")
            await self._show()

    async def _perform_line(self, line: str) -> None:
        try:
            intent = parse_line(line)
            intent = with_emoji(intent) if intent is not None else None
        except DhtChatError as error:
            if isinstance(error, TooLong):
                self._composer.give_back(line)
            await self._take(events.ErrorShown(code=error.code, message=str(error), hint=error.hint))
            return
        if isinstance(intent, intents.Quit):
            self.exit()
        elif isinstance(intent, intents.SayTo) and intent.target is None and not self._talks.current.name:
            await self._take(events.Notice(message="you talk to nobody here: /join #room or /query NAME"))
        elif intent is not None:
            self._talks.status_asked += isinstance(intent, intents.ShowStatus)
            await self._peer.perform(intent)
            self._view.follow()

    def _complete(self, before: str) -> Completion:
        return complete(before, people=self._talks.people(), rooms=self._talks.rooms())

    def _wear(self, palette: Palette) -> None:
        self._palette = self._view.palette = palette
        self.theme = "dhtchat-light" if palette is LIGHT else "dhtchat-dark"


async def run(peer: Screen, user: str, *, light: bool = False) -> None:
    """Show the screen until the user leaves it or the peer ends."""
    if os.environ.get("NO_COLOR") == "":
        del os.environ["NO_COLOR"]  # set to nothing means nothing (no-color.org); Textual asks only whether it is set
    assert isinstance(ANSI_SEQUENCES_KEYS, dict)
    for number in range(1, 10):
        # Textual takes Alt with a digit for the sign that a Mac types with it, so that Alt+3 and a typed pound are one.
        ANSI_SEQUENCES_KEYS.pop(f"\x1b{number}", None)
    with contextlib.suppress(EOFError):
        await ChatApp(peer, user, light=light).run_async()
