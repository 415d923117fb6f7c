"""Time scaling: a frame played a little faster or slower, at the same pitch.

A stretch of sound is left out or said twice where it looks like the sound one or more pitch
periods away, and the two are faded into each other: the method of waveform similarity
overlap-add (Verhelst and Roelands, "An overlap-add technique based on waveform similarity",
1993) with one splice per frame. The ends of a frame stay as they are, so that frames join as
they did before, and nothing is held back.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from linkcodec.codec import Pcm

__all__ = ["TimeScaler", "shorten_noise"]

_FADE_SECONDS: Final = 0.008
_LEAST_LAG: Final = 0.0025
"""The shortest pitch period: 400 Hz."""

_SURE_LAG: Final = 0.0125
"""A wish for less is met by up to this, since a splice takes a whole pitch period: 80 Hz."""

_POSITION_STEP: Final = 0.002
_QUIET: Final = 1e-4
"""Differences 40 dB below the level of the speech are not heard."""

_DECAY: Final = 0.98
"""The level of the speech falls by 0.09 dB per frame, 1.1 dB/s."""

_LONG: Final = 0.3
"""What the longest possible splice is worth, as mismatch."""

_Array = npt.NDArray[np.float32]


class TimeScaler:
    """Shortens and lengthens the frames of one stream.

    inserted, removed: samples so far, as in W3C's insertedSamplesForDeceleration and
    removedSamplesForAcceleration.
    """

    def __init__(self, sample_rate: int) -> None:
        self.inserted = 0
        self.removed = 0
        self._fade = round(_FADE_SECONDS * sample_rate)
        self._least = round(_LEAST_LAG * sample_rate)
        self._sure = round(_SURE_LAG * sample_rate)
        self._step = round(_POSITION_STEP * sample_rate)
        self._power = 0.0

    def scale(self, pcm: Pcm, change: int, *, mismatch: float) -> Pcm:
        """A frame with up to about `change` samples more, or fewer if negative.

        Args:
            pcm: shape (samples,), at least 40 ms.
            mismatch: how much the two sounds that are faded into each other may differ, as
                power relative to theirs: 0 only where nothing is heard, 0.1 where they are
                much alike, infinity anywhere.

        The frame comes back as it is where no place is good enough.
        """
        self._power = max(_DECAY * self._power, float(np.mean(np.square(pcm))))
        wanted = abs(change)
        if wanted < self._least:
            return pcm
        longest = wanted if mismatch == 0.0 else max(wanted, self._sure)
        found = self._find(pcm, min(longest, pcm.size - self._fade), mismatch)
        if found is None:
            return pcm
        start, lag = found
        early = pcm[start : start + self._fade]
        late = pcm[start + lag : start + lag + self._fade]
        if change < 0:
            self.removed += lag
            pieces = (pcm[:start], _crossfade(early, late), pcm[start + lag + self._fade :])
        else:
            self.inserted += lag
            pieces = (pcm[: start + lag], _crossfade(late, early), pcm[start + self._fade :])
        return np.concatenate(pieces)

    def _find(self, pcm: Pcm, longest: int, mismatch: float) -> tuple[int, int] | None:
        """Start of the earlier sound and distance of the later one, where they fit best."""
        windows = np.lib.stride_tricks.sliding_window_view(pcm, self._fade)
        starts = np.arange(self._step, len(windows) - self._least, self._step)
        lags = np.arange(self._least, longest + 1)
        later = starts[:, None] + lags
        possible = later < len(windows) - self._step
        later = np.minimum(later, len(windows) - 1)
        power = np.mean(np.square(windows), axis=1)
        products = np.asarray(windows[starts] @ windows.T) / self._fade
        both = power[starts][:, None] + power[later]
        products = np.take_along_axis(products, later, axis=1)
        difference = np.maximum(both - 2 * products, 0.0)
        heard = np.maximum(difference - _QUIET * self._power, 0.0)
        relative = heard / (both + 1e-12)
        cost = relative - _LONG * lags / lags[-1]
        cost = np.where(possible & (relative <= mismatch), cost, np.inf)
        row, column = np.unravel_index(int(np.argmin(cost)), cost.shape)
        if not np.isfinite(cost[row, column]):
            return None
        return int(starts[row]), int(lags[column])


def shorten_noise(pcm: Pcm, samples: int) -> Pcm:
    """`samples` samples of steady noise that begin and end as `pcm` does; shape (samples,)."""
    if samples >= pcm.size:
        return pcm
    fade = min(samples, pcm.size // 8)
    before = (samples - fade) // 2
    after = pcm.size - (samples - fade - before)
    middle = _crossfade(pcm[before : before + fade], pcm[after - fade : after])
    return np.concatenate((pcm[:before], middle, pcm[after:]))


def _crossfade(out: Pcm, into: Pcm) -> _Array:
    """From one sound to another at steady power, however much they are alike."""
    ramp = (np.arange(out.size, dtype=np.float32) + 0.5) / np.float32(out.size)
    norm = float(np.sqrt(np.sum(np.square(out)) * np.sum(np.square(into)))) + 1e-12
    alike = min(max(float(np.sum(out * into)) / norm, 0.0), 1.0)
    back = 1 - ramp
    gain = 1 / np.sqrt(np.square(ramp) + np.square(back) + 2 * alike * ramp * back)
    faded: _Array = ((out * back + into * ramp) * gain).astype(np.float32)
    return faded
