"""Sound devices: microphone and speaker through PortAudio.

The callbacks run in PortAudio's own thread and do nothing but copy to or from a ring
buffer; resampling, waiting and errors belong to the thread that reads or writes. All
calls for one stream come from one thread. PortAudio is loaded when it is first needed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from linkcodec.audiofile import Resampler
from linkcodec.codec import Pcm
from linkcodec.exceptions import DeviceError
from linkcodec.smoothing import RecentMean

__all__ = [
    "AudioInput",
    "AudioOutput",
    "DeviceInfo",
    "RingBuffer",
    "list_devices",
    "open_input",
    "open_output",
    "refresh_devices",
]

_Channels = npt.NDArray[np.float32]

_now = time.monotonic

_BUFFER_SECONDS: Final = 0.5
_BLOCK_SECONDS: Final = 0.01

_LATENCY_SECONDS: Final = 0.08
"""What PortAudio is asked for: its lowest, 20 ms through a sound server, runs dry all the time
on a busy machine."""

_LOCK: Final = threading.Lock()
"""Held while a stream is opened, and while PortAudio is started anew."""

_open_streams = 0

_ALTERNATIVES: Final = "use a file or - (standard input or output) instead of a sound device"


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """One sound device; `inputs` and `outputs` are numbers of channels."""

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    sample_rate: float
    is_default_input: bool
    is_default_output: bool


class RingBuffer:
    """Samples on their way between two threads: one that writes, one that reads.

    It needs no lock: each side moves its own counter only, after the copy is done. What
    does not fit is not taken, and counted in `dropped`.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring buffer holds at least one sample, not {capacity}")
        self._data = np.zeros(capacity, np.float32)
        self._written = 0
        self._read = 0
        self.dropped = 0

    @property
    def capacity(self) -> int:
        """The most samples it holds."""
        return self._data.size

    def __len__(self) -> int:
        """Samples waiting."""
        return self._written - self._read

    @property
    def written(self) -> int:
        """Samples taken so far."""
        return self._written

    @property
    def given(self) -> int:
        """Samples given so far."""
        return self._read

    @property
    def free(self) -> int:
        """Samples that still fit."""
        return self._data.size - len(self)

    def write(self, pcm: Pcm) -> int:
        """Append what fits; the number of samples taken."""
        taken = min(pcm.size, self.free)
        start = self._written % self._data.size
        first = min(taken, self._data.size - start)
        self._data[start : start + first] = pcm[:first]
        self._data[: taken - first] = pcm[first:taken]
        self._written += taken
        self.dropped += pcm.size - taken
        return taken

    def read_into(self, out: Pcm) -> int:
        """Fill `out` from its beginning with what is there; the number of samples given."""
        given = min(out.size, len(self))
        start = self._read % self._data.size
        first = min(given, self._data.size - start)
        out[:first] = self._data[start : start + first]
        out[first:given] = self._data[: given - first]
        self._read += given
        return given

    def read(self, samples: int) -> Pcm:
        """At most `samples` samples; shape (0..samples,)."""
        out = np.zeros(min(samples, len(self)), np.float32)
        return out[: self.read_into(out)]


