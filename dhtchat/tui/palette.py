"""What the command palette offers: talks, actions and commands. Names are text there and nothing else."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from dhtchat.chat.commands import COMMANDS, SLASH
from dhtchat.chat.markup import clean
from dhtchat.tui.keys import ACTIONS, keys_in_words

if TYPE_CHECKING:
    from dhtchat.tui.app import ChatApp


class Entry(NamedTuple):
    text: str
    help: str
    do: Callable[[], object]


class Everything(Provider):
    """Textual highlights what matches by parsing the text as its markup; so nothing is highlighted here."""

    async def discover(self) -> Hits:
        for entry in self._entries():
            yield DiscoveryHit(Content(entry.text), entry.do, text=entry.text, help=entry.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for entry in self._entries():
            score = matcher.match(entry.text)
            if score > 0:
                yield Hit(score, Content(entry.text), entry.do, text=entry.text, help=entry.help)

    def _entries(self) -> Iterator[Entry]:
        app: ChatApp = self.app  # type: ignore[assignment]
        for talk in app.talks.ordered:
            name = clean(talk.name or "dhtchat", single_line=True)
            yield Entry(f"go to {name}", "", lambda talk=talk: app.go_to(talk))  # type: ignore[misc]
        for action in ACTIONS:
            if action.where == "screen" and not action.name.startswith(("talk-", "palette")):
                keys = keys_in_words(action, app.changed_keys)
                yield Entry(action.does, keys, lambda action=action: app.run_action(action.action))  # type: ignore[misc]
        for command in COMMANDS:
            start = f"{SLASH}{command.name} "
            yield Entry(command.usage, command.help, lambda start=start: app.begin_line(start))  # type: ignore[misc]
