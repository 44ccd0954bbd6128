"""The full screen: keys become intents, events become pictures. Decides nothing."""

import contextlib
import gc
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import ClassVar, Final

from rich.console import Console
from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.command import Provider
from textual.containers import Horizontal, Vertical
from textual.driver import Driver
from textual.events import Resize
from textual.filter import LineFilter
from textual.geometry import Size
from textual.theme import Theme

from dhtchat.app.faces import Screen
from dhtchat.app.preferences import Preferences
from dhtchat.chat import events, intents
from dhtchat.chat.commands import help_lines, parse_line
from dhtchat.chat.markup import clean
from dhtchat.errors import DhtChatError, TooLong
from dhtchat.limits import HISTORY_LINES_MAX, RESIZE_CHECK_S, SCREEN_STATUS_POLL_S
from dhtchat.tui.alt_keys import tell_alt_keys
from dhtchat.tui.completion import Completion, complete, with_emoji
from dhtchat.tui.desktop import Desktop
from dhtchat.tui.driver import Window, careful
from dhtchat.tui.keys import bindings, help_rows
from dhtchat.tui.monochrome import WithoutColours
from dhtchat.tui.notifier import Notifier
from dhtchat.tui.palette import Everything
from dhtchat.tui.pasting import use_careful_parser
from dhtchat.tui.status import status_line
from dhtchat.tui.talks import Talk, Talks
from dhtchat.tui.themes import DARK, Palette, choose, other_of
from dhtchat.tui.widgets.composer import Composer
from dhtchat.tui.widgets.finder import Finder
from dhtchat.tui.widgets.help_screen import HelpScreen
from dhtchat.tui.widgets.link_chooser import LinkChooser
from dhtchat.tui.widgets.member_list import MemberList
from dhtchat.tui.widgets.paste_question import PasteQuestion
from dhtchat.tui.widgets.still import Still
from dhtchat.tui.widgets.talk_list import TalkList
from dhtchat.tui.widgets.talk_view import TalkView

_THEMES: Final = ("dhtchat", "dhtchat-other")
_FIRST_LINES: Final = 200
"""How much of its history a talk shows when it is opened for the first time."""
_MORE_LINES: Final = (2_000, HISTORY_LINES_MAX)
"""How much of it is asked for when one scrolls to its top, the first and the second time."""
_ID_CHARACTERS: Final = 12
"""So much of a line's id tells it from all others that somebody can have in front of them."""
_LINES_UNSPARED_MAX: Final = 2_000
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
        variables={"faint": palette.faint},
    )


