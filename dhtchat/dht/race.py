"""Claiming a name against others who may want it at the same moment."""

import asyncio

from dhtchat.dht.claiming import ClaimReading
from dhtchat.dht.replicas import Replicas
from dhtchat.dht.storage import claim_of
from dhtchat.errors import TooFewAnswered
from dhtchat.limits import CLAIM_PAUSE_S, CLAIM_READS_MAX, CLAIM_TRIES, CLAIM_WAIT_S_MAX
from dhtchat.parameters import NetworkParameters
from dhtchat.records.kinds import DurableRecord
from dhtchat.runtime import Runtime


async def race_for_name(
    record: DurableRecord,
    replicas: Replicas,
    *,
    round_trip_s: float | None,
    parameters: NetworkParameters,
    runtime: Runtime,
) -> ClaimReading:
    """The reading that decided: the caller owns the name if its owner is `record`'s claim, and somebody else does if not.

    Counts strictly (`claiming.py`), before and after: what it returns stays true. Raises `TooFewAnswered` when no reading
    became certain.
    """
    key, own_claim = record.body.place(record.key), claim_of(record)
    nearest = await replicas.nearest(key, parameters.k, careful=True)
    tally = await replicas.tally(key, nearest)
    decision = tally.strict_decision()
    if decision.certain and decision.owner != own_claim:
        return tally.reading(decision)
    wait_s = min(2 * (round_trip_s or 0.0), CLAIM_WAIT_S_MAX)  # none measured: nobody to wait for
    for _ in range(CLAIM_READS_MAX):
        # Again each time: who did not hear of it, or entered meanwhile, has no vote yet and so keeps everybody waiting.
        await replicas.put_at(nearest, record, tries=CLAIM_TRIES)
        await asyncio.sleep(wait_s)
        nearest = await replicas.nearest(key, parameters.k, careful=True)
        tally = await replicas.tally(key, nearest)
        decision = tally.strict_decision()
        if decision.certain and decision.owner is not None:
            return tally.reading(decision)
        if not tally.answers:
            break  # time-outs enough
        wait_s = runtime.jitter(CLAIM_PAUSE_S)
    asked = len(tally.answers) + tally.silent
    raise TooFewAnswered(
        f"{len(tally.answers)} of the {asked} nodes responsible for '{record.body.name}' answered, and they do not agree yet"
    )
