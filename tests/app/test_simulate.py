from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tonecodec
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.app.config import CallConfig, load_config, override
from linkcodec.app.report import build_report, summary, write_report
from linkcodec.app.simulate import Simulation, SimulationResult
from linkcodec.codec import Pcm
from linkcodec.exceptions import CodecError, InputError

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
CODEC = tonecodec.ToneCodec()


FRAMES = {"sat-1200-sync": 7, "serial-1200-8n1": 6, "udp-lan": 2}


def config(name: str = "sat-1200-sync", **channel: object) -> CallConfig:
    """A shipped configuration in packet mode, with 6 codebooks."""
    flags: dict[str, object] = {f"channel.{field}": value for field, value in channel.items()}
    flags |= {"codec.quantizers": 6, "wire.mode": "packets"}
    flags["wire.frames_per_packet"] = FRAMES[name]
    return override(load_config(CONFIGS / f"{name}.toml"), flags)


def simulate(settings: CallConfig, pcm: Pcm) -> SimulationResult:
    return Simulation(codec=CODEC, config=settings).run(pcm)


def check_sums(result: SimulationResult) -> None:
    """The counts of the simulator and of both cores agree."""
    sent, heard = result.sender.statistics, result.receiver.statistics
    assert sent.frames_encoded == sent.frames_gated + sent.frames_dropped + sent.frames_sent
    assert result.frames_sent == sent.frames_sent
    assert result.frames_sent == result.frames_received + result.frames_lost
    # The receiver holds back one packet so late that it may be the first of another call.
    held = result.frames_received - heard.frames_received
    assert 0 <= held <= 7
    assert result.frames_late == heard.frames_late + held
    assert result.frames_played == heard.frames_played
    assert (
        result.frames_received == result.frames_played + result.frames_late + result.frames_skipped
    )


