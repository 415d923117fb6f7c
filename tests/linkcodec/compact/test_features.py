from __future__ import annotations

import numpy as np
import pytest
import torch

from linkcodec.compact.features import Features
from linkcodec.compact.shape import (
    FEATURES,
    MEL_BANDS,
    PAST,
    PERIODS,
    PITCH_BINS,
    PITCH_CENTRE,
    PITCH_WINDOW,
    RECENT_WINDOW,
    SAMPLE_RATE,
    SPECTRA,
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
    filters = mel_matrix(bands=MEL_BANDS, fft=512)
    assert int(step[PITCH_BINS:SPECTRA].argmax()) == int(filters[:, 14].argmax())


def test_mel_filters_have_unit_sum() -> None:
    np.testing.assert_allclose(mel_matrix(bands=40, fft=1024).sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("hertz", [70.0, 131.7, 244.0, 430.0])
def test_the_strongest_period_is_that_of_a_voice(hertz: float) -> None:
    seconds = torch.arange(PAST + 4 * STEP) / SAMPLE_RATE
    harmonics = torch.arange(1, 9)[:, None]
    voice = 0.1 * torch.cos(2 * torch.pi * hertz * harmonics * seconds).sum(dim=0)
    noisy = voice + 0.02 * torch.randn(len(voice), generator=torch.Generator().manual_seed(1))
    octaves, strength = Features()(noisy[None])[0, -1, SPECTRA : SPECTRA + 2]
    assert abs(1200 * (float(octaves) - np.log2(hertz / PITCH_CENTRE))) < 10
    assert strength > 0.9


def test_silence_has_no_period_and_noise_a_weak_one() -> None:
    features = Features()
    assert not features(torch.zeros(1, PAST + 3 * STEP))[..., SPECTRA:].any()
    noise = 0.1 * torch.randn(1, PAST + 50 * STEP, generator=torch.Generator().manual_seed(2))
    assert features(noise)[..., SPECTRA + 1].mean() < 0.6


@pytest.mark.parametrize("octaves_per_second", [-4.0, 2.5])
def test_the_recent_view_follows_a_gliding_voice(octaves_per_second: float) -> None:
    seconds = torch.arange(PAST + 8 * STEP) / SAMPLE_RATE
    course = torch.log2(torch.tensor(180.0 / PITCH_CENTRE)) + octaves_per_second * (seconds - 0.1)
    phase = torch.cumsum(PITCH_CENTRE * torch.exp2(course.double()), dim=0) / SAMPLE_RATE
    voice = torch.cos(2 * torch.pi * phase * torch.arange(1, 9)[:, None]).sum(dim=0).float()
    features = Features()(0.1 * voice[None])[0, :, SPECTRA:]
    long, recent = features[:, 0], features[:, PERIODS]
    ends = PAST + STEP * torch.arange(1, 9)
    # The middle of the newest samples and those a period before.
    middle = ends - (RECENT_WINDOW + SAMPLE_RATE // 180) // 2
    true = course[middle]
    assert 1200 * (recent - true).abs().max() < 15
    assert 1200 * (long - true).abs().min() > 40
    assert features[:, PERIODS + 1].min() > 0.9
