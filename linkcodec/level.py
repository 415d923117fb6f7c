"""Automatic level: speech that is too quiet or too loud is brought to one level, slowly."""

from __future__ import annotations

from typing import Final

import numpy as np

from linkcodec.codec import Pcm

__all__ = ["AutomaticLevel"]

_TARGET_DBFS: Final = -24.0
"""RMS of speech, pauses left out; P.56's active level of telephone speech is -26 dB."""

_MOST_DB: Final = 24.0
_RISE: Final = 3.0
_FALL: Final = 12.0
"""dB per second; faster changes would be heard as pumping."""

_MEMORY_SECONDS: Final = 1.5
_PEAK: Final = 0.9


class AutomaticLevel:
    """A gain that follows the level of speech and stays as it is in pauses.

    gain_db: the gain now.
    """

    def __init__(self, sample_rate: int) -> None:
        self.gain_db = 0.0
        self._rate = sample_rate
        self._power = 10 ** (_TARGET_DBFS / 10)

    def push(self, pcm: Pcm, *, speech: bool) -> Pcm:
        """The same samples at the wanted level; shape (any,).

        speech: whether somebody speaks; the rest is noise, which is not to come up.
        """
        if not pcm.size:
            return pcm
        before = self.gain_db
        if speech:
            seconds = pcm.size / self._rate
            share = min(1.0, seconds / _MEMORY_SECONDS)
            power = float(np.mean(np.square(pcm, dtype=np.float64)))
            self._power += share * (power - self._power)
            wanted = _TARGET_DBFS - 10.0 * float(np.log10(self._power + 1e-12))
            step = min(max(wanted - before, -_FALL * seconds), _RISE * seconds)
            self.gain_db = min(max(before + step, -_MOST_DB), _MOST_DB)
        # A peak is taken down at once, before it is cut off.
        limit = 20.0 * float(np.log10(_PEAK / max(float(np.max(np.abs(pcm))), 1e-6)))
        before, self.gain_db = min(before, limit), min(self.gain_db, limit)
        gains = 10 ** (np.linspace(before, self.gain_db, pcm.size) / 20)
        loud: Pcm = (pcm * gains).astype(np.float32)
        return loud
