"""The frame: the one thing that speech coding and transport share.

A playout slot of 80 ms holds a `Frame` (speech), `LOST` (speech that did not
arrive) or a `Silence` (the talker is quiet). This module imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

FRAME_RATE: Final = 12.5
"""Frames per second of every codec here."""

FRAME_SECONDS: Final = 0.08
"""Duration of a frame in seconds."""

INDEX_BITS: Final = 11
"""Bits of one codebook index: all codebooks have 2048 entries."""

MAX_QUANTIZERS: Final = 16
"""Most codebooks that a frame may carry."""

COLOUR_BITS: Final = 12
"""Bits of the colour of a background."""


@dataclass(frozen=True, slots=True)
class Frame:
    """80 ms of speech: codebook indices, coarsest first.

    Fewer indices mean lower quality, never an error.

    Raises:
        ValueError: no index, more than 16, or one outside 0..2047.
    """

    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.indices) <= MAX_QUANTIZERS:
            raise ValueError(f"a frame has 1 to {MAX_QUANTIZERS} indices, not {len(self.indices)}")
        if not all(0 <= index < 1 << INDEX_BITS for index in self.indices):
            raise ValueError(f"an index lies outside 0..{(1 << INDEX_BITS) - 1}: {self.indices}")

    def coarse(self, quantizers: int) -> Frame:
        """The same frame with at most `quantizers` indices."""
        return self if quantizers >= len(self.indices) else Frame(self.indices[:quantizers])


class Lost(Enum):
    """A frame of speech that was sent and did not arrive in time."""

    LOST = "lost"


LOST: Final = Lost.LOST


@dataclass(frozen=True, slots=True)
class Silence:
    """The talker is quiet.

    `level_dbfs` is the background's RMS level in dB full scale. `colour` is the shape of its
    spectrum in 12 bits, see `linkcodec.comfort_noise`; 0 is a room of no particular colour.

    Raises:
        ValueError: `colour` is outside 0..4095.
    """

    level_dbfs: float = -70.0
    colour: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.colour < 1 << COLOUR_BITS:
            raise ValueError(f"a colour of {self.colour} is outside 0..{(1 << COLOUR_BITS) - 1}")


PlayoutItem = Frame | Lost | Silence
"""What a jitter buffer gives and a decoder takes: one for each 80 ms."""
