from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import tonecodec
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.app.audio import AudioSink
from linkcodec.app.config import override, parse_config, wire_setup
from linkcodec.app.status import StatusLine
from linkcodec.codec import Pcm
from linkcodec.frame import LOST, Frame, Silence
from receiver import ReceiverCore, _words, run
from transport.framing import encode_stream
from transport.links import MemoryLink
from transport.packet import ByePacket, HelloPacket, Packet, VoicePacket, serialise
from transport.wire import (
    ReceiverReport,
    StationId,
    TalkerKey,
    TextMessage,
    open_transmitter,
)

SIZE = tonecodec.FRAME_SIZE
CODEC = tonecodec.ToneCodec(delay=0)

CONFIG = parse_config(
    """
    [link]
    kind = "loopback"
    rate = 1200
    framing = "sync"
    [wire]
    frames_per_packet = 2
    """,
    source="test",
)


class NullSink(AudioSink):
    """Hears nothing."""

    name = "nothing"

    def write(self, pcm: Pcm) -> None:
        pass

    def close(self) -> None:
        pass


def tone(count: int, *, dbfs: float = -20.0) -> list[Frame]:
    """Frames of a steady tone."""
    samples = np.arange(count * SIZE) / tonecodec.SAMPLE_RATE
    pcm: Pcm = (
        np.sqrt(2.0) * 10.0 ** (dbfs / 20.0) * np.sin(2.0 * np.pi * 500.0 * samples)
    ).astype(np.float32)
    return CODEC.encoder(quantizers=8).push(pcm)


def core(*, datagram: bool = True, codec: tonecodec.ToneCodec = CODEC) -> ReceiverCore:
    return ReceiverCore(codec=codec, config=CONFIG, datagram=datagram)


def speak(receiver: ReceiverCore, packets: list[tuple[float, Packet]], *, frames: int) -> list[Pcm]:
    """Play `frames` frames; packets arrive at their times."""
    heard = []
    waiting = list(packets)
    now = 0.0
    for _ in range(frames):
        while waiting and waiting[0][0] <= now:
            time, packet = waiting.pop(0)
            receiver.receive(serialise(packet), time)
        playout = receiver.pull(now)
        now += playout.seconds
        heard.append(playout.decoded)
    return heard


def spurt(count: int) -> list[tuple[float, Packet]]:
    """Packets of two frames each, arriving as soon as they are complete."""
    frames = tone(2 * count)
    return [
        (
            0.16 * (number + 1),
            VoicePacket(
                tick=2 * number,
                frames=tuple(frames[2 * number : 2 * number + 2]),
                start=number == 0,
                end=number == count - 1,
            ),
        )
        for number in range(count)
    ]


def test_speech_comes_out_at_its_level() -> None:
    receiver = core()
    heard = np.concatenate(speak(receiver, spurt(10), frames=40))
    statistics = receiver.statistics
    assert (statistics.frames_played, statistics.frames_concealed) == (20, 0)
    assert statistics.packets_received == 10
    loud = heard.reshape(-1, SIZE)[np.sqrt(np.mean(heard.reshape(-1, SIZE) ** 2, axis=1)) > 0.01]
    assert loud.shape[0] == 20
    assert 20.0 * np.log10(np.sqrt(np.mean(loud**2))) == pytest.approx(-20.0, abs=0.3)


def test_every_frame_has_the_size_of_the_codec() -> None:
    heard = speak(core(), spurt(3), frames=20)
    assert {piece.shape for piece in heard} == {(SIZE,)}


def test_lost_packet_is_concealed() -> None:
    receiver = core()
    packets = spurt(10)
    del packets[4]
    speak(receiver, packets, frames=40)
    statistics = receiver.statistics
    assert (statistics.frames_played, statistics.frames_lost) == (18, 2)
    assert statistics.frames_concealed == 2
    assert receiver.loss == pytest.approx(0.1)


def test_playout_says_what_it_is() -> None:
    receiver = core()
    assert isinstance(receiver.pull(0.0).item, Silence)
    assert receiver.pull(0.08).tick is None
    packets = spurt(6)
    del packets[3]
    items = []
    now = 0.16
    for _ in range(30):
        while packets and packets[0][0] <= now:
            time, packet = packets.pop(0)
            receiver.receive(serialise(packet), time)
        playout = receiver.pull(now)
        assert playout.seconds == pytest.approx(playout.pcm.size / tonecodec.SAMPLE_RATE)
        now += playout.seconds
        items.append((playout.tick, type(playout.item)))
    ticks = [tick for tick, kind in items if kind in (Frame, type(LOST))]
    assert ticks == list(range(12))
    assert [tick for tick, kind in items if kind is type(LOST)] == [6, 7]


def test_byte_pipe_in_any_pieces() -> None:
    packets = b"".join(encode_stream(serialise(packet)) for _, packet in spurt(6))
    for step in (1, 7, len(packets)):
        receiver = core(datagram=False)
        for start in range(0, len(packets), step):
            receiver.receive(packets[start : start + step], 0.001 * start)
        assert receiver.statistics.packets_received == 6
        assert receiver.statistics.packets_damaged == 0


