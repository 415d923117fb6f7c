"""Latents weighed by what is heard of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tinymodel import SIZES, tiny_model
from torch import Tensor

from linkcodec.compact.layers import Context
from linkcodec.compact.shape import FRAME_SIZE, PAST
from linkcodec.compact.train.batches import Batch
from linkcodec.compact.train.sensitivity import sensitivity, turn


def batches(frames: int = 8) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(2)
    while True:
        heard = 0.1 * torch.randn(2, PAST + frames * FRAME_SIZE, generator=generator)
        yield Batch(heard, heard[:, PAST:], torch.full((2, 8 * frames), 150.0))


def test_a_direction_that_nothing_reads_has_no_weight() -> None:
    torch.manual_seed(3)
    model = tiny_model()
    deaf = torch.tensor([0.5, 0.5, 0.5, 0.5])
    others = torch.eye(4) - deaf[:, None] * deaf
    way = model.trunk.intonation
    assert way is not None
    for weight in (model.trunk.enter.weight, way.read.weight):
        weight.copy_(weight @ others)
    way.mix.weight[:, -4:] = way.mix.weight[:, -4:] @ others
    found = sensitivity(model, batches(), count=3)
    torch.testing.assert_close(found, found.t())
    assert deaf @ found @ deaf < 1e-6 * found.trace()
    assert torch.linalg.eigvalsh(found)[1] > 1e-4 * found.trace()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_turned_network_does_what_it_did(share: float) -> None:
    torch.manual_seed(5)
    model, turned = tiny_model(), tiny_model()
    rows = torch.randn(9, SIZES.latent)
    matrix = rows.t() @ rows
    turn(turned, matrix, share=share)
    heard = next(batches()).heard
    zero = torch.zeros(2, 8, 1)
    with torch.inference_mode():
        latents, other = (network.encoder(heard, Context()) for network in (model, turned))
        before, after = (
            network.trunk(codes, zero, Context())
            for network, codes in ((model, latents), (turned, other))
        )
    for one, same in zip(before, after, strict=True):
        torch.testing.assert_close(same, one, atol=1e-4, rtol=1e-4)
    # Distances between the latents are those that the matrix gives them.
    if share == 1.0:
        difference = (latents[0, 0] - latents[1, 3]).clone()
        expected = difference @ matrix @ difference / torch.linalg.eigvalsh(matrix).mean()
        torch.testing.assert_close((other[0, 0] - other[1, 3]).square().sum(), expected)


def test_turning_changes_the_latents() -> None:
    matrix: Tensor = torch.diag(torch.tensor([4.0, 1.0, 1.0, 0.25]))
    model = tiny_model()
    before = model.encoder.leave.weight.clone()
    turn(model, matrix, share=1.0)
    assert not torch.allclose(model.encoder.leave.weight, before)
