"""The cases of `benchmarks/receiver_delay.py`, shorter; the limits that they must keep."""

from __future__ import annotations

import math
import random

import pytest

from benchmarks.receiver_delay import (
    TRAVEL,
    Heard,
    calm_gaps,
    in_order,
    jitter,
    listen,
    outage,
    point,
    speech,
    step,
    with_spikes,
)
from linkcodec.frame import FRAME_SECONDS
from transport.config import JitterConfig
from transport.jitter import JitterBuffer


def check_order(heard: Heard) -> None:
    assert heard.ticks == sorted(set(heard.ticks))


@pytest.mark.parametrize("stall", [False, True])
def test_jitter_with_spikes(stall: bool) -> None:
    path = with_spikes(jitter(0.1, most=0.3, seed=2), every=30.0, height=1.5, stall=stall)
    heard = listen(speech(130.0), path)
    check_order(heard)
    # The 95 % quantile of this jitter is 300 ms.
    limit = 0.3 + 0.08
    assert heard.mean_delay(5.0) <= limit + 0.005
    assert calm_gaps(heard) == []
    for spike in (30, 60, 90):
        assert heard.mean_delay(spike + 6.5, spike + 8.5) <= 1.1 * limit


@pytest.mark.parametrize(("kind", "quantile"), [("truncated", 0.233), ("ordered", 0.3)])
@pytest.mark.parametrize("seed", [11, 12])
def test_jitter_of_other_kinds(kind: str, quantile: float, seed: int) -> None:
    path = jitter(0.1, most=0.3, seed=seed, kind=kind)
    heard = listen(speech(100.0), path)
    check_order(heard)
    assert [gap for gap in heard.gaps if gap > 20.0] == []
    # Of a minute less is known than of ten.
    assert heard.mean_delay(20.0) <= quantile + 0.08 + 0.02


def test_kinds_of_jitter() -> None:
    sent = [0.08 * number for number in range(2000)]
    clipped, truncated, ordered = (
        [departure + (path(departure) or 0.0) for departure in sent]
        for path in (
            jitter(0.1, most=0.3, seed=1, kind=kind) for kind in ("clipped", "truncated", "ordered")
        )
    )
    waits = [arrival - departure for arrival, departure in zip(clipped, sent, strict=True)]
    assert max(waits) == pytest.approx(0.3)
    assert sum(wait > 0.299 for wait in waits) > 50
    less = [arrival - departure for arrival, departure in zip(truncated, sent, strict=True)]
    assert max(less) < 0.3
    assert sum(wait > 0.299 for wait in less) < 5
    assert clipped != sorted(clipped)
    assert ordered == sorted(ordered)


def test_a_point_of_the_plot() -> None:
    found = point(0.02, seconds=30.0, seeds=[1])
    assert found.quantile == pytest.approx(0.06, abs=0.003)
    assert found.quantile < found.mean_delay < found.quantile + 0.12
    assert 0 <= found.lost < 0.05
    assert 0 <= found.least < 0.02


@pytest.mark.parametrize("frames", [1, 7])
def test_step_up_and_back(frames: int) -> None:
    path = step(jitter(0.02, most=0.1, seed=3), up=30.0, down=60.0, height=1.0)
    heard = listen(speech(90.0, frames=frames), path)
    check_order(heard)
    before = heard.mean_delay(20, 30)
    assert heard.mean_delay(40, 60) == pytest.approx(before + 1.0, abs=0.1)
    assert heard.mean_delay(65, 70) == pytest.approx(before, abs=0.1)
    assert not [gap for gap in heard.gaps if gap > 35.0]


@pytest.mark.parametrize("height", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("seed", [20, 21])
def test_step_back_of_a_path_that_keeps_the_order(height: float, seed: int) -> None:
    """All that is on the longer path comes at once with the first of the shorter one."""
    path = in_order(step(jitter(0.02, most=0.1, seed=seed), up=20.0, down=40.0, height=height))
    heard = listen(speech(55.0), path)
    check_order(heard)
    assert heard.mean_delay(45, 47) == pytest.approx(heard.mean_delay(15, 20), abs=0.1)


@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("seconds", [8.0, 70.0])
@pytest.mark.parametrize("ordered", [False, True])
def test_stored_talk_spurts_are_not_played_late(frames: int, seconds: float, ordered: bool) -> None:
    """Neither their starts nor wrapped ticks make them look like a new sender's."""
    rng = random.Random(5)
    stored = outage(jitter(0.01, most=0.1, seed=4), start=20.0, seconds=seconds, stored=True)

    def path(departure: float) -> float | None:
        delay = stored(departure)
        late = delay is not None and delay > 0.2 and not ordered
        return delay if delay is None or not late else delay + rng.uniform(0.0, 0.001)

    spurts = speech(seconds + 40.0, frames=frames, spurt=2.0, pause=0.5)
    heard = listen(spurts, in_order(path) if ordered else path)
    check_order(heard)
    first = 20.0 + seconds + TRAVEL + frames * FRAME_SECONDS
    after = [d for t, d in zip(heard.times, heard.delays, strict=True) if t > 20.0 + seconds]
    assert max(after) <= 2.0
    # A pause may come first.
    assert next(time for time in heard.times if time > 20.0 + seconds) <= first + 0.5 + 1.0
    assert heard.mean_delay(seconds + 30) == pytest.approx(heard.mean_delay(10, 20), abs=0.1)


@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("stored", [False, True])
def test_outage_of_70_s(frames: int, stored: bool) -> None:
    path = outage(jitter(0.02, most=0.1, seed=4), start=30.0, seconds=70.0, stored=stored)
    heard = listen(speech(130.0, frames=frames), path)
    check_order(heard)
    first = 100.0 + TRAVEL + frames * FRAME_SECONDS
    assert next(time for time in heard.times if time > 99.0) <= first + 1.5
    after = [d for t, d in zip(heard.times, heard.delays, strict=True) if t > 99.0]
    assert max(after) <= 2.0
    # What came at once was one stall: it does not raise the target for as long as it is recalled.
    assert heard.mean_delay(110, 112) == pytest.approx(heard.mean_delay(20, 30), abs=0.1)


def test_gaps_near_spikes_do_not_count() -> None:
    heard = Heard(JitterBuffer(JitterConfig()))
    heard.gaps = [3.0, 29.7, 29.9, 30.5, 31.9, 32.1, 59.9, 61.9, 75.0]
    assert calm_gaps(heard) == [29.7, 32.1, 75.0]


@pytest.mark.parametrize("drift", [-1e-3, 1e-3])
@pytest.mark.parametrize("spurt", [4.0, math.inf])
def test_drift(drift: float, spurt: float) -> None:
    heard = listen(speech(600.0, spurt=spurt), jitter(0.01, most=0.05, seed=5), drift=drift)
    check_order(heard)
    assert max(heard.delays[1000:]) < 0.2
    assert heard.buffer.corrections < 10
    assert heard.buffer.drift_ppm == pytest.approx(1e6 * drift, abs=30)
