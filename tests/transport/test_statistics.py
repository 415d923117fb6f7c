from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.frame import LOST, Frame, PlayoutItem, Silence
from transport.statistics import DelayMeter, PlayoutStatistics, RateMeter, ReceiverStatistics


def test_meters_start_at_zero() -> None:
    assert DelayMeter().mean == 0
    meter = RateMeter()
    assert meter.mean_bps == meter.peak_bps == meter.recent_bps(5) == 0


def test_delay_meter() -> None:
    meter = DelayMeter()
    for delay in (0.1, 0.4, 0.1):
        meter.add(delay)
    assert meter.mean == pytest.approx(0.2)
    assert meter.maximum == 0.4


def test_full_line_peaks_at_its_rate() -> None:
    meter = RateMeter()
    for i in range(1000):
        meter.add(start=i * 664 / 1200, end=(i + 1) * 664 / 1200, bits=664)
    assert meter.peak_bps == meter.mean_bps == 1200
    assert meter.bits == 664_000


def test_recent_rate_falls_when_nothing_is_sent() -> None:
    meter = RateMeter()
    meter.add(start=0, end=0.5, bits=600)
    assert meter.recent_bps(0.5) == meter.recent_bps(1.0) == 600
    assert meter.recent_bps(1.25) == pytest.approx(300)
    assert meter.recent_bps(2) == 0


transmissions = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 12), st.integers(1, 500)), max_size=40
)


@settings(deadline=None)
@given(transmissions)
def test_peak_is_that_of_the_worst_window(steps: list[tuple[int, int, int]]) -> None:
    """Times are tenths of a second, so the worst window begins at a tenth as well."""
    meter = RateMeter()
    bits_per_tenth: list[float] = []
    now = 0
    for pause, duration, bits in steps:
        bits_per_tenth += [0.0] * pause + [bits / duration] * duration
        meter.add(start=(now + pause) / 10, end=(now + pause + duration) / 10, bits=bits)
        now += pause + duration
    windows = [sum(bits_per_tenth[i : i + 10]) for i in range(len(bits_per_tenth))]
    assert meter.peak_bps == pytest.approx(max(windows, default=0), abs=1e-5)
    assert len(meter._recent) <= 21


def test_guesses_that_have_faded_are_silent() -> None:
    playout = PlayoutStatistics()
    items: list[PlayoutItem] = [Frame((1,)), *[LOST] * 7, Frame((1,)), *[LOST] * 5]
    for item in items:
        playout.add(item, decoded=1280, played=1280, energy=0.0)
    counted = playout.webrtc(ReceiverStatistics(), sample_rate=16_000)
    assert counted["concealedSamples"] == 12 * 1280
    assert counted["silentConcealedSamples"] == 2 * 1280
    assert counted["concealmentEvents"] == 2


def test_playout_in_w3c_terms() -> None:
    """Two frames, a run of two losses one of which was stretched, silence, a shortened frame."""
    playout = PlayoutStatistics()
    frame = Frame((1,))
    for item, played, waited in (
        (frame, 1280, 0.1),
        (frame, 1280, 0.3),
        (LOST, 1280, 0.0),
        (LOST, 1600, 0.0),
        (Silence(), 1280, 0.0),
        (frame, 1024, 0.2),
        (LOST, 1280, 0.0),
    ):
        playout.add(item, decoded=1280, played=played, energy=0.5, waited=waited, target=0.25)
    counted = ReceiverStatistics(
        packets_received=4,
        voice_packets=3,
        frames_received=3,
        frames_lost=3,
        frames_muted=2,
        packets_late=1,
        packets_duplicate=2,
    )
    assert playout.webrtc(counted, sample_rate=16_000) == {
        "packetsReceived": 4,
        "packetsLost": 3,
        "packetsDiscarded": 3,
        "totalSamplesReceived": 9024,
        "totalSamplesDuration": 0.564,
        "totalAudioEnergy": 3.5,
        "concealedSamples": 4160 + 2560,
        "silentConcealedSamples": 2560,
        "concealmentEvents": 2,
        "insertedSamplesForDeceleration": 320,
        "removedSamplesForAcceleration": 256,
        "jitterBufferDelay": round(0.6 * 1280, 3),
        "jitterBufferTargetDelay": round(0.75 * 1280, 3),
        "jitterBufferEmittedCount": 3840,
    }
