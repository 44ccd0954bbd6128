"""What one run of a scenario prints: the contract's "Simulator output", field by field."""

import msgspec


class Lookups(msgspec.Struct, frozen=True, kw_only=True):
    """Lookups that the scenario made to measure. `success`: the share that found the node that really is nearest."""

    count: int
    success: float
    hops_mean: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    datagrams_mean: float


class Messages(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of talk. `expected`: one per line and person entitled to it who is there in the end or came back."""

    sent: int
    expected: int
    delivered: int
    lost: int
    duplicates: int
    p50_ms: float
    p99_ms: float
    copies_per_member: float
    """How often a line was sent to each member who has it, on average; 1.0 is the least possible."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    scenario: str
    nodes: int
    seed: int
    virtual_s: float
    wall_s: float
    rss_mib: float
    datagrams: int
    trace: str
    lookups: Lookups
    messages: Messages
    invariants: list[str]
    violations: list[str]
    repeat: str
    figures: dict[str, float] = {}
    """Whatever else the scenario's question asks for."""


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; 0.0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