def test_damaged_packets_are_counted_and_dropped() -> None:
    data = bytearray(serialise(spurt(1)[0][1]))
    data[5] ^= 1
    receiver = core()
    receiver.receive(bytes(data), 0.0)
    receiver.receive(b"", 0.1)
    assert receiver.statistics.packets_damaged == 2
    assert receiver.last_packet_at is None
    pipe = core(datagram=False)
    pipe.receive(encode_stream(bytes(data)) + b"\x05\x01\x00", 0.0)
    assert pipe.statistics.packets_damaged == 2


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=10), st.booleans())
def test_any_bytes_leave_the_receiver_working(chunks: list[bytes], datagram: bool) -> None:
    receiver = core(datagram=datagram)
    for number, chunk in enumerate(chunks):
        receiver.receive(chunk, 0.01 * number)
        assert receiver.pull(0.08 * number).decoded.shape == (SIZE,)


def test_other_codec_and_format_are_told_in_words() -> None:
    codec = tonecodec.ToneCodec(delay=0)
    codec.info = dataclasses.replace(codec.info, name="compact", version=2)
    receiver = core(codec=codec)
    for packet, words in (
        (HelloPacket(tick=0, level_dbfs=-60.0, codec_number=2, codec_version=1), "qwen3-12hz"),
        (HelloPacket(tick=0, level_dbfs=-60.0, codec_number=1, codec_version=3), "version 3"),
        (HelloPacket(tick=0, level_dbfs=-60.0, codec_number=9, codec_version=1), "unknown codec"),
        (
            HelloPacket(
                tick=0, level_dbfs=-60.0, codec_number=1, codec_version=2, format_version=1
            ),
            "wire format 1",
        ),
    ):
        receiver.receive(serialise(packet), 0.0)
        assert words in receiver.problem
        assert "\n" not in receiver.problem
    receiver.receive(serialise(spurt(1)[0][1]), 0.1)
    assert receiver.buffer.buffered == 0
    fits = HelloPacket(tick=0, level_dbfs=-60.0, codec_number=1, codec_version=2)
    receiver.receive(serialise(fits), 0.2)
    assert receiver.problem == ""


def test_frames_with_more_codebooks_than_the_codec_has_are_told() -> None:
    receiver = core()
    packet = VoicePacket(tick=0, frames=(Frame((1,) * 12),), start=True)
    receiver.receive(serialise(packet), 0.0)
    assert "12 codebooks" in receiver.problem
    assert receiver.pull(0.1).decoded.shape == (SIZE,)


def test_side_channel_is_told_in_words_that_no_terminal_obeys() -> None:
    assert _words(TextMessage(text="QSY\x1b[2J\n7")) == "text: QSY [2J 7"
    assert _words(StationId(call_sign="N0CALL")) == "the station is N0CALL"
    assert _words(TalkerKey(talker=3, down=True)) == "talker 3 speaks"
    assert _words(TalkerKey(talker=3, down=False)) == "talker 3 has finished"
    assert _words(ByePacket(tick=0)) == ""


def test_reports_go_to_the_partner_and_texts_to_the_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ends of a call in one process: what one receives concerns what the other sends."""
    config = override(CONFIG, {"adaptation.enabled": True})
    label = wire_setup(config, CODEC.info, sends=True)
    partner, far = open_transmitter(label), open_transmitter(label)
    report = ReceiverReport(loss=0.5, residual=0.1, burst=2.0)
    far.silence(Silence(), tick=0, now=0.0)
    far.send_report(report, 0.0)
    far.send_text("QSY 7", 0.0)
    far.finish(tick=1, now=0.0)
    near, other = MemoryLink.pair(datagram=False)
    while (due := far.next_time()) is not None:
        for departure in far.poll(due):
            other.send(departure.data)
    taken: list[ReceiverReport] = []
    monkeypatch.setattr(partner, "take_report", lambda report, _: taken.append(report))
    receiver = core(datagram=False)
    run(
        receiver,
        codec=CODEC,
        sink=NullSink(),
        link=near,
        status=StatusLine(sys.stderr),
        stop=lambda: bool(receiver.buffer.ended),
        partner=partner,
    )
    assert [round(one.loss, 1) for one in taken] == [0.5]
    assert "text: QSY 7" in capsys.readouterr().err


def test_call_ends_with_its_bye() -> None:
    receiver = core()
    packets: list[tuple[float, Packet]] = [*spurt(4), (0.7, ByePacket(tick=8))]
    speak(receiver, packets, frames=30)
    assert receiver.buffer.ended
    assert receiver.buffer.end_tick == 8


def test_restarted_sender_is_heard_at_once() -> None:
    receiver = core()
    late = [(time + 3.5, packet) for time, packet in spurt(10)]
    heard = speak(receiver, [*spurt(20), *late], frames=80)
    loud = [float(np.sqrt(np.mean(piece**2))) > 0.01 for piece in heard]
    # A second may pass before it is clear that these are no late copies.
    assert sum(loud[:45]) == 40
    assert sum(loud[45:]) >= 20 - 12
    assert receiver.statistics.resyncs == 1
    assert receiver.statistics.resync_ms[0] < 1500.0


def test_rate_is_that_of_the_last_seconds() -> None:
    receiver = core()
    speak(receiver, spurt(25), frames=50)
    # Packets of 26 bytes and 2 of COBS every 160 ms.
    assert receiver.wire_bps(4.0) == pytest.approx(8 * 28 / 0.16, rel=0.1)
    assert receiver.wire_bps(60.0) == 0.0


def test_wide_configuration_is_no_matter_to_the_receiver() -> None:
    receiver = ReceiverCore(
        codec=CODEC, config=override(CONFIG, {"codec.quantizers": 16}), datagram=True
    )
    speak(receiver, spurt(2), frames=15)
    assert receiver.statistics.frames_played == 4
