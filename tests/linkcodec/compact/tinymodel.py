"""A very small model of the compact codec's shape, with random weights and books."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from linkcodec.compact.model import CompactModel, ModelConfig

SIZES = ModelConfig(
    books=3,
    entries=16,
    latent=4,
    encoder=(8, 8, 8, 8),
    encoder_blocks=(1, 1, 1, 1),
    decoder=(8, 8, 8, 8),
    decoder_blocks=(1, 1, 1, 1),
    intonation=(6, 5),
)


def tiny_model(seed: int = 0) -> CompactModel:
    """The same random model for the same seed."""
    torch.manual_seed(seed)
    model = CompactModel(SIZES)
    assert model.trunk.intonation is not None
    nn.init.normal_(model.trunk.intonation.leave.weight, std=0.1)
    scale = torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    model.quantizer.vectors.copy_(torch.randn(3, SIZES.entries, SIZES.latent) * scale)
    return model.eval().requires_grad_(requires_grad=False)


DAMAGES = ("missing", "text", "cut", "lacking")


def damage_weights(path: Path, damage: str, *, lacking: str) -> None:
    """Spoil a weights file in one of the ways of `DAMAGES`; `lacking` is the array to leave out."""
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("no weights")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:900])
    else:
        with np.load(path) as arrays:
            kept = {name: arrays[name] for name in arrays.files if name != lacking}
        with open(path, "wb") as file:
            np.savez(file, allow_pickle=False, **kept)
