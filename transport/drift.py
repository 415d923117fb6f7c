"""How fast the sender's clock runs, seen from the receiver's: sound cards differ by up to 0.1 %."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass
from typing import Final

__all__ = ["DriftEstimator"]

_BLOCK_SECONDS: Final = 5.0
_MOST_BLOCKS: Final = 120
_LEAST_BLOCKS: Final = 8
_LEAST_SECONDS: Final = 40.0

MOST_DRIFT: Final = 1.5e-3
"""A steeper slope is a path that changes, not a clock."""


@dataclass(slots=True)
class _Block:
    start: float
    time: float
    offset: float


class DriftEstimator:
    """The slope of the fastest arrivals over up to ten minutes of speech.

    Jitter only ever adds to an offset (see `DelayEstimator`), so the least offset of each 5 s
    lies on the line of the clocks. The slope is the median over pairs of blocks that are half
    of the history apart: an incomplete form of the Theil-Sen estimator, which a third of
    outliers does not harm. Skew from one-way delays: Moon, Skelly and Towsley, "Estimation and
    removal of clock skew from network delay measurements", 1999.

    rate: seconds by which offsets grow per second, 0 until it is known. Negative where the
    sender's clock is the faster one.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self._blocks: deque[_Block] = deque(maxlen=_MOST_BLOCKS)

    def reset(self) -> None:
        """The path has changed: forget the offsets, but not the clocks' rate."""
        self._blocks.clear()

    def add(self, offset: float, now: float) -> None:
        """Take the offset (seconds) of a packet that arrived at `now`."""
        block = self._blocks[-1] if self._blocks else None
        if block is None or now - block.start >= _BLOCK_SECONDS:
            if block is not None:
                self._estimate()
            self._blocks.append(_Block(now, now, offset))
        elif offset < block.offset:
            block.time, block.offset = now, offset

    def _estimate(self) -> None:
        blocks = self._blocks
        if len(blocks) < _LEAST_BLOCKS or blocks[-1].time - blocks[0].time < _LEAST_SECONDS:
            return
        half = len(blocks) // 2
        slope = statistics.median(
            (later.offset - earlier.offset) / (later.time - earlier.time)
            for earlier, later in zip(blocks, list(blocks)[half:], strict=False)
        )
        self.rate = slope if abs(slope) <= MOST_DRIFT else 0.0
