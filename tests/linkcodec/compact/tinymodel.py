"""A very small model of the compact codec's shape, with random weights and books."""

from __future__ import annotations

import torch

from linkcodec.compact.model import CompactModel, ModelConfig

SIZES = ModelConfig(
    books=3,
    entries=16,
    latent=4,
    encoder=(8, 8, 8, 8),
    encoder_blocks=(1, 1, 1, 1),
    decoder=(8, 8, 8, 8),
    decoder_blocks=(1, 1, 1, 1),
)


def tiny_model(seed: int = 0) -> CompactModel:
    """The same random model for the same seed."""
    torch.manual_seed(seed)
    model = CompactModel(SIZES)
    scale = torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    model.quantizer.vectors.copy_(torch.randn(3, SIZES.entries, SIZES.latent) * scale)
    return model.eval().requires_grad_(requires_grad=False)
