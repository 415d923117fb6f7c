"""The measure of clicks, and what the shipped codec's decoder makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from speechlike import noise, phrase

from benchmarks.joins import join_step, joins
from linkcodec.codec import load_codec
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence

RATE = 16_000

MOST = 1.5
"""What undisturbed speech has at borders of frames goes up to 1.7 (docs/receiver.md); a consonant
that is cut short may be loudest at the cut. A click is several times this."""


def tone(hertz: float = 200.0, seconds: float = 1.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def test_smooth_sound_has_no_click() -> None:
    assert join_step(tone().astype(np.float32), [4000, 8000], RATE) == pytest.approx(1.0, abs=0.01)
    assert join_step(tone().astype(np.float32), [], RATE) == 0.0


def test_a_cut_is_a_click_where_it_is_looked_for() -> None:
    pcm = tone().astype(np.float32)
    pcm[8000:] *= -1
    pcm[8000:] += 0.2
    assert join_step(pcm, [8000], RATE) > 5
    assert join_step(pcm, [4000], RATE) < 1.1


def test_quiet_steps_do_not_count() -> None:
    pcm = np.zeros(RATE, np.float32)
    pcm[8000:] = 5e-4
    assert join_step(pcm, [8000], RATE) < 1


def test_places_of_joins() -> None:
    speech = Frame((1, 2))
    items: list[PlayoutItem] = [Silence(), speech, speech, LOST, LOST, speech, Silence(), Silence()]
    assert joins(items, 10) == [10, 30, 40, 50, 60, 70]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shipped_codec_joins_without_clicks(seed: int) -> None:
    """Losses, and silences in the middle of sounds, which no sender would cut out."""
    codec = load_codec("compact")
    info = codec.info
    speech = phrase(info.sample_rate, dbfs=-20, seed=seed)
    room = noise(speech.size, dbfs=-55, seed=seed, tilt=1.0)
    encoder = codec.encoder(quantizers=8)
    frames = encoder.push((speech + room).astype(np.float32)) + encoder.flush()
    lost = np.random.default_rng(seed).random(len(frames)) < 0.2
    with_losses: list[PlayoutItem] = [
        LOST if gone and number > 2 else frame
        for number, (frame, gone) in enumerate(zip(frames, lost, strict=True))
    ]
    with_pauses: list[PlayoutItem] = [
        Silence(-55.0) if number % 9 in (3, 4) else frame for number, frame in enumerate(frames)
    ]
    for items in (with_losses, with_pauses):
        decoder = codec.decoder()
        heard = np.concatenate([decoder.decode(item) for item in items])
        places = joins(items, info.frame_size)
        assert len(places) >= 4
        assert join_step(heard, places, info.sample_rate) <= MOST
