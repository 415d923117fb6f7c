"""The browser's microphone as a source of the call's sender; nothing waits for the browser."""

from __future__ import annotations

import contextlib
import queue
import time
from typing import Final

import numpy as np

from linkcodec.app.audio import AudioSource, Pace
from linkcodec.codec import Pcm

__all__ = ["BrowserMicrophone"]

_PIECE_SECONDS: Final = 0.02
_MOST_PIECES: Final = 50
_GONE_SECONDS: Final = 0.3
"""Without a sound for so long there is no browser, or a network that lost it."""


class BrowserMicrophone(AudioSource):
    """What the browser's microphone gives; silence while there is none, or nobody talks.

    talking: whether the Talk button is on.
    """

    name = "the browser"

    def __init__(self, *, sample_rate: int) -> None:
        self._piece = round(_PIECE_SECONDS * sample_rate)
        self._pieces: queue.Queue[Pcm] = queue.Queue(_MOST_PIECES)
        self._heard_at = float("-inf")
        self._pace = Pace(_PIECE_SECONDS)
        self.talking = False
        self.dropped = 0
        """Pieces that nobody read in time."""

    def push(self, pcm: Pcm) -> None:
        """Take what the browser sent, at the codec's rate."""
        self._heard_at = time.monotonic()
        try:
            self._pieces.put_nowait(pcm if self.talking else np.zeros_like(pcm))
        except queue.Full:
            self.dropped += 1

    def read(self, timeout: float) -> Pcm:
        with contextlib.suppress(queue.Empty):
            pcm = self._pieces.get(timeout=timeout)
            self._pace = Pace(_PIECE_SECONDS)
            return pcm
        silent = time.monotonic() - self._heard_at > _GONE_SECONDS and self._pace.wait(0.0)
        if silent:
            self._pace.advance()
        return np.zeros(self._piece if silent else 0, np.float32)

    def close(self) -> None:
        self.talking = False
