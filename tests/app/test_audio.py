from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import tonecodec

from linkcodec.app.audio import (
    AudioSink,
    FileSink,
    GatedMicrophone,
    MicrophoneSource,
    SpeakerSink,
    StandardInput,
    open_sink,
    open_source,
)
from linkcodec.app.config import AudioConfig, parse_config
from linkcodec.app.status import StatusLine
from linkcodec.codec import Pcm
from linkcodec.exceptions import AudioFileError, ConfigError, DeviceError, InputError
from receiver import ReceiverCore, _Playback, run
from transport.links import MemoryLink

RATE = tonecodec.SAMPLE_RATE
SIZE = tonecodec.FRAME_SIZE
INFO = tonecodec.ToneCodec().info


def sine(seconds: float, rate: int = RATE) -> Pcm:
    time_axis = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2.0 * np.pi * 440.0 * time_axis)).astype(np.float32)


def wav(pcm: Pcm, rate: int, subtype: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, pcm, rate, subtype=subtype, format="WAV")
    return stream.getvalue()


def read_all(source: StandardInput) -> Pcm:
    pieces = []
    while not source.ended:
        pieces.append(source.read(0.05))
    return np.concatenate(pieces)


class FakeTime:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr("linkcodec.app.audio.time", fake)
    return fake


def test_standard_input_is_paced_and_complete(clock: FakeTime) -> None:
    pcm = sine(0.3)
    reader, writer = os.pipe()
    os.write(writer, np.round(pcm * 32768.0).astype("<i2").tobytes())
    os.close(writer)
    source = StandardInput(sample_rate=RATE, frame_size=SIZE, descriptor=reader)
    heard = read_all(source)
    assert clock.now == pytest.approx(100.32)
    os.close(reader)
    assert np.allclose(heard, pcm, atol=1e-4)


def test_standard_input_waits_no_longer_than_asked() -> None:
    reader, writer = os.pipe()
    source = StandardInput(sample_rate=RATE, frame_size=SIZE, descriptor=reader)
    assert source.read(0.01).size == 0
    assert not source.ended
    os.close(writer)
    os.close(reader)


def test_empty_standard_input_is_an_error() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    source = StandardInput(sample_rate=RATE, frame_size=SIZE, descriptor=reader)
    with pytest.raises(AudioFileError, match="standard input is empty"):
        source.read(0.1)
    os.close(reader)


def test_what_was_spoken_during_a_stall_is_caught_up_with(clock: FakeTime) -> None:
    """A second that the pipe held would else be late for the rest of the call."""
    reader, writer = os.pipe()
    frame = bytes(2 * SIZE)
    source = StandardInput(sample_rate=RATE, frame_size=SIZE, descriptor=reader)
    for _ in range(3):
        os.write(writer, frame)
        assert source.read(0.1).size == SIZE
    clock.now += 1.2
    for _ in range(15):
        os.write(writer, frame)
    assert [source.read(0.0).size for _ in range(16)] == [SIZE] * 15 + [0]
    for _ in range(3):
        clock.now += 0.08
        os.write(writer, frame)
        assert source.read(0.0).size == SIZE
    os.close(writer)
    os.close(reader)


def test_a_fast_writer_gains_no_more_than_a_pipe_holds(clock: FakeTime) -> None:
    reader, writer = os.pipe()
    source = StandardInput(sample_rate=RATE, frame_size=SIZE, descriptor=reader)
    os.write(writer, bytes(2 * SIZE))
    assert source.read(0.1).size == SIZE
    clock.now += 3600.0
    taken = 0
    for _ in range(70):
        os.write(writer, bytes(2 * SIZE))
        taken += source.read(0.0).size
    assert taken / RATE == pytest.approx(5.0, abs=0.17)
    os.close(writer)
    os.close(reader)


