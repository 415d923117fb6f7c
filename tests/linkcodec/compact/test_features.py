from __future__ import annotations

import numpy as np
import torch

from linkcodec.compact.features import Features
from linkcodec.compact.shape import (
    FEATURES,
    PAST,
    PITCH_BINS,
    PITCH_WINDOW,
    SAMPLE_RATE,
    STEP,
    mel_matrix,
)


def test_one_step_of_features_for_each_10_ms() -> None:
    assert Features()(torch.zeros(2, PAST + 5 * STEP)).shape == (2, 5, FEATURES)


def test_features_look_only_back() -> None:
    features = Features()
    x = torch.randn(1, PAST + 6 * STEP)
    later = x.clone()
    later[:, PAST + 3 * STEP :] = 0
    assert torch.equal(features(x)[:, :3], features(later)[:, :3])


def test_a_tone_shows_in_its_bin_and_its_band() -> None:
    seconds = torch.arange(PAST + 4 * STEP) / SAMPLE_RATE
    tone = 0.5 * torch.sin(2 * torch.pi * 437.5 * seconds)[None]
    step = Features()(tone)[0, -1]
    assert int(step[:PITCH_BINS].argmax()) == round(437.5 * PITCH_WINDOW / SAMPLE_RATE)
    filters = mel_matrix(bands=FEATURES - PITCH_BINS, fft=512)
    assert int(step[PITCH_BINS:].argmax()) == int(filters[:, 14].argmax())


def test_mel_filters_have_unit_sum() -> None:
    np.testing.assert_allclose(mel_matrix(bands=40, fft=1024).sum(axis=1), 1.0, rtol=1e-5)
