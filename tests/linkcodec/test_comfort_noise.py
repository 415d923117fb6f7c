"""Comfort noise: level, colour, smooth changes, and state."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.codec import Pcm
from linkcodec.comfort_noise import COLOUR_BANDS_HZ, ComfortNoise, colour_of, colour_shape


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


def densities(pcm: Pcm, sample_rate: int = 16_000) -> npt.NDArray[np.float64]:
    """Power per hertz in the bands of the colour, in dB."""
    pieces = pcm[: pcm.size // 1024 * 1024].astype(np.float64).reshape(-1, 1024)
    power = np.mean(np.abs(np.fft.rfft(pieces * np.hanning(1024))) ** 2, axis=0)
    edges = np.searchsorted(np.fft.rfftfreq(1024, 1 / sample_rate), COLOUR_BANDS_HZ)
    bands = [power[low:high].mean() for low, high in pairwise(edges)]
    return np.asarray(10 * np.log10(bands))


def shape(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(values - values.mean())


@pytest.mark.parametrize("tilt", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_the_colour_of_a_noise_comes_back(tilt: float) -> None:
    """White to brown: each band of the comfort noise is near the original's."""
    rng = np.random.default_rng(1)
    hertz = np.fft.rfftfreq(320_000, 1 / 16_000)
    spectrum = np.fft.rfft(rng.standard_normal(320_000)) / np.maximum(hertz, 40) ** (tilt / 2)
    original = densities(np.fft.irfft(spectrum).astype(np.float32))
    again = densities(ComfortNoise(16_000).generate(320_000, -40.0, colour_of(original)))
    error = shape(again) - shape(original)
    assert np.sqrt(np.mean(error**2)) < 2.6
    assert np.max(np.abs(error)) < 5.5


@given(st.integers(0, 4095))
@settings(deadline=None)
def test_every_colour_is_its_own_nearest(colour: int) -> None:
    assert colour_of(colour_shape(colour)) == colour
    assert colour_of(colour_shape(colour) - 47.3) == colour


def test_colour_zero_is_an_ordinary_room_and_so_is_no_spectrum() -> None:
    assert colour_of(np.full(8, np.nan)) == 0
    assert colour_of(np.append(colour_shape(0)[:6], [np.nan, np.nan])) == 0


@pytest.mark.parametrize("colour", [0, 0x700, 0x800, 0xFFF])
def test_every_colour_has_the_level_asked_for(colour: int) -> None:
    assert level(ComfortNoise(16_000).generate(160_000, -45.0, colour)) == pytest.approx(
        -45, abs=0.5
    )


def test_a_change_of_colour_does_not_click() -> None:
    noise = ComfortNoise(16_000)
    before = noise.generate(16_000, -40.0, 0x700)
    change = [noise.generate(1280, -40.0, colour) for colour in (0x900, 0x700, 0x900, 0)]
    after = noise.generate(16_000, -40.0, 0x900)
    steps = [float(np.max(np.abs(np.diff(part)))) for part in (before, after)]
    assert np.max(np.abs(np.diff(np.concatenate(change)))) < 1.3 * max(steps)
    assert min(level(part) for part in change) > -44
