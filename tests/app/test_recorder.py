"""What becomes of a call's frames in its recording."""

from __future__ import annotations

from pathlib import Path

import pytest
import tonecodec
from conftest import read_pcm
from test_metrics import no_trouble
from test_sender import OPEN

from linkcodec.app.callcontrol import recording_both
from linkcodec.app.config import override
from linkcodec.app.recorder import HeardRecorder, SentRecorder, SoundRecorder, unused_stem
from linkcodec.callfile import load_call
from linkcodec.codec import Pcm
from linkcodec.exceptions import AudioFileError, InputError, TokenFileError
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence
from receiver import ReceiverCore
from sender import SenderCore

CODEC = tonecodec.ToneCodec()
INFO = CODEC.info
QUIET = Silence(level_dbfs=-60.0)


def frame(number: int) -> Frame:
    return Frame((number, number, number))


def test_an_earlier_recording_is_kept(tmp_path: Path) -> None:
    stem = str(tmp_path / "call")
    endings = ("-said.wav", "-heard.wav")
    assert unused_stem(stem, *endings, warn=no_trouble) == stem
    for taken in ("call-heard.wav", "call-2-said.wav", "call-said.lkc"):
        (tmp_path / taken).touch()
    told: list[str] = []
    assert unused_stem(stem, *endings, warn=told.append) == stem + "-3"
    assert told == [
        f"a recording {stem} is there already and is kept: this one goes to {stem}-3-said.wav and "
        f"{stem}-3-heard.wav"
    ]
    assert unused_stem("/dev/null", "", warn=no_trouble) == "/dev/null"


def test_sent_frames_lie_at_their_ticks(tmp_path: Path) -> None:
    recorder = SentRecorder(str(tmp_path / "said.lkc"), INFO, warn=no_trouble)
    for tick in range(3):
        recorder.silence(QUIET, tick)
    for tick in range(3, 9):
        recorder.voice(frame(tick), tick)
    recorder.departed([3, 4], 3)
    recorder.departed([7], 2)
    recorder.close(12)
    expected: list[PlayoutItem] = [QUIET] * 3
    expected += [frame(3), frame(4), LOST, LOST, Frame((7, 7)), LOST]
    assert load_call(tmp_path / "said.lkc").frames == (*expected, *[QUIET] * 3)


def test_a_long_silence_keeps_its_length(tmp_path: Path) -> None:
    recorder = SentRecorder(str(tmp_path / "said.lkc"), INFO, warn=no_trouble)
    for tick in range(20_000):
        recorder.silence(QUIET, tick)
    recorder.voice(frame(1), 19_998)  # the pre-roll of a spurt that begins later
    recorder.departed([19_998], 3)
    recorder.close(20_000)
    frames = load_call(tmp_path / "said.lkc").frames
    assert frames == (*[QUIET] * 19_998, frame(1), QUIET)


def test_frames_that_never_leave_are_bounded(tmp_path: Path) -> None:
    recorder = SentRecorder(str(tmp_path / "said.lkc"), INFO, warn=no_trouble)
    for tick in range(2000):
        recorder.voice(frame(tick), tick)
    recorder.departed([1999], 3)
    recorder.close(2000)
    assert load_call(tmp_path / "said.lkc").frames == (*[LOST] * 1999, frame(1999))


def test_heard_frames_and_two_calls(tmp_path: Path) -> None:
    recorder = HeardRecorder(str(tmp_path / "heard.lkc"), INFO, warn=no_trouble)
    recorder.add(QUIET, None)
    spurt: list[PlayoutItem] = [frame(1), LOST, frame(2)]
    for tick, item in enumerate(spurt, start=500):
        recorder.add(item, tick)
    for _ in range(3):
        recorder.add(QUIET, 503, end_tick=504)
    recorder.add(frame(3), 0)  # another call, whose clock began anew
    recorder.close()
    frames = load_call(tmp_path / "heard.lkc").frames
    assert frames == (frame(1), LOST, frame(2), QUIET, frame(3))


def test_time_that_the_buffer_gains_replaces_no_speech(tmp_path: Path) -> None:
    recorder = HeardRecorder(str(tmp_path / "heard.lkc"), INFO, warn=no_trouble)
    for tick in range(10):
        recorder.add(frame(tick), tick)
    for tick in (8, 9, 10):
        recorder.add(QUIET, tick)
    recorder.add(frame(11), 11)
    recorder.close()
    expected = (*(frame(tick) for tick in range(10)), QUIET, frame(11))
    assert load_call(tmp_path / "heard.lkc").frames == expected


def test_a_far_end_that_starts_anew_without_a_goodbye(tmp_path: Path) -> None:
    recorder = HeardRecorder(str(tmp_path / "heard.lkc"), INFO, warn=no_trouble)
    for tick in (*range(100, 160), *range(3)):
        recorder.add(frame(tick), tick)
    recorder.close()
    expected = tuple(frame(tick) for tick in (*range(100, 160), *range(3)))
    assert load_call(tmp_path / "heard.lkc").frames == expected