class _Stream:
    """What input and output have in common."""

    def __init__(self, *, device: int | str | None, sample_rate: int, is_input: bool) -> None:
        global _open_streams  # noqa: PLW0603
        self._sd = _sounddevice()
        self._closed = True
        self._direction = "input" if is_input else "output"
        self.xruns = 0
        """Times that the sound system lost sound, as it says."""
        self._latency = RecentMean()
        self._passed: tuple[int, float] | None = None
        # Looking for devices again would take PortAudio away from under this.
        with _LOCK:
            self._open(device, sample_rate, is_input=is_input)
            _open_streams += 1
        self._closed = False

    def _open(self, device: int | str | None, sample_rate: int, *, is_input: bool) -> None:
        kind = self._sd.InputStream if is_input else self._sd.OutputStream
        number = _find(device, is_input=is_input)
        try:
            described = self._sd.query_devices(number)
            self.name: str = described["name"]
            self.device_rate, channels = self._settings(number, described, sample_rate)
            self._ring = RingBuffer(round(_BUFFER_SECONDS * self.device_rate))
            self._stream: Any = kind(
                device=number,
                samplerate=self.device_rate,
                channels=channels,
                dtype="float32",
                blocksize=round(_BLOCK_SECONDS * self.device_rate),
                latency=_LATENCY_SECONDS,
                callback=self._callback,
            )
        except self._sd.PortAudioError as error:
            raise self._cannot_open(number, error) from error
        try:
            self._stream.start()
        except self._sd.PortAudioError as error:
            self._stream.close(ignore_errors=True)
            raise self._cannot_open(number, error) from error

    @property
    def missed(self) -> int:
        """Samples at the device's rate that this program was too late for."""
        raise NotImplementedError

    @property
    def latency(self) -> float:
        """Seconds that the hardware, its driver and this class hold, a recent mean."""
        return self._latency.value

    def _cannot_open(self, number: int, error: Exception) -> DeviceError:
        return _failed(f"sound {self._direction} {number} cannot be opened", error)

    def _settings(self, number: int, described: dict[str, Any], wanted: int) -> tuple[int, int]:
        """The rate and channels nearest to `wanted` Hz mono that the device takes."""
        check = getattr(self._sd, f"check_{self._direction}_settings")
        most = described[f"max_{self._direction}_channels"]
        own_rate = round(described["default_samplerate"])
        for rate in (wanted, own_rate):
            for channels in (1, min(2, most)):
                try:
                    check(device=number, channels=channels, samplerate=rate, dtype="float32")
                except self._sd.PortAudioError:
                    continue
                return rate, channels
        return own_rate, min(2, most)  # Opening it says what is wrong.

    def _callback(self, data: _Channels, frames: int, moment: Any, status: object) -> None:
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        """False once the device has stopped by itself."""
        return bool(self._stream.active)

    def _check_alive(self) -> None:
        if not self.alive:
            raise DeviceError(f"sound {self._direction} '{self.name}' stopped: is it unplugged?")

    def close(self) -> None:
        """Stop the device; closing twice does no harm."""
        global _open_streams  # noqa: PLW0603
        if self._closed:
            return
        self._closed = True
        self._stream.close(ignore_errors=True)
        with _LOCK:
            _open_streams -= 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AudioInput(_Stream):
    """A microphone as a source of mono samples at `sample_rate`; a context manager."""

    def __init__(self, *, device: int | str | None, sample_rate: int) -> None:
        super().__init__(device=device, sample_rate=sample_rate, is_input=True)
        self._resampler = Resampler(self.device_rate, sample_rate)
        self._sample_rate = sample_rate
        self._given = 0
        self._ready = np.zeros(0, np.float32)

    def __enter__(self) -> AudioInput:
        return self

    @property
    def missed(self) -> int:
        """Samples at the device's rate that nobody read in time."""
        return self._ring.dropped

    def read(self, samples: int, *, timeout: float = 2.0) -> Pcm:
        """The next `samples` samples, waiting for them; shape (samples,).

        Raises:
            DeviceError: the device stopped, or gave nothing for `timeout` seconds.
        """
        waited = 0.0
        while self._ready.size < samples:
            fresh = self._ring.read(self._ring.capacity)
            if fresh.size:
                self._ready = np.concatenate([self._ready, self._resampler.push(fresh)])
                waited = 0.0
                continue
            self._check_alive()
            if waited >= timeout:
                raise DeviceError(f"sound input '{self.name}' gives no samples: choose another")
            time.sleep(_BLOCK_SECONDS)
            waited += _BLOCK_SECONDS
        given, self._ready = self._ready[:samples], self._ready[samples:]
        self._given += samples
        self._note_latency()
        return given

    def _note_latency(self) -> None:
        """How long ago the last sample given was at the microphone."""
        if self._passed is not None:
            written, moment = self._passed
            waiting = written / self.device_rate - self._given / self._sample_rate
            self._latency.add(_now() - moment + waiting)

    def _callback(self, data: _Channels, frames: int, moment: Any, status: object) -> None:
        self._ring.write(data[:, 0])
        self.xruns += bool(status)
        age = moment.currentTime - moment.inputBufferAdcTime
        self._passed = (self._ring.written, _now() - age + frames / self.device_rate)


class AudioOutput(_Stream):
    """A speaker for mono samples at `sample_rate`; a context manager."""

    def __init__(self, *, device: int | str | None, sample_rate: int) -> None:
        self.underruns = 0
        """Samples at the device's rate that were missing and played as zero, since the first
        `write`."""
        self._started = False
        self._taken = 0
        super().__init__(device=device, sample_rate=sample_rate, is_input=False)
        self._sample_rate = sample_rate
        self._resampler = Resampler(sample_rate, self.device_rate)

    def __enter__(self) -> AudioOutput:
        return self

    @property
    def missed(self) -> int:
        return self.underruns

    @property
    def waiting(self) -> float:
        """Seconds of sound that wait to be played."""
        return len(self._ring) / self.device_rate

    @property
    def dropped(self) -> int:
        """Samples at the device's rate that found the buffer full."""
        return self._ring.dropped

    def write(self, pcm: Pcm) -> None:
        """Queue samples; what does not fit is dropped and counted. Never waits.

        Raises:
            DeviceError: the device stopped.
        """
        self._check_alive()
        self._note_latency()
        self._taken += pcm.size
        self._ring.write(self._resampler.push(pcm))
        self._started = True

    def _note_latency(self) -> None:
        """How long the next sample takes to the ear, without its wait in the ring buffer."""
        if self._passed is not None and self._started:
            read, moment = self._passed
            taken = self._taken / self._sample_rate - self.dropped / self.device_rate
            self._latency.add(moment - _now() + taken - read / self.device_rate - self.waiting)

    def drain(self, *, timeout: float = 2.0) -> None:
        """Wait until all that was written is played, at most `timeout` seconds."""
        self._ring.write(self._resampler.flush())
        self._started = False
        waited = 0.0
        while len(self._ring) and self._stream.active and waited < timeout:
            time.sleep(_BLOCK_SECONDS)
            waited += _BLOCK_SECONDS

    def _callback(self, data: _Channels, frames: int, moment: Any, status: object) -> None:
        self.xruns += bool(status)
        given = self._ring.read_into(data[:, 0])
        data[given:, 0] = 0.0
        data[:, 1:] = data[:, :1]
        ahead = moment.outputBufferDacTime - moment.currentTime
        self._passed = (self._ring.given, _now() + ahead + frames / self.device_rate)
        if self._started:
            self.underruns += frames - given


