"""What becomes of a call's frames in its recording."""

from __future__ import annotations

from pathlib import Path

import tonecodec

from linkcodec.app.callcontrol import recording_both
from linkcodec.app.config import override, parse_config
from linkcodec.app.recorder import HeardRecorder, SentRecorder
from linkcodec.callfile import load_call
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence
from receiver import ReceiverCore
from sender import SenderCore

CODEC = tonecodec.ToneCodec()
INFO = CODEC.info
QUIET = Silence(level_dbfs=-60.0)

CONFIG = parse_config(
    """
    [codec]
    quantizers = 8
    [link]
    kind = "loopback"
    rate = 1200
    framing = "sync"
    [wire]
    frames_per_packet = 4
    """,
    source="test",
)


def frame(number: int) -> Frame:
    return Frame((number, number, number))


def test_sent_frames_lie_at_their_ticks(tmp_path: Path) -> None:
    recorder = SentRecorder(str(tmp_path / "said.lkc"), INFO)
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
    recorder = SentRecorder(str(tmp_path / "said.lkc"), INFO)
    for tick in range(20_000):
        recorder.silence(QUIET, tick)
    recorder.voice(frame(1), 19_998)  # the pre-roll of a spurt that begins later
    recorder.departed([19_998], 3)
    recorder.close(20_000)
    frames = load_call(tmp_path / "said.lkc").frames
    assert frames == (*[QUIET] * 19_998, frame(1), QUIET)


def test_frames_that_never_leave_are_bounded(tmp_path: Path) -> None:
    recorder = SentRecorder(str(tmp_path / "said.lkc"), INFO)
    for tick in range(2000):
        recorder.voice(frame(tick), tick)
    recorder.departed([1999], 3)
    recorder.close(2000)
    assert load_call(tmp_path / "said.lkc").frames == (*[LOST] * 1999, frame(1999))


def test_heard_frames_and_two_calls(tmp_path: Path) -> None:
    recorder = HeardRecorder(str(tmp_path / "heard.lkc"), INFO)
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
    recorder = HeardRecorder(str(tmp_path / "heard.lkc"), INFO)
    for tick in range(10):
        recorder.add(frame(tick), tick)
    for tick in (8, 9, 10):
        recorder.add(QUIET, tick)
    recorder.add(frame(11), 11)
    recorder.close()
    expected = (*(frame(tick) for tick in range(10)), QUIET, frame(11))
    assert load_call(tmp_path / "heard.lkc").frames == expected


def test_a_far_end_that_starts_anew_without_a_goodbye(tmp_path: Path) -> None:
    recorder = HeardRecorder(str(tmp_path / "heard.lkc"), INFO)
    for tick in (*range(100, 160), *range(3)):
        recorder.add(frame(tick), tick)
    recorder.close()
    expected = tuple(frame(tick) for tick in (*range(100, 160), *range(3)))
    assert load_call(tmp_path / "heard.lkc").frames == expected


def test_both_directions_of_a_call(tmp_path: Path) -> None:
    """What is sent is recorded as it left, what is heard as it came, with the losses."""
    config = override(CONFIG, {"gate.enabled": False})
    sender = SenderCore(codec=CODEC, config=config)
    receiver = ReceiverCore(codec=CODEC, config=config, datagram=False)
    speech = tonecodec.speech_like(4.0)
    size = tonecodec.FRAME_SIZE
    sent = 0
    with recording_both(str(tmp_path / "call.lkc"), outgoing=sender, incoming=receiver, info=INFO):
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
