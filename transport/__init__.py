"""Bits and time: wire format, pacing, jitter buffer, statistics, channel models and links.

Nothing here imports torch or a codec; the cores do no I/O and read no clock.
"""
