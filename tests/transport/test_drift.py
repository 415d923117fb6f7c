from __future__ import annotations

import random

import pytest

from transport.drift import DriftEstimator


def estimate(rate: float, *, seconds: int, jitter: float = 0.0, seed: int = 1) -> DriftEstimator:
    """Packets every 80 ms whose offsets grow by `rate` seconds per second."""
    rng = random.Random(seed)
    drift = DriftEstimator()
    for i in range(int(seconds / 0.08)):
        now = 0.08 * i
        late = rng.expovariate(1 / jitter) if jitter else 0.0
        drift.add(7.0 + rate * now + late, now)
    return drift


@pytest.mark.parametrize("rate", [-1e-3, -1e-4, 0.0, 1e-4, 1e-3])
def test_rate_of_a_steady_drift(rate: float) -> None:
    assert estimate(rate, seconds=60).rate == pytest.approx(rate, abs=1e-6)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_jitter_hardly_disturbs(seed: int) -> None:
    drift = estimate(5e-4, seconds=300, jitter=0.1, seed=seed)
    assert drift.rate == pytest.approx(5e-4, abs=3e-5)


def test_unknown_until_there_is_enough() -> None:
    assert estimate(1e-3, seconds=30).rate == 0.0


def test_a_change_of_the_path_is_no_clock() -> None:
    assert estimate(0.01, seconds=60).rate == 0.0


def test_rate_outlives_another_path() -> None:
    drift = estimate(1e-3, seconds=60)
    drift.reset()
    drift.add(99.0, 60.0)
    assert drift.rate == pytest.approx(1e-3, abs=1e-6)
