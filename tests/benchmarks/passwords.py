"""What a guess costs: the account's key derivation on `main` against one bare SHA-256."""

import hashlib
import random
import statistics
import time
from collections.abc import Callable, Iterator

from dhtchat.parameters import MAIN
from dhtchat.records.account import create_account, unlock_account
from tests.benchmarks.figures import Figure


def measure() -> Iterator[Figure]:
    source = random.Random(1)
    record, _ = create_account("alice", "any phrase", parameters=MAIN, source=source, now_s=0.0)
    unlock_ms = _median_ms(lambda: unlock_account(record, "any phrase", parameters=MAIN), 5)
    hash_ms = _median_ms(lambda: [hashlib.sha256(b"any phrase").digest() for _ in range(10_000)], 5) / 10_000
    yield Figure("one guess at a stored password", unlock_ms, "ms", "one SHA-256", hash_ms)


def _median_ms(work: Callable[[], object], runs: int) -> float:
    times_ms = []
    for _ in range(runs):
        started_s = time.perf_counter()
        work()
        times_ms.append(1000 * (time.perf_counter() - started_s))
    return statistics.median(times_ms)
