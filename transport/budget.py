"""What fits through a line, in packets or in slots: quantizers, overhead, protection, latency."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS, INDEX_BITS, MAX_QUANTIZERS
from transport.config import LinkConfig, SecurityConfig, WireConfig
from transport.linerate import Framing, capacity_bps, line_bits, wire_bits
from transport.packet import MAX_PACKET, frames_that_fit, voice_packet_length
from transport.sealing import announcement_length, sealed_length
from transport.security import SecurityMode, Suite
from transport.slot import SUPERFRAME, protection, slot_shape
from transport.slot_security import TAG_BITS, told_superframes

__all__ = [
    "Budget",
    "BudgetRow",
    "SlotRow",
    "announcing_bps",
    "budget",
    "check_config",
    "check_fits",
    "check_slots",
    "packets_fit",
    "slot_budget",
    "slot_tag_bits",
]

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


def _row(
    rate: int,
    framing: Framing,
    quantizers: int,
    frames: int,
    parity_books: int = 0,
    *,
    tag_bytes: int = 0,
) -> BudgetRow:
    length = voice_packet_length(frames, quantizers, parity_books) + tag_bytes
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


def packets_fit(
    rate: int,
    framing: Framing,
    quantizers: int,
    frames: int,
    parity_books: int = 0,
    *,
    tag_bytes: int = 0,
) -> bool:
    """Whether full packets, one after another, fit a line.

    parity_books: covered by redundancy. tag_bytes: that security adds to a packet.
    """
    length = voice_packet_length(frames, quantizers, parity_books) + tag_bytes
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
        best = next((k for k in wanted if packets_fit(rate, framing, k, frames)), None)
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
    rate: int,
    framing: Framing,
    *,
    quantizers: int,
    frames_per_packet: int,
    parity_books: int = 0,
    tag_bytes: int = 0,
) -> BudgetRow:
    """The row for these settings, see `packets_fit`.

    Raises:
        ConfigError: they do not fit the line; the text has the numbers and what comes nearest.
    """
    _check_counts(quantizers, frames_per_packet)
    row = _row(rate, framing, quantizers, frames_per_packet, parity_books, tag_bytes=tag_bytes)
    if packets_fit(rate, framing, quantizers, frames_per_packet, parity_books, tag_bytes=tag_bytes):
        return row
    fewer = [
        books
        for books in range(quantizers - 1, 0, -1)
        if packets_fit(rate, framing, books, frames_per_packet, parity_books, tag_bytes=tag_bytes)
    ]
    longer = [
        frames
        for frames in range(frames_per_packet + 1, frames_that_fit(quantizers, parity_books) + 1)
        if packets_fit(rate, framing, quantizers, frames, parity_books, tag_bytes=tag_bytes)
    ]
    ways = [f"quantizers = {fewer[0]}"] if fewer else []
    ways += [f"frames_per_packet = {longer[0]}"] if longer else []
    ways += ["wire.redundancy = 'none'"] if parity_books else []
    extra = f" and redundancy of {parity_books}" if parity_books else ""
    extra += f" and tags of {tag_bytes} more bytes" if tag_bytes else ""
    raise ConfigError(
        f"quantizers = {quantizers}{extra} with frames_per_packet = {frames_per_packet} needs "
        f"{row.wire_bps:.0f} bit/s, but {rate} bit/s with framing {framing} carries "
        f"{capacity_bps(rate, framing):g}: use {' or '.join(ways) or 'a faster line'}"
    )


@dataclass(frozen=True, kw_only=True)
class SlotRow:
    """Slots with `quantizers` indices in each frame, one after another.

    slot_bytes: of one slot. wire_bps, line_bps, overhead: as in `BudgetRow`. told: indices per
    frame, on average, in whose place a session is told. covered: indices, from the first, in
    which `errors` wrong bits are repaired; both 0 without a code.
    check_bits: of the check on the first two. side_bps: bits of control words per second while
    somebody speaks. send_ms: a slot on the line. spread_ms: what interleaving adds.
    """

    quantizers: int
    slot_bytes: int
    wire_bps: float
    line_bps: float
    overhead: float
    told: float
    covered: int
    errors: int
    check_bits: int
    side_bps: float
    send_ms: float
    spread_ms: float

    @property
    def protected(self) -> str:
        """The protection in words."""
        words = [f"{self.check_bits}-bit check on books 1-2"] if self.check_bits else []
        if self.errors:
            some = f"1-{self.covered}" if self.covered > 1 else "1"
            words = [f"{self.errors} wrong bits in books {some} repaired"]
        if self.told:
            words.append(f"{self.told:g} books tell of its session")
        return ", ".join(words) or "none"


def slot_budget(
    rate: int,
    framing: Framing,
    *,
    interleaver_slots: int = 1,
    max_quantizers: int = MAX_QUANTIZERS,
    tag_bits: int = 0,
    told: float = 0.0,
) -> tuple[SlotRow, ...]:
    """For each number of quantizers that fits into the slots of a line, the most first.

    tag_bits: of each slot, for security. told: see `SlotRow`.

    Raises:
        ConfigError: the line has no slots.
    """
    shape = slot_shape(rate, framing)
    rows = []
    most = min(shape.most_quantizers, (shape.payload_bits - tag_bits) // INDEX_BITS)
    for quantizers in range(min(most, max_quantizers), 0, -1):
        shared = protection(shape.payload_bits, quantizers, tag_bits)
        line = framing.bit_times * shape.size
        rows.append(
            SlotRow(
                quantizers=quantizers,
                slot_bytes=shape.size,
                wire_bps=shape.bits / FRAME_SECONDS,
                line_bps=line / FRAME_SECONDS,
                overhead=1 - (quantizers - told) * INDEX_BITS / shape.bits,
                told=told,
                covered=shared.covered,
                errors=shared.code.errors if shared.code else 0,
                check_bits=shared.check_bits,
                side_bps=shape.side_per_superframe / (SUPERFRAME * FRAME_SECONDS),
                send_ms=1000 * line / rate,
                spread_ms=1000 * (interleaver_slots - 1) * FRAME_SECONDS,
            )
        )
    return tuple(rows)


def check_slots(
    rate: int,
    framing: Framing,
    *,
    quantizers: int,
    interleaver_slots: int = 1,
    tag_bits: int = 0,
    told: float = 0.0,
) -> SlotRow:
    """The row for these settings, see `slot_budget`.

    Raises:
        ConfigError: they do not fit the line; the text has the numbers and what comes nearest.
    """
    rows = slot_budget(
        rate, framing, interleaver_slots=interleaver_slots, tag_bits=tag_bits, told=told
    )
    for row in rows:
        if row.quantizers == quantizers:
            return row
    best = rows[0]
    shape = slot_shape(rate, framing)
    raise ConfigError(
        f"quantizers = {quantizers} takes {quantizers * INDEX_BITS} bits of a slot, but "
        f"{rate} bit/s with framing {framing} has slots of {shape.bits} bits, "
        f"{shape.payload_bits - tag_bits} of them for speech: use quantizers = {best.quantizers}"
    )


def check_config(
    link: LinkConfig, wire: WireConfig, *, quantizers: int, security: SecurityConfig
) -> BudgetRow | SlotRow:
    """The row for the settings of a file, in the mode that it chooses.

    Raises:
        ConfigError: they do not fit the line.
    """
    framing = Framing(link.framing)
    if wire.mode == "slots":
        return check_slots(
            link.rate,
            framing,
            quantizers=quantizers,
            interleaver_slots=wire.interleaver_slots,
            tag_bits=slot_tag_bits(security),
            told=_told(security, quantizers),
        )
    kept = announcing_bps(security, framing)
    try:
        row = check_fits(
            link.rate - kept,
            framing,
            quantizers=quantizers,
            frames_per_packet=wire.frames_per_packet,
            parity_books=wire.parity_books,
            tag_bytes=_tag_bytes(security),
        )
    except ConfigError as error:
        if not kept:
            raise
        raise ConfigError(
            f"{error} ({kept} of {link.rate} bit/s are for security's announcements every "
            f"{security.announce_every(wire.mode):g} s)"
        ) from None
    # A packet still goes at the line's own rate.
    return replace(row, send_ms=row.send_ms * (link.rate - kept) / link.rate)


def announcing_bps(security: SecurityConfig, framing: Framing) -> int:
    """Bits per second of the line that the announcements of sessions take in packet mode."""
    if security.mode == "off":
        return 0
    bits = line_bits(announcement_length(_suite(security)), framing)
    return math.ceil(bits / security.announce_every("packets"))


def slot_tag_bits(security: SecurityConfig) -> int:
    """Bits of each slot that security takes."""
    return 0 if security.mode == "off" else TAG_BITS


def _told(security: SecurityConfig, quantizers: int) -> float:
    """Indices per frame of slots in whose place a session is told, on average."""
    if security.mode == "off" or quantizers == 1:
        return 0.0
    return 1 / told_superframes(security.announce_every("slots"))


def _tag_bytes(security: SecurityConfig) -> int:
    """What security adds to a voice packet: a tag, which in encrypted mode replaces the CRC."""
    if security.mode == "off":
        return 0
    return sealed_length(0, _suite(security))


def _suite(security: SecurityConfig) -> Suite:
    return Suite(mode=SecurityMode(security.mode), tag_bytes=security.tag_bytes)
