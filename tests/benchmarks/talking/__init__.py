"""Two who talk privately, once for each system that is compared. `tests/benchmarks/talk.py` makes ratios of it."""
