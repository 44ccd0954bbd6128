"""A figure and what it is compared with, both from one run."""

from typing import NamedTuple


class Figure(NamedTuple):
    """`ratio` = value / reference; None where nothing is compared."""

    what: str
    value: float
    unit: str
    against: str | None = None
    reference: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference if self.reference else None