def envelope(pcm: Pcm) -> Pcm:
    """RMS of each 20 ms."""
    pieces = pcm[: pcm.size // 320 * 320].reshape(-1, 320)
    level: Pcm = np.sqrt(np.mean(pieces**2, axis=1))
    return level


@pytest.mark.parametrize(
    ("name", "quantizers", "limit"), [("sat-1200-sync", 8, 1200), ("serial-1200-8n1", 6, 960)]
)
def test_rate_stays_within_the_line(name: str, quantizers: int, limit: float) -> None:
    pcm = tonecodec.speech_like(10.0)
    settings = override(load_config(CONFIGS / f"{name}.toml"), {"codec.quantizers": quantizers})
    result = simulate(settings, pcm)
    check_sums(result)
    pacer = result.sender.wire
    assert 0.9 * limit < pacer.wire.peak_bps <= limit
    assert pacer.wire.mean_bps <= limit
    assert pacer.line.peak_bps <= 1200
    assert result.frames_sent >= 124
    assert (result.frames_lost, result.frames_late, result.frames_skipped) == (0, 0, 0)
    assert result.sender.statistics.frames_dropped == 0
    assert result.pcm.size == pcm.size


def test_output_lies_on_the_time_axis_of_the_input() -> None:
    pcm = tonecodec.speech_like(6.0, pause=True)
    result = simulate(config(), pcm)
    assert result.pcm.size == pcm.size
    before, after = envelope(pcm), envelope(result.pcm)
    shifts = range(-8, 9)
    matches = [
        float(np.corrcoef(before[8:-8], np.roll(after, shift)[8:-8])[0, 1]) for shift in shifts
    ]
    assert shifts[int(np.argmax(matches))] == 0
    assert max(matches) > 0.95


def test_silence_costs_little_and_sounds_like_the_room() -> None:
    room = (10.0 ** (-50.0 / 20.0)) * np.random.default_rng(3).standard_normal(160_000)
    result = simulate(config(), room.astype(np.float32))
    statistics = result.sender.statistics
    assert statistics.frames_gated > 0.9 * statistics.frames_encoded
    assert result.sender.wire.wire.mean_bps < 80
    tail = result.pcm[80_000:]
    assert -55.0 < 10.0 * np.log10(np.mean(tail**2)) < -45.0


@pytest.mark.parametrize("samples", [0, 1, 1279, 1280, 1281, 16_001])
def test_length_is_kept_for_any_length(samples: int) -> None:
    result = simulate(config(), tonecodec.speech_like(2.0)[:samples])
    assert result.pcm.size == samples
    check_sums(result)


def test_codec_without_delay() -> None:
    pcm = tonecodec.speech_like(2.0)
    result = Simulation(codec=tonecodec.ToneCodec(delay=0), config=config()).run(pcm)
    assert result.pcm.size == pcm.size
    assert result.delays.codec == 0.0


def test_burst_losses_add_up() -> None:
    pcm = tonecodec.speech_like(30.0)
    result = simulate(config(loss=0.1, burst=2.0), pcm)
    check_sums(result)
    assert result.pcm.size == pcm.size
    assert result.frames_lost > 0
    assert np.all(np.isfinite(result.pcm))


def test_latency_is_the_sum_of_its_stages() -> None:
    result = simulate(config(), tonecodec.speech_like(10.0))
    delays = result.delays
    assert delays.frame == pytest.approx(0.08)
    assert delays.channel == pytest.approx(0.27)
    assert delays.codec == pytest.approx(0.02)
    assert 0.3 < delays.line < 0.56
    # 7 frames to collect and to send, a geostationary hop and the buffer.
    assert 1.2 < delays.mouth_to_ear < 1.7


def test_same_seed_same_sound_other_seed_other_sound() -> None:
    pcm = tonecodec.speech_like(8.0)
    one, same, other = (
        simulate(config(loss=0.2, burst=2.0, jitter_ms=50.0, seed=seed), pcm) for seed in (5, 5, 6)
    )
    assert np.array_equal(one.pcm, same.pcm)
    assert not np.array_equal(one.pcm, other.pcm)


def test_everything_lost_is_silence_of_the_right_length() -> None:
    pcm = tonecodec.speech_like(3.0)
    result = simulate(config(loss=1.0), pcm)
    check_sums(result)
    assert result.pcm.size == pcm.size
    assert result.frames_lost == result.frames_sent
    assert float(np.max(np.abs(result.pcm))) < 0.05


def test_long_outage_ends(tmp_path: Path) -> None:
    trace = tmp_path / "outage.txt"
    trace.write_text("0" * 10 + "1" * 30 + "0" * 100)
    pcm = tonecodec.speech_like(60.0)
    result = simulate(config(loss_trace=str(trace)), pcm)
    check_sums(result)
    assert result.pcm.size == pcm.size
    # Speech is back, at its own place.
    assert np.sqrt(np.mean(result.pcm[-160_000:] ** 2)) == pytest.approx(
        np.sqrt(np.mean(pcm[-160_000:] ** 2)), rel=0.1
    )


@settings(deadline=None, max_examples=25)
@given(
    loss=st.floats(0, 0.6),
    ber=st.sampled_from([0.0, 1e-4, 1e-3]),
    jitter=st.floats(0, 400),
    seed=st.integers(0, 100),
    name=st.sampled_from(["sat-1200-sync", "serial-1200-8n1", "udp-lan"]),
)
def test_counts_add_up_on_any_channel(
    loss: float, ber: float, jitter: float, seed: int, name: str
) -> None:
    pcm = tonecodec.speech_like(6.0, pause=True)
    result = simulate(config(name, loss=loss, ber=ber, jitter_ms=jitter, seed=seed), pcm)
    check_sums(result)
    assert result.pcm.size == pcm.size


@pytest.mark.parametrize("seed", [1, 2])
def test_redundancy_brings_lost_frames_back(seed: int) -> None:
    settings = load_config(CONFIGS / "sat-1200-packets.toml")
    settings = override(settings, {"gate.enabled": False, "channel.seed": seed})
    plain = override(settings, {"wire.redundancy": "none"})
    pcm = tonecodec.speech_like(40.0)
    with_copies, without = simulate(settings, pcm), simulate(plain, pcm)
    check_sums(with_copies)
    assert 0.02 * without.frames_sent < without.frames_lost
    assert with_copies.frames_lost < 0.6 * without.frames_lost
    assert with_copies.frames_late < 0.05 * with_copies.frames_sent
    assert with_copies.sender.wire.line.peak_bps <= 1200
    assert with_copies.delays.mouth_to_ear > without.delays.mouth_to_ear + 0.4


def test_sender_follows_the_reports_of_the_receiver() -> None:
    settings = config("sat-1200-sync", loss=0.1, burst=2.0)
    settings = override(settings, {"gate.enabled": False, "jitter_buffer.ceiling_ms": 3000.0})
    adaptive = override(settings, {"adaptation.enabled": True})
    pcm = tonecodec.speech_like(60.0)
    fixed, adapted = simulate(settings, pcm), simulate(adaptive, pcm)
    check_sums(adapted)
    assert adapted.frames_lost < 0.7 * fixed.frames_lost
    assert adapted.sender.wire.line.peak_bps <= 1200


def test_impossible_codebooks_and_traces_are_refused(tmp_path: Path) -> None:
    settings = override(config(), {"codec.quantizers": 12, "link.rate": 4800})
    with pytest.raises(CodecError, match="quantizers = 12"):
        Simulation(codec=CODEC, config=settings)
    with pytest.raises(InputError, match="missing"):
        Simulation(codec=CODEC, config=config(loss_trace=str(tmp_path / "missing")))


def test_report_has_the_promised_fields(tmp_path: Path) -> None:
    settings = config(loss=0.1, burst=2.0)
    result = simulate(settings, tonecodec.speech_like(5.0))
    report = build_report(
        result, config=settings, codec="tone", audio_seconds=5.0, wall_seconds=0.5
    )
    path = tmp_path / "report.json"
    write_report(str(path), report)
    written = json.loads(path.read_text())
    promised = (
        "codec quantizers audio_seconds frames_encoded frames_sent frames_gated frames_received "
        "frames_lost frames_late frames_concealed payload_bits wire_bits wire_bps_mean "
        "wire_bps_peak_1s latency_ms jitter_buffer_ms resync_ms"
    )
    assert set(promised.split()) <= set(written)
    assert written["frames_concealed"] == written["frames_lost"] + written["frames_late"]
    assert written["payload_bits"] == 66 * written["frames_sent"]
    stages = dict(written["latency_ms"])
    assert stages.pop("mouth_to_ear") == pytest.approx(sum(stages.values()), abs=0.1)
    assert set(written["jitter_buffer_ms"]) == {"mean", "max"}
    assert written["realtime_factor"] == 10.0
    assert "1200 bit/s" in summary(report)


def test_report_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write the report"):
        write_report(str(tmp_path / "missing" / "report.json"), {})
