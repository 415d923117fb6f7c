"""Audio files in and out: any format and rate to mono float32, and back to WAV or FLAC.

libsndfile reads WAV, FLAC, OGG and their like; FFmpeg (PyAV) reads the rest, such as MP3,
M4A and WebM. Files are read block by block, so their length does not matter.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import soundfile  # type: ignore[import-untyped]
import soxr  # type: ignore[import-untyped]

from linkcodec.codec import Pcm
from linkcodec.exceptions import AudioFileError

if TYPE_CHECKING:
    import av

__all__ = ["AudioWriter", "Resampler", "read_audio", "stream_audio", "write_audio"]

_Path = str | os.PathLike[str]
_Block = npt.NDArray[np.float32]

_LIBSNDFILE_MAGIC: Final = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b".snd", b"caff")
"""Asked only for what it knows: its MP3 decoder writes notes to standard error."""

_FFMPEG_FORMATS: Final = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpeg,mpegts,ogg,tta,w64,wav,wv"
)
"""Containers of one file. Left to itself, FFmpeg takes text for a play list or a picture
and opens the addresses that it finds in there."""

_BLOCK_SAMPLES: Final = 65_536
_RATES: Final = (1000, 768_000)
_MAX_CHANNELS: Final = 256
_LOUDEST: Final = 16.0
_FORMATS: Final = {".wav": "WAV", ".flac": "FLAC"}


class Resampler:
    """Streaming change of the sample rate for one channel; delay compensated.

    All of `push` and the `flush` together give round(samples * to_rate / from_rate)
    samples, of which `push` holds back some milliseconds.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._rates = (from_rate, to_rate)
        self.reset()

    def reset(self) -> None:
        """Forget the past, as if newly made."""
        from_rate, to_rate = self._rates
        self._stream = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")
        self._taken = 0
        self._given = 0

    def push(self, pcm: Pcm) -> Pcm:
        """The samples that are ready after `pcm`; shape (any,)."""
        if self._stream is None:
            return pcm.astype(np.float32, copy=False)
        self._taken += pcm.size
        ready: Pcm = self._stream.resample_chunk(pcm.astype(np.float32, copy=False))
        self._given += ready.size
        return ready

    def flush(self) -> Pcm:
        """The samples held back; the resampler is reset afterwards."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        from_rate, to_rate = self._rates
        missing = round(self._taken * to_rate / from_rate) - self._given
        rest: Pcm = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self.reset()
        return np.pad(rest[: max(missing, 0)], (0, max(missing - rest.size, 0)))


class AudioWriter:
    """Writes mono audio with 16 bits, as WAV or FLAC by the suffix; a context manager.

    Raises:
        AudioFileError: another suffix, or the file cannot be written.
    """

    def __init__(self, path: _Path, sample_rate: int) -> None:
        self._path = Path(path)
        kind = _FORMATS.get(self._path.suffix.lower())
        if kind is None:
            raise AudioFileError(f"{path}: cannot be written: name it .wav or .flac")
        try:
            # First without libsndfile, which does not say why it fails.
            with open(self._path, "wb"):
                pass
            self._file = soundfile.SoundFile(
                self._path, "w", sample_rate, 1, subtype="PCM_16", format=kind
            )
        except OSError as error:
            raise AudioFileError(f"{path}: cannot be written: {error.strerror}") from error
        except soundfile.SoundFileError as error:
            raise AudioFileError(f"{path}: cannot be written: {error}") from error

    def write(self, pcm: Pcm) -> None:
        """Append samples; what lies beyond full scale is clipped.

        Raises:
            AudioFileError: the disk is full or the like.
        """
        words = np.clip(np.rint(pcm * 32768.0), -32768, 32767).astype(np.int16)
        self._guard(lambda: self._file.write(words))

    def close(self) -> None:
        """Finish the header; closing twice does no harm.

        Raises:
            AudioFileError: the disk is full or the like.
        """
        self._guard(self._file.close)

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        # A write cut short is an AssertionError of soundfile's.
        except (OSError, soundfile.SoundFileError, AssertionError) as error:
            raise AudioFileError(
                f"{self._path}: cannot be written (is the disk full?): {error}"
            ) from error

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_audio(path: _Path, sample_rate: int) -> Pcm:
    """A whole file as mono at `sample_rate`; shape (samples,).

    Raises:
        AudioFileError: as for `stream_audio`.
    """
    return np.concatenate(list(stream_audio(path, sample_rate, block=_BLOCK_SAMPLES)))


def stream_audio(path: _Path, sample_rate: int, *, block: int) -> Iterator[Pcm]:
    """A file as mono at `sample_rate`, in blocks of `block` samples (the last is shorter).

    Channels are averaged. The file is opened and its beginning decoded at once, so most
    errors come before the first block is asked for.

    Raises:
        AudioFileError: the file is missing, empty, no audio, damaged, or holds values that
            are no sound (NaN, or more than 16 times full scale).
    """
    rate, pieces = _open(path)
    low, high = _RATES
    if not low <= rate <= high:
        raise AudioFileError(f"{path}: a sample rate of {rate} Hz is outside {low}..{high}")
    checked = _checked(path, rate, pieces)
    first = next(checked, None)
    if first is None:
        raise AudioFileError(f"{path}: holds no audio: record or convert it again")
    return _blocks(first, checked, Resampler(rate, sample_rate), block)


def write_audio(path: _Path, pcm: Pcm, sample_rate: int) -> None:
    """Write mono audio with 16 bits, as WAV or FLAC by the suffix; shape (samples,).

    Raises:
        AudioFileError: another suffix, or the file cannot be written.
    """
    with AudioWriter(path, sample_rate) as writer:
        writer.write(pcm)


def _open(path: _Path) -> tuple[int, Iterator[_Block]]:
    """The rate and the blocks, each of shape (samples, channels), of a file of any format."""
    try:
        if not os.path.isfile(path):
            os.stat(path)  # Says why, where there is nothing at all.
            kind = "a directory" if os.path.isdir(path) else "not a regular file"
            raise AudioFileError(f"{path}: is {kind}: give an audio file")
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise AudioFileError(f"{path!r}: cannot be read: {error}") from error
    if not magic:
        raise AudioFileError(f"{path}: the file is empty: record or convert it again")
    if magic in _LIBSNDFILE_MAGIC:
        try:
            # By number: a name would make soundfile, too, go by the suffix.
            sound = soundfile.SoundFile(os.open(path, os.O_RDONLY))
        except soundfile.SoundFileError:
            pass  # A codec that it does not know, such as MP3 within WAV: FFmpeg may.
        else:
            return sound.samplerate, _libsndfile_blocks(path, sound)
    return _ffmpeg_blocks(path)


def _libsndfile_blocks(path: _Path, sound: soundfile.SoundFile) -> Iterator[_Block]:
    if sound.channels > _MAX_CHANNELS:
        raise AudioFileError(f"{path}: {sound.channels} channels are more than {_MAX_CHANNELS}")
    with sound:
        while True:
            try:
                data = sound.read(_BLOCK_SAMPLES // sound.channels, "float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise _damaged(path) from error
            if not len(data):
                return
            yield data


def _ffmpeg_blocks(path: _Path) -> tuple[int, Iterator[_Block]]:
    frames = _ffmpeg_frames(path)
    first = next(frames, None)
    if first is None:
        raise AudioFileError(f"{path}: holds no audio: record or convert it again")
    # The decoder knows the rate better than the container, for instance with HE-AAC.
    return first.sample_rate, _ffmpeg_arrays(path, first, frames)


def _ffmpeg_frames(path: _Path) -> Iterator[av.AudioFrame]:
    import av  # Here: it takes long to load, and a daemon seldom needs it.

    options = {"format_whitelist": _FFMPEG_FORMATS}
    # By number: without a name FFmpeg goes by the content, not by the suffix.
    with open(os.open(path, os.O_RDONLY), "rb") as file:
        try:
            container = av.open(file, "r", container_options=options, metadata_errors="ignore")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise AudioFileError(
                f"{path}: not an audio file that can be read: give WAV, FLAC, OGG, MP3 or M4A"
            ) from error
        with container:
            if not container.streams.audio:
                raise AudioFileError(f"{path}: holds no audio: give a file with a sound track")
            try:
                yield from container.decode(audio=0)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise _damaged(path) from error


def _ffmpeg_arrays(
    path: _Path, first: av.AudioFrame, frames: Iterable[av.AudioFrame]
) -> Iterator[_Block]:
    import av

    resampler = av.AudioResampler(format="fltp", layout=first.layout, rate=first.sample_rate)
    try:
        for frame in itertools.chain([first], frames):
            frame.pts = None  # Else a gap in the time stamps would be an error.
            for part in resampler.resample(frame):
                yield part.to_ndarray().T.astype(np.float32, copy=False)
    except (av.FFmpegError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: _Path) -> AudioFileError:
    return AudioFileError(f"{path}: the audio is damaged: get a whole copy of the file")


def _checked(path: _Path, rate: int, pieces: Iterator[_Block]) -> Iterator[Pcm]:
    """Mono of what is sound."""
    done = 0
    for piece in pieces:
        mono: Pcm = piece.mean(axis=1, dtype=np.float32)
        if not mono.size:
            continue
        peak = float(np.max(np.abs(piece)))
        if not math.isfinite(peak):
            raise AudioFileError(
                f"{path}: a sample is not a number, after {done / rate:.1f} s: convert it again"
            )
        if peak > _LOUDEST:
            raise AudioFileError(
                f"{path}: samples reach {peak:.3g} times full scale, "
                f"after {done / rate:.1f} s: scale them to -1..1"
            )
        done += mono.size
        yield mono


def _blocks(first: Pcm, rest: Iterator[Pcm], resampler: Resampler, block: int) -> Iterator[Pcm]:
    waiting: list[Pcm] = []
    size = 0

    def take(pcm: Pcm) -> Iterator[Pcm]:
        nonlocal waiting, size
        waiting.append(pcm)
        size += pcm.size
        if size >= block:
            joined = np.concatenate(waiting)
            whole = size // block * block
            yield from joined[:whole].reshape(-1, block)
            waiting, size = [joined[whole:]], size - whole

    yield from take(resampler.push(first))
    for piece in rest:
        yield from take(resampler.push(piece))
    yield from take(resampler.flush())
    if size:
        yield np.concatenate(waiting)
