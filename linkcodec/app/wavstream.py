"""Sound that comes as bytes of any number, through a pipe: a WAV file, or raw samples."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from linkcodec.audiofile import Resampler
from linkcodec.codec import Pcm
from linkcodec.exceptions import AudioFileError

__all__ = ["StreamDecoder"]

_MOST_FORMAT_BYTES: Final = 1024
_MOST_SKIPPED_BYTES: Final = 1 << 20


class StreamDecoder:
    """Bytes of a WAV file or of raw samples in, PCM at `sample_rate` out.

    What begins with "RIFF" is a WAV file (16-bit or 32-bit float, any rate and number of
    channels; the length it states is ignored, since a pipe's writer often cannot know it);
    all else is raw signed 16-bit little-endian mono at `sample_rate`.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._data = bytearray()
        self._skip = 0
        self._header = True
        self._wav = False
        self._format: tuple[str, int, int] | None = None
        self._dtype = "<i2"
        self._channels = 1
        self._resampler: Resampler | None = None

    def push(self, data: bytes) -> Pcm:
        """Take any number of bytes.

        Raises:
            AudioFileError: a WAV file that cannot be read.
        """
        self._data += data
        if self._header and not self._parse_header():
            return np.zeros(0, np.float32)
        width = np.dtype(self._dtype).itemsize * self._channels
        usable = len(self._data) // width * width
        raw = np.frombuffer(bytes(self._data[:usable]), self._dtype).reshape(-1, self._channels)
        del self._data[:usable]
        pcm: Pcm = raw.mean(axis=1, dtype=np.float32)
        if self._dtype == "<i2":
            pcm /= np.float32(32768.0)
        pcm = np.nan_to_num(pcm, nan=0.0, posinf=1.0, neginf=-1.0)
        return pcm if self._resampler is None else self._resampler.push(pcm)

    def finish(self) -> Pcm:
        """What the resampler still holds."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        return self._resampler.flush()

    def _parse_header(self) -> bool:
        """Take the header off the data; False while it is not complete."""
        if not self._wav:
            if not b"RIFF".startswith(bytes(self._data[:4])):
                self._header = False
                return True
            if len(self._data) < 12:
                return False
            if self._data[8:12] != b"WAVE":
                raise AudioFileError("standard input: a RIFF file that is not WAV")
            del self._data[:12]
            self._wav = True
        while True:
            dropped = min(self._skip, len(self._data))
            del self._data[:dropped]
            self._skip -= dropped
            if self._skip or len(self._data) < 8:
                return False
            name, size = struct.unpack("<4sI", self._data[:8])
            if name == b"data":
                del self._data[:8]
                self._start_samples()
                return True
            if size > (_MOST_FORMAT_BYTES if name == b"fmt " else _MOST_SKIPPED_BYTES):
                raise AudioFileError("standard input: a WAV file with an impossible header")
            if name == b"fmt ":
                if len(self._data) < 8 + size:
                    return False
                self._parse_format(bytes(self._data[8 : 8 + size]))
            del self._data[:8]
            self._skip = size + size % 2

    def _parse_format(self, chunk: bytes) -> None:
        if len(chunk) < 16:
            raise AudioFileError("standard input: a WAV file with an impossible header")
        kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
        if kind == 0xFFFE and len(chunk) >= 26:  # WAVE_FORMAT_EXTENSIBLE
            kind = struct.unpack("<H", chunk[24:26])[0]
        dtype = {(1, 16): "<i2", (3, 32): "<f4"}.get((kind, bits))
        if dtype is None:
            raise AudioFileError("standard input: convert the WAV to 16-bit PCM first")
        if not (1 <= channels <= 64 and 1000 <= rate <= 768_000):
            raise AudioFileError("standard input: a WAV file with an impossible header")
        self._format = (dtype, channels, rate)

    def _start_samples(self) -> None:
        if self._format is None:
            raise AudioFileError("standard input: a WAV file without a format")
        self._header = False
        self._dtype, self._channels, rate = self._format
        if rate != self._sample_rate:
            self._resampler = Resampler(rate, self._sample_rate)
