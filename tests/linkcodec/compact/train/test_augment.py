from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from speechlike import phrase

from linkcodec.compact.train.augment import (
    Signal,
    at_level,
    at_ratio,
    babble,
    car_noise,
    coloured_noise,
    convolve,
    music,
    overdriven,
    rms,
    room_response,
    telephone,
)

RATE = 16000


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def speech(seed: int = 1) -> Signal:
    return phrase(RATE, dbfs=-24.0, seed=seed).astype(np.float32)


def band_db(pcm: Signal, low: float, high: float) -> float:
    power: npt.NDArray[np.float64] = np.square(np.abs(np.fft.rfft(pcm.astype(np.float64))))
    hertz = np.fft.rfftfreq(len(pcm), 1 / RATE)
    return float(10 * np.log10(power[(hertz >= low) & (hertz < high)].sum() + 1e-20))


SOURCES: dict[str, Callable[[np.random.Generator], Signal]] = {
    "noise": lambda random: coloured_noise(random, RATE, tilt=1.0),
    "car": lambda random: car_noise(random, RATE),
    "music": lambda random: music(random, RATE),
    "babble": lambda random: babble(random, [speech(1), speech(2)], RATE),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_repeat_themselves_and_have_unit_power(name: str) -> None:
    source = SOURCES[name]
    one = source(generator())
    assert one.shape == (RATE,)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, source(generator()))
    assert not np.array_equal(one, source(generator(2)))
    assert rms(one) == pytest.approx(1.0, rel=1e-3)


def test_levels_and_ratios() -> None:
    pcm = at_level(speech(), -33.0)
    assert 20 * np.log10(rms(pcm)) == pytest.approx(-33.0, abs=0.01)
    noise = at_ratio(coloured_noise(generator(), RATE, tilt=0.0), pcm, 10.0)
    assert 20 * np.log10(rms(pcm) / rms(noise)) == pytest.approx(10.0, abs=0.01)
    silence = np.zeros(100, np.float32)
    assert not at_level(silence, -20.0).any()
    np.testing.assert_array_equal(at_ratio(noise, silence, 10.0), noise)


def test_a_car_is_mostly_rumble() -> None:
    noise = car_noise(generator(), 4 * RATE)
    assert band_db(noise, 20, 300) > band_db(noise, 300, 8000) + 10


def test_a_telephone_keeps_its_band_only() -> None:
    noise = coloured_noise(generator(), RATE, tilt=0.0)
    line = telephone(noise)
    assert band_db(line, 400, 3200) == pytest.approx(band_db(noise, 400, 3200), abs=0.1)
    assert band_db(line, 0, 250) < band_db(noise, 0, 250) - 40
    assert band_db(line, 4000, 8000) < band_db(noise, 4000, 8000) - 40


def test_a_room_decays_as_it_should() -> None:
    response = room_response(generator(), seconds=0.5, direct_db=6.0)
    assert response[0] == pytest.approx(1.0, abs=0.05)
    tail = response[1:]
    assert 10 * np.log10(np.square(tail).sum()) == pytest.approx(-6.0, abs=0.5)
    early, late = np.square(tail[1600:2400]).sum(), np.square(tail[4000:4800]).sum()
    # 150 ms of 500 are 18 of 60 dB.
    assert 10 * np.log10(early / late) == pytest.approx(18.0, abs=2.0)


def test_convolution_is_numpys() -> None:
    pcm, response = speech()[:3000], room_response(generator(), seconds=0.1, direct_db=0.0)
    expected = np.convolve(pcm, response)[: len(pcm)]
    np.testing.assert_allclose(convolve(pcm, response), expected, atol=1e-5)


def test_overdriving_cuts_the_share_asked_for() -> None:
    pcm = speech()
    cut = overdriven(pcm, share=0.05)
    assert np.mean(cut != pcm) == pytest.approx(0.05, abs=0.01)
    assert np.abs(cut).max() < np.abs(pcm).max()
    assert not overdriven(np.zeros(10, np.float32), share=0.1).any()
