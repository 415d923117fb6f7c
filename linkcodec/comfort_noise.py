"""Comfort noise: the sound of a quiet room, at the level that the sender measured.

Gaussian noise through a one-pole low-pass, because rooms are darker than white noise;
the level comes over the wire as in RFC 3389. The level glides, so that nothing clicks.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from linkcodec.codec import Pcm

__all__ = ["ComfortNoise", "ComfortNoiseState"]

_CORNER_HZ: Final = 700.0
_GLIDE_SECONDS: Final = 0.1
_LOWEST_DBFS: Final = -127.0
_TAIL: Final = 1e-4
"""The impulse response is cut where it has fallen to this."""


@dataclass(frozen=True, kw_only=True)
class ComfortNoiseState:
    """A copy of all that changes; opaque to everyone but `ComfortNoise`."""

    generator: dict[str, Any]
    history: npt.NDArray[np.float64]
    level_dbfs: float | None


class ComfortNoise:
    """A source of background noise that runs on from call to call.

    The same seed and the same calls give the same samples.
    """

    def __init__(self, sample_rate: int, seed: int = 0) -> None:
        decay = float(np.exp(-2 * np.pi * _CORNER_HZ / sample_rate))
        taps = int(np.ceil(np.log(_TAIL) / np.log(decay)))
        response = decay ** np.arange(taps)
        # Unit energy: white noise of power 1 comes out with power 1.
        self._response = response / np.sqrt(np.sum(response**2))
        self._sample_rate = sample_rate
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Forget the past, as if newly made."""
        self._generator = np.random.default_rng(self._seed)
        self._history = self._generator.standard_normal(self._response.size - 1)
        self._level_dbfs: float | None = None

    def generate(self, samples: int, level_dbfs: float) -> Pcm:
        """The next samples, gliding towards an RMS level in dB full scale.

        The first call starts at `level_dbfs`; later changes take about 0.2 s. Levels
        outside -127..0 are taken as the nearest of these; shape (samples,).
        """
        target = min(max(float(level_dbfs), _LOWEST_DBFS), 0.0)
        if samples <= 0:
            return np.zeros(0, np.float32)
        white = np.concatenate([self._history, self._generator.standard_normal(samples)])
        self._history = white[samples:]
        noise = np.convolve(white, self._response, mode="valid")
        before = target if self._level_dbfs is None else self._level_dbfs
        steps = np.arange(1, samples + 1) / (_GLIDE_SECONDS * self._sample_rate)
        level = target + (before - target) * np.exp(-steps)
        self._level_dbfs = float(level[-1])
        return np.clip(noise * 10 ** (level / 20), -1.0, 1.0).astype(np.float32)

    def snapshot(self) -> ComfortNoiseState:
        """A copy of the state, good for `restore` on any source of the same sample rate."""
        return ComfortNoiseState(
            generator=copy.deepcopy(dict(self._generator.bit_generator.state)),
            history=self._history.copy(),
            level_dbfs=self._level_dbfs,
        )

    def restore(self, state: ComfortNoiseState) -> None:
        """Go back to the state of a snapshot."""
        self._generator.bit_generator.state = copy.deepcopy(state.generator)
        self._history = state.history.copy()
        self._level_dbfs = state.level_dbfs
