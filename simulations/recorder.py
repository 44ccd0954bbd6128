"""What a scenario measures while it plays."""

from typing import NamedTuple


class Sample(NamedTuple):
    """One lookup that was measured."""

    took_s: float
    hops: int
    asked: int
    success: bool
    at_s: float = 0.0
    """When it began."""


class Recorder:
    """Filled by the scenario, read by the runner."""

    def __init__(self) -> None:
        self.lookups: list[Sample] = []
        self.figures: dict[str, float] = {}
        """Answers to the scenario's own question."""
        self.series: dict[str, list[tuple[float, float]]] = {}
        """Named curves for the report: (virtual seconds, value)."""
        self.violations: list[str] = []
        """What the scenario itself saw go wrong, as `name: what`."""
