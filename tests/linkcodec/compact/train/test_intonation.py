"""The pitch's own way through the latents of a network that had none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tinymodel import SIZES

from linkcodec.compact.model import CompactModel
from linkcodec.compact.train.intonation import COURSES, courses, open_way


@pytest.fixture
def model() -> CompactModel:
    torch.manual_seed(4)
    model = CompactModel(replace(SIZES, latent=10, books=2, entries=200))
    # Of the ten directions, four hardly vary.
    spread = torch.tensor([1.0, 0.01, 2.0, 1.5, 0.02, 1.0, 0.01, 3.0, 0.02, 1.2])
    model.quantizer.vectors.copy_(torch.randn(2, 200, 10) * spread + 0.3)
    return model.requires_grad_(requires_grad=False)


def test_the_courses_are_orthonormal() -> None:
    torch.testing.assert_close(courses() @ courses().t(), torch.eye(COURSES), atol=1e-6, rtol=0)


def test_the_pitch_comes_through(model: CompactModel) -> None:
    open_way(model)
    encoder, decoder = model.encoder.intonation, model.trunk.intonation
    assert encoder is not None
    assert decoder is not None
    octaves = 0.4 + torch.randn(3, 5, COURSES) @ courses()
    heard, past = torch.ones(3, 5, 1), torch.zeros(3, 5, SIZES.decoder[3])
    read = decoder(encoder(octaves), past, heard)
    torch.testing.assert_close(read, octaves.flatten(1), atol=1e-5, rtol=0)


def test_the_rest_of_the_network_goes_on_as_before(model: CompactModel) -> None:
    # Latents within the directions that vary are read as before, whatever the pitch.
    h, latents = torch.randn(20, SIZES.encoder[3]), torch.randn(20, 10) + 0.6
    quiet = [1, 4, 6, 8]
    latents[:, quiet] = 0.6
    before = model.trunk.enter(latents)
    open_way(model)
    assert model.encoder.intonation is not None
    pitch = model.encoder.intonation(torch.randn(20, 8))
    torch.testing.assert_close(model.trunk.enter(latents + pitch), before, atol=0.02, rtol=0)
    # The encoder itself leaves the pitch's directions alone.
    assert model.encoder.leave(h)[:, quiet].abs().max() < 0.05
    assert pitch[:, quiet].abs().mean() > 10 * pitch[:, [0, 2, 3, 5, 7, 9]].abs().mean()
