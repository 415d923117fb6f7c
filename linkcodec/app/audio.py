"""Where a daemon's sound comes from and goes to: devices, files, standard streams.

Files and standard input are read at the pace of real time, as if somebody spoke.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

import numpy as np

from linkcodec import devices
from linkcodec.app.command import AUDIO_SUFFIXES, check_output_path
from linkcodec.app.config import MICROPHONE, SPEAKER, AudioConfig
from linkcodec.app.metrics import Figures
from linkcodec.app.wavstream import StreamDecoder
from linkcodec.audiofile import AudioWriter, stream_audio
from linkcodec.codec import CodecInfo, Pcm
from linkcodec.echo_gate import EchoGate
from linkcodec.exceptions import AudioFileError, DeviceError
from linkcodec.frame import FRAME_SECONDS

__all__ = [
    "AudioSink",
    "AudioSource",
    "FileSink",
    "GatedMicrophone",
    "MicrophoneSource",
    "Pace",
    "SpeakerSink",
    "StandardInput",
    "StandardOutput",
    "open_sink",
    "open_source",
]

STANDARD_STREAM: Final = "-"

SPEAKER_SECONDS: Final = 1.5 * FRAME_SECONDS
"""Sound that waits for the speaker when the next frame is decoded."""

_STALLED: Final = 0.5
"""Seconds behind real time after which a source no longer tries to catch up."""

_PIPE_SECONDS: Final = 5.0
"""As much as a pipe may hold of what was spoken while this process stood still: it is caught
up with, or it would be late for the rest of the call."""

_PIECE_SECONDS: Final = 0.01

_REOPEN_SECONDS: Final = 1.0

_DEAD_SECONDS: Final = 0.5
"""A device that gives nothing for so long is gone, even if it does not say so."""


class _AudioEnd(ABC):
    """What a source and a sink have in common.

    name: for people. trouble: in words, why there is no sound for now; empty if all is well.
    """

    name: str
    trouble: str = ""

    def figures(self) -> Figures:
        """What is known of the device, for people's tools (docs/receiver.md)."""
        return Figures()

    def configure(self, config: AudioConfig) -> list[str]:  # noqa: ARG002
        """Use what can change during a call; gives the names of these fields.

        Raises:
            DeviceError: another device cannot be opened; the one before stays.
        """
        return []

    @abstractmethod
    def close(self) -> None:
        """Finish and let go of the device or file."""


class AudioSource(_AudioEnd):
    """Speech on its way in; with trouble there is only silence.

    ended: True once nothing more will come.
    """

    ended: bool = False

    @abstractmethod
    def read(self, timeout: float) -> Pcm:
        """The samples that have come, after at most `timeout` seconds; may be none.

        Raises:
            LinkcodecError: the source failed.
        """


class AudioSink(_AudioEnd):
    """Speech on its way out; with trouble it is not heard."""

    @abstractmethod
    def write(self, pcm: Pcm) -> None:
        """Take samples.

        Raises:
            LinkcodecError: the sink failed.
        """


class Pace:
    """Says when the next frame of a recording is due, if it is played as it was spoken.

    most_behind: seconds that it may be late and still catch up.
    """

    def __init__(self, seconds: float, *, most_behind: float = _STALLED) -> None:
        self._seconds = seconds
        self._most_behind = most_behind
        self._due = time.monotonic() + seconds

    def wait(self, timeout: float) -> bool:
        """Sleep until the next frame is due; False if `timeout` seconds do not suffice."""
        now = time.monotonic()
        if self._due - now > timeout:
            time.sleep(max(0.0, timeout))
            return False
        if self._due > now:
            time.sleep(self._due - now)
        return True

    def advance(self) -> None:
        """The frame was taken."""
        self._due = max(self._due + self._seconds, time.monotonic() - self._most_behind)

    def starved(self) -> None:
        """There was nothing to take: what comes late from now on is the writer's affair."""
        self._due = max(self._due, time.monotonic() - _STALLED)


