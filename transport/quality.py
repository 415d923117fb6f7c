"""A running estimate of how good a call sounds, from what the receiver can know.

As in the E-model (ITU-T G.107) an undisturbed value, here of the number of codebooks, falls
with the share of frames concealed, and faster where losses come in runs. The constants are
fitted to DistillMOS of codec `compact` version 2 (docs/receiver.md).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from linkcodec.frame import Frame, Lost, PlayoutItem

__all__ = ["QualityMeter"]

_FORGET: Final = 1 / 125
"""Frames of speech count for about 10 s."""

_UNDISTURBED: Final = ((1, 3.32), (2, 3.67), (4, 3.98), (8, 4.11), (12, 4.11), (16, 4.11))
"""Books per frame, and the value without losses: DistillMOS of `compact-7` (docs/quality.md)."""

_WORST: Final = 1.0
_FALL: Final = 1.3
_RUN_WEIGHTS: Final = (0.7, 1.0, 1.3, 1.5)
"""How much the first, second, ... frame of a run of losses counts."""


class QualityMeter:
    """Estimates the mean opinion score (1 to 5) of the last seconds of speech."""

    def __init__(self) -> None:
        self._books: float | None = None
        self._lost = 0.0
        self._run = 0
        self._heard = 0

    def add(self, item: PlayoutItem) -> None:
        """Take one item that was played; silence changes nothing."""
        if isinstance(item, Frame | Lost):
            self._heard += 1
        # At first a plain mean: what was not heard yet was not free of losses.
        step = max(_FORGET, 1 / max(self._heard, 1))
        if isinstance(item, Frame):
            self._run = 0
            clear = _undisturbed(len(item.indices))
            if self._books is None:
                self._books = clear
            self._books += step * (clear - self._books)
            self._lost -= step * self._lost
        elif isinstance(item, Lost):
            weight = _RUN_WEIGHTS[min(self._run, len(_RUN_WEIGHTS) - 1)]
            self._run += 1
            self._lost += step * (weight - self._lost)

    @property
    def score(self) -> float | None:
        """The estimate now; None before any speech was heard."""
        if self._books is None:
            return None
        return _WORST + (self._books - _WORST) / (1.0 + _FALL * self._lost)


def _undisturbed(books: int) -> float:
    for (low, below), (high, above) in pairwise(_UNDISTURBED):
        if books <= high:
            return below + (above - below) * (books - low) / (high - low)
    return _UNDISTURBED[-1][1]
