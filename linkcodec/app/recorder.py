"""Recordings of a call: its sound, or its frames (`linkcodec.callfile`).

A disk that is full ends a recording and not the call: `warn` is told why, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from linkcodec.app.audio import AudioSink, FileSink
from linkcodec.app.timeline import HELD_FRAMES, TimeAxis
from linkcodec.callfile import CallWriter
from linkcodec.codec import CodecInfo, Pcm
from linkcodec.exceptions import InputError
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence

__all__ = ["HeardRecorder", "SentRecorder", "SoundRecorder", "Warn", "unused_stem"]

Warn = Callable[[str], None]
"""Tells people something."""

_MOST_WAITING: Final = 512
"""Frames that may wait for the line: 41 s."""


def unused_stem(stem: str, *endings: str, warn: Warn) -> str:
    """`stem`, or the first of stem-2, stem-3, ... with which no file of these endings exists.

    A service starts by itself: the recording of the call before must survive that.
    """
    for number in count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        if not any(Path(name + ending).is_file() for ending in endings):
            break
    if name != stem:
        files = " and ".join(name + ending for ending in endings)
        warn(f"a recording {stem} is there already and is kept: this one goes to {files}")
    return name


class _Attempts:
    """Writes until it fails for the first time."""

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._failed = False

    def __call__(self, write: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            write()
        except InputError as error:
            self._failed = True
            self._warn(f"{error}; the call goes on, this recording has ended")


class SoundRecorder(AudioSink):
    """A copy of the sound, as WAV or FLAC.

    Raises:
        InputError: the file cannot be written from the beginning.
    """

    def __init__(self, path: str, *, sample_rate: int, warn: Warn) -> None:
        self.name = path
        self._file = FileSink(path, sample_rate=sample_rate)
        self._attempt = _Attempts(warn)

    def write(self, pcm: Pcm) -> None:
        self._attempt(lambda: self._file.write(pcm))

    def close(self) -> None:
        self._attempt(self._file.close)
        with suppress(InputError):  # after a failure it is still open
            self._file.close()


class _Recorder:
    """Items on a time axis of ticks, into a file."""

    def __init__(self, path: str, info: CodecInfo, *, first_tick: int | None, warn: Warn) -> None:
        self._writer = CallWriter(path, info)
        self._attempt = _Attempts(warn)
        self._background = Silence()
        self._axis: TimeAxis[PlayoutItem] = self._new_axis(first_tick)

    def _new_axis(self, first_tick: int | None = None) -> TimeAxis[PlayoutItem]:
        return TimeAxis(lambda: self._background, first_tick=first_tick)

    def _put(self, tick: int | None, item: PlayoutItem) -> None:
        self._write(self._axis.add(tick, item))

    def _write(self, items: Sequence[PlayoutItem]) -> None:
        def write() -> None:
            for item in items:
                self._writer.add(item)

        self._attempt(write)

    def _finish_file(self) -> None:
        self._attempt(self._writer.close)


class SentRecorder(_Recorder):
    """What was sent: a frame once it has left, and a loss for one that never did.

    Raises:
        TokenFileError: the file cannot be written from the beginning.
    """

    def __init__(self, path: str, info: CodecInfo, *, warn: Warn) -> None:
        super().__init__(path, info, first_tick=0, warn=warn)
        self._waiting: dict[int, Frame] = {}

    def voice(self, frame: Frame, tick: int) -> None:
        """A frame was handed over for the link."""
        self._waiting[tick] = frame
        if len(self._waiting) > _MOST_WAITING:
            self._lose(min(self._waiting))

    def silence(self, background: Silence, tick: int) -> None:
        """Nobody speaks, and nothing is sent, from this tick on."""
        self._background = background
        if not self._waiting:
            self._put(tick, background)

    def departed(self, ticks: Sequence[int], quantizers: int) -> None:
        """These frames went to the link, each with so many indices."""
        for tick in ticks:
            for earlier in [one for one in self._waiting if one < tick]:
                self._lose(earlier)
            frame = self._waiting.pop(tick, None)
            if frame is not None:
                self._put(tick, frame.coarse(quantizers))

    def _lose(self, tick: int) -> None:
        del self._waiting[tick]
        self._put(tick, LOST)

    def close(self, end_tick: int) -> None:
        """The call was over at `end_tick`."""
        for tick in sorted(self._waiting):
            self._lose(tick)
        self._write(self._axis.finish(end_tick))
        self._finish_file()


class HeardRecorder(_Recorder):
    """What came, as the jitter buffer gave it: what came too late is lost.

    Raises:
        TokenFileError: the file cannot be written from the beginning.
    """

    def __init__(self, path: str, info: CodecInfo, *, warn: Warn) -> None:
        super().__init__(path, info, first_tick=None, warn=warn)
        self._open = False
        self._spoken = -1

    def add(self, item: PlayoutItem, tick: int | None, *, end_tick: int | None = None) -> None:
        """An item was played; `end_tick` once the far end's call is over."""
        if end_tick is not None:
            if self._open:
                self._finish(end_tick)
            return
        if isinstance(item, Silence):
            self._background = item
        if tick is not None:
            tick = self._place(item, tick)
        self._open = self._open or tick is not None
        self._put(tick, item)

    def _place(self, item: PlayoutItem, tick: int) -> int | None:
        """Where an item goes: what the buffer puts in to gain time replaces no speech."""
        if not isinstance(item, Frame):
            return tick if tick > self._spoken else None
        if tick < self._spoken - HELD_FRAMES:  # the far end has started anew
            self._finish(None)
        self._spoken = tick
        return tick

    def _finish(self, end_tick: int | None) -> None:
        self._open = False
        self._spoken = -1
        self._write(self._axis.finish(end_tick))
        self._axis = self._new_axis()

    def close(self) -> None:
        """Nothing more comes."""
        self._finish(None)
        self._finish_file()
