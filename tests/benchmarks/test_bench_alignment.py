from __future__ import annotations

import numpy as np
import pytest

from benchmarks.alignment import Pcm, align, estimate_delay, median_delay

RATE = 16000


def syllables(seed: int, *, seconds: float = 2.5) -> Pcm:
    """Noise whose level and colour change like those of syllables."""
    rng = np.random.default_rng(seed)
    pieces: list[Pcm] = []
    while sum(map(len, pieces)) < seconds * RATE:
        length = int(rng.integers(800, 3200))
        tone = np.sin(2 * np.pi * rng.uniform(200, 3000) * np.arange(length) / RATE)
        burst = (tone + 0.3 * rng.standard_normal(length)) * np.hanning(length)
        pieces.append(burst.astype(np.float32) * np.float32(rng.uniform(0.02, 0.3)))
        pieces.append(np.zeros(int(rng.integers(100, 2000)), dtype=np.float32))
    return np.concatenate(pieces)[: round(seconds * RATE)]


def test_delay_of_itself() -> None:
    pcm = syllables(1)
    assert estimate_delay(pcm, pcm) == 0


@pytest.mark.parametrize("delay", [-160, 16, 320, 896, 2400])
def test_delay_to_the_millisecond(delay: int) -> None:
    pcm = syllables(2)
    late = align(pcm, delay=-delay, length=len(pcm) + 3200)
    assert estimate_delay(pcm, late) == delay


def test_delay_without_the_phase() -> None:
    """A vocoder keeps the envelope only: opposite sign, another level, other noise."""
    rng = np.random.default_rng(3)
    pcm = syllables(3)
    noisy = -0.5 * np.pad(pcm, (480, 0)) + 0.002 * rng.standard_normal(len(pcm) + 480)
    assert abs(estimate_delay(pcm, noisy.astype(np.float32)) - 480) <= 16


def test_median_ignores_one_odd_pair() -> None:
    pairs = [(syllables(seed), np.pad(syllables(seed), (320, 0))) for seed in (4, 5)]
    odd = syllables(6)
    assert median_delay([*pairs, (odd, np.pad(odd, (1600, 0)))]) == 320


def test_median_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        median_delay([])


@pytest.mark.parametrize(
    ("delay", "length", "expected"),
    [
        (0, 4, [1, 2, 3, 4]),
        (1, 3, [2, 3, 4]),
        (2, 4, [3, 4, 0, 0]),
        (-1, 4, [0, 1, 2, 3]),
        (9, 2, [0, 0]),
    ],
)
def test_align(delay: int, length: int, expected: list[float]) -> None:
    aligned = align(np.array([1, 2, 3, 4], dtype=np.float32), delay=delay, length=length)
    assert aligned.dtype == np.float32
    assert aligned.tolist() == expected
