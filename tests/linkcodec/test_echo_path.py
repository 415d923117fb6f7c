"""The way from a loudspeaker to a microphone: its gain and delay are found, talkers are not it."""

from __future__ import annotations

import numpy as np
import pytest

from linkcodec.background import BandPowers, Power
from linkcodec.echo_path import EchoPath

RATE = 16_000
BANDS = BandPowers(RATE)
FLOOR = BANDS.white(-70.0)
PIECES = 800


def sound(*, seed: int) -> list[np.ndarray]:
    """Noise of 16 s whose level changes by up to 40 dB, six times a second, in pieces of 20 ms."""
    generator = np.random.default_rng(seed)
    levels = np.repeat(10 ** generator.uniform(-3, -1, PIECES // 8), 8)
    noise = generator.standard_normal((PIECES, BANDS.size))
    return list((levels[:, None] * noise).astype(np.float32))


def power(pcm: np.ndarray) -> Power:
    found: Power = BANDS.in_bands(BANDS.spectra(pcm))[0] + FLOOR
    return found


def listen(path: EchoPath, *, gain_db: float, delay: int, near_from: int = PIECES) -> list[Power]:
    """What is expected of each piece; near_from: from which on something near is far louder."""
    far, near = sound(seed=1), np.random.default_rng(2).standard_normal((PIECES, BANDS.size))
    gain = 10 ** (gain_db / 20)
    expected = []
    for number in range(PIECES):
        path.played(far[number], number * 0.02)
        heard = gain * far[number - delay] if number >= delay else 0.0 * far[0]
        if number >= near_from:
            heard = heard + 0.1 * near[number]
        expected.append(path.update(number * 0.02, power(heard), FLOOR))
    return expected


@pytest.mark.parametrize("gain_db", [-6.0, -18.0, -30.0])
@pytest.mark.parametrize("delay", [0, 5, 12])
def test_gain_is_found_whatever_the_delay(gain_db: float, delay: int) -> None:
    path = EchoPath(BANDS, sample_rate=RATE)
    expected = listen(path, gain_db=gain_db, delay=delay)
    assert path.gain_db == pytest.approx(gain_db, abs=1.5)
    assert path.active
    assert path.follows
    # Of the loud pieces hardly one is louder than it was expected to be.
    far = sound(seed=1)
    louder = [
        np.all(power(10 ** (gain_db / 20) * far[number - delay]) > 4 * (expected[number] + FLOOR))
        for number in range(200, PIECES)
    ]
    assert not any(louder)


def test_what_does_not_follow_the_loudspeaker_does_not_raise_the_gain() -> None:
    alone, beside = EchoPath(BANDS, sample_rate=RATE), EchoPath(BANDS, sample_rate=RATE)
    listen(alone, gain_db=-20.0, delay=3)
    listen(beside, gain_db=-20.0, delay=3, near_from=PIECES // 2)
    assert alone.follows
    assert not beside.follows
    assert beside.gain_db < alone.gain_db + 4.0  # and not the 20 dB by which it is louder


def test_nothing_is_expected_of_a_loudspeaker_that_is_silent() -> None:
    path = EchoPath(BANDS, sample_rate=RATE)
    listen(path, gain_db=-6.0, delay=0)
    first = path.gain_db
    for number in range(PIECES + 100, PIECES + 200):
        assert not path.update(number * 0.02, power(sound(seed=3)[0]), FLOOR).any()
        assert not path.active
    assert path.gain_db == first
