"""The soft beginnings of words: they lie in the noise, where nothing votes for speech yet, and
raise the level only slightly.
"""

from __future__ import annotations

from typing import Final

from linkcodec.detector import PIECES_PER_FRAME

__all__ = ["SoftOnset"]

_RISE_DB: Final = 1.3
_RISE_SPREADS: Final = 5.0
_USUAL_DB: Final = 0.6
_USUAL_SPREAD: Final = 0.25
_USUAL_STEP: Final = 0.05
"""A frame of which three of four pieces are 1.3 dB farther above the floor than is usual between
words. Five times the usual deviation is asked for where noise is restless. The usual ones are
those of steady noise at first, and averages over 1.6 s."""

_ACROSS: Final = 1.5
"""Across the border of two frames 1.5 times as much is asked for: there are more such rows, and
noise must not open the gate with any."""


class SoftOnset:
    """Whether the level rises above what is usual between words, frame by frame."""

    def __init__(self) -> None:
        self._before: list[float] = []
        self._usual, self._spread = _USUAL_DB, _USUAL_SPREAD

    def update(self, distances: list[float], *, quiet: bool, background: bool) -> bool:
        """Whether 80 ms that end in this frame lie higher above the floor than what is usual
        between words; of their pieces the second lowest counts, so that a click does not.

        distances: of the frame's pieces above the noise floor, in dB. quiet: whether the gate is
        shut; an open one would hear the word's end once more across the border of two frames.
        background: whether nobody speaks, so that the frame tells what is usual.
        """
        row = [*self._before, *distances]
        self._before = distances[1:]
        seconds = [
            sorted(row[end - PIECES_PER_FRAME : end])[1]
            for end in range(PIECES_PER_FRAME, len(row) + 1)
        ]
        beyond = seconds[-1] - self._usual
        least = max(_RISE_DB, _RISE_SPREADS * self._spread)
        rises = beyond >= least
        if quiet:
            rises = rises or max(seconds) - self._usual >= _ACROSS * least
        if background:
            self._usual += _USUAL_STEP * beyond
            self._spread += _USUAL_STEP * (abs(beyond) - self._spread)
        return rises