def cores() -> tuple[SenderCore, ReceiverCore]:
    """Both ends of one call."""
    config = override(OPEN, {"wire.frames_per_packet": 4})
    return (
        SenderCore(codec=CODEC, config=config),
        ReceiverCore(codec=CODEC, config=config, datagram=False),
    )


@pytest.mark.parametrize("name", ["", ".lkc", "call.wav", "calls/", "calls/.lkc", "call.1.lkc"])
def test_a_recording_without_a_name_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls").mkdir()
    sender, receiver = cores()
    with (
        pytest.raises(InputError, match=f"--record '{name}': give a name"),
        recording_both(name, outgoing=sender, incoming=receiver, info=INFO, warn=no_trouble),
    ):
        pass
    assert list(tmp_path.rglob("*")) == [tmp_path / "calls"]


@pytest.mark.parametrize("direction", ["said", "heard"])
def test_a_full_disk_ends_one_recording_and_no_call(tmp_path: Path, direction: str) -> None:
    sender, receiver = cores()
    path = str(tmp_path / "call.lkc")
    warnings: list[str] = []
    with (
        open("/dev/full", "wb", buffering=0) as full,
        recording_both(path, outgoing=sender, incoming=receiver, info=INFO, warn=warnings.append),
    ):
        recorder = sender.recorder if direction == "said" else receiver.recorder
        assert recorder is not None
        recorder._writer._file.close()
        recorder._writer._file = full
        sender.push(tonecodec.speech_like(2.0), 2.0)
        for number in range(100):
            now = 2.0 + number * 0.08
            for departure in sender.poll(now):
                receiver.receive(departure.data, now)
            receiver.pull(now)
    assert full.closed
    assert warnings == [
        f"{tmp_path}/call-{direction}.lkc: cannot be written: No space left on device; "
        "the call goes on, this recording has ended"
    ]
    other = {"said": "heard", "heard": "said"}[direction]
    assert load_call(tmp_path / f"call-{direction}.lkc").frames == ()
    whole = load_call(tmp_path / f"call-{other}.lkc")
    assert whole.complete
    assert any(isinstance(item, Frame) for item in whole.frames)


def test_a_full_disk_does_not_end_a_recording_of_sound_aloud(tmp_path: Path) -> None:
    """It is told once, and neither writing nor closing fails."""
    warnings: list[str] = []
    path = tmp_path / "call.wav"
    recorder = SoundRecorder(str(path), sample_rate=16_000, warn=warnings.append)

    def fail(pcm: Pcm) -> None:
        raise AudioFileError("call.wav: cannot be written (is the disk full?)")

    recorder.write(tonecodec.speech_like(1.0))
    recorder._file.write = fail  # type: ignore[method-assign]
    for _ in range(3):
        recorder.write(tonecodec.speech_like(1.0))
    recorder.close()
    assert len(warnings) == 1
    assert warnings[0].endswith("(is the disk full?); the call goes on, this recording has ended")
    assert read_pcm(path).size == 16_000


def test_the_second_file_that_cannot_be_written_closes_the_first(tmp_path: Path) -> None:
    (tmp_path / "call-heard.lkc").symlink_to("/dev/full")
    sender, receiver = cores()
    with (
        pytest.raises(TokenFileError, match=r"call-heard\.lkc: cannot be written"),
        recording_both(
            str(tmp_path / "call.lkc"),
            outgoing=sender,
            incoming=receiver,
            info=INFO,
            warn=no_trouble,
        ),
    ):
        pass
    assert load_call(tmp_path / "call-said.lkc").complete


def test_both_directions_of_a_call(tmp_path: Path) -> None:
    """What is sent is recorded as it left, what is heard as it came, with the losses."""
    sender, receiver = cores()
    speech = tonecodec.speech_like(4.0)
    size = tonecodec.FRAME_SIZE
    sent = 0
    with recording_both(
        str(tmp_path / "call.lkc"), outgoing=sender, incoming=receiver, info=INFO, warn=no_trouble
    ):
        for number in range(100):
            now = (number + 1) * 0.08
            if number < speech.size // size:
                sender.push(speech[number * size : (number + 1) * size], now)
            elif number == speech.size // size:
                sender.finish(now)
            for departure in sender.poll(now):
                sent += bool(departure.ticks)
                if sent != 4:
                    receiver.receive(departure.data, now)
            if receiver.last_packet_at is not None:
                receiver.pull(now)
    said = load_call(tmp_path / "call-said.lkc")
    heard = load_call(tmp_path / "call-heard.lkc")
    assert said.complete
    assert heard.complete
    assert all(isinstance(item, Frame) for item in said.frames)
    assert said.quantizers == 8
    assert len(said.frames) == sender.ticks
    missing = [
        tick
        for tick, (one, other) in enumerate(zip(said.frames, heard.frames, strict=False))
        if one != other
    ]
    assert missing == [12, 13, 14, 15]
    assert all(heard.frames[tick] == LOST for tick in missing)
