"""The history of a profile as it lies on this machine, of all its devices here together. Read only, also while they run."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dhtchat.app.paths import last_login, network_folder
from dhtchat.app.settings import Settings
from dhtchat.chat.events import MessageArrived, Reaction
from dhtchat.chat.lines import message_event, shown_name
from dhtchat.chat.markup import clean
from dhtchat.chat.operations import Operations
from dhtchat.errors import BadUsage, DamagedFile, NoSuchRoom, NoSuchUser, RemoteMisbehaved
from dhtchat.history.store import HistoryStore, StoredConversation, StoredStatement
from dhtchat.ids import MessageId, PeerId, fingerprint, fold_room_meant, parse_login
from dhtchat.records.message import Delete, Edit, Say, Statement, open_statement


class Conversation(NamedTuple):
    """`name`: the room or the other person. `lines`: as they are now, in causal order."""

    name: str
    lines: list[MessageArrived]


class Archive:
    """Raises `BadUsage` where there is no history, `DamagedFile` where it cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self._network_id = settings.parameters.network_id
        last = last_login(settings.data_dir, settings.parameters)
        profile = settings.profile or (last[0] if last else None)
        if profile is None:
            raise BadUsage("whose history?", hint="Name it: dhtchat export --profile NAME.")
        folder = network_folder(settings.data_dir, settings.parameters) / profile
        self._files = sorted(folder.glob("device-*/history.db"))
        if not self._files:
            raise BadUsage(
                f"there is no history of {profile} in {settings.data_dir}", hint="See --profile and --data-dir."
            )

    def conversations(self, target: str | None) -> Iterator[Conversation]:
        """All of them, rooms first; or the one of that name. Raises `NoSuchRoom` or `NoSuchUser`."""
        known: dict[bytes, StoredConversation] = {}
        rows: dict[bytes, dict[bytes, StoredStatement]] = {}
        for path in self._files:
            try:
                with HistoryStore.reading(path) as store:
                    for conversation in store.conversations():
                        known[conversation.id] = conversation
                        held = rows.setdefault(conversation.id, {})
                        for row in store.statements(conversation.id):
                            if row.hidden:
                                continue  # by what was ruled about its room it does not count
                            held.setdefault(row.id, row)
            except sqlite3.Error as error:
                raise DamagedFile(
                    f"cannot read {path}: {error}", hint="Start dhtchat once: a damaged history is moved aside then."
                ) from error
        meant = [c for c in known.values() if target is None or _is_meant(c, target)]
        found = sorted(meant, key=lambda c: (c.direct, c.name, c.id))
        if target is not None and not found:
            kind = NoSuchRoom if target.startswith("#") else NoSuchUser
            raise kind(f"there is no talk with {clean(target, single_line=True)} in this history")
        opened = {each.id: list(self._opened(rows[each.id].values())) for each in found}
        own = (statement.author.name for rows in opened.values() for row, statement in rows if row.own)
        my_name = next(own, "")
        for conversation in found:
            lines = list(self._lines(conversation, opened[conversation.id], my_name))
            if lines:
                yield Conversation(conversation.name, lines)

    def _opened(self, rows: Iterable[StoredStatement]) -> Iterator[tuple[StoredStatement, Statement]]:
        for row in sorted(rows, key=lambda row: (row.depth, row.id)):
            try:
                yield row, open_statement(row.raw, self._network_id)
            except RemoteMisbehaved:
                continue  # damaged bytes: what they were is not known any more

    def _lines(
        self, conversation: StoredConversation, statements: list[tuple[StoredStatement, Statement]], my_name: str
    ) -> Iterator[MessageArrived]:
        operations, texts, names = Operations(), {}, {}
        deleted: set[bytes] = set()
        me = next((statement.author.peer for row, statement in statements if row.own), PeerId(b""))
        for row, statement in statements:
            content = statement.body.content
            operations.take(statement.id, statement.author.peer, content)
            names[statement.author.peer] = shown_name(
                statement.author.name, statement.author.peer, verified=row.verified or row.own
            )
            if isinstance(content, Edit):
                texts[statement.id] = content.text
            elif isinstance(content, Delete):
                deleted |= {place.id for place in statement.takes_back}
        for row, statement in statements:
            view = operations.view(statement.id)
            if isinstance(statement.body.content, Say) and view and not view.deleted and statement.id not in deleted:
                more: dict[str, Any] = {}
                if view.reactions:
                    more["reactions"] = [
                        Reaction(emoji=clean(emoji, single_line=True), users=sorted(names[peer] for peer in peers))
                        for emoji, peers in view.reactions.items()
                    ]
                event = message_event(
                    statement,
                    talk=conversation.name,
                    me=me,
                    my_name=statement.body.recipient or my_name if not row.own else statement.author.name,
                    delayed=row.delayed,
                    verified=row.verified,
                    text=texts.get(view.edit) if view.edit else None,
                    answers_me=operations.author_of(MessageId(statement.body.content.reply_to)) == me,
                    **more,
                )
                if event is not None:
                    yield event


def _is_meant(conversation: StoredConversation, target: str) -> bool:
    if target.startswith("#"):
        return conversation.name == fold_room_meant(target)
    login = parse_login(target)
    name = conversation.name.partition("#")[0]
    return conversation.direct and name == login.name and login.fingerprint in (None, fingerprint(conversation.peer))
