from __future__ import annotations

import numpy as np
import pytest
import tonecodec
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.codec import Pcm
from linkcodec.level import AutomaticLevel

RATE = tonecodec.SAMPLE_RATE
BLOCK = RATE // 100


def levelled(pcm: Pcm, *, speech: bool = True) -> tuple[Pcm, AutomaticLevel]:
    level = AutomaticLevel(RATE)
    blocks = [level.push(pcm[at : at + BLOCK], speech=speech) for at in range(0, pcm.size, BLOCK)]
    return np.concatenate(blocks), level


def dbfs(pcm: Pcm) -> float:
    return 10.0 * float(np.log10(np.mean(np.square(pcm, dtype=np.float64))))


@pytest.mark.parametrize("start", [-42.0, -34.0, -24.0, -14.0, -8.0])
def test_speech_comes_to_one_level(start: float) -> None:
    pcm = tonecodec.speech_like(20.0)
    pcm *= np.float32(10 ** ((start - dbfs(pcm)) / 20))
    heard, _ = levelled(np.clip(pcm, -1, 1).astype(np.float32))
    assert dbfs(heard[10 * RATE :]) == pytest.approx(-24.0, abs=1.5)


def test_noise_in_pauses_stays_where_it_is() -> None:
    noise = (0.001 * np.random.default_rng(1).standard_normal(10 * RATE)).astype(np.float32)
    heard, level = levelled(noise, speech=False)
    np.testing.assert_allclose(heard, noise)
    assert level.gain_db == 0.0


def test_change_is_slow_and_without_steps() -> None:
    tone = (0.004 * np.sin(np.arange(5 * RATE) * 0.3)).astype(np.float32)
    heard, level = levelled(tone)
    assert 10.0 < level.gain_db <= 15.0
    ratio = heard[100:] / np.where(np.abs(tone[100:]) > 0.002, tone[100:], np.nan)
    steps = np.diff(20 * np.log10(ratio[~np.isnan(ratio)]))
    assert np.max(np.abs(steps)) < 0.01


@given(
    st.lists(
        st.tuples(st.floats(0.0, 1.0), st.integers(0, 400), st.booleans()), min_size=1, max_size=60
    )
)
@settings(deadline=None)
def test_nothing_is_cut_off(blocks: list[tuple[float, int, bool]]) -> None:
    level = AutomaticLevel(RATE)
    random = np.random.default_rng(1)
    for peak, size, speech in blocks:
        pcm = (peak * random.uniform(-1, 1, size)).astype(np.float32)
        out = level.push(pcm, speech=speech)
        assert out.shape == pcm.shape
        assert np.all(np.abs(out) <= 0.9 + 1e-6)
        assert np.isfinite(level.gain_db)
