"""One mailbox on one replica: who may leave how much, who makes way, and what may go. No I/O, no clock.

A replica cannot read mail, nor tell whose it is. What it goes by is what the owner signs: which senders' keys are welcome,
which devices want the mail, and which items each of them is done with. Rules:

- an item that every device listed is done with goes, and does not come back;
- strangers together have MAIL_FROM_STRANGERS_MAX places, a sender MAIL_ITEMS_PER_SENDER_MAX;
- where there is no place, the heaviest sender gives up the last of what came from it, for a sender who has clearly less.
  Up to MAIL_SAFE_ITEMS nobody loses anything so: many senders with one item each push nobody's few lines out;
- for somebody who is welcome, a stranger makes way in any case.
"""

from dhtchat.limits import (
    DEVICES_PER_OWNER_MAX,
    MAIL_FROM_STRANGERS_MAX,
    MAIL_ITEMS_PER_BOX_MAX,
    MAIL_ITEMS_PER_SENDER_MAX,
    MAIL_RECEIPT_SLOTS,
    MAIL_SAFE_ITEMS,
)
from dhtchat.records.kinds import MAIL_KINDS, SoftRecord
from dhtchat.records.mail import Mail, Mailbox, MailReceipt, tag_of


def handing_order(record: SoftRecord) -> int:
    """A replica that is new is told first what is welcome and what is done with, then given the mail; the rest before."""
    return MAIL_KINDS[::-1].index(type(record.body)) + 1 if isinstance(record.body, MAIL_KINDS) else 0


class Full(Exception):
    """There is no place, and nobody has to make way."""


class Box:
    """What lies in one mailbox, by entry id; its rules, not its bytes. Keep it in step with `put` and `remove`."""

    def __init__(self) -> None:
        self._senders: dict[bytes, dict[bytes, None]] = {}
        """The items of each sender in order of arrival."""
        self._items = 0
        self._from_strangers = 0
        self._tags: frozenset[bytes] = frozenset()
        """All that are welcome."""
        self._welcome: dict[bytes, frozenset[bytes]] = {}
        """Tags, by the entry that names them."""
        self._listed: dict[bytes, bytes] = {}
        """Devices that want the mail, by entry."""
        self._done: dict[bytes, tuple[bytes, frozenset[bytes]]] = {}
        """Device and items, by receipt."""

    def __len__(self) -> int:
        """Everything in it."""
        return self._items + len(self._welcome) + len(self._done)

    def put(self, entry_id: bytes, record: SoftRecord) -> None:
        """A new entry, or a newer version of one."""
        match record.body:
            case Mail():
                held = self._senders.setdefault(record.key, {})
                if entry_id not in held:
                    self._items += 1
                    self._from_strangers += not self.is_welcome(record.key)
                held[entry_id] = None
            case Mailbox() as mailbox:
                self._welcome[entry_id] = mailbox.tags()
                self._listed[entry_id] = mailbox.device
                self._count_strangers()
            case MailReceipt() as receipt:
                self._done[entry_id] = receipt.device, frozenset(receipt.items)

    def remove(self, entry_id: bytes, record: SoftRecord) -> None:
        match record.body:
            case Mail():
                del self._senders[record.key][entry_id]
                self._items -= 1
                self._from_strangers -= not self.is_welcome(record.key)
                if not self._senders[record.key]:
                    del self._senders[record.key]
            case Mailbox():
                del self._welcome[entry_id], self._listed[entry_id]
                self._count_strangers()
            case MailReceipt():
                del self._done[entry_id]

    # --- who is who ---

    def is_welcome(self, sender: bytes) -> bool:
        return tag_of(sender) in self._tags

    def is_fetched(self, item: bytes) -> bool:
        """Whether somebody is done with it, and everybody listed."""
        done = {device for device, items in self._done.values() if item in items}
        return bool(done) and done.issuperset(self._listed.values())

    def fetched(self) -> list[bytes]:
        """All items that may go."""
        if not self._done:
            return []
        by_device: dict[bytes, set[bytes]] = {device: set() for device in self._listed.values()}
        somebody: set[bytes] = set()
        for device, items in self._done.values():
            by_device.setdefault(device, set()).update(items)
            somebody |= items
        may_go = somebody.intersection(*(by_device[device] for device in self._listed.values()))
        return [item for held in self._senders.values() for item in held if item in may_go]

    # --- who makes way ---

    def makes_way_for(self, record: SoftRecord) -> bytes | None:
        """Which entry goes for a new one; None when there is room. Raises `Full`."""
        match record.body:
            case Mail():
                return self._mail_makes_way(record.key)
            case Mailbox():
                return next(iter(self._listed)) if len(self._listed) >= DEVICES_PER_OWNER_MAX else None
            case _:
                return next(iter(self._done)) if len(self._done) >= DEVICES_PER_OWNER_MAX * MAIL_RECEIPT_SLOTS else None

    def _mail_makes_way(self, sender: bytes) -> bytes | None:
        own = len(self._senders.get(sender, ()))
        if own >= MAIL_ITEMS_PER_SENDER_MAX:
            raise Full
        full = self._items >= MAIL_ITEMS_PER_BOX_MAX
        if self.is_welcome(sender):
            if not full:
                return None
            if self._from_strangers:
                return _last_of_heaviest(self._strangers(), 1)
            return _last_of_heaviest(self._senders, max(own + 2, MAIL_SAFE_ITEMS + 1))
        if not full and self._from_strangers < MAIL_FROM_STRANGERS_MAX:
            return None
        return _last_of_heaviest(self._strangers(), max(own + 2, MAIL_SAFE_ITEMS + 1))

    def _strangers(self) -> dict[bytes, dict[bytes, None]]:
        return {sender: held for sender, held in self._senders.items() if not self.is_welcome(sender)}

    def _count_strangers(self) -> None:
        self._tags = frozenset().union(*self._welcome.values())
        self._from_strangers = sum(map(len, self._strangers().values()))

    @property
    def items(self) -> int:
        """Pieces of mail."""
        return self._items


def _last_of_heaviest(senders: dict[bytes, dict[bytes, None]], least: int) -> bytes:
    """Of a sender with at least so many: two more than the newcomer has, or two would push each other out in turn."""
    heaviest = max(senders.values(), key=len, default={})
    if len(heaviest) < least:
        raise Full
    return next(reversed(heaviest))
