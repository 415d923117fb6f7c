"""Noise suppression: less noise, the same words' level, in any pieces."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speechlike import noise, phrase

from linkcodec.codec import Pcm
from linkcodec.exceptions import ConfigError
from linkcodec.noise_suppression import NoiseSuppressor

pytest.importorskip("webrtc_noise_gain")

RATE = 16_000


def level(pcm: Pcm) -> float:
    return 10 * float(np.log10(np.mean(np.square(pcm, dtype=np.float64)) + 1e-12))


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_noise_goes_and_speech_stays(rate: int) -> None:
    speech = phrase(rate, dbfs=-20, seed=1)
    room = noise(4 * rate + speech.size, dbfs=-45, seed=2)
    room[4 * rate :] += speech
    suppressor = NoiseSuppressor(rate)
    pieces = [
        suppressor.push(piece.astype(np.float32))
        for piece in np.array_split(room, room.size // 300)
    ]
    out = np.concatenate(pieces)
    assert abs(out.size - room.size) < rate // 15
    assert level(out[3 * rate : 7 * rate // 2]) < -45 - 4
    assert abs(level(out[4 * rate :]) - level(room[4 * rate :].astype(np.float32))) < 2.0


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(0, 700), min_size=1, max_size=20))
def test_pieces_do_not_matter(sizes: list[int]) -> None:
    pcm = phrase(RATE, dbfs=-20, seed=3)[: sum(sizes)].astype(np.float32)
    whole = NoiseSuppressor(RATE).push(pcm)
    suppressor, start, out = NoiseSuppressor(RATE), 0, []
    for size in sizes:
        out.append(suppressor.push(pcm[start : start + size]))
        start += size
    assert np.array_equal(np.concatenate(out), whole)


def test_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webrtc_noise_gain", None)
    with pytest.raises(ConfigError, match=r"pip install 'linkcodec\[noise\]'"):
        NoiseSuppressor(RATE)
