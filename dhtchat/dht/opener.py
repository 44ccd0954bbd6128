"""From bytes to records, each checked once: a read hears the same record from every replica."""

from collections import Counter, OrderedDict

from dhtchat.errors import BadSignature, MalformedRecord
from dhtchat.ids import RecordKey
from dhtchat.limits import RECORDS_OPENED_CACHED_MAX
from dhtchat.parameters import NetworkParameters
from dhtchat.records.acceptance import judge
from dhtchat.records.kinds import Record, open_record
from dhtchat.runtime import Clock


class RecordOpener:
    """The only way from the network's bytes to a record that anything here works with."""

    def __init__(self, parameters: NetworkParameters, clock: Clock, statistics: Counter[str]) -> None:
        self._parameters = parameters
        self._clock = clock
        self._statistics = statistics
        self._opened: OrderedDict[bytes, Record] = OrderedDict()

    def open(self, raw: bytes) -> Record | None:
        """The record, if it is one and its signature holds. What is not is counted, and not remembered: bad bytes are
        free to make, good ones are not."""
        if raw in self._opened:
            self._opened.move_to_end(raw)
            return self._opened[raw]
        try:
            record = open_record(raw, self._parameters.network_id)
        except (MalformedRecord, BadSignature) as error:
            self._statistics[f"record-dropped-{type(error).__name__}"] += 1
            return None
        self._opened[raw] = record
        if len(self._opened) > RECORDS_OPENED_CACHED_MAX:
            self._opened.popitem(last=False)
        return record

    def open_for(self, raw: bytes, key: RecordKey) -> Record | None:
        """The record, if besides it may be believed under `key` now."""
        record = self.open(raw)
        if record is None:
            return None
        judgement = judge(record, None, key=key, now_s=self._clock.wall(), parameters=self._parameters)
        if not judgement.accepted:
            self._statistics[f"record-dropped-{judgement.reason}"] += 1
            return None
        return record