class FileSource(AudioSource):
    """An audio file of any kind and rate, read in bounded memory."""

    def __init__(self, blocks: Iterator[Pcm], *, name: str, frame_seconds: float) -> None:
        self.name = name
        self._blocks = blocks
        self._waiting: Pcm | None = next(blocks, None)
        self._pace = Pace(frame_seconds)

    def read(self, timeout: float) -> Pcm:
        if self._waiting is None or not self._pace.wait(timeout):
            self.ended = self._waiting is None
            return np.zeros(0, np.float32)
        pcm = self._waiting
        self._pace.advance()
        self._waiting = next(self._blocks, None)
        self.ended = self._waiting is None
        return pcm

    def close(self) -> None:
        self._waiting = None


class StandardInput(AudioSource):
    """Standard input, a WAV file or raw samples; a fast writer is held back to real time."""

    name = "standard input"

    def __init__(self, *, sample_rate: int, frame_size: int, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._decoder = StreamDecoder(sample_rate)
        self._frame_size = frame_size
        self._waiting: Pcm = np.zeros(0, np.float32)
        self._pace = Pace(frame_size / sample_rate, most_behind=_PIPE_SECONDS)
        self._closed = False
        self._any = False

    def read(self, timeout: float) -> Pcm:
        deadline = time.monotonic() + timeout
        nothing: Pcm = np.zeros(0, np.float32)
        while self._waiting.size < self._frame_size and not self._closed:
            if not self._fill(max(0.0, deadline - time.monotonic())):
                self._pace.starved()
                return nothing
        if not self._waiting.size:
            self.ended = True
            if not self._any:
                raise AudioFileError("standard input is empty: pipe a WAV or raw samples into it")
            return nothing
        if not self._pace.wait(max(0.0, deadline - time.monotonic())):
            return nothing
        pcm = self._waiting[: self._frame_size]
        self._waiting = self._waiting[self._frame_size :]
        self._pace.advance()
        self._any = True
        self.ended = self._closed and not self._waiting.size
        return pcm

    def _fill(self, timeout: float) -> bool:
        if not select.select([self._descriptor], [], [], timeout)[0]:
            return False
        data = os.read(self._descriptor, 4096)
        self._closed = not data
        pcm = self._decoder.push(data) if data else self._decoder.finish()
        self._waiting = np.concatenate([self._waiting, pcm])
        return True

    def close(self) -> None:
        self._closed = True


_Stream = TypeVar("_Stream", devices.AudioInput, devices.AudioOutput)


class _Reopening(Generic[_Stream]):
    """A sound device that may vanish, and is looked for until it is back.

    field: of the configuration, that names the device. lock: held by whoever uses the stream,
    since another thread may change the device.
    """

    def __init__(self, field: str, device: str, open_stream: Callable[[str], _Stream]) -> None:
        self._field = field
        self._device = device
        self._open: Callable[[str], _Stream] = open_stream
        self._next_try = 0.0
        self.stream: _Stream | None = open_stream(device)
        self.name = self.stream.name
        self.trouble = ""
        self.lock = threading.Lock()
        self._before = (0, 0)

    def change(self, device: str) -> list[str]:
        """Use another device from now on; gives the name of the field.

        Raises:
            DeviceError: it cannot be opened; the one before stays.
        """
        if device != self._device:
            try:
                stream = self._open(device)
            except DeviceError as error:
                raise DeviceError(f"{self._field} = '{device}' is not used: {error}") from None
            with self.lock:
                self.close()
                self.stream, self._device = stream, device
                self.name, self.trouble = stream.name, ""
        return [self._field]

    def counts(self, name: str) -> dict[str, float]:
        """Samples that got lost, and stalls of the sound system, since the call began."""
        with self.lock:
            missed, xruns = self._before
            if self.stream is not None:
                missed, xruns = missed + self.stream.missed, xruns + self.stream.xruns
        return {f"{name}_missed_total": missed, f"{name}_xruns_total": xruns}

    def lost(self, error: DeviceError) -> None:
        """The stream failed."""
        self.close()
        reason = str(error).partition(":")[0]
        self.trouble = f"{reason}; waiting for it to come back"
        self._next_try = time.monotonic() + _REOPEN_SECONDS

    def try_again(self) -> _Stream | None:
        """The stream, opened again if it is time and the device is there; else None."""
        if self.stream is None and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _REOPEN_SECONDS
            try:
                devices.refresh_devices()
                self.stream = self._open(self._device)
                self.trouble = ""
            except DeviceError:
                return None
        return self.stream

    def close(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            missed, xruns = self._before
            self._before = missed + stream.missed, xruns + stream.xruns
            stream.close()


class MicrophoneSource(AudioSource):
    """A microphone, by its name or number; the default one if `device` is empty.

    While the device is gone it gives silence at the pace of real time, so that the call's
    time goes on.

    captured_at: when the last sample that was given reached the microphone, in seconds.
    """

    def __init__(self, device: str, *, sample_rate: int) -> None:
        self._device = _Reopening(
            "audio.input_device",
            device,
            lambda name: devices.open_input(name or None, sample_rate=sample_rate),
        )
        self._piece = round(_PIECE_SECONDS * sample_rate)
        self._pace = Pace(_PIECE_SECONDS)
        self.name = self._device.name
        self.captured_at = time.monotonic()

    def figures(self) -> Figures:
        stream = self._device.stream
        return Figures(
            counters=self._device.counts("microphone"),
            gauges={"latency_microphone_seconds": None if stream is None else stream.latency},
        )

    def read(self, timeout: float) -> Pcm:
        with self._device.lock:
            stream = self._device.try_again()
            self.trouble = self._device.trouble
            if stream is not None:
                try:
                    # In small pieces, so that the pacer is asked often enough to fill its line.
                    pcm = stream.read(self._piece, timeout=_DEAD_SECONDS)
                except DeviceError as error:
                    self._device.lost(error)
                    self._pace = Pace(_PIECE_SECONDS)
                else:
                    self.captured_at = time.monotonic() - stream.latency
                    return pcm
        self.captured_at = time.monotonic()
        ready = self._pace.wait(timeout)
        if ready:
            self._pace.advance()
        return np.zeros(self._piece if ready else 0, np.float32)

    def configure(self, config: AudioConfig) -> list[str]:
        names = self._device.change(config.input_device)
        self.name = self._device.name
        return names

    def close(self) -> None:
        self._device.close()


class SpeakerSink(AudioSink):
    """A speaker, by its name or number; the default one if `device` is empty.

    While the device is gone sound is thrown away at the pace of real time.

    played: is told of all that is played, and when its first sample leaves the speaker, in
    seconds, as far as the sound system knows.
    """

    def __init__(self, device: str, *, sample_rate: int) -> None:
        self._device = _Reopening(
            "audio.output_device",
            device,
            lambda name: devices.open_output(name or None, sample_rate=sample_rate),
        )
        self._sample_rate = sample_rate
        self._played_by = 0.0
        self.name = self._device.name
        self.played: Callable[[Pcm, float], None] = lambda _pcm, _at: None

    @property
    def waiting(self) -> float:
        """Seconds of sound that wait to be played."""
        stream = self._device.stream
        if stream is not None and stream.alive:
            return stream.waiting
        return max(0.0, self._played_by - time.monotonic())

    def figures(self) -> Figures:
        stream = self._device.stream
        # From the moment for which a frame is decoded on.
        latency = None if stream is None else SPEAKER_SECONDS + stream.latency
        return Figures(
            counters=self._device.counts("speaker"),
            gauges={"latency_speaker_seconds": latency},
        )

    def write(self, pcm: Pcm) -> None:
        stream = self._device.try_again()
        self.trouble = self._device.trouble
        if stream is not None:
            waiting = stream.waiting
            try:
                stream.write(pcm)
            except DeviceError as error:
                self._device.lost(error)
            else:
                self.played(pcm, time.monotonic() + waiting + stream.latency)
        now = time.monotonic()
        self._played_by = max(now, self._played_by) + pcm.size / self._sample_rate

    def configure(self, config: AudioConfig) -> list[str]:
        names = self._device.change(config.output_device)
        self.name = self._device.name
        return names

    def close(self) -> None:
        if self._device.stream is not None:
            self._device.stream.drain()
        self._device.close()


class GatedMicrophone(AudioSource):
    """A microphone that does not hear the speaker beside it, if audio.open_speaker says so."""

    def __init__(
        self,
        microphone: MicrophoneSource,
        speaker: SpeakerSink,
        *,
        config: AudioConfig,
        sample_rate: int,
    ) -> None:
        self.name = microphone.name
        self._microphone = microphone
        self._speaker = speaker
        self._gate: EchoGate | None = None
        self._rate = sample_rate
        self._switch(config)

    def _switch(self, config: AudioConfig) -> None:
        wanted = config.open_speaker == "gate"
        if wanted and self._gate is None:
            self._gate = EchoGate(self._rate)
            self._speaker.played = self._gate.played
        elif not wanted:
            self._gate = None
            self._speaker.played = lambda _pcm, _at: None

    def figures(self) -> Figures:
        known = self._microphone.figures()
        gate = self._gate
        if gate is not None:
            gauges = {"echo_gate_closed": float(gate.closed), "echo_gain_db": gate.gain_db}
            known |= Figures(gauges=gauges)
        return known

    def read(self, timeout: float) -> Pcm:
        pcm = self._microphone.read(timeout)
        self.trouble = self._microphone.trouble
        gate = self._gate
        return pcm if gate is None else gate.push(pcm, self._microphone.captured_at)

    def configure(self, config: AudioConfig) -> list[str]:
        names = self._microphone.configure(config)
        self._switch(config)
        self.name = self._microphone.name
        return ["audio.open_speaker", *names]

    def close(self) -> None:
        self._microphone.close()


class FileSink(AudioSink):
    """A WAV or FLAC file of 16 bits; its header is right once the sink is closed.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: str, *, sample_rate: int) -> None:
        self.name = path
        check_output_path(path, what="recording", suffixes=AUDIO_SUFFIXES)
        self._writer = AudioWriter(path, sample_rate)

    def write(self, pcm: Pcm) -> None:
        self._writer.write(pcm)

    def close(self) -> None:
        self._writer.close()


class StandardOutput(AudioSink):
    """Standard output, as raw signed 16-bit little-endian mono."""

    name = "standard output"

    def write(self, pcm: Pcm) -> None:
        samples = np.clip(np.round(pcm * 32768.0), -32768, 32767).astype("<i2")
        sys.stdout.buffer.write(samples.tobytes())
        sys.stdout.buffer.flush()

    def close(self) -> None:
        sys.stdout.flush()


def open_source(config: AudioConfig, info: CodecInfo) -> AudioSource:
    """The source that a configuration names, at the codec's sample rate.

    Raises:
        AudioFileError: the file is missing or no audio.
        DeviceError: there is no microphone.
    """
    if config.input == MICROPHONE:
        return MicrophoneSource(config.input_device, sample_rate=info.sample_rate)
    if config.input == STANDARD_STREAM:
        return StandardInput(sample_rate=info.sample_rate, frame_size=info.frame_size)
    blocks = stream_audio(config.input, info.sample_rate, block=info.frame_size)
    return FileSource(blocks, name=config.input, frame_seconds=info.frame_size / info.sample_rate)


def open_sink(config: AudioConfig, info: CodecInfo) -> AudioSink:
    """The sink that a configuration names, at the codec's sample rate.

    Raises:
        InputError: the file cannot be written.
        DeviceError: there is no speaker.
    """
    if config.output == SPEAKER:
        return SpeakerSink(config.output_device, sample_rate=info.sample_rate)
    if config.output == STANDARD_STREAM:
        return StandardOutput()
    return FileSink(config.output, sample_rate=info.sample_rate)
