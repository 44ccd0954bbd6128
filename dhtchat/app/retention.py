"""What is not kept for ever: talk that is older, or more, than the user wants to keep on this device."""

from dhtchat.app.core import Core
from dhtchat.app.settings import Settings
from dhtchat.app.talks import Talks
from dhtchat.history.store import keep_fact
from dhtchat.ids import DeviceId, MessageId

_FACT = "retention"
DAY_MS = 24 * 3600 * 1000
MIB = 1024 * 1024


class Retention:
    """The settings stay with the history until they are said anew."""

    def __init__(self, core: Core, talks: Talks, settings: Settings) -> None:
        self._core = core
        self._talks = talks
        days, mib = _parse(core.store.fact(_FACT))
        self.days = days if settings.keep_days is None else settings.keep_days
        self.mib = mib if settings.keep_mib is None else settings.keep_mib
        if (self.days, self.mib) != (days, mib):
            core.journal.write(keep_fact(_FACT, f"{self.days} {self.mib}".encode()))

    async def trim(self) -> int:
        """Drop what is too old or too much, wherever it is; how many statements."""
        core, store = self._core, self._core.store
        await core.journal.flush()
        cut_ms = core.wall_ms() - self.days * DAY_MS if self.days else 0
        if self.mib:
            cut_ms = max(cut_ms, await core.journal.read(store.size_cut_ms, self.mib * MIB))
        dropped = 0
        if cut_ms:
            for row in await core.journal.read(store.conversations):
                dropped += await self._trim(row.id, cut_ms)
        if dropped:
            await core.journal.read(store.shrink)
        return dropped

    async def _trim(self, conversation: bytes, cut_ms: int) -> int:
        core, store = self._core, self._core.store
        told = await core.journal.read(store.told_floors, conversation)
        dropped = 0
        for device, upto in (await core.journal.read(store.expired, conversation, cut_ms)).items():
            talk = self._talks.get(conversation)
            if talk is not None:
                upto = min(upto, talk.timeline.upto_of(DeviceId(device)))
            if upto > 0:
                ids = await core.journal.read(store.forget, conversation, device, upto, told.get(device, 1))
                dropped += len(ids)
                if talk is not None:
                    talk.timeline.forget(DeviceId(device), upto + 1)
                    for each in ids:
                        talk.operations.forget(MessageId(each))
        return dropped


def _parse(fact: bytes | None) -> tuple[int, int]:
    try:
        days, mib = map(int, (fact or b"0 0").split())
    except ValueError:
        return 0, 0
    return max(days, 0), max(mib, 0)
