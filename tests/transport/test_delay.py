from __future__ import annotations

import pytest

from transport.config import JitterConfig
from transport.delay import DelayEstimator

CONFIG = JitterConfig(floor_ms=40, ceiling_ms=500, quantile=0.95, history_seconds=20)


def estimator(offsets: list[float], *, step: float = 0.1) -> DelayEstimator:
    delays = DelayEstimator(CONFIG)
    for i, offset in enumerate(offsets):
        delays.add(offset=offset, frames=4, now=i * step)
    return delays


def test_starts_at_the_floor() -> None:
    delays = estimator([])
    assert delays.base is None
    assert delays.target == 0.04


def test_constant_offsets_need_the_floor_only() -> None:
    delays = estimator([7.0] * 50)
    assert delays.base == 7.0
    assert delays.target == 0.04


def test_target_is_the_quantile_beyond_the_fastest() -> None:
    delays = estimator([5 + i / 1000 for i in range(101)])
    assert delays.base == 5.0
    assert delays.target == pytest.approx(0.095)


def test_target_is_bounded_and_hopeless_packets_do_not_count() -> None:
    delays = estimator([5.0] * 20 + [5.49] * 20 + [9.0] * 20)
    assert delays.target == pytest.approx(0.49)
    assert estimator([5.0, 5.5] * 20).target == pytest.approx(0.5)


def test_short_packets_are_left_out() -> None:
    delays = estimator([5.0] * 20)
    delays.add(offset=4.5, frames=1, now=2.0)
    assert delays.base == 5.0
    assert delays.full_frames == 4


def test_old_arrivals_are_forgotten_but_never_all() -> None:
    delays = estimator([5.3] * 10 + [5.0] * 30, step=1.0)
    assert delays.target == 0.04
    delays.add(offset=5.2, frames=4, now=1000.0)
    assert delays.base == 5.0
    assert delays.target == pytest.approx(0.2)
    delays.reset()
    assert delays.base is None