def list_devices() -> list[DeviceInfo]:
    """All sound devices; an empty list where there are none.

    Raises:
        DeviceError: PortAudio is missing or failed.
    """
    sd = _sounddevice()
    try:
        host_apis = [api["name"] for api in sd.query_hostapis()]
        devices = list(sd.query_devices())
    except sd.PortAudioError as error:
        raise _failed("the sound devices cannot be listed", error) from error
    default_input, default_output = _default(sd, "input"), _default(sd, "output")
    return [
        DeviceInfo(
            index=index,
            name=device["name"],
            host_api=host_apis[device["hostapi"]],
            inputs=device["max_input_channels"],
            outputs=device["max_output_channels"],
            sample_rate=device["default_samplerate"],
            is_default_input=index == default_input,
            is_default_output=index == default_output,
        )
        for index, device in enumerate(devices)
    ]


def refresh_devices() -> None:
    """Look again which devices there are: PortAudio by itself never does.

    It can only do so while this process has no device open; else nothing happens.

    Raises:
        DeviceError: PortAudio is missing or failed.
    """
    sd = _sounddevice()
    with _LOCK:
        if _open_streams:
            return
        try:
            sd._terminate()
            sd._initialize()
        except sd.PortAudioError as error:
            raise _failed("the sound devices cannot be listed", error) from error


def open_input(device: int | str | None = None, *, sample_rate: int) -> AudioInput:
    """Start a microphone: by number, by a part of its name, or the default one.

    Raises:
        DeviceError: there is no such device, or it cannot be opened.
    """
    return AudioInput(device=device, sample_rate=sample_rate)


def open_output(device: int | str | None = None, *, sample_rate: int) -> AudioOutput:
    """Start a speaker: by number, by a part of its name, or the default one.

    Raises:
        DeviceError: there is no such device, or it cannot be opened.
    """
    return AudioOutput(device=device, sample_rate=sample_rate)


def _sounddevice() -> ModuleType:
    try:
        import sounddevice  # type: ignore[import-untyped]
    except ImportError as error:
        raise DeviceError(f"the package sounddevice is missing: {_ALTERNATIVES}") from error
    except OSError as error:
        raise DeviceError(
            f"PortAudio is missing: install libportaudio2, or {_ALTERNATIVES}"
        ) from error
    module: ModuleType = sounddevice
    return module


def _find(device: int | str | None, *, is_input: bool) -> int:
    """The number of a device, or a message with what there is."""
    direction = "input" if is_input else "output"
    usable = [info for info in list_devices() if (info.inputs if is_input else info.outputs) > 0]
    if not usable:
        raise DeviceError(f"no sound {direction} device: {_ALTERNATIVES}")
    if device is None:
        for info in usable:
            if info.is_default_input if is_input else info.is_default_output:
                return info.index
        return usable[0].index
    if isinstance(device, str) and not device.isdecimal():
        matches = [info for info in usable if device.lower() in info.name.lower()]
        exact = [info for info in matches if info.name.lower() == device.lower()]
        matches = exact or matches
    else:
        matches = [info for info in usable if info.index == int(device)]
    if not matches:
        raise DeviceError(
            f"no sound {direction} device '{device}': see `linkcodec devices`, or {_ALTERNATIVES}"
        )
    # The same card shows up once per host API; the first is PortAudio's choice.
    same_api = [info for info in matches if info.host_api == matches[0].host_api]
    if len(same_api) > 1:
        names = ", ".join(f"{info.index} ({info.name})" for info in same_api[:4])
        raise DeviceError(f"sound {direction} device '{device}' may be {names}: give the number")
    return matches[0].index


def _default(sd: ModuleType, kind: str) -> int:
    """The number of the default device, -1 without one."""
    try:
        index: int = sd.query_devices(kind=kind)["index"]
    except (sd.PortAudioError, ValueError):
        return -1
    return index


def _failed(what: str, error: Exception) -> DeviceError:
    reason = " ".join(str(error).split())
    return DeviceError(f"{what} ({reason}): {_ALTERNATIVES}")
