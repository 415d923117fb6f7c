"""Soft beginnings of words: a rise that lasts, and no click."""

from __future__ import annotations

import numpy as np
import pytest

from linkcodec.soft_onset import SoftOnset


def heard(seconds: float, *, seed: int, spread: float = 0.2) -> SoftOnset:
    """One that knows the noise of a room, 0.6 dB above its floor on the mean."""
    onset = SoftOnset()
    noise = 0.6 + spread * np.random.default_rng(seed).standard_normal((round(seconds / 0.08), 4))
    assert not any(onset.update(row.tolist(), quiet=True, background=True) for row in noise)
    return onset


@pytest.mark.parametrize("seed", range(4))
def test_a_rise_is_found_and_a_click_is_not(seed: int) -> None:
    assert not heard(4.0, seed=seed).update([0.6, 12.0, 12.0, 0.6], quiet=True, background=True)
    assert heard(4.0, seed=seed).update([0.6, 3.0, 3.0, 3.0], quiet=True, background=True)


def test_a_rise_across_two_frames_counts_only_while_the_gate_is_shut() -> None:
    for quiet in (True, False):
        onset = heard(4.0, seed=1)
        onset.update([0.6, 0.6, 0.6, 4.0], quiet=quiet, background=True)
        assert onset.update([4.0, 4.0, 0.6, 0.6], quiet=quiet, background=True) is quiet


def test_restless_noise_asks_for_more() -> None:
    rise = [2.3, 2.3, 2.3, 2.3]
    assert heard(8.0, seed=2).update(rise, quiet=False, background=False)
    restless = SoftOnset()
    for number in range(100):
        restless.update([0.6 + number % 2] * 4, quiet=False, background=True)
    assert not restless.update(rise, quiet=False, background=False)
