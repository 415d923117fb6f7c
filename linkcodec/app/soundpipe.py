"""Sound from the receiver's thread to somebody who takes it at the pace of the same clock."""

from __future__ import annotations

from typing import Final

import numpy as np

from linkcodec.app.audio import AudioSink
from linkcodec.codec import Pcm
from linkcodec.devices import RingBuffer

__all__ = ["SoundPipe"]

_CUSHION_SECONDS: Final = 0.08
"""Sound that waits before any is given: the two threads are not always on time."""

_MOST_SECONDS: Final = 0.25
"""More than this waits only after the other thread was late; what is too much is thrown away."""

_BUFFER_SECONDS: Final = 0.5


class SoundPipe(AudioSink):
    """A sink on one side; on the other, pieces of any size, silence where there is nothing.

    Both sides go by this machine's clock, so how much waits stays the same.

    underruns: pieces for which there was not enough. skipped: samples thrown away because too
    many waited.
    """

    def __init__(self, name: str, *, sample_rate: int) -> None:
        self.name = name
        self._rate = sample_rate
        self._ring = RingBuffer(round(_BUFFER_SECONDS * sample_rate))
        self._flowing = False
        self.underruns = 0
        self.skipped = 0

    @property
    def waiting(self) -> float:
        """Seconds of sound that wait to be taken."""
        return len(self._ring) / self._rate

    def write(self, pcm: Pcm) -> None:
        self._ring.write(pcm)

    def take(self, samples: int) -> Pcm:
        """The next `samples` samples; shape (samples,)."""
        out = np.zeros(samples, np.float32)
        if not self._flowing and self.waiting < _CUSHION_SECONDS:
            return out
        if self.waiting > _MOST_SECONDS:
            excess = len(self._ring) - round(_CUSHION_SECONDS * self._rate)
            self.skipped += self._ring.read(excess).size
        given = self._ring.read_into(out)
        self._flowing = given == samples
        self.underruns += not self._flowing
        return out

    def flush(self) -> None:
        """Throw away what waits: somebody else begins to listen."""
        self._ring.read(self._ring.capacity)
        self._flowing = False

    def close(self) -> None:
        pass
