"""Measurements of speech quality, run by hand: `python -m benchmarks.quality --help`."""
