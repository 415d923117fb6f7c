"""Noise suppression: steady noise is taken out of a microphone's sound.

By WebRTC's suppressor, in package webrtc-noise-gain. It runs at 16 kHz: with a codec of a higher
rate what lies above 8 kHz is lost. What it is worth is measured in docs/links/sound.md.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from linkcodec.audiofile import Resampler
from linkcodec.codec import Pcm
from linkcodec.exceptions import ConfigError

__all__ = ["NoiseSuppressor"]

_RATE: Final = 16_000
_PIECE: Final = 160
_LEVEL: Final = 1
"""1 to 4: the least, about 6 dB. More costs words of clean speech."""


class NoiseSuppressor:
    """Sound in, the same with less noise out, 10 to 20 ms later; 60 ms at rates other than 16 kHz.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, sample_rate: int, *, level: int = _LEVEL) -> None:
        try:
            from webrtc_noise_gain import AudioProcessor  # type: ignore[import-untyped]
        except ImportError:
            raise ConfigError(
                "audio.noise_suppression needs webrtc-noise-gain: pip install 'linkcodec[noise]'"
            ) from None
        self._processor: Any = AudioProcessor(0, level)
        self._down = Resampler(sample_rate, _RATE)
        self._up = Resampler(_RATE, sample_rate)
        self._partial: Pcm = np.zeros(0, np.float32)

    def push(self, pcm: Pcm) -> Pcm:
        """Take any number of samples; gives whole pieces of 10 ms, the rest the next time."""
        self._partial = np.concatenate([self._partial, self._down.push(pcm)])
        whole = self._partial.size // _PIECE * _PIECE
        words = np.clip(np.rint(self._partial[:whole] * 32768.0), -32768, 32767).astype("<i2")
        self._partial = self._partial[whole:]
        data = b"".join(
            self._processor.Process10ms(piece.tobytes()).audio
            for piece in words.reshape(-1, _PIECE)
        )
        clean: Pcm = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768.0)
        return self._up.push(clean)