def test_late_writers_do_not_add_up(clock: FakeTime) -> None:
    """Each pause of a live writer is its own; no credit for a burst comes of them."""
    reader, writer = os.pipe()
    source = StandardInput(sample_rate=RATE, frame_size=SIZE, descriptor=reader)
    for _ in range(20):
        clock.now += 1.0
        assert source.read(0.0).size == 0
    os.write(writer, bytes(2 * 20 * SIZE))
    sizes = [source.read(0.0).size for _ in range(20)]
    assert sum(map(bool, sizes)) * SIZE / RATE == pytest.approx(0.5, abs=0.17)
    os.close(writer)
    os.close(reader)


def test_file_source_gives_the_whole_file_at_its_pace(tmp_path: Path, clock: FakeTime) -> None:
    pcm = sine(0.25)
    path = tmp_path / "in.wav"
    soundfile.write(path, pcm, RATE, subtype="PCM_16")
    source = open_source(AudioConfig(input=str(path)), INFO)
    pieces = []
    while not source.ended:
        pieces.append(source.read(0.05))
    source.close()
    assert np.allclose(np.concatenate(pieces), pcm, atol=1e-3)
    assert clock.now == pytest.approx(100.32)


def test_missing_file_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"missing.wav"):
        open_source(AudioConfig(input=str(tmp_path / "missing.wav")), INFO)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_file_sink(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    sink = open_sink(AudioConfig(output=str(path)), INFO)
    assert isinstance(sink, FileSink)
    pcm = sine(0.2)
    for start in range(0, pcm.size, 700):
        sink.write(pcm[start : start + 700])
    sink.close()
    heard, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    assert np.allclose(heard, pcm, atol=1e-4)


@pytest.mark.parametrize("name", ["out.mp3", "out", "missing/out.wav"])
def test_impossible_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=str(tmp_path / name)):
        open_sink(AudioConfig(output=str(tmp_path / name)), INFO)


class FakeDevice:
    """Stands for a microphone that hears a sine, and for a speaker."""

    name = "fake"

    def __init__(self) -> None:
        self.written: list[Pcm] = []
        self.waiting = 0.0
        self.calls: list[str] = []
        self.alive = True
        self.latency = 0.01
        self.missed = self.xruns = 0

    def read(self, samples: int, *, timeout: float = 2.0) -> Pcm:  # noqa: ARG002
        self._check()
        return np.full(samples, 0.5, np.float32)

    def _check(self) -> None:
        if not self.alive:
            raise DeviceError("sound input 'fake' stopped: is it unplugged?")

    def write(self, pcm: Pcm) -> None:
        self._check()
        self.written.append(pcm)
        self.waiting += pcm.size / RATE

    def drain(self) -> None:
        self.calls.append("drain")

    def close(self) -> None:
        self.calls.append("close")


def test_microphone_is_read_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    asked: list[object] = []

    def open_input(name: object, *, sample_rate: int) -> FakeDevice:
        asked.append((name, sample_rate))
        return device

    monkeypatch.setattr("linkcodec.devices.open_input", open_input)
    source = open_source(AudioConfig(input_device="USB"), INFO)
    assert source.read(0.05).size == RATE // 100
    assert not source.ended
    source.close()
    open_source(AudioConfig(), INFO)
    assert asked == [("USB", RATE), (None, RATE)]
    assert device.calls == ["close"]


def test_speaker_is_drained_before_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    monkeypatch.setattr("linkcodec.devices.open_output", lambda *_, **__: device)
    sink = open_sink(AudioConfig(), INFO)
    assert isinstance(sink, SpeakerSink)
    sink.write(sine(0.1))
    assert sink.waiting == pytest.approx(0.1)
    sink.close()
    assert device.calls == ["drain", "close"]


