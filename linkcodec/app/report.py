"""The report of a simulated call: one JSON object, and a summary for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from linkcodec.app.config import CallConfig
from linkcodec.app.simulate import SimulationResult
from linkcodec.exceptions import InputError

__all__ = ["build_report", "summary", "write_report"]


def build_report(
    result: SimulationResult,
    *,
    config: CallConfig,
    codec: str,
    audio_seconds: float,
    wall_seconds: float,
) -> dict[str, Any]:
    """All figures of a call, ready for JSON.

    Frames: encoded = sent + gated + dropped, sent = received + lost,
    received = played + late + skipped, concealed = lost + late. `frames_inserted` are
    concealment that was played to gain time, without a frame of its own. Rates run from the
    first bit on the wire to the last; wire bits leave start and stop bits out, line bits
    count them. `latency_ms` holds means per played frame; its stages add up to
    `mouth_to_ear`. `jitter_buffer_ms` is the wait of each packet's first frame. `webrtc` holds
    the receiver's counters by their W3C names, `quality` its estimate at the end of the call.
    """
    sent = result.sender.statistics
    heard = result.receiver.statistics
    line = result.sender.wire
    buffer_delay = result.receiver.buffer.buffer_delay
    latency = {name: _ms(seconds) for name, seconds in vars(result.delays).items()}
    latency["mouth_to_ear"] = _ms(result.delays.mouth_to_ear)
    return {
        "codec": codec,
        "quantizers": config.codec.quantizers,
        "wire_mode": config.wire.mode,
        "frames_per_packet": config.wire.frames_per_packet,
        "redundancy": config.wire.redundancy,
        "rate": config.link.rate,
        "framing": config.link.framing,
        "seed": config.channel.seed,
        "audio_seconds": round(audio_seconds, 3),
        "frames_encoded": sent.frames_encoded,
        "frames_gated": sent.frames_gated,
        "frames_dropped": sent.frames_dropped,
        "frames_sent": result.frames_sent,
        "frames_received": result.frames_received,
        "frames_lost": result.frames_lost,
        "frames_late": result.frames_late,
        "frames_skipped": result.frames_skipped,
        "frames_played": result.frames_played,
        "frames_concealed": result.frames_lost + result.frames_late,
        "frames_inserted": heard.frames_inserted,
        "frames_repaired": heard.frames_repaired,
        "packets_sent": sent.packets_sent,
        "packets_dropped": sent.packets_dropped,
        "packets_lost": result.packets_lost,
        "packets_received": heard.packets_received,
        "packets_damaged": heard.packets_damaged,
        "payload_bits": sent.payload_bits,
        "wire_bits": sent.wire_bits,
        "line_bits": sent.line_bits,
        "overhead": round(1.0 - sent.payload_bits / sent.wire_bits, 4) if sent.wire_bits else 0.0,
        "wire_bps_mean": round(line.wire.mean_bps, 2),
        "wire_bps_peak_1s": round(line.wire.peak_bps, 2),
        "line_bps_mean": round(line.line.mean_bps, 2),
        "line_bps_peak_1s": round(line.line.peak_bps, 2),
        "latency_ms": latency,
        "jitter_buffer_ms": {"mean": _ms(buffer_delay.mean), "max": _ms(buffer_delay.maximum)},
        "quality": _quality(result),
        "webrtc": result.receiver.playout.webrtc(heard, sample_rate=result.receiver.sample_rate),
        "resyncs": heard.resyncs,
        "resync_ms": [round(value, 1) for value in heard.resync_ms],
        "realtime_factor": round(audio_seconds / max(wall_seconds, 1e-6), 2),
    }


def _quality(result: SimulationResult) -> float | None:
    score = result.receiver.quality.score
    return None if score is None else round(score, 2)


def _ms(seconds: float) -> float:
    return round(1000.0 * seconds, 2)


def write_report(path: str, report: dict[str, Any]) -> None:
    """Write a report as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        Path(path).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot write the report: {error.strerror}") from None


def summary(report: dict[str, Any]) -> str:
    """The report in a few lines."""
    latency = dict(report["latency_ms"])
    total = latency.pop("mouth_to_ear")
    stages = ", ".join(f"{name.replace('_', ' ')} {value:.0f}" for name, value in latency.items())
    sent = report["frames_sent"]
    share = 100.0 * report["frames_concealed"] / sent if sent else 0.0
    slots = report["wire_mode"] == "slots"
    return "\n".join(
        (
            f"codec    {report['codec']}, {report['quantizers']} codebooks per frame of 80 ms, "
            + ("in slots" if slots else f"{report['frames_per_packet']} frames per packet"),
            f"line     {report['rate']} bit/s, framing {report['framing']}",
            f"audio    {report['audio_seconds']:.1f} s, coded and decoded at "
            f"{report['realtime_factor']:.1f} times real time",
            f"frames   {sent} sent, {report['frames_gated']} silent, "
            f"{report['frames_dropped']} dropped",
            f"         {report['frames_lost']} lost, {report['frames_late']} late: "
            f"{report['frames_concealed']} concealed ({share:.1f} %)",
            f"wire     {report['wire_bps_mean']:.0f} bit/s on average, "
            f"{report['wire_bps_peak_1s']:.0f} in the worst second, "
            f"{100.0 * report['overhead']:.1f} % of it overhead",
            f"latency  {total:.0f} ms from mouth to ear: {stages}",
        )
    )
