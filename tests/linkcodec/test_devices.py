"""Sound devices, with PortAudio played by a stand-in, and the ring buffer."""

from __future__ import annotations

import builtins
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec import devices
from linkcodec.devices import RingBuffer, list_devices, open_input, open_output
from linkcodec.exceptions import DeviceError


class PortAudioError(Exception):
    """As sounddevice's."""


def described(name: str, inputs: int, outputs: int, rate: float = 48_000.0, api: int = 0) -> Any:
    return {
        "name": name,
        "hostapi": api,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate,
    }


MOMENT = SimpleNamespace(currentTime=5.0, inputBufferAdcTime=4.97, outputBufferDacTime=5.04)
"""The sound system holds 30 ms on the way in, and 40 ms on the way out."""


class Stream:
    """A stream whose callbacks the test calls by hand."""

    def __init__(self, owner: StandIn, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.callback: Callable[..., None] = settings["callback"]
        self.active = False
        self._owner = owner

    def start(self) -> None:
        if self._owner.start_fails:
            raise PortAudioError("Device\nunavailable")
        self.active = True

    def close(self, **_options: Any) -> None:
        self.active = False
        self._owner.closed += 1

    def capture(self, pcm: np.ndarray[Any, Any]) -> None:
        data = np.repeat(pcm[:, None], self.settings["channels"], axis=1).astype(np.float32)
        data[:, 1:] = 9.0
        self.callback(data, len(data), MOMENT, None)

    def play(self, frames: int) -> np.ndarray[Any, Any]:
        data = np.full((frames, self.settings["channels"]), 7.0, np.float32)
        self.callback(data, frames, MOMENT, None)
        return data


class StandIn:
    """What `linkcodec.devices` uses of the module sounddevice."""

    PortAudioError = PortAudioError

    def __init__(self, found: list[Any], *, takes: set[tuple[int, int]] | None = None) -> None:
        self.found = [{**device, "index": index} for index, device in enumerate(found)]
        self.takes = takes
        self.default = {"input": 0, "output": 0}
        self.streams: list[Stream] = []
        self.start_fails = False
        self.closed = 0
        self.looked = 0
        self.lost = False

    def query_hostapis(self) -> list[Any]:
        return [{"name": "ALSA"}, {"name": "JACK"}]

    def query_devices(self, device: int | None = None, kind: str | None = None) -> Any:
        if kind is not None:
            index = self.default[kind]
            if index < 0:
                raise PortAudioError("Error querying device -1")
            return self.found[index]
        return self.found if device is None else self.found[device]

    def _check(self, *, channels: int, samplerate: int, **_rest: Any) -> None:
        if self.takes is not None and (samplerate, channels) not in self.takes:
            raise PortAudioError("Invalid sample rate")

    check_input_settings = check_output_settings = _check

    def _open(self, **settings: Any) -> Stream:
        self._check(**settings)
        self.streams.append(Stream(self, settings))
        return self.streams[-1]

    InputStream = OutputStream = _open

    def _terminate(self) -> None:
        self.looked += 1

    def _initialize(self) -> None:
        if self.lost:
            raise PortAudioError("Host error")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StandIn]:
    def put(*found: Any, takes: set[tuple[int, int]] | None = None) -> StandIn:
        sound = StandIn(list(found), takes=takes)
        monkeypatch.setitem(sys.modules, "sounddevice", sound)
        monkeypatch.setattr(devices, "time", SimpleNamespace(sleep=lambda _seconds: None))
        return sound

    return put


Install = Callable[..., StandIn]
HEADSET = described("USB Headset: Audio (hw:1,0)", 1, 2)
SPEAKER = described("HDA Intel: HDMI (hw:0,3)", 0, 8)
BOTH = described("HDA Intel: Analog (hw:0,0)", 2, 2)


def test_list(install: Install) -> None:
    sound = install(SPEAKER, HEADSET, described("system", 2, 2, 44_100.0, api=1))
    sound.default = {"input": 1, "output": 0}
    found = list_devices()
    assert [device.index for device in found] == [0, 1, 2]
    assert [device.host_api for device in found] == ["ALSA", "ALSA", "JACK"]
    assert [(device.inputs, device.outputs) for device in found] == [(0, 8), (1, 2), (2, 2)]
    assert [device.is_default_input for device in found] == [False, True, False]
    assert [device.is_default_output for device in found] == [True, False, False]


