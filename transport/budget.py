"""What fits through a line: quantizers, frames per packet, overhead and latency."""

from __future__ import annotations

from dataclasses import dataclass

from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS, INDEX_BITS, MAX_QUANTIZERS
from transport.linerate import Framing, capacity_bps, line_bits, wire_bits
from transport.packet import MAX_PACKET, frames_that_fit, voice_packet_length

__all__ = ["Budget", "BudgetRow", "budget", "check_fits"]

_MOST_FRAMES = 12
"""Frames per packet that a table goes up to: about a second to collect."""


@dataclass(frozen=True, kw_only=True)
class BudgetRow:
    """Full packets of `frames_per_packet` frames with `quantizers` indices, one after another.

    wire_bps leaves start and stop bits out, line_bps counts them. overhead is the share of
    the wire bits that are no codebook indices. collect_ms is the time until the frames of a
    packet are there, send_ms the time that it takes on the line.
    """

    frames_per_packet: int
    quantizers: int
    packet_bytes: int
    wire_bps: float
    line_bps: float
    overhead: float
    collect_ms: float
    send_ms: float


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The rows that fit a line; `capacity_bps` are the wire bits per second that it carries."""

    rate: int
    framing: Framing
    capacity_bps: float
    rows: tuple[BudgetRow, ...]


def _row(rate: int, framing: Framing, quantizers: int, frames: int) -> BudgetRow:
    length = voice_packet_length(frames, quantizers)
    seconds = frames * FRAME_SECONDS
    wire = wire_bits(length, framing)
    line = line_bits(length, framing)
    return BudgetRow(
        frames_per_packet=frames,
        quantizers=quantizers,
        packet_bytes=length,
        wire_bps=wire / seconds,
        line_bps=line / seconds,
        overhead=1 - frames * quantizers * INDEX_BITS / wire,
        collect_ms=1000 * seconds,
        send_ms=1000 * line / rate,
    )


def _fits(rate: int, framing: Framing, quantizers: int, frames: int) -> bool:
    length = voice_packet_length(frames, quantizers)
    # In whole numbers, so that a line filled to the last bit passes: 80 ms is 2/25 s.
    return length <= MAX_PACKET and 25 * line_bits(length, framing) <= 2 * frames * rate


def budget(
    rate: int,
    framing: Framing,
    *,
    quantizers: int | None = None,
    frames_per_packet: int | None = None,
    max_quantizers: int = MAX_QUANTIZERS,
) -> Budget:
    """For each number of frames per packet, the most quantizers that a line carries.

    `quantizers` and `frames_per_packet` limit the table to these; `max_quantizers` is what the
    codec has. Rows where nothing fits are left out.

    Raises:
        ConfigError: a value is out of range.
    """
    if rate < 1:
        raise ConfigError(f"rate = {rate} is not possible: give bit/s above 0")
    _check_counts(quantizers, frames_per_packet)
    choices = range(1, _MOST_FRAMES + 1) if frames_per_packet is None else [frames_per_packet]
    wanted = range(max_quantizers, 0, -1) if quantizers is None else [quantizers]
    rows = []
    for frames in choices:
        best = next((k for k in wanted if _fits(rate, framing, k, frames)), None)
        if best is not None:
            rows.append(_row(rate, framing, best, frames))
    return Budget(
        rate=rate, framing=framing, capacity_bps=capacity_bps(rate, framing), rows=tuple(rows)
    )


def _check_counts(quantizers: int | None, frames: int | None) -> None:
    if quantizers is not None and not 1 <= quantizers <= MAX_QUANTIZERS:
        raise ConfigError(f"quantizers = {quantizers} is not possible: use 1 to {MAX_QUANTIZERS}")
    most = frames_that_fit(quantizers or 1)
    if frames is not None and not 1 <= frames <= most:
        raise ConfigError(
            f"frames_per_packet = {frames} is not possible: a packet of {MAX_PACKET} bytes holds "
            f"1 to {most} frames of {quantizers or 1} quantizers"
        )


def check_fits(
    rate: int, framing: Framing, *, quantizers: int, frames_per_packet: int
) -> BudgetRow:
    """The row for these settings.

    Raises:
        ConfigError: they do not fit the line; the text has the numbers and what comes nearest.
    """
    _check_counts(quantizers, frames_per_packet)
    if _fits(rate, framing, quantizers, frames_per_packet):
        return _row(rate, framing, quantizers, frames_per_packet)
    row = _row(rate, framing, quantizers, frames_per_packet)
    fewer = budget(rate, framing, frames_per_packet=frames_per_packet).rows
    longer = [
        frames
        for frames in range(frames_per_packet + 1, frames_that_fit(quantizers) + 1)
        if _fits(rate, framing, quantizers, frames)
    ]
    ways = [f"quantizers = {fewer[0].quantizers}"] if fewer else []
    ways += [f"frames_per_packet = {longer[0]}"] if longer else []
    raise ConfigError(
        f"quantizers = {quantizers} with frames_per_packet = {frames_per_packet} needs "
        f"{row.wire_bps:.0f} bit/s, but {rate} bit/s with framing {framing} carries "
        f"{capacity_bps(rate, framing):g}: use {' or '.join(ways) or 'a faster line'}"
    )
