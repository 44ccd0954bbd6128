"""What each key does: the one table behind the bindings, the help on the screen and the guide. No I/O."""

import difflib
from typing import Final, Literal, NamedTuple

from textual.binding import Binding

from dhtchat.errors import BadUsage

TALKS_WITH_KEYS: Final = 9


class Action(NamedTuple):
    """`name` is what the configuration calls it. `keys`: as Textual names them, with commas between."""

    name: str
    keys: str
    does: str
    action: str
    where: Literal["screen", "composer"] = "screen"


ACTIONS: Final = (
    Action("help", "f1", "this help", "help"),
    Action("palette", "ctrl+p", "everything one can do, found by its name", "command_palette"),
    *(
        Action(f"talk-{number}", f"alt+{number}", f"go to talk {number}", f"window({number})")
        for number in range(1, TALKS_WITH_KEYS + 1)
    ),
    Action("previous-talk", "alt+left", "go to the talk above", "step(-1)"),
    Action("next-talk", "alt+right", "go to the talk below", "step(1)"),
    Action("next-active", "alt+a", "go where you are wanted most", "next_active"),
    Action("page-up", "pageup", "scroll back", "scroll(-1)"),
    Action("page-down", "pagedown", "scroll on", "scroll(1)"),
    Action("top", "ctrl+home", "scroll to the first line", "top"),
    Action("bottom", "ctrl+end", "scroll to the last line", "bottom"),
    Action("find", "ctrl+f", "find words in this talk", "find"),
    Action("links", "alt+o", "show where the links on the screen lead, and open one", "links"),
    Action("line-up", "alt+up", "choose a line to answer, the one above", "choose(-1)"),
    Action("line-down", "alt+down", "the one below", "choose(1)"),
    Action("reply", "alt+r", "answer the chosen line, or the latest", "about('reply')"),
    Action("react", "alt+t", "react to it", "about('react')"),
    Action("edit", "alt+e", "give the chosen line of yours another text, or the latest", "about('edit')"),
    Action("redraw", "ctrl+l", "draw the screen again", "redraw"),
    Action("theme", "f2", "light or dark", "other_theme"),
    Action("mouse", "f3", "leave the mouse to the terminal, to select text with it, or take it back", "mouse"),
    Action("quit", "ctrl+q", "leave, as /quit does", "quit"),
    Action("new-line", "alt+enter,ctrl+j", "begin a new line", "insert_newline", "composer"),
    Action("search-sent", "ctrl+r", "what you typed before with the words that stand there", "search_sent", "composer"),
    Action("word-back", "alt+b", "a word back", "cursor_word_left", "composer"),
    Action("word-on", "alt+f", "a word on", "cursor_word_right", "composer"),
    Action("cut-to-end", "ctrl+k", "cut to the end of the line; from there, all lines below", "kill(True)", "composer"),
    Action(
        "cut-to-start", "ctrl+u", "cut to the start of the line; from there, all lines above", "kill(False)", "composer"
    ),
    Action("cut-word", "ctrl+w,alt+backspace", "cut the word before", "kill_word", "composer"),
    Action("cut-next-word", "alt+d", "cut the word behind", "kill_next_word", "composer"),
    Action("put-back", "ctrl+y", "put back what was cut", "yank", "composer"),
)

FIXED: Final = (
    ("Enter", "send"),
    (
        "Tab, Shift+Tab",
        "complete the name, command, room or :emoji: at the cursor; again for the next, or the one before",
    ),
    ("Up, Down", "what you typed before"),
    ("Ctrl+A, Ctrl+E", "to the start or end of the line"),
)
"""Keys that stay as they are."""

_BY_NAME: Final = {action.name: action for action in ACTIONS}
assert len(_BY_NAME) == len(ACTIONS), "each name stands for one action"


def bindings(where: Literal["screen", "composer"]) -> list[Binding]:
    """For a widget of Textual. Those of the screen work wherever the focus is."""
    return [
        Binding(action.keys, action.action, action.does, id=action.name, show=False, priority=True)
        for action in ACTIONS
        if action.where == where
    ]


def check_names(changed: dict[str, str]) -> None:
    """Raises `BadUsage` for a name of the configuration that is no action's."""
    for name in changed:
        if name not in _BY_NAME:
            near = difflib.get_close_matches(name, _BY_NAME, n=1)
            raise BadUsage(
                f"{name!a} in [keys] is no action",
                hint=f"Did you mean {near[0]!a}?" if near else "docs/configuration.md lists the actions.",
            )


def keys_in_words(action: Action, changed: dict[str, str]) -> str:
    """`Alt+Left` and the like, as the user has them."""
    keys = changed.get(action.name, action.keys).split(",")
    return ", ".join(
        "+".join(_KEY_NAMES.get(part, part.capitalize()) for part in key.strip().split("+")) for key in keys
    )


_KEY_NAMES: Final = {"pageup": "PgUp", "pagedown": "PgDn"}


def help_rows(changed: dict[str, str]) -> list[tuple[str, str]]:
    """Keys and what they do; the nine of the talks in one row."""
    rows = list(FIXED)
    talks = [keys_in_words(action, changed) for action in ACTIONS if action.name.startswith("talk-")]
    for action in ACTIONS:
        if action.name == "talk-1":
            rows.append((f"{talks[0]} to {talks[-1]}", "go to that talk"))
        elif not action.name.startswith("talk-"):
            rows.append((keys_in_words(action, changed), action.does))
    return rows
