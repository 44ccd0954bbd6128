"""What `make bench` measures: ratios of two things in one run, never absolute promises."""
