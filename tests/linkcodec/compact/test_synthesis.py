from __future__ import annotations

import math

import numpy as np
import torch

from linkcodec.compact.shape import (
    BINS,
    NOISE_PERIOD,
    PARAMETERS,
    SAMPLE_RATE,
    STEP,
    TOP_HARMONIC,
    noise_table,
)
from linkcodec.compact.synthesis import SynthesisState, Synthesizer, pulse_train


def test_pulse_train_is_the_sum_of_its_cosines() -> None:
    frequency = torch.full((1, 400), 250.0, dtype=torch.float64)
    phase = torch.remainder(torch.arange(400) * 250.0 / SAMPLE_RATE + 0.5, 1.0)[None] - 0.5
    count = TOP_HARMONIC / 250.0
    whole = math.floor(count)
    weights = [1.0] * whole + [count - whole]
    expected = sum(
        weight * torch.cos(2 * math.pi * (k + 1) * phase) for k, weight in enumerate(weights)
    ) * math.sqrt(2 / count)
    assert isinstance(expected, torch.Tensor)
    torch.testing.assert_close(
        pulse_train(phase, frequency).double(), expected.double(), atol=1e-4, rtol=0
    )


def test_pulse_train_moves_smoothly_through_a_new_harmonic() -> None:
    phase = torch.full((1, 2), 0.013, dtype=torch.float64)
    edge = TOP_HARMONIC / 30
    around = torch.tensor([[edge - 1e-6, edge + 1e-6]], dtype=torch.float64)
    below, above = pulse_train(phase, around)[0]
    assert abs(float(below - above)) < 1e-4


def test_noise_is_white_gaussian_and_never_changes() -> None:
    table = noise_table()
    assert len(table) == NOISE_PERIOD
    assert abs(float(table.mean())) < 0.02
    assert abs(float(table.std()) - 1.0) < 0.01
    assert abs(float((table[1:] * table[:-1]).mean())) < 0.02
    # These values are part of version 1 of the codec.
    np.testing.assert_allclose(table[[0, 1, 40000]], [-0.939361, -0.073924, 0.019195], atol=1e-5)


def test_pieces_equal_the_whole() -> None:
    torch.manual_seed(2)
    synthesizer = Synthesizer().eval()
    parameters = torch.randn(1, 16, PARAMETERS) * 0.3
    pitch = 120.0 + 30.0 * torch.rand(1, 16)
    whole = synthesizer(parameters, pitch, SynthesisState.zero())
    state = SynthesisState.zero()
    parts = [
        synthesizer(parameters[:, a:b], pitch[:, a:b], state) for a, b in ((0, 1), (1, 9), (9, 16))
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)


def test_flat_filters_give_back_the_pitch() -> None:
    synthesizer = Synthesizer().eval()
    parameters = torch.zeros(1, 100, 2, 3, BINS)
    parameters[:, :, :, 0] = 3.0
    parameters[:, :, :, 2] = -12.0
    samples = synthesizer(parameters.flatten(2), torch.full((1, 100), 200.0), SynthesisState.zero())
    steady = samples[0, 10 * STEP : 10 * STEP + 8000]
    spectrum = torch.fft.rfft(steady * torch.hann_window(8000)).abs()
    assert int(spectrum[50:150].argmax()) + 50 == 100
    assert float(spectrum[150]) < 0.02 * float(spectrum[100])


def test_noise_gain_sets_the_level() -> None:
    synthesizer = Synthesizer().eval()
    parameters = torch.zeros(1, 200, 2, 3, BINS)
    parameters[:, :, :, 0] = -12.0
    parameters[:, :, :, 2] = 3.0 + math.log(0.1)
    samples = synthesizer(parameters.flatten(2), torch.full((1, 200), 150.0), SynthesisState.zero())
    assert abs(float(samples[0, 3200:].std()) - 0.1) < 0.01