def test_a_receive_only_machine(install: Install) -> None:
    sound = install(SPEAKER)
    sound.default = {"input": -1, "output": 0}
    assert [device.is_default_input for device in list_devices()] == [False]
    open_output(sample_rate=16_000).close()
    with pytest.raises(DeviceError, match="no sound input device: use a file or -"):
        open_input(sample_rate=16_000)


def test_no_devices(install: Install) -> None:
    install().default = {"input": -1, "output": -1}
    assert list_devices() == []
    with pytest.raises(DeviceError, match="no sound output device: use a file or -"):
        open_output(sample_rate=16_000)


@pytest.mark.parametrize(
    ("error", "text"),
    [(OSError("PortAudio library not found"), "install libportaudio2"), (ImportError(), "missing")],
)
def test_no_portaudio(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    real = builtins.__import__

    def fail(name: str, *rest: Any, **more: Any) -> Any:
        if name == "sounddevice":
            raise error
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", fail)
    for action in (list_devices, lambda: open_input(sample_rate=16_000)):
        with pytest.raises(DeviceError, match=text) as caught:
            action()
        assert "use a file or -" in str(caught.value)


@pytest.mark.parametrize(
    ("device", "index"), [(None, 2), (1, 1), ("1", 1), ("headset", 1), ("Analog", 2)]
)
def test_choice_of_a_device(install: Install, device: int | str | None, index: int) -> None:
    sound = install(SPEAKER, HEADSET, BOTH, described(HEADSET["name"], 1, 2, api=1))
    sound.default = {"input": 2, "output": 0}
    with open_input(device, sample_rate=16_000) as source:
        assert sound.streams[-1].settings["device"] == index
        assert source.name == sound.found[index]["name"]
    assert sound.closed == 1


@pytest.mark.parametrize("device", ["nothing", 7, "0", "HDMI"])
def test_an_unknown_device(install: Install, device: int | str) -> None:
    """A device with outputs only is no input."""
    install(SPEAKER, HEADSET)
    with pytest.raises(DeviceError, match=f"no sound input device '{device}': see `linkcodec dev"):
        open_input(device, sample_rate=16_000)


def test_an_ambiguous_name(install: Install) -> None:
    install(HEADSET, SPEAKER, BOTH, described("HDA Intel", 2, 2))
    with pytest.raises(DeviceError, match=r"'hda' may be 1 .*, 2 .*, 3 .*: give the number"):
        open_output("hda", sample_rate=16_000)
    with open_output("hda intel", sample_rate=16_000) as sink:
        assert sink.name == "HDA Intel"


def test_a_device_that_cannot_be_opened(install: Install) -> None:
    install(BOTH, takes=set())
    with pytest.raises(DeviceError, match=r"sound input 0 cannot be opened \(Invalid") as error:
        open_input(sample_rate=16_000)
    assert "\n" not in str(error.value)
    sound = install(BOTH)
    sound.start_fails = True
    with pytest.raises(DeviceError, match=r"output 0 cannot be opened \(Device unavailable\)"):
        open_output(sample_rate=16_000)
    assert sound.closed == 1


@pytest.mark.parametrize(
    ("takes", "rate", "channels"),
    [
        (None, 16_000, 1),
        ({(16_000, 2), (48_000, 1)}, 16_000, 2),
        ({(48_000, 1), (48_000, 2)}, 48_000, 1),
        ({(48_000, 2)}, 48_000, 2),
    ],
)
def test_rate_and_channels(
    install: Install, takes: set[tuple[int, int]] | None, rate: int, channels: int
) -> None:
    sound = install(BOTH, takes=takes)
    tone = np.sin(2 * np.pi * 500 * np.arange(rate // 4) / rate).astype(np.float32)
    expected = np.sin(2 * np.pi * 500 * np.arange(4000) / 16_000)
    with open_input(sample_rate=16_000) as source:
        stream = sound.streams[-1]
        assert (stream.settings["samplerate"], stream.settings["channels"]) == (rate, channels)
        stream.capture(tone)
        heard = source.read(3000)
    np.testing.assert_allclose(heard[200:], expected[200:3000], atol=0.01)
    with open_output(sample_rate=16_000) as sink:
        sink.write(expected.astype(np.float32))
        played = sound.streams[-1].play(rate // 8)
    np.testing.assert_allclose(played[rate // 80 :, 0], tone[rate // 80 : rate // 8], atol=0.01)
    np.testing.assert_array_equal(played[:, 0], played[:, -1])


def test_input_gives_exactly_what_is_asked(install: Install) -> None:
    sound = install(BOTH)
    pcm = np.arange(4000, dtype=np.float32) / 4000
    with open_input(sample_rate=16_000) as source:
        for start in range(0, 4000, 160):
            sound.streams[0].capture(pcm[start : start + 160])
        parts = [source.read(size) for size in (1, 1280, 0, 1280, 1439)]
    assert [part.size for part in parts] == [1, 1280, 0, 1280, 1439]
    np.testing.assert_array_equal(np.concatenate(parts), pcm)


def test_input_overflow_is_counted(install: Install) -> None:
    sound = install(BOTH)
    with open_input(sample_rate=16_000) as source:
        for _ in range(60):
            sound.streams[0].capture(np.zeros(160))
        assert source.missed == 60 * 160 - 8000


def test_input_that_dies_or_stays_silent(install: Install) -> None:
    sound = install(BOTH)
    with open_input(sample_rate=16_000) as source:
        sound.streams[0].capture(np.zeros(100))
        with pytest.raises(DeviceError, match="gives no samples"):
            source.read(1280)
        sound.streams[0].active = False
        with pytest.raises(DeviceError, match="stopped: is it unplugged"):
            source.read(1280)


def test_output_counts_underruns_only_while_it_plays(install: Install) -> None:
    sound = install(BOTH)
    with open_output(sample_rate=16_000) as sink:
        stream = sound.streams[0]
        np.testing.assert_array_equal(stream.play(160), 0.0)
        assert sink.underruns == 0
        sink.write(np.full(200, 0.5, np.float32))
        assert sink.waiting == pytest.approx(200 / 16_000)
        np.testing.assert_array_equal(stream.play(160), 0.5)
        last = stream.play(160)
        np.testing.assert_array_equal(last[:40], 0.5)
        np.testing.assert_array_equal(last[40:], 0.0)
        assert sink.underruns == 120
        sink.drain()
        stream.play(160)
        assert sink.underruns == 120


class Clock:
    """Stands for this machine's clock."""

    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(devices, "_now", lambda: clock.now)
    return clock


both_rates = pytest.mark.parametrize("device_rate", [16_000, 48_000])


@both_rates
def test_latency_of_the_microphone(install: Install, clock: Clock, device_rate: int) -> None:
    """What PortAudio says, and what waits in the ring buffer and in the resampler."""
    sound = install(BOTH, takes={(device_rate, 1)})
    with open_input(sample_rate=16_000) as source:
        assert source.latency == 0.0
        for _ in range(10):
            sound.streams[0].capture(np.zeros(device_rate // 100))
        source.read(320)
        # Its last sample came 80 ms before the newest, whose block began 30 ms ago.
        assert source.latency == pytest.approx(0.1)
        clock.now += 0.5
        source.read(160)
        assert source.latency == pytest.approx((0.1 + 0.59) / 2)


@both_rates
def test_latency_of_the_speaker(install: Install, clock: Clock, device_rate: int) -> None:
    """What PortAudio says, and what waits in the resampler, but not in the ring buffer."""
    sound = install(BOTH, takes={(device_rate, 1)})
    with open_output(sample_rate=16_000) as sink:
        sink.write(np.zeros(1600, np.float32))
        sound.streams[0].play(device_rate // 100)
        resampler = 0.09 - sink.waiting
        assert -1e-6 <= resampler < 0.02
        sink.write(np.zeros(1600, np.float32))
        # The block's first sample is heard in 40 ms, the one after it 10 ms later.
        assert sink.latency == pytest.approx(0.05 + resampler, abs=1e-3)
        clock.now += 0.02
        sink.write(np.zeros(1600, np.float32))
        assert sink.latency == pytest.approx(0.04 + resampler, abs=5e-3)


def test_stalls_of_the_sound_system_are_counted(install: Install) -> None:
    sound = install(BOTH)
    with open_input(sample_rate=16_000) as source:
        for status in (0, 2, 0, 2):
            source._callback(np.zeros((160, 1), np.float32), 160, MOMENT, status)
        assert source.xruns == 2
    assert sound.closed == 1


def test_output_overflow_is_counted(install: Install) -> None:
    install(BOTH)
    with open_output(sample_rate=16_000) as sink:
        sink.write(np.zeros(9000, np.float32))
        assert sink.dropped == 1000


def test_output_that_dies(install: Install) -> None:
    sound = install(BOTH)
    with open_output(sample_rate=16_000) as sink:
        sound.streams[0].active = False
        with pytest.raises(DeviceError, match=r"sound output .* stopped"):
            sink.write(np.zeros(160, np.float32))


def test_drain_waits_until_all_is_played(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = install(BOTH)
    with open_output(sample_rate=16_000) as sink:
        stream = sound.streams[0]
        sink.write(np.zeros(1000, np.float32))
        monkeypatch.setattr(
            devices, "time", SimpleNamespace(sleep=lambda _seconds: stream.play(160))
        )
        sink.drain()
        assert sink.waiting == 0
        sink.write(np.zeros(8000, np.float32))
        sink.drain(timeout=0.05)
        assert sink.waiting == pytest.approx((8000 - 5 * 160) / 16_000)


def test_devices_are_looked_for_again_only_while_none_is_open(install: Install) -> None:
    sound = install(BOTH)
    devices.refresh_devices()
    assert sound.looked == 1
    with open_input(sample_rate=16_000) as source, open_output(sample_rate=16_000) as sink:
        devices.refresh_devices()
        source.close()
        source.close()
        devices.refresh_devices()
        assert sound.looked == 1
        assert sink.alive
    devices.refresh_devices()
    assert sound.looked == 2
    sound.lost = True
    with pytest.raises(DeviceError, match="cannot be listed"):
        devices.refresh_devices()


@settings(deadline=None)
@given(st.integers(1, 50), st.lists(st.tuples(st.booleans(), st.integers(0, 70)), max_size=60))
def test_ring_buffer_against_a_list(capacity: int, steps: list[tuple[bool, int]]) -> None:
    ring, model, number, dropped = RingBuffer(capacity), list[float](), 0, 0
    for is_write, size in steps:
        if is_write:
            values = [float(number + offset) for offset in range(size)]
            number += size
            taken = ring.write(np.array(values, np.float32))
            assert taken == min(size, capacity - len(model))
            model += values[:taken]
            dropped += size - taken
        else:
            assert ring.read(size).tolist() == model[:size]
            model = model[size:]
        assert (len(ring), ring.free, ring.dropped) == (len(model), capacity - len(model), dropped)
        assert ring.capacity == capacity


def test_ring_buffer_between_two_threads() -> None:
    ring, total = RingBuffer(997), 100_000
    received: list[np.ndarray[Any, Any]] = []
    done = threading.Event()

    def write() -> None:
        sent = 0
        while sent < total:
            size = min(160, total - sent, ring.free)
            sent += ring.write(np.arange(sent, sent + size, dtype=np.float32))
            if not size:
                time.sleep(0)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set() or len(ring):
        part = ring.read(333)
        received.append(part)
        if not part.size:
            time.sleep(0)
    writer.join()
    np.testing.assert_array_equal(np.concatenate(received), np.arange(total, dtype=np.float32))
    assert ring.dropped == 0


def test_ring_buffer_holds_something() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        RingBuffer(0)


def test_nobody_looks_again_while_a_stream_is_opened(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end PortAudio under the thread that opens: both devices may be gone at once."""
    sound = install(BOTH)
    other = threading.Thread(target=devices.refresh_devices)
    start = Stream.start

    def start_slowly(stream: Stream) -> None:
        other.start()
        other.join(0.1)
        assert sound.looked == 0
        start(stream)

    monkeypatch.setattr(Stream, "start", start_slowly)
    with open_input(sample_rate=16_000):
        other.join()
        assert sound.looked == 0
