"""From bytes to records: verified, and judged when they are to be believed."""

from collections import Counter

from dhtchat.errors import BadSignature, MalformedRecord
from dhtchat.ids import RecordKey
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

    def open(self, raw: bytes) -> Record | None:
        """The record, if it is one and its signature holds. What is not is counted."""
        try:
            return open_record(raw, self._parameters.network_id)
        except (MalformedRecord, BadSignature) as error:
            self._statistics[f"record-dropped-{type(error).__name__}"] += 1
            return None

    def open_for(self, raw: bytes, key: RecordKey, depth: int = 0) -> Record | None:
        """The record, if besides it may be believed under `key`, so far below the root of a tree, now."""
        record = self.open(raw)
        if record is None:
            return None
        judgement = judge(record, None, key=key, now_s=self._clock.wall(), parameters=self._parameters, depth=depth)
        if not judgement.accepted:
            self._statistics[f"record-dropped-{judgement.reason}"] += 1
            return None
        return record
