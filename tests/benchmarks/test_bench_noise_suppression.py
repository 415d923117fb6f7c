"""The measurement of noise suppression, with a codec that codes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from speechlike import phrase

from benchmarks.noise_suppression import NoisyCall, noises
from benchmarks.peers import OurCodec
from linkcodec.codec import Pcm

RATE = 16_000


class Wire(OurCodec):
    """Gives back what it gets."""

    def __init__(self) -> None:
        self.name = "wire"
        self.title = "wire"
        self.version = "1"
        self.bitrate = None

    def code(self, pcm: Pcm) -> Pcm:
        return pcm


def clip(seed: int) -> Pcm:
    return phrase(RATE, dbfs=-26, seed=seed).astype(np.float32)


@pytest.mark.parametrize("name", ["none", "white", "car", "babble"])
def test_noise_is_10_db_below_the_clip(name: str) -> None:
    pcm = clip(1)
    make = noises([clip(2), clip(3)])[name]
    heard = NoisyCall(name, make, Wire(), level=0).code(pcm)
    assert heard.size == pcm.size
    noise = heard - pcm
    ratio = 10 * np.log10(np.mean(pcm**2) / (np.mean(noise**2) + 1e-12))
    assert ratio > 60 if name == "none" else 5 < ratio < 15


def test_suppression_leaves_less_noise() -> None:
    pytest.importorskip("webrtc_noise_gain")
    silence = np.zeros(2 * RATE, np.float32)
    pcm = np.concatenate([clip(1), silence])
    make = noises([])["white"]
    off, on = (
        NoisyCall("white", make, Wire(), level=level).code(pcm)[-RATE : -RATE // 4]
        for level in (0, 1)
    )
    assert np.std(on) < 0.7 * np.std(off)