class ChatApp(App[None]):
    """One session of `user` at one terminal. Ends with `/quit`, Ctrl+Q, or the events of the peer."""

    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[type[Provider]]] = {Everything}  # type: ignore[assignment]
    COMMAND_PALETTE_BINDING = ""  # it is among ours
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("screen")]
    owns_process = False
    """Whether the process is there for this screen, and may be tuned for it."""

    def __init__(
        self,
        peer: Screen,
        user: str,
        *,
        preferences: Preferences | None = None,
        palette: Palette = DARK,
        is_dark: bool = True,
        timezone: tzinfo | None = None,
    ) -> None:
        """`timezone` None: the one of this machine."""
        super().__init__()
        preferences = preferences or Preferences()
        self._peer = peer
        self._preferences = preferences
        self._timezone = timezone
        self._notifier = Notifier(preferences.notifications)
        self._desktop = Desktop()
        self.changed_keys = preferences.keys
        self.set_keymap(preferences.keys)
        self.talks = Talks(user, timezone=timezone)
        self._palette = palette
        self._themes = (palette, is_dark), (other_of(palette, is_dark=is_dark), not is_dark)
        """The one that was chosen, and what F2 changes it to."""
        self._has_mouse = preferences.screen.mouse
        self._asked: dict[str, int] = {}
        """Of talks whose history has been asked for, how much of it."""
        self._find_words = ""
        self._found = 0, 0
        self._is_stale = False
        """Whether something was told that is not shown yet."""
        self._lines_spared = -_LINES_UNSPARED_MAX
        self._topic, self._status = Still(id="topic"), Still(id="status")
        self._list, self.view, self._members = TalkList(), TalkView(), MemberList()
        self._finder = Finder()
        self._composer = Composer(self._complete)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Of Textual's own themes, which are there before ours."""
        return {"faint": DARK.faint}

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
                yield self.view
            yield self._members
        yield self._status
        yield self._finder
        yield self._composer

    def on_mount(self) -> None:
        for name, (palette, is_dark) in zip(_THEMES, self._themes, strict=True):
            self.register_theme(_theme(name, palette, dark=is_dark))
        self._wear(0)
        self._composer.focus()
        self._follow()
        self.call_later(self._spare_collector)
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
        before = self.talks.current
        self.talks.take(event)
        current = self.talks.current
        match event:
            case events.MessageArrived():
                self._notice(event)
            case (
                events.Joined(room=room)
                | events.RoleChanged(room=room)
                | events.ModeChanged(room=room)
                | events.HandMoved(room=room)
                | events.Hands(room=room, by=str())
            ):
                self._ask(intents.ListNames(room))
            case events.History():
                self.call_later(self._spare_collector)
        if current is not before and current.name and current.name not in self._asked:
            self._ask_history(_FIRST_LINES)
        self._show_soon()

    def _notice(self, event: events.MessageArrived) -> None:
        talk = self.talks.by_name.get(event.room or event.sender)
        is_seen = talk is self.talks.current and self.talks.is_watched
        now = datetime.now(self._timezone) if self._timezone else datetime.now().astimezone()
        call = self._notifier.on_message(event, is_seen=is_seen, in_front=self.app_focus, now=now)
        if call is not None and call.bell:
            self.bell()
        if call is not None and call.title:
            self._tell_desktop(call.title, call.text)

    @work(exit_on_error=False)
    async def _tell_desktop(self, title: str, text: str) -> None:
        await self._desktop.show(title, text)

    def _ask_history(self, lines: int) -> None:
        name = self.talks.current.name
        if name and lines > self._asked.get(name, 0):
            self._asked[name] = lines
            self._ask(intents.ShowHistory(lines, name))

    async def _show(self) -> None:
        self._is_stale = False
        talks, current = self.talks, self.talks.current
        self.view.show(current)
        talks.is_watched = self.app_focus and self.view.follows
        if read := talks.take_read():
            self._ask(intents.MarkRead(read))
        self._list.show(talks, self._palette)
        self._members.show(talks, self._palette)
        self._topic.put(clean(f" {talks.heading()}", single_line=True))
        waiting = sum(len(talk.unread) for talk in talks.by_name.values())
        if isinstance(self._driver, Window) and self._preferences.screen.title:
            self._driver.show_title(f"{current.name or talks.user} - dhtchat{f' ({waiting})' if waiting else ''}")
        self._show_status()

    def _show_status(self) -> None:
        status = status_line(self.talks, self.size.width)
        if self._finder.display:
            at, of = self._found
            status = f" {at} of {of}" if of else " nothing found" if self._find_words else " find"
        self._status.put(status)

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
        self.talks.is_watched = self.app_focus and self.view.follows
        self._show_soon()

    async def _keep_current(self) -> None:
        self._spare_collector()
        await self._peer.perform(intents.ShowStatus())

    def _spare_collector(self) -> None:
        """What is here to stay is not looked at again and again: walking through the program and ten thousand lines takes the
        garbage collector a tenth of a second, while somebody types."""
        lines = sum(len(talk.lines) for talk in self.talks.by_name.values())
        if self.owns_process and lines >= self._lines_spared + _LINES_UNSPARED_MAX:
            self._lines_spared = lines
            gc.collect()
            gc.freeze()

    def on_resize(self, event: Resize) -> None:
        self._list.display = event.size.width >= _WIDE_CELLS
        self._members.display = event.size.width >= _MEMBERS_CELLS
        self._topic.display = self._status.display = event.size.height >= 5
        self._show_soon()
        self.set_timer(RESIZE_CHECK_S, self._follow_terminal)

    def _follow_terminal(self) -> None:
        """Textual reads the size in the handler of the signal. Of signals that come one within another, as when an edge is
        pulled quickly, the handler of the first posts last, and what it has read is old: the screen would stay like that."""
        if self.is_headless:
            return
        size = Size(*shutil.get_terminal_size())
        if size != self.size:
            self.post_message(Resize(size, size))

    # --- what the user does -------------------------------------------------------------------------------------------

    async def on_composer_submitted(self, message: Composer.Submitted) -> None:
        await self._perform_line(message.text)

    @work
    async def on_composer_pasted_much(self, message: Composer.PastedMuch) -> None:
        if await self.push_screen_wait(PasteQuestion(message.text.count("\n") + 1)):
            self._composer.insert(message.text)

    async def on_talk_list_chosen(self, message: TalkList.Chosen) -> None:
        await self.go_to(self.talks.by_name.get(message.name))

    def action_help(self) -> None:
        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
            return
        parts = [("Keys", help_rows(self.changed_keys)), ("Commands", help_lines())]
        self.push_screen(HelpScreen(parts, self._palette))

    async def action_redraw(self) -> None:
        self.refresh(layout=True)

    async def action_other_theme(self) -> None:
        self._wear(1 if self._palette is self._themes[0][0] else 0)
        await self._show()

    def action_mouse(self) -> None:
        self._has_mouse = not self._has_mouse
        if isinstance(self._driver, Window):
            self._driver.give_mouse(self._has_mouse)
        whose = "works in the program" if self._has_mouse else "is the terminal's, to select text"
        self.notify(f"The mouse {whose}.", markup=False)

    def action_scroll(self, pages: int) -> None:
        if isinstance(self.screen, HelpScreen):
            self.screen.page(pages)
            return
        view = self.view
        if pages < 0 and view.scroll_offset.y <= view.size.height:
            self._ask_more_history()
        view.scroll_relative(y=pages * max(view.size.height - 1, 1), animate=False)

    def _ask_more_history(self) -> None:
        asked = self._asked.get(self.talks.current.name, 0)
        self._ask_history(next((lines for lines in _MORE_LINES if lines > asked), asked))

    def action_top(self) -> None:
        self._ask_more_history()
        self.view.scroll_home(animate=False)

    def action_bottom(self) -> None:
        self.view.follow()

    async def action_step(self, by: int) -> None:
        ordered = self.talks.ordered
        await self.go_to(ordered[(ordered.index(self.talks.current) + by) % len(ordered)])

    async def action_window(self, number: int) -> None:
        ordered = self.talks.ordered
        await self.go_to(ordered[number - 1] if number <= len(ordered) else None)

    async def action_next_active(self) -> None:
        await self.go_to(self.talks.hottest())

    async def go_to(self, talk: Talk | None) -> None:
        if talk is None or talk is self.talks.current:
            return
        if self._finder.display:
            self._finder.action_close()
        if talk.name not in ("", self.talks.target):
            await self._peer.perform(intents.SwitchTo(talk.name))  # what follows is a `target` event
        else:  # the peer sees no change
            self.talks.open(talk.name)
            await self._show()

    def begin_line(self, text: str) -> None:
        """Put the beginning of a command where one writes."""
        self._composer.begin(text)

    # --- one line -----------------------------------------------------------------------------------------------------

    def action_choose(self, step: int) -> None:
        self.view.choose(step)

    def action_about(self, command: str) -> None:
        """Begin a command about the chosen line; about the latest when none is chosen."""
        line = self.view.chosen
        about = f"/{command} {line.id[:_ID_CHARACTERS] if line else '-1'} "
        self._composer.begin(about + (line.text if line and command == "edit" and line.own else ""))

    # --- finding, links -----------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        self._ask_history(_MORE_LINES[0])
        self._finder.open()
        self._show_status()

    def on_finder_asked(self, message: Finder.Asked) -> None:
        self._find_words = message.words
        self._found = self.view.find(message.words, message.step)
        self._show_status()

    def on_finder_closed(self) -> None:
        self.view.find("", 0)
        self._find_words = ""
        self._composer.focus()
        self._show_status()

    @work
    async def action_links(self) -> None:
        addresses = self.view.links()
        if not addresses:
            self.notify("There is no link on the screen.", markup=False)
            return
        address = await self.push_screen_wait(LinkChooser(addresses))
        if address is not None:
            self.open_url(address)

    # --- lines --------------------------------------------------------------------------------------------------------

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
        elif isinstance(intent, intents.SayTo) and intent.target is None and not self.talks.current.name:
            await self._take(events.Notice(message="you talk to nobody here: /join #room or /query NAME"))
        elif intent is not None:
            self.talks.status_asked += isinstance(intent, intents.ShowStatus)
            self.talks.history_asked += isinstance(intent, intents.ShowHistory)
            self.view.choose_none()
            await self._peer.perform(intent)
            self.view.follow()

    def _complete(self, before: str) -> Completion:
        return complete(before, people=self.talks.people(), rooms=self.talks.rooms())

    def _wear(self, number: int) -> None:
        self._palette = self.view.palette = self._themes[number][0]
        self.theme = _THEMES[number]


async def run(
    peer: Screen,
    user: str,
    *,
    preferences: Preferences | None = None,
    data_dir: Path = Path(),
    has_links: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Show the screen until the user leaves it or the peer ends. Raises `BadUsage` for what is wrong in the configuration.

    `data_dir`: where a theme file is looked for. `has_links`: whether the terminal knows links (OSC 8)."""
    preferences = preferences or Preferences()
    console = Console(force_terminal=True, legacy_windows=False, _environ=dict(environ))
    has_few = console.color_system == "standard"
    palette, is_dark = choose(preferences.screen.theme, data_dir, environ, has_few_colours=has_few)
    if os.environ.get("NO_COLOR") == "":
        del os.environ["NO_COLOR"]  # set to nothing means nothing (no-color.org); Textual asks only whether it is set
    tell_alt_keys()
    use_careful_parser()
    app = ChatApp(peer, user, preferences=preferences, palette=palette, is_dark=is_dark)
    app.owns_process = True
    app.view.has_links = has_links
    with contextlib.suppress(EOFError):
        await app.run_async(mouse=preferences.screen.mouse)
