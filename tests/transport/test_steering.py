from __future__ import annotations

import pytest

from linkcodec.frame import FRAME_SECONDS
from transport.steering import MOST_LONGER, MOST_SHORTER, Steering, Urgency


def test_bounds_are_a_quarter() -> None:
    faster = FRAME_SECONDS / (FRAME_SECONDS - MOST_SHORTER)
    longer = (FRAME_SECONDS + MOST_LONGER) / FRAME_SECONDS
    assert (faster, longer) == pytest.approx((1.25, 1.25))


def test_inside_the_band_only_pauses_are_used() -> None:
    steering = Steering()
    for excess in (0.0, 0.02, 0.05, 0.07):
        wish = steering.wish(excess, drift=0.0)
        assert wish.urgency is Urgency.PAUSE
        assert -MOST_SHORTER <= wish.seconds <= 0.0
    assert steering.corrections == 0


@pytest.mark.parametrize(("excess", "sign"), [(0.1, -1), (-0.02, 1)])
def test_a_correction_goes_on_into_the_band(excess: float, sign: int) -> None:
    steering = Steering()
    frames = 0
    while (wish := steering.wish(excess, drift=0.0)).urgency is Urgency.SPEECH:
        assert wish.seconds * sign > 0
        excess += wish.seconds
        frames += 1
    assert 2 <= frames <= 6
    assert 0.0 < excess < 0.06
    assert steering.corrections == 1


@pytest.mark.parametrize("drift", [-1e-3, 1e-3])
def test_fast_and_slow_clocks_take_less_than_one_correction_per_minute(drift: float) -> None:
    """Twenty minutes without a pause: the excess falls by what the offsets grow."""
    steering = Steering()
    excess = 0.03
    for _ in range(15_000):
        wish = steering.wish(excess, drift=drift)
        played = FRAME_SECONDS
        if wish.urgency is Urgency.SPEECH:
            played += wish.seconds * 0.9
            excess += wish.seconds * 0.9
        assert wish.urgency is not Urgency.AT_ONCE
        excess -= drift * played
        assert -0.02 < excess < 0.09
    assert 15 <= steering.corrections < 20


@pytest.mark.parametrize("drift", [-1e-3, 0.0, 1e-3])
def test_a_narrow_band_is_kept_without_going_to_and_fro(drift: float) -> None:
    """Sixty seconds of drift take three corrections where the band is 28 ms wide."""
    steering = Steering()
    excess = 0.03
    for _ in range(750):
        wish = steering.wish(excess, drift=drift, slack=0.02)
        played = FRAME_SECONDS
        if wish.urgency is Urgency.SPEECH:
            played += wish.seconds * 0.9
            excess += wish.seconds * 0.9
        excess -= drift * played
        assert -0.03 < excess < 0.035
    assert steering.corrections <= (6 if drift else 1)


def test_far_off_anything_goes() -> None:
    assert Steering().wish(0.5, drift=0.0).urgency is Urgency.AT_ONCE
