"""Comfort noise: level, colour, smooth changes, and state."""

from __future__ import annotations

import numpy as np
import pytest

from linkcodec.codec import Pcm
from linkcodec.comfort_noise import ComfortNoise


def level(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(np.float64) ** 2)))


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 24_000])
@pytest.mark.parametrize("dbfs", [-80.0, -55.0, -30.0])
def test_level_is_exact_on_a_long_run(sample_rate: int, dbfs: float) -> None:
    noise = ComfortNoise(sample_rate, seed=3)
    pcm = np.concatenate([noise.generate(sample_rate // 10, dbfs) for _ in range(300)])
    assert level(pcm) == pytest.approx(dbfs, abs=0.3)


def test_a_frame_has_nearly_the_level() -> None:
    noise = ComfortNoise(16_000)
    levels = [level(noise.generate(1280, -50.0)) for _ in range(200)]
    assert max(levels) - min(levels) < 6
    assert min(levels) > -54


def test_first_call_starts_at_the_level() -> None:
    starts = [ComfortNoise(16_000, seed).generate(160, -50.0) for seed in range(50)]
    assert level(np.concatenate(starts)) == pytest.approx(-50.0, abs=1.0)


def test_level_glides() -> None:
    noise = ComfortNoise(16_000)
    noise.generate(16_000, -80.0)
    glide = [level(noise.generate(320, -40.0)) for _ in range(25)]
    assert -80 < glide[0] < -65
    assert max(np.diff(glide)) < 12
    assert level(noise.generate(16_000, -40.0)) == pytest.approx(-40.0, abs=1.0)


def test_darker_than_white() -> None:
    pcm = ComfortNoise(16_000).generate(160_000, -30.0).astype(np.float64)
    power = np.abs(np.fft.rfft(pcm)) ** 2
    hertz = np.fft.rfftfreq(pcm.size, 1 / 16_000)
    low = power[(hertz > 100) & (hertz < 500)].mean()
    middle = power[(hertz > 1500) & (hertz < 2500)].mean()
    high = power[(hertz > 5000) & (hertz < 7000)].mean()
    assert low > 4 * middle > 16 * high / 4 > 0


@pytest.mark.parametrize("sizes", [[3200], [1600, 1600], [1, 319, 1280, 1600], [7] * 457 + [1]])
def test_cut_anywhere_it_is_the_same_noise(sizes: list[int]) -> None:
    whole = ComfortNoise(16_000, seed=5).generate(3200, -40.0)
    noise = ComfortNoise(16_000, seed=5)
    parts = np.concatenate([noise.generate(size, -40.0) for size in sizes])
    np.testing.assert_allclose(parts, whole, atol=1e-8)


def test_seed_decides() -> None:
    first, again, other = (ComfortNoise(16_000, seed).generate(500, -40.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_snapshot_and_restore() -> None:
    noise = ComfortNoise(16_000)
    noise.generate(1000, -60.0)
    state = noise.snapshot()
    expected = noise.generate(1000, -40.0)
    noise.generate(333, -20.0)
    noise.restore(state)
    np.testing.assert_array_equal(noise.generate(1000, -40.0), expected)
    other = ComfortNoise(16_000, seed=99)
    other.restore(state)
    np.testing.assert_array_equal(other.generate(1000, -40.0), expected)


def test_reset_starts_anew() -> None:
    noise = ComfortNoise(16_000, seed=4)
    first = noise.generate(777, -45.0)
    noise.reset()
    np.testing.assert_array_equal(noise.generate(777, -45.0), first)


@pytest.mark.parametrize("dbfs", [-1000.0, float("-inf"), 0.0, 60.0])
def test_any_level_stays_in_full_scale(dbfs: float) -> None:
    pcm = ComfortNoise(16_000).generate(16_000, dbfs)
    assert pcm.dtype == np.float32
    assert np.isfinite(pcm).all()
    assert np.abs(pcm).max() <= 1.0


def test_no_samples() -> None:
    noise = ComfortNoise(16_000)
    assert noise.generate(0, -40.0).shape == (0,)