def receiver_with_speaker(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[FakeDevice, ReceiverCore, AudioSink]:
    device = FakeDevice()
    monkeypatch.setattr("linkcodec.devices.open_output", lambda *_, **__: device)
    config = parse_config(
        '[link]\nkind = "loopback"\nrate = 1200\nframing = "sync"\n[wire]\nframes_per_packet = 7',
        source="test",
    )
    core = ReceiverCore(codec=tonecodec.ToneCodec(), config=config, datagram=True)
    return device, core, open_sink(config.audio, INFO)


def test_receiver_keeps_a_speaker_fed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    device, core, sink = receiver_with_speaker(monkeypatch)
    near, far = MemoryLink.pair()
    rounds = iter(range(5))
    run(
        core,
        codec=tonecodec.ToneCodec(),
        sink=sink,
        link=near,
        status=StatusLine(io.StringIO(), quiet=True),
        stop=lambda: next(rounds, None) is None,
    )
    far.close()
    assert [pcm.size for pcm in device.written] == [SIZE, SIZE]


@pytest.mark.parametrize("frames", [0.0, 1.4, 1.5, 1.51, 2.0])
def test_receiver_sleeps_while_the_speaker_has_enough(
    frames: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, core, sink = receiver_with_speaker(monkeypatch)
    playback = _Playback(core, sink, tonecodec.ToneCodec())
    device.waiting = frames * 0.08
    wait = playback.next_time(10.0) - 10.0
    playback.play(10.0)
    assert bool(device.written) == (frames < 1.5)
    assert wait == 0.0 if device.written else wait >= 0.005


class Shelf:
    """Gives out one device after the other; None stands for a time without any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: FakeDevice | None) -> None:
        self.found = list(found)
        self.refreshed = 0
        monkeypatch.setattr("linkcodec.devices.open_input", self.take)
        monkeypatch.setattr("linkcodec.devices.open_output", self.take)
        monkeypatch.setattr("linkcodec.devices.refresh_devices", self.refresh)

    def take(self, *_: object, **__: object) -> FakeDevice:
        device = self.found.pop(0)
        if device is None:
            raise DeviceError("no sound device: use a file")
        return device

    def refresh(self) -> None:
        self.refreshed += 1


def test_microphone_that_vanishes_gives_silence_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, clock: FakeTime
) -> None:
    first, second = FakeDevice(), FakeDevice()
    shelf = Shelf(monkeypatch, first, None, second)
    source = open_source(AudioConfig(), INFO)
    assert source.read(0.05).any()
    first.alive = False
    silence = np.concatenate([source.read(0.05) for _ in range(90)])
    assert not silence.any()
    assert silence.size == 0.9 * RATE
    assert "gone" in source.trouble or "stopped; waiting" in source.trouble
    assert first.calls == ["close"]
    clock.now += 0.2
    assert not source.read(0.05).any(), "it is not back at the first try"
    clock.now += 1.1
    assert source.read(0.05).any()
    assert source.trouble == ""
    assert shelf.refreshed == 2
    source.close()
    assert second.calls == ["close"]


def test_speaker_that_vanishes_throws_sound_away_at_its_pace(
    monkeypatch: pytest.MonkeyPatch, clock: FakeTime
) -> None:
    first, second = FakeDevice(), FakeDevice()
    Shelf(monkeypatch, first, second)
    sink = open_sink(AudioConfig(), INFO)
    assert isinstance(sink, SpeakerSink)
    sink.write(sine(0.1))
    first.alive = False
    assert sink.waiting == pytest.approx(0.1)
    sink.write(sine(0.1))
    assert sink.waiting == pytest.approx(0.2)
    clock.now += 0.15
    assert sink.waiting == pytest.approx(0.05)
    sink.write(sine(0.1))
    assert "waiting for it to come back" in sink.trouble
    clock.now += 1.0
    sink.write(sine(0.1))
    assert sink.trouble == ""
    assert [pcm.size for pcm in second.written] == [round(0.1 * RATE)]
    sink.close()


def test_another_device_during_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = FakeDevice(), FakeDevice()
    second.name = "USB"
    Shelf(monkeypatch, first, None, second)
    source = open_source(AudioConfig(), INFO)
    assert source.configure(AudioConfig()) == ["audio.input_device"]
    with pytest.raises(DeviceError, match=r"audio\.input_device = 'USB' is not used: no sound"):
        source.configure(AudioConfig(input_device="USB"))
    assert source.read(0.05).any()
    first.missed, second.missed = 7, 2
    assert source.configure(AudioConfig(input_device="USB")) == ["audio.input_device"]
    assert first.calls == ["close"]
    assert source.name == "USB"
    assert source.figures().counters["microphone_missed_total"] == 9
    assert source.read(0.05).any()
    source.close()
    assert second.calls == ["close"]


def test_another_speaker_during_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = FakeDevice(), FakeDevice()
    Shelf(monkeypatch, first, second)
    sink = open_sink(AudioConfig(), INFO)
    sink.write(sine(0.1))
    assert sink.configure(AudioConfig(output_device="desk")) == ["audio.output_device"]
    sink.write(sine(0.1))
    assert (len(first.written), len(second.written)) == (1, 1)
    sink.close()


def test_files_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(wav(sine(0.2), RATE, "PCM_16"))
    source = open_source(AudioConfig(input=str(path)), INFO)
    assert source.configure(AudioConfig(input_device="USB")) == []
    source.close()


def test_open_speaker_is_not_heard(monkeypatch: pytest.MonkeyPatch, clock: FakeTime) -> None:
    """What the speaker plays and the microphone hears goes no farther, once that is asked for."""
    speaker, microphone = FakeDevice(), FakeDevice()
    loud = tonecodec.speech_like(0.5)
    monkeypatch.setattr("linkcodec.devices.open_output", lambda *_, **__: speaker)
    monkeypatch.setattr("linkcodec.devices.open_input", lambda *_, **__: microphone)
    sink, source = open_sink(AudioConfig(), INFO), open_source(AudioConfig(), INFO)
    assert isinstance(sink, SpeakerSink)
    assert isinstance(source, MicrophoneSource)
    config = AudioConfig(open_speaker="gate")
    gated = GatedMicrophone(source, sink, config=AudioConfig(), sample_rate=RATE)
    quiet = np.full(RATE // 100, 1e-4, np.float32)

    def heard(gain: float = 0.3) -> Pcm:
        if gain:
            sink.write(loud[: RATE // 10])
        pieces = []
        for number in range(10):
            speaker.waiting = 0.0
            clock.now += 0.01
            echo = loud[number * RATE // 100 : (number + 1) * RATE // 100]
            pcm = np.float32(gain) * echo + quiet
            monkeypatch.setattr(microphone, "read", lambda *_, pcm=pcm, **__: pcm)
            pieces.append(gated.read(0.05))
        return np.concatenate(pieces)

    assert np.std(heard()) > 0.01
    assert "audio.open_speaker" in gated.configure(config)
    assert gated.figures().gauges["echo_gain_db"] is not None
    for gain in (0.0, 0.0, 0.3, 0.3):
        heard(gain)
    assert np.std(heard()) < 0.005
    assert gated.figures().gauges["echo_gate_closed"] == 1.0
    gated.configure(AudioConfig())
    assert np.std(heard()) > 0.01
    gated.close()


def test_a_device_that_is_not_there_leaves_the_echo_gate_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Shelf(monkeypatch, FakeDevice(), FakeDevice(), None)
    sink, source = open_sink(AudioConfig(), INFO), open_source(AudioConfig(), INFO)
    assert isinstance(sink, SpeakerSink)
    assert isinstance(source, MicrophoneSource)
    gated = GatedMicrophone(source, sink, config=AudioConfig(), sample_rate=RATE)
    with pytest.raises(DeviceError, match=r"audio\.input_device = 'USB' is not used"):
        gated.configure(AudioConfig(input_device="USB", open_speaker="gate"))
    assert "echo_gate_closed" not in gated.figures().gauges
    gated.close()


def test_unknown_way_with_an_open_speaker() -> None:
    with pytest.raises(ConfigError, match=r"audio\.open_speaker = 'cancel' is unknown: use one of"):
        AudioConfig(open_speaker="cancel")
