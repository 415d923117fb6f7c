from __future__ import annotations

import math

import numpy as np
import pytest
import tonecodec
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.codec import Pcm
from linkcodec.timescale import TimeScaler, shorten_noise

RATE = 16_000
SIZE = 1280


def frames(pcm: Pcm) -> list[Pcm]:
    return list(pcm[: pcm.size // SIZE * SIZE].reshape(-1, SIZE))


def scaled(pcm: Pcm, change: int, *, mismatch: float) -> tuple[list[Pcm], TimeScaler]:
    scaler = TimeScaler(RATE)
    return [scaler.scale(frame, change, mismatch=mismatch) for frame in frames(pcm)], scaler


def largest_steps(pcm: Pcm) -> float:
    """The largest step between neighbouring samples: what a click would exceed."""
    return float(np.max(np.abs(np.diff(pcm))))


@pytest.mark.parametrize("change", [-256, -100, 100, 320])
def test_speech_is_scaled_without_a_click(change: int) -> None:
    pcm = tonecodec.speech_like(8.0)
    pieces, scaler = scaled(pcm, change, mismatch=math.inf)
    joined = np.concatenate(pieces)
    whole = len(pieces) * SIZE
    assert joined.size - whole == scaler.inserted - scaler.removed
    assert (joined.size - whole) * math.copysign(1, change) > 0.5 * abs(change) * len(pieces)
    assert largest_steps(joined) <= 1.1 * largest_steps(pcm)
    for before, after in zip(frames(pcm), pieces, strict=True):
        # Joins are as they were, and each splice is no rougher than its own frame.
        assert (after[0], after[-1]) == (before[0], before[-1])
        assert largest_steps(after) <= 1.25 * largest_steps(before)


def test_pitch_is_kept() -> None:
    time = np.arange(RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 125 * k * time) / k for k in range(1, 20))
    pcm = (0.1 * np.asarray(voice)).astype(np.float32)
    pieces, scaler = scaled(pcm, -256, mismatch=0.1)
    assert scaler.removed == len(pieces) * 256
    joined = np.concatenate(pieces)
    # A splice by whole periods of 128 samples leaves a periodic signal as it is.
    assert np.allclose(joined[128:], joined[:-128], atol=1e-3)


def test_most_of_a_voice_fits_together() -> None:
    pieces, scaler = scaled(tonecodec.speech_like(8.0), -256, mismatch=0.15)
    assert scaler.removed > 0.5 * 256 * len(pieces)


def test_noise_is_left_alone_unless_it_must_be_scaled() -> None:
    noise = (0.1 * np.random.default_rng(1).standard_normal(40 * SIZE)).astype(np.float32)
    pieces, _ = scaled(noise, 320, mismatch=0.1)
    assert sum(piece.size for piece in pieces) == 40 * SIZE
    pieces, _ = scaled(noise, 320, mismatch=math.inf)
    joined = np.concatenate(pieces)
    assert joined.size > 45 * SIZE
    assert np.std(joined) == pytest.approx(0.1, rel=0.05)


def test_pauses_are_used_where_nothing_is_heard() -> None:
    speech = tonecodec.speech_like(2.0)
    room = (10 ** (-75 / 20) * np.random.default_rng(2).standard_normal(20 * SIZE)).astype(
        np.float32
    )
    pieces, _ = scaled(np.concatenate([speech, room]), -256, mismatch=0.0)
    count = speech.size // SIZE
    loud, quiet = pieces[:count], pieces[count:]
    assert sum(piece.size for piece in quiet) <= 0.85 * len(quiet) * SIZE
    assert sum(piece.size for piece in loud) >= 0.95 * len(loud) * SIZE


@pytest.mark.parametrize("pcm", [np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32)])
def test_silence_and_a_constant(pcm: Pcm) -> None:
    out = TimeScaler(RATE).scale(pcm, -256, mismatch=0.1)
    assert out.size == SIZE - 256
    assert np.allclose(out, pcm[0], atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(-1280, 1280),
    st.sampled_from([0.0, 0.1, math.inf]),
    st.sampled_from([640, 1280, 1920]),
)
def test_any_frame_changes_by_what_was_counted(
    seed: int, change: int, mismatch: float, size: int
) -> None:
    pcm = np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)
    scaler = TimeScaler(RATE)
    out = scaler.scale(pcm, change, mismatch=mismatch)
    assert out.size - size == scaler.inserted - scaler.removed
    assert out.dtype == np.float32
    assert np.all(np.isfinite(out))
    assert abs(out.size - size) <= max(abs(change), 200)


@pytest.mark.parametrize("samples", [1, 32, 300, 1000, 1279, 1280])
def test_noise_of_any_length(samples: int) -> None:
    noise = np.random.default_rng(3).standard_normal(SIZE).astype(np.float32)
    short = shorten_noise(noise, samples)
    assert short.size == samples
    if samples >= 300:
        assert (short[0], short[-1]) == (noise[0], noise[-1])
        assert np.std(short) == pytest.approx(1.0, rel=0.2)
